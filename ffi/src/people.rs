//! People of a gallery: who is there, and all that is stored of one.

use crate::call::{borrow, call, Buffer, Out};
use crate::gallery::{kf_gallery, name, KF_MAX_NAME};
use crate::status::kf_status;
use keyface::gallery::{Person, PersonId, StoredTemplate, MAX_NAME};
use keyface::template::MAX_DIM;
use keyface::{Error, ErrorKind};
use std::ffi::c_char;

/// The most components of an embedding.
pub const KF_MAX_DIMENSION: u32 = 512;

/// A person in a gallery.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct kf_person {
    /// Number: given once, never reused, never 0.
    pub id: u64,
    /// How many templates.
    pub templates: u64,
    /// Length of the name in bytes.
    pub name_length: u64,
    /// The name, UTF-8, filled up with zeros: the last byte is always zero, so it is a C string too.
    pub name: [u8; 72],
}

/// A template as the gallery stores it, for the person who asks what is stored of them. Biometric data: wipe it after use.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct kf_stored_template {
    /// Number of the template.
    pub record: u64,
    /// Number of the person.
    pub person: u64,
    /// When it was enrolled, by the host's clock: milliseconds since 1970.
    pub at_ms: u64,
    /// The model that made it.
    pub model_id: [u8; 32],
    /// Components in use.
    pub dimension: u32,
    /// Zero.
    pub reserved: u32,
    /// The components, quantised: divided by their length they are the embedding. Unused ones are zero.
    pub components: [i8; 512],
}

fn person_from(person: &Person) -> kf_person {
    let bytes = person.name.as_str().as_bytes();
    let mut name = [0; 72];
    name[..bytes.len()].copy_from_slice(bytes);
    kf_person {
        id: person.id.0,
        templates: person.templates as u64,
        name_length: bytes.len() as u64,
        name,
    }
}

const _: () = assert!(MAX_NAME == KF_MAX_NAME as usize && MAX_NAME < 72);
const _: () = assert!(MAX_DIM == KF_MAX_DIMENSION as usize && MAX_DIM == 512);

fn stored_from(stored: &StoredTemplate) -> kf_stored_template {
    let mut components = [0; MAX_DIM];
    components[..stored.q.len()].copy_from_slice(&stored.q);
    kf_stored_template {
        record: stored.record.0,
        person: stored.person.0,
        at_ms: stored.at_ms,
        model_id: stored.model.0,
        dimension: stored.q.len() as u32,
        reserved: 0,
        components,
    }
}

/// The people from place `first` on, in order of enrolment: `capacity` of them at most.
///
/// - Ownership: `people` is the caller's.
/// - NULL: `people` may be NULL if `capacity` is 0.
/// - Threads: any number at once.
/// - Memory: allocates a list of people, frees it.
/// - Blocks: no.
/// - Status: no other.
#[no_mangle]
pub unsafe extern "C" fn kf_gallery_get_people(
    gallery: *const kf_gallery,
    first: usize,
    people: *mut kf_person,
    capacity: usize,
    count: *mut usize,
) -> kf_status {
    call("kf_gallery_get_people", || {
        // SAFETY: as the header asks.
        let out = unsafe { Buffer::new(people, capacity, count) }?;
        // SAFETY: as the header asks.
        let gallery = unsafe { borrow(gallery) }?.0.shared()?;
        let list: Vec<kf_person> = gallery.people().iter().skip(first).map(person_from).collect();
        out.write_some(&list)
    })
}

/// The person of a number, as kf_match and kf_decision give it.
///
/// - Ownership: `result` is the caller's.
/// - NULL: nothing may be NULL.
/// - Threads: any number at once.
/// - Memory: allocates a list of people, frees it.
/// - Blocks: no.
/// - Status: KF_STATUS_NOT_FOUND.
#[no_mangle]
pub unsafe extern "C" fn kf_gallery_get_person(
    gallery: *const kf_gallery,
    person: u64,
    result: *mut kf_person,
) -> kf_status {
    call("kf_gallery_get_person", || {
        // SAFETY: as the header asks.
        let out = unsafe { Out::new(result) }?;
        // SAFETY: as the header asks.
        let gallery = unsafe { borrow(gallery) }?.0.shared()?;
        let people = gallery.people();
        let found = people.iter().find(|p| p.id == PersonId(person));
        out.write(person_from(found.ok_or(Error::new(ErrorKind::NotFound, "no such person"))?));
        Ok(())
    })
}

/// The person of a name.
///
/// - Ownership: `result` is the caller's.
/// - NULL: nothing may be NULL.
/// - Threads: any number at once.
/// - Memory: allocates a list of people, frees it.
/// - Blocks: no.
/// - Status: KF_STATUS_NOT_FOUND.
#[no_mangle]
pub unsafe extern "C" fn kf_gallery_find(
    gallery: *const kf_gallery,
    name: *const c_char,
    name_length: usize,
    result: *mut kf_person,
) -> kf_status {
    call("kf_gallery_find", || {
        // SAFETY: as the header asks.
        let out = unsafe { Out::new(result) }?;
        // SAFETY: as the header asks.
        let gallery = unsafe { borrow(gallery) }?.0.shared()?;
        // SAFETY: as the header asks.
        let name = unsafe { self::name(name, name_length) }?;
        let people = gallery.people();
        let found = people.iter().find(|p| p.name == name);
        out.write(person_from(found.ok_or(Error::new(ErrorKind::NotFound, "no such person"))?));
        Ok(())
    })
}

/// All that is stored of a person: `count` templates, in order of enrolment.
///
/// - Ownership: `templates` is the caller's; it holds biometric data then: wipe it after use.
/// - NULL: `templates` may be NULL if `capacity` is 0.
/// - Threads: any number at once.
/// - Memory: allocates a copy, wipes and frees it.
/// - Blocks: no.
/// - Status: KF_STATUS_NOT_FOUND, KF_STATUS_CAPACITY_EXCEEDED.
#[no_mangle]
pub unsafe extern "C" fn kf_gallery_export(
    gallery: *const kf_gallery,
    name: *const c_char,
    name_length: usize,
    templates: *mut kf_stored_template,
    capacity: usize,
    count: *mut usize,
) -> kf_status {
    call("kf_gallery_export", || {
        // SAFETY: as the header asks.
        let out = unsafe { Buffer::new(templates, capacity, count) }?;
        // SAFETY: as the header asks.
        let gallery = unsafe { borrow(gallery) }?.0.shared()?;
        // SAFETY: as the header asks.
        let name = unsafe { self::name(name, name_length) }?;
        out.write_each(&gallery.export(&name)?, stored_from)
    })
}
