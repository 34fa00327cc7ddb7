//! The built-in profiles are sound, and what is wrong with others is told.

use super::*;

const SOUND: &str = r#"
name = "a-board"
title = "A board"
compatible = ["maker,board-*"]
threads = 2
cpu = "neon"
page_sizes = [4096]
relay = "gpio:GPIO17,active-low"

[[camera]]
name = "usb"
source = "v4l2:driver=uvcvideo"
formats = ["YUYV", "Y16"]
size = "640x480"
controls = [["Auto Exposure", 1], ["Exposure Time, Absolute", 150]]
"#;

#[test]
fn all_built_in_profiles_load_and_no_file_is_forgotten() {
    let all = Profile::built_in().unwrap();
    let mut names: Vec<String> = all.iter().map(|p| format!("{}.toml", p.name)).collect();
    let files: Vec<&str> = BUILT_IN.iter().map(|(file, _)| *file).collect();
    assert_eq!(names, files, "each file is called as its profile");
    names.sort();
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/profiles");
    let mut there: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".toml"))
        .collect();
    there.sort();
    assert_eq!(names, there);
    assert!(all.iter().all(|p| !p.compatible.is_empty() || p.name == FALLBACK));
    assert_eq!(Profile::named("raspberry-pi-5").unwrap().cpu, Some(CpuLevel::DotProd));
    assert!(Profile::named("pi").unwrap_err().to_string().contains("raspberry-pi-5"));
}

#[test]
fn a_profile_says_what_it_says() {
    let profile = Profile::parse(SOUND).unwrap();
    let camera = &profile.cameras[0];
    assert_eq!(camera.settings.formats, [*b"YUYV", *b"Y16 "]);
    assert_eq!(camera.settings.controls[1].value, 150);
    assert_eq!(camera.source.to_string(), "v4l2:driver=uvcvideo");
    assert_eq!(camera.settings.stall, Settings::default().stall);
}

#[test]
fn what_is_wrong_is_named() {
    for (from, to, cause) in [
        ("threads = 2", "threads = 2\nthraeds = 3", "thraeds"),
        ("size = ", "sise = ", "sise"),
        ("threads = 2", "", "threads"),
        ("threads = 2", "threads = 0", "threads"),
        ("\"neon\"", "\"sve\"", "cpu"),
        ("[4096]", "[5000]", "page_sizes"),
        ("[4096]", "[]", "page_sizes"),
        ("maker,board-*", "board", "compatible"),
        ("maker,board-*", "*,x", "compatible"),
        ("a-board", "A board", "name"),
        ("gpio:GPIO17", "GPIO17", "gpio:NAME"),
        ("gpio:GPIO17", "gpio:chip:x", "gpio:NAME"),
        ("\"YUYV\"", "\"H264\"", "H264"),
        ("\"YUYV\"", "\"RG10\"", "RG10"),
        ("\"YUYV\"", "\"Y16\"", "twice"),
        ("\"YUYV\"", "\"YUYV2\"", "four characters"),
        ("\"YUYV\"", "\"\"", "four characters"),
        ("640x480", "641x480", "even"),
        ("640x480", "640", "size"),
        ("640x480", "0x0", "size"),
        ("uvcvideo\"\n", "uvcvideo\"\nrotation = 45\n", "rotation"),
        ("uvcvideo\"\n", "uvcvideo\"\nfps = 0\n", "fps"),
        ("uvcvideo\"\n", "uvcvideo\"\nbackoff_ms = [5000, 100]\n", "backoff"),
        ("v4l2:driver=uvcvideo", "v4l2:/dev/video0", "numbers change"),
        ("v4l2:driver=uvcvideo", "usb", "form"),
        ("v4l2:driver=uvcvideo", "board:", "cannot be a board"),
        ("[\"Auto Exposure\", 1], ", "", "must come before"),
        ("[\"Auto Exposure\", 1]", "[\"Auto Exposure\", 3]", "must come before"),
        ("[\"Auto Exposure\", 1]", "[\"auto_exposure\", 1], [\"Auto Exposure\", 1]", "twice"),
    ] {
        assert!(SOUND.contains(from), "{from}");
        let refused = Profile::parse(&SOUND.replacen(from, to, 1)).unwrap_err().to_string();
        assert!(refused.contains(cause), "{to}: {refused}");
    }
    let no_camera = &SOUND[..SOUND.find("[[camera]]").unwrap()];
    assert!(Profile::parse(no_camera).is_err());
    let twice = format!("{SOUND}{}", &SOUND[SOUND.find("[[camera]]").unwrap()..]);
    assert!(Profile::parse(&twice).unwrap_err().to_string().contains("two cameras"));
}

#[test]
fn two_profiles_cannot_claim_one_board() {
    let profile = |name: &str, compatible: &str| {
        Profile::parse(&SOUND.replace("a-board", name).replace("maker,board-*", compatible))
            .unwrap()
    };
    let together = |a: &str, b: &str| check_together(&[profile("a", a), profile("b", b)]);
    assert!(together("maker,one", "maker,two").is_ok());
    for (a, b) in [("maker,one", "maker,one"), ("maker,*", "maker,one"), ("maker,o?e", "maker,one")]
    {
        assert!(together(a, b).unwrap_err().to_string().contains("both claim"), "{a} {b}");
        assert!(together(b, a).is_err());
    }
    assert!(check_together(&[profile("a", "maker,one"), profile("a", "maker,two")]).is_err());
}
