//! The durable gallery: an append-only log of encrypted records, one writer, many readers.
//!
//! Why not an embedded database: the whole need is "append some records, commit, read all at start". A log of some hundred lines can be
//! crashed at every byte by a test, which no database of fifty thousand lines was for us; each record is bound to all before it by
//! its associated data, which a page store cannot do; and removal of a key makes the file unreadable, with no free pages to hunt.
//!
//! Order of writes: a transaction is appended, then synced, then acknowledged. A rewrite (compaction, key rotation) makes a
//! complete second file, syncs it, renames it over the first, and syncs the directory.

use std::path::Path;

use zeroize::Zeroizing;

use super::disk::{read_full, write_all, Disk, RealDisk, Slot};
use super::format::{Change, StoredTemplate, MAX_RECORD, MAX_TRANSACTION};
use super::key::HostKey;
use super::memory::{Gallery, Person, PersonId, PersonName, RecordId, MAX_CAPACITY};
use super::replay::{replay, Found, Log};
use super::rewrite::{append, begin_wipe, finish_wipe, start_empty, write_next};
use super::row::Row;
use super::search::Hit;
use super::state::State;
use crate::error::{Error, ErrorKind, Result};
use crate::template::{ModelId, Template};

/// Files below this size are not worth rewriting.
const SMALL: u64 = 1 << 16;

/// How to open a gallery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoreOptions {
    /// The most templates it may hold, 1 to 100,000. Memory is reserved for that many (see [`Gallery`]).
    pub capacity: usize,
    /// The counter that the host saved after its last change; an older file is refused. Zero accepts any.
    pub min_counter: u64,
}

impl Default for StoreOptions {
    /// 10,000 templates, no counter.
    fn default() -> Self {
        StoreOptions { capacity: 10_000, min_counter: 0 }
    }
}

/// The gallery's single writer. Changes are durable when a call returns `Ok`; searches run in memory.
///
/// After an error of kind `Poisoned` nothing more is written, and searches go on with what was acknowledged: open it again.
pub struct Store {
    disk: Box<dyn Disk>,
    host: HostKey,
    log: Box<Log>,
    state: State,
    discarded: u64,
    poisoned: bool,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store")
            .field("templates", &self.len())
            .field("counter", &self.log.counter)
            .field("poisoned", &self.poisoned)
            .finish_non_exhaustive()
    }
}

impl Store {
    /// Opens the gallery at `path`, and makes it if there is none. Takes the writer's lock.
    ///
    /// # Errors
    /// `Locked` if another writer has it; `WrongKey`; `DamagedGallery`; `RolledBack` if the file is older than
    /// `options.min_counter`; `CapacityExceeded` if it holds more templates than `options.capacity`; `Io`; `InvalidArgument`.
    pub fn open(path: &Path, host: &HostKey, options: StoreOptions) -> Result<Self> {
        Store::open_on(Box::new(RealDisk::writer(path)), host, options)
    }

    /// Opens it on any [`Disk`].
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn open_on(mut disk: Box<dyn Disk>, host: &HostKey, options: StoreOptions) -> Result<Self> {
        check_options(options)?;
        disk.lock().map_err(|e| match e.kind() {
            std::io::ErrorKind::WouldBlock => {
                Error::new(ErrorKind::Locked, "another process writes this gallery")
            }
            _ => Error::io("lock the gallery", &e),
        })?;
        disk.remove(Slot::Next).map_err(|e| Error::io("remove an unfinished rewrite", &e))?;
        let found = match disk.open(Slot::Live).map_err(|e| Error::io("open the gallery", &e))? {
            Some(len) => replay(&mut *disk, host, len, options.capacity)?,
            None if options.min_counter > 0 => {
                return Err(Error::new(
                    ErrorKind::RolledBack,
                    "the gallery that the host's counter speaks of is gone",
                ));
            }
            None => Found::Log(
                Box::new(start_empty(&mut *disk, host, 0)?),
                State::new(options.capacity),
            ),
        };
        let (log, state) = match found {
            Found::Log(log, state) => (log, state),
            Found::Wiped(counter) => {
                let log = finish_wipe(&mut *disk, host, counter)?;
                (Box::new(log), State::new(options.capacity))
            }
        };
        if log.counter < options.min_counter {
            return Err(Error::new(
                ErrorKind::RolledBack,
                "the gallery is older than the host's counter",
            ));
        }
        let discarded = log.tail;
        let mut store = Store { disk, host: host.clone(), log, state, discarded, poisoned: false };
        store.settle().map_err(|e| Error::io("settle the gallery after a crash", &e))?;
        Ok(store)
    }

