/* The rules of the ABI for what a door decides by and tells of: decisions, challenge, passive check, audit log. As rules.c.
 *
 *     rules_door PACK OTHER_PACK WORK ONNX     ONNX is sdk/tests/data/mean_rgb.onnx, which calls red faces live
 */
#include "check.h"

static uint32_t never(uint64_t person, uint64_t time, void *asked) {
    CHECK(person == 4 && time > 0);
    ++*(int *)asked;
    return 0;
}

static void decisions(void) {
    kf_rules rules;
    kf_decider *decider = (kf_decider *)UNTOUCHED;
    kf_match match = {4, 1, 0.9f, 0};
    kf_observation seen;
    kf_decision decision = {77, 77, 77};
    uint64_t until = 77;
    int asked = 0;
    OK(kf_rules_init(0.5f, &rules));
    rules.struct_size--;
    EXPECT(kf_decider_new(&rules, &decider), INVALID);
    OK(kf_rules_init(0.5f, &rules));
    rules.votes = 17;
    EXPECT(kf_decider_new(&rules, &decider), INVALID);
    OK(kf_rules_init(NAN_VALUE, &rules));
    EXPECT(kf_decider_new(&rules, &decider), INVALID);
    OK(kf_rules_init(0.5f, &rules));
    rules.need_liveness = 2;
    EXPECT(kf_decider_new(&rules, &decider), INVALID);
    CHECK(decider == UNTOUCHED);
    OK(kf_rules_init(0.5f, &rules));
    rules.votes = 1;
    OK(kf_decider_new(&rules, &decider));
    memset(&seen, 0, sizeof seen);
    EXPECT(kf_decider_step(decider, &seen, NULL, NULL, &decision), INVALID); /* no size */
    seen.struct_size = sizeof seen;
    seen.seen = 5;
    EXPECT(kf_decider_step(decider, &seen, NULL, NULL, &decision), INVALID);
    seen.seen = KF_SEEN_FACE;
    seen.liveness = 4;
    EXPECT(kf_decider_step(decider, &seen, NULL, NULL, &decision), INVALID);
    seen.liveness = 0;
    seen.match_count = 17;
    EXPECT(kf_decider_step(decider, &seen, NULL, NULL, &decision), INVALID);
    seen.match_count = 1;
    EXPECT(kf_decider_step(decider, &seen, NULL, NULL, &decision), INVALID); /* NULL matches */
    CHECK(decision.verdict == 77 && decision.person == 77);
    /* What was never filled in keeps the door shut. */
    seen.match_count = 0;
    seen.seen = 0;
    seen.time_us = 1;
    OK(kf_decider_step(decider, &seen, NULL, NULL, &decision));
    CHECK(decision.verdict == KF_VERDICT_DENY && decision.reasons == KF_DECISION_REASON_ERROR && decision.person == 0);
    seen.seen = KF_SEEN_FACE;
    seen.matches = &match;
    seen.match_count = 1;
    seen.time_us = 2;
    OK(kf_decider_step(decider, &seen, never, &asked, &decision));
    CHECK(decision.verdict == KF_VERDICT_DENY && decision.reasons == KF_DECISION_REASON_SCHEDULE && asked == 1);
    seen.time_us = 3;
    OK(kf_decider_step(decider, &seen, NULL, NULL, &decision));
    CHECK(decision.verdict == KF_VERDICT_ALLOW && decision.reasons == 0 && decision.person == 4);
    EXPECT(kf_decider_set_threshold(decider, NAN_VALUE), INVALID);
    OK(kf_decider_locked_until(decider, 0, 3, &until));
    CHECK(until == 0);
    OK(kf_decider_clock_restarted(decider, 0));
    OK(kf_decider_unlock(decider));
    kf_decider_free(decider);
}

