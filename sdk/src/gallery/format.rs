//! Bytes of a gallery file: one header, then authenticated records. Little-endian.
//!
//! ```text
//! header   0 magic "KFGALRY1" | 8 version u32 | 12 zero u32 | 16 file id [16] | 32 base counter u64
//!         40 nonce [24] | 64 data key under the host key [32] | 96 tag [16] | 112 first 8 bytes of SHA-256 over 0..112
//!        120 zero u64 | 128 wipe: final counter u64 | 136 wipe: mark [8] | 144 zero to 256
//! record   0 body length u32 | 4 kind u8 | 5 last of transaction u8 | 6 index in transaction u16 | 8 transaction u64
//!         16 record u64 | 24 person u64 | 32 model digest [32] | 64 tag of the record before [16] | 80 nonce [24]
//!        104 body, encrypted | tag [16]
//! ```
//!
//! Associated data of a record: format version, file id, and the record's first 80 bytes. The tag of the record before (the header's, for
//! the first) confirms all before it: no record can be changed, dropped, moved or spliced in from another file.

use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::key::{random, DataKey, HostKey, KEY, NONCE, TAG};
use super::memory::{PersonId, PersonName, RecordId, MAX_NAME};
use crate::error::{Error, ErrorKind, Result};
use crate::template::{ModelId, MAX_DIM};

pub(super) const HEADER: usize = 256;
const MAGIC: &[u8; 8] = b"KFGALRY1";
const VERSION: u32 = 1;
/// Where a wipe leaves the counter, and where its mark.
pub(super) const WIPE_COUNTER: u64 = 128;
pub(super) const WIPE_MARK_AT: u64 = 136;
pub(super) const WIPE_MARK: &[u8; 8] = b"KFWIPED!";
/// The bytes without which no record can ever be read again: nonce, wrapped key and tag.
pub(super) const KEY_AREA: std::ops::Range<usize> = 40..112;

/// Numbers beyond this were not given by us; those below can be counted up for ever.
const MAX_NUMBER: u64 = 1 << 62;

const FIXED: usize = 80;
const PREFIX: usize = FIXED + NONCE;
/// Records keep to multiples of this, so that a search for them after damage has few places to look.
pub(super) const ALIGN: usize = 8;
/// Name length, name, time, dimension.
const TEMPLATE_FIXED: usize = 1 + MAX_NAME + 8 + 2;
const MAX_BODY: usize = (TEMPLATE_FIXED + MAX_DIM).next_multiple_of(ALIGN);
/// The longest record.
pub(super) const MAX_RECORD: usize = PREFIX + MAX_BODY + TAG;
/// The most records in one transaction.
pub(super) const MAX_TRANSACTION: usize = 64;

/// What a file is bound to.
pub(super) struct Header {
    pub(super) file_id: [u8; 16],
    /// Counter before the first transaction of this file.
    pub(super) base: u64,
    pub(super) tag: [u8; TAG],
}

/// Makes a header with a fresh file id and a fresh data key.
pub(super) fn new_header(host: &HostKey, base: u64) -> Result<([u8; HEADER], Header, DataKey)> {
    let mut bytes = [0u8; HEADER];
    bytes[..8].copy_from_slice(MAGIC);
    bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
    random(&mut bytes[16..32])?;
    bytes[32..40].copy_from_slice(&base.to_le_bytes());
    random(&mut bytes[40..64])?;
    let data = DataKey::generate()?;
    let (sealed, tag) = host.wrap(&data, &array(&bytes, 40), &bytes[..40])?;
    bytes[64..96].copy_from_slice(&sealed);
    bytes[96..112].copy_from_slice(&tag);
    let sum = Sha256::digest(&bytes[..112]);
    bytes[112..120].copy_from_slice(&sum[..8]);
    let header = Header { file_id: array(&bytes, 16), base, tag };
    Ok((bytes, header, data))
}

/// Counter at which a wipe of this file began, if one did.
pub(super) fn wiped_at(bytes: &[u8; HEADER]) -> Option<u64> {
    let counter = u64::from_le_bytes(array(bytes, WIPE_COUNTER as usize)).min(MAX_NUMBER);
    (array(bytes, WIPE_MARK_AT as usize) == *WIPE_MARK).then_some(counter)
}

