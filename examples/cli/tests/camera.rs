//! Boards and cameras from the command line, on sources that need no hardware.

use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;

struct Ran {
    code: i32,
    out: String,
    err: String,
}

fn keyface(args: &[&str]) -> Ran {
    let output = Command::new(env!("CARGO_BIN_EXE_keyface")).args(args).output().unwrap();
    Ran {
        code: output.status.code().unwrap(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

fn json(ran: &Ran) -> Value {
    serde_json::from_str(&ran.out).unwrap_or_else(|e| panic!("{e}: {} {}", ran.out, ran.err))
}

fn source(picture: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("pictures");
    format!("loop:{}", folder.join(picture).display())
}

/// Whether there are networks; says so where not.
fn networks() -> bool {
    let built_in = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../sdk/models/default.kfpack");
    let there = std::env::var_os("KEYFACE_PACK").map_or_else(built_in, PathBuf::from).exists();
    if !there {
        println!("skipped: no model pack");
    }
    there
}

#[test]
fn a_probe_tells_what_is_there_and_why() {
    let ran = keyface(&["board", "probe", "--json"]);
    let probe = json(&ran);
    assert_eq!(ran.code, i32::from(probe["chosen"].is_null()));
    assert!(!probe["why"].as_str().unwrap().is_empty());
    assert!(probe["page_size"].as_u64().unwrap() >= 4096);

    let ran = keyface(&["board", "probe", "--profile", "raspberry-pi-5"]);
    assert!(ran.out.contains("raspberry-pi-5 (Raspberry Pi 5): it was asked for"), "{}", ran.out);
    assert!(ran.out.contains("camera   bridge: v4l2:driver=v4l2 loopback"), "{}", ran.out);
    assert!(ran.out.contains("relay    gpio:GPIO17"), "{}", ran.out);

    let ran = keyface(&["board", "probe", "--profile", "pi"]);
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("jetson-nano"), "{}", ran.err);
}

#[test]
fn a_profile_of_ones_own_is_checked_and_used() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("own.toml");
    let text = format!(
        "name = \"own\"\ntitle = \"Own\"\nthreads = 2\npage_sizes = [4096, 16384, 65536]\n\
         [[camera]]\nname = \"none\"\nsource = \"v4l2:driver=none\"\n\
         [[camera]]\nname = \"film\"\nsource = \"{}\"\n",
        source("astronaut.jpg")
    );
    std::fs::write(&path, &text).unwrap();
    let own = path.to_str().unwrap();
    // As many as the profile says, as far as this test's own CPUs go.
    let used = std::thread::available_parallelism().unwrap().get().min(2);
    let ran = keyface(&["board", "probe", "--profile", own, "--json"]);
    let probe = json(&ran);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert_eq!(probe["threads"], used);
    assert!(probe["chosen"].as_str().unwrap().contains("astronaut.jpg"));
    assert!(probe["cameras"][0]["refused"].as_str().unwrap().contains("no camera"));
    if networks() {
        let threads = |args: &[&str]| {
            let gallery = dir.path().join("own.kfgallery");
            let (gallery, camera) = (gallery.to_str().unwrap(), format!("--camera={own}"));
            let base =
                ["-v", "enroll", "--gallery", gallery, "Ana", &camera, "--shots", "1", "--force"];
            let ran = keyface(&[&base, args].concat());
            assert_eq!(ran.code, 0, "{}", ran.err);
            ran.err.contains(&format!("profile own: {used} threads"))
        };
        assert!(threads(&[]), "the profile's threads are taken");
        assert!(!threads(&["--threads", "1"]), "unless the command line says how many");
    }
    std::fs::write(&path, text.replace("threads", "thread")).unwrap();
    let ran = keyface(&["board", "probe", "--profile", own]);
    assert_eq!((ran.code, ran.err.contains("own.toml") && ran.err.contains("thread")), (2, true));
}

#[test]
fn a_self_test_judges_and_shows_the_picture() {
    if !networks() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let shown = dir.path().join("now.jpg");
    let (from, to) = (source("astronaut.jpg"), shown.to_str().unwrap());
    let ran = keyface(&[
        "board",
        "selftest",
        "--json",
        "--seconds",
        "1",
        "--source",
        &from,
        "--preview",
        to,
    ]);
    let report = json(&ran);
    assert_eq!(ran.code, 0, "{} {}", ran.out, ran.err);
    let check = |name: &str| {
        let checks = report["checks"].as_array().unwrap();
        checks
            .iter()
            .find(|c| c["name"] == name)
            .unwrap_or_else(|| panic!("{name}: {report}"))
            .clone()
    };
    for name in
        ["damage", "stalls", "timestamps", "exposure", "flicker", "sharpness", "colour order"]
    {
        assert_eq!(check(name)["verdict"], "good", "{name}: {report}");
    }
    assert!(check("colour order")["found"].as_str().unwrap().contains("red"));
    assert!(image::open(&shown).unwrap().width() > 100);
}

#[test]
fn a_person_is_enrolled_and_known_again_at_the_camera() {
    if !networks() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (gallery, shown) = (dir.path().join("door.kfgallery"), dir.path().join("now.png"));
    let (gallery, preview) = (gallery.to_str().unwrap(), shown.to_str().unwrap());
    let camera = |picture: &str| format!("--camera={}", source(picture));
    let enroll = |name: &str, picture: &str, more: &[&str]| {
        let camera = camera(picture);
        let mut args =
            vec!["enroll", "--json", "--gallery", gallery, name, &camera, "--shots", "1"];
        args.extend(more);
        keyface(&args)
    };
    let ran = enroll("Eileen", "astronaut.jpg", &["--preview", preview]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert_eq!((&json(&ran)["name"], &json(&ran)["shots"]), (&"Eileen".into(), &1.into()));
    assert!(ran.err.contains("[#] done"), "{}", ran.err);
    assert!(image::open(&shown).unwrap().width() > 100);

    let again = enroll("Eileen", "astronaut.jpg", &[]);
    assert_eq!((again.code, again.err.contains("is enrolled")), (5, true), "{}", again.err);
    assert_eq!(enroll("Somebody", "astronaut.jpg", &[]).code, 5, "too alike");
    assert_eq!(enroll("Eileen", "astronaut.jpg", &["--force"]).code, 0);

    let identify = |picture: &str| {
        keyface(&["identify", "--json", "--gallery", gallery, &camera(picture), "--seconds", "6"])
    };
    let known = identify("astronaut.jpg");
    assert_eq!((known.code, &json(&known)["name"]), (0, &"Eileen".into()), "{}", known.err);
    let stranger = identify("portrait-2012.jpg");
    assert_eq!((stranger.code, &json(&stranger)["name"]), (1, &Value::Null), "{}", stranger.err);
}

#[test]
fn wrong_cameras_are_told_apart() {
    let run = |camera: &str| keyface(&["identify", "--gallery", "/nonexistent", camera]);
    let enroll = |camera: &str| {
        let dir = tempfile::tempdir().unwrap();
        let gallery = dir.path().join("g");
        let args = ["enroll", "--gallery", gallery.to_str().unwrap(), "Ana", camera];
        keyface(&args)
    };
    // The gallery is looked at first.
    assert_eq!(run("--camera=v4l2:driver=none").code, 5);
    if networks() {
        assert_eq!(enroll("--camera=v4l2:driver=none").code, 3);
        assert_eq!(enroll("--camera=v4l2:/dev/video0").code, 2);
        assert_eq!(enroll("--camera=no-such-profile").code, 2);
    }
    let both = keyface(&["enroll", "--gallery", "g", "Ana", "a.jpg", "--camera"]);
    assert_eq!(both.code, 2, "{}", both.err);
    assert_eq!(keyface(&["enroll", "--gallery", "g", "Ana"]).code, 2);
    assert_eq!(keyface(&["identify", "--gallery", "g"]).code, 2);
}