static void challenges(const kf_engine *engine, const kf_engine *other) {
    static const float x[5] = {200, 260, 230, 205, 255}, y[5] = {200, 200, 235, 265, 265};
    kf_challenge_rules rules;
    kf_challenge *challenge = (kf_challenge *)UNTOUCHED;
    kf_challenge_state state = {77, 77};
    kf_template *me = NULL, *foreign = NULL;
    kf_engine_info info;
    kf_face face, bad;
    float values[512] = {1};
    uint64_t time = 0;
    int i;
    memset(&face, 0, sizeof face);
    for (i = 0; i < 5; i++) {
        face.points[i].x = x[i];
        face.points[i].y = y[i];
    }
    OK(kf_engine_get_info(engine, &info));
    OK(kf_template_new(engine, &me));
    OK(kf_template_new(other, &foreign));
    EXPECT(kf_challenge_rules_init(0.3f, NULL), INVALID);
    OK(kf_challenge_rules_init(0.3f, &rules));
    CHECK(rules.struct_size == sizeof rules && rules.actions == 3 && rules.identity == 0.3f && rules.timeout_us > 0);
    rules.struct_size++;
    EXPECT(kf_challenge_new(1, &rules, &challenge), INVALID);
    OK(kf_challenge_rules_init(NAN_VALUE, &rules));
    EXPECT(kf_challenge_new(1, &rules, &challenge), INVALID);
    OK(kf_challenge_rules_init(0.3f, &rules));
    rules.actions = 9;
    EXPECT(kf_challenge_new(1, &rules, &challenge), INVALID);
    rules.actions = 0;
    EXPECT(kf_challenge_new(1, &rules, &challenge), INVALID);
    EXPECT(kf_challenge_new(1, NULL, &challenge), INVALID);
    CHECK(challenge == UNTOUCHED);
    OK(kf_challenge_rules_init(0.3f, &rules));
    EXPECT(kf_challenge_new(1, &rules, NULL), INVALID);
    OK(kf_challenge_new(1, &rules, &challenge));
    EXPECT(kf_challenge_step(challenge, 1, &face, NULL, &state), INVALID);
    EXPECT(kf_challenge_step(challenge, 1, NULL, me, &state), INVALID);
    EXPECT(kf_challenge_step(challenge, 1, &face, me, &state), INVALID); /* empty */
    OK(kf_template_import(values, info.dimension, me));
    OK(kf_template_import(values, info.dimension, foreign));
    bad = face;
    bad.points[4].y = NAN_VALUE;
    EXPECT(kf_challenge_step(challenge, 1, &bad, me, &state), INVALID);
    EXPECT(kf_challenge_step(challenge, 1, &face, me, NULL), INVALID);
    EXPECT(kf_challenge_get_state(challenge, NULL), INVALID);
    CHECK(state.stage == 77 && state.failure == 77);
    OK(kf_challenge_get_state(challenge, &state));
    CHECK(state.stage == KF_CHALLENGE_STAGE_LOOK_STRAIGHT && state.failure == KF_CHALLENGE_FAILURE_NONE);
    while (state.stage == KF_CHALLENGE_STAGE_LOOK_STRAIGHT) {
        CHECK(time < 1000000);
        OK(kf_challenge_step(challenge, time += 100000, &face, me, &state));
    }
    CHECK(state.stage >= KF_CHALLENGE_STAGE_TURN_LEFT && state.stage <= KF_CHALLENGE_STAGE_COME_CLOSER);
    /* Another model's embedding fails the call and the challenge. */
    state.stage = 77;
    EXPECT(kf_challenge_step(challenge, time += 100000, &face, foreign, &state), KF_STATUS_MODEL_MISMATCH);
    CHECK(state.stage == 77);
    OK(kf_challenge_step(challenge, time += 100000, NULL, NULL, &state));
    CHECK(state.stage == KF_CHALLENGE_STAGE_FAILED && state.failure == KF_CHALLENGE_FAILURE_SOMEBODY_ELSE);
    kf_challenge_free(challenge);
    OK(kf_challenge_new(1, &rules, &challenge));
    OK(kf_challenge_step(challenge, 1, NULL, NULL, &state));
    CHECK(state.stage == KF_CHALLENGE_STAGE_FAILED && state.failure == KF_CHALLENGE_FAILURE_FACE_LOST);
    kf_challenge_free(challenge);
    kf_template_free(me);
    kf_template_free(foreign);
}

