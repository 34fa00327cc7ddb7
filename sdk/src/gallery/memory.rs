//! The searchable gallery: one block of int8 rows, columns beside it.

use std::collections::BTreeMap;
use std::fmt;

use zeroize::{Zeroize, Zeroizing};

use super::format::StoredTemplate;
use super::row::{inverse_norm, stride, Row};
use super::search::{top_k, Columns, Hit, Per};
use crate::error::{Error, ErrorKind, Result};
use crate::kernel::Kernels;
use crate::template::{ModelId, Template, MAX_DIM};

/// The largest number of templates in a gallery.
pub const MAX_CAPACITY: usize = 100_000;

/// The longest name of a person, in bytes of UTF-8.
pub const MAX_NAME: usize = 64;

/// Number of a person in one gallery: given once, in rising order, never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PersonId(pub u64);

/// Number of a template in one gallery: given once, in rising order, never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordId(pub u64);

/// A person's name or badge number: 1 to 64 bytes of UTF-8 without control characters.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PersonName(heapless::String<MAX_NAME>);

impl PersonName {
    /// Checks and copies `name`.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] if it is empty, too long, or holds a control character.
    pub fn new(name: &str) -> Result<Self> {
        if name.is_empty() || name.chars().any(char::is_control) {
            return Err(Error::new(
                ErrorKind::InvalidArgument,
                "a name is empty or holds a control character",
            ));
        }
        let text = heapless::String::try_from(name).map_err(|()| {
            Error::new(ErrorKind::InvalidArgument, "a name is longer than 64 bytes")
        })?;
        Ok(PersonName(text))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for PersonName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// A person with at least one template in a gallery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// Number.
    pub id: PersonId,
    /// Name, unique in the gallery.
    pub name: PersonName,
    /// How many templates.
    pub templates: usize,
}

/// Templates of one model, ready for search. Wiped on drop.
///
/// Memory is reserved once, at construction: `capacity * (dim rounded up to 64 + 28)` bytes plus some 250 bytes a person.
/// Search takes `&self`, allocates nothing and may run on several threads at once.
pub struct Gallery {
    kernels: &'static Kernels,
    model: ModelId,
    dim: usize,
    stride: usize,
    capacity: usize,
    rows: Vec<i8>,
    inverse_norms: Vec<f32>,
    persons: Vec<PersonId>,
    records: Vec<RecordId>,
    times: Vec<u64>,
    people: BTreeMap<PersonId, Person>,
    names: BTreeMap<PersonName, PersonId>,
    next_person: u64,
    next_record: u64,
}

impl Drop for Gallery {
    fn drop(&mut self) {
        // Not `Vec::zeroize`, which would also touch the reserved pages that were never used.
        self.rows.as_mut_slice().zeroize();
    }
}

impl fmt::Debug for Gallery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gallery")
            .field("model", &self.model)
            .field("dim", &self.dim)
            .field("templates", &self.len())
            .field("people", &self.people.len())
            .field("capacity", &self.capacity)
            .finish_non_exhaustive()
    }
}

