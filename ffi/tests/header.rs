//! `include/keyface.h` is made from the sources: a stale one is a red test. `KEYFACE_WRITE_HEADER=1` writes it.

use std::path::Path;

/// In the order of the header.
const FILES: [&str; 19] = [
    "status",
    "info",
    "logging",
    "frame",
    "rules",
    "pack",
    "engine",
    "template",
    "pipeline",
    "key",
    "gallery",
    "people",
    "enrolment",
    "migration",
    "decider",
    "challenge",
    "passive",
    "audit",
    "texts",
];

fn generate() -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let config =
        cbindgen::Config::from_file(root.join("cbindgen.toml")).expect("a sound configuration");
    let mut builder = cbindgen::Builder::new().with_config(config);
    for file in FILES.iter().chain(&["selftest", "camera"]) {
        builder = builder.with_src(root.join(format!("src/{file}.rs")));
    }
    let mut text = Vec::new();
    builder.generate().expect("sources that cbindgen understands").write(&mut text);
    String::from_utf8(text).expect("a header in UTF-8")
}

#[test]
fn the_header_is_fresh() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../include/keyface.h");
    let fresh = generate();
    if std::env::var_os("KEYFACE_WRITE_HEADER").is_some() {
        std::fs::write(&path, &fresh).expect("the header can be written");
    }
    let stored = std::fs::read_to_string(&path).unwrap_or_default();
    let first = fresh.lines().zip(stored.lines()).position(|(a, b)| a != b);
    assert!(
        fresh == stored,
        "include/keyface.h is stale (line {:?}): KEYFACE_WRITE_HEADER=1 cargo test --release -p keyface-ffi --test header",
        first.map(|l| l + 1)
    );
}
