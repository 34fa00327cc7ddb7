//! Whole files: the empty one, the rewritten one, the wiped one.

use super::disk::{write_all, Disk, Slot};
use super::format::{
    new_header, write_record, Change, Place, HEADER, KEY_AREA, MAX_TRANSACTION, WIPE_COUNTER,
    WIPE_MARK, WIPE_MARK_AT,
};
use super::key::{random, HostKey, TAG};
use super::replay::Log;
use super::state::State;
use crate::error::{Error, Result};

/// Encodes one transaction; gives the tag of its last record.
pub(super) fn append(
    out: &mut Vec<u8>,
    log: &Log,
    mut tag: [u8; TAG],
    transaction: u64,
    changes: &[Change],
) -> Result<[u8; TAG]> {
    for (i, change) in changes.iter().enumerate() {
        let place = Place { transaction, index: i as u16, last: i + 1 == changes.len() };
        tag = write_record(out, &log.key, &log.header.file_id, &tag, place, change)?;
    }
    Ok(tag)
}

/// A new file with a header in the second slot; not synced.
fn begin_next(disk: &mut dyn Disk, host: &HostKey, base: u64) -> Result<Log> {
    let (bytes, header, key) = new_header(host, base)?;
    let write = |disk: &mut dyn Disk| {
        disk.create(Slot::Next)?;
        write_all(disk, Slot::Next, 0, &bytes)
    };
    write(disk).map_err(|e| Error::io("create a gallery file", &e))?;
    let (tag, at) = (header.tag, HEADER as u64);
    Ok(Log { header, key, counter: base, last: at, end: at, tag, tail: 0 })
}

/// An empty gallery, durable.
pub(super) fn start_empty(disk: &mut dyn Disk, host: &HostKey, base: u64) -> Result<Log> {
    let log = begin_next(disk, host, base)?;
    let finish = |disk: &mut dyn Disk| {
        disk.sync(Slot::Next)?;
        disk.promote()?;
        disk.sync_dir()
    };
    finish(disk).map_err(|e| Error::io("create the gallery", &e))?;
    Ok(log)
}

/// The key first: from then on the records are noise. Then the records, then an empty file in place of the old one.
pub(super) fn finish_wipe(disk: &mut dyn Disk, host: &HostKey, counter: u64) -> Result<Log> {
    let mut noise = [0; KEY_AREA.end - KEY_AREA.start];
    random(&mut noise)?;
    let overwrite = |disk: &mut dyn Disk| {
        write_all(disk, Slot::Live, KEY_AREA.start as u64, &noise)?;
        disk.sync(Slot::Live)?;
        let len = disk.open(Slot::Live)?.unwrap_or(0);
        let zeros = [0; 4096];
        let mut at = HEADER as u64;
        while at < len {
            let n = (len - at).min(zeros.len() as u64);
            write_all(disk, Slot::Live, at, &zeros[..n as usize])?;
            at += n;
        }
        disk.sync(Slot::Live)
    };
    overwrite(disk).map_err(|e| Error::io("overwrite the gallery", &e))?;
    start_empty(disk, host, counter)
}

/// After this, opening the file completes the wipe. The counter is durable before the mark that makes it count.
pub(super) fn begin_wipe(disk: &mut dyn Disk, counter: u64) -> Result<()> {
    let begin = |disk: &mut dyn Disk| {
        write_all(disk, Slot::Live, WIPE_COUNTER, &counter.to_le_bytes())?;
        disk.sync(Slot::Live)?;
        write_all(disk, Slot::Live, WIPE_MARK_AT, WIPE_MARK)?;
        disk.sync(Slot::Live)
    };
    begin(disk).map_err(|e| Error::io("begin to wipe the gallery", &e))
}

/// A complete, synced successor without history, not yet in place.
pub(super) fn write_next(
    disk: &mut dyn Disk,
    host: &HostKey,
    base: u64,
    state: &State,
) -> Result<Log> {
    let mut log = begin_next(disk, host, base)?;
    if let Some(model) = state.model {
        let (person, record) = state.next_ids();
        put(disk, &mut log, &[Change::SetModel(model, person, record)])?;
    }
    for group in state.select(|_| true).chunks(MAX_TRANSACTION) {
        let adds: Vec<Change> =
            group.iter().filter_map(|&at| state.stored(at)).map(Change::Add).collect();
        put(disk, &mut log, &adds)?;
    }
    disk.sync(Slot::Next).map_err(|e| Error::io("sync the rewritten gallery", &e))?;
    Ok(log)
}

/// Appends a transaction to the successor.
fn put(disk: &mut dyn Disk, log: &mut Log, changes: &[Change]) -> Result<()> {
    let mut bytes = Vec::new();
    log.counter += 1;
    log.tag = append(&mut bytes, log, log.tag, log.counter, changes)?;
    write_all(disk, Slot::Next, log.end, &bytes)
        .map_err(|e| Error::io("rewrite the gallery", &e))?;
    log.last = log.end;
    log.end += bytes.len() as u64;
    Ok(())
}