impl Gallery {
    /// An empty gallery for templates of `model` with `dim` components (1 to 512), at most `capacity` of them (1 to 100,000).
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] if a number is out of range; [`ErrorKind::UnsupportedCpu`] if `KEYFACE_CPU` asks for what this
    /// CPU lacks.
    pub fn new(model: ModelId, dim: usize, capacity: usize) -> Result<Self> {
        if !(1..=MAX_DIM).contains(&dim) {
            return Err(Error::new(
                ErrorKind::InvalidArgument,
                "a gallery holds templates of 1 to 512 components",
            ));
        }
        if !(1..=MAX_CAPACITY).contains(&capacity) {
            return Err(Error::new(
                ErrorKind::InvalidArgument,
                "a gallery's capacity is 1 to 100,000 templates",
            ));
        }
        let stride = stride(dim);
        Ok(Gallery {
            kernels: Kernels::detect()?,
            model,
            dim,
            stride,
            capacity,
            rows: Vec::with_capacity(capacity * stride),
            inverse_norms: Vec::with_capacity(capacity),
            persons: Vec::with_capacity(capacity),
            records: Vec::with_capacity(capacity),
            times: Vec::with_capacity(capacity),
            people: BTreeMap::new(),
            names: BTreeMap::new(),
            next_person: 1,
            next_record: 1,
        })
    }

    /// The model whose templates it holds.
    #[must_use]
    pub fn model(&self) -> ModelId {
        self.model
    }

    /// Components of a template.
    #[must_use]
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// Number of templates.
    #[must_use]
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether it holds no template.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// The number of templates it was made for.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// The enrolled people in order of enrolment.
    pub fn people(&self) -> impl Iterator<Item = &Person> {
        self.people.values()
    }

    /// The person of that number.
    #[must_use]
    pub fn person(&self, id: PersonId) -> Option<&Person> {
        self.people.get(&id)
    }

    /// The person of that name.
    #[must_use]
    pub fn find(&self, name: &PersonName) -> Option<&Person> {
        self.people.get(self.names.get(name)?)
    }

    /// Adds a template of `name`, who is enrolled by it if unknown so far.
    ///
    /// # Errors
    /// [`ErrorKind::ModelMismatch`] for a template of another model, [`ErrorKind::CapacityExceeded`] when full.
    pub fn add(&mut self, name: &PersonName, template: &Template) -> Result<RecordId> {
        let person = self.names.get(name).copied().unwrap_or(PersonId(self.next_person));
        let record = RecordId(self.next_record);
        self.check(template)?;
        let row = Row::new(template);
        self.insert(person, name, record, 0, row.padded(self.dim))?;
        Ok(record)
    }

    /// Removes all templates of `name`; says how many there were.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] if nobody has that name.
    pub fn remove(&mut self, name: &PersonName) -> Result<usize> {
        let id = self.names.get(name).copied();
        let id = id.ok_or(Error::new(ErrorKind::NotFound, "nobody of that name is enrolled"))?;
        Ok(self.remove_person(id))
    }

    /// Removes all templates of a person; says how many there were.
    pub(super) fn remove_person(&mut self, id: PersonId) -> usize {
        let before = self.len();
        for at in (0..before).rev() {
            if self.persons[at] == id {
                self.drop_row(at);
            }
        }
        before - self.len()
    }

    /// Everything about row `at`.
    pub(super) fn stored(&self, at: usize) -> Option<StoredTemplate> {
        let person = self.persons.get(at)?;
        let from = at * self.stride;
        Some(StoredTemplate {
            record: self.records[at],
            person: *person,
            name: self.people.get(person)?.name.clone(),
            model: self.model,
            at_ms: self.times[at],
            q: Zeroizing::new(self.rows[from..from + self.dim].to_vec()),
        })
    }

    /// The columns of people and records, row by row.
    pub(super) fn owners(&self) -> impl Iterator<Item = (RecordId, PersonId)> + '_ {
        self.records.iter().copied().zip(self.persons.iter().copied())
    }

    /// Removes one template, and the person with the last one.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] if there is no such record.
    pub fn remove_record(&mut self, record: RecordId) -> Result<()> {
        let at = self.records.iter().position(|&r| r == record);
        self.drop_row(at.ok_or(Error::new(ErrorKind::NotFound, "no such template"))?);
        Ok(())
    }

    /// Removes and wipes everything; numbers are not reused.
    pub fn clear(&mut self) {
        self.rows.as_mut_slice().zeroize();
        self.rows.clear();
        self.inverse_norms.clear();
        self.persons.clear();
        self.records.clear();
        self.times.clear();
        self.people.clear();
        self.names.clear();
    }

    /// The `K` people most alike to `probe`, each with the best of their templates, most alike first.
    ///
    /// Every row is compared. Equal scores: the older record first. Fewer than `K` hits if fewer people are enrolled.
    ///
    /// # Errors
    /// [`ErrorKind::ModelMismatch`] for a probe of another model.
    pub fn search<const K: usize>(&self, probe: &Template) -> Result<heapless::Vec<Hit, K>> {
        self.top(probe, Per::Person)
    }

    /// The `K` templates most alike to `probe`, several of one person if they are; otherwise as [`Gallery::search`].
    ///
    /// # Errors
    /// [`ErrorKind::ModelMismatch`] for a probe of another model.
    pub fn nearest<const K: usize>(&self, probe: &Template) -> Result<heapless::Vec<Hit, K>> {
        self.top(probe, Per::Template)
    }

    fn top<const K: usize>(&self, probe: &Template, per: Per) -> Result<heapless::Vec<Hit, K>> {
        const { assert!(K > 0) };
        self.check(probe)?;
        let query = Row::new(probe);
        let columns = Columns {
            kernels: self.kernels,
            rows: &self.rows,
            stride: self.stride,
            inverse_norms: &self.inverse_norms,
            persons: &self.persons,
            records: &self.records,
        };
        top_k(&columns, query.padded(self.stride), query.inverse_norm, per)
    }

    fn check(&self, template: &Template) -> Result<()> {
        if template.model() != self.model || template.dim() != self.dim {
            return Err(Error::new(
                ErrorKind::ModelMismatch,
                "the template and the gallery come from different models",
            ));
        }
        Ok(())
    }

    /// Appends a quantised row of `dim` components under given numbers: what loading and adding have in common.
    pub(super) fn insert(
        &mut self,
        person: PersonId,
        name: &PersonName,
        record: RecordId,
        at_ms: u64,
        q: &[i8],
    ) -> Result<()> {
        if self.len() == self.capacity {
            return Err(Error::new(ErrorKind::CapacityExceeded, "the gallery is full"));
        }
        let inverse = inverse_norm(q).filter(|_| q.len() == self.dim);
        let inverse = inverse.ok_or(Error::new(
            ErrorKind::DamagedGallery,
            "a stored template has a wrong size or no length",
        ))?;
        if self.names.get(name).is_some_and(|&id| id != person)
            || self.people.get(&person).is_some_and(|p| p.name != *name)
        {
            return Err(Error::new(
                ErrorKind::DamagedGallery,
                "a name and a person's number do not fit each other",
            ));
        }
        self.rows.extend_from_slice(q);
        self.rows.resize(self.rows.len() + self.stride - self.dim, 0);
        self.inverse_norms.push(inverse);
        self.persons.push(person);
        self.records.push(record);
        self.times.push(at_ms);
        let entry = self.people.entry(person).or_insert_with(|| Person {
            id: person,
            name: name.clone(),
            templates: 0,
        });
        entry.templates += 1;
        self.names.insert(name.clone(), person);
        self.next_person = self.next_person.max(person.0 + 1);
        self.next_record = self.next_record.max(record.0 + 1);
        Ok(())
    }

    /// Moves the last row into the place of row `at` and wipes its old place.
    fn drop_row(&mut self, at: usize) {
        let last = self.len() - 1;
        let (from, to) = (last * self.stride, at * self.stride);
        self.rows.copy_within(from.., to);
        self.rows[from..].zeroize();
        self.rows.truncate(from);
        self.inverse_norms.swap_remove(at);
        self.records.swap_remove(at);
        self.times.swap_remove(at);
        let person = self.persons.swap_remove(at);
        if let Some(entry) = self.people.get_mut(&person) {
            entry.templates -= 1;
            if entry.templates == 0 {
                self.names.remove(&entry.name);
                self.people.remove(&person);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MODEL: ModelId = ModelId([1; 32]);

    fn name(s: &str) -> PersonName {
        PersonName::new(s).unwrap()
    }

    /// A reproducible random direction.
    fn random(seed: u64, dim: usize) -> Template {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let v: Vec<f32> = (0..dim)
            .map(|_| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                (state >> 40) as f32 / (1 << 23) as f32 - 1.0
            })
            .collect();
        Template::from_embedding(&v, MODEL).unwrap()
    }

    #[test]
    fn finds_the_same_face_with_score_one() {
        let mut g = Gallery::new(MODEL, 100, 50).unwrap();
        for i in 0..50 {
            g.add(&name(&format!("p{i}")), &random(i, 100)).unwrap();
        }
        for i in 0..50 {
            let hits = g.search::<2>(&random(i, 100)).unwrap();
            assert_eq!(g.person(hits[0].person).unwrap().name.as_str(), format!("p{i}"));
            assert!((hits[0].score - 1.0).abs() < 1e-6);
            assert!(hits[1].score < 0.9);
        }
    }

    #[test]
    fn top_k_equals_a_full_sort() {
        // More rows than a block, three templates a person, a dimension that needs padding.
        let mut g = Gallery::new(MODEL, 33, 1300).unwrap();
        for i in 0..1300 {
            g.add(&name(&format!("{}", i % 433)), &random(i, 33)).unwrap();
        }
        let probe = random(9999, 33);
        let mut all = g.nearest::<1300>(&probe).unwrap();
        assert_eq!(all.len(), 1300);
        let sorted = {
            let mut s = all.clone();
            s.sort_unstable_by(|a, b| b.score.total_cmp(&a.score).then(a.record.cmp(&b.record)));
            s
        };
        assert!(all == sorted);
        assert!(g.nearest::<7>(&probe).unwrap() == all[..7]);
        let mut seen = std::collections::BTreeSet::new();
        all.retain(|h| seen.insert(h.person));
        assert!(g.search::<5>(&probe).unwrap() == all[..5]);
        assert!(g.search::<500>(&probe).unwrap() == all);
    }

    #[test]
    fn ties_go_to_the_older_record_even_after_removal() {
        let mut g = Gallery::new(MODEL, 8, 8).unwrap();
        for n in ["a", "b", "c", "d"] {
            g.add(&name(n), &random(3, 8)).unwrap();
        }
        g.remove(&name("a")).unwrap();
        let hits = g.search::<3>(&random(3, 8)).unwrap();
        let names: Vec<_> =
            hits.iter().map(|h| g.person(h.person).unwrap().name.as_str()).collect();
        assert_eq!(names, ["b", "c", "d"]);
    }

    #[test]
    fn scores_are_close_to_f32() {
        let mut g = Gallery::new(MODEL, 512, 20).unwrap();
        for i in 0..20 {
            g.add(&name("x"), &random(i, 512)).unwrap();
        }
        let probe = random(77, 512);
        for hit in g.nearest::<20>(&probe).unwrap() {
            let exact = probe.similarity(&random(hit.record.0 - 1, 512)).unwrap();
            assert!((hit.score - exact).abs() < 0.002);
        }
    }

    #[test]
    fn removal_keeps_the_others() {
        let mut g = Gallery::new(MODEL, 16, 9).unwrap();
        for i in 0..9 {
            g.add(&name(["a", "b", "c"][i as usize % 3]), &random(i, 16)).unwrap();
        }
        assert_eq!(g.remove(&name("b")).unwrap(), 3);
        assert_eq!(g.remove(&name("b")).unwrap_err().kind(), ErrorKind::NotFound);
        for i in (0..9).filter(|i| i % 3 != 1) {
            let hit = g.nearest::<1>(&random(i, 16)).unwrap()[0];
            assert_eq!(hit.record, RecordId(i + 1));
        }
        g.remove_record(RecordId(1)).unwrap();
        g.remove_record(RecordId(4)).unwrap();
        g.remove_record(RecordId(7)).unwrap();
        assert!(g.find(&name("a")).is_none());
        assert_eq!(g.find(&name("c")).unwrap().templates, 3);
        g.clear();
        assert!(g.is_empty() && g.search::<1>(&random(0, 16)).unwrap().is_empty());
    }

    #[test]
    fn refuses_other_models_and_overflow() {
        let mut g = Gallery::new(MODEL, 4, 1).unwrap();
        let other = Template::from_embedding(&[1.0; 4], ModelId([2; 32])).unwrap();
        assert_eq!(g.add(&name("a"), &other).unwrap_err().kind(), ErrorKind::ModelMismatch);
        assert_eq!(g.search::<1>(&other).unwrap_err().kind(), ErrorKind::ModelMismatch);
        assert_eq!(g.add(&name("a"), &random(1, 5)).unwrap_err().kind(), ErrorKind::ModelMismatch);
        g.add(&name("a"), &random(1, 4)).unwrap();
        assert_eq!(
            g.add(&name("a"), &random(1, 4)).unwrap_err().kind(),
            ErrorKind::CapacityExceeded
        );
        for (dim, capacity) in [(0, 1), (513, 1), (4, 0), (4, MAX_CAPACITY + 1)] {
            assert_eq!(
                Gallery::new(MODEL, dim, capacity).unwrap_err().kind(),
                ErrorKind::InvalidArgument
            );
        }
    }

    #[test]
    fn names_are_checked() {
        assert!(PersonName::new("Zoë").is_ok());
        assert!(PersonName::new(&"x".repeat(64)).is_ok());
        for bad in ["", "a\nb", &"x".repeat(65), &"é".repeat(33)] {
            assert_eq!(PersonName::new(bad).unwrap_err().kind(), ErrorKind::InvalidArgument);
        }
    }

    #[test]
    fn debug_shows_no_score_and_no_row() {
        let mut g = Gallery::new(MODEL, 4, 2).unwrap();
        g.add(&name("a"), &random(1, 4)).unwrap();
        let text = format!("{:?} {:?}", g, g.search::<1>(&random(1, 4)).unwrap());
        assert!(!text.contains("0.") && !text.contains("score") && !text.contains("127"), "{text}");
    }
}
