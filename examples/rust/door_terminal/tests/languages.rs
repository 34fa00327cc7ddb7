//! The same door terminal in Rust, C and C++: the same flags, the same lines.

mod common;

use common::{pack, Door, BLANK, KNOWN, STRANGER};
use std::path::Path;
use std::process::Command;

/// The C library that cargo built for this test.
fn library() -> std::path::PathBuf {
    // Linked for its file: libkeyface_ffi.so lies beside this test.
    use keyface_ffi as _;
    let exe = std::env::current_exe().expect("this test's path");
    exe.parent().expect("a folder").join("libkeyface_ffi.so")
}

fn said(program: &Path, door: &Door, source: &str, audit: &Path, lib: &Path) -> String {
    let gallery = door.path("gallery");
    let output = Command::new(program)
        .args(["--source", source, "--relay", "none", "--votes", "1", "--gallery"])
        .arg(gallery)
        .arg("--audit")
        .arg(audit)
        .arg("--pack")
        .arg(pack())
        .env("LD_LIBRARY_PATH", lib)
        .output()
        .expect("the program starts");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {errors}", program.display());
    String::from_utf8(output.stdout).expect("UTF-8")
}

#[test]
fn three_languages_say_the_same() {
    let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../.."));
    let door = Door::new();
    let lib = door.path("lib");
    std::fs::create_dir(&lib).expect("a folder");
    for name in ["libkeyface.so", "libkeyface.so.0"] {
        std::fs::copy(library(), lib.join(name)).expect("the C library");
    }
    let build = |compiler: &str, standard: &str, source: &str| {
        let program = door.path(compiler);
        let status = Command::new(compiler)
            .args([standard, "-O1", "-I"])
            .arg(root.join("include"))
            .arg(root.join(source))
            .arg("-o")
            .arg(&program)
            .arg("-L")
            .arg(&lib)
            .args(["-lkeyface", "-lm"])
            .status();
        assert!(status.is_ok_and(|s| s.success()), "{compiler} {source}");
        program
    };
    let programs = [
        env!("CARGO_BIN_EXE_door_terminal").into(),
        build("gcc", "-std=c99", "examples/c/door_terminal.c"),
        build("g++", "-std=c++11", "examples/cpp/door_terminal.cpp"),
    ];
    let shown = door.show(&[BLANK, STRANGER, KNOWN, KNOWN, BLANK]);
    let source = format!("dir:{shown}");
    let lines = programs.each_ref().map(|p| said(p, &door, &source, &door.path("audit"), &lib));
    println!("{}", lines[0]);
    assert!(lines[0].contains("allow 1\n") && lines[0].contains("wait no match\n"), "{}", lines[0]);
    assert!(lines.iter().all(|l| *l == lines[0]), "{lines:#?}");

    // One after the other wrote the same events to the log, numbered on; only the time differs.
    let events: Vec<(String, String)> = door.lines("audit").iter().map(|l| event(l)).collect();
    let numbers: Vec<&str> = events.iter().map(|(n, _)| n.as_str()).collect();
    assert_eq!(numbers, (0..events.len()).map(|n| format!("{{\"n\":{n}")).collect::<Vec<_>>());
    let each: Vec<Vec<&str>> = events
        .chunks(events.len() / 3)
        .map(|c| c.iter().map(|(_, e)| e.as_str()).collect())
        .collect();
    assert!(each.len() == 3 && each.iter().all(|e| *e == each[0]), "{events:#?}");
    assert!(each[0].contains(&r#""event":"allow","person":1,"reasons":[]}"#), "{events:#?}");

    // Without a record nobody enters.
    let lines = programs.map(|p| said(&p, &door, &source, Path::new("/dev/full"), &lib));
    assert!(lines[0].contains("deny error\n") && !lines[0].contains("allow"), "{}", lines[0]);
    assert!(lines.iter().all(|l| *l == lines[0]), "{lines:#?}");
}

/// Number and event of a line of the audit log, without its time.
fn event(line: &str) -> (String, String) {
    let mut parts = line.splitn(3, ',');
    let mut next = || parts.next().expect("number, time, event").to_owned();
    let (number, time) = (next(), next());
    assert!(time.starts_with("\"at_ms\":"), "{line}");
    (number, next())
}
