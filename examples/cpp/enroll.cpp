// Enrolment in C++: guides one person to some varied good views and stores what they have in common.
//
//     enroll --source v4l2: --gallery door.kfgallery --pack default.kfpack --name "Ada Lovelace"
//
// The same flags and the same lines as examples/c/enroll.c. Build: c++ -std=c++11 enroll.cpp $(pkg-config --cflags --libs keyface)
#include <keyface.hpp>

#include <cstdio>
#include <ctime>
#include <fstream>
#include <map>

namespace {

enum exit_code { done = 0, not_enrolled = 1, usage = 2, model_or_gallery = 4, no_source = 5 };

struct desk {
    kf::pipeline pipeline;
    kf::embedding embedding;
    kf::gallery gallery;
    kf::enrolment enrolment;
};

// Opens the key, or makes one beside a gallery that is new.
kf::key open_key(const std::string &gallery) {
    const std::string path = gallery + ".key";
    return (std::ifstream(path) ? kf::key::from_file(path) : kf::key::create_file(path)).value();
}

// Throws kf::error.
desk open_desk(std::map<std::string, std::string> &args) {
    desk d;
    kf::pack pack = kf::pack::open(args["--pack"]).value();
    kf::engine engine = kf::engine::load(pack).value();
    d.pipeline = kf::pipeline::make(engine).value();
    d.embedding = kf::embedding::make(engine).value();
    d.gallery = kf::gallery::open(args["--gallery"], open_key(args["--gallery"])).value();
    float threshold = args.count("--threshold") ? std::strtof(args["--threshold"].c_str(), nullptr)
                                                : pack.threshold(KF_POLICY_TARGET_FMR, 1e-3, 1).value();
    kf_enrolment_rules rules;
    kf::status_of(kf_enrolment_rules_init(threshold, &rules)).check();
    if (args.count("--shots")) {
        rules.shots = static_cast<std::uint32_t>(std::strtoul(args["--shots"].c_str(), nullptr, 10));
    }
    d.enrolment = kf::enrolment::make(rules).value();
    return d;
}

// One frame through the enrolment; throws kf::error.
kf_guidance step(desk &d, const kf_frame &frame) {
    auto faces = d.pipeline.detect(frame).value();
    if (faces.size() > 1) {
        return d.enrolment.several(frame.timestamp_us).value();
    }
    if (!faces.empty()) {
        auto described = d.pipeline.describe(frame, faces[0], d.embedding).value();
        if (described.is_face) {
            return d.enrolment.face(frame.timestamp_us, faces[0], described.quality, d.embedding).value();
        }
    }
    return d.enrolment.nobody(frame.timestamp_us).value();
}

int run(desk &d, kf::camera &camera, const std::string &name) {
    static const char *const texts[] = {
        "step in front of the camera", "one person at a time", "come closer", "more light on the face",
        "less light on the face", "turn away from the light behind", "hold still, or focus the lens", "face the camera",
        "hold the head upright", "come into the middle of the picture", "take off what covers the face", "hold still",
        "look straight ahead", "turn a little to the left of the picture", "turn a little to the right of the picture",
        "this is not the person of the shots before", "taken", "complete", "failed"};
    std::string last;
    for (;;) {
        kf::camera::loan taken = camera.take(200).value();
        if (taken.next() == KF_CAMERA_NEXT_END) {
            std::fputs("enroll: the source ended before the enrolment was complete\n", stderr);
            return not_enrolled;
        }
        if (taken.next() == KF_CAMERA_NEXT_NOTHING) {
            continue;
        }
        kf_guidance guidance = step(d, taken.frame());
        std::string now = texts[guidance.kind];
        if (guidance.kind == KF_GUIDANCE_KIND_TAKEN) {
            now += " " + std::to_string(guidance.taken);
        }
        if (now != last) {
            std::printf("%s\n", now.c_str());
            last = now;
        }
        if (guidance.kind == KF_GUIDANCE_KIND_FAILED) {
            return not_enrolled;
        }
        if (guidance.kind == KF_GUIDANCE_KIND_COMPLETE) {
            std::uint64_t at_ms = static_cast<std::uint64_t>(std::time(nullptr)) * 1000;
            std::uint64_t person = d.enrolment.commit(d.gallery, name, at_ms).value();
            std::printf("enrolled %llu\n", static_cast<unsigned long long>(person));
            return done;
        }
    }
}

void report(std::uint32_t level, const char *message, std::size_t length, void *) {
    std::fprintf(stderr, "%s: %.*s\n", level <= KF_LOG_LEVEL_ERROR ? "error" : "warn", static_cast<int>(length), message);
}

} // namespace

int main(int argc, char **argv) {
    std::map<std::string, std::string> args;
    for (int i = 1; i + 1 < argc; i += 2) {
        args[argv[i]] = argv[i + 1];
    }
    std::size_t known = 0;
    for (const char *flag : {"--source", "--gallery", "--pack", "--name", "--shots", "--threshold"}) {
        known += args.count(flag);
    }
    bool needed = args.count("--source") && args.count("--gallery") && args.count("--pack") && args.count("--name");
    if (argc % 2 == 0 || known != args.size() || !needed) {
        std::fputs("usage: enroll --source SELECTION --gallery FILE --pack FILE --name NAME [--shots N] [--threshold SCORE]\n",
                   stderr);
        return usage;
    }
    kf_set_log(KF_LOG_LEVEL_WARN, report, nullptr);
    int failure = model_or_gallery;
    try {
        desk d = open_desk(args);
        const std::string &source = args["--source"];
        kf_camera_settings settings;
        kf::status_of(kf_camera_settings_init(&settings)).check();
        // Pictures have the time of their number, so the same pictures give the same result.
        settings.virtual_time = source.compare(0, 4, "dir:") == 0 || source.compare(0, 5, "file:") == 0 ||
                                source.compare(0, 5, "loop:") == 0;
        failure = no_source;
        kf::camera camera = kf::camera::open(source, &settings).value();
        failure = not_enrolled;
        return run(d, camera, args["--name"]);
    } catch (const kf::error &e) {
        std::fprintf(stderr, "enroll: %s\n", e.what());
        return failure;
    }
}
