/* The main job through the C ABI, once, and then by two threads that share one engine and one gallery.
 *
 *     scenario PACK OTHER_PACK PICTURES WORK     OTHER_PACK is the same network under another model digest
 */
#include "check.h"

#include <pthread.h>

static const char *const VISITORS[] = {"address-2009", "astronaut", "admiral"};
enum { VISITORS_COUNT = 3, ENROLLED = 0 };

typedef struct shared {
    const kf_engine *engine;
    const kf_gallery *gallery;
    const char *pictures;
    float threshold;
    uint64_t person;
} shared;

/* The best face of a picture. */
static kf_quality see(kf_pipeline *pipeline, const picture *from, kf_template *embedding, kf_face *face) {
    kf_frame frame = frame_of(from);
    kf_face faces[KF_MAX_FACES];
    kf_quality quality;
    size_t count = 0;
    uint32_t described = 0;
    OK(kf_pipeline_detect(pipeline, &frame, faces, KF_MAX_FACES, &count));
    CHECK(count >= 1);
    OK(kf_pipeline_describe(pipeline, &frame, &faces[0], embedding, &quality, &described));
    CHECK(described == 1 && quality.landmark_score > 0.3f);
    *face = faces[0];
    return quality;
}

static void *visit(void *argument) {
    const shared *all = (const shared *)argument;
    kf_pipeline *pipeline = NULL;
    kf_template *probe = NULL;
    int i;
    OK(kf_pipeline_new(all->engine, NULL, &pipeline));
    OK(kf_template_new(all->engine, &probe));
    for (i = 0; i < VISITORS_COUNT; i++) {
        picture visitor = load_ppm(all->pictures, VISITORS[i]);
        kf_match matches[2];
        kf_face face;
        size_t count = 0;
        see(pipeline, &visitor, probe, &face);
        OK(kf_gallery_search(all->gallery, probe, matches, 2, &count));
        CHECK(count == 1 && matches[0].person == all->person);
        CHECK((matches[0].score >= all->threshold) == (i == ENROLLED));
        free(visitor.rgb);
    }
    kf_template_free(probe);
    kf_pipeline_free(pipeline);
    return NULL;
}

/* Three good frames of the person open the door; those of a stranger do not. No opening without a record. */
static void decide(const shared *all, kf_audit *audit) {
    kf_pipeline *pipeline = NULL;
    kf_template *probe = NULL;
    kf_decider *decider = NULL;
    kf_rules rules;
    uint64_t time = 1000000;
    uint32_t written = 0;
    int visitor, shot, allowed;
    OK(kf_pipeline_new(all->engine, NULL, &pipeline));
    OK(kf_template_new(all->engine, &probe));
    OK(kf_rules_init(all->threshold, &rules));
    OK(kf_decider_new(&rules, &decider));
    for (visitor = 0; visitor < 2; visitor++) {
        picture from = load_ppm(all->pictures, VISITORS[visitor]);
        kf_match matches[2];
        kf_observation seen;
        kf_face face;
        size_t count = 0;
        see(pipeline, &from, probe, &face);
        OK(kf_gallery_search(all->gallery, probe, matches, 2, &count));
        memset(&seen, 0, sizeof seen);
        seen.struct_size = sizeof seen;
        seen.seen = KF_SEEN_FACE;
        seen.matches = matches;
        seen.match_count = (uint32_t)count;
        for (shot = allowed = 0; shot < 4; shot++) {
            kf_decision decision;
            seen.time_us = time += 200000;
            OK(kf_decider_step(decider, &seen, NULL, NULL, &decision));
            OK(kf_audit_write_decision(audit, seen.time_us / 1000, &decision, &written));
            CHECK(written == (decision.verdict == KF_VERDICT_ALLOW));
            allowed += decision.verdict == KF_VERDICT_ALLOW;
            CHECK(decision.verdict != KF_VERDICT_ALLOW || (decision.person == all->person && decision.reasons == 0));
        }
        CHECK(allowed == (visitor == ENROLLED));
        free(from.rgb);
    }
    kf_decider_free(decider);
    kf_template_free(probe);
    kf_pipeline_free(pipeline);
}

/* A photograph looks straight, and then does nothing that a living person is asked for: where liveness is needed the door
 * waits for ever. */
