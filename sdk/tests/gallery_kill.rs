//! Real processes, real files, SIGKILL: no acknowledged change is lost.
//!
//! 25 runs by default; `KEYFACE_KILL_RUNS=500 cargo test --release -p keyface --test gallery_kill` for the long one.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use keyface::gallery::fault::FaultDisk;
use keyface::gallery::{HostKey, PersonName, Reader, Store, StoreOptions};
use keyface::template::{ModelId, Template};
use keyface::ErrorKind;

const PATH: &str = "KEYFACE_KILL_TEST_PATH";
const OPTIONS: StoreOptions = StoreOptions { capacity: 20_000, min_counter: 0 };

fn key() -> HostKey {
    HostKey::new(&[3; 32])
}

fn name(n: u64) -> PersonName {
    PersonName::new(&format!("p{n}")).unwrap()
}

fn template(n: u64) -> Template {
    let v: Vec<f32> = (0..64).map(|i| ((n * 7919 + i * 104_729) % 1009) as f32 - 504.0).collect();
    Template::from_embedding(&v, ModelId([1; 32])).unwrap()
}

fn number(name: &PersonName) -> u64 {
    name.as_str()[1..].parse().unwrap()
}

/// What the gallery keeps of a template, by a gallery without a file.
fn quantised(n: u64) -> zeroize::Zeroizing<Vec<i8>> {
    let mut store = Store::open_on(Box::new(FaultDisk::default()), &key(), OPTIONS).unwrap();
    store.enrol(&name(1), &[&template(n)], 0).unwrap();
    store.export(&name(1)).unwrap().remove(0).q
}

/// Not a test of its own: the process that the other test kills. Each acknowledged change is a line on standard output.
#[test]
#[ignore = "run by the kill test"]
fn child() {
    let Ok(path) = std::env::var(PATH) else { return };
    let mut store = Store::open(Path::new(&path), &key(), OPTIONS).unwrap();
    let first = store.people().last().map_or(0, |p| number(&p.name));
    for n in first + 1.. {
        store.enrol(&name(n), &[&template(n), &template(n + 1)], n).unwrap();
        println!("+{n}");
        if n % 3 == 0 {
            store.remove(&name(n)).unwrap();
            println!("-{n}");
        }
        if n % 17 == 0 {
            store.compact().unwrap();
        }
    }
}

#[test]
fn sigkill_loses_nothing_acknowledged() {
    let runs: u64 =
        std::env::var("KEYFACE_KILL_RUNS").ok().and_then(|n| n.parse().ok()).unwrap_or(25);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("gallery");
    let mut present = std::collections::BTreeSet::new();
    let (mut acknowledged, mut torn, mut counter) = (0u64, 0, 0);
    for run in 0..runs {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child", "--ignored", "--nocapture", "--test-threads=1"])
            .env(PATH, &path)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        let reading =
            std::thread::spawn(move || out.lines().map_while(Result::ok).collect::<Vec<_>>());
        std::thread::sleep(Duration::from_micros(25_000 + (run * 7_919_123) % 60_000));
        // A reader beside the writer sees whole changes only.
        match Reader::open(&path, &key(), OPTIONS) {
            Ok(reader) => assert!(reader.people().iter().all(|p| p.templates == 2)),
            Err(e) => assert_eq!(e.kind(), ErrorKind::NotFound),
        }
        child.kill().unwrap();
        child.wait().unwrap();
        for line in reading.join().unwrap() {
            // The line under way when the process died counts only if it is whole; libtest prints on the same stream.
            let Some(at) = line.find(['+', '-']) else { continue };
            let Ok(n) = line[at + 1..].parse::<u64>() else { continue };
            acknowledged += 1;
            if line.as_bytes()[at] == b'+' {
                present.insert(n);
            } else {
                present.remove(&n);
            }
        }
        let store =
            Store::open(&path, &key(), StoreOptions { min_counter: counter, ..OPTIONS }).unwrap();
        torn += u64::from(store.discarded() > 0);
        counter = store.counter();
        let found: std::collections::BTreeSet<u64> =
            store.people().iter().map(|p| number(&p.name)).collect();
        // At most the one change under way at the moment of death may be there beyond what was acknowledged.
        let unacknowledged: Vec<_> = found.symmetric_difference(&present).collect();
        assert!(unacknowledged.len() <= 1, "run {run}: {unacknowledged:?}");
        for person in store.people() {
            assert_eq!(person.templates, 2);
            let mut stored = store.export(&person.name).unwrap().into_iter().map(|t| t.q);
            let n = number(&person.name);
            assert!(
                stored.all(|q| q == quantised(n) || q == quantised(n + 1)),
                "run {run}: another face under a name"
            );
        }
        present = found;
    }
    println!(
        "{runs} kills, {acknowledged} acknowledged changes, {torn} torn tails, {} people left",
        present.len()
    );
    assert!(acknowledged > runs);
}
