//! Structures and constants of `linux/videodev2.h`, for 64-bit Linux. Generated; README.md says how.

#![allow(missing_docs, non_camel_case_types, non_snake_case, non_upper_case_globals, clippy::all)]

#[cfg(not(all(target_os = "linux", target_pointer_width = "64")))]
compile_error!("these bindings are for 64-bit Linux");

include!("bindings.rs");
