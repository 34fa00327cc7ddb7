/* The rules of the ABI for galleries and their people, enrolment and a change of model. As rules.c.
 *
 *     rules_gallery PACK OTHER_PACK WORK
 */
#include "check.h"

/* All that is stored of A, the only person. */
static void exports(const kf_gallery *gallery, uint64_t person, const kf_engine_info *info) {
    static kf_stored_template stored[2], before;
    size_t count = 77;
    memset(stored, 0x33, sizeof stored);
    before = stored[1];
    EXPECT(kf_gallery_export(gallery, "B", 1, stored, 2, &count), KF_STATUS_NOT_FOUND);
    EXPECT(kf_gallery_export(gallery, "", 0, stored, 2, &count), INVALID);
    EXPECT(kf_gallery_export(gallery, "A", 1, NULL, 2, &count), INVALID);
    EXPECT(kf_gallery_export(gallery, "A", 1, stored, 2, NULL), INVALID);
    EXPECT(kf_gallery_export(NULL, "A", 1, stored, 2, &count), INVALID);
    CHECK(count == 77 && memcmp(&stored[0], &before, sizeof before) == 0);
    OK(kf_gallery_export(gallery, "A", 1, NULL, 0, &count));
    CHECK(count == 1);
    OK(kf_gallery_export(gallery, "A", 1, stored, 2, &count));
    CHECK(count == 1 && memcmp(&stored[1], &before, sizeof before) == 0);
    CHECK(stored[0].person == person && stored[0].record != 0 && stored[0].at_ms == 0);
    CHECK(stored[0].dimension == info->dimension && memcmp(stored[0].model_id, info->model_id, 32) == 0);
    CHECK(stored[0].components[0] == 127 && stored[0].components[1] == 0);
}

