//! Galleries: enrolled people, durable and encrypted.

use crate::call::{borrow, call, give, invalid, release, text, Buffer, Out};
use crate::handle::Handle;
use crate::key::kf_key;
use crate::status::kf_status;
use crate::template::{kf_template, shared};
use keyface::gallery::{
    Person, PersonId, PersonName, Reader, RecordId, Store, StoreOptions, StoredTemplate,
};
use keyface::template::{ModelId, Template};
use keyface::{Error, ErrorKind, Result};
use std::ffi::c_char;
use std::path::Path;

/// The most matches that a search gives.
pub const KF_MAX_MATCHES: u32 = 16;
/// The longest name of a person, in bytes of UTF-8.
pub const KF_MAX_NAME: u32 = 64;

/// Enrolled people: the single writer of a gallery's file, or one of its many readers. If a sync fails nobody knows what is
/// on the disk: from then on changes answer KF_STATUS_POISONED, searches go on, and opening the gallery again settles it.
pub struct kf_gallery(pub(crate) Handle<Gallery>);

/// What is behind a gallery's handle.
pub(crate) enum Gallery {
    Writer(Store),
    Reader(Reader),
}

/// A person who is like the probe.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct kf_match {
    /// Number of the person.
    pub person: u64,
    /// Number of the template that is most alike.
    pub record: u64,
    /// Its score: the cosine, -1..=1.
    pub score: f32,
    /// Zero.
    pub reserved: u32,
}

/// A gallery in figures.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct kf_gallery_info {
    /// Templates, of all models.
    pub templates: u64,
    /// People.
    pub people: u64,
    /// Grows with every change and never falls: save it where the file's thief cannot write, and hand it to
    /// kf_gallery_open as `min_counter`.
    pub counter: u64,
    /// Bytes of an unfinished change that opening threw away; 0 for a reader.
    pub discarded: u64,
    /// 1 for the writer, 0 for a reader.
    pub is_writer: u32,
    /// Zero.
    pub reserved: u32,
}

impl Gallery {
    pub(crate) fn writer(&mut self) -> Result<&mut Store> {
        match self {
            Gallery::Writer(store) => Ok(store),
            Gallery::Reader(_) => Err(invalid("a gallery opened for reading is not written")),
        }
    }

    pub(crate) fn store(&self) -> Result<&Store> {
        match self {
            Gallery::Writer(store) => Ok(store),
            Gallery::Reader(_) => Err(invalid("this needs the gallery's writer")),
        }
    }

    pub(crate) fn people(&self) -> Vec<Person> {
        match self {
            Gallery::Writer(store) => store.people(),
            Gallery::Reader(reader) => reader.people(),
        }
    }

    pub(crate) fn export(&self, name: &PersonName) -> Result<Vec<StoredTemplate>> {
        match self {
            Gallery::Writer(store) => store.export(name),
            Gallery::Reader(reader) => reader.export(name),
        }
    }

    fn model(&self) -> Option<ModelId> {
        match self {
            Gallery::Writer(store) => store.model(),
            Gallery::Reader(reader) => reader.model(),
        }
    }
}

/// Lets `write` put a person's templates into the gallery, which must be the writer.
///
/// # Safety
/// The pointers are as the header asks of `kf_gallery_enrol`.
unsafe fn write_templates(
    gallery: *mut kf_gallery,
    (name, name_length): (*const c_char, usize),
    (templates, template_count): (*const *const kf_template, usize),
    write: impl FnOnce(&mut Store, &PersonName, &[&Template]) -> Result<PersonId>,
) -> Result<PersonId> {
    // SAFETY: the caller's promise.
    let mut gallery = unsafe { borrow(gallery.cast_const()) }?.0.exclusive()?;
    let (name, held) =
        // SAFETY: the caller's promise.
        unsafe { (self::name(name, name_length)?, shared(templates, template_count)?) };
    let list = held.iter().map(|t| t.get()).collect::<Result<Vec<&Template>>>()?;
    write(gallery.writer()?, &name, &list)
}

