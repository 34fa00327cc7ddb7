//! The gallery as other processes see it while one writes.

use std::path::Path;

use super::disk::{Disk, RealDisk, Slot};
use super::format::StoredTemplate;
use super::key::HostKey;
use super::memory::{Gallery, Person, PersonName};
use super::replay::{read_failed, replay, Found, Log};
use super::search::Hit;
use super::state::State;
use super::store::{check_options, search, StoreOptions};
use crate::error::{Error, ErrorKind, Result};
use crate::template::{ModelId, Template};

/// A view of the gallery for one of many processes that do not write. It sees the last commit of the moment it was opened or refreshed.
pub struct Reader {
    disk: Box<dyn Disk>,
    host: HostKey,
    options: StoreOptions,
    log: Box<Log>,
    state: State,
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader").field("templates", &self.state.len()).finish_non_exhaustive()
    }
}

impl Reader {
    /// Opens the gallery at `path` and reads it. Takes no lock.
    ///
    /// # Errors
    /// `NotFound` if there is none; otherwise as [`Store::open`].
    pub fn open(path: &Path, host: &HostKey, options: StoreOptions) -> Result<Self> {
        Reader::open_on(Box::new(RealDisk::reader(path)), host, options)
    }

    /// Opens it on any [`Disk`].
    ///
    /// # Errors
    /// As [`Reader::open`].
    pub fn open_on(mut disk: Box<dyn Disk>, host: &HostKey, options: StoreOptions) -> Result<Self> {
        check_options(options)?;
        let (log, state) = read(&mut *disk, host, options)?;
        Ok(Reader { disk, host: host.clone(), options, log, state })
    }

    /// Reads the file again; says whether anything changed. The old view stays in place on error.
    ///
    /// # Errors
    /// As [`Reader::open`].
    pub fn refresh(&mut self) -> Result<bool> {
        let options = StoreOptions {
            min_counter: self.options.min_counter.max(self.log.counter),
            ..self.options
        };
        let (log, state) = read(&mut *self.disk, &self.host, options)?;
        let changed = log.counter != self.log.counter;
        (self.log, self.state) = (log, state);
        Ok(changed)
    }

    /// The templates of one model, for search.
    #[must_use]
    pub fn gallery(&self, model: ModelId) -> Option<&Gallery> {
        self.state.gallery(model)
    }

    /// As [`Store::search`].
    ///
    /// # Errors
    /// As [`Store::search`].
    pub fn search<const K: usize>(&self, probe: &Template) -> Result<heapless::Vec<Hit, K>> {
        search(&self.state, probe)
    }

    /// As [`Store::model`].
    #[must_use]
    pub fn model(&self) -> Option<ModelId> {
        self.state.model
    }

    /// Everybody, in order of enrolment.
    #[must_use]
    pub fn people(&self) -> Vec<Person> {
        self.state.people()
    }

    /// As [`Store::export`].
    ///
    /// # Errors
    /// As [`Store::export`].
    pub fn export(&self, name: &PersonName) -> Result<Vec<StoredTemplate>> {
        self.state.export(name)
    }

    /// As [`Store::counter`].
    #[must_use]
    pub fn counter(&self) -> u64 {
        self.log.counter
    }
}

/// A writer that recovers from a crash may cut and append while we read: what looks like damage is read again.
fn read(disk: &mut dyn Disk, host: &HostKey, options: StoreOptions) -> Result<(Box<Log>, State)> {
    let mut attempt = || {
        let len = disk.open(Slot::Live).map_err(read_failed)?;
        let len = len.ok_or(Error::new(ErrorKind::NotFound, "there is no such gallery"))?;
        replay(disk, host, len, options.capacity)
    };
    let mut found = attempt();
    for _ in 0..2 {
        if matches!(&found, Err(e) if e.kind() == ErrorKind::DamagedGallery) {
            std::thread::sleep(std::time::Duration::from_millis(20));
            found = attempt();
        }
    }
    match found? {
        Found::Log(log, _) if log.counter < options.min_counter => {
            Err(Error::new(ErrorKind::RolledBack, "the gallery is older than the host's counter"))
        }
        Found::Log(log, state) => Ok((log, state)),
        Found::Wiped(_) => Err(Error::new(ErrorKind::DamagedGallery, "the gallery is being wiped")),
    }
}