static void galleries(const kf_engine *engine, const kf_engine *other, const char *work) {
    kf_key *key = (kf_key *)UNTOUCHED;
    kf_gallery *gallery = (kf_gallery *)UNTOUCHED, *second = (kf_gallery *)UNTOUCHED;
    kf_template *a = NULL, *foreign = NULL;
    const kf_template *list[1];
    kf_engine_info info;
    kf_match match;
    kf_person person;
    uint8_t secret[32] = {3}, model[32];
    uint64_t id = 77;
    size_t count = 77;
    uint32_t changed = 77;
    float values[512] = {1};
    char path[1024];
    snprintf(path, sizeof path, "%s/rules.kfgallery", work);
    memset(model, 0x33, sizeof model);
    EXPECT(kf_key_from_bytes(secret, 31, &key), INVALID);
    EXPECT(kf_key_from_bytes(NULL, 32, &key), INVALID);
    EXPECT(kf_key_from_file("/nonexistent", 12, &key), KF_STATUS_IO);
    CHECK(key == UNTOUCHED);
    OK(kf_key_from_bytes(secret, 32, &key));
    EXPECT(kf_gallery_open_reader(path, strlen(path), key, 0, 0, &gallery), KF_STATUS_NOT_FOUND);
    EXPECT(kf_gallery_open(path, strlen(path), key, 100001, 0, &gallery), INVALID);
    EXPECT(kf_gallery_open(path, strlen(path), key, 1, 5, &gallery), KF_STATUS_ROLLED_BACK);
    EXPECT(kf_gallery_open(path, strlen(path), NULL, 1, 0, &gallery), INVALID);
    CHECK(gallery == UNTOUCHED);
    OK(kf_gallery_open(path, strlen(path), key, 1, 0, &gallery));
    EXPECT(kf_gallery_open(path, strlen(path), key, 1, 0, &second), KF_STATUS_LOCKED);
    CHECK(second == UNTOUCHED);
    OK(kf_engine_get_info(engine, &info));
    OK(kf_template_new(engine, &a));
    OK(kf_template_new(other, &foreign));
    list[0] = a;
    EXPECT(kf_gallery_enrol(gallery, "A", 1, list, 1, 0, &id), INVALID); /* empty */
    OK(kf_template_import(values, info.dimension, a));
    OK(kf_template_import(values, info.dimension, foreign));
    EXPECT(kf_gallery_enrol(gallery, "", 0, list, 1, 0, &id), INVALID);
    EXPECT(kf_gallery_enrol(gallery, "A\n", 2, list, 1, 0, &id), INVALID);
    EXPECT(kf_gallery_enrol(gallery, "\xc3", 1, list, 1, 0, &id), INVALID);
    EXPECT(kf_gallery_enrol(gallery, "A", 1, NULL, 1, 0, &id), INVALID);
    EXPECT(kf_gallery_enrol(gallery, "A", 1, list, 0, 0, &id), INVALID);
    EXPECT(kf_gallery_enrol(gallery, "A", 1, list, 65, 0, &id), INVALID);
    CHECK(id == 77);
    OK(kf_gallery_search(gallery, a, &match, 1, &count));
    CHECK(count == 0);
    EXPECT(kf_gallery_get_model(gallery, model), KF_STATUS_NOT_FOUND);
    CHECK(model[0] == 0x33 && model[31] == 0x33);
    OK(kf_gallery_enrol(gallery, "A", 1, list, 1, 0, &id));
    CHECK(id != 77 && id != 0);
    count = 77;
    EXPECT(kf_gallery_enrol(gallery, "B", 1, list, 1, 0, &id), KF_STATUS_CAPACITY_EXCEEDED);
    EXPECT(kf_gallery_replace(gallery, "B", 1, list, 1, 0, &id), KF_STATUS_NOT_FOUND);
    EXPECT(kf_gallery_remove(gallery, "B", 1, &count), KF_STATUS_NOT_FOUND);
    EXPECT(kf_gallery_find(gallery, "B", 1, &person), KF_STATUS_NOT_FOUND);
    EXPECT(kf_gallery_search(gallery, foreign, &match, 1, &count), KF_STATUS_MODEL_MISMATCH);
    EXPECT(kf_gallery_search(gallery, a, &match, 0, &count), INVALID);
    EXPECT(kf_gallery_refresh(gallery, &changed), INVALID);
    list[0] = foreign;
    EXPECT(kf_gallery_replace(gallery, "A", 1, list, 1, 0, &id), KF_STATUS_MODEL_MISMATCH);
    CHECK(count == 77 && changed == 77);
    OK(kf_gallery_get_people(gallery, 0, NULL, 0, &count));
    CHECK(count == 1);
    OK(kf_gallery_get_people(gallery, 1, &person, 1, &count));
    CHECK(count == 0);
    EXPECT(kf_gallery_get_model(gallery, NULL), INVALID);
    OK(kf_gallery_get_model(gallery, model));
    CHECK(memcmp(model, info.model_id, 32) == 0);
    exports(gallery, id, &info);
    EXPECT(kf_gallery_remove_record(gallery, 99), KF_STATUS_NOT_FOUND);
    OK(kf_gallery_compact(gallery, NULL));
    OK(kf_gallery_remove(gallery, "A", 1, &count));
    CHECK(count == 1);
    list[0] = a;
    OK(kf_gallery_enrol(gallery, "A", 1, list, 1, 0, &id));
    OK(kf_gallery_search(gallery, a, &match, 1, &count));
    OK(kf_gallery_remove_record(gallery, match.record));
    OK(kf_gallery_get_people(gallery, 0, NULL, 0, &count));
    CHECK(count == 0);
    OK(kf_gallery_wipe(gallery));
    kf_gallery_free(gallery);
    OK(kf_gallery_open_reader(path, strlen(path), key, 1, 0, &gallery));
    EXPECT(kf_gallery_remove_record(gallery, match.record), INVALID);
    kf_gallery_free(gallery);
    kf_template_free(a);
    kf_template_free(foreign);
    kf_key_free(key);
}

