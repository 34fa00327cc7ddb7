/*
 * Keyface for C++11 and later: move-only owners over keyface.h, header only.
 *
 * Every call returns a kf::status_of or a kf::result<T>; nothing here throws by itself, and -fno-exceptions is fine. Where
 * exceptions are on, value() and check() throw kf::error instead, for programs that prefer that. Threads, blocking and
 * ownership are as keyface.h says; const methods may run on several threads at once.
 */
#ifndef KEYFACE_HPP
#define KEYFACE_HPP

#include "keyface.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <utility>
#include <vector>

#if defined(__cpp_exceptions) || defined(__EXCEPTIONS)
#define KEYFACE_EXCEPTIONS 1
#include <stdexcept>
#else
#define KEYFACE_EXCEPTIONS 0
#endif

namespace kf {

#if KEYFACE_EXCEPTIONS
/// What value() and check() throw.
class error : public std::runtime_error {
public:
    explicit error(kf_status status) : std::runtime_error(kf_status_text(status)), status_(status) {}
    kf_status status() const noexcept { return status_; }

private:
    kf_status status_;
};
#endif

/// The outcome of a call without a value.
class status_of {
public:
    status_of(kf_status status) noexcept : status_(status) {}
    explicit operator bool() const noexcept { return status_ == KF_STATUS_OK; }
    kf_status status() const noexcept { return status_; }
    const char *text() const noexcept { return kf_status_text(status_); }
    /// Throws kf::error on failure; without exceptions a failure ends the program.
    void check() const {
        if (status_ != KF_STATUS_OK) {
#if KEYFACE_EXCEPTIONS
            throw error(status_);
#else
            std::abort();
#endif
        }
    }

private:
    kf_status status_;
};

/// A value or the status that took its place. T is default-constructible; on failure it holds that.
template <typename T> class result {
public:
    result(kf_status status, T &&value) : status_(status), value_(std::move(value)) {}
    explicit operator bool() const noexcept { return status_ == KF_STATUS_OK; }
    kf_status status() const noexcept { return status_; }
    const char *text() const noexcept { return kf_status_text(status_); }
    /// Unchecked.
    T &operator*() noexcept { return value_; }
    T *operator->() noexcept { return &value_; }
    /// The value, moved out; throws kf::error on failure, and without exceptions a failure ends the program.
    T value() {
        status_of(status_).check();
        return std::move(value_);
    }

private:
    kf_status status_;
    T value_;
};

namespace detail {
/// A text from a function that fills a buffer and, for capacity 0, says how much there is.
template <typename F> result<std::string> text_from(F fill) {
    std::size_t length = 0;
    kf_status status = fill(nullptr, 0, &length);
    std::string text(length, '\0');
    if (status == KF_STATUS_OK && length > 0) {
        status = fill(&text[0], text.size(), &length);
    }
    return result<std::string>(status, std::move(text));
}

/// A list from such a function.
template <typename T, typename F> result<std::vector<T>> list_from(F fill) {
    std::size_t count = 0;
    kf_status status = fill(nullptr, 0, &count);
    std::vector<T> list(count);
    if (status == KF_STATUS_OK && count > 0) {
        status = fill(list.data(), list.size(), &count);
        list.resize(count);
    }
    return result<std::vector<T>>(status, std::move(list));
}
} // namespace detail

/// What a model is, as templates carry it.
typedef std::array<std::uint8_t, 32> model_id;

/// The reasons of a decision in words.
inline result<std::string> decision_reasons(std::uint32_t reasons) {
    return detail::text_from([&](char *to, std::size_t room, std::size_t *count) {
        return kf_decision_reasons_text(reasons, to, room, count);
    });
}
/// The reasons of a poor view in words.
inline result<std::string> quality_reasons(std::uint32_t reasons) {
    return detail::text_from([&](char *to, std::size_t room, std::size_t *count) {
        return kf_quality_reasons_text(reasons, to, room, count);
    });
}
/// The faults of a camera path in words.
inline result<std::string> faults(std::uint32_t bits) {
    return detail::text_from([&](char *to, std::size_t room, std::size_t *count) {
        return kf_faults_text(bits, to, room, count);
    });
}

/// Owns a handle.
template <typename H, void (*Free)(H *)> class owner {
public:
    owner() noexcept : handle_(nullptr) {}
    explicit owner(H *handle) noexcept : handle_(handle) {}
    owner(owner &&other) noexcept : handle_(other.handle_) { other.handle_ = nullptr; }
    owner &operator=(owner &&other) noexcept {
        std::swap(handle_, other.handle_);
        return *this;
    }
    owner(const owner &) = delete;
    owner &operator=(const owner &) = delete;
    ~owner() { Free(handle_); }
    /// The handle, for the C functions; null if empty.
    H *get() noexcept { return handle_; }
    const H *get() const noexcept { return handle_; }

protected:
    template <typename T> static result<T> made(kf_status status, H *handle) {
        return result<T>(status, status == KF_STATUS_OK ? T(handle) : T());
    }

private:
    H *handle_;
};

/// A verified model pack.
class pack : public owner<kf_pack, kf_pack_free> {
public:
    using owner::owner;
    pack() = default;
    /// key: null, or 32 bytes of the ed25519 public key that must have signed the pack.
    static result<pack> open(const std::string &path, const std::uint8_t *key = nullptr) {
        kf_pack *handle = nullptr;
        kf_status status = kf_pack_open(path.data(), path.size(), key, &handle);
        return made<pack>(status, handle);
    }
    /// The bytes are copied.
    static result<pack> from_memory(const std::uint8_t *bytes, std::size_t length, const std::uint8_t *key = nullptr) {
        kf_pack *handle = nullptr;
        kf_status status = kf_pack_from_memory(bytes, length, key, &handle);
        return made<pack>(status, handle);
    }
    result<kf_pack_info> info() const {
        kf_pack_info info = {};
        kf_status status = kf_pack_get_info(get(), &info);
        return result<kf_pack_info>(status, std::move(info));
    }
    result<std::string> text(kf_pack_field field) const {
        return detail::text_from([&](char *to, std::size_t room, std::size_t *count) {
            return kf_pack_get_text(get(), field, to, room, count);
        });
    }
    result<float> threshold(kf_policy policy, double rate, std::size_t templates) const {
        float threshold = 0;
        kf_status status = kf_pack_get_threshold(get(), policy, rate, templates, &threshold);
        return result<float>(status, std::move(threshold));
    }
    result<kf_memory_estimate> memory(const kf_pipeline_options *options = nullptr) const {
        kf_memory_estimate estimate = {};
        kf_status status = kf_pack_estimate_memory(get(), options, &estimate);
        return result<kf_memory_estimate>(status, std::move(estimate));
    }
};

/// The loaded networks of a pack.
class engine : public owner<kf_engine, kf_engine_free> {
public:
    using owner::owner;
    engine() = default;
    static result<engine> load(const pack &from, std::uint64_t memory_limit = 0) {
        kf_engine *handle = nullptr;
        kf_status status = kf_engine_load(from.get(), memory_limit, &handle);
        return made<engine>(status, handle);
    }
    result<kf_engine_info> info() const {
        kf_engine_info info = {};
        kf_status status = kf_engine_get_info(get(), &info);
        return result<kf_engine_info>(status, std::move(info));
    }
    result<float> self_test() const {
        float cosine = 0;
        kf_status status = kf_engine_self_test(get(), &cosine);
        return result<float>(status, std::move(cosine));
    }
};

/// An embedding, or an empty place for one.
class embedding : public owner<kf_template, kf_template_free> {
public:
    using owner::owner;
    embedding() = default;
    static result<embedding> make(const engine &of) {
        kf_template *handle = nullptr;
        kf_status status = kf_template_new(of.get(), &handle);
        return made<embedding>(status, handle);
    }
    result<embedding> copy() const {
        kf_template *handle = nullptr;
        kf_status status = kf_template_copy(get(), &handle);
        return made<embedding>(status, handle);
    }
    /// One embedding from shots of one person and their weights, as many of both.
    status_of fuse(const std::vector<const embedding *> &shots, const std::vector<float> &weights) {
        std::vector<const kf_template *> handles;
        for (const embedding *shot : shots) {
            handles.push_back(shot->get());
        }
        return handles.size() == weights.size() ? kf_template_fuse(handles.data(), weights.data(), weights.size(), get())
                                                : KF_STATUS_INVALID_ARGUMENT;
    }
    /// Takes an embedding that was made elsewhere with the same model.
    status_of import_values(const std::vector<float> &values) {
        return kf_template_import(values.data(), values.size(), get());
    }
    /// The components: biometric data, wipe them after use.
    result<std::vector<float>> export_values() const {
        return detail::list_from<float>([&](float *to, std::size_t room, std::size_t *count) {
            return kf_template_export(get(), to, room, count);
        });
    }
    result<float> similarity(const embedding &other) const {
        float cosine = 0;
        kf_status status = kf_template_similarity(get(), other.get(), &cosine);
        return result<float>(status, std::move(cosine));
    }
};

/// Frame to faces to embeddings.
class pipeline : public owner<kf_pipeline, kf_pipeline_free> {
public:
    using owner::owner;
    pipeline() = default;
    static result<pipeline> make(const engine &on, const kf_pipeline_options *options = nullptr) {
        kf_pipeline *handle = nullptr;
        kf_status status = kf_pipeline_new(on.get(), options, &handle);
        return made<pipeline>(status, handle);
    }
    /// All faces, best first.
    result<std::vector<kf_face>> detect(const kf_frame &frame) {
        std::vector<kf_face> faces(KF_MAX_FACES);
        std::size_t count = 0;
        kf_status status = kf_pipeline_detect(get(), &frame, faces.data(), faces.size(), &count);
        faces.resize(count);
        return result<std::vector<kf_face>>(status, std::move(faces));
    }
    /// A face and whether it is one: false if its points do not form a face.
    struct description {
        bool is_face;
        kf_quality quality;
        description() : is_face(false), quality() {}
    };
    result<description> describe(const kf_frame &frame, const kf_face &face, embedding &into) {
        description described;
        std::uint32_t is_face = 0;
        kf_status status = kf_pipeline_describe(get(), &frame, &face, into.get(), &described.quality, &is_face);
        described.is_face = is_face == 1;
        return result<description>(status, std::move(described));
    }
    /// A picture of 112x112 pixels that is aligned already; points: null, or five.
    status_of embed_aligned(const kf_frame &frame, const kf_point *points, embedding &into) {
        return kf_pipeline_embed_aligned(get(), &frame, points, into.get());
    }
};

/// The host's key for galleries.
class key : public owner<kf_key, kf_key_free> {
public:
    using owner::owner;
    key() = default;
    static result<key> from_bytes(const std::uint8_t *bytes, std::size_t length) {
        kf_key *handle = nullptr;
        kf_status status = kf_key_from_bytes(bytes, length, &handle);
        return made<key>(status, handle);
    }
    static result<key> from_file(const std::string &path) {
        kf_key *handle = nullptr;
        kf_status status = kf_key_from_file(path.data(), path.size(), &handle);
        return made<key>(status, handle);
    }
    static result<key> create_file(const std::string &path) {
        kf_key *handle = nullptr;
        kf_status status = kf_key_create_file(path.data(), path.size(), &handle);
        return made<key>(status, handle);
    }
};

/// Enrolled people.
class gallery : public owner<kf_gallery, kf_gallery_free> {
public:
    using owner::owner;
    gallery() = default;
    static result<gallery> open(const std::string &path, const key &with, std::size_t capacity = 0,
                                std::uint64_t min_counter = 0) {
        kf_gallery *handle = nullptr;
        kf_status status = kf_gallery_open(path.data(), path.size(), with.get(), capacity, min_counter, &handle);
        return made<gallery>(status, handle);
    }
    static result<gallery> open_reader(const std::string &path, const key &with, std::size_t capacity = 0,
                                       std::uint64_t min_counter = 0) {
        kf_gallery *handle = nullptr;
        kf_status status = kf_gallery_open_reader(path.data(), path.size(), with.get(), capacity, min_counter, &handle);
        return made<gallery>(status, handle);
    }
    result<kf_gallery_info> info() const {
        kf_gallery_info info = {};
        kf_status status = kf_gallery_get_info(get(), &info);
        return result<kf_gallery_info>(status, std::move(info));
    }
    /// The people most alike, at most `most` (1 to KF_MAX_MATCHES).
    result<std::vector<kf_match>> search(const embedding &probe, std::size_t most = 2) const {
        std::vector<kf_match> matches(most);
        std::size_t count = 0;
        kf_status status = kf_gallery_search(get(), probe.get(), matches.data(), matches.size(), &count);
        matches.resize(count);
        return result<std::vector<kf_match>>(status, std::move(matches));
    }
    result<std::uint64_t> enrol(const std::string &name, const embedding &of, std::uint64_t at_ms) {
        const kf_template *list[1] = {of.get()};
        std::uint64_t person = 0;
        kf_status status = kf_gallery_enrol(get(), name.data(), name.size(), list, 1, at_ms, &person);
        return result<std::uint64_t>(status, std::move(person));
    }
    /// One embedding in place of all that is stored of a person.
    result<std::uint64_t> replace(const std::string &name, const embedding &of, std::uint64_t at_ms) {
        const kf_template *list[1] = {of.get()};
        std::uint64_t person = 0;
        kf_status status = kf_gallery_replace(get(), name.data(), name.size(), list, 1, at_ms, &person);
        return result<std::uint64_t>(status, std::move(person));
    }
    status_of remove_record(std::uint64_t record) { return kf_gallery_remove_record(get(), record); }
    result<std::size_t> remove(const std::string &name) {
        std::size_t removed = 0;
        kf_status status = kf_gallery_remove(get(), name.data(), name.size(), &removed);
        return result<std::size_t>(status, std::move(removed));
    }
    result<kf_person> person(std::uint64_t id) const {
        kf_person person = {};
        kf_status status = kf_gallery_get_person(get(), id, &person);
        return result<kf_person>(status, std::move(person));
    }
    result<kf_person> find(const std::string &name) const {
        kf_person person = {};
        kf_status status = kf_gallery_find(get(), name.data(), name.size(), &person);
        return result<kf_person>(status, std::move(person));
    }
    result<std::vector<kf_person>> people() const {
        return detail::list_from<kf_person>([&](kf_person *to, std::size_t room, std::size_t *count) {
            return kf_gallery_get_people(get(), 0, to, room, count);
        });
    }
    /// All that is stored of a person: biometric data, wipe it after use.
    result<std::vector<kf_stored_template>> export_person(const std::string &name) const {
        return detail::list_from<kf_stored_template>([&](kf_stored_template *to, std::size_t room, std::size_t *count) {
            return kf_gallery_export(get(), name.data(), name.size(), to, room, count);
        });
    }
    /// The model that people are enrolled under.
    result<model_id> model() const {
        model_id id = {};
        kf_status status = kf_gallery_get_model(get(), id.data());
        return result<model_id>(status, std::move(id));
    }
    /// For a reader: whether the file has changed and was read again.
    result<bool> refresh() {
        std::uint32_t changed = 0;
        kf_status status = kf_gallery_refresh(get(), &changed);
        return result<bool>(status, changed == 1);
    }
    status_of rotate_key(const key &to) { return kf_gallery_compact(get(), to.get()); }
    status_of compact() { return kf_gallery_compact(get(), nullptr); }
    status_of wipe() { return kf_gallery_wipe(get()); }
};

/// One person's enrolment.
class enrolment : public owner<kf_enrolment, kf_enrolment_free> {
public:
    using owner::owner;
    enrolment() = default;
    static result<enrolment> make(const kf_enrolment_rules &rules) {
        kf_enrolment *handle = nullptr;
        kf_status status = kf_enrolment_new(&rules, &handle);
        return made<enrolment>(status, handle);
    }
    result<kf_guidance> nobody(std::uint64_t time_us) { return step(time_us, KF_VIEW_NOBODY, nullptr, nullptr, nullptr); }
    result<kf_guidance> several(std::uint64_t time_us) { return step(time_us, KF_VIEW_SEVERAL, nullptr, nullptr, nullptr); }
    result<kf_guidance> face(std::uint64_t time_us, const kf_face &face, const kf_quality &quality, const embedding &of) {
        return step(time_us, KF_VIEW_FACE, &face, &quality, of.get());
    }
    result<std::uint64_t> commit(gallery &to, const std::string &name, std::uint64_t at_ms, bool replace = false) {
        std::uint64_t person = 0;
        kf_status status =
            kf_enrolment_commit(get(), to.get(), name.data(), name.size(), at_ms, replace ? 1 : 0, &person);
        return result<std::uint64_t>(status, std::move(person));
    }
    /// What commit would store, for a host that keeps templates elsewhere.
    status_of fused(embedding &into) const { return kf_enrolment_get_template(get(), into.get()); }

private:
    result<kf_guidance> step(std::uint64_t time_us, kf_view view, const kf_face *face, const kf_quality *quality,
                             const kf_template *of) {
        kf_guidance guidance = {};
        kf_status status = kf_enrolment_step(get(), time_us, view, face, quality, of, &guidance);
        return result<kf_guidance>(status, std::move(guidance));
    }
};

/// A change to a new model: people are enrolled again as they pass.
class migration : public owner<kf_migration, kf_migration_free> {
public:
    using owner::owner;
    migration() = default;
    static result<migration> begin(gallery &of, const model_id &to, std::uint32_t shots, float confident, float agree) {
        kf_migration *handle = nullptr;
        kf_status status = kf_migration_begin(of.get(), to.data(), shots, confident, agree, &handle);
        return made<migration>(status, handle);
    }
    /// What an offer led to, and how many shots are still wanted.
    struct outcome {
        kf_progress progress;
        std::uint32_t wanted;
        outcome() : progress(KF_PROGRESS_IGNORED), wanted(0) {}
    };
    result<outcome> offer(gallery &of, std::uint64_t person, float score, const embedding &by_new, float landmark_score,
                          std::uint64_t at_ms) {
        outcome came;
        std::uint32_t progress = KF_PROGRESS_IGNORED;
        kf_status status = kf_migration_offer(get(), of.get(), person, score, by_new.get(), landmark_score, at_ms,
                                              &progress, &came.wanted);
        came.progress = static_cast<kf_progress>(progress);
        return result<outcome>(status, std::move(came));
    }
    result<std::size_t> remaining(const gallery &of) const {
        std::size_t people = 0;
        kf_status status = kf_migration_remaining(get(), of.get(), &people);
        return result<std::size_t>(status, std::move(people));
    }
    status_of finish(gallery &of, const model_id &old, bool abandon = false) {
        return kf_migration_finish(get(), of.get(), old.data(), abandon ? 1 : 0);
    }
};

/// The state machine of one door.
class decider : public owner<kf_decider, kf_decider_free> {
public:
    using owner::owner;
    decider() = default;
    static result<decider> make(const kf_rules &rules) {
        kf_decider *handle = nullptr;
        kf_status status = kf_decider_new(&rules, &handle);
        return made<decider>(status, handle);
    }
    /// On failure the decision is DENY.
    result<kf_decision> step(const kf_observation &seen, kf_permitted_callback permitted = nullptr,
                             void *userdata = nullptr) {
        kf_decision decision = {KF_VERDICT_DENY, KF_DECISION_REASON_ERROR, 0};
        kf_status status = kf_decider_step(get(), &seen, permitted, userdata, &decision);
        return result<kf_decision>(status, std::move(decision));
    }
    status_of unlock() { return kf_decider_unlock(get()); }
    status_of set_threshold(float threshold) { return kf_decider_set_threshold(get(), threshold); }
    status_of clock_restarted(std::uint64_t time_us) { return kf_decider_clock_restarted(get(), time_us); }
    /// When a lock-out ends, of a person or for 0 of the door; 0 if there is none.
    result<std::uint64_t> locked_until(std::uint64_t person, std::uint64_t time_us) const {
        std::uint64_t until = 0;
        kf_status status = kf_decider_locked_until(get(), person, time_us, &until);
        return result<std::uint64_t>(status, std::move(until));
    }
};

/// An active challenge to one person.
class challenge : public owner<kf_challenge, kf_challenge_free> {
public:
    using owner::owner;
    challenge() = default;
    static result<challenge> make(std::uint64_t seed, const kf_challenge_rules &rules) {
        kf_challenge *handle = nullptr;
        kf_status status = kf_challenge_new(seed, &rules, &handle);
        return made<challenge>(status, handle);
    }
    result<kf_challenge_state> face(std::uint64_t time_us, const kf_face &face, const embedding &of) {
        kf_challenge_state state = {};
        kf_status status = kf_challenge_step(get(), time_us, &face, of.get(), &state);
        return result<kf_challenge_state>(status, std::move(state));
    }
    /// No face, or more than one: the challenge is over.
    result<kf_challenge_state> nobody(std::uint64_t time_us) {
        kf_challenge_state state = {};
        kf_status status = kf_challenge_step(get(), time_us, nullptr, nullptr, &state);
        return result<kf_challenge_state>(status, std::move(state));
    }
    result<kf_challenge_state> state() const {
        kf_challenge_state state = {};
        kf_status status = kf_challenge_get_state(get(), &state);
        return result<kf_challenge_state>(status, std::move(state));
    }
};

/// A passive check by your own ONNX model; in libraries with KF_FEATURE_ONNX.
class passive : public owner<kf_passive, kf_passive_free> {
public:
    using owner::owner;
    passive() = default;
    static result<passive> make(const std::uint8_t *bytes, std::size_t length, const kf_passive_rules &rules) {
        kf_passive *handle = nullptr;
        kf_status status = kf_passive_new(bytes, length, &rules, &handle);
        return made<passive>(status, handle);
    }
    result<kf_liveness> check(const kf_frame &frame, const kf_face &face) {
        std::uint32_t liveness = KF_LIVENESS_UNSURE;
        kf_status status = kf_passive_check(get(), &frame, &face, &liveness);
        return result<kf_liveness>(status, static_cast<kf_liveness>(liveness));
    }
};

/// The audit log.
class audit : public owner<kf_audit, kf_audit_free> {
public:
    using owner::owner;
    audit() = default;
    static result<audit> open(const std::string &path) {
        kf_audit *handle = nullptr;
        kf_status status = kf_audit_open(path.data(), path.size(), &handle);
        return made<audit>(status, handle);
    }
    static result<audit> make(kf_audit_callback callback, void *userdata = nullptr, std::uint64_t first = 0) {
        kf_audit *handle = nullptr;
        kf_status status = kf_audit_new(callback, userdata, first, &handle);
        return made<audit>(status, handle);
    }
    /// Whether a line was needed.
    result<bool> write(std::uint64_t at_ms, const kf_decision &decision) {
        std::uint32_t written = 0;
        kf_status status = kf_audit_write_decision(get(), at_ms, &decision, &written);
        return result<bool>(status, written == 1);
    }
    status_of write(std::uint64_t at_ms, kf_event event, std::uint64_t person = 0) {
        std::uint32_t written = 0;
        return kf_audit_write_event(get(), at_ms, event, person, &written);
    }
};

/// A source of frames; in libraries with KF_FEATURE_BOARDS.
class camera : public owner<kf_camera, kf_camera_free> {
public:
    using owner::owner;
    camera() = default;
    static result<camera> open(const std::string &selection, const kf_camera_settings *settings = nullptr) {
        kf_camera *handle = nullptr;
        kf_status status = kf_camera_open(selection.data(), selection.size(), settings, &handle);
        return made<camera>(status, handle);
    }
    /// A frame that is lent, if one came; given back when this is destroyed. It may not outlive its camera.
    class loan {
    public:
        loan() noexcept : from_(nullptr), frame_(), next_(KF_CAMERA_NEXT_NOTHING) {}
        loan(loan &&other) noexcept : from_(other.from_), frame_(other.frame_), next_(other.next_) {
            other.from_ = nullptr;
        }
        loan(const loan &) = delete;
        loan &operator=(const loan &) = delete;
        ~loan() {
            if (from_ != nullptr) {
                kf_camera_give_back(from_);
            }
        }
        kf_camera_next next() const noexcept { return next_; }
        /// Of use only if next() is KF_CAMERA_NEXT_FRAME.
        const kf_frame &frame() const noexcept { return frame_; }

