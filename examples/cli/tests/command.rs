//! The `keyface` command as a user meets it: output forms, exit codes, bad input.

use image::{GenericImage, RgbImage};
use serde_json::Value;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

struct Ran {
    code: i32,
    out: String,
    err: String,
}

impl Ran {
    fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|e| panic!("{e}: {} {}", self.out, self.err))
    }

    /// Asserts the exit code, and that standard error names all of `words`.
    fn fails(&self, code: i32, words: &[&str]) {
        assert_eq!(self.code, code, "{} {}", self.out, self.err);
        for word in words {
            assert!(self.err.contains(word), "{word:?} not in {:?}", self.err);
        }
    }
}

fn keyface(args: &[&str]) -> Ran {
    let output = Command::new(env!("CARGO_BIN_EXE_keyface")).args(args).output().unwrap();
    Ran {
        code: output.status.code().unwrap(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

/// Runs and expects success.
fn ok(args: &[&str]) -> Ran {
    let ran = keyface(args);
    assert_eq!(ran.code, 0, "{args:?}: {} {}", ran.out, ran.err);
    ran
}

fn picture(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("pictures").join(name);
    path.to_str().unwrap().to_owned()
}

fn image(name: &str) -> RgbImage {
    image::open(picture(name)).unwrap().into_rgb8()
}

fn default_pack() -> PathBuf {
    let built_in = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../sdk/models/default.kfpack");
    std::env::var_os("KEYFACE_PACK").map_or_else(built_in, PathBuf::from)
}

/// Most tests need networks: those of `KEYFACE_PACK`, else the default pack. A tree from which the latter was taken out still
/// passes its other tests.
fn no_pack() -> bool {
    let missing = !default_pack().exists();
    if missing {
        eprintln!("skipped: no pack at {}", default_pack().display());
    }
    missing
}

/// A temporary folder with a few files to make.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Folder {
        Folder(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().unwrap().to_owned()
    }

    fn write(&self, name: &str, bytes: &[u8]) -> String {
        std::fs::write(self.0.path().join(name), bytes).unwrap();
        self.path(name)
    }

    fn save(&self, name: &str, image: &RgbImage) -> String {
        image.save(self.0.path().join(name)).unwrap();
        self.path(name)
    }

    fn two_faces(&self) -> String {
        let (a, b) = (image("portrait-2012.jpg"), image("admiral.jpg"));
        let mut both = RgbImage::new(a.width() + b.width(), a.height().max(b.height()));
        both.copy_from(&a, 0, 0).unwrap();
        both.copy_from(&b, a.width(), 0).unwrap();
        self.save("two.png", &both)
    }

    fn no_face(&self) -> String {
        self.save("wall.png", &RgbImage::from_pixel(320, 240, image::Rgb([120, 118, 110])))
    }
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect()
}

#[test]
fn demo_tells_people_apart() {
    if no_pack() {
        return;
    }
    let folder = Folder::new();
    let drawn = folder.path("demo.png");
    let ran = ok(&["demo", "--draw", &drawn]);
    for step in [
        "1. load",
        "2. detect",
        "3. points",
        "4. quality",
        "5. embed",
        "6. enrol",
        "7. visitor",
        "8. drawn",
    ] {
        assert!(ran.out.contains(step), "{step}: {}", ran.out);
    }
    assert!(image::open(&drawn).unwrap().width() > 1000);
    let json = ok(&["demo", "--json", "--draw", &drawn]).json();
    assert_eq!(json["ok"], true);
    let matches: Vec<bool> = json["visitors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|v| v["match"].as_bool().unwrap())
        .collect();
    assert_eq!(matches, [true, false, false]);
}

#[test]
fn detect_has_its_form() {
    if no_pack() {
        return;
    }
    let (a, b) = (picture("astronaut.jpg"), picture("admiral.jpg"));
    let ran = ok(&["detect", "--json", &a, &b]);
    let lines: Vec<Value> = ran.out.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert_eq!(lines.len(), 2);
    for (line, file) in lines.iter().zip([&a, &b]) {
        assert_eq!(line["file"], **file);
        assert_eq!(line.as_object().unwrap().len(), 2, "file and faces only: {line}");
        let face = &line["faces"].as_array().unwrap()[0];
        let rect = numbers(&face["box"]);
        let score = face["score"].as_f64().unwrap();
        assert!(rect.len() == 4 && score > 0.3 && score <= 1.0);
        let points: Vec<Vec<f64>> =
            face["points"].as_array().unwrap().iter().map(numbers).collect();
        assert_eq!(points.len(), 5);
        for p in &points {
            assert!(
                p[0] > rect[0]
                    && p[0] < rect[0] + rect[2]
                    && p[1] > rect[1]
                    && p[1] < rect[1] + rect[3]
            );
        }
        assert!(
            points[0][0] < points[1][0]
                && points[3][0] < points[4][0]
                && points[0][1] < points[2][1]
        );
    }
}

#[test]
fn coordinates_are_of_the_upright_picture() {
    if no_pack() {
        return;
    }
    let folder = Folder::new();
    let upright = image("astronaut.jpg");
    let jpeg = folder.save("turned.jpg", &image::imageops::rotate270(&upright));
    // Orientation 6: to be turned clockwise.
    let bytes = std::fs::read(&jpeg).unwrap();
    let exif = b"\xFF\xE1\x00\x22Exif\0\0MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0";
    let tagged = folder.write("tagged.jpg", &[&bytes[..2], exif, &bytes[2..]].concat());
    let plain = folder.save("plain.jpg", &upright);
    let drawn = folder.path("drawn.png");
    let points = |file: &str| -> Vec<f64> {
        let json = ok(&["detect", "--json", file, "--draw", &drawn]).json();
        json["faces"][0]["points"].as_array().unwrap().iter().flat_map(numbers).collect()
    };
    for (a, b) in points(&tagged).iter().zip(points(&plain)) {
        assert!((a - b).abs() < 1.5, "{a} {b}");
    }
    points(&tagged);
    let drawn = image::open(&drawn).unwrap();
    assert_eq!((drawn.width(), drawn.height()), upright.dimensions());
}

#[test]
fn bad_pictures_are_named_and_the_others_searched() {
    if no_pack() {
        return;
    }
    let folder = Folder::new();
    let good = std::fs::read(picture("astronaut.jpg")).unwrap();
    let png = std::fs::read(folder.no_face()).unwrap();
    let huge =
        [&png[..16], &20_000u32.to_be_bytes(), &20_000u32.to_be_bytes(), &png[24..]].concat();
    let cases = [
        (folder.path("missing.jpg"), "No such file"),
        (folder.write("text.jpg", b"hello"), "not a JPEG or PNG"),
        (folder.write("empty.png", b""), "empty"),
        (folder.write("cut.jpg", &good[..good.len() / 2]), "cut short"),
        (folder.write("cut.png", &png[..png.len() / 2]), "damaged PNG"),
        (folder.write("huge.png", &huge), "20000x20000"),
        (folder.path("."), "directory"),
    ];
    for (file, cause) in &cases {
        keyface(&["detect", file]).fails(3, &[file, cause]);
        keyface(&["embed", file]).fails(3, &[file, cause]);
    }
    let files: Vec<&str> = cases.iter().map(|(file, _)| file.as_str()).collect();
    let good = picture("admiral.jpg");
    let args = [&["detect", "--json"][..], &files, &[&good]].concat();
    let ran = keyface(&args);
    ran.fails(3, &files);
    let lines: Vec<Value> = ran.out.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert_eq!(lines.len(), files.len() + 1);
    assert!(lines[..files.len()]
        .iter()
        .all(|l| l["error"].is_string() && l["faces"] == serde_json::json!([])));
    assert_eq!(lines[files.len()]["faces"].as_array().unwrap().len(), 1);
}

#[test]
fn pictures_without_the_one_face() {
    if no_pack() {
        return;
    }
    let folder = Folder::new();
    let (wall, two, one) = (folder.no_face(), folder.two_faces(), picture("portrait-2012.jpg"));
    let dot = folder.save("dot.png", &RgbImage::new(1, 1));
    for none in [&wall, &dot] {
        let ran = keyface(&["detect", none]);
        assert_eq!((ran.code, ran.out.contains("no face")), (1, true), "{}", ran.err);
        keyface(&["compare", none, &one]).fails(3, &[none, "no face found"]);
        keyface(&["embed", none]).fails(3, &[none, "no face found"]);
    }
    keyface(&["compare", &one, &two]).fails(3, &[&two, "2 faces", "--largest"]);
    // The admiral's face is the larger one.
    assert_eq!(keyface(&["compare", "--largest", &two, &one]).code, 1);
    ok(&["compare", "--largest", &two, &picture("admiral.jpg")]);
}

#[test]
fn compare_says_match_or_not() {
    if no_pack() {
        return;
    }
    let (a, b, c) =
        (picture("portrait-2012.jpg"), picture("address-2009.jpg"), picture("astronaut.jpg"));
    let same = ok(&["compare", "--json", &a, &b]).json();
    assert_eq!(same["match"], true);
    let other = keyface(&["compare", "--json", &a, &c]);
    assert_eq!((other.code, &other.json()["match"]), (1, &Value::Bool(false)));
    assert!(same["score"].as_f64() > other.json()["score"].as_f64());
    // The threshold decides, and only values that can be scores are taken.
    assert_eq!(keyface(&["compare", "--threshold", "0.99", &a, &b]).code, 1);
    assert_eq!(keyface(&["compare", "--threshold", "-1", &a, &c]).code, 0);
    keyface(&["compare", "--threshold", "1.5", &a, &b]).fails(2, &["--threshold"]);
    let itself = ok(&["compare", "--json", &a, &a]).json();
    assert!(itself["score"].as_f64().unwrap() > 0.9999);
}

#[test]
fn embeddings_in_every_form() {
    if no_pack() {
        return;
    }
    let folder = Folder::new();
    let file = picture("astronaut.jpg");
    let json = ok(&["embed", "--json", &file]).json();
    assert_eq!(json["file"], file);
    let found = numbers(&json["embedding"]);
    assert!((found.iter().map(|v| v * v).sum::<f64>() - 1.0).abs() < 1e-4);
    let npy = folder.path("a.npy");
    ok(&["embed", &file, "--out", &npy]);
    let bytes = std::fs::read(&npy).unwrap();
    let stored: Vec<f64> = bytes[128..]
        .chunks_exact(4)
        .map(|b| f64::from(f32::from_le_bytes(b.try_into().unwrap())))
        .collect();
    assert_eq!(stored.len(), found.len());
    assert!(stored.iter().zip(&found).all(|(a, b)| (a - b).abs() < 1e-6));
    // The detector's own points, given by hand, lead to the same embedding.
    let detected = ok(&["detect", "--json", &file]).json();
    let points: Vec<String> = detected["faces"][0]["points"]
        .as_array()
        .unwrap()
        .iter()
        .map(|p| format!("{},{}", p[0], p[1]))
        .collect();
    let by_hand = numbers(
        &ok(&["embed", "--json", &file, "--keypoints", &points.join(";")]).json()["embedding"],
    );
    assert!(by_hand.iter().zip(&found).all(|(a, b)| (a - b).abs() < 1e-3));
    // A crop: template points by default, and points do matter.
    let crop =
        folder.save("crop.png", &image::imageops::thumbnail(&image("admiral.jpg"), 112, 112));
    let plain = numbers(&ok(&["embed", "--json", "--aligned", &crop]).json()["embedding"]);
    let moved = ok(&[
        "embed",
        "--json",
        "--aligned",
        &crop,
        "--keypoints",
        "30,40;60,40;45,60;30,80;60,80",
    ]);
    assert!(plain
        .iter()
        .zip(numbers(&moved.json()["embedding"]))
        .any(|(a, b)| (a - b).abs() > 1e-3));
    keyface(&["embed", "--aligned", &file]).fails(3, &[&file, "112x112", "480x480"]);
    keyface(&["embed", &file, "--keypoints", "1,2;3,4"]).fails(2, &["five points"]);
    keyface(&["embed", &file, "--keypoints", "1,1;1,1;1,1;1,1;1,1"])
        .fails(3, &["do not form a face"]);
    keyface(&["embed", &file, "--out", "/nonexistent/x.npy"]).fails(6, &["/nonexistent/x.npy"]);
}

#[test]
fn a_gallery_from_enrolment_to_removal() {
    if no_pack() {
        return;
    }
    let folder = Folder::new();
    let gallery = folder.path("door.kfgallery");
    let (a, b, c) =
        (picture("portrait-2012.jpg"), picture("address-2009.jpg"), picture("astronaut.jpg"));
    keyface(&["list", "-g", &gallery]).fails(5, &[&gallery, "no gallery"]);
    keyface(&["identify", "-g", &gallery, &b]).fails(5, &[&gallery]);
    let enrolled = ok(&["enroll", "-g", &gallery, "--json", "Ana", &a]);
    assert_eq!(enrolled.json(), serde_json::json!({"name": "Ana", "shots": 1, "templates": 1}));
    assert!(enrolled.err.contains("key file"), "a new key is told");
    let hit = ok(&["identify", "-g", &gallery, "--json", &b]).json();
    assert_eq!((&hit["match"], &hit["name"]), (&Value::Bool(true), &Value::from("Ana")));
    let hidden = ok(&["identify", "-g", &gallery, "--hide-scores", "--json", &b]).json();
    assert_eq!((&hidden["name"], &hidden["score"]), (&Value::from("Ana"), &Value::Null));
    assert_eq!(hidden["candidates"], serde_json::json!([]));
    let words = ok(&["identify", "-g", &gallery, "--hide-scores", &b]).out;
    assert!(words.ends_with(": Ana\n"), "{words}");
    let stranger = keyface(&["identify", "-g", &gallery, "--json", &c]);
    assert_eq!((stranger.code, &stranger.json()["name"]), (1, &Value::Null));
    // A look-alike under another name is refused, unless forced; more of the same person is not.
    keyface(&["enroll", "-g", &gallery, "Bea", &b]).fails(5, &["Ana", "--force"]);
    ok(&["enroll", "-g", &gallery, "Ana", &b]);
    // Shots of two people are not one person; a bad shot stops the enrolment before anything is written.
    keyface(&["enroll", "-g", &gallery, "Cy", &c, &a]).fails(3, &[&a, "does not look like"]);
    keyface(&["enroll", "-g", &gallery, "Cy", &c, &folder.no_face()]).fails(3, &["no face"]);
    keyface(&["enroll", "-g", &gallery, "", &c]).fails(2, &["name"]);
    let list = ok(&["list", "-g", &gallery, "--json"]);
    assert_eq!(list.json(), serde_json::json!({"name": "Ana", "templates": 2}));
    let copy = folder.path("ana.json");
    let export = |name| keyface(&["export", "-g", &gallery, name, "--out", &copy, "--json"]);
    export("Nobody").fails(1, &["nobody of that name"]);
    assert_eq!(export("Ana").json()["templates"], 2);
    let stored: Value = serde_json::from_slice(&std::fs::read(&copy).unwrap()).unwrap();
    assert_eq!(stored["templates"][1]["components"].as_array().unwrap().len(), 192);
    assert_eq!(std::fs::metadata(&copy).unwrap().permissions().mode() & 0o777, 0o600);
    export("Ana").fails(6, &["ana.json", "exists"]);
    ok(&["enroll", "-g", &gallery, "Cy", &c]);
    assert_eq!(
        ok(&["remove", "-g", &gallery, "--json", "Ana"]).json(),
        serde_json::json!({"name": "Ana", "removed": 2})
    );
    keyface(&["remove", "-g", &gallery, "Ana"]).fails(1, &["enrolled"]);
    assert_eq!(keyface(&["identify", "-g", &gallery, &b]).code, 1);
    assert_eq!(ok(&["list", "-g", &gallery, "--json"]).json()["name"], "Cy");
}

#[test]
fn galleries_that_cannot_be_used() {
    if no_pack() {
        return;
    }
    let folder = Folder::new();
    let gallery = folder.path("door.kfgallery");
    let a = picture("portrait-2012.jpg");
    let nowhere = folder.path("missing/door.kfgallery");
    keyface(&["enroll", "-g", &nowhere, "Ana", &a]).fails(5, &["missing/door.kfgallery"]);
    keyface(&["enroll", "-g", &folder.path("."), "Ana", &a]).fails(5, &[]);
    ok(&["enroll", "-g", &gallery, "Ana", &a]);
    let key = format!("{gallery}.key");
    // Another key, and no key.
    let good_key = std::fs::read(&key).unwrap();
    let other = format!("{}.other", key);
    std::fs::copy(&key, &other).unwrap(); // keeps the mode
    std::fs::write(&other, [7; 32]).unwrap();
    keyface(&["list", "-g", &gallery, "--key", &other]).fails(5, &["key"]);
    keyface(&["list", "-g", &gallery, "--key", &folder.path("none")]).fails(5, &["none"]);
    assert_eq!(std::fs::read(&key).unwrap(), good_key);
    // Damaged bytes are noticed.
    let sound = std::fs::read(&gallery).unwrap();
    let mut bad = sound.clone();
    let middle = bad.len() / 2;
    bad[middle] ^= 1;
    std::fs::write(&gallery, &bad).unwrap();
    let ran = keyface(&["list", "-g", &gallery]);
    assert!(ran.code == 5 || !ran.out.contains("Ana"), "{} {}", ran.out, ran.err);
    std::fs::write(&gallery, b"not a gallery, but long enough to look like something").unwrap();
    keyface(&["list", "-g", &gallery]).fails(5, &[&gallery]);
    std::fs::write(&gallery, &sound).unwrap();
    ok(&["list", "-g", &gallery]);
}

#[test]
fn packs_are_shown_and_checked() {
    if no_pack() {
        return;
    }
    let folder = Folder::new();
    let info = ok(&["pack", "info", "--json"]).json();
    assert!(info["bytes"].as_u64() > Some(100_000) && info["manifest"]["licence"].is_string());
    let verified = ok(&["pack", "verify", "--json"]).json();
    assert_eq!(verified["ok"], true);
    let default = default_pack();
    let path = |name: &str, bytes: &[u8]| folder.write(name, bytes);
    let sound = std::fs::read(&default).unwrap();
    ok(&["pack", "verify", &path("copy.kfpack", &sound)]);
    let changed = |at: usize, value: u8| {
        let mut bytes = sound.clone();
        bytes[at] ^= value;
        bytes
    };
    let cases = [
        ("text.kfpack", b"hello".to_vec(), "damaged pack"),
        ("cut.kfpack", sound[..sound.len() - 64].to_vec(), "damaged pack"),
        ("flipped.kfpack", changed(sound.len() / 2, 1), "damaged pack"),
        ("future.kfpack", changed(8, 0x40), "unsupported pack"),
    ];
    for (name, bytes, cause) in &cases {
        let file = path(name, bytes);
        keyface(&["pack", "verify", &file]).fails(4, &[&file, cause]);
        keyface(&["pack", "info", &file]).fails(4, &[&file, cause]);
        keyface(&["detect", "--pack", &file, &picture("admiral.jpg")]).fails(4, &[&file, cause]);
    }
    let missing = folder.path("missing.kfpack");
    keyface(&["pack", "info", &missing]).fails(4, &[&missing]);
    keyface(&["pack", "verify", "--key", &"00".repeat(32), &path("unsigned.kfpack", &sound)])
        .fails(4, &["signature"]);
    keyface(&["pack", "verify", "--key", "xyz"]).fails(2, &["64 hex digits"]);
}

#[test]
fn eval_counts_pairs_and_failures() {
    if no_pack() {
        return;
    }
    let folder = Folder::new();
    let pictures = Path::new(env!("CARGO_MANIFEST_DIR")).join("pictures");
    let pairs = folder.write(
        "pairs.txt",
        b"portrait-2012.jpg address-2009.jpg 1\nadmiral.jpg admiral.jpg 1\n\
          portrait-2012.jpg astronaut.jpg 0\naddress-2009.jpg admiral.jpg 0\nadmiral.jpg missing.jpg 0\n",
    );
    let tar = folder.path("all.tar");
    let mut builder = tar::Builder::new(std::fs::File::create(&tar).unwrap());
    for name in ["portrait-2012.jpg", "address-2009.jpg", "admiral.jpg", "astronaut.jpg"] {
        builder.append_path_with_name(pictures.join(name), name).unwrap();
    }
    builder.finish().unwrap();
    let root = pictures.to_str().unwrap().to_owned();
    let of = |root: &str, jobs: &str| {
        let ran = ok(&["eval", &pairs, "--root", root, "--json", "--jobs", jobs]);
        assert!(ran.err.contains("missing.jpg"), "{}", ran.err);
        ran.json()
    };
    let json = of(&root, "1");
    assert_eq!(
        (&json["pairs"], &json["failed"], &json["failed_pictures"]),
        (&5.into(), &1.into(), &1.into())
    );
    assert!(json["accuracy"].as_f64().unwrap() >= 0.6);
    let rates = json["tar_at_far"].as_object().unwrap();
    assert_eq!(rates.keys().collect::<Vec<_>>(), ["1e-1", "1e-2", "1e-3", "1e-4"]);
    assert!(rates.values().all(Value::is_null), "three impostor pairs cannot show a rate of 1e-1");
    assert_eq!(of(&tar, "3"), json, "archive and threads change nothing");
    keyface(&["eval", &pairs, "--root", &tar, "--aligned"]).fails(3, &["112x112"]);
    let bad = folder.write("bad.txt", b"a b 1\na b\n");
    keyface(&["eval", &bad, "--root", &tar]).fails(3, &[&bad, "line 2"]);
    keyface(&["eval", &pairs, "--root", &pairs]).fails(3, &["tar archive"]);
    keyface(&["eval", &pairs, "--root", &root, "--folds", "3"]).fails(3, &["too few pairs"]);
}

#[test]
fn bench_reports_every_step() {
    if no_pack() {
        return;
    }
    let json = ok(&["bench", "--json", "--repeat", "1"]).json();
    for key in ["detect_ms", "align_ms", "embed_ms", "frame_ms", "detect_mmac", "embed_mmac"] {
        assert!(json[key].as_f64().unwrap() > 0.0, "{key}");
    }
    assert_eq!(json["threads"], 1);
    assert!(json["cpu"].is_string());
    let unknown = Command::new(env!("CARGO_BIN_EXE_keyface"))
        .arg("bench")
        .env("KEYFACE_CPU", "abacus")
        .output()
        .unwrap();
    assert_eq!(unknown.status.code(), Some(2));
    assert!(String::from_utf8(unknown.stderr).unwrap().contains("KEYFACE_CPU"));
}

#[test]
fn usage_errors_and_help() {
    assert_eq!(keyface(&[]).code, 2);
    keyface(&["detect"]).fails(2, &["IMG"]);
    keyface(&["frobnicate"]).fails(2, &["frobnicate"]);
    let file = picture("admiral.jpg");
    keyface(&["detect", "--draw", "x.png", &file, &file]).fails(2, &["exactly one"]);
    let help = ok(&["--help"]).out;
    for line in ["Exit codes:", "0  done", "3  an input file"] {
        assert!(help.contains(line), "{help}");
    }
}

#[test]
fn affine_measures_every_level_with_both_kinds_of_points() {
    if no_pack() {
        return;
    }
    let folder = Folder::new();
    for name in ["portrait-2012", "address-2009", "astronaut", "admiral"] {
        let crop = image::imageops::thumbnail(&image(&format!("{name}.jpg")), 112, 112);
        folder.save(&format!("{name}.png"), &crop);
    }
    let pairs = folder.write(
        "pairs.txt",
        b"portrait-2012.png address-2009.png 1\nadmiral.png admiral.png 1\n\
          portrait-2012.png astronaut.png 0\naddress-2009.png admiral.png 0\n",
    );
    let plot = folder.path("plot.png");
    let args = ["affine", &pairs, "--root", &folder.path("."), "--json", "--plot", &plot, "--seed"];
    let with_seed = |seed: &str| ok(&[&args[..], &[seed]].concat()).out;
    let first = with_seed("7");
    let lines: Vec<Value> = first.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    let kinds: Vec<String> = lines
        .iter()
        .map(|l| format!("{} {}", l["level"].as_str().unwrap(), l["points"].as_str().unwrap()))
        .collect();
    let expected = ["aligned", "light", "medium", "heavy"]
        .map(|l| [format!("{l} found"), format!("{l} carried")]);
    assert_eq!(kinds, expected.concat());
    // A picture compared with itself stays a match, since each picture has one warp.
    assert!(lines
        .iter()
        .all(|l| l["pairs"] == 4 && l["failed"] == 0 && l["accuracy"].as_f64() >= Some(0.25)));
    assert!(image::open(&plot).unwrap().width() > 300);
    assert_eq!(with_seed("7"), first, "the seed decides");
    keyface(&["affine", &pairs, "--root", &folder.path("nothing")]).fails(3, &["nothing"]);
}

/// The default pack under another model id: a new model, as far as galleries can tell.
fn renamed_pack(folder: &Folder) -> String {
    use keyface::pack::{Pack, PackWriter, SectionKind, Trust};
    let pack = Pack::open(&default_pack(), Trust::Anyone).unwrap();
    let mut manifest = pack.manifest().clone();
    manifest.recogniser.as_mut().unwrap().model_id = "17".repeat(32);
    let mut writer = PackWriter::new(&manifest).unwrap();
    for s in pack.sections() {
        match s.kind {
            SectionKind::Manifest => {}
            SectionKind::Tensor => writer.tensor(&s.name, s.dtype, &s.dims, pack.bytes(s)).unwrap(),
            kind => writer.blob(&s.name, kind, pack.bytes(s)).unwrap(),
        }
    }
    folder.write("new.kfpack", &writer.finish(None))
}

#[test]
fn a_gallery_moves_to_a_new_model_as_people_pass() {
    if no_pack() {
        return;
    }
    let folder = Folder::new();
    let gallery = folder.path("door.kfgallery");
    let old = default_pack().to_str().unwrap().to_owned();
    let new = renamed_pack(&folder);
    let (a, b, c) =
        (picture("portrait-2012.jpg"), picture("address-2009.jpg"), picture("astronaut.jpg"));
    ok(&["enroll", "-g", &gallery, "--pack", &old, "Ana", &a]);
    keyface(&["identify", "-g", &gallery, "--pack", &new, &b]).fails(5, &["model mismatch"]);
    let migrate = |more: &[&str]| {
        let mut args = vec![
            "migrate", "-g", &gallery, "--from", &old, "--pack", &new, "--margin", "0", "--json",
        ];
        args.extend(more);
        keyface(&args)
    };
    assert_eq!(
        migrate(&[]).json(),
        serde_json::json!({"people": 1, "remaining": 1, "finished": false})
    );
    migrate(&["--finish"]).fails(5, &["not enrolled under the new model"]);
    let lines = migrate(&["--shots", "1", &c, &b]);
    assert_eq!(lines.code, 0, "{}", lines.err);
    let lines: Vec<Value> = lines.out.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert_eq!(
        (&lines[0]["progress"], &lines[1]["progress"]),
        (&"ignored".into(), &"enrolled".into())
    );
    assert_eq!(lines[2]["remaining"], 0);
    assert_eq!(migrate(&["--finish"]).json()["finished"], true);
    let hit = ok(&["identify", "-g", &gallery, "--pack", &new, "--json", &a]).json();
    assert_eq!(hit["name"], "Ana");
    keyface(&["migrate", "-g", &gallery, "--from", &old, "--pack", &old])
        .fails(2, &["same recogniser"]);
}

#[test]
fn pad_report_counts_per_species() {
    if no_pack() {
        return;
    }
    let folder = Folder::new();
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../sdk/tests/data/mean_rgb.onnx");
    let report = |more: &[&str]| {
        let root = folder.path("");
        let mut args =
            vec!["pad-report", &root, "--json", "--onnx", model.to_str().unwrap(), "--side", "32"];
        args.extend(more);
        keyface(&args)
    };
    report(&[]).fails(3, &["bona-fide"]);
    for (species, name) in
        [("bona-fide", "portrait-2012.jpg"), ("print", "admiral.jpg"), ("print", "astronaut.jpg")]
    {
        std::fs::create_dir_all(folder.path(species)).unwrap();
        std::fs::copy(picture(name), folder.path(&format!("{species}/{name}"))).unwrap();
    }
    std::fs::create_dir_all(folder.path("screen")).unwrap();
    folder.save("screen/wall.png", &RgbImage::from_pixel(320, 240, image::Rgb([120, 118, 110])));
    // Everything passes for real: class 0 is always likelier than nothing.
    let all = report(&["--real-class", "0", "--real-from", "0.01", "--spoof-to", "0"]);
    assert_eq!(all.code, 0, "{}", all.err);
    let lines: Vec<Value> = all.out.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert_eq!(lines.len(), 4);
    assert_eq!((&lines[0]["folder"], &lines[0]["bpcer"][0]), (&"bona-fide".into(), &0.0.into()));
    assert_eq!((&lines[1]["real"], &lines[1]["apcer"][0]), (&2.into(), &1.0.into()));
    assert_eq!(lines[1]["bpcer"], Value::Null);
    assert_eq!(
        (&lines[2]["unsure"], &lines[2]["non_response"][0]),
        (&1.into(), &1.0.into()),
        "no face, no answer"
    );
    assert_eq!(lines[3]["worst_apcer"][0], 1.0);
}

#[test]
fn a_profile_adds_up() {
    if no_pack() {
        return;
    }
    let out = ok(&["bench", "--profile", "--repeat", "2", "--json"]).out;
    let lines: Vec<Value> = out.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    for (network, name, nodes) in [("landmark", "stem", 1), ("recogniser", "attention", 2)] {
        let lines: Vec<&Value> = lines.iter().filter(|l| l["network"] == network).collect();
        let (sum, rows) = lines.split_last().expect("a part for each network");
        let total: f64 = rows.iter().map(|r| r["mmac"].as_f64().unwrap()).sum();
        assert!((total - sum["mmac"].as_f64().unwrap()).abs() < 1e-6);
        let row = rows.iter().find(|r| r["name"] == name).expect("a row of this kind");
        assert!(row["nodes"].as_u64() >= Some(nodes));
    }
}