/// Reads a header and unwraps the data key.
pub(super) fn read_header(bytes: &[u8; HEADER], host: &HostKey) -> Result<(Header, DataKey)> {
    let damaged = |detail| Err(Error::new(ErrorKind::DamagedGallery, detail));
    if &bytes[..8] != MAGIC {
        return damaged("not a gallery file");
    }
    if bytes[112..120] != Sha256::digest(&bytes[..112])[..8] {
        return damaged("the header's checksum is wrong");
    }
    if bytes[8..12] != VERSION.to_le_bytes() {
        return damaged("the file is of another format version");
    }
    let tag = array(bytes, 96);
    let data = host.unwrap(&array::<KEY>(bytes, 64), &array(bytes, 40), &bytes[..40], &tag)?;
    let base = u64::from_le_bytes(array(bytes, 32));
    if base > 2 * MAX_NUMBER {
        return damaged("the header's counter is out of range");
    }
    Ok((Header { file_id: array(bytes, 16), base, tag }, data))
}

/// One change to the gallery.
pub(super) enum Change {
    Add(StoredTemplate),
    RemoveRecord(RecordId),
    RemovePerson(PersonId),
    /// Templates are enrolled under this model from here on, and numbers start here at least.
    SetModel(ModelId, PersonId, RecordId),
    /// All templates of a model go.
    RemoveModel(ModelId),
}

/// A template as the gallery stores it: quantised. Wiped on drop; its components never show in `Debug`.
pub struct StoredTemplate {
    /// Its number.
    pub record: RecordId,
    /// Whose it is.
    pub person: PersonId,
    /// Their name.
    pub name: PersonName,
    /// The model that made it.
    pub model: ModelId,
    /// When it was enrolled, by the host's clock; milliseconds since 1970.
    pub at_ms: u64,
    /// The components times `127 / largest`, rounded. Biometric data.
    pub q: Zeroizing<Vec<i8>>,
}

impl std::fmt::Debug for StoredTemplate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StoredTemplate")
            .field("record", &self.record)
            .field("person", &self.person)
            .field("model", &self.model)
            .finish_non_exhaustive()
    }
}

/// Where a record stands in the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Place {
    pub(super) transaction: u64,
    pub(super) index: u16,
    pub(super) last: bool,
}

/// Appends the record to `out` and gives its tag.
pub(super) fn write_record(
    out: &mut Vec<u8>,
    key: &DataKey,
    file_id: &[u8; 16],
    previous: &[u8; TAG],
    place: Place,
    change: &Change,
) -> Result<[u8; TAG]> {
    let zero = (RecordId(0), PersonId(0), ModelId([0; 32]));
    let (kind, (record, person, model)) = match change {
        Change::Add(t) => (1, (t.record, t.person, t.model)),
        Change::RemoveRecord(record) => (2, (*record, zero.1, zero.2)),
        Change::RemovePerson(person) => (3, (zero.0, *person, zero.2)),
        Change::SetModel(model, person, record) => (4, (*record, *person, *model)),
        Change::RemoveModel(model) => (5, (zero.0, zero.1, *model)),
    };
    let mut body = Zeroizing::new([0u8; MAX_BODY]);
    let mut len = 0;
    if let Change::Add(t) = change {
        let name = t.name.as_str().as_bytes();
        body[0] = name.len() as u8;
        body[1..=name.len()].copy_from_slice(name);
        body[65..73].copy_from_slice(&t.at_ms.to_le_bytes());
        body[73..75].copy_from_slice(&(t.q.len() as u16).to_le_bytes());
        for (to, &v) in body[TEMPLATE_FIXED..].iter_mut().zip(t.q.iter()) {
            *to = v as u8;
        }
        len = (TEMPLATE_FIXED + t.q.len()).next_multiple_of(ALIGN);
    }
    let mut prefix = [0u8; PREFIX];
    prefix[..4].copy_from_slice(&(len as u32).to_le_bytes());
    prefix[4] = kind;
    prefix[5] = u8::from(place.last);
    prefix[6..8].copy_from_slice(&place.index.to_le_bytes());
    prefix[8..16].copy_from_slice(&place.transaction.to_le_bytes());
    prefix[16..24].copy_from_slice(&record.0.to_le_bytes());
    prefix[24..32].copy_from_slice(&person.0.to_le_bytes());
    prefix[32..64].copy_from_slice(&model.0);
    prefix[64..80].copy_from_slice(previous);
    random(&mut prefix[FIXED..])?;
    let aad = associated(&prefix, file_id);
    let tag = key.seal(&array(&prefix, FIXED), &aad, &mut body[..len])?;
    out.extend_from_slice(&prefix);
    out.extend_from_slice(&body[..len]);
    out.extend_from_slice(&tag);
    Ok(tag)
}

