// The main job in C++, built with and without exceptions.
//
//     scenario PACK PICTURES WORK
#include "check.h"
#include "keyface.hpp"

#include <algorithm>
#include <utility>

namespace {

// The best face of a picture.
kf_face see(kf::pipeline &pipeline, const picture &from, kf::embedding &into) {
    kf_frame frame = frame_of(&from);
    auto faces = pipeline.detect(frame);
    CHECK(faces && !faces->empty());
    auto described = pipeline.describe(frame, faces->front(), into);
    CHECK(described && described->is_face && described->quality.landmark_score > 0.3f);
    return faces->front();
}

void throws() {
#if KEYFACE_EXCEPTIONS
    try {
        kf::pack::open("/nonexistent").value();
        CHECK(false);
    } catch (const kf::error &e) {
        CHECK(e.status() == KF_STATUS_IO && std::string(e.what()) == "input/output error");
    }
#endif
    auto missing = kf::pack::open("/nonexistent");
    CHECK(!missing && missing.status() == KF_STATUS_IO && missing->get() == nullptr);
}

} // namespace

int main(int argc, char **argv) {
    CHECK(argc == 4);
    throws();
    kf::pack pack = kf::pack::open(argv[1]).value();
    CHECK(!pack.text(KF_PACK_FIELD_LICENCE).value().empty());
    float threshold = pack.threshold(KF_POLICY_TARGET_FPIR, 1e-3, 1).value();
    kf::engine engine = kf::engine::load(pack).value();
    pack = kf::pack();
    kf::pipeline pipeline = kf::pipeline::make(engine).value();
    kf::embedding probe = kf::embedding::make(engine).value();

    std::uint8_t secret[32] = {8};
    kf::key key = kf::key::from_bytes(secret, sizeof secret).value();
    kf::gallery gallery = kf::gallery::open(std::string(argv[3]) + "/cpp.kfgallery", key, 10).value();
    picture portrait = load_ppm(argv[2], "portrait-2012");
    see(pipeline, portrait, probe);
    std::uint64_t person = gallery.enrol("Portrait of 2012", probe, 1).value();
    CHECK(gallery.people().value().size() == 1);

    kf_rules rules;
    OK(kf_rules_init(threshold, &rules));
    kf::decider decider = kf::decider::make(rules).value();
    std::uint64_t time = 1;
    const char *visitors[] = {"address-2009", "astronaut"};
    for (int visitor = 0; visitor < 2; visitor++) {
        picture from = load_ppm(argv[2], visitors[visitor]);
        see(pipeline, from, probe);
        auto matches = gallery.search(probe).value();
        kf_observation seen = kf::observation(0);
        seen.seen = KF_SEEN_FACE;
        seen.matches = matches.data();
        seen.match_count = static_cast<std::uint32_t>(matches.size());
        int allowed = 0;
        for (int shot = 0; shot < 4; shot++) {
            seen.time_us = time += 200000;
            kf_decision decision = decider.step(seen).value();
            allowed += decision.verdict == KF_VERDICT_ALLOW && decision.person == person;
        }
        CHECK(allowed == (visitor == 0 ? 1 : 0));
        std::free(from.rgb);
    }
    // What is recorded, exported and known of a person; a challenge that nobody is there for.
    std::string log;
    auto keep = [](const char *line, std::size_t length, void *to) {
        static_cast<std::string *>(to)->append(line, length);
        return std::uint32_t(1);
    };
    kf::audit audit = kf::audit::make(keep, &log).value();
    kf_decision allow = {KF_VERDICT_ALLOW, 0, person};
    CHECK(audit.write(5, allow).value() && audit.write(6, KF_EVENT_UNLOCKED));
    CHECK(log.find("\"event\":\"allow\"") != std::string::npos && log.find("unlocked") != std::string::npos);
    CHECK(kf::decision_reasons(KF_DECISION_REASON_NO_MATCH).value() == "no match");
    auto stored = gallery.export_person("Portrait of 2012").value();
    kf_engine_info info = engine.info().value();
    CHECK(stored.size() == 1 && stored[0].person == person && stored[0].dimension == info.dimension);
    kf::model_id model = gallery.model().value();
    CHECK(std::equal(model.begin(), model.end(), info.model_id));
    CHECK(gallery.find("Portrait of 2012").value().id == person);
    std::vector<float> values = probe.export_values().value();
    kf::embedding same = kf::embedding::make(engine).value();
    CHECK(same.import_values(values) && same.similarity(probe).value() > 0.9999f);
    CHECK(same.fuse({&probe}, {1.0f}) && same.fuse({&probe}, {}).status() == KF_STATUS_INVALID_ARGUMENT);
    kf_challenge_rules strict;
    OK(kf_challenge_rules_init(0.3f, &strict));
    kf::challenge challenge = kf::challenge::make(1, strict).value();
    CHECK(challenge.nobody(1).value().failure == KF_CHALLENGE_FAILURE_FACE_LOST);
    CHECK(challenge.state().value().stage == KF_CHALLENGE_STAGE_FAILED);
    kf::migration migration = kf::migration::begin(gallery, kf::model_id{{9}}, 1, 0.9f, 0.5f).value();
    CHECK(migration.remaining(gallery).value() == 1 && migration.finish(gallery, model, true));
    CHECK(gallery.remove("nobody").status() == KF_STATUS_NOT_FOUND);
    CHECK(gallery.wipe());
    std::free(portrait.rgb);
    std::printf("scenario passed %s exceptions\n", KEYFACE_EXCEPTIONS ? "with" : "without");
    return 0;
}
