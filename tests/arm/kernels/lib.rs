//! `keyface::kernel` and what it imports, by path: the same files, the same tests, no other crate.

#[path = "../../../sdk/src/error.rs"]
pub mod error;
#[path = "../../../sdk/src/kernel/mod.rs"]
pub mod kernel;