/// # Safety
/// As [`text`].
pub(crate) unsafe fn name(pointer: *const c_char, len: usize) -> Result<PersonName> {
    // SAFETY: the caller's promise.
    PersonName::new(unsafe { text(pointer, len) }?)
}

/// Opens the gallery at `path` as its single writer, and makes it if there is none. At most `capacity` templates
/// (1..=100,000; 0 for 10,000): memory is reserved for that many. `min_counter` is the counter that the host saved after
/// its last change, 0 for none; an older file is refused.
///
/// - Ownership: the caller frees `*gallery` by kf_gallery_free; `key` may be freed before it.
/// - NULL: nothing may be NULL.
/// - Threads: any.
/// - Memory: allocates some 28 bytes and a row of `dimension` bytes per template of `capacity`.
/// - Blocks: reads the whole file, syncs it.
/// - Status: KF_STATUS_LOCKED, KF_STATUS_WRONG_KEY, KF_STATUS_DAMAGED_GALLERY, KF_STATUS_ROLLED_BACK,
///   KF_STATUS_CAPACITY_EXCEEDED, KF_STATUS_IO, KF_STATUS_UNSUPPORTED_CPU.
#[no_mangle]
pub unsafe extern "C" fn kf_gallery_open(
    path: *const c_char,
    path_length: usize,
    key: *const kf_key,
    capacity: usize,
    min_counter: u64,
    gallery: *mut *mut kf_gallery,
) -> kf_status {
    call("kf_gallery_open", || {
        // SAFETY: as the header asks.
        let out = unsafe { Out::new(gallery) }?;
        // SAFETY: as the header asks.
        let (path, key) = unsafe { (text(path, path_length)?, borrow(key)?.0.shared()?) };
        let opened = Store::open(Path::new(path), &key, options(capacity, min_counter))?;
        out.write(give(kf_gallery(Handle::new("gallery", Gallery::Writer(opened)))));
        Ok(())
    })
}

/// Opens the gallery at `path` for reading, beside its writer: it shows the last change of the moment it was opened or
/// refreshed. Otherwise as kf_gallery_open.
///
/// - Ownership: the caller frees `*gallery` by kf_gallery_free; `key` may be freed before it.
/// - NULL: nothing may be NULL.
/// - Threads: any.
/// - Memory: as kf_gallery_open.
/// - Blocks: reads the whole file.
/// - Status: KF_STATUS_NOT_FOUND if there is none; otherwise as kf_gallery_open.
#[no_mangle]
pub unsafe extern "C" fn kf_gallery_open_reader(
    path: *const c_char,
    path_length: usize,
    key: *const kf_key,
    capacity: usize,
    min_counter: u64,
    gallery: *mut *mut kf_gallery,
) -> kf_status {
    call("kf_gallery_open_reader", || {
        // SAFETY: as the header asks.
        let out = unsafe { Out::new(gallery) }?;
        // SAFETY: as the header asks.
        let (path, key) = unsafe { (text(path, path_length)?, borrow(key)?.0.shared()?) };
        let opened = Reader::open(Path::new(path), &key, options(capacity, min_counter))?;
        out.write(give(kf_gallery(Handle::new("gallery", Gallery::Reader(opened)))));
        Ok(())
    })
}

fn options(capacity: usize, min_counter: u64) -> StoreOptions {
    let usual = StoreOptions::default().capacity;
    StoreOptions { capacity: if capacity == 0 { usual } else { capacity }, min_counter }
}

/// Closes and frees a gallery; templates in memory are wiped.
///
/// - Ownership: takes `gallery`.
/// - NULL: does nothing.
/// - Threads: any; no other call may use the handle then or later.
/// - Memory: frees.
/// - Blocks: no: every change was durable when its call returned.
/// - Status: none.
#[no_mangle]
pub unsafe extern "C" fn kf_gallery_free(gallery: *mut kf_gallery) {
    // SAFETY: as the header asks.
    unsafe { release("kf_gallery_free", gallery) }
}

