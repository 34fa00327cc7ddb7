/* The rules of the ABI, one by one: what a call refuses, and that it writes nothing then. Frames, packs, templates, log and
 * texts; rules_gallery.c and rules_door.c have the rest.
 *
 *     rules PACK OTHER_PACK     OTHER_PACK is the same network under another model digest
 */
#include "check.h"

static uint8_t pixels[640 * 480 * 3];

static kf_frame grey(void) {
    kf_frame frame;
    OK(kf_frame_init(KF_PIXEL_FORMAT_GREY8, 640, 480, 640, pixels, 640 * 480, &frame));
    return frame;
}

static void frames(kf_pipeline *pipeline) {
    kf_frame sound = grey(), bad;
    kf_face face, before;
    size_t count = 77;
    memset(&face, 0x33, sizeof face);
    before = face;
#define REFUSED(change, status)                                                             \
    bad = sound;                                                                            \
    change;                                                                                 \
    EXPECT(kf_frame_check(&bad), status);                                                   \
    EXPECT(kf_pipeline_detect(pipeline, &bad, &face, 1, &count), status);                   \
    CHECK(count == 77 && memcmp(&face, &before, sizeof face) == 0)

    OK(kf_frame_check(&sound));
    EXPECT(kf_frame_check(NULL), INVALID);
    EXPECT(kf_frame_check((const kf_frame *)((const char *)&sound + 1)), INVALID);
    REFUSED(bad.struct_size = 0, INVALID);
    REFUSED(bad.struct_size--, INVALID);
    REFUSED(bad.struct_size++, INVALID);
    REFUSED(bad.format = 0, INVALID);
    REFUSED(bad.format = 9, INVALID);
    REFUSED(bad.format = UINT32_MAX, INVALID);
    REFUSED(bad.rotation = 4, INVALID);
    REFUSED(bad.mirrored = 2, INVALID);
    REFUSED(bad.range = 3, INVALID);
    REFUSED(bad.plane_count = 0, INVALID);
    REFUSED(bad.plane_count = 2, INVALID);
    REFUSED(bad.plane_count = 4, INVALID);
    REFUSED(bad.planes[0].data = NULL, INVALID);
    REFUSED(bad.planes[0].length = SIZE_MAX, INVALID);
    REFUSED(bad.planes[0].length--, KF_STATUS_INVALID_FRAME);
    REFUSED(bad.planes[0].length = 0, KF_STATUS_INVALID_FRAME);
    REFUSED(bad.planes[0].stride--, KF_STATUS_INVALID_FRAME);
    REFUSED(bad.planes[0].stride = SIZE_MAX, KF_STATUS_INVALID_FRAME);
    REFUSED(bad.width = 0, KF_STATUS_INVALID_FRAME);
    REFUSED(bad.height = 16385, KF_STATUS_INVALID_FRAME);
    REFUSED(bad.height++, KF_STATUS_INVALID_FRAME);
    REFUSED((bad.format = KF_PIXEL_FORMAT_NV12, bad.plane_count = 3), INVALID);
    REFUSED((bad.format = KF_PIXEL_FORMAT_NV12), KF_STATUS_INVALID_FRAME);
    REFUSED((bad.format = KF_PIXEL_FORMAT_YUYV, bad.width = 319), KF_STATUS_INVALID_FRAME);
#undef REFUSED
    EXPECT(kf_pipeline_detect(NULL, &sound, &face, 1, &count), INVALID);
    EXPECT(kf_pipeline_detect(pipeline, &sound, NULL, 1, &count), INVALID);
    EXPECT(kf_pipeline_detect(pipeline, &sound, &face, 0, &count), INVALID);
    EXPECT(kf_pipeline_detect(pipeline, &sound, &face, 1, NULL), INVALID);
    CHECK(count == 77 && memcmp(&face, &before, sizeof face) == 0);
    OK(kf_pipeline_detect(pipeline, &sound, &face, 1, &count));
    CHECK(count == 0);
    /* The planes of one buffer, and planes of their own, are the same frame. */
    OK(kf_frame_init(KF_PIXEL_FORMAT_NV12, 320, 240, 320, pixels, 320 * 360, &sound));
    OK(kf_frame_check(&sound));
    sound.planes[0].length = 320 * 240;
    sound.planes[1].data = pixels + 320 * 240;
    sound.planes[1].length = 320 * 120;
    sound.planes[1].stride = 320;
    sound.plane_count = 2;
    OK(kf_frame_check(&sound));
    sound.planes[1].stride = 319;
    EXPECT(kf_frame_check(&sound), KF_STATUS_INVALID_FRAME);
}

