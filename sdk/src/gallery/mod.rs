//! Enrolled templates: search in memory, durable and encrypted on disk.
//!
//! - [`Gallery`] is the searchable form: int8 rows in one block, a fixed capacity, one model.

mod memory;
mod row;
mod search;

pub use memory::{Gallery, Person, PersonId, PersonName, RecordId, MAX_CAPACITY, MAX_NAME};
pub use search::Hit;