/* The model answers four times the mean of each colour: only red faces are live. */
static void passives(const char *onnx) {
    static uint8_t model[4096], pixels[64 * 64 * 3];
    FILE *file = fopen(onnx, "rb");
    size_t length, i;
    kf_build_info build;
    kf_passive_rules rules;
    kf_passive *passive = (kf_passive *)UNTOUCHED;
    kf_frame frame, bad;
    kf_face face;
    uint32_t liveness = 77, channel;
    CHECK(file != NULL);
    length = fread(model, 1, sizeof model, file);
    fclose(file);
    EXPECT(kf_passive_rules_init(NULL), INVALID);
    OK(kf_passive_rules_init(&rules));
    CHECK(rules.struct_size == sizeof rules && rules.side == 80 && rules.real_class == 1);
    rules.struct_size--;
    EXPECT(kf_passive_new(model, length, &rules, &passive), INVALID);
    OK(kf_passive_rules_init(&rules));
    rules.real_class = 0;
    rules.side = 8;
    EXPECT(kf_passive_new(model, length, &rules, &passive), INVALID);
    rules.side = 32;
    rules.expand = NAN_VALUE;
    EXPECT(kf_passive_new(model, length, &rules, &passive), INVALID);
    rules.expand = 1;
    EXPECT(kf_passive_new(NULL, length, &rules, &passive), INVALID);
    EXPECT(kf_passive_new(model, length, NULL, &passive), INVALID);
    EXPECT(kf_passive_new(model, length, &rules, NULL), INVALID);
    EXPECT(kf_passive_new(model, 16, &rules, &passive), KF_STATUS_UNSUPPORTED_PACK);
    OK(kf_get_build_info(&build));
    if ((build.features & KF_FEATURE_ONNX) == 0) {
        EXPECT(kf_passive_new(model, length, &rules, &passive), KF_STATUS_UNSUPPORTED_PACK);
        CHECK(passive == UNTOUCHED);
        return;
    }
    CHECK(passive == UNTOUCHED);
    OK(kf_passive_new(model, length, &rules, &passive));
    memset(&face, 0, sizeof face);
    face.x = face.y = 20;
    face.width = face.height = 20;
    OK(kf_frame_init(KF_PIXEL_FORMAT_RGB8, 64, 64, 192, pixels, sizeof pixels, &frame));
    bad = frame;
    bad.planes[0].length--;
    EXPECT(kf_passive_check(passive, &bad, &face, &liveness), KF_STATUS_INVALID_FRAME);
    EXPECT(kf_passive_check(passive, NULL, &face, &liveness), INVALID);
    EXPECT(kf_passive_check(passive, &frame, NULL, &liveness), INVALID);
    EXPECT(kf_passive_check(passive, &frame, &face, NULL), INVALID);
    EXPECT(kf_passive_check(NULL, &frame, &face, &liveness), INVALID);
    CHECK(liveness == 77);
    for (channel = 0; channel < 3; channel += 2) {
        for (i = 0; i < sizeof pixels; i++) {
            pixels[i] = i % 3 == channel ? 255 : 0;
        }
        OK(kf_passive_check(passive, &frame, &face, &liveness));
        CHECK(liveness == (channel == 0 ? KF_LIVENESS_REAL : KF_LIVENESS_SPOOF));
    }
    face.width = face.height = 0;
    OK(kf_passive_check(passive, &frame, &face, &liveness));
    CHECK(liveness == KF_LIVENESS_UNSURE);
    kf_passive_free(passive);
    rules.real_class = 3;
    OK(kf_passive_new(model, length, &rules, &passive));
    face.width = face.height = 20;
    liveness = 77;
    EXPECT(kf_passive_check(passive, &frame, &face, &liveness), KF_STATUS_UNSUPPORTED_PACK);
    CHECK(liveness == 77);
    kf_passive_free(passive);
}

typedef struct lines {
    char text[512];
    uint32_t answer;
} lines;

static uint32_t keep(const char *line, size_t length, void *userdata) {
    lines *kept = (lines *)userdata;
    size_t before = strlen(kept->text);
    CHECK(length > 0 && line[length - 1] == '\n' && before + length < sizeof kept->text);
    if (kept->answer == 1) {
        memcpy(kept->text + before, line, length);
    }
    return kept->answer;
}

