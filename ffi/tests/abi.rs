//! The binary interface, pinned: exported symbols, constants, sizes and offsets, and what every comment states.

mod common;

use common::{have, root, run, shared_library, succeed};
use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::Path;
use std::process::Command;

const ADVICE: &str = "the ABI changed. Programs in the field were linked against the old one: add a new function or struct \
     instead, or, if it must be, raise KF_ABI_VERSION, the SONAME in ffi/build.rs and ffi/dist/install together. Then \
     KEYFACE_WRITE_ABI=1 cargo test --release -p keyface-ffi --test abi";

fn header() -> String {
    std::fs::read_to_string(root().join("include/keyface.h")).expect("include/keyface.h")
}

/// The header without comments, and for each function its comment.
fn parse(header: &str) -> (String, Vec<(String, String)>) {
    let (mut code, mut functions) = (String::new(), Vec::new());
    let (mut rest, mut comment) = (header, String::new());
    while let Some(start) = rest.find("/*") {
        let (before, from) = rest.split_at(start);
        let end = from.find("*/").expect("a comment's end") + 2;
        take(before, &comment, &mut code, &mut functions);
        comment = from[..end].to_owned();
        rest = &from[end..];
    }
    take(rest, &comment, &mut code, &mut functions);
    (code, functions)
}

/// Collects code and the function, if any, that it begins with.
fn take(text: &str, comment: &str, code: &mut String, functions: &mut Vec<(String, String)>) {
    code.push_str(text);
    let declaration = text.split(';').next().unwrap_or("");
    let name = declaration.split('(').next().unwrap_or("").split_whitespace().last().unwrap_or("");
    let name = name.trim_start_matches('*');
    if declaration.contains('(') && !declaration.contains("typedef") && name.starts_with("kf_") {
        functions.push((name.to_owned(), comment.to_owned()));
    }
}

/// Name and field names of every struct with fields.
fn structs(code: &str) -> Vec<(String, Vec<String>)> {
    let mut found = Vec::new();
    for part in code.split("typedef struct ").skip(1) {
        let Some((name, rest)) = part.split_once('{') else { continue };
        if name.contains(';') {
            continue;
        }
        let body = rest.split('}').next().unwrap_or("");
        let fields = body.split(';').filter_map(|f| {
            let last = f.split_whitespace().last()?.trim_start_matches('*');
            Some(last.split('[').next().unwrap_or(last).to_owned())
        });
        found.push((name.trim().to_owned(), fields.collect()));
    }
    found
}

/// A C program that prints sizes and offsets.
fn layout_program(structs: &[(String, Vec<String>)]) -> String {
    let mut text = "#include \"keyface.h\"\n#include <stdio.h>\nint main(void) {\n".to_owned();
    for (name, fields) in structs {
        let _ = writeln!(text, "printf(\"struct {name} size %zu\\n\", sizeof({name}));");
        for field in fields {
            let place = format!("offsetof({name}, {field}), sizeof((({name} *)0)->{field})");
            let _ =
                writeln!(text, "printf(\"struct {name} {field} at %zu size %zu\\n\", {place});");
        }
    }
    text + "return 0;\n}\n"
}

fn layouts(
    compiler: &str,
    runner: Option<&str>,
    structs: &[(String, Vec<String>)],
    dir: &Path,
) -> String {
    let (source, program) = (dir.join("layout.c"), dir.join(format!("layout-{compiler}")));
    std::fs::write(&source, layout_program(structs)).expect("room");
    let include = root().join("include");
    let mut command = Command::new(compiler);
    // A cross-built program brings its C library along.
    command.args(runner.map(|_| "-static"));
    succeed(command.arg("-I").arg(include).arg(&source).arg("-o").arg(&program));
    match runner {
        Some(runner) => succeed(Command::new(runner).arg(program)),
        None => succeed(&mut Command::new(program)),
    }
}

/// Constants as the header writes them: macros and enumerators.
fn constants(code: &str) -> String {
    let mut text = String::new();
    for line in code.lines().map(str::trim) {
        if let Some(rest) = line.strip_prefix("#define KF_") {
            // The version changes without the ABI.
            if !rest.starts_with("VERSION") {
                let _ = writeln!(text, "constant KF_{rest}");
            }
        } else if line.starts_with("KF_") && line.contains('=') {
            let _ = writeln!(text, "constant {}", line.trim_end_matches(','));
        }
    }
    text
}