/// Reads a reader's file again; `changed` becomes 1 if anything did, otherwise 0. On failure the old view stays.
///
/// - Ownership: all is the caller's.
/// - NULL: nothing may be NULL.
/// - Threads: the gallery needs to be yours alone.
/// - Memory: allocates a second view for the time of the call.
/// - Blocks: reads the whole file.
/// - Status: as kf_gallery_open_reader; KF_STATUS_INVALID_ARGUMENT for the writer.
#[no_mangle]
pub unsafe extern "C" fn kf_gallery_refresh(
    gallery: *mut kf_gallery,
    changed: *mut u32,
) -> kf_status {
    call("kf_gallery_refresh", || {
        // SAFETY: as the header asks.
        let out = unsafe { Out::new(changed) }?;
        // SAFETY: as the header asks.
        let mut gallery = unsafe { borrow(gallery.cast_const()) }?.0.exclusive()?;
        let Gallery::Reader(reader) = &mut *gallery else {
            return Err(invalid("the writer sees its own changes"));
        };
        out.write(u32::from(reader.refresh()?));
        Ok(())
    })
}

/// The gallery in figures.
///
/// - Ownership: `info` is the caller's.
/// - NULL: nothing may be NULL.
/// - Threads: any number at once.
/// - Memory: allocates a list of people, frees it.
/// - Blocks: no.
/// - Status: no other.
#[no_mangle]
pub unsafe extern "C" fn kf_gallery_get_info(
    gallery: *const kf_gallery,
    info: *mut kf_gallery_info,
) -> kf_status {
    call("kf_gallery_get_info", || {
        // SAFETY: as the header asks.
        let out = unsafe { Out::new(info) }?;
        // SAFETY: as the header asks.
        let gallery = unsafe { borrow(gallery) }?.0.shared()?;
        let people = gallery.people();
        let (counter, discarded, is_writer) = match &*gallery {
            Gallery::Writer(store) => (store.counter(), store.discarded(), 1),
            Gallery::Reader(reader) => (reader.counter(), 0, 0),
        };
        out.write(kf_gallery_info {
            templates: people.iter().map(|p| p.templates as u64).sum(),
            people: people.len() as u64,
            counter,
            discarded,
            is_writer,
            reserved: 0,
        });
        Ok(())
    })
}

/// The model that people are enrolled under: 32 bytes, as kf_engine_info.model_id. During a change of model, the new one.
///
/// - Ownership: `model_id`, 32 bytes, is the caller's.
/// - NULL: nothing may be NULL.
/// - Threads: any number at once.
/// - Memory: allocates nothing.
/// - Blocks: no.
/// - Status: KF_STATUS_NOT_FOUND before the first enrolment.
#[no_mangle]
pub unsafe extern "C" fn kf_gallery_get_model(
    gallery: *const kf_gallery,
    model_id: *mut u8,
) -> kf_status {
    call("kf_gallery_get_model", || {
        // SAFETY: as the header asks.
        let out = unsafe { Out::new(model_id.cast::<[u8; 32]>()) }?;
        // SAFETY: as the header asks.
        let gallery = unsafe { borrow(gallery) }?.0.shared()?;
        let none = Error::new(ErrorKind::NotFound, "nobody was enrolled yet");
        out.write(gallery.model().ok_or(none)?.0);
        Ok(())
    })
}

