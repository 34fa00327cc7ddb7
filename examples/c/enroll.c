/*
 * Enrolment in C: guides one person to some varied good views and stores what they have in common.
 *
 *     enroll --source v4l2: --gallery door.kfgallery --pack default.kfpack --name "Ada Lovelace"
 *
 * Standard output has a line for each guidance that differs from the one before, then `enrolled NUMBER`. The gallery and its
 * key GALLERY.key are made if there are none. Build: cc enroll.c $(pkg-config --cflags --libs keyface) -lm
 */
#include <keyface.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { DONE = 0, NOT_ENROLLED = 1, USAGE = 2, MODEL_OR_GALLERY = 4, SOURCE = 5 };

typedef struct arguments {
    const char *source, *gallery, *pack, *name;
    unsigned shots;  /* 0: as usual */
    float threshold; /* NaN: from the pack's figures */
} arguments;

typedef struct desk {
    kf_pack *pack;
    kf_engine *engine;
    kf_pipeline *pipeline;
    kf_template *embedding;
    kf_key *key;
    kf_gallery *gallery;
    kf_enrolment *enrolment;
    kf_camera *camera;
} desk;

static int usage(void) {
    fputs("usage: enroll --source SELECTION --gallery FILE --pack FILE --name NAME [--shots N] [--threshold SCORE]\n"
          "exit codes: 0 enrolled; 1 not enrolled; 2 wrong usage; 4 model or gallery; 5 source\n",
          stderr);
    return USAGE;
}

static void report(uint32_t level, const char *message, size_t length, void *userdata) {
    (void)userdata;
    fprintf(stderr, "%s: %.*s\n", level <= KF_LOG_LEVEL_ERROR ? "error" : "warn", (int)length, message);
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
        } else if (strcmp(flag, "--name") == 0) {
            args->name = value;
        } else if (strcmp(flag, "--shots") == 0) {
            args->shots = (unsigned)strtoul(value, NULL, 10);
        } else if (strcmp(flag, "--threshold") == 0) {
            args->threshold = strtof(value, NULL);
        } else {
            return 0;
        }
    }
    return i == argc && args->source && args->gallery && args->pack && args->name;
}

/* Opens the key, or makes one beside a gallery that is new. */
static kf_status open_key(const char *gallery, kf_key **key) {
    char path[4096];
    FILE *there;
    snprintf(path, sizeof path, "%s.key", gallery);
    there = fopen(path, "rb");
    if (there != NULL) {
        fclose(there);
        return kf_key_from_file(path, strlen(path), key);
    }
    return kf_key_create_file(path, strlen(path), key);
}

static kf_status open_desk(const arguments *args, desk *d) {
    kf_enrolment_rules rules;
    float threshold = args->threshold;
    kf_status status;
    if ((status = kf_pack_open(args->pack, strlen(args->pack), NULL, &d->pack)) != KF_STATUS_OK ||
        (status = kf_engine_load(d->pack, 0, &d->engine)) != KF_STATUS_OK ||
        (status = kf_pipeline_new(d->engine, NULL, &d->pipeline)) != KF_STATUS_OK ||
        (status = kf_template_new(d->engine, &d->embedding)) != KF_STATUS_OK ||
        (status = open_key(args->gallery, &d->key)) != KF_STATUS_OK ||
        (status = kf_gallery_open(args->gallery, strlen(args->gallery), d->key, 0, 0, &d->gallery)) != KF_STATUS_OK) {
        return status;
    }
    if (isnan(threshold) &&
        (status = kf_pack_get_threshold(d->pack, KF_POLICY_TARGET_FMR, 1e-3, 1, &threshold)) != KF_STATUS_OK) {
        return status;
    }
    if ((status = kf_enrolment_rules_init(threshold, &rules)) != KF_STATUS_OK) {
        return status;
    }
    if (args->shots != 0) {
        rules.shots = args->shots;
    }
    return kf_enrolment_new(&rules, &d->enrolment);
}

static void close_desk(desk *d) {
    kf_camera_free(d->camera);
    kf_enrolment_free(d->enrolment);
    kf_gallery_free(d->gallery);
    kf_key_free(d->key);
    kf_template_free(d->embedding);
    kf_pipeline_free(d->pipeline);
    kf_engine_free(d->engine);
    kf_pack_free(d->pack);
}

