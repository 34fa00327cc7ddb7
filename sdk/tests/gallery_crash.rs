//! The gallery under every failure of its disk.
//!
//! A script of changes runs on [`FaultDisk`], which dies at every byte, runs out of space, answers with errors, loses syncs, writes short
//! and reorders what was not synced. The rule: what a call acknowledged is there afterwards; the change under way is there
//! whole or not at all; the gallery opens and goes on.

use keyface::gallery::fault::{Failure, FaultDisk, Plan};
use keyface::gallery::{Disk, HostKey, PersonName, Slot, Store, StoreOptions};
use keyface::template::{ModelId, Template};
use keyface::{ErrorKind, Result};

const MODEL: ModelId = ModelId([1; 32]);
const OPTIONS: StoreOptions = StoreOptions { capacity: 100, min_counter: 0 };

fn key(n: u8) -> HostKey {
    HostKey::new(&[n; 32])
}

fn name(n: u8) -> PersonName {
    PersonName::new(&format!("person {n}")).unwrap()
}

fn template(seed: u8) -> Template {
    let v: Vec<f32> =
        (0..16u32).map(|i| ((u32::from(seed) * 31 + i * 17) % 23) as f32 - 11.0).collect();
    Template::from_embedding(&v, MODEL).unwrap()
}

#[derive(Clone, Copy)]
enum Step {
    Enrol(u8, u8),
    Replace(u8, u8),
    Remove(u8),
    RemoveFirstRecord,
    Compact,
    Rotate(u8),
    Wipe,
}

const SCRIPT: &[Step] = &[
    Step::Enrol(1, 1),
    Step::Enrol(2, 3),
    Step::Compact,
    Step::Enrol(1, 2),
    Step::Replace(2, 2),
    Step::RemoveFirstRecord,
    Step::Rotate(8),
    Step::Enrol(3, 1),
    Step::Remove(1),
    Step::Compact,
    Step::Enrol(4, 2),
    Step::Wipe,
    Step::Enrol(5, 2),
];

/// The first host key; `Rotate` brings the others.
const FIRST_KEY: u8 = 7;

fn apply(store: &mut Store, step: Step) -> Result<()> {
    let shots = |n: u8, from: u8| (0..n).map(|i| template(from + i)).collect::<Vec<_>>();
    match step {
        Step::Enrol(who, n) => {
            let shots = shots(n, who * 10);
            store.enrol(&name(who), &shots.iter().collect::<Vec<_>>(), 5).map(drop)
        }
        Step::Replace(who, n) => {
            let shots = shots(n, who * 10 + 5);
            store.replace(&name(who), &shots.iter().collect::<Vec<_>>(), 6).map(drop)
        }
        Step::Remove(who) => store.remove(&name(who)).map(drop),
        Step::RemoveFirstRecord => {
            let first = store.people()[0].name.clone();
            let record = store.export(&first)?[0].record;
            store.remove_record(record)
        }
        Step::Compact => store.compact(),
        Step::Rotate(n) => store.rotate_key(&key(n)),
        Step::Wipe => store.wipe(),
    }
}

/// All that a store holds, in a form that can be compared.
type Content = Vec<(u64, u64, String, u64, Vec<i8>)>;

fn content(store: &Store) -> Content {
    let mut all = Vec::new();
    for person in store.people() {
        for t in store.export(&person.name).unwrap() {
            all.push((t.person.0, t.record.0, t.name.to_string(), t.at_ms, t.q.to_vec()));
        }
    }
    // What is stored is what is matched.
    if let Some(gallery) = store.gallery(MODEL) {
        assert_eq!(gallery.len(), all.len());
    }
    all
}

fn open(disk: &FaultDisk, n: u8) -> Result<Store> {
    Store::open_on(Box::new(disk.clone()), &key(n), OPTIONS)
}

/// Content after each step on a disk that never fails, from nothing; and the host keys in force.
fn expected() -> (Vec<Content>, Vec<u8>) {
    let mut store = open(&FaultDisk::default(), FIRST_KEY).unwrap();
    let (mut contents, mut keys) = (vec![content(&store)], vec![FIRST_KEY]);
    for &step in SCRIPT {
        apply(&mut store, step).unwrap();
        contents.push(content(&store));
        keys.push(if let Step::Rotate(n) = step { n } else { keys[keys.len() - 1] });
    }
    (contents, keys)
}

