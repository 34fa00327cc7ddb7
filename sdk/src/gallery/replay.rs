//! Reads a gallery file from its first byte to its last commit.
//!
//! A transaction counts once its last record is there and genuine. Only one transaction is ever under way, so what a crash leaves
//! behind the last commit is shorter than [`MAX_TAIL`] and holds no later transaction; anything else is damage, and refused.

use super::disk::{read_full, Disk, Slot};
use super::format::{
    read_header, read_record, wiped_at, Change, Header, ALIGN, HEADER, MAX_RECORD, MAX_TRANSACTION,
};
use super::key::{DataKey, HostKey, TAG};
use super::state::State;
use crate::error::{Error, ErrorKind, Result};

/// No crash leaves more than one transaction behind the last commit.
const MAX_TAIL: u64 = (MAX_RECORD * MAX_TRANSACTION) as u64;
/// Bytes read at once.
const WINDOW: usize = 1 << 18;

/// A file as far as it is committed.
pub(super) struct Log {
    pub(super) header: Header,
    pub(super) key: DataKey,
    /// Number of the last transaction: the monotonic counter.
    pub(super) counter: u64,
    /// Where the last transaction starts.
    pub(super) last: u64,
    /// Where the next one goes.
    pub(super) end: u64,
    /// Tag of the last committed record.
    pub(super) tag: [u8; TAG],
    /// Bytes behind the last commit.
    pub(super) tail: u64,
}

/// What a file turned out to be.
pub(super) enum Found {
    Log(Box<Log>, State),
    /// A wipe had begun at this counter; the content is void.
    Wiped(u64),
}

/// Reads the live file of `len` bytes.
pub(super) fn replay(
    disk: &mut dyn Disk,
    host: &HostKey,
    len: u64,
    capacity: usize,
) -> Result<Found> {
    let mut bytes = [0; HEADER];
    let got = read_full(disk, Slot::Live, 0, &mut bytes).map_err(read_failed)?;
    if got < HEADER {
        return Err(Error::new(ErrorKind::DamagedGallery, "the file is shorter than its header"));
    }
    if let Some(counter) = wiped_at(&bytes) {
        return Ok(Found::Wiped(counter));
    }
    let (header, key) = read_header(&bytes, host)?;
    let (base, first_tag) = (header.base, header.tag);
    let at = HEADER as u64;
    let mut log = Log { header, key, counter: base, last: at, end: at, tag: first_tag, tail: 0 };
    let mut state = State::new(capacity);
    let mut window = Window { disk, len, start: 0, bytes: Vec::new() };
    let mut staged = Vec::<Change>::new();
    let (mut at, mut tag) = (at, first_tag);
    while at < len {
        let record = read_record(window.at(at, MAX_RECORD)?, &log.key, &log.header.file_id);
        let Some(record) = record.filter(|r| r.previous == tag) else {
            check_torn(&mut window, &log)?;
            break;
        };
        let place = record.place;
        if place.transaction != log.counter + 1 || usize::from(place.index) != staged.len() {
            return Err(Error::new(ErrorKind::DamagedGallery, "a record is out of order"));
        }
        staged.push(record.change);
        (at, tag) = (at + record.len as u64, record.tag);
        if place.last {
            staged.iter().try_for_each(|change| state.apply(change))?;
            staged.clear();
            (log.last, log.end, log.tag, log.counter) = (log.end, at, tag, place.transaction);
        } else if staged.len() >= MAX_TRANSACTION {
            return Err(Error::new(ErrorKind::DamagedGallery, "a transaction is too long"));
        }
    }
    log.tail = len - log.end;
    Ok(Found::Log(Box::new(log), state))
}

/// Passes if the bytes behind the last commit can be what a crash left of the next transaction.
fn check_torn(window: &mut Window<'_>, log: &Log) -> Result<()> {
    let damaged =
        Err(Error::new(ErrorKind::DamagedGallery, "a record in the middle of the file is damaged"));
    if window.len - log.end > MAX_TAIL {
        return damaged;
    }
    for at in (log.end..window.len).step_by(ALIGN) {
        let record = read_record(window.at(at, MAX_RECORD)?, &log.key, &log.header.file_id);
        if record.is_some_and(|r| r.place.transaction > log.counter + 1) {
            return damaged;
        }
    }
    Ok(())
}

/// A piece of the file in memory.
struct Window<'a> {
    disk: &'a mut dyn Disk,
    len: u64,
    start: u64,
    bytes: Vec<u8>,
}

impl Window<'_> {
    /// The bytes from `offset`, at least `want` of them unless the file ends.
    fn at(&mut self, offset: u64, want: usize) -> Result<&[u8]> {
        let want = (self.len - offset).min(want as u64);
        let inside = offset >= self.start && offset + want <= self.start + self.bytes.len() as u64;
        if !inside {
            let size = (self.len - offset).min(WINDOW as u64) as usize;
            self.bytes.resize(size, 0);
            let got =
                read_full(self.disk, Slot::Live, offset, &mut self.bytes).map_err(read_failed)?;
            self.bytes.truncate(got);
            self.start = offset;
        }
        Ok(&self.bytes[(offset - self.start) as usize..])
    }
}

pub(super) fn read_failed(e: std::io::Error) -> Error {
    Error::io("read the gallery", &e)
}