/// A record that proved genuine.
pub(super) struct Opened {
    pub(super) place: Place,
    pub(super) change: Change,
    /// Tag of the record that it follows.
    pub(super) previous: [u8; TAG],
    /// Its length in the file.
    pub(super) len: usize,
    pub(super) tag: [u8; TAG],
}

/// Where the record at the start of `bytes` claims to stand, if it looks like one and is whole.
fn peek(bytes: &[u8]) -> Option<(Place, usize)> {
    let prefix: &[u8; PREFIX] = bytes.first_chunk()?;
    let body = u32::from_le_bytes(array(prefix, 0)) as usize;
    if body > MAX_BODY
        || !body.is_multiple_of(ALIGN)
        || !(1..=5).contains(&prefix[4])
        || prefix[5] > 1
    {
        return None;
    }
    let place = Place {
        transaction: u64::from_le_bytes(array(prefix, 8)),
        index: u16::from_le_bytes(array(prefix, 6)),
        last: prefix[5] == 1,
    };
    let len = PREFIX + body + TAG;
    (bytes.len() >= len).then_some((place, len))
}

/// Decrypts the record at the start of `bytes`; nothing if it is not genuine or not whole.
pub(super) fn read_record(bytes: &[u8], key: &DataKey, file_id: &[u8; 16]) -> Option<Opened> {
    let (place, len) = peek(bytes)?;
    let prefix: &[u8; PREFIX] = bytes.first_chunk()?;
    let tag: [u8; TAG] = array(bytes, len - TAG);
    let mut buffer = Zeroizing::new([0u8; MAX_BODY]);
    let body = &mut buffer[..len - PREFIX - TAG];
    body.copy_from_slice(&bytes[PREFIX..len - TAG]);
    let aad = associated(prefix, file_id);
    if !key.open(&array(prefix, FIXED), &aad, body, &tag) {
        return None;
    }
    let record = RecordId(u64::from_le_bytes(array(prefix, 16)));
    let person = PersonId(u64::from_le_bytes(array(prefix, 24)));
    let model = ModelId(array(prefix, 32));
    if record.0 > MAX_NUMBER || person.0 > MAX_NUMBER {
        return None;
    }
    let change = match prefix[4] {
        1 => Change::Add(read_template(body, record, person, model)?),
        2 => Change::RemoveRecord(record),
        3 => Change::RemovePerson(person),
        4 => Change::SetModel(model, person, record),
        _ => Change::RemoveModel(model),
    };
    Some(Opened { place, change, previous: array(prefix, 64), len, tag })
}

/// Checks even what was authenticated: a key holder's other software may have written it.
fn read_template(
    body: &[u8],
    record: RecordId,
    person: PersonId,
    model: ModelId,
) -> Option<StoredTemplate> {
    let (fixed, rest) = body.split_at_checked(TEMPLATE_FIXED)?;
    let name = std::str::from_utf8(fixed.get(1..1 + usize::from(fixed[0]).min(MAX_NAME))?).ok()?;
    let dim = usize::from(u16::from_le_bytes(array(fixed, 73)));
    if dim == 0 || dim > MAX_DIM || dim > rest.len() {
        return None;
    }
    Some(StoredTemplate {
        record,
        person,
        name: PersonName::new(name).ok()?,
        model,
        at_ms: u64::from_le_bytes(array(fixed, 65)),
        q: Zeroizing::new(rest[..dim].iter().map(|&b| b as i8).collect()),
    })
}

fn associated(prefix: &[u8; PREFIX], file_id: &[u8; 16]) -> [u8; 4 + 16 + FIXED] {
    let mut aad = [0; 4 + 16 + FIXED];
    aad[..4].copy_from_slice(&VERSION.to_le_bytes());
    aad[4..20].copy_from_slice(file_id);
    aad[20..].copy_from_slice(&prefix[..FIXED]);
    aad
}

/// `N` bytes from `at`; the callers' offsets are constants inside checked lengths.
fn array<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(&bytes[at..at + N]);
    out
}
