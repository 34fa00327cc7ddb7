//! Enrolled templates: search in memory, durable and encrypted on disk.
//!
//! - [`Gallery`] is the searchable form: int8 rows in one block, a fixed capacity, one model.
//! - [`Store`] keeps it in a file that survives power cuts and is of no use without the host's key; [`Reader`] is its read-only twin.
//! - [`HostKey`] is that key; [`Disk`] is the seam at which [`fault::FaultDisk`] proves the rest.

mod disk;
pub mod fault;
mod format;
mod key;
mod memory;
mod reader;
mod replay;
mod rewrite;
mod row;
mod search;
mod state;
mod store;

pub use disk::{Disk, RealDisk, Slot};
pub use format::StoredTemplate;
pub use key::HostKey;
pub use memory::{Gallery, Person, PersonId, PersonName, RecordId, MAX_CAPACITY, MAX_NAME};
pub use reader::Reader;
pub use search::Hit;
pub use store::{Store, StoreOptions};