/* One frame through the enrolment. */
static kf_status step(desk *d, const kf_frame *frame, kf_guidance *guidance) {
    kf_face faces[2];
    kf_quality quality;
    size_t count = 0;
    uint32_t described = 0;
    kf_status status = kf_pipeline_detect(d->pipeline, frame, faces, 2, &count);
    if (status == KF_STATUS_OK && count == 1) {
        status = kf_pipeline_describe(d->pipeline, frame, &faces[0], d->embedding, &quality, &described);
    }
    if (status != KF_STATUS_OK) {
        return status;
    }
    return kf_enrolment_step(d->enrolment, frame->timestamp_us,
                             described ? KF_VIEW_FACE : count > 1 ? KF_VIEW_SEVERAL : KF_VIEW_NOBODY, &faces[0], &quality,
                             d->embedding, guidance);
}

static int run(desk *d, const arguments *args) {
    static const char *const TEXTS[] = {
        "step in front of the camera", "one person at a time", "come closer", "more light on the face",
        "less light on the face", "turn away from the light behind", "hold still, or focus the lens", "face the camera",
        "hold the head upright", "come into the middle of the picture", "take off what covers the face", "hold still",
        "look straight ahead", "turn a little to the left of the picture", "turn a little to the right of the picture",
        "this is not the person of the shots before", "taken", "complete", "failed"};
    kf_guidance last = {UINT32_MAX, 0};
    kf_status status;
    uint64_t person = 0;
    for (;;) {
        kf_frame frame;
        kf_guidance guidance = last;
        uint32_t next = KF_CAMERA_NEXT_NOTHING;
        if ((status = kf_camera_take(d->camera, 200, &frame, &next)) != KF_STATUS_OK) {
            break;
        }
        if (next == KF_CAMERA_NEXT_END) {
            fputs("enroll: the source ended before the enrolment was complete\n", stderr);
            return NOT_ENROLLED;
        }
        if (next == KF_CAMERA_NEXT_NOTHING) {
            continue;
        }
        status = step(d, &frame, &guidance);
        kf_camera_give_back(d->camera);
        if (status != KF_STATUS_OK) {
            break;
        }
        if (guidance.kind != last.kind || guidance.taken != last.taken) {
            if (guidance.kind == KF_GUIDANCE_KIND_TAKEN) {
                printf("taken %u\n", guidance.taken);
            } else {
                puts(TEXTS[guidance.kind]);
            }
            last = guidance;
        }
        if (guidance.kind == KF_GUIDANCE_KIND_FAILED) {
            return NOT_ENROLLED;
        }
        if (guidance.kind == KF_GUIDANCE_KIND_COMPLETE) {
            status = kf_enrolment_commit(d->enrolment, d->gallery, args->name, strlen(args->name),
                                         (uint64_t)time(NULL) * 1000, 0, &person);
            break;
        }
    }
    if (status != KF_STATUS_OK) {
        fprintf(stderr, "enroll: %s\n", kf_status_text(status));
        return NOT_ENROLLED;
    }
    printf("enrolled %llu\n", (unsigned long long)person);
    return DONE;
}

int main(int argc, char **argv) {
    arguments args;
    desk d;
    kf_camera_settings settings;
    kf_status status;
    int code;
    if (!parse(argc, argv, &args)) {
        return usage();
    }
    memset(&d, 0, sizeof d);
    kf_set_log(KF_LOG_LEVEL_WARN, report, NULL);
    status = open_desk(&args, &d);
    if (status != KF_STATUS_OK) {
        fprintf(stderr, "enroll: %s\n", kf_status_text(status));
        close_desk(&d);
        return MODEL_OR_GALLERY;
    }
    status = kf_camera_settings_init(&settings);
    /* Pictures have the time of their number, so the same pictures give the same result. */
    settings.virtual_time = strncmp(args.source, "dir:", 4) == 0 || strncmp(args.source, "file:", 5) == 0 ||
                            strncmp(args.source, "loop:", 5) == 0;
    if (status == KF_STATUS_OK) {
        status = kf_camera_open(args.source, strlen(args.source), &settings, &d.camera);
    }
    if (status != KF_STATUS_OK) {
        fprintf(stderr, "enroll: %s: %s\n", args.source, kf_status_text(status));
        code = SOURCE;
    } else {
        code = run(&d, &args);
    }
    close_desk(&d);
    return code;
}
