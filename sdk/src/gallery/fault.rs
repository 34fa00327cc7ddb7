//! A disk that fails on order: what the gallery's crash tests run on, for the tests of programs built on it too.
//!
//! It keeps apart what was written and what was synced. A [`FaultDisk::crash`] keeps the synced bytes, and of everything since then any
//! pieces in any combination, as a medium may after a power cut: torn, reordered, with zeros or noise where a length
//! survived and the bytes did not.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::disk::{Disk, Slot};

/// How a call fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// No space left; a write stores half of what was given before.
    NoSpace,
    /// The medium answers with an error and does nothing.
    Io,
    /// As on Linux: a sync fails, the cache calls the bytes clean, and they never reach the medium. For other calls as [`Failure::Io`].
    LostSync,
}

/// What goes wrong, and when. Time counts one for each byte written and one for each other changing call.
#[derive(Debug, Clone, Copy, Default)]
pub struct Plan {
    /// The process dies at this time: a write stores what fits, and every later call fails.
    pub kill_at: Option<u64>,
    /// The changing call of this number (from 0) fails so.
    pub fail: Option<(u64, Failure)>,
    /// No write stores more than this at once; zero for no limit.
    pub short: usize,
}

enum Pending {
    Write { at: usize, bytes: Vec<u8> },
    SetLen(usize),
}

#[derive(Default)]
struct Inode {
    durable: Vec<u8>,
    cache: Vec<u8>,
    pending: Vec<Pending>,
}

impl Inode {
    /// What a power cut leaves, with choices by `random`.
    fn survive(&self, random: &mut Random) -> Vec<u8> {
        let mut bytes = self.durable.clone();
        let piece = [1, 16, 512, 4096][random.below(4)];
        let keep = [0, 1, 4, 7, 8][random.below(5)];
        let noise = random.below(2) == 1;
        for pending in &self.pending {
            match pending {
                Pending::SetLen(len) if random.below(2) == 1 => bytes.resize(*len, 0),
                Pending::SetLen(_) => {}
                Pending::Write { at, bytes: new } => {
                    for (i, chunk) in new.chunks(piece).enumerate() {
                        let at = at + i * piece;
                        if random.below(8) >= keep {
                            continue;
                        }
                        while bytes.len() < at + chunk.len() {
                            bytes.push(if noise { random.below(256) as u8 } else { 0 });
                        }
                        bytes[at..at + chunk.len()].copy_from_slice(chunk);
                    }
                }
            }
        }
        bytes
    }
}

type Names = [Option<usize>; 2];

#[derive(Default)]
struct Medium {
    inodes: Vec<Inode>,
    names: Names,
    durable_names: Names,
    /// The names after each change since the last directory sync.
    pending_names: Vec<Names>,
    locked: bool,
    plan: Plan,
    time: u64,
    calls: u64,
    dead: bool,
}

/// An in-memory [`Disk`]. Clones share one medium.
pub struct FaultDisk {
    medium: Arc<Mutex<Medium>>,
    open: Names,
    holds_lock: bool,
}

impl Default for FaultDisk {
    fn default() -> Self {
        FaultDisk::on(Medium::default())
    }
}

impl Clone for FaultDisk {
    fn clone(&self) -> Self {
        FaultDisk { medium: self.medium.clone(), open: [None; 2], holds_lock: false }
    }
}

impl Drop for FaultDisk {
    fn drop(&mut self) {
        if self.holds_lock {
            self.medium().locked = false;
        }
    }
}

impl std::fmt::Debug for FaultDisk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FaultDisk").finish_non_exhaustive()
    }
}

impl FaultDisk {
    fn on(medium: Medium) -> Self {
        FaultDisk { medium: Arc::new(Mutex::new(medium)), open: [None; 2], holds_lock: false }
    }

    /// A disk whose gallery file holds `bytes`, synced.
    #[must_use]
    pub fn with_content(bytes: &[u8]) -> Self {
        let inode = Inode { durable: bytes.to_vec(), cache: bytes.to_vec(), pending: Vec::new() };
        let names = [Some(0), None];
        FaultDisk::on(Medium {
            inodes: vec![inode],
            names,
            durable_names: names,
            ..Medium::default()
        })
    }

    /// The bytes of the gallery file as a program sees them now.
    #[must_use]
    pub fn content(&self) -> Option<Vec<u8>> {
        let medium = self.medium();
        medium.names[0].map(|i| medium.inodes[i].cache.clone())
    }