    /// Makes disk and page cache agree. A torn tail is cut off. The last transaction is written once more, since after a failed sync of
    /// an earlier process it may be in the cache only; all before it were followed by a good sync.
    fn settle(&mut self) -> std::io::Result<()> {
        if self.log.tail > 0 {
            log::warn!("gallery: {} bytes of an unfinished change discarded", self.log.tail);
            self.disk.set_len(Slot::Live, self.log.end)?;
            self.log.tail = 0;
        }
        let mut last = vec![0; (self.log.end - self.log.last) as usize];
        read_full(&mut *self.disk, Slot::Live, self.log.last, &mut last)?;
        write_all(&mut *self.disk, Slot::Live, self.log.last, &last)?;
        self.disk.sync(Slot::Live)?;
        self.disk.sync_dir()
    }

    /// Whether an earlier failure left the file in doubt: every change is refused until the gallery is opened again.
    #[must_use]
    pub fn is_poisoned(&self) -> bool {
        self.poisoned
    }

    /// Number of templates, of all models.
    #[must_use]
    pub fn len(&self) -> usize {
        self.state.len()
    }

    /// Whether nobody is enrolled.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Grows with every change and never falls: save it where the file's thief cannot write, and hand it to [`StoreOptions`].
    #[must_use]
    pub fn counter(&self) -> u64 {
        self.log.counter
    }

    /// Bytes of an unfinished change that opening threw away. Not zero after a power cut in the middle of a change; if the host saw
    /// that change acknowledged, the medium lost it, and the counter says so.
    #[must_use]
    pub fn discarded(&self) -> u64 {
        self.discarded
    }

    /// The model that people are enrolled under; none before the first.
    #[must_use]
    pub fn model(&self) -> Option<ModelId> {
        self.state.model
    }

    /// The templates of one model, for search.
    #[must_use]
    pub fn gallery(&self, model: ModelId) -> Option<&Gallery> {
        self.state.gallery(model)
    }

    /// [`Gallery::search`] among the templates of the probe's model.
    ///
    /// # Errors
    /// [`ErrorKind::ModelMismatch`] if there are templates, but none of that model.
    pub fn search<const K: usize>(&self, probe: &Template) -> Result<heapless::Vec<Hit, K>> {
        search(&self.state, probe)
    }

    /// Everybody, in order of enrolment.
    #[must_use]
    pub fn people(&self) -> Vec<Person> {
        self.state.people()
    }

    /// Number of the person of that name.
    #[must_use]
    pub fn find(&self, name: &PersonName) -> Option<PersonId> {
        self.state.find(name)
    }

    /// All that is stored about a person: for a copy that the person asks for, or a move to another device.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] if nobody has that name.
    pub fn export(&self, name: &PersonName) -> Result<Vec<StoredTemplate>> {
        self.state.export(name)
    }

    /// Adds templates (1 to 32) of a person, new or known, in one transaction. `at_ms`: the host's clock, for the record only.
    ///
    /// # Errors
    /// [`ErrorKind::ModelMismatch`] unless all are of the model that people are enrolled under; `CapacityExceeded`; `Io`; `Poisoned`.
    pub fn enrol(
        &mut self,
        name: &PersonName,
        templates: &[&Template],
        at_ms: u64,
    ) -> Result<PersonId> {
        let (person, adds) = self.additions(name, templates, at_ms)?;
        if self.state.len() + adds.len() > self.state.capacity() {
            return Err(Error::new(ErrorKind::CapacityExceeded, "the gallery is full"));
        }
        self.commit(adds)?;
        Ok(person)
    }

