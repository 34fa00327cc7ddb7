//! What a log of changes adds up to: the templates of one model, or of two while people move to a new one.

use super::format::{Change, StoredTemplate};
use super::memory::{Gallery, Person, PersonId, PersonName, RecordId};
use crate::error::{Error, ErrorKind, Result};
use crate::template::ModelId;

/// The old model and the new one.
const MAX_MODELS: usize = 2;

pub(super) struct State {
    capacity: usize,
    /// Under which model people are enrolled; none before the first enrolment.
    pub(super) model: Option<ModelId>,
    pub(super) galleries: Vec<Gallery>,
    next_person: u64,
    next_record: u64,
}

impl State {
    /// `capacity` is checked when the first template comes.
    pub(super) fn new(capacity: usize) -> Self {
        State { capacity, model: None, galleries: Vec::new(), next_person: 1, next_record: 1 }
    }

    pub(super) fn apply(&mut self, change: &Change) -> Result<()> {
        match change {
            Change::Add(t) => self.add(t)?,
            Change::RemoveRecord(record) => {
                let removed = self.galleries.iter_mut().any(|g| g.remove_record(*record).is_ok());
                if !removed {
                    return Err(Error::new(
                        ErrorKind::DamagedGallery,
                        "a removal names no template",
                    ));
                }
            }
            Change::RemovePerson(person) => {
                if self.galleries.iter_mut().map(|g| g.remove_person(*person)).sum::<usize>() == 0 {
                    return Err(Error::new(ErrorKind::DamagedGallery, "a removal names nobody"));
                }
            }
            Change::SetModel(model, person, record) => {
                self.model = Some(*model);
                self.next_person = self.next_person.max(person.0);
                self.next_record = self.next_record.max(record.0);
            }
            Change::RemoveModel(model) => self.galleries.retain(|g| g.model() != *model),
        }
        let current = self.model;
        self.galleries.retain(|g| !g.is_empty() || Some(g.model()) == current);
        Ok(())
    }

    fn add(&mut self, t: &StoredTemplate) -> Result<()> {
        self.model.get_or_insert(t.model);
        if self.len() >= self.capacity {
            return Err(Error::new(
                ErrorKind::CapacityExceeded,
                "the gallery holds more templates than it was opened for",
            ));
        }
        let at = match self.galleries.iter().position(|g| g.model() == t.model) {
            Some(at) => at,
            None if self.galleries.len() == MAX_MODELS => {
                return Err(Error::new(
                    ErrorKind::DamagedGallery,
                    "the templates come from more than two models",
                ));
            }
            None => {
                self.galleries.push(Gallery::new(t.model, t.q.len(), self.capacity)?);
                self.galleries.len() - 1
            }
        };
        self.galleries[at].insert(t.person, &t.name, t.record, t.at_ms, &t.q)?;
        self.next_person = self.next_person.max(t.person.0 + 1);
        self.next_record = self.next_record.max(t.record.0 + 1);
        Ok(())
    }

    pub(super) fn gallery(&self, model: ModelId) -> Option<&Gallery> {
        self.galleries.iter().find(|g| g.model() == model)
    }

    /// Number of templates, of all models.
    pub(super) fn len(&self) -> usize {
        self.galleries.iter().map(Gallery::len).sum()
    }

    pub(super) fn capacity(&self) -> usize {
        self.capacity
    }

    pub(super) fn find(&self, name: &PersonName) -> Option<PersonId> {
        self.galleries.iter().find_map(|g| g.find(name)).map(|p| p.id)
    }

    /// Everybody, in order of enrolment, with the templates of all models counted.
    pub(super) fn people(&self) -> Vec<Person> {
        let mut all: Vec<Person> =
            self.galleries.iter().flat_map(Gallery::people).cloned().collect();
        all.sort_by_key(|p| p.id);
        all.dedup_by(|later, first| {
            let same = later.id == first.id;
            first.templates += if same { later.templates } else { 0 };
            same
        });
        all
    }

    /// The numbers that the next person and the next template get.
    pub(super) fn next_ids(&self) -> (PersonId, RecordId) {
        (PersonId(self.next_person), RecordId(self.next_record))
    }

    pub(super) fn has_record(&self, record: RecordId) -> bool {
        self.galleries.iter().any(|g| g.owners().any(|(r, _)| r == record))
    }

    /// Gallery index and row of every template that `keep` wants, in order of enrolment.
    pub(super) fn select(&self, keep: impl Fn(PersonId) -> bool) -> Vec<(usize, usize)> {
        let mut found = Vec::new();
        for (g, gallery) in self.galleries.iter().enumerate() {
            found.extend(
                gallery
                    .owners()
                    .enumerate()
                    .filter(|(_, (_, p))| keep(*p))
                    .map(|(row, (record, _))| (record, g, row)),
            );
        }
        found.sort_unstable_by_key(|&(record, _, _)| record);
        found.into_iter().map(|(_, g, row)| (g, row)).collect()
    }

    /// All that is stored about the person of that name, in order of enrolment.
    pub(super) fn export(&self, name: &PersonName) -> Result<Vec<StoredTemplate>> {
        let unknown = Error::new(ErrorKind::NotFound, "nobody of that name is enrolled");
        let id = self.find(name).ok_or(unknown)?;
        Ok(self.select(|p| p == id).into_iter().filter_map(|at| self.stored(at)).collect())
    }

    pub(super) fn stored(&self, (gallery, row): (usize, usize)) -> Option<StoredTemplate> {
        self.galleries.get(gallery)?.stored(row)
    }
}
