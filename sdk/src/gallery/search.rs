//! Exact top-k over int8 rows: every row is visited, ties go to the older record.

use super::memory::{PersonId, RecordId};
use crate::error::Result;
use crate::kernel::Kernels;

/// Rows per call of the dot-product kernel: their sums stay in the first-level cache.
const BLOCK: usize = 512;

/// One answer of a search.
#[derive(Clone, Copy, PartialEq)]
pub struct Hit {
    /// Who.
    pub person: PersonId,
    /// Which of the person's templates.
    pub record: RecordId,
    /// Cosine of the quantised vectors, in `-1.0..=1.0`.
    pub score: f32,
}

/// Scores say how alike two faces are: they stay out of logs.
impl std::fmt::Debug for Hit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hit")
            .field("person", &self.person)
            .field("record", &self.record)
            .finish_non_exhaustive()
    }
}

/// The columns of a gallery that a search reads.
pub(super) struct Columns<'a> {
    pub(super) kernels: &'static Kernels,
    pub(super) rows: &'a [i8],
    pub(super) stride: usize,
    pub(super) inverse_norms: &'a [f32],
    pub(super) persons: &'a [PersonId],
    pub(super) records: &'a [RecordId],
}

/// Whether a list may hold several templates of one person.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Per {
    Person,
    Template,
}

/// The best `K` hits in falling order of score. `query` has `stride` components.
pub(super) fn top_k<const K: usize>(
    columns: &Columns<'_>,
    query: &[i8],
    query_inverse_norm: f32,
    per: Per,
) -> Result<heapless::Vec<Hit, K>> {
    let mut best = heapless::Vec::<Hit, K>::new();
    let mut dots = [0i32; BLOCK];
    let mut start = 0;
    for block in columns.rows.chunks(BLOCK * columns.stride) {
        let dots = &mut dots[..block.len() / columns.stride];
        columns.kernels.dot_rows(query, block, dots)?;
        for (i, &dot) in dots.iter().enumerate() {
            let at = start + i;
            // |dot| <= 512 * 127 * 127 < 2^24: exact in f32.
            let score =
                (dot as f32 * (columns.inverse_norms[at] * query_inverse_norm)).clamp(-1.0, 1.0);
            if best.len() == K && best.last().is_some_and(|last| score < last.score) {
                continue;
            }
            offer(
                &mut best,
                Hit { person: columns.persons[at], record: columns.records[at], score },
                per,
            );
        }
        start += dots.len();
    }
    Ok(best)
}

/// Puts `hit` where it belongs, or drops it.
///
/// The list is at any time the exact answer for the rows seen so far: a new row changes the best score of one person only.
fn offer<const K: usize>(best: &mut heapless::Vec<Hit, K>, hit: Hit, per: Per) {
    let better =
        |a: &Hit, b: &Hit| a.score > b.score || (a.score == b.score && a.record < b.record);
    if per == Per::Person {
        if let Some(same) = best.iter().position(|h| h.person == hit.person) {
            if !better(&hit, &best[same]) {
                return;
            }
            best.remove(same);
        }
    }
    let at = best.iter().position(|h| better(&hit, h)).unwrap_or(best.len());
    if at == K {
        return;
    }
    best.truncate(K - 1);
    // There is room for one: the list was cut to K - 1 entries.
    let _ = best.insert(at, hit);
}
