//! C and C++ programs against the built shared library.

mod common;

use common::{have, pack, root, succeed, Stage};
use std::process::Command;

const COMPILERS: [(&str, &str); 2] = [("gcc", "g++"), ("clang", "clang++")];

#[test]
fn the_headers_compile_alone_in_every_dialect() {
    let mut tried = 0;
    for (c, cpp) in COMPILERS {
        if !have(c) || !have(cpp) {
            continue;
        }
        let dialects = [
            (c, "c", "c99", "tests/c/header.c"),
            (c, "c", "c11", "tests/c/header.c"),
            (cpp, "c++", "c++11", "tests/c/header.c"),
            (cpp, "c++", "c++20", "tests/c/header.c"),
            (cpp, "c++", "c++11", "tests/cpp/header.cpp"),
            (cpp, "c++", "c++17", "tests/cpp/header.cpp"),
            (cpp, "c++", "c++20", "tests/cpp/header.cpp"),
        ];
        for (compiler, language, standard, source) in dialects {
            let mut flags = vec![format!("-std={standard}"), format!("-x{language}")];
            if source.ends_with("cpp") {
                flags.push("-fno-exceptions".into());
                flags.push("-fno-rtti".into());
            }
            succeed(
                Command::new(compiler)
                    .args(["-Wall", "-Wextra", "-Werror", "-pedantic", "-fsyntax-only"])
                    .args(&flags)
                    .arg("-I")
                    .arg(root().join("include"))
                    .arg(root().join(source)),
            );
            tried += 1;
        }
    }
    assert!(tried >= 7, "no compiler: install gcc and g++");
}

#[test]
fn the_readme_s_first_program_compiles() {
    let readme = std::fs::read_to_string(root().join("ffi/README.md")).expect("the guide");
    let code = readme.split("```c\n").nth(1).and_then(|c| c.split("```").next()).expect("code");
    let (include, body) = code.split_once('\n').expect("an include");
    let dir = tempfile::tempdir().expect("a folder");
    let source = dir.path().join("first.c");
    let function = "int first(const uint8_t *buffer, size_t buffer_length)";
    let text = format!("{include}\n{function};\n{function} {{\n{body}\nreturn 0;\n}}\n");
    std::fs::write(&source, text).expect("room");
    succeed(
        Command::new("gcc")
            .args(["-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic", "-fsyntax-only", "-I"])
            .arg(root().join("include"))
            .arg(source),
    );
}

#[test]
fn every_rule_of_the_abi_is_kept() {
    let stage = Stage::new();
    let onnx = root().join("sdk/tests/data/mean_rgb.onnx");
    for name in ["rules", "rules_gallery", "rules_door"] {
        let source = format!("tests/c/{name}.c");
        let program = stage.compile("gcc", &["-std=c99"], &source, name);
        let mut command = Command::new(program);
        command.arg(pack()).arg(stage.path("other.kfpack"));
        if name != "rules" {
            command.arg(stage.dir.path());
        }
        if name == "rules_door" {
            command.arg(&onnx);
        }
        assert_eq!(succeed(&mut command), "rules kept\n", "{name}");
    }
}

#[test]
fn a_panic_is_a_status_and_poisons() {
    let stage = Stage::new();
    let program = stage.compile("gcc", &["-std=c99"], "tests/c/poison.c", "poison");
    for kind in [
        "pack",
        "engine",
        "template",
        "pipeline",
        "key",
        "gallery",
        "enrolment",
        "migration",
        "decider",
        "challenge",
        "audit",
    ] {
        let mut command = Command::new(&program);
        command.arg(pack()).arg(stage.dir.path()).arg(kind).env("KEYFACE_FAULT", kind);
        let output = common::run(&mut command);
        let (said, errors) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert_eq!(said, "poisoned as promised\n", "{kind}: {errors}");
        assert_eq!(errors, "", "the library prints nothing");
    }
}

#[test]
fn the_main_job_runs_in_c_on_two_threads() {
    let stage = Stage::new();
    let program = stage.compile("gcc", &["-std=c11"], "tests/c/scenario.c", "scenario");
    let mut command = Command::new(program);
    command.arg(pack()).arg(stage.path("other.kfpack"));
    command.arg(stage.path("pictures")).arg(stage.dir.path());
    assert_eq!(succeed(&mut command), "scenario passed\n");
}

#[test]
fn the_main_job_runs_in_cpp_with_and_without_exceptions() {
    let stage = Stage::new();
    for (name, flags) in [
        ("with", &["-std=c++11"][..]),
        ("without", &["-std=c++11", "-fno-exceptions", "-fno-rtti"]),
    ] {
        let program = stage.compile("g++", flags, "tests/cpp/scenario.cpp", name);
        let work = stage.path(&format!("work-{name}"));
        std::fs::create_dir(&work).expect("a folder");
        let mut command = Command::new(program);
        command.arg(pack()).arg(stage.path("pictures")).arg(work);
        assert_eq!(succeed(&mut command), format!("scenario passed {name} exceptions\n"));
    }
}