static void audits(const char *work) {
    static const char wanted[] = "{\"n\":7,\"at_ms\":1,\"event\":\"deny\",\"reasons\":[\"no match\",\"door locked\"]}\n"
                                 "{\"n\":8,\"at_ms\":3,\"event\":\"allow\",\"person\":4,\"reasons\":[]}\n"
                                 "{\"n\":9,\"at_ms\":4,\"event\":\"removed\",\"person\":4}\n";
    kf_audit *audit = (kf_audit *)UNTOUCHED;
    kf_decision deny = {KF_VERDICT_DENY, KF_DECISION_REASON_NO_MATCH | KF_DECISION_REASON_DOOR_LOCKED, 0}, bad;
    kf_decision allow = {KF_VERDICT_ALLOW, 0, 4}, wait = {KF_VERDICT_WAIT, KF_DECISION_REASON_COLLECTING, 0};
    lines kept = {"", 1};
    uint32_t written = 77;
    char path[1024], text[256];
    FILE *file;
    int i;
    EXPECT(kf_audit_new(NULL, &kept, 7, &audit), INVALID);
    EXPECT(kf_audit_new(keep, &kept, 7, NULL), INVALID);
    EXPECT(kf_audit_open("/nonexistent/audit", 18, &audit), KF_STATUS_IO);
    EXPECT(kf_audit_open(NULL, 3, &audit), INVALID);
    CHECK(audit == UNTOUCHED);
    OK(kf_audit_new(keep, &kept, 7, &audit));
#define REFUSED(change)                                                                     \
    bad = deny;                                                                             \
    change;                                                                                 \
    EXPECT(kf_audit_write_decision(audit, 1, &bad, &written), INVALID)
    REFUSED(bad.verdict = 3);
    REFUSED(bad.reasons = UINT32_C(1) << 16);
    REFUSED(bad.person = 4);
    REFUSED(bad.verdict = KF_VERDICT_ALLOW);
#undef REFUSED
    EXPECT(kf_audit_write_decision(audit, 1, NULL, &written), INVALID);
    EXPECT(kf_audit_write_decision(audit, 1, &deny, NULL), INVALID);
    EXPECT(kf_audit_write_event(audit, 1, 0, 4, &written), INVALID);
    EXPECT(kf_audit_write_event(audit, 1, 5, 4, &written), INVALID);
    EXPECT(kf_audit_write_event(audit, 1, KF_EVENT_ENROLLED, 0, &written), INVALID);
    EXPECT(kf_audit_write_event(audit, 1, KF_EVENT_WIPED, 4, &written), INVALID);
    EXPECT(kf_audit_write_event(NULL, 1, KF_EVENT_WIPED, 0, &written), INVALID);
    kept.answer = 0;
    EXPECT(kf_audit_write_decision(audit, 1, &deny, &written), KF_STATUS_IO);
    kept.answer = 2;
    EXPECT(kf_audit_write_decision(audit, 1, &deny, &written), KF_STATUS_IO);
    CHECK(written == 77 && kept.text[0] == 0);
    kept.answer = 1;
    OK(kf_audit_write_decision(audit, 1, &deny, &written));
    CHECK(written == 1);
    OK(kf_audit_write_decision(audit, 2, &deny, &written));
    CHECK(written == 0);
    OK(kf_audit_write_decision(audit, 2, &wait, &written));
    CHECK(written == 0);
    OK(kf_audit_write_decision(audit, 3, &allow, &written));
    CHECK(written == 1);
    OK(kf_audit_write_event(audit, 4, KF_EVENT_REMOVED, 4, &written));
    CHECK(written == 1 && strcmp(kept.text, wanted) == 0);
    kf_audit_free(audit);
    /* A file is numbered on. */
    snprintf(path, sizeof path, "%s/audit", work);
    remove(path);
    for (i = 0; i < 2; i++) {
        OK(kf_audit_open(path, strlen(path), &audit));
        OK(kf_audit_write_event(audit, 5, i == 0 ? KF_EVENT_WIPED : KF_EVENT_UNLOCKED, 0, &written));
        kf_audit_free(audit);
    }
    file = fopen(path, "rb");
    CHECK(file != NULL);
    text[fread(text, 1, sizeof text - 1, file)] = 0;
    fclose(file);
    CHECK(strcmp(text, "{\"n\":0,\"at_ms\":5,\"event\":\"wiped\"}\n{\"n\":1,\"at_ms\":5,\"event\":\"unlocked\"}\n") == 0);
    /* A full disk. */
    OK(kf_audit_open("/dev/full", 9, &audit));
    written = 77;
    EXPECT(kf_audit_write_event(audit, 5, KF_EVENT_WIPED, 0, &written), KF_STATUS_IO);
    CHECK(written == 77);
    kf_audit_free(audit);
}

int main(int argc, char **argv) {
    kf_engine *engine = NULL, *other = NULL;
    CHECK(argc == 5);
    engine = open_engine(argv[1]);
    other = open_engine(argv[2]);
    decisions();
    challenges(engine, other);
    passives(argv[4]);
    audits(argv[3]);
    kf_engine_free(engine);
    kf_engine_free(other);
    /* Freeing nothing is nothing. */
    kf_decider_free(NULL);
    kf_challenge_free(NULL);
    kf_passive_free(NULL);
    kf_audit_free(NULL);
    puts("rules kept");
    return 0;
}
