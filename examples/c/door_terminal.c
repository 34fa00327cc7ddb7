/*
 * A door terminal in C: frames in, decisions out, a relay that opens only on ALLOW.
 *
 *     door_terminal --source dir:faces --gallery door.kfgallery --pack default.kfpack --relay log --votes 1
 *
 * The same flags and the same lines as examples/rust/door_terminal, without its configuration file, metrics and GPIO. The gallery's
 * key is GALLERY.key. Build: cc door_terminal.c $(pkg-config --cflags --libs keyface)
 */
#include <keyface.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* A second face counts if it is at least this share of the first one's side. */
#define ALSO_MEANT 0.5f
/* At most this share of strangers may be taken for somebody. */
#define FALSE_MATCH_RATE 1e-3

enum { DONE = 0, RUNTIME = 1, USAGE = 2, MODEL_OR_GALLERY = 4, SOURCE = 5, AUDIT = 6 };

typedef struct arguments {
    const char *source, *gallery, *pack, *relay;
    const char *audit; /* NULL: no audit log */
    unsigned votes;  /* 0: as usual */
    float threshold; /* NaN: from the pack's figures */
} arguments;

/* Everything that a door needs; freed in one place. */
typedef struct door {
    kf_pack *pack;
    kf_engine *engine;
    kf_pipeline *pipeline;
    kf_template *probe;
    kf_key *key;
    kf_gallery *gallery;
    kf_decider *decider;
    kf_audit *audit;
    kf_camera *camera;
} door;

static void report(uint32_t level, const char *message, size_t length, void *userdata) {
    (void)userdata;
    fprintf(stderr, "%s: %.*s\n", level <= KF_LOG_LEVEL_ERROR ? "error" : "warn", (int)length, message);
}

static int usage(void) {
    fputs("usage: door_terminal --source SELECTION --gallery FILE --pack FILE --relay log|none\n"
          "                     [--votes N] [--threshold SCORE] [--audit FILE]\n"
          "sources: file:PATH, dir:PATH, loop:PATH, pipe:COMMAND, v4l2:[KEY=VALUE,..]\n"
          "exit codes: 0 the source ended; 1 a call failed; 2 wrong usage; 4 model or gallery; 5 source; 6 audit log\n",
          stderr);
    return USAGE;
}

static int parse(int argc, char **argv, arguments *args) {
    int i;
    memset(args, 0, sizeof *args);
    args->threshold = NAN;
    for (i = 1; i + 1 < argc; i += 2) {
        const char *flag = argv[i], *value = argv[i + 1];
        if (strcmp(flag, "--source") == 0) {
            args->source = value;
        } else if (strcmp(flag, "--gallery") == 0) {
            args->gallery = value;
        } else if (strcmp(flag, "--pack") == 0) {
            args->pack = value;
        } else if (strcmp(flag, "--relay") == 0) {
            args->relay = value;
        } else if (strcmp(flag, "--audit") == 0) {
            args->audit = value;
        } else if (strcmp(flag, "--votes") == 0) {
            args->votes = (unsigned)strtoul(value, NULL, 10);
        } else if (strcmp(flag, "--threshold") == 0) {
            args->threshold = strtof(value, NULL);
        } else {
            return 0;
        }
    }
    return i == argc && args->source && args->gallery && args->pack && args->relay &&
           (strcmp(args->relay, "log") == 0 || strcmp(args->relay, "none") == 0);
}

