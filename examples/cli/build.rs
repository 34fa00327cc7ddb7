//! Builds the default pack in where the tree has it. Without it (its licence is for evaluation and development only, so a product
//! may take it out) the tool builds all the same, and needs `--pack`.

use std::path::Path;

fn main() {
    let pack = Path::new("../../sdk/models/default.kfpack");
    println!("cargo::rerun-if-changed={}", pack.display());
    println!("cargo::rustc-check-cfg=cfg(default_pack)");
    if pack.exists() {
        println!("cargo::rustc-cfg=default_pack");
    }
}
