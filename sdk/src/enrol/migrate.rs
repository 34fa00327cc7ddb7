//! To a new model without calling everybody in: people are enrolled again as they pass.
//!
//! Both models run for a while. Whoever is let in under the old one with a wide margin lends the same face, embedded by the new model,
//! to a new template; after enough of these the new template is stored beside the old. In the end the old ones go. Crops are not
//! kept for this: an integrator who keeps some may enrol from them by [`super::Session`] as from a camera.

use std::collections::BTreeMap;

use crate::error::{Error, ErrorKind, Result};
use crate::gallery::{PersonId, Store};
use crate::template::{ModelId, Template};

/// People under way at one time; beyond that, those with the fewest shots start again later.
const UNDER_WAY: usize = 256;

/// What an offer led to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// The accept was not confident enough, or the person has the new template already.
    Ignored,
    /// Kept; so many more are wanted.
    Wanted(usize),
    /// The shot does not agree with those before it: the person starts again.
    Disagreed,
    /// The new template is stored.
    Enrolled,
}

/// A change of model under way. Shots live in memory only and are wiped on drop; the stored state survives restarts.
pub struct Migration {
    new: ModelId,
    shots: usize,
    confident: f32,
    agree: f32,
    pending: BTreeMap<PersonId, Vec<(Template, f32)>>,
}

impl std::fmt::Debug for Migration {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Migration")
            .field("new", &self.new)
            .field("under_way", &self.pending.len())
            .finish_non_exhaustive()
    }
}

impl Migration {
    /// Begins, or goes on with, a change to model `new`, under which new people are enrolled from now on.
    ///
    /// `shots` (1 to 8) confident accepts enrol a person again. Confident: a score of at least `confident` under the old model, well above its
    /// threshold. The shots must be alike by at least `agree`, the threshold of the new one.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] for numbers out of range; otherwise as [`Store::set_model`].
    pub fn begin(
        store: &mut Store,
        new: ModelId,
        shots: usize,
        confident: f32,
        agree: f32,
    ) -> Result<Self> {
        if !(1..=super::MAX_SHOTS).contains(&shots) || !confident.is_finite() || !agree.is_finite()
        {
            return Err(Error::new(
                ErrorKind::InvalidArgument,
                "a rule of migration is out of range",
            ));
        }
        store.set_model(new)?;
        Ok(Migration { new, shots, confident, agree, pending: BTreeMap::new() })
    }

    /// People who have no template of the new model yet.
    #[must_use]
    pub fn remaining(&self, store: &Store) -> usize {
        let done = store.gallery(self.new);
        store.people().iter().filter(|p| done.is_none_or(|g| g.person(p.id).is_none())).count()
    }

    /// Offers the face of a person who was just let in under the old model with `score`: its embedding by the new model and its landmark score.
    ///
    /// # Errors
    /// [`ErrorKind::ModelMismatch`] if the template is not the new model's; otherwise as [`Store::enrol`].
    pub fn offer(
        &mut self,
        store: &mut Store,
        person: PersonId,
        score: f32,
        template: &Template,
        landmark_score: f32,
        at_ms: u64,
    ) -> Result<Progress> {
        if template.model() != self.new {
            return Err(Error::new(
                ErrorKind::ModelMismatch,
                "the template is not of the new model",
            ));
        }
        let known = store.people().into_iter().find(|p| p.id == person);
        let done = store.gallery(self.new).is_some_and(|g| g.person(person).is_some());
        let Some(known) = known.filter(|_| !done && score >= self.confident) else {
            return Ok(Progress::Ignored);
        };
        if self.pending.len() >= UNDER_WAY && !self.pending.contains_key(&person) {
            let fewest =
                self.pending.iter().min_by_key(|(_, shots)| shots.len()).map(|(&id, _)| id);
            fewest.and_then(|id| self.pending.remove(&id));
        }
        let shots = self.pending.entry(person).or_default();
        for (shot, _) in shots.iter() {
            if shot.similarity(template)? < self.agree {
                self.pending.remove(&person);
                return Ok(Progress::Disagreed);
            }
        }
        shots.push((template.clone(), landmark_score));
        if shots.len() < self.shots {
            return Ok(Progress::Wanted(self.shots - shots.len()));
        }
        let parts: Vec<(&Template, f32)> = shots.iter().map(|(t, w)| (t, *w)).collect();
        let fused = Template::fuse(&parts)?;
        store.enrol(&known.name, &[&fused], at_ms)?;
        self.pending.remove(&person);
        Ok(Progress::Enrolled)
    }

    /// Ends the change: templates of `old` go, and with them whoever was not enrolled again.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] if people remain and `abandon` is false; otherwise as [`Store::remove_model`].
    pub fn finish(self, store: &mut Store, old: ModelId, abandon: bool) -> Result<()> {
        if self.remaining(store) > 0 && !abandon {
            return Err(Error::new(
                ErrorKind::InvalidArgument,
                "some people are not enrolled under the new model yet",
            ));
        }
        store.remove_model(old)?;
        store.compact()
    }
}