static void packs(const char *path) {
    kf_pack *pack = (kf_pack *)UNTOUCHED;
    kf_pack_info info;
    kf_memory_estimate estimate;
    char text[4];
    size_t length = 77;
    float threshold = -7;
    uint8_t key[32] = {1};
    kf_engine *engine = (kf_engine *)UNTOUCHED;
    EXPECT(kf_pack_open("/nonexistent", 12, NULL, &pack), KF_STATUS_IO);
    EXPECT(kf_pack_open(NULL, 3, NULL, &pack), INVALID);
    EXPECT(kf_pack_open("\xff", 1, NULL, &pack), INVALID);
    EXPECT(kf_pack_open(path, strlen(path), NULL, NULL), INVALID);
    EXPECT(kf_pack_open(path, strlen(path), key, &pack), KF_STATUS_BAD_SIGNATURE);
    EXPECT(kf_pack_from_memory(pixels, sizeof pixels, NULL, &pack), KF_STATUS_DAMAGED_PACK);
    EXPECT(kf_pack_from_memory(NULL, 5, NULL, &pack), INVALID);
    CHECK(pack == UNTOUCHED);
    OK(kf_pack_open(path, strlen(path), NULL, &pack));
    OK(kf_pack_get_info(pack, &info));
    CHECK(info.dimension >= 1 && info.dimension <= 512 && info.has_landmark == 1 && info.vectors > 0);
    /* A buffer that is too small is not filled; capacity 0 asks. */
    memset(text, 'x', sizeof text);
    EXPECT(kf_pack_get_text(pack, KF_PACK_FIELD_LICENCE, text, sizeof text, &length), KF_STATUS_CAPACITY_EXCEEDED);
    EXPECT(kf_pack_get_text(pack, 4, text, sizeof text, &length), INVALID);
    EXPECT(kf_pack_get_text(pack, KF_PACK_FIELD_NAME, NULL, 4, &length), INVALID);
    CHECK(length == 77 && memcmp(text, "xxxx", 4) == 0);
    OK(kf_pack_get_text(pack, KF_PACK_FIELD_LICENCE, NULL, 0, &length));
    CHECK(length > 4 && length != 77);
    EXPECT(kf_pack_get_threshold(pack, 2, 0.01, 1, &threshold), INVALID);
    EXPECT(kf_pack_get_threshold(pack, KF_POLICY_TARGET_FMR, 0.0, 1, &threshold), INVALID);
    EXPECT(kf_pack_get_threshold(pack, KF_POLICY_TARGET_FMR, 1e-300, 1, &threshold), KF_STATUS_UNSUPPORTED_RATE);
    CHECK(threshold == -7);
    /* A bound on memory is kept. */
    OK(kf_pack_estimate_memory(pack, NULL, &estimate));
    EXPECT(kf_engine_load(pack, 1, &engine), KF_STATUS_MEMORY_LIMIT);
    EXPECT(kf_engine_load(NULL, 0, &engine), INVALID);
    CHECK(engine == UNTOUCHED && estimate.engine > 1);
    OK(kf_engine_load(pack, estimate.engine + estimate.pipeline - 1, &engine));
    {
        kf_pipeline *pipeline = (kf_pipeline *)UNTOUCHED;
        kf_pipeline_options options;
        EXPECT(kf_pipeline_new(engine, NULL, &pipeline), KF_STATUS_MEMORY_LIMIT);
        kf_engine_free(engine);
        OK(kf_engine_load(pack, 0, &engine));
        OK(kf_pipeline_options_init(&options));
        options.threads = 0;
        EXPECT(kf_pipeline_new(engine, &options, &pipeline), INVALID);
        OK(kf_pipeline_options_init(&options));
        options.struct_size += 4;
        EXPECT(kf_pipeline_new(engine, &options, &pipeline), INVALID);
        OK(kf_pipeline_options_init(&options));
        options.quality.max_yaw = NAN_VALUE;
        EXPECT(kf_pipeline_new(engine, &options, &pipeline), INVALID);
        CHECK(pipeline == UNTOUCHED);
    }
    kf_engine_free(engine);
    kf_pack_free(pack);
}