/* Opens model and gallery; the first status that is not OK, with the name of what failed. */
static kf_status open_door(const arguments *args, door *d, const char **what) {
    char key_path[4096];
    kf_rules rules;
    kf_gallery_info figures;
    float threshold = args->threshold;
    kf_status status;
    *what = args->pack;
    if ((status = kf_pack_open(args->pack, strlen(args->pack), NULL, &d->pack)) != KF_STATUS_OK ||
        (status = kf_engine_load(d->pack, 0, &d->engine)) != KF_STATUS_OK ||
        (status = kf_pipeline_new(d->engine, NULL, &d->pipeline)) != KF_STATUS_OK ||
        (status = kf_template_new(d->engine, &d->probe)) != KF_STATUS_OK) {
        return status;
    }
    *what = args->gallery;
    snprintf(key_path, sizeof key_path, "%s.key", args->gallery);
    if ((status = kf_key_from_file(key_path, strlen(key_path), &d->key)) != KF_STATUS_OK ||
        (status = kf_gallery_open_reader(args->gallery, strlen(args->gallery), d->key, 0, 0, &d->gallery)) !=
            KF_STATUS_OK ||
        (status = kf_gallery_get_info(d->gallery, &figures)) != KF_STATUS_OK) {
        return status;
    }
    *what = "threshold";
    if (isnan(threshold) &&
        (status = kf_pack_get_threshold(d->pack, KF_POLICY_TARGET_FPIR, FALSE_MATCH_RATE,
                                        (size_t)figures.templates, &threshold)) != KF_STATUS_OK) {
        return status;
    }
    *what = "rules";
    if ((status = kf_rules_init(threshold, &rules)) != KF_STATUS_OK) {
        return status;
    }
    if (args->votes != 0) {
        rules.votes = args->votes;
    }
    return kf_decider_new(&rules, &d->decider);
}

static void close_door(door *d) {
    kf_camera_free(d->camera);
    kf_audit_free(d->audit);
    kf_decider_free(d->decider);
    kf_gallery_free(d->gallery);
    kf_key_free(d->key);
    kf_template_free(d->probe);
    kf_pipeline_free(d->pipeline);
    kf_engine_free(d->engine);
    kf_pack_free(d->pack);
}

static float side(const kf_face *face) {
    float area = face->width * face->height;
    return area > 0 ? sqrtf(area) : 0;
}

/* What was seen in a frame: the largest face, unless another is nearly as large. Every failure is KF_SEEN_FAILED. */
static kf_seen look(door *d, const kf_frame *frame, kf_match matches[2], uint32_t *match_count) {
    kf_face faces[KF_MAX_FACES];
    kf_quality quality;
    size_t count = 0, found = 0, best = 0, meant = 0, i;
    uint32_t described = 0;
    if (kf_pipeline_detect(d->pipeline, frame, faces, KF_MAX_FACES, &count) != KF_STATUS_OK) {
        return KF_SEEN_FAILED;
    }
    for (i = 1; i < count; i++) {
        best = side(&faces[i]) >= side(&faces[best]) ? i : best;
    }
    for (i = 0; i < count; i++) {
        meant += side(&faces[i]) >= ALSO_MEANT * side(&faces[best]);
    }
    if (meant != 1) {
        return meant == 0 ? KF_SEEN_NOBODY : KF_SEEN_SEVERAL;
    }
    if (kf_pipeline_describe(d->pipeline, frame, &faces[best], d->probe, &quality, &described) != KF_STATUS_OK) {
        return KF_SEEN_FAILED;
    }
    if (!described || quality.reasons != 0) {
        return KF_SEEN_POOR;
    }
    if (kf_gallery_search(d->gallery, d->probe, matches, 2, &found) != KF_STATUS_OK) {
        return KF_SEEN_FAILED;
    }
    *match_count = (uint32_t)found;
    return KF_SEEN_FACE;
}

/* One frame through the decider. What cannot be decided is DENY. */
static kf_decision decide(door *d, const kf_frame *frame) {
    kf_match matches[2];
    kf_observation seen;
    kf_decision decision = {KF_VERDICT_DENY, KF_DECISION_REASON_ERROR, 0};
    memset(&seen, 0, sizeof seen);
    seen.struct_size = sizeof seen;
    seen.time_us = frame->timestamp_us;
    seen.matches = matches;
    seen.seen = look(d, frame, matches, &seen.match_count);
    if (kf_decider_step(d->decider, &seen, NULL, NULL, &decision) != KF_STATUS_OK) {
        decision.verdict = KF_VERDICT_DENY;
        decision.reasons = KF_DECISION_REASON_ERROR;
        decision.person = 0;
    }
    return decision;
}

