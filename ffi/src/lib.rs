//! The C ABI of Keyface. It wraps the public Rust API of the crate `keyface` and nothing else.
//!
//! `include/keyface.h` is made from these files: the comments here are its comments, and its opening comment states the
//! conventions. `README.md` beside this crate is the integrator's guide.
//!
//! | module | what |
//! |---|---|
//! | `call` | pointers in, statuses out, no panic across |
//! | `handle` | what a handle is: a value behind a lock that never waits, and a mark of poison |
//! | the others | one kind of handle or struct each |

// Names are those of the header.
#![allow(non_camel_case_types)]
// The border is made of raw pointers; every block says why it is sound.
#![allow(unsafe_code)]
// The header states for every pointer who owns it, whether it may be NULL and which threads may use it.
#![allow(clippy::missing_safety_doc)]

mod call;
mod handle;

pub mod audit;
#[cfg(feature = "boards")]
pub mod camera;
pub mod challenge;
pub mod decider;
pub mod engine;
pub mod enrolment;
pub mod frame;
pub mod gallery;
pub mod info;
pub mod key;
pub mod logging;
pub mod migration;
pub mod pack;
pub mod passive;
pub mod people;
pub mod pipeline;
pub mod rules;
pub mod selftest;
pub mod status;
pub mod template;
pub mod texts;
