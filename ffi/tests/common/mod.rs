//! What the tests of C and C++ programs share: the built library, compilers, pictures.

#![allow(dead_code)] // not every test uses everything

use keyface::pack::{Pack, PackWriter, SectionKind, Trust};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The workspace's root.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().expect("the workspace")
}

/// The default pack.
pub fn pack() -> PathBuf {
    root().join("sdk/models/default.kfpack")
}

/// The shared library that cargo built for this test run.
pub fn shared_library() -> PathBuf {
    let deps = std::env::current_exe().expect("this test's path");
    let path = deps.parent().expect("a folder").join("libkeyface_ffi.so");
    assert!(path.exists(), "{} is missing", path.display());
    path
}

/// The static library of this test run: the newest, since cargo keeps old ones.
pub fn static_library() -> PathBuf {
    let folder = shared_library().parent().expect("a folder").to_owned();
    let files = std::fs::read_dir(folder).expect("a folder").flatten().map(|e| e.path());
    let ours = files.filter(|p| {
        let name = p.file_name().and_then(|n| n.to_str()).unwrap_or("");
        name.starts_with("libkeyface_ffi") && name.ends_with(".a")
    });
    ours.max_by_key(|p| p.metadata().and_then(|m| m.modified()).ok()).expect("libkeyface_ffi.a")
}

/// A folder with `include` and `lib/libkeyface.so.0`, as after an installation, and pictures as PPM files.
pub struct Stage {
    pub dir: tempfile::TempDir,
}

impl Stage {
    pub fn new() -> Stage {
        let dir = tempfile::tempdir().expect("a folder");
        let lib = dir.path().join("lib");
        std::fs::create_dir(&lib).expect("a folder");
        std::fs::copy(shared_library(), lib.join("libkeyface.so.0")).expect("the library");
        std::os::unix::fs::symlink("libkeyface.so.0", lib.join("libkeyface.so")).expect("a link");
        write_inputs(dir.path());
        Stage { dir }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Compiles `source` with `compiler` and `flags` against the shared library.
    pub fn compile(&self, compiler: &str, flags: &[&str], source: &str, name: &str) -> PathBuf {
        let program = self.path(name);
        let lib = self.path("lib");
        let mut command = Command::new(compiler);
        command
            .args(["-Wall", "-Wextra", "-Werror", "-pedantic", "-O1", "-g"])
            .args(flags)
            .arg("-I")
            .arg(root().join("include"))
            .arg("-I")
            .arg(root().join("tests/c"))
            .arg(root().join(source))
            .arg("-o")
            .arg(&program)
            .arg("-L")
            .arg(&lib)
            .args(["-lkeyface", "-lpthread", "-lm"])
            .arg(format!("-Wl,-rpath,{}", lib.display()));
        succeed(&mut command);
        program
    }
}

/// Writes `pictures/*.ppm` and `other.kfpack` into a folder.
pub fn write_inputs(folder: &Path) {
    let pictures = folder.join("pictures");
    std::fs::create_dir(&pictures).expect("a folder");
    for name in ["portrait-2012", "address-2009", "astronaut", "admiral"] {
        let path = root().join(format!("examples/cli/pictures/{name}.jpg"));
        let picture = image::open(path).expect("a picture").into_rgb8();
        let mut ppm = format!("P6 {} {} 255\n", picture.width(), picture.height()).into_bytes();
        ppm.extend(picture.as_raw());
        std::fs::write(pictures.join(format!("{name}.ppm")), ppm).expect("room");
    }
    std::fs::write(folder.join("other.kfpack"), other_pack()).expect("room");
}

/// The default pack's networks under another model digest.
fn other_pack() -> Vec<u8> {
    let pack = Pack::open(&pack(), Trust::Anyone).expect("the default pack");
    let mut manifest = pack.manifest().clone();
    if let Some(recogniser) = &mut manifest.recogniser {
        recogniser.model_id = "5a".repeat(32);
    }
    let mut writer = PackWriter::new(&manifest).expect("a manifest");
    for section in pack.sections() {
        let bytes = pack.bytes(section).to_vec();
        let added = match section.kind {
            SectionKind::Manifest => Ok(()),
            SectionKind::Tensor => {
                writer.tensor(&section.name, section.dtype, &section.dims, bytes)
            }
            kind => writer.blob(&section.name, kind, bytes),
        };
        added.expect("a section");
    }
    writer.finish(None)
}

/// Runs a command that must succeed; gives what it printed.
pub fn succeed(command: &mut Command) -> String {
    let output = run(command);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}\n{}\n{text}{errors}", output.status);
    text
}

/// Runs a command.
pub fn run(command: &mut Command) -> Output {
    command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"))
}

/// Whether a tool is there; says that a test is cut short if not.
pub fn have(tool: &str) -> bool {
    let there = Command::new(tool).arg("--version").output().is_ok_and(|o| o.status.success());
    if !there {
        eprintln!("SKIPPED: {tool} is not installed");
    }
    there
}
