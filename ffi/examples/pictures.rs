//! Writes what `tests/c/run` needs beside the library: pictures as PPM files, and the default pack under another model digest.

#[path = "../tests/common/mod.rs"]
mod common;

fn main() {
    let folder = std::env::args_os().nth(1).expect("usage: pictures FOLDER");
    common::write_inputs(folder.as_ref());
}
