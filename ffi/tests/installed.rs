//! C and C++ programs built against the installed tree, by pkg-config and by CMake, and the examples' output compared.

mod common;

use common::{have, pack, root, run, shared_library, static_library, succeed};
use std::path::{Path, PathBuf};
use std::process::Command;

/// `ffi/dist/link` and `ffi/dist/install` into a folder, as `make install DESTDIR=` does.
fn install(dest: &Path) {
    let linked = dest.join("libkeyface.so");
    succeed(Command::new(root().join("ffi/dist/link")).arg(static_library()).arg(&linked));
    succeed(
        Command::new(root().join("ffi/dist/install"))
            .arg(&linked)
            .arg(static_library())
            .env("DESTDIR", dest)
            .env("PREFIX", "/usr"),
    );
}

fn pkg_config(dest: &Path, flags: &[&str]) -> Vec<String> {
    let mut command = Command::new("pkg-config");
    command
        .args(flags)
        .arg("keyface")
        .env("PKG_CONFIG_LIBDIR", dest.join("usr/lib/pkgconfig"))
        .env("PKG_CONFIG_SYSROOT_DIR", dest);
    succeed(&mut command).split_whitespace().map(str::to_owned).collect()
}

fn compile(source: &str, program: &Path, flags: &[String]) {
    succeed(
        Command::new("gcc")
            .args(["-std=c99", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Werror", "-pedantic"])
            .arg(root().join(source))
            .arg("-o")
            .arg(program)
            .args(flags)
            .arg("-lm"),
    );
}

/// What an example prints, which must end well.
fn said(program: &Path, lib: &Path, args: &[&str]) -> String {
    succeed(Command::new(program).args(args).env("LD_LIBRARY_PATH", lib))
}

/// A folder of visitors, and one with the picture of who is enrolled.
fn pictures(dir: &Path) {
    let from = root().join("examples/cli/pictures");
    for (folder, names) in [
        ("known", &["portrait-2012.jpg"][..]),
        ("visitors", &["address-2009.jpg", "admiral.jpg", "astronaut.jpg", "portrait-2012.jpg"]),
    ] {
        std::fs::create_dir(dir.join(folder)).expect("a folder");
        for name in names {
            std::fs::copy(from.join(name), dir.join(folder).join(name)).expect("a picture");
        }
    }
}

#[test]
fn programs_build_and_run_against_the_installed_tree() {
    if !have("pkg-config") || !have("cmake") {
        return;
    }
    let dir = tempfile::tempdir().expect("a folder");
    let at = |name: &str| dir.path().join(name);
    let dest = at("stage");
    install(&dest);
    let lib = dest.join("usr/lib");
    for link in ["libkeyface.so", "libkeyface.so.0"] {
        assert!(lib.join(link).exists(), "{link}");
    }
    pictures(dir.path());

    let flags = pkg_config(&dest, &["--cflags", "--libs"]);
    assert_eq!(pkg_config(&dest, &["--modversion"]), [env!("CARGO_PKG_VERSION")]);
    compile("examples/c/door_terminal.c", &at("door_terminal_c"), &flags);
    compile("examples/c/enroll.c", &at("enroll_c"), &flags);
    let built = at("build");
    succeed(
        Command::new("cmake")
            .arg("-S")
            .arg(root().join("ffi/tests/cmake"))
            .arg("-B")
            .arg(&built)
            .arg(format!("-DCMAKE_PREFIX_PATH={}", dest.join("usr").display()))
            .arg(format!("-DSOURCES={}", root().display())),
    );
    succeed(Command::new("cmake").arg("--build").arg(&built));
    let programs: [(&str, PathBuf, PathBuf); 3] = [
        ("c", at("enroll_c"), at("door_terminal_c")),
        ("cpp", built.join("enroll_cpp"), built.join("door_terminal_cpp")),
        ("static", built.join("enroll_static"), at("door_terminal_c")),
    ];
    let pack = pack();
    let pack = pack.to_str().expect("UTF-8");
    let mut spoken = Vec::new();
    for (name, enroll, door) in &programs {
        let gallery = at(&format!("{name}.kfgallery"));
        let common = ["--gallery", gallery.to_str().expect("UTF-8"), "--pack", pack];
        let source = format!("loop:{}", at("known").display());
        let enrolled = said(
            enroll,
            &lib,
            &[&common[..], &["--source", &source, "--name", "Portrait", "--shots", "2"]].concat(),
        );
        let source = format!("dir:{}", at("visitors").display());
        let decided = said(
            door,
            &lib,
            &[&common[..], &["--source", &source, "--relay", "log", "--votes", "1"]].concat(),
        );
        spoken.push((enrolled, decided));
    }
    println!("{}{}", spoken[0].0, spoken[0].1);
    let args = enroll::Args {
        source: format!("loop:{}", at("known").display()),
        gallery: at("rust.kfgallery"),
        pack: pack.into(),
        name: "Portrait".into(),
        shots: Some(2),
        threshold: None,
    };
    let mut rust = Vec::new();
    enroll::run(&args, &mut rust).expect("the Rust twin enrols");
    assert_eq!(String::from_utf8_lossy(&rust), spoken[0].0, "Rust and C differ");
    assert!(spoken[0].0.ends_with("complete\nenrolled 1\n"), "{}", spoken[0].0);
    assert!(spoken[0].1.starts_with("allow 1\nwait no match\n"), "{}", spoken[0].1);
    assert!(spoken.iter().all(|s| *s == spoken[0]), "the languages differ: {spoken:#?}");

    // Wrong usage, no gallery and no source have exit codes of their own.
    let code = |args: &[&str]| {
        run(Command::new(&programs[0].2).args(args).env("LD_LIBRARY_PATH", &lib)).status.code()
    };
    let gallery = at("c.kfgallery");
    let gallery = gallery.to_str().expect("UTF-8");
    assert_eq!(code(&["--source"]), Some(2));
    let door = |source, gallery| {
        code(&["--source", source, "--gallery", gallery, "--pack", pack, "--relay", "none"])
    };
    assert_eq!(door("dir:/nonexistent", gallery), Some(5));
    assert_eq!(door("dir:/nonexistent", "/nonexistent"), Some(4));
}

#[test]
fn the_static_library_links_with_the_line_that_is_documented() {
    let dir = tempfile::tempdir().expect("a folder");
    let program = dir.path().join("scenario");
    let line = ["-Wl,--gc-sections,-z,noexecstack", "-lgcc_s", "-lpthread", "-lm", "-ldl"];
    println!("cc prog.c {} libkeyface.a {}", line[0], line[1..].join(" "));
    succeed(
        Command::new("gcc")
            .args(["-std=c11", "-I"])
            .arg(root().join("include"))
            .arg(root().join("tests/c/scenario.c"))
            .arg("-o")
            .arg(&program)
            .arg(line[0])
            .arg(static_library())
            .args(&line[1..]),
    );
    let pc = std::fs::read_to_string(root().join("ffi/dist/keyface.pc.in")).expect("the file");
    assert!(pc.contains(&format!("Libs.private: {}", line[1..].join(" "))));
    let stage = common::Stage::new();
    let mut command = Command::new(&program);
    command.arg(pack()).arg(stage.path("other.kfpack"));
    command.arg(stage.path("pictures")).arg(stage.dir.path());
    assert_eq!(succeed(&mut command), "scenario passed\n");
}

#[test]
fn debian_packages_hold_what_they_should() {
    if !have("dpkg-deb") {
        return;
    }
    let dir = tempfile::tempdir().expect("a folder");
    let (stage, out) = (dir.path().join("stage"), dir.path().join("out"));
    succeed(
        Command::new(root().join("ffi/dist/install"))
            .arg(shared_library())
            .arg(static_library())
            .env("DESTDIR", &stage)
            .env("PREFIX", "/usr")
            .env("LIBDIR", "/usr/lib/x86_64-linux-gnu")
            .env("STRIP", "true")
            // The tool itself is another package's build; any program stands for it here.
            .env("TOOL", "/bin/true"),
    );
    let mut command = Command::new(root().join("ffi/dist/deb"));
    // Packing is what takes time; what is in the packages does not depend on it.
    command.arg("amd64").arg(&stage).arg(&out).env("DPKG_DEB_COMPRESSOR_TYPE", "none");
    succeed(&mut command);
    let version = env!("CARGO_PKG_VERSION");
    for (name, file) in [
        ("libkeyface0", "libkeyface.so.0"),
        ("libkeyface-dev", "keyface.hpp"),
        ("keyface-tools", "default.kfpack"),
    ] {
        let package = out.join(format!("{name}_{version}_amd64.deb"));
        let list = succeed(Command::new("dpkg-deb").arg("--contents").arg(&package));
        assert!(list.contains(file) && list.contains("copyright"), "{name}: {list}");
        let field = succeed(Command::new("dpkg-deb").arg("--field").arg(&package));
        assert!(field.contains(&format!("Package: {name}\n")), "{field}");
    }
}