static void templates(const kf_engine *engine, const kf_engine *other, kf_pipeline *pipeline) {
    kf_template *a = NULL, *b = NULL, *foreign = NULL;
    const kf_template *list[2];
    float values[512], weights[2] = {1, 1}, cosine = -7;
    kf_engine_info info;
    kf_frame frame = grey();
    kf_face face;
    kf_quality quality;
    uint32_t described = 77;
    size_t i, count = 77;
    OK(kf_engine_get_info(engine, &info));
    for (i = 0; i < 512; i++) {
        values[i] = (float)(i % 7) - 3;
    }
    OK(kf_template_new(engine, &a));
    OK(kf_template_new(engine, &b));
    OK(kf_template_new(other, &foreign));
    EXPECT(kf_template_similarity(a, b, &cosine), INVALID); /* empty */
    EXPECT(kf_template_export(a, values, 512, &count), INVALID);
    OK(kf_template_import(values, info.dimension, a));
    OK(kf_template_import(values, info.dimension, foreign));
    EXPECT(kf_template_similarity(a, foreign, &cosine), KF_STATUS_MODEL_MISMATCH);
    EXPECT(kf_template_import(values, info.dimension - 1, b), KF_STATUS_MODEL_MISMATCH);
    EXPECT(kf_template_import(NULL, info.dimension, b), INVALID);
    values[0] = NAN_VALUE;
    EXPECT(kf_template_import(values, info.dimension, a), INVALID);
    CHECK(cosine == -7 && count == 77);
    list[0] = a;
    list[1] = foreign;
    EXPECT(kf_template_fuse(list, weights, 2, b), KF_STATUS_MODEL_MISMATCH);
    EXPECT(kf_template_fuse(list, weights, 1, a), INVALID); /* the result is among the shots */
    EXPECT(kf_template_fuse(list, weights, 65, b), INVALID);
    EXPECT(kf_template_fuse(list, weights, 0, b), INVALID);
    OK(kf_template_fuse(list, weights, 1, b));
    OK(kf_template_similarity(a, b, &cosine));
    CHECK(cosine > 0.9999f);
    EXPECT(kf_template_export(a, values, info.dimension - 1, &count), KF_STATUS_CAPACITY_EXCEEDED);
    OK(kf_template_export(a, values, 512, &count));
    CHECK(count == info.dimension);
    /* A template of another engine is not filled. */
    memset(&face, 0, sizeof face);
    memset(&quality, 0x33, sizeof quality);
    for (i = 0; i < 5; i++) {
        static const float x[5] = {200, 260, 230, 205, 255}, y[5] = {200, 200, 235, 265, 265};
        face.points[i].x = x[i];
        face.points[i].y = y[i];
    }
    face.score = 0.9f;
    EXPECT(kf_pipeline_describe(pipeline, &frame, &face, foreign, &quality, &described), KF_STATUS_MODEL_MISMATCH);
    CHECK(described == 77);
    OK(kf_pipeline_describe(pipeline, &frame, &face, a, &quality, &described));
    CHECK(described == 1 && quality.reasons != 0);
    face.points[0].x = NAN_VALUE;
    described = 77;
    EXPECT(kf_pipeline_describe(pipeline, &frame, &face, a, &quality, &described), INVALID);
    /* Points that are one point are no face: a value, not an error. */
    memset(face.points, 0, sizeof face.points);
    CHECK(described == 77);
    OK(kf_pipeline_describe(pipeline, &frame, &face, a, &quality, &described));
    CHECK(described == 0);
    EXPECT(kf_pipeline_embed_aligned(pipeline, &frame, NULL, a), INVALID);
    frame.width = frame.height = 112;
    OK(kf_pipeline_embed_aligned(pipeline, &frame, NULL, a));
    kf_template_free(a);
    kf_template_free(b);
    kf_template_free(foreign);
}

static void test_card(void) {
    size_t count = 77;
    uint32_t faults = 77;
    kf_frame frame;
    EXPECT(kf_test_card(63, 64, pixels, sizeof pixels, &count), INVALID);
    EXPECT(kf_test_card(640, 480, pixels, sizeof pixels - 1, &count), KF_STATUS_CAPACITY_EXCEEDED);
    CHECK(count == 77 && pixels[0] == 0);
    OK(kf_test_card(640, 480, pixels, sizeof pixels, &count));
    CHECK(count == sizeof pixels);
    OK(kf_frame_init(KF_PIXEL_FORMAT_BGR8, 640, 480, 1920, pixels, sizeof pixels, &frame));
    EXPECT(kf_selftest_frame(NULL, &faults), INVALID);
    CHECK(faults == 77);
    OK(kf_selftest_frame(&frame, &faults));
    CHECK(faults == KF_FAULT_RED_BLUE_SWAPPED);
    frame.format = KF_PIXEL_FORMAT_RGB8;
    OK(kf_selftest_frame(&frame, &faults));
    CHECK(faults == 0);
    frame.mirrored = 1;
    OK(kf_selftest_frame(&frame, &faults));
    CHECK(faults == KF_FAULT_MIRRORED);
}