static void enrolments(const kf_engine *engine) {
    kf_enrolment_rules rules;
    kf_enrolment *enrolment = (kf_enrolment *)UNTOUCHED;
    kf_guidance guidance = {77, 77};
    kf_template *fused = NULL;
    OK(kf_enrolment_rules_init(0.5f, &rules));
    rules.shots = 9;
    EXPECT(kf_enrolment_new(&rules, &enrolment), INVALID);
    OK(kf_enrolment_rules_init(0.5f, &rules));
    rules.struct_size = 0;
    EXPECT(kf_enrolment_new(&rules, &enrolment), INVALID);
    CHECK(enrolment == UNTOUCHED);
    OK(kf_enrolment_rules_init(0.5f, &rules));
    OK(kf_enrolment_new(&rules, &enrolment));
    EXPECT(kf_enrolment_step(enrolment, 1, 3, NULL, NULL, NULL, &guidance), INVALID);
    EXPECT(kf_enrolment_step(enrolment, 1, KF_VIEW_FACE, NULL, NULL, NULL, &guidance), INVALID);
    CHECK(guidance.kind == 77);
    OK(kf_template_new(engine, &fused));
    EXPECT(kf_enrolment_get_template(NULL, fused), INVALID);
    EXPECT(kf_enrolment_get_template(enrolment, NULL), INVALID);
    EXPECT(kf_enrolment_get_template(enrolment, fused), INVALID); /* not complete */
    kf_template_free(fused);
    OK(kf_enrolment_step(enrolment, 2, KF_VIEW_SEVERAL, NULL, NULL, NULL, &guidance));
    CHECK(guidance.kind == KF_GUIDANCE_KIND_ANOTHER_FACE && guidance.taken == 0);
    kf_enrolment_free(enrolment);
}