/// The people most alike to `probe`, each with the best of their templates, most alike first. Nobody is a count of 0.
/// `capacity`, 1 to KF_MAX_MATCHES (2 are enough for a decision), is how many are wanted; fewer are given if fewer are
/// enrolled.
///
/// - Ownership: `matches` is the caller's.
/// - NULL: nothing may be NULL.
/// - Threads: any number at once.
/// - Memory: allocates nothing.
/// - Blocks: compares every template: some microseconds per thousand.
/// - Status: KF_STATUS_MODEL_MISMATCH if there are templates, but none of the probe's model.
#[no_mangle]
pub unsafe extern "C" fn kf_gallery_search(
    gallery: *const kf_gallery,
    probe: *const kf_template,
    matches: *mut kf_match,
    capacity: usize,
    count: *mut usize,
) -> kf_status {
    call("kf_gallery_search", || {
        // SAFETY: as the header asks.
        let out = unsafe { Buffer::new(matches, capacity, count) }?;
        if out.asks_for_count() {
            return Err(invalid("no room for a match"));
        }
        // SAFETY: as the header asks.
        let gallery = unsafe { borrow(gallery) }?.0.shared()?;
        // SAFETY: as the header asks.
        let probe = unsafe { borrow(probe) }?.0.shared()?;
        let probe = probe.get()?;
        let hits = match &*gallery {
            Gallery::Writer(store) => store.search::<{ KF_MAX_MATCHES as usize }>(probe)?,
            Gallery::Reader(reader) => reader.search::<{ KF_MAX_MATCHES as usize }>(probe)?,
        };
        let mut list =
            [kf_match { person: 0, record: 0, score: 0.0, reserved: 0 }; KF_MAX_MATCHES as usize];
        for (to, hit) in list.iter_mut().zip(&hits) {
            *to = kf_match {
                person: hit.person.0,
                record: hit.record.0,
                score: hit.score,
                reserved: 0,
            };
        }
        out.write_some(&list[..hits.len()])
    })
}

/// Adds templates (1 to 32) of a person, new or known, in one durable step. `at_ms`, milliseconds since 1970, is kept with
/// them. kf_enrolment guides a person to good ones.
///
/// - Ownership: all is the caller's; `name` is 1 to 64 bytes without control characters.
/// - NULL: nothing may be NULL.
/// - Threads: the gallery needs to be yours alone.
/// - Memory: allocates.
/// - Blocks: writes and syncs the file.
/// - Status: KF_STATUS_MODEL_MISMATCH, KF_STATUS_CAPACITY_EXCEEDED, KF_STATUS_IO.
#[no_mangle]
pub unsafe extern "C" fn kf_gallery_enrol(
    gallery: *mut kf_gallery,
    name: *const c_char,
    name_length: usize,
    templates: *const *const kf_template,
    template_count: usize,
    at_ms: u64,
    person: *mut u64,
) -> kf_status {
    call("kf_gallery_enrol", || {
        // SAFETY: as the header asks.
        let out = unsafe { Out::new(person) }?;
        // SAFETY: as the header asks.
        let id = unsafe {
            write_templates(
                gallery,
                (name, name_length),
                (templates, template_count),
                |store, name, list| store.enrol(name, list, at_ms),
            )
        }?;
        out.write(id.0);
        Ok(())
    })
}

/// Puts new templates (1 to 32) in place of all old ones of a person, of whatever model, in one durable step.
///
/// - Ownership: as kf_gallery_enrol.
/// - NULL: nothing may be NULL.
/// - Threads: the gallery needs to be yours alone.
/// - Memory: allocates.
/// - Blocks: writes and syncs the file, may rewrite it.
/// - Status: as kf_gallery_enrol; KF_STATUS_NOT_FOUND if nobody has that name.
#[no_mangle]
pub unsafe extern "C" fn kf_gallery_replace(
    gallery: *mut kf_gallery,
    name: *const c_char,
    name_length: usize,
    templates: *const *const kf_template,
    template_count: usize,
    at_ms: u64,
    person: *mut u64,
) -> kf_status {
    call("kf_gallery_replace", || {
        // SAFETY: as the header asks.
        let out = unsafe { Out::new(person) }?;
        // SAFETY: as the header asks.
        let id = unsafe {
            write_templates(
                gallery,
                (name, name_length),
                (templates, template_count),
                |store, name, list| store.replace(name, list, at_ms),
            )
        }?;
        out.write(id.0);
        Ok(())
    })
}