static void count_messages(uint32_t level, const char *text, size_t length, void *userdata) {
    CHECK(level >= KF_LOG_LEVEL_ERROR && level <= KF_LOG_LEVEL_WARN && text != NULL && length > 0);
    CHECK(kf_set_log(KF_LOG_LEVEL_OFF, NULL, NULL) == INVALID); /* not from inside */
    ++*(int *)userdata;
}

static void logs(void) {
    int messages = 0, before;
    EXPECT(kf_set_log(6, count_messages, &messages), INVALID);
    OK(kf_set_log(KF_LOG_LEVEL_WARN, count_messages, &messages));
    EXPECT(kf_frame_check(NULL), INVALID);
    CHECK(messages == 1);
    OK(kf_set_log(KF_LOG_LEVEL_OFF, NULL, NULL));
    before = messages;
    EXPECT(kf_frame_check(NULL), INVALID);
    CHECK(messages == before);
}

static void texts(void) {
    char text[64];
    size_t length = 77;
    memset(text, 'x', sizeof text);
    EXPECT(kf_decision_reasons_text(UINT32_C(1) << 16, text, sizeof text, &length), INVALID);
    EXPECT(kf_quality_reasons_text(UINT32_C(1) << 31, text, sizeof text, &length), INVALID);
    EXPECT(kf_faults_text(512, text, sizeof text, &length), INVALID);
    EXPECT(kf_decision_reasons_text(KF_DECISION_REASON_NO_MATCH, text, 7, &length), KF_STATUS_CAPACITY_EXCEEDED);
    EXPECT(kf_decision_reasons_text(KF_DECISION_REASON_NO_MATCH, NULL, 7, &length), INVALID);
    EXPECT(kf_decision_reasons_text(KF_DECISION_REASON_NO_MATCH, text, 8, NULL), INVALID);
    CHECK(length == 77 && text[0] == 'x');
    OK(kf_decision_reasons_text(KF_DECISION_REASON_NO_MATCH | KF_DECISION_REASON_DOOR_LOCKED, text, sizeof text, &length));
    CHECK(length == 21 && memcmp(text, "no match, door locked", 21) == 0 && text[21] == 'x');
    OK(kf_decision_reasons_text(0, NULL, 0, &length));
    CHECK(length == 0);
    OK(kf_quality_reasons_text(KF_QUALITY_REASON_TOO_DARK, NULL, 0, &length));
    CHECK(length > 0);
    OK(kf_faults_text(KF_FAULT_MIRRORED, NULL, 0, &length));
    CHECK(length > 0);
}

static void build_and_texts(void) {
    kf_build_info info;
    uint32_t level = 77;
    int status;
    OK(kf_get_build_info(&info));
    CHECK(info.version_major == KF_VERSION_MAJOR && info.version_minor == KF_VERSION_MINOR);
    CHECK(info.version_patch == KF_VERSION_PATCH && info.abi_version == KF_ABI_VERSION);
    EXPECT(kf_get_build_info(NULL), INVALID);
    OK(kf_get_cpu_level(&level));
    CHECK(strcmp(kf_cpu_level_name(level), "unknown") != 0);
    CHECK(strcmp(kf_cpu_level_name(99), "unknown") == 0);
    for (status = 0; status <= 19; status++) {
        CHECK(strcmp(kf_status_text(status), "unknown status") != 0);
    }
    CHECK(strcmp(kf_status_text(20), "unknown status") == 0 && strcmp(kf_status_text(-1), "unknown status") == 0);
}

int main(int argc, char **argv) {
    kf_engine *engine = NULL, *other = NULL;
    kf_pipeline *pipeline = NULL;
    CHECK(argc == 3);
    build_and_texts();
    texts();
    logs();
    packs(argv[1]);
    engine = open_engine(argv[1]);
    other = open_engine(argv[2]);
    OK(kf_pipeline_new(engine, NULL, &pipeline));
    frames(pipeline);
    templates(engine, other, pipeline);
    test_card();
    kf_pipeline_free(pipeline);
    kf_engine_free(engine);
    kf_engine_free(other);
    /* Freeing nothing is nothing. */
    kf_pack_free(NULL);
    kf_engine_free(NULL);
    kf_pipeline_free(NULL);
    kf_template_free(NULL);
    puts("rules kept");
    return 0;
}