/* A, enrolled under the engine's model, moves to the other's. */
static void migrations(const kf_engine *engine, const kf_engine *other, const char *work) {
    kf_key *key = NULL;
    kf_gallery *gallery = NULL;
    kf_migration *migration = (kf_migration *)UNTOUCHED;
    kf_template *a = NULL, *b = NULL;
    const kf_template *list[1];
    kf_engine_info from, to;
    kf_match match;
    uint8_t secret[32] = {5}, model[32];
    uint64_t id = 0;
    size_t count = 77;
    uint32_t progress = 77, wanted = 77;
    float values[512] = {1};
    char path[1024];
    snprintf(path, sizeof path, "%s/rules_migration.kfgallery", work);
    OK(kf_key_from_bytes(secret, 32, &key));
    OK(kf_gallery_open(path, strlen(path), key, 10, 0, &gallery));
    OK(kf_engine_get_info(engine, &from));
    OK(kf_engine_get_info(other, &to));
    OK(kf_template_new(engine, &a));
    OK(kf_template_new(other, &b));
    OK(kf_template_import(values, from.dimension, a));
    EXPECT(kf_migration_begin(NULL, to.model_id, 2, 0.7f, 0.5f, &migration), INVALID);
    EXPECT(kf_migration_begin(gallery, NULL, 2, 0.7f, 0.5f, &migration), INVALID);
    EXPECT(kf_migration_begin(gallery, to.model_id, 0, 0.7f, 0.5f, &migration), INVALID);
    EXPECT(kf_migration_begin(gallery, to.model_id, 9, 0.7f, 0.5f, &migration), INVALID);
    EXPECT(kf_migration_begin(gallery, to.model_id, 2, NAN_VALUE, 0.5f, &migration), INVALID);
    EXPECT(kf_migration_begin(gallery, to.model_id, 2, 0.7f, NAN_VALUE, &migration), INVALID);
    EXPECT(kf_migration_begin(gallery, to.model_id, 2, 0.7f, 0.5f, NULL), INVALID);
    CHECK(migration == UNTOUCHED);
    list[0] = a;
    OK(kf_gallery_enrol(gallery, "A", 1, list, 1, 0, &id));
    OK(kf_migration_begin(gallery, to.model_id, 2, 0.7f, 0.5f, &migration));
    OK(kf_gallery_get_model(gallery, model));
    CHECK(memcmp(model, to.model_id, 32) == 0);
#define OFFER(score, embedding) \
    kf_migration_offer(migration, gallery, id, score, embedding, 0.9f, 7, &progress, &wanted)
    EXPECT(OFFER(0.9f, NULL), INVALID);
    EXPECT(OFFER(0.9f, b), INVALID); /* empty */
    EXPECT(OFFER(0.9f, a), KF_STATUS_MODEL_MISMATCH);
    OK(kf_template_import(values, to.dimension, b));
    EXPECT(kf_migration_offer(migration, NULL, id, 0.9f, b, 0.9f, 7, &progress, &wanted), INVALID);
    EXPECT(kf_migration_offer(migration, gallery, id, 0.9f, b, 0.9f, 7, NULL, &wanted), INVALID);
    EXPECT(kf_migration_offer(migration, gallery, id, 0.9f, b, 0.9f, 7, &progress, NULL), INVALID);
    EXPECT(kf_migration_remaining(migration, NULL, &count), INVALID);
    CHECK(progress == 77 && wanted == 77 && count == 77);
    OK(OFFER(0.69f, b));
    CHECK(progress == KF_PROGRESS_IGNORED && wanted == 0);
    OK(OFFER(0.9f, b));
    CHECK(progress == KF_PROGRESS_WANTED && wanted == 1);
    OK(kf_migration_remaining(migration, gallery, &count));
    CHECK(count == 1);
    values[0] = -1;
    OK(kf_template_import(values, to.dimension, b));
    OK(OFFER(0.9f, b));
    CHECK(progress == KF_PROGRESS_DISAGREED && wanted == 0);
    /* Too early to end: the migration is over all the same, and goes on when begun again. */
    EXPECT(kf_migration_finish(migration, gallery, NULL, 0), INVALID);
    EXPECT(kf_migration_finish(migration, gallery, from.model_id, 2), INVALID);
    EXPECT(kf_migration_finish(migration, gallery, from.model_id, 0), INVALID);
    progress = 77;
    EXPECT(OFFER(0.9f, b), INVALID);
    EXPECT(kf_migration_remaining(migration, gallery, &count), INVALID);
    CHECK(progress == 77 && count == 1);
    kf_migration_free(migration);
    OK(kf_migration_begin(gallery, to.model_id, 1, 0.7f, 0.5f, &migration));
    OK(OFFER(0.9f, b));
    CHECK(progress == KF_PROGRESS_ENROLLED && wanted == 0);
    OK(kf_migration_remaining(migration, gallery, &count));
    CHECK(count == 0);
    OK(kf_migration_finish(migration, gallery, from.model_id, 0));
#undef OFFER
    OK(kf_gallery_search(gallery, b, &match, 1, &count));
    CHECK(count == 1 && match.person == id);
    EXPECT(kf_gallery_search(gallery, a, &match, 1, &count), KF_STATUS_MODEL_MISMATCH);
    kf_migration_free(migration);
    kf_gallery_free(gallery);
    kf_template_free(a);
    kf_template_free(b);
    kf_key_free(key);
}

int main(int argc, char **argv) {
    kf_engine *engine = NULL, *other = NULL;
    CHECK(argc == 4);
    engine = open_engine(argv[1]);
    other = open_engine(argv[2]);
    galleries(engine, other, argv[3]);
    enrolments(engine);
    migrations(engine, other, argv[3]);
    kf_engine_free(engine);
    kf_engine_free(other);
    /* Freeing nothing is nothing. */
    kf_gallery_free(NULL);
    kf_key_free(NULL);
    kf_enrolment_free(NULL);
    kf_migration_free(NULL);
    puts("rules kept");
    return 0;
}