static void challenge(const shared *all) {
    picture from = load_ppm(all->pictures, VISITORS[ENROLLED]);
    kf_pipeline *pipeline = NULL;
    kf_template *probe = NULL;
    kf_challenge *asked = NULL;
    kf_decider *decider = NULL;
    kf_challenge_rules strict;
    kf_challenge_state state = {KF_CHALLENGE_STAGE_LOOK_STRAIGHT, KF_CHALLENGE_FAILURE_NONE};
    kf_rules rules;
    kf_match matches[2];
    kf_observation seen;
    kf_decision decision;
    kf_face face;
    size_t count = 0;
    uint64_t time = 1000000;
    int frames = 0;
    OK(kf_pipeline_new(all->engine, NULL, &pipeline));
    OK(kf_template_new(all->engine, &probe));
    OK(kf_challenge_rules_init(all->threshold - 0.1f, &strict));
    OK(kf_challenge_new(7, &strict, &asked));
    see(pipeline, &from, probe, &face);
    while (state.stage != KF_CHALLENGE_STAGE_FAILED) {
        CHECK(state.stage != KF_CHALLENGE_STAGE_PASSED && ++frames < 100);
        OK(kf_challenge_step(asked, time += 200000, &face, probe, &state));
    }
    CHECK(frames > 5 && state.failure == KF_CHALLENGE_FAILURE_TIMEOUT);
    OK(kf_rules_init(all->threshold, &rules));
    rules.need_liveness = 1;
    OK(kf_decider_new(&rules, &decider));
    OK(kf_gallery_search(all->gallery, probe, matches, 2, &count));
    memset(&seen, 0, sizeof seen);
    seen.struct_size = sizeof seen;
    seen.seen = KF_SEEN_FACE;
    seen.liveness = state.stage == KF_CHALLENGE_STAGE_PASSED ? KF_LIVENESS_REAL : KF_LIVENESS_NOT_CHECKED;
    seen.matches = matches;
    seen.match_count = (uint32_t)count;
    for (frames = 0; frames < 4; frames++) {
        seen.time_us = time += 200000;
        OK(kf_decider_step(decider, &seen, NULL, NULL, &decision));
        CHECK(decision.verdict == KF_VERDICT_WAIT && decision.reasons == KF_DECISION_REASON_LIVENESS);
    }
    kf_decider_free(decider);
    kf_challenge_free(asked);
    kf_template_free(probe);
    kf_pipeline_free(pipeline);
    free(from.rgb);
}

/* To a new model, with two visits of the person and none of anybody else. */
static void move_on(const shared *all, const char *other_pack, kf_gallery *gallery) {
    kf_pack *pack = open_pack(other_pack);
    kf_engine *engine = NULL;
    kf_pipeline *by_old = NULL, *by_new = NULL;
    kf_template *old = NULL, *new = NULL;
    kf_migration *migration = NULL;
    kf_engine_info from, to;
    kf_stored_template stored[2];
    kf_match match;
    size_t count = 0;
    uint32_t progress = KF_PROGRESS_IGNORED, wanted = 0;
    int visit;
    OK(kf_engine_load(pack, 0, &engine));
    kf_pack_free(pack);
    OK(kf_engine_get_info(all->engine, &from));
    OK(kf_engine_get_info(engine, &to));
    OK(kf_pipeline_new(all->engine, NULL, &by_old));
    OK(kf_pipeline_new(engine, NULL, &by_new));
    OK(kf_template_new(all->engine, &old));
    OK(kf_template_new(engine, &new));
    OK(kf_migration_begin(gallery, to.model_id, 2, all->threshold, all->threshold, &migration));
    for (visit = 0; visit < 3; visit++) {
        static const uint32_t led_to[] = {KF_PROGRESS_WANTED, KF_PROGRESS_IGNORED, KF_PROGRESS_ENROLLED};
        static const char *const names[] = {"portrait-2012", "astronaut", "address-2009"};
        picture visitor = load_ppm(all->pictures, names[visit]);
        kf_face face;
        kf_quality quality;
        see(by_old, &visitor, old, &face);
        OK(kf_gallery_search(gallery, old, &match, 1, &count));
        CHECK(count == 1);
        quality = see(by_new, &visitor, new, &face);
        OK(kf_migration_offer(migration, gallery, match.person, match.score, new, quality.landmark_score, 6, &progress,
                              &wanted));
        CHECK(progress == led_to[visit] && wanted == (visit == 0 ? 1 : 0));
        free(visitor.rgb);
    }
    OK(kf_gallery_export(gallery, "Portrait of 2012", 16, stored, 2, &count));
    CHECK(count == 2 && memcmp(stored[0].model_id, from.model_id, 32) == 0 && stored[0].at_ms == 5);
    CHECK(memcmp(stored[1].model_id, to.model_id, 32) == 0 && stored[1].at_ms == 6);
    OK(kf_migration_remaining(migration, gallery, &count));
    CHECK(count == 0);
    OK(kf_migration_finish(migration, gallery, from.model_id, 0));
    EXPECT(kf_gallery_search(gallery, old, &match, 1, &count), KF_STATUS_MODEL_MISMATCH);
    OK(kf_gallery_search(gallery, new, &match, 1, &count));
    CHECK(count == 1 && match.person == all->person && match.score > all->threshold);
    memset(stored, 0, sizeof stored);
    kf_migration_free(migration);
    kf_template_free(new);
    kf_template_free(old);
    kf_pipeline_free(by_new);
    kf_pipeline_free(by_old);
    kf_engine_free(engine);
}

