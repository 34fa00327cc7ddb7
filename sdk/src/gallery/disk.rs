//! What the store asks of a file system, and the real one.
//!
//! The trait has two implementations: [`RealDisk`] and the fault-injecting [`super::fault::FaultDisk`], which proves the store's
//! order of writes and syncs by crashing it at every byte.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Which of a gallery's two files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Slot {
    /// The gallery.
    Live,
    /// A complete successor in the making; it takes the gallery's name by [`Disk::promote`].
    Next,
}

/// A directory with one gallery in it. Nothing is durable before the matching `sync`.
pub trait Disk: Send + Sync {
    /// Takes the single writer's lock until the disk is dropped; `WouldBlock` if another holds it.
    ///
    /// # Errors
    /// What the operating system says.
    fn lock(&mut self) -> io::Result<()>;

    /// Opens the file that has the slot's name now and gives its length; nothing if there is none.
    ///
    /// # Errors
    /// What the operating system says.
    fn open(&mut self, slot: Slot) -> io::Result<Option<u64>>;

    /// Makes an empty file, in place of any left over.
    ///
    /// # Errors
    /// What the operating system says.
    fn create(&mut self, slot: Slot) -> io::Result<()>;

    /// Reads some bytes from `offset`; zero at the end.
    ///
    /// # Errors
    /// What the operating system says.
    fn read_at(&mut self, slot: Slot, offset: u64, into: &mut [u8]) -> io::Result<usize>;

    /// Writes some bytes at `offset`; may write fewer than given.
    ///
    /// # Errors
    /// What the operating system says.
    fn write_at(&mut self, slot: Slot, offset: u64, bytes: &[u8]) -> io::Result<usize>;

    /// Cuts the file.
    ///
    /// # Errors
    /// What the operating system says.
    fn set_len(&mut self, slot: Slot, len: u64) -> io::Result<()>;

    /// Makes the file's bytes and length durable.
    ///
    /// # Errors
    /// What the operating system says. After an error the page cache may disagree with the medium.
    fn sync(&mut self, slot: Slot) -> io::Result<()>;

    /// Gives the successor the gallery's name, replacing it.
    ///
    /// # Errors
    /// What the operating system says.
    fn promote(&mut self) -> io::Result<()>;

    /// Removes the file's name, if it exists.
    ///
    /// # Errors
    /// What the operating system says.
    fn remove(&mut self, slot: Slot) -> io::Result<()>;

    /// Makes names durable: creation, promotion, removal.
    ///
    /// # Errors
    /// What the operating system says.
    fn sync_dir(&mut self) -> io::Result<()>;
}

/// Writes all of `bytes`, over as many calls as it takes.
pub(super) fn write_all(
    disk: &mut dyn Disk,
    slot: Slot,
    mut offset: u64,
    mut bytes: &[u8],
) -> io::Result<()> {
    while !bytes.is_empty() {
        match disk.write_at(slot, offset, bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(n) => {
                bytes = &bytes[n..];
                offset += n as u64;
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

/// Reads until `into` is full or the file ends.
pub(super) fn read_full(
    disk: &mut dyn Disk,
    slot: Slot,
    offset: u64,
    into: &mut [u8],
) -> io::Result<usize> {
    let mut done = 0;
    while done < into.len() {
        match disk.read_at(slot, offset + done as u64, &mut into[done..]) {
            Ok(0) => break,
            Ok(n) => done += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(done)
}

/// Files of the operating system: `PATH`, `PATH.next`, and `PATH.lock`, which is never removed.
///
/// New files get mode 0600.
#[derive(Debug)]
pub struct RealDisk {
    path: PathBuf,
    write: bool,
    live: Option<File>,
    next: Option<File>,
    lock: Option<File>,
}

impl RealDisk {
    /// For the single writer of the gallery at `path`. Touches nothing yet.
    #[must_use]
    pub fn writer(path: &Path) -> Self {
        RealDisk { path: path.to_owned(), write: true, live: None, next: None, lock: None }
    }

    /// For one of many readers.
    #[must_use]
    pub fn reader(path: &Path) -> Self {
        RealDisk { write: false, ..RealDisk::writer(path) }
    }

    fn with_suffix(&self, suffix: &str) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(suffix);
        name.into()
    }

    fn path(&self, slot: Slot) -> PathBuf {
        match slot {
            Slot::Live => self.path.clone(),
            Slot::Next => self.with_suffix(".next"),
        }
    }

    fn handle(&mut self, slot: Slot) -> &mut Option<File> {
        match slot {
            Slot::Live => &mut self.live,
            Slot::Next => &mut self.next,
        }
    }

    fn file(&mut self, slot: Slot) -> io::Result<&File> {
        self.handle(slot).as_ref().ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl Disk for RealDisk {
    fn lock(&mut self) -> io::Result<()> {
        let path = self.with_suffix(".lock");
        let file =
            OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)?;
        file.try_lock().map_err(|e| match e {
            TryLockError::WouldBlock => io::ErrorKind::WouldBlock.into(),
            TryLockError::Error(e) => e,
        })?;
        self.lock = Some(file);
        Ok(())
    }

    fn open(&mut self, slot: Slot) -> io::Result<Option<u64>> {
        *self.handle(slot) = None;
        let file = match OpenOptions::new().read(true).write(self.write).open(self.path(slot)) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(e),
        };
        let meta = file.metadata()?;
        if !meta.is_file() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        *self.handle(slot) = Some(file);
        Ok(Some(meta.len()))
    }

    fn create(&mut self, slot: Slot) -> io::Result<()> {
        self.remove(slot)?;
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(self.path(slot))?;
        *self.handle(slot) = Some(file);
        Ok(())
    }

    fn read_at(&mut self, slot: Slot, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        self.file(slot)?.read_at(into, offset)
    }

    fn write_at(&mut self, slot: Slot, offset: u64, bytes: &[u8]) -> io::Result<usize> {
        self.file(slot)?.write_at(bytes, offset)
    }

    fn set_len(&mut self, slot: Slot, len: u64) -> io::Result<()> {
        self.file(slot)?.set_len(len)
    }

    fn sync(&mut self, slot: Slot) -> io::Result<()> {
        self.file(slot)?.sync_all()
    }

    fn promote(&mut self) -> io::Result<()> {
        std::fs::rename(self.path(Slot::Next), self.path(Slot::Live))?;
        self.live = self.next.take();
        Ok(())
    }

    fn remove(&mut self, slot: Slot) -> io::Result<()> {
        *self.handle(slot) = None;
        match std::fs::remove_file(self.path(slot)) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
            _ => Ok(()),
        }
    }

    fn sync_dir(&mut self) -> io::Result<()> {
        let parent =
            self.path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(parent)?.sync_all()
    }
}