    private:
        friend class camera;
        kf_camera *from_;
        kf_frame frame_;
        kf_camera_next next_;
    };
    result<loan> take(std::uint32_t wait_ms) {
        loan taken;
        std::uint32_t next = KF_CAMERA_NEXT_NOTHING;
        kf_status status = kf_camera_take(get(), wait_ms, &taken.frame_, &next);
        taken.next_ = static_cast<kf_camera_next>(next);
        taken.from_ = status == KF_STATUS_OK && next == KF_CAMERA_NEXT_FRAME ? get() : nullptr;
        return result<loan>(status, std::move(taken));
    }
    result<kf_camera_health> health() {
        kf_camera_health health = {};
        kf_status status = kf_camera_get_health(get(), &health);
        return result<kf_camera_health>(status, std::move(health));
    }
    /// What the source is, for people.
    result<std::string> describe() {
        return detail::text_from([&](char *to, std::size_t room, std::size_t *count) {
            return kf_camera_describe(get(), to, room, count);
        });
    }
};

/// An observation of nothing yet: a failed stage, so that what is never filled in keeps the door shut.
inline kf_observation observation(std::uint64_t time_us) {
    kf_observation seen = {};
    seen.struct_size = sizeof seen;
    seen.time_us = time_us;
    return seen;
}

} // namespace kf

#endif /* KEYFACE_HPP */
