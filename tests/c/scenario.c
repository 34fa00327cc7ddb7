/* The main job through the C ABI, once, and then by two threads that share one engine and one gallery.
 *
 *     scenario PACK PICTURES WORK
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

/* Three good frames of the person open the door; those of a stranger do not. */
static void decide(const shared *all) {
    kf_pipeline *pipeline = NULL;
    kf_template *probe = NULL;
    kf_decider *decider = NULL;
    kf_rules rules;
    uint64_t time = 1000000;
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
    kf_gallery_info figures;
    kf_person person;
    shared all;
    pthread_t threads[2];
    char path[1024];
    uint8_t secret[32] = {1, 2, 3};
    float cosine = 0;
    int i;
    CHECK(argc == 4);
    pack = open_pack(argv[1]);
    OK(kf_engine_load(pack, 0, &engine));
    OK(kf_pack_get_threshold(pack, KF_POLICY_TARGET_FPIR, 1e-3, 1, &all.threshold));
    kf_pack_free(pack);
    OK(kf_engine_self_test(engine, &cosine));
    CHECK(cosine > 0.999f);

    snprintf(path, sizeof path, "%s/scenario.kfgallery", argv[3]);
    OK(kf_key_from_bytes(secret, sizeof secret, &key));
    OK(kf_gallery_open(path, strlen(path), key, 100, 0, &gallery));
    all.engine = engine;
    all.gallery = gallery;
    all.pictures = argv[2];
    all.person = enrol(engine, gallery, argv[2], all.threshold);
    OK(kf_gallery_get_info(gallery, &figures));
    CHECK(figures.people == 1 && figures.templates == 1 && figures.counter > 0 && figures.is_writer == 1);
    OK(kf_gallery_get_person(gallery, all.person, &person));
    CHECK(strcmp((const char *)person.name, "Portrait of 2012") == 0 && person.name_length == 16);

    decide(&all);
    for (i = 0; i < 2; i++) {
        CHECK(pthread_create(&threads[i], NULL, visit, &all) == 0);
    }
    for (i = 0; i < 2; i++) {
        CHECK(pthread_join(threads[i], NULL) == 0);
    }

    /* What is stored survives; a reader sees it; a wrong key does not. */
    kf_gallery_free(gallery);
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