    /// Puts new templates (1 to 32) in place of all old ones of a person, of whatever model, in one transaction.
    ///
    /// # Errors
    /// As [`Store::enrol`], and [`ErrorKind::NotFound`] if nobody has that name.
    pub fn replace(
        &mut self,
        name: &PersonName,
        templates: &[&Template],
        at_ms: u64,
    ) -> Result<PersonId> {
        let id = self.known(name)?;
        let old = self.state.select(|p| p == id).len();
        let (person, adds) = self.additions(name, templates, at_ms)?;
        if self.state.len() - old + adds.len() > self.state.capacity() {
            return Err(Error::new(ErrorKind::CapacityExceeded, "the gallery is full"));
        }
        let mut changes = vec![Change::RemovePerson(id)];
        changes.extend(adds);
        self.commit(changes)?;
        self.tidy();
        Ok(person)
    }

    /// Removes a person; says how many templates there were. The bytes stay in the file, encrypted, until [`Store::compact`].
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] if nobody has that name; `Io`; `Poisoned`.
    pub fn remove(&mut self, name: &PersonName) -> Result<usize> {
        let id = self.known(name)?;
        let before = self.state.len();
        self.commit(vec![Change::RemovePerson(id)])?;
        let removed = before - self.state.len();
        self.tidy();
        Ok(removed)
    }

    /// Removes one template, and the person with the last one.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] if there is no such template; `Io`; `Poisoned`.
    pub fn remove_record(&mut self, record: RecordId) -> Result<()> {
        if !self.state.has_record(record) {
            return Err(Error::new(ErrorKind::NotFound, "no such template"));
        }
        self.commit(vec![Change::RemoveRecord(record)])?;
        self.tidy();
        Ok(())
    }

    /// From now on people are enrolled under `model`; templates of the one before stay, and are searched by probes of theirs.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] while templates of two models are stored already; `Io`; `Poisoned`.
    pub fn set_model(&mut self, model: ModelId) -> Result<()> {
        if self.state.model == Some(model) {
            return Ok(());
        }
        if self.state.galleries.iter().filter(|g| g.model() != model && !g.is_empty()).count() > 1 {
            return Err(Error::new(
                ErrorKind::InvalidArgument,
                "an earlier change of model is not finished",
            ));
        }
        let (person, record) = self.state.next_ids();
        self.commit(vec![Change::SetModel(model, person, record)])
    }

    /// Removes all templates of a model that people are no longer enrolled under.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] for the present model; `Io`; `Poisoned`.
    pub fn remove_model(&mut self, model: ModelId) -> Result<()> {
        if self.state.model == Some(model) {
            return Err(Error::new(
                ErrorKind::InvalidArgument,
                "people are enrolled under this model",
            ));
        }
        self.commit(vec![Change::RemoveModel(model)])?;
        self.tidy();
        Ok(())
    }

    /// Writes the file anew without what was removed, under a fresh data key.
    ///
    /// # Errors
    /// `Io` if it could not be written: the old file stays in use then; `Poisoned` if it is unknown which of the two is in place.
    pub fn compact(&mut self) -> Result<()> {
        let host = self.host.clone();
        self.rotate_key(&host)
    }

    /// Writes the file anew under a fresh data key and another host key.
    ///
    /// # Errors
    /// As [`Store::compact`]; with `Io` the old host key stays valid.
    pub fn rotate_key(&mut self, host: &HostKey) -> Result<()> {
        self.alive()?;
        match write_next(&mut *self.disk, host, self.log.counter + 1, &self.state) {
            Ok(log) => {
                if let Err(e) = self.disk.promote().and_then(|()| self.disk.sync_dir()) {
                    return Err(self.poison("put the rewritten gallery in place", &e));
                }
                *self.log = log;
                self.host = host.clone();
                Ok(())
            }
            Err(e) => {
                // The next opening removes it if this does not.
                let _ = self.disk.remove(Slot::Next);
                Err(e)
            }
        }
    }

    /// Forgets everybody: destroys the data key, overwrites the file, starts an empty one. A crash on the way is completed at the next opening.
    ///
    /// Flash memory may keep old copies of blocks; they are safe only as long as the host key is: change it too.
    ///
    /// # Errors
    /// `Io`: the wipe is not complete, and opening the gallery again completes it if it had begun. `Poisoned`.
    pub fn wipe(&mut self) -> Result<()> {
        self.alive()?;
        self.poisoned = true;
        let counter = self.log.counter + 1;
        begin_wipe(&mut *self.disk, counter)?;
        self.state = State::new(self.state.capacity());
        *self.log = finish_wipe(&mut *self.disk, &self.host, counter)?;
        self.poisoned = false;
        Ok(())
    }

    fn known(&self, name: &PersonName) -> Result<PersonId> {
        self.state
            .find(name)
            .ok_or(Error::new(ErrorKind::NotFound, "nobody of that name is enrolled"))
    }

    fn alive(&self) -> Result<()> {
        if self.poisoned {
            return Err(Error::new(
                ErrorKind::Poisoned,
                "an earlier write failed: open the gallery again",
            ));
        }
        Ok(())
    }

    fn poison(&mut self, what: &'static str, cause: &std::io::Error) -> Error {
        self.poisoned = true;
        Error::io(what, cause)
    }

    fn additions(
        &self,
        name: &PersonName,
        templates: &[&Template],
        at_ms: u64,
    ) -> Result<(PersonId, Vec<Change>)> {
        let Some(first) = templates.first().filter(|_| templates.len() <= MAX_TRANSACTION / 2)
        else {
            return Err(Error::new(
                ErrorKind::InvalidArgument,
                "1 to 32 templates are enrolled at once",
            ));
        };
        let model = self.state.model.unwrap_or(first.model());
        let dim = self.state.gallery(model).map_or(first.dim(), Gallery::dim);
        if templates.iter().any(|t| t.model() != model || t.dim() != dim) {
            return Err(Error::new(
                ErrorKind::ModelMismatch,
                "the gallery enrols people under another model",
            ));
        }
        let (next_person, RecordId(next_record)) = self.state.next_ids();
        let person = self.state.find(name).unwrap_or(next_person);
        let add = |(i, t): (u64, &&Template)| {
            let row = Row::new(t);
            Change::Add(StoredTemplate {
                record: RecordId(next_record + i),
                person,
                name: name.clone(),
                model,
                at_ms,
                q: Zeroizing::new(row.padded(dim).to_vec()),
            })
        };
        Ok((person, (0..).zip(templates).map(add).collect()))
    }

    /// Appends one transaction, syncs it, and only then lets memory know.
    fn commit(&mut self, changes: Vec<Change>) -> Result<()> {
        self.alive()?;
        let mut bytes = Vec::with_capacity(changes.len() * MAX_RECORD);
        let transaction = self.log.counter + 1;
        let tag = append(&mut bytes, &self.log, self.log.tag, transaction, &changes)?;
        if let Err(e) = write_all(&mut *self.disk, Slot::Live, self.log.end, &bytes) {
            // Nothing was synced: cutting off what was written brings the file back.
            if self.disk.set_len(Slot::Live, self.log.end).is_err() {
                self.poisoned = true;
            }
            return Err(Error::io("append to the gallery", &e));
        }
        if let Err(e) = self.disk.sync(Slot::Live) {
            return Err(self.poison("sync the gallery", &e));
        }
        self.log.last = self.log.end;
        self.log.end += bytes.len() as u64;
        (self.log.tag, self.log.counter) = (tag, transaction);
        let applied = changes.iter().try_for_each(|change| self.state.apply(change));
        self.poisoned = applied.is_err();
        applied
    }

    /// Rewrites the file once more than half of it is dead. A failure leaves the old file in use: no harm but its size.
    fn tidy(&mut self) {
        let dim = self.state.galleries.iter().map(Gallery::dim).max().unwrap_or(0);
        let live = (self.state.len() * (MAX_RECORD - crate::template::MAX_DIM + dim)) as u64;
        if self.log.end > SMALL && self.log.end / 2 > live {
            if let Err(e) = self.compact() {
                log::warn!("gallery: not compacted: {e}");
            }
        }
    }
}

/// [`Store::search`] and [`super::Reader::search`].
pub(super) fn search<const K: usize>(
    state: &State,
    probe: &Template,
) -> Result<heapless::Vec<Hit, K>> {
    match state.gallery(probe.model()) {
        Some(gallery) => gallery.search(probe),
        None if state.len() == 0 => Ok(heapless::Vec::new()),
        None => {
            Err(Error::new(ErrorKind::ModelMismatch, "people are enrolled under another model"))
        }
    }
}

pub(super) fn check_options(options: StoreOptions) -> Result<()> {
    if !(1..=MAX_CAPACITY).contains(&options.capacity) {
        return Err(Error::new(
            ErrorKind::InvalidArgument,
            "a gallery's capacity is 1 to 100,000 templates",
        ));
    }
    Ok(())
}