/// What the script had acknowledged when it failed.
#[derive(Clone, Copy, Default)]
struct Done {
    steps: usize,
    counter: u64,
}

/// Runs the script until something fails.
fn run(disk: &FaultDisk) -> Done {
    let Ok(mut store) = open(disk, FIRST_KEY) else { return Done::default() };
    let steps = SCRIPT.iter().take_while(|&&step| apply(&mut store, step).is_ok()).count();
    Done { steps, counter: store.counter() }
}

/// Opens what is left and checks the rule; then the gallery must go on working.
fn check(disk: &FaultDisk, done: Done, contents: &[Content], keys: &[u8], what: &str) {
    let acknowledged = done.steps;
    let next = (acknowledged + 1).min(SCRIPT.len());
    let mut store = match open(disk, keys[acknowledged]) {
        Err(e) if e.kind() == ErrorKind::WrongKey => open(disk, keys[next]),
        other => other,
    }
    .unwrap_or_else(|e| panic!("{what}, {acknowledged} steps acknowledged: {e}"));
    let found = content(&store);
    assert!(
        found == contents[acknowledged] || found == contents[next],
        "{what}, {acknowledged} steps acknowledged: {} templates found",
        found.len()
    );
    assert!(store.counter() >= done.counter, "{what}: the counter fell");
    assert!(store.counter() < done.counter + 10, "{what}: the counter ran away");
    apply(&mut store, Step::Enrol(9, 2)).unwrap();
    let longer = content(&store);
    assert_eq!(longer.len(), found.len() + 2);
    drop(store);
    let crashed = disk.crash(1);
    let store = open_any(&crashed, keys).unwrap_or_else(|| panic!("{what}: does not open again"));
    assert!(content(&store) == longer, "{what}: the gallery does not go on");
}

/// Opens with whichever key was in force.
fn open_any(disk: &FaultDisk, keys: &[u8]) -> Option<Store> {
    keys.iter().find_map(|&k| open(disk, k).ok())
}

/// How many units of time the whole script takes, and how many calls.
fn length() -> (u64, u64) {
    let disk = FaultDisk::default();
    assert_eq!(run(&disk).steps, SCRIPT.len());
    disk.elapsed()
}

#[test]
fn killed_at_every_byte() {
    let (contents, keys) = expected();
    let (time, _) = length();
    let mut cases = 0;
    for at in 0..time {
        let disk = FaultDisk::default();
        disk.set_plan(Plan { kill_at: Some(at), ..Plan::default() });
        let done = run(&disk);
        // The power goes: three ways in which the medium may have kept what was not synced.
        for seed in 0..3 {
            check(
                &disk.crash(at * 3 + seed),
                done,
                &contents,
                &keys,
                &format!("power cut at {at}, seed {seed}"),
            );
            cases += 1;
        }
        // Only the process dies: the cache keeps all that was written.
        check(&disk.reopen(), done, &contents, &keys, &format!("killed at {at}"));
        cases += 1;
    }
    println!("killed at each of {time} points: {cases} recoveries");
    assert!(time > 5_000);
}

#[test]
fn killed_at_every_byte_of_a_recovery() {
    let (contents, keys) = expected();
    let (time, _) = length();
    let mut cases = 0;
    for at in (0..time).step_by(97) {
        let disk = FaultDisk::default();
        disk.set_plan(Plan { kill_at: Some(at), ..Plan::default() });
        let done = run(&disk);
        let left = disk.crash(at);
        let (recovery, _) = {
            let trial = disk.crash(at);
            let _ = open_any(&trial, &keys);
            trial.elapsed()
        };
        for again in (0..recovery).step_by(7) {
            let disk = left.crash(0);
            disk.set_plan(Plan { kill_at: Some(again), ..Plan::default() });
            let _ = open_any(&disk, &keys);
            check(
                &disk.crash(again),
                done,
                &contents,
                &keys,
                &format!("power cut at {at}, and again at {again}"),
            );
            cases += 1;
        }
    }
    println!("killed again while recovering: {cases} recoveries");
    assert!(cases > 500);
}

