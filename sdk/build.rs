//! No build step: the build dependency only fixes features, see Cargo.toml.
fn main() {}
