/* A panic inside is a status, and the handle says no for ever. Run with KEYFACE_FAULT naming the kind of handle that
 * panics at its first use: the library is the shipped one.
 *
 *     poison PACK WORK KIND
 */
#include "check.h"

static int messages;

static void count(uint32_t level, const char *text, size_t length, void *userdata) {
    (void)text;
    CHECK(length > 0 && userdata == &messages);
    if (level == KF_LOG_LEVEL_ERROR) {
        messages++;
    }
}

static int is(const char *kind, const char *name) { return strcmp(kind, name) == 0; }

int main(int argc, char **argv) {
    kf_pack *pack;
    kf_engine *engine = NULL;
    kf_template *probe = NULL;
    kf_pipeline *pipeline = NULL;
    kf_key *key = NULL;
    kf_gallery *gallery = NULL;
    kf_decider *decider = NULL;
    kf_enrolment *enrolment = NULL;
    kf_migration *migration = NULL;
    kf_challenge *challenge = NULL;
    kf_audit *audit = NULL;
    kf_pack_info info;
    char path[1024];
    uint8_t secret[32] = {7};
    int i;
    kf_status first = KF_STATUS_INTERNAL;
    CHECK(argc == 4);
    OK(kf_set_log(KF_LOG_LEVEL_WARN, count, &messages));
    pack = open_pack(argv[1]);
    if (is(argv[3], "pack")) {
        memset(&info, 5, sizeof info);
        for (i = 0; i < 3; i++, first = KF_STATUS_POISONED) {
            EXPECT(kf_pack_get_info(pack, &info), first);
            EXPECT(kf_engine_load(pack, 0, &engine), KF_STATUS_POISONED);
        }
        CHECK(engine == NULL && info.bytes == UINT64_C(0x0505050505050505));
        goto done;
    }
    OK(kf_engine_load(pack, 0, &engine));
    if (is(argv[3], "engine")) {
        float cosine = 7;
        for (i = 0; i < 3; i++, first = KF_STATUS_POISONED) {
            EXPECT(kf_engine_self_test(engine, &cosine), first);
            EXPECT(kf_pipeline_new(engine, NULL, &pipeline), KF_STATUS_POISONED);
        }
        CHECK(cosine == 7 && pipeline == NULL);
        goto done;
    }
    OK(kf_template_new(engine, &probe));
    if (is(argv[3], "template")) {
        float values[512] = {1};
        size_t length = 77;
        for (i = 0; i < 3; i++, first = KF_STATUS_POISONED) {
            EXPECT(kf_template_import(values, 512, probe), first);
            EXPECT(kf_template_export(probe, NULL, 0, &length), KF_STATUS_POISONED);
        }
        CHECK(length == 77);
        goto done;
    }
    if (is(argv[3], "pipeline")) {
        uint8_t grey[64 * 64] = {0};
        kf_frame frame;
        kf_face face;
        size_t faces = 77;
        OK(kf_pipeline_new(engine, NULL, &pipeline));
        OK(kf_frame_init(KF_PIXEL_FORMAT_GREY8, 64, 64, 64, grey, sizeof grey, &frame));
        for (i = 0; i < 3; i++, first = KF_STATUS_POISONED) {
            EXPECT(kf_pipeline_detect(pipeline, &frame, &face, 1, &faces), first);
        }
        CHECK(faces == 77);
        goto done;
    }
    snprintf(path, sizeof path, "%s/%s.kfgallery", argv[2], argv[3]);
    OK(kf_key_from_bytes(secret, 32, &key));
    if (is(argv[3], "key")) {
        for (i = 0; i < 3; i++, first = KF_STATUS_POISONED) {
            EXPECT(kf_gallery_open(path, strlen(path), key, 0, 0, &gallery), first);
        }
        CHECK(gallery == NULL);
        goto done;
    }
    OK(kf_gallery_open(path, strlen(path), key, 100, 0, &gallery));
    if (is(argv[3], "gallery")) {
        kf_gallery_info figures;
        for (i = 0; i < 3; i++, first = KF_STATUS_POISONED) {
            EXPECT(kf_gallery_get_info(gallery, &figures), first);
            EXPECT(kf_gallery_wipe(gallery), KF_STATUS_POISONED);
        }
        goto done;
    }
    if (is(argv[3], "enrolment")) {
        kf_enrolment_rules rules;
        kf_guidance guidance;
        OK(kf_enrolment_rules_init(0.4f, &rules));
        OK(kf_enrolment_new(&rules, &enrolment));
        for (i = 0; i < 3; i++, first = KF_STATUS_POISONED) {
            EXPECT(kf_enrolment_step(enrolment, 1, KF_VIEW_NOBODY, NULL, NULL, NULL, &guidance), first);
        }
        goto done;
    }
    if (is(argv[3], "migration")) {
        uint8_t model[32] = {9};
        size_t people = 77;
        OK(kf_migration_begin(gallery, model, 1, 0.7f, 0.5f, &migration));
        for (i = 0; i < 3; i++, first = KF_STATUS_POISONED) {
            EXPECT(kf_migration_remaining(migration, gallery, &people), first);
            EXPECT(kf_migration_finish(migration, gallery, model, 1), KF_STATUS_POISONED);
        }
        CHECK(people == 77);
        goto done;
    }
    if (is(argv[3], "challenge")) {
        kf_challenge_rules rules;
        kf_challenge_state state = {77, 77};
        OK(kf_challenge_rules_init(0.3f, &rules));
        OK(kf_challenge_new(1, &rules, &challenge));
        for (i = 0; i < 3; i++, first = KF_STATUS_POISONED) {
            EXPECT(kf_challenge_step(challenge, 1, NULL, NULL, &state), first);
            EXPECT(kf_challenge_get_state(challenge, &state), KF_STATUS_POISONED);
        }
        CHECK(state.stage == 77);
        goto done;
    }
    if (is(argv[3], "audit")) {
        uint32_t written = 77;
        OK(kf_audit_open("/dev/null", 9, &audit));
        for (i = 0; i < 3; i++, first = KF_STATUS_POISONED) {
            EXPECT(kf_audit_write_event(audit, 1, KF_EVENT_WIPED, 0, &written), first);
        }
        CHECK(written == 77);
        goto done;
    }
    if (is(argv[3], "decider")) {
        kf_rules rules;
        kf_observation seen;
        kf_decision decision;
        OK(kf_rules_init(0.4f, &rules));
        OK(kf_decider_new(&rules, &decider));
        memset(&seen, 0, sizeof seen);
        seen.struct_size = sizeof seen;
        memset(&decision, 0, sizeof decision);
        for (i = 0; i < 3; i++, first = KF_STATUS_POISONED) {
            EXPECT(kf_decider_step(decider, &seen, NULL, NULL, &decision), first);
        }
        CHECK(decision.verdict == KF_VERDICT_DENY);
        goto done;
    }
    fprintf(stderr, "unknown kind %s\n", argv[3]);
    return 1;
done:
    /* The place of the panic and the name of the call. */
    CHECK(messages == 2);
    kf_audit_free(audit);
    kf_challenge_free(challenge);
    kf_migration_free(migration);
    kf_decider_free(decider);
    kf_enrolment_free(enrolment);
    kf_gallery_free(gallery);
    kf_key_free(key);
    kf_pipeline_free(pipeline);
    kf_template_free(probe);
    kf_engine_free(engine);
    kf_pack_free(pack);
    puts("poisoned as promised");
    return 0;
}