#[test]
fn every_call_fails_once() {
    let (contents, keys) = expected();
    let (_, calls) = length();
    let mut cases = 0;
    for failure in [Failure::NoSpace, Failure::Io, Failure::LostSync] {
        for at in 0..calls {
            for short in [0, 13] {
                let what = format!("{failure:?} at call {at}");
                let disk = FaultDisk::default();
                disk.set_plan(Plan { fail: Some((at, failure)), short, ..Plan::default() });
                let mut store = open(&disk, FIRST_KEY);
                let mut done = 0;
                let mut failures = 0;
                while done < SCRIPT.len() {
                    let key_now = keys[done];
                    let Ok(alive) = store.as_mut() else {
                        failures += 1;
                        store = open(&disk.reopen(), key_now)
                            .or_else(|_| open(&disk.reopen(), keys[done + 1]));
                        if let Ok(s) = &store {
                            let found = content(s);
                            assert!(
                                found == contents[done] || found == contents[done + 1],
                                "{what}"
                            );
                            if found == contents[done + 1] && found != contents[done] {
                                done += 1;
                            }
                        }
                        assert!(failures < 3, "{what}: does not open");
                        continue;
                    };
                    match apply(alive, SCRIPT[done]) {
                        Ok(()) => done += 1,
                        Err(_) => {
                            if alive.is_poisoned() {
                                drop(store);
                                store = Err(keyface::Error::new(ErrorKind::Poisoned, "as found"));
                            } else {
                                assert!(
                                    content(alive) == contents[done],
                                    "{what}: a failed change shows"
                                );
                            }
                        }
                    }
                }
                let done = Done { steps: done, counter: store.map_or(0, |s| s.counter()) };
                check(&disk.crash(at), done, &contents, &keys, &what);
                cases += 1;
            }
        }
    }
    println!("each call failing once: {cases} runs");
}

#[test]
fn a_lost_sync_is_not_built_upon() {
    // The first process's sync fails and the cache keeps the change; the second process sees it and writes on; then the power goes.
    let disk = FaultDisk::default();
    let mut store = open(&disk, FIRST_KEY).unwrap();
    store.enrol(&name(1), &[&template(1)], 0).unwrap();
    disk.set_plan(Plan { fail: Some((1, Failure::LostSync)), ..Plan::default() });
    assert_eq!(store.enrol(&name(2), &[&template(2)], 0).unwrap_err().kind(), ErrorKind::Io);
    assert_eq!(store.enrol(&name(3), &[&template(3)], 0).unwrap_err().kind(), ErrorKind::Poisoned);
    assert_eq!(store.search::<1>(&template(1)).unwrap().len(), 1, "search goes on");
    drop(store);
    let mut store = open(&disk.reopen(), FIRST_KEY).unwrap();
    store.enrol(&name(3), &[&template(3)], 0).unwrap();
    drop(store);
    for seed in 0..50 {
        let store = open(&disk.crash(seed), FIRST_KEY).unwrap();
        assert!(store.find(&name(1)).is_some() && store.find(&name(3)).is_some());
    }
}

#[test]
fn a_wipe_leaves_nothing_readable() {
    let disk = FaultDisk::default();
    let mut store = open(&disk, FIRST_KEY).unwrap();
    store.enrol(&name(1), &[&template(1), &template(2)], 0).unwrap();
    let before = disk.content().unwrap();
    let wrapped_key = &before[40..112];
    let record = &before[256 + 104..256 + 104 + 32];
    store.wipe().unwrap();
    assert!(store.is_empty());
    let medium = disk.all_durable_bytes();
    for secret in [wrapped_key, record] {
        assert!(!medium.windows(secret.len()).any(|w| w == secret));
    }
    // The old file put back is older than the new, empty one.
    let options = StoreOptions { min_counter: store.counter(), ..OPTIONS };
    let old = FaultDisk::with_content(&before);
    assert_eq!(
        Store::open_on(Box::new(old), &key(FIRST_KEY), options).unwrap_err().kind(),
        ErrorKind::RolledBack
    );
}

#[test]
fn the_disk_double_counts_its_time() {
    let mut disk = FaultDisk::default();
    disk.create(Slot::Live).unwrap();
    disk.write_at(Slot::Live, 0, &[0; 9]).unwrap();
    disk.sync(Slot::Live).unwrap();
    assert_eq!(disk.elapsed(), (11, 3));
}