    /// Everything that was ever written and still lies on the medium, whatever its name: what a thief of the card reads.
    #[must_use]
    pub fn all_durable_bytes(&self) -> Vec<u8> {
        self.medium().inodes.iter().flat_map(|i| i.durable.iter().copied()).collect()
    }

    /// Sets what goes wrong from here on; time and calls start at zero.
    pub fn set_plan(&self, plan: Plan) {
        let mut medium = self.medium();
        (medium.plan, medium.time, medium.calls, medium.dead) = (plan, 0, 0, false);
    }

    /// Time and changing calls since the plan was set.
    #[must_use]
    pub fn elapsed(&self) -> (u64, u64) {
        let medium = self.medium();
        (medium.time, medium.calls)
    }

    /// Another process after the death of the first: the cache survives, the lock is free, nothing fails any more.
    #[must_use]
    pub fn reopen(&self) -> FaultDisk {
        self.set_plan(Plan::default());
        self.medium().locked = false;
        self.clone()
    }

    /// The medium after a power cut; `seed` chooses what survived. This disk stays as it is.
    #[must_use]
    pub fn crash(&self, seed: u64) -> FaultDisk {
        let medium = self.medium();
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5851_f42d_4c95_7f2d);
        let choice = random.below(medium.pending_names.len() + 1);
        let names =
            if choice == 0 { medium.durable_names } else { medium.pending_names[choice - 1] };
        let inodes = medium.inodes.iter().map(|inode| {
            let bytes = inode.survive(&mut random);
            Inode { durable: bytes.clone(), cache: bytes, pending: Vec::new() }
        });
        FaultDisk::on(Medium {
            inodes: inodes.collect(),
            names,
            durable_names: names,
            ..Medium::default()
        })
    }

    fn medium(&self) -> MutexGuard<'_, Medium> {
        self.medium.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The inode behind an open slot.
    fn inode(&self, slot: Slot) -> io::Result<usize> {
        self.open[slot as usize].ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl Medium {
    fn alive(&self) -> io::Result<()> {
        if self.dead {
            return Err(io::Error::other("the process is dead"));
        }
        Ok(())
    }

    /// Counts a changing call of the given cost; says how much of it happens, and how it fails.
    fn step(&mut self, cost: u64) -> (u64, io::Result<Option<Failure>>) {
        if let Err(e) = self.alive() {
            return (0, Err(e));
        }
        let call = self.calls;
        self.calls += 1;
        let left = self.plan.kill_at.map_or(u64::MAX, |at| at.saturating_sub(self.time));
        self.time += cost.min(left);
        if left < cost {
            self.dead = true;
            return (left, Err(io::Error::other("the process is dead")));
        }
        let failure = self.plan.fail.filter(|&(at, _)| at == call).map(|(_, failure)| failure);
        (cost, Ok(failure))
    }

    /// A changing call that happens whole or not at all.
    fn simple(&mut self) -> io::Result<()> {
        match self.step(1).1? {
            None => Ok(()),
            Some(failure) => Err(failure.error()),
        }
    }

    fn rename(&mut self, change: impl FnOnce(&mut Names)) {
        change(&mut self.names);
        self.pending_names.push(self.names);
    }
}

impl Failure {
    fn error(self) -> io::Error {
        match self {
            Failure::NoSpace => io::ErrorKind::StorageFull.into(),
            Failure::Io | Failure::LostSync => io::Error::other("input/output error"),
        }
    }
}

impl Disk for FaultDisk {
    fn lock(&mut self) -> io::Result<()> {
        let mut medium = self.medium.lock().unwrap_or_else(PoisonError::into_inner);
        medium.alive()?;
        if medium.locked {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        medium.locked = true;
        self.holds_lock = true;
        Ok(())
    }

    fn open(&mut self, slot: Slot) -> io::Result<Option<u64>> {
        let (inode, len) = {
            let medium = self.medium();
            medium.alive()?;
            let inode = medium.names[slot as usize];
            (inode, inode.map(|i| medium.inodes[i].cache.len() as u64))
        };
        self.open[slot as usize] = inode;
        Ok(len)
    }

    fn create(&mut self, slot: Slot) -> io::Result<()> {
        let inode = {
            let mut medium = self.medium();
            medium.simple()?;
            let inode = medium.inodes.len();
            medium.inodes.push(Inode::default());
            medium.rename(|names| names[slot as usize] = Some(inode));
            inode
        };
        self.open[slot as usize] = Some(inode);
        Ok(())
    }

    fn read_at(&mut self, slot: Slot, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        let inode = self.inode(slot)?;
        let medium = self.medium();
        medium.alive()?;
        let rest = medium.inodes[inode].cache.get(offset as usize..).unwrap_or(&[]);
        let n = rest.len().min(into.len());
        into[..n].copy_from_slice(&rest[..n]);
        Ok(n)
    }

    fn write_at(&mut self, slot: Slot, offset: u64, bytes: &[u8]) -> io::Result<usize> {
        let inode = self.inode(slot)?;
        let mut medium = self.medium();
        let most =
            if medium.plan.short == 0 { bytes.len() } else { bytes.len().min(medium.plan.short) };
        let (done, outcome) = medium.step(most as u64);
        let (n, result) = match outcome {
            Err(e) => (done as usize, Err(e)),
            Ok(None) => (most, Ok(most)),
            Ok(Some(Failure::NoSpace)) => (most / 2, Err(Failure::NoSpace.error())),
            Ok(Some(failure)) => (0, Err(failure.error())),
        };
        let (at, inode) = (offset as usize, &mut medium.inodes[inode]);
        if n > 0 {
            if inode.cache.len() < at + n {
                inode.cache.resize(at + n, 0);
            }
            inode.cache[at..at + n].copy_from_slice(&bytes[..n]);
            inode.pending.push(Pending::Write { at, bytes: bytes[..n].to_vec() });
        }
        result
    }

    fn set_len(&mut self, slot: Slot, len: u64) -> io::Result<()> {
        let inode = self.inode(slot)?;
        let mut medium = self.medium();
        medium.simple()?;
        let inode = &mut medium.inodes[inode];
        inode.cache.resize(len as usize, 0);
        inode.pending.push(Pending::SetLen(len as usize));
        Ok(())
    }

    fn sync(&mut self, slot: Slot) -> io::Result<()> {
        let inode = self.inode(slot)?;
        let mut medium = self.medium();
        let failure = medium.step(1).1?;
        let inode = &mut medium.inodes[inode];
        match failure {
            None => {
                for pending in std::mem::take(&mut inode.pending) {
                    match pending {
                        Pending::SetLen(len) => inode.durable.resize(len, 0),
                        Pending::Write { at, bytes } => {
                            if inode.durable.len() < at + bytes.len() {
                                inode.durable.resize(at + bytes.len(), 0);
                            }
                            inode.durable[at..at + bytes.len()].copy_from_slice(&bytes);
                        }
                    }
                }
                Ok(())
            }
            Some(failure) => {
                if failure == Failure::LostSync {
                    inode.pending.clear();
                }
                Err(failure.error())
            }
        }
    }

    fn promote(&mut self) -> io::Result<()> {
        {
            let mut medium = self.medium();
            medium.simple()?;
            if medium.names[1].is_none() {
                return Err(io::ErrorKind::NotFound.into());
            }
            medium.rename(|names| *names = [names[1], None]);
        }
        self.open = [self.open[1], None];
        Ok(())
    }

    fn remove(&mut self, slot: Slot) -> io::Result<()> {
        {
            let mut medium = self.medium();
            medium.simple()?;
            medium.rename(|names| names[slot as usize] = None);
        }
        self.open[slot as usize] = None;
        Ok(())
    }

    fn sync_dir(&mut self) -> io::Result<()> {
        let mut medium = self.medium();
        medium.simple()?;
        medium.durable_names = medium.names;
        medium.pending_names.clear();
        Ok(())
    }
}

/// A small reproducible generator (xorshift64*).
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        ((self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % n as u64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_synced_bytes_are_sure_to_survive() {
        let mut disk = FaultDisk::default();
        disk.create(Slot::Live).unwrap();
        disk.write_at(Slot::Live, 0, b"safe").unwrap();
        disk.sync(Slot::Live).unwrap();
        disk.sync_dir().unwrap();
        disk.write_at(Slot::Live, 4, b"maybe").unwrap();
        let survivors: std::collections::BTreeSet<_> =
            (0..200).filter_map(|s| disk.crash(s).content()).collect();
        assert!(survivors.iter().all(|s| s.starts_with(b"safe")));
        assert!(
            survivors.contains(&b"safe"[..])
                && survivors.contains(&b"safemaybe"[..])
                && survivors.len() > 4
        );
    }

    #[test]
    fn a_killed_write_is_cut_at_the_byte() {
        let mut disk = FaultDisk::default();
        disk.create(Slot::Live).unwrap();
        disk.set_plan(Plan { kill_at: Some(3), ..Plan::default() });
        assert!(disk.write_at(Slot::Live, 0, b"abcdef").is_err());
        assert!(disk.sync(Slot::Live).is_err());
        assert_eq!(disk.reopen().content().unwrap(), b"abc");
    }
}