#[test]
fn symbols_constants_and_layouts_are_pinned() {
    let header = header();
    let (code, functions) = parse(&header);
    let structs = structs(&code);
    assert!(functions.len() > 50 && structs.len() > 15, "the header was not understood");
    let dir = tempfile::tempdir().expect("a folder");
    let mut now = String::new();
    let names: BTreeSet<&str> = functions.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names.len(), functions.len());
    for name in &names {
        let _ = writeln!(now, "function {name}");
    }
    now += &constants(&code);
    let native = layouts("gcc", None, &structs, dir.path());
    now += &native;
    let path = root().join("ffi/abi.txt");
    if std::env::var_os("KEYFACE_WRITE_ABI").is_some() {
        std::fs::write(&path, &now).expect("room");
    }
    let pinned = std::fs::read_to_string(path).unwrap_or_default();
    let (a, b): (BTreeSet<&str>, BTreeSet<&str>) =
        (pinned.lines().collect(), now.lines().collect());
    let gone: Vec<_> = a.difference(&b).collect();
    let new: Vec<_> = b.difference(&a).collect();
    assert!(gone.is_empty(), "{ADVICE}\ngone: {gone:#?}\nnew: {new:#?}");
    assert!(
        new.is_empty(),
        "the ABI grew, which is fine: KEYFACE_WRITE_ABI=1 cargo test --release -p keyface-ffi --test abi\nnew: {new:#?}"
    );
    if have("aarch64-linux-gnu-gcc") && have("qemu-aarch64") {
        assert_eq!(
            layouts("aarch64-linux-gnu-gcc", Some("qemu-aarch64"), &structs, dir.path()),
            native
        );
    }
}

#[test]
fn the_library_exports_the_header_s_functions_and_nothing_else() {
    let listed = succeed(Command::new("nm").args(["-D", "--defined-only"]).arg(shared_library()));
    let exported: BTreeSet<&str> =
        listed.lines().filter_map(|l| l.split_whitespace().last()).collect();
    let header = header();
    let (_, functions) = parse(&header);
    let declared: BTreeSet<&str> = functions.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(exported, declared);
    let dynamic = succeed(Command::new("readelf").arg("-d").arg(shared_library()));
    assert!(dynamic.contains("Library soname: [libkeyface.so.0]"), "{dynamic}");
}

#[test]
fn every_function_says_what_its_caller_must_know() {
    let header = header();
    for (name, comment) in parse(&header).1 {
        for word in ["Ownership:", "NULL:", "Threads:", "Memory:", "Blocks:", "Status:"] {
            assert!(comment.contains(word), "the comment of {name} says nothing of {word}");
        }
    }
}

#[test]
fn the_cpp_header_wraps_every_function_of_a_handle() {
    // Without a handle there is nothing to own: these are called as they are.
    const PLAIN: [&str; 8] = [
        "kf_set_log",
        "kf_get_build_info",
        "kf_get_cpu_level",
        "kf_cpu_level_name",
        "kf_frame_check",
        "kf_test_card",
        "kf_selftest_frame",
        "kf_quality_limits_for_",
    ];
    let wrapped = std::fs::read_to_string(root().join("include/keyface.hpp")).expect("the header");
    let header = header();
    for (name, _) in parse(&header).1 {
        let plain = name.ends_with("_init") || PLAIN.iter().any(|p| name.starts_with(p));
        let called = [format!("{name}("), format!("{name}>")].iter().any(|u| wrapped.contains(u));
        assert!(plain || called, "include/keyface.hpp lacks {name}");
    }
}

#[test]
fn no_symbol_of_the_c_library_is_newer_than_the_build_machine_s_floor() {
    // What a board's glibc must have: told in ffi/README.md. A new symbol version is a new floor.
    let output = run(Command::new("readelf").args(["-V", "-W"]).arg(shared_library()));
    let text = String::from_utf8_lossy(&output.stdout);
    let versions = text
        .split("GLIBC_2.")
        .skip(1)
        .filter_map(|v| v.split(|c: char| !c.is_ascii_digit()).next()?.parse::<u32>().ok());
    let newest = versions.max().expect("a version of glibc");
    println!("glibc 2.{newest} is needed");
    assert!(newest <= 36, "glibc 2.{newest} is needed: newer than Debian 12's");
}