/* No opening without a record: an ALLOW that cannot be written is DENY. */
static void record(door *d, kf_decision *decision) {
    uint32_t written = 0;
    if (d->audit != NULL &&
        kf_audit_write_decision(d->audit, (uint64_t)time(NULL) * 1000, decision, &written) != KF_STATUS_OK &&
        decision->verdict == KF_VERDICT_ALLOW) {
        decision->verdict = KF_VERDICT_DENY;
        decision->reasons = KF_DECISION_REASON_ERROR;
        decision->person = 0;
    }
}

/* Person and reasons, no score and no name. */
static void print(const kf_decision *decision) {
    char reasons[256];
    size_t length = 0;
    if (decision->verdict == KF_VERDICT_ALLOW) {
        printf("allow %llu\n", (unsigned long long)decision->person);
    } else {
        kf_decision_reasons_text(decision->reasons, reasons, sizeof reasons, &length);
        printf("%s %.*s\n", decision->verdict == KF_VERDICT_WAIT ? "wait" : "deny", (int)length, reasons);
    }
    fflush(stdout);
}

static int run(door *d, const arguments *args) {
    kf_decision last = {UINT32_MAX, 0, 0};
    for (;;) {
        kf_frame frame;
        kf_decision decision;
        uint32_t next = KF_CAMERA_NEXT_NOTHING;
        if (kf_camera_take(d->camera, 200, &frame, &next) != KF_STATUS_OK) {
            return RUNTIME;
        }
        if (next == KF_CAMERA_NEXT_END) {
            return DONE;
        }
        if (next == KF_CAMERA_NEXT_NOTHING) {
            continue;
        }
        decision = decide(d, &frame);
        if (kf_camera_give_back(d->camera) != KF_STATUS_OK) {
            return RUNTIME;
        }
        record(d, &decision);
        if (decision.verdict == KF_VERDICT_ALLOW && strcmp(args->relay, "log") == 0) {
            fputs("relay: on\n", stderr); /* a real door: pulse a GPIO line here */
        }
        if (memcmp(&decision, &last, sizeof last) != 0) {
            print(&decision);
            last = decision;
        }
    }
}

int main(int argc, char **argv) {
    arguments args;
    door d;
    kf_camera_settings settings;
    const char *what = "";
    kf_status status;
    int code;
    if (!parse(argc, argv, &args)) {
        return usage();
    }
    memset(&d, 0, sizeof d);
    kf_set_log(KF_LOG_LEVEL_WARN, report, NULL);
    status = open_door(&args, &d, &what);
    if (status != KF_STATUS_OK) {
        fprintf(stderr, "door_terminal: %s: %s\n", what, kf_status_text(status));
        close_door(&d);
        return MODEL_OR_GALLERY;
    }
    if (args.audit != NULL && (status = kf_audit_open(args.audit, strlen(args.audit), &d.audit)) != KF_STATUS_OK) {
        fprintf(stderr, "door_terminal: %s: %s\n", args.audit, kf_status_text(status));
        close_door(&d);
        return AUDIT;
    }
    status = kf_camera_settings_init(&settings);
    /* Pictures played once have the time of their number, so the same pictures give the same decisions. */
    settings.virtual_time = strncmp(args.source, "dir:", 4) == 0 || strncmp(args.source, "file:", 5) == 0;
    if (status == KF_STATUS_OK) {
        status = kf_camera_open(args.source, strlen(args.source), &settings, &d.camera);
    }
    if (status != KF_STATUS_OK) {
        fprintf(stderr, "door_terminal: %s: %s\n", args.source, kf_status_text(status));
        code = SOURCE;
    } else {
        code = run(&d, &args);
    }
    close_door(&d);
    return code;
}
