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
    result<kf_pack_info> info() const {
        kf_pack_info info = {};
        kf_status status = kf_pack_get_info(get(), &info);
        return result<kf_pack_info>(status, std::move(info));
    }
    result<std::string> text(kf_pack_field field) const {
        std::size_t length = 0;
        kf_status status = kf_pack_get_text(get(), field, nullptr, 0, &length);
        std::string text(length, '\0');
        if (status == KF_STATUS_OK && length > 0) {
            status = kf_pack_get_text(get(), field, &text[0], text.size(), &length);
        }
        return result<std::string>(status, std::move(text));
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
    result<std::vector<kf_person>> people() const {
        std::size_t count = 0;
        kf_status status = kf_gallery_get_people(get(), 0, nullptr, 0, &count);
        std::vector<kf_person> people(count);
        if (status == KF_STATUS_OK && count > 0) {
            status = kf_gallery_get_people(get(), 0, people.data(), people.size(), &count);
            people.resize(count);
        }
        return result<std::vector<kf_person>>(status, std::move(people));
    }
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

private:
    result<kf_guidance> step(std::uint64_t time_us, kf_view view, const kf_face *face, const kf_quality *quality,
                             const kf_template *of) {
        kf_guidance guidance = {};
        kf_status status = kf_enrolment_step(get(), time_us, view, face, quality, of, &guidance);
        return result<kf_guidance>(status, std::move(guidance));
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