/* The same face in some frames is led through an enrolment; a second one under another name is refused. */
static uint64_t enrol(const kf_engine *engine, kf_gallery *gallery, const char *pictures, float threshold) {
    static const char name[] = "Portrait of 2012";
    picture portrait = load_ppm(pictures, "portrait-2012");
    kf_pipeline *pipeline = NULL;
    kf_template *embedding = NULL;
    uint64_t person = 0;
    int round;
    OK(kf_pipeline_new(engine, NULL, &pipeline));
    OK(kf_template_new(engine, &embedding));
    for (round = 0; round < 2; round++) {
        kf_enrolment_rules rules;
        kf_enrolment *enrolment = NULL;
        kf_template *fused = NULL;
        float cosine = 0;
        kf_guidance guidance = {KF_GUIDANCE_KIND_NOBODY, 0};
        kf_face face;
        kf_quality quality = see(pipeline, &portrait, embedding, &face);
        uint64_t time = 1000000;
        OK(kf_enrolment_rules_init(threshold, &rules));
        rules.shots = 3;
        OK(kf_enrolment_new(&rules, &enrolment));
        while (guidance.kind != KF_GUIDANCE_KIND_COMPLETE) {
            CHECK(guidance.kind != KF_GUIDANCE_KIND_FAILED);
            time += 500000;
            OK(kf_enrolment_step(enrolment, time, KF_VIEW_FACE, &face, &quality, embedding, &guidance));
        }
        CHECK(guidance.taken == 3);
        OK(kf_template_new(engine, &fused));
        OK(kf_enrolment_get_template(enrolment, fused));
        OK(kf_template_similarity(fused, embedding, &cosine));
        CHECK(cosine > 0.999f);
        kf_template_free(fused);
        if (round == 0) {
            OK(kf_enrolment_commit(enrolment, gallery, name, strlen(name), 5, 0, &person));
            CHECK(person != 0);
        } else {
            uint64_t untouched = 99;
            EXPECT(kf_enrolment_commit(enrolment, gallery, "Somebody else", 13, 5, 0, &untouched),
                   KF_STATUS_DUPLICATE);
            CHECK(untouched == 99);
        }
        kf_enrolment_free(enrolment);
    }
    kf_template_free(embedding);
    kf_pipeline_free(pipeline);
    free(portrait.rgb);
    return person;
}

int main(int argc, char **argv) {
    kf_pack *pack;
    kf_engine *engine = NULL;
    kf_key *key = NULL;
    kf_gallery *gallery = NULL;
    kf_audit *audit = NULL;
    kf_gallery_info figures;
    kf_person person;
    shared all;
    pthread_t threads[2];
    char path[1024];
    uint8_t secret[32] = {1, 2, 3};
    float cosine = 0;
    int i;
    CHECK(argc == 5);
    pack = open_pack(argv[1]);
    OK(kf_engine_load(pack, 0, &engine));
    OK(kf_pack_get_threshold(pack, KF_POLICY_TARGET_FPIR, 1e-3, 1, &all.threshold));
    kf_pack_free(pack);
    OK(kf_engine_self_test(engine, &cosine));
    CHECK(cosine > 0.999f);

    snprintf(path, sizeof path, "%s/scenario.kfgallery", argv[4]);
    OK(kf_key_from_bytes(secret, sizeof secret, &key));
    OK(kf_gallery_open(path, strlen(path), key, 100, 0, &gallery));
    all.engine = engine;
    all.gallery = gallery;
    all.pictures = argv[3];
    all.person = enrol(engine, gallery, argv[3], all.threshold);
    OK(kf_gallery_get_info(gallery, &figures));
    CHECK(figures.people == 1 && figures.templates == 1 && figures.counter > 0 && figures.is_writer == 1);
    OK(kf_gallery_get_person(gallery, all.person, &person));
    CHECK(strcmp((const char *)person.name, "Portrait of 2012") == 0 && person.name_length == 16);

    snprintf(path, sizeof path, "%s/scenario.audit", argv[4]);
    OK(kf_audit_open(path, strlen(path), &audit));
    decide(&all, audit);
    kf_audit_free(audit);
    challenge(&all);
    for (i = 0; i < 2; i++) {
        CHECK(pthread_create(&threads[i], NULL, visit, &all) == 0);
    }
    for (i = 0; i < 2; i++) {
        CHECK(pthread_join(threads[i], NULL) == 0);
    }

    /* What is stored survives; a reader sees it; a wrong key does not. */
    move_on(&all, argv[2], gallery);
    kf_gallery_free(gallery);
    snprintf(path, sizeof path, "%s/scenario.kfgallery", argv[4]);
    OK(kf_gallery_open_reader(path, strlen(path), key, 100, figures.counter, &gallery));
    OK(kf_gallery_find(gallery, "Portrait of 2012", 16, &person));
    CHECK(person.id == all.person);
    EXPECT(kf_gallery_wipe(gallery), KF_STATUS_INVALID_ARGUMENT);
    kf_gallery_free(gallery);
    kf_key_free(key);
    gallery = NULL;
    secret[0] = 9;
    OK(kf_key_from_bytes(secret, sizeof secret, &key));
    EXPECT(kf_gallery_open(path, strlen(path), key, 100, 0, &gallery), KF_STATUS_WRONG_KEY);
    CHECK(gallery == NULL);
    kf_key_free(key);
    kf_engine_free(engine);
    puts("scenario passed");
    return 0;
}