/// Removes a person; `removed` becomes the number of templates there were. The bytes stay in the file, encrypted, until
/// kf_gallery_compact.
///
/// - Ownership: all is the caller's.
/// - NULL: nothing may be NULL.
/// - Threads: the gallery needs to be yours alone.
/// - Memory: allocates.
/// - Blocks: writes and syncs the file, may rewrite it.
/// - Status: KF_STATUS_NOT_FOUND, KF_STATUS_IO.
#[no_mangle]
pub unsafe extern "C" fn kf_gallery_remove(
    gallery: *mut kf_gallery,
    name: *const c_char,
    name_length: usize,
    removed: *mut usize,
) -> kf_status {
    call("kf_gallery_remove", || {
        // SAFETY: as the header asks.
        let out = unsafe { Out::new(removed) }?;
        // SAFETY: as the header asks.
        let mut gallery = unsafe { borrow(gallery.cast_const()) }?.0.exclusive()?;
        // SAFETY: as the header asks.
        let name = unsafe { self::name(name, name_length) }?;
        out.write(gallery.writer()?.remove(&name)?);
        Ok(())
    })
}

/// Removes one template, by the number that kf_match.record gives, and the person with the last one.
///
/// - Ownership: all is the caller's.
/// - NULL: nothing may be NULL.
/// - Threads: the gallery needs to be yours alone.
/// - Memory: allocates.
/// - Blocks: writes and syncs the file, may rewrite it.
/// - Status: KF_STATUS_NOT_FOUND, KF_STATUS_IO.
#[no_mangle]
pub unsafe extern "C" fn kf_gallery_remove_record(
    gallery: *mut kf_gallery,
    record: u64,
) -> kf_status {
    call("kf_gallery_remove_record", || {
        // SAFETY: as the header asks.
        let mut gallery = unsafe { borrow(gallery.cast_const()) }?.0.exclusive()?;
        gallery.writer()?.remove_record(RecordId(record))
    })
}

/// Writes the file anew without what was removed, under a fresh data key, and from now on under `key`.
///
/// - Ownership: all is the caller's.
/// - NULL: `key` may be NULL to keep the host's key.
/// - Threads: the gallery needs to be yours alone.
/// - Memory: allocates.
/// - Blocks: writes and syncs a whole file.
/// - Status: KF_STATUS_IO: the old file and key stay in use then.
#[no_mangle]
pub unsafe extern "C" fn kf_gallery_compact(
    gallery: *mut kf_gallery,
    key: *const kf_key,
) -> kf_status {
    call("kf_gallery_compact", || {
        // SAFETY: as the header asks.
        let mut gallery = unsafe { borrow(gallery.cast_const()) }?.0.exclusive()?;
        let store = gallery.writer()?;
        if key.is_null() {
            return store.compact();
        }
        // SAFETY: as the header asks.
        store.rotate_key(&*unsafe { borrow(key) }?.0.shared()?)
    })
}

/// Forgets everybody: destroys the data key, overwrites the file, starts an empty one. Change the host's key too.
///
/// - Ownership: all is the caller's.
/// - NULL: nothing may be NULL.
/// - Threads: the gallery needs to be yours alone.
/// - Memory: allocates.
/// - Blocks: overwrites and syncs the file.
/// - Status: KF_STATUS_IO: opening the gallery again completes the wipe if it had begun.
#[no_mangle]
pub unsafe extern "C" fn kf_gallery_wipe(gallery: *mut kf_gallery) -> kf_status {
    call("kf_gallery_wipe", || {
        // SAFETY: as the header asks.
        let mut gallery = unsafe { borrow(gallery.cast_const()) }?.0.exclusive()?;
        gallery.writer()?.wipe()
    })
}
