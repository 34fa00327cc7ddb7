// A door terminal in C++: frames in, decisions out, a relay that opens only on ALLOW.
//
//     door_terminal --source dir:faces --gallery door.kfgallery --pack default.kfpack --relay log --votes 1
//
// The same flags and the same lines as examples/c and examples/rust/door_terminal. The gallery's key is GALLERY.key.
// Build: c++ -std=c++11 door_terminal.cpp $(pkg-config --cflags --libs keyface)
#include <keyface.hpp>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <map>

namespace {

enum exit_code { done = 0, runtime = 1, usage = 2, model_or_gallery = 4, no_source = 5, no_audit = 6 };

// A second face counts if it is at least this share of the first one's side.
const float also_meant = 0.5f;
// At most this share of strangers may be taken for somebody.
const double false_match_rate = 1e-3;

struct door {
    kf::pipeline pipeline;
    kf::embedding probe;
    kf::gallery gallery;
    kf::decider decider;
    kf::audit audit; // empty: no audit log
};

float side(const kf_face &face) { return std::sqrt(std::max(0.0f, face.width * face.height)); }

// Opens model and gallery; throws kf::error.
door open_door(std::map<std::string, std::string> &args) {
    door d;
    kf::pack pack = kf::pack::open(args["--pack"]).value();
    kf::engine engine = kf::engine::load(pack).value();
    d.pipeline = kf::pipeline::make(engine).value();
    d.probe = kf::embedding::make(engine).value();
    kf::key key = kf::key::from_file(args["--gallery"] + ".key").value();
    d.gallery = kf::gallery::open_reader(args["--gallery"], key).value();
    float threshold;
    if (args.count("--threshold")) {
        threshold = std::strtof(args["--threshold"].c_str(), nullptr);
    } else {
        std::size_t templates = static_cast<std::size_t>(d.gallery.info().value().templates);
        threshold = pack.threshold(KF_POLICY_TARGET_FPIR, false_match_rate, templates).value();
    }
    kf_rules rules;
    kf::status_of(kf_rules_init(threshold, &rules)).check();
    if (args.count("--votes")) {
        rules.votes = static_cast<std::uint32_t>(std::strtoul(args["--votes"].c_str(), nullptr, 10));
    }
    d.decider = kf::decider::make(rules).value();
    return d;
}

// What was seen in a frame: the largest face, unless another is nearly as large. Every failure is KF_SEEN_FAILED.
kf_seen look(door &d, const kf_frame &frame, std::vector<kf_match> &matches) {
    auto faces = d.pipeline.detect(frame);
    if (!faces) {
        return KF_SEEN_FAILED;
    }
    if (faces->empty()) {
        return KF_SEEN_NOBODY;
    }
    auto smaller = [](const kf_face &a, const kf_face &b) { return side(a) <= side(b); };
    const kf_face largest = *std::max_element(faces->begin(), faces->end(), smaller);
    auto counts = [&](const kf_face &face) { return side(face) >= also_meant * side(largest); };
    if (std::count_if(faces->begin(), faces->end(), counts) > 1) {
        return KF_SEEN_SEVERAL;
    }
    auto described = d.pipeline.describe(frame, largest, d.probe);
    if (!described) {
        return KF_SEEN_FAILED;
    }
    if (!described->is_face || described->quality.reasons != 0) {
        return KF_SEEN_POOR;
    }
    auto found = d.gallery.search(d.probe);
    if (!found) {
        return KF_SEEN_FAILED;
    }
    matches = std::move(*found);
    return KF_SEEN_FACE;
}

// No opening without a record: an ALLOW that cannot be written is DENY.
kf_decision record(door &d, const kf_decision &decision) {
    bool kept = d.audit.get() == nullptr || d.audit.write(static_cast<std::uint64_t>(std::time(nullptr)) * 1000, decision);
    if (kept || decision.verdict != KF_VERDICT_ALLOW) {
        return decision;
    }
    kf_decision deny = {KF_VERDICT_DENY, KF_DECISION_REASON_ERROR, 0};
    return deny;
}

// Person and reasons, no score and no name.
std::string line(const kf_decision &decision) {
    if (decision.verdict == KF_VERDICT_ALLOW) {
        return "allow " + std::to_string(decision.person);
    }
    return (decision.verdict == KF_VERDICT_WAIT ? "wait " : "deny ") + kf::decision_reasons(decision.reasons).value();
}

int run(door &d, kf::camera &camera, bool relay) {
    std::string last;
    for (;;) {
        auto taken = camera.take(200);
        if (!taken) {
            return runtime;
        }
        if (taken->next() == KF_CAMERA_NEXT_END) {
            return done;
        }
        if (taken->next() == KF_CAMERA_NEXT_NOTHING) {
            continue;
        }
        std::vector<kf_match> matches;
        kf_observation seen = kf::observation(taken->frame().timestamp_us);
        seen.seen = look(d, taken->frame(), matches);
        seen.matches = matches.data();
        seen.match_count = static_cast<std::uint32_t>(matches.size());
        kf_decision decision = record(d, *d.decider.step(seen)); // DENY where the call fails
        if (decision.verdict == KF_VERDICT_ALLOW && relay) {
            std::fputs("relay: on\n", stderr); // a real door: pulse a GPIO line here
        }
        std::string now = line(decision);
        if (now != last) {
            std::printf("%s\n", now.c_str());
            std::fflush(stdout);
            last = now;
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
    for (const char *flag : {"--source", "--gallery", "--pack", "--relay", "--votes", "--threshold", "--audit"}) {
        known += args.count(flag);
    }
    bool needed = args.count("--source") && args.count("--gallery") && args.count("--pack") && args.count("--relay");
    if (argc % 2 == 0 || known != args.size() || !needed || (args["--relay"] != "log" && args["--relay"] != "none")) {
        std::fputs("usage: door_terminal --source SELECTION --gallery FILE --pack FILE --relay log|none\n"
                   "                     [--votes N] [--threshold SCORE] [--audit FILE]\n",
                   stderr);
        return usage;
    }
    kf_set_log(KF_LOG_LEVEL_WARN, report, nullptr);
    try {
        door d = open_door(args);
        if (args.count("--audit")) {
            auto audit = kf::audit::open(args["--audit"]);
            if (!audit) {
                std::fprintf(stderr, "door_terminal: %s: %s\n", args["--audit"].c_str(), audit.text());
                return no_audit;
            }
            d.audit = std::move(*audit);
        }
        const std::string &source = args["--source"];
        kf_camera_settings settings;
        kf::status_of(kf_camera_settings_init(&settings)).check();
        // Pictures played once have the time of their number, so the same pictures give the same decisions.
        settings.virtual_time = source.compare(0, 4, "dir:") == 0 || source.compare(0, 5, "file:") == 0;
        auto camera = kf::camera::open(source, &settings);
        if (!camera) {
            std::fprintf(stderr, "door_terminal: %s: %s\n", source.c_str(), camera.text());
            return no_source;
        }
        return run(d, *camera, args["--relay"] == "log");
    } catch (const kf::error &e) {
        std::fprintf(stderr, "door_terminal: %s\n", e.what());
        return model_or_gallery;
    }
}
