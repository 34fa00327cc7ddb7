//! The durable gallery on real files: keys, locks, tampering, rotation, readers, privacy.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use keyface::gallery::fault::FaultDisk;
use keyface::gallery::{HostKey, PersonName, Reader, Store, StoreOptions};
use keyface::template::{ModelId, Template};
use keyface::ErrorKind;

const OLD: ModelId = ModelId([1; 32]);
const NEW: ModelId = ModelId([2; 32]);
const OPTIONS: StoreOptions = StoreOptions { capacity: 1000, min_counter: 0 };

fn key(n: u8) -> HostKey {
    HostKey::new(&[n; 32])
}

fn name(s: &str) -> PersonName {
    PersonName::new(s).unwrap()
}

fn template_of(model: ModelId, seed: u64, dim: u64) -> Template {
    let v: Vec<f32> =
        (0..dim).map(|i| ((seed * 7919 + i * i * 104_729) % 1009) as f32 - 504.0).collect();
    Template::from_embedding(&v, model).unwrap()
}

fn template(seed: u64) -> Template {
    template_of(OLD, seed, 64)
}

struct Place {
    _dir: tempfile::TempDir,
    path: PathBuf,
}

fn place() -> Place {
    let dir = tempfile::tempdir().unwrap();
    Place { path: dir.path().join("door.gallery"), _dir: dir }
}

fn open(path: &Path) -> keyface::Result<Store> {
    Store::open(path, &key(1), OPTIONS)
}

#[test]
fn people_survive_and_can_be_listed_exported_removed() {
    let at = place();
    let mut store = open(&at.path).unwrap();
    let ann = store.enrol(&name("Ann"), &[&template(1), &template(2)], 77).unwrap();
    store.enrol(&name("Bob"), &[&template(3)], 78).unwrap();
    assert_eq!(store.enrol(&name("Ann"), &[&template(4)], 79).unwrap(), ann);
    let counter = store.counter();
    drop(store);
    let mut store = open(&at.path).unwrap();
    assert_eq!((store.counter(), store.len(), store.discarded()), (counter, 4, 0));
    let people = store.people();
    assert_eq!(
        people.iter().map(|p| (p.name.as_str(), p.templates)).collect::<Vec<_>>(),
        [("Ann", 3), ("Bob", 1)]
    );
    let exported = store.export(&name("Ann")).unwrap();
    assert_eq!(exported.iter().map(|t| t.at_ms).collect::<Vec<_>>(), [77, 77, 79]);
    assert!(exported.iter().all(|t| t.model == OLD && t.q.len() == 64 && t.person == ann));
    let hit = store.search::<2>(&template(3)).unwrap()[0];
    assert_eq!(Some(hit.person), store.find(&name("Bob")));
    assert_eq!(store.remove(&name("Ann")).unwrap(), 3);
    assert_eq!(store.remove(&name("Ann")).unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(store.export(&name("Ann")).unwrap_err().kind(), ErrorKind::NotFound);
    drop(store);
    assert_eq!(open(&at.path).unwrap().people().len(), 1);
}

#[test]
fn numbers_are_not_given_twice() {
    let at = place();
    let mut store = open(&at.path).unwrap();
    store.enrol(&name("Ann"), &[&template(1)], 0).unwrap();
    let bob = store.enrol(&name("Bob"), &[&template(2)], 0).unwrap();
    store.remove(&name("Bob")).unwrap();
    store.compact().unwrap();
    drop(store);
    let mut store = open(&at.path).unwrap();
    assert!(store.enrol(&name("Cid"), &[&template(3)], 0).unwrap() > bob);
}

#[test]
fn errors_say_what_to_do() {
    let at = place();
    let mut store = open(&at.path).unwrap();
    assert_eq!(open(&at.path).unwrap_err().kind(), ErrorKind::Locked);
    store.enrol(&name("Ann"), &[&template(1)], 0).unwrap();
    let other = template_of(NEW, 1, 64);
    assert_eq!(
        store.enrol(&name("Ann"), &[&other], 0).unwrap_err().kind(),
        ErrorKind::ModelMismatch
    );
    assert_eq!(store.search::<1>(&other).unwrap_err().kind(), ErrorKind::ModelMismatch);
    assert_eq!(store.enrol(&name("Ann"), &[], 0).unwrap_err().kind(), ErrorKind::InvalidArgument);
    assert_eq!(
        store.replace(&name("Bob"), &[&template(1)], 0).unwrap_err().kind(),
        ErrorKind::NotFound
    );
    let counter = store.counter();
    drop(store);
    assert_eq!(Store::open(&at.path, &key(2), OPTIONS).unwrap_err().kind(), ErrorKind::WrongKey);
    let later = StoreOptions { min_counter: counter + 1, ..OPTIONS };
    assert_eq!(Store::open(&at.path, &key(1), later).unwrap_err().kind(), ErrorKind::RolledBack);
    for capacity in [0, 100_001] {
        let options = StoreOptions { capacity, ..OPTIONS };
        assert_eq!(
            Store::open(&at.path, &key(1), options).unwrap_err().kind(),
            ErrorKind::InvalidArgument
        );
    }
    std::fs::remove_file(&at.path).unwrap();
    assert_eq!(Store::open(&at.path, &key(1), later).unwrap_err().kind(), ErrorKind::RolledBack);
    assert_eq!(Reader::open(&at.path, &key(1), OPTIONS).unwrap_err().kind(), ErrorKind::NotFound);
    let nowhere = at.path.join("no/such/dir");
    assert_eq!(open(&nowhere).unwrap_err().kind(), ErrorKind::Io);
    std::fs::write(&at.path, b"").unwrap();
    assert_eq!(open(&at.path).unwrap_err().kind(), ErrorKind::DamagedGallery);
    assert_eq!(
        std::fs::metadata(&at.path).unwrap().len(),
        0,
        "a file that is no gallery is left alone"
    );
}

#[test]
fn capacity_is_a_clear_error_and_changes_nothing() {
    let at = place();
    let small = StoreOptions { capacity: 3, ..OPTIONS };
    let mut store = Store::open(&at.path, &key(1), small).unwrap();
    store.enrol(&name("Ann"), &[&template(1), &template(2)], 0).unwrap();
    let two = [&template(3), &template(4)];
    assert_eq!(store.enrol(&name("Bob"), &two, 0).unwrap_err().kind(), ErrorKind::CapacityExceeded);
    assert!(store.find(&name("Bob")).is_none());
    store.replace(&name("Ann"), &[&template(5), &template(6), &template(7)], 0).unwrap();
    drop(store);
    let smaller = StoreOptions { capacity: 2, ..OPTIONS };
    assert_eq!(
        Store::open(&at.path, &key(1), smaller).unwrap_err().kind(),
        ErrorKind::CapacityExceeded
    );
    assert_eq!(Store::open(&at.path, &key(1), small).unwrap().len(), 3);
}

#[test]
fn every_changed_byte_is_noticed() {
    // Changes 1 to 3 are followed by another; a change in the last cannot be told from a torn write, but the host's counter tells.
    let at = place();
    let mut store = open(&at.path).unwrap();
    let mut ends = vec![];
    for n in 1..=4 {
        ends.push(std::fs::metadata(&at.path).unwrap().len() as usize);
        store.enrol(&name(&format!("p{n}")), &[&template(n)], 0).unwrap();
    }
    let counter = store.counter();
    drop(store);
    let good = std::fs::read(&at.path).unwrap();
    for byte in 0..good.len() {
        // The wipe's fields are not covered: whoever writes the file may destroy it.
        if (120..256).contains(&byte) {
            continue;
        }
        let mut bad = good.clone();
        bad[byte] ^= 1 << (byte % 8);
        let trusting = Store::open_on(Box::new(FaultDisk::with_content(&bad)), &key(1), OPTIONS);
        if byte < ends[3] {
            assert_eq!(trusting.unwrap_err().kind(), ErrorKind::DamagedGallery, "byte {byte}");
        } else {
            let store = trusting.unwrap();
            assert_eq!(store.people().len(), 3);
            assert!(store.discarded() > 0);
        }
        let options = StoreOptions { min_counter: counter, ..OPTIONS };
        let kind = Store::open_on(Box::new(FaultDisk::with_content(&bad)), &key(1), options)
            .unwrap_err()
            .kind();
        assert!(matches!(kind, ErrorKind::DamagedGallery | ErrorKind::RolledBack), "byte {byte}");
    }
}

#[test]
fn records_cannot_be_dropped_moved_or_spliced() {
    let at = place();
    let mut store = open(&at.path).unwrap();
    let mut ends = vec![std::fs::metadata(&at.path).unwrap().len() as usize];
    for n in 1..=3 {
        store.enrol(&name(&format!("p{n}")), &[&template(n)], 0).unwrap();
        ends.push(std::fs::metadata(&at.path).unwrap().len() as usize);
    }
    drop(store);
    let good = std::fs::read(&at.path).unwrap();
    let record = |n: usize| &good[ends[n - 1]..ends[n]];
    let header = &good[..ends[0]];
    let opens = |parts: &[&[u8]]| {
        Store::open_on(Box::new(FaultDisk::with_content(&parts.concat())), &key(1), OPTIONS)
            .map(|s| s.people().len())
    };
    assert_eq!(opens(&[header, record(1), record(2), record(3)]).unwrap(), 3);
    assert_eq!(
        opens(&[header, record(1), record(2)]).unwrap(),
        2,
        "an old copy: for the counter to tell"
    );
    for bad in [
        [record(2), record(1), record(3)],
        [record(1), record(3), record(2)],
        [record(1), record(1), record(2)],
    ] {
        let people = opens(&[header, bad[0], bad[1], bad[2]]);
        assert!(
            people.as_ref().map_or_else(|e| e.kind() == ErrorKind::DamagedGallery, |&n| n <= 1),
            "{people:?}"
        );
    }
    // A record of another gallery under the same host key.
    let other = place();
    let mut store = open(&other.path).unwrap();
    store.enrol(&name("mallory"), &[&template(9)], 0).unwrap();
    drop(store);
    let foreign = std::fs::read(&other.path).unwrap();
    assert_eq!(opens(&[header, &foreign[ends[0]..]]).unwrap(), 0);
    assert_eq!(opens(&[header, record(1), record(2), record(3), &foreign[ends[0]..]]).unwrap(), 3);
}

#[test]
fn rotation_changes_both_keys() {
    let at = place();
    let mut store = open(&at.path).unwrap();
    store.enrol(&name("Ann"), &[&template(1)], 5).unwrap();
    let before = std::fs::read(&at.path).unwrap();
    store.rotate_key(&key(9)).unwrap();
    store.enrol(&name("Bob"), &[&template(2)], 6).unwrap();
    drop(store);
    let after = std::fs::read(&at.path).unwrap();
    assert!(!after.windows(32).any(|w| w == &before[64..96]));
    assert_eq!(open(&at.path).unwrap_err().kind(), ErrorKind::WrongKey);
    let store = Store::open(&at.path, &key(9), OPTIONS).unwrap();
    assert_eq!(store.people().len(), 2);
    assert_eq!(store.export(&name("Ann")).unwrap()[0].at_ms, 5);
}

#[test]
fn compaction_forgets_what_was_removed() {
    let at = place();
    let mut store = open(&at.path).unwrap();
    for round in 0..400u64 {
        store.enrol(&name("Ann"), &[&template(round)], 0).unwrap();
        store.remove(&name("Ann")).unwrap();
    }
    let size = std::fs::metadata(&at.path).unwrap().len();
    assert!(size < 100_000, "the log is rewritten by itself: {size}");
    let counter = store.counter();
    store.compact().unwrap();
    assert!(store.counter() > counter);
    assert!(std::fs::metadata(&at.path).unwrap().len() < 1000);
}

#[test]
fn a_new_model_lives_beside_the_old_one() {
    let at = place();
    let mut store = open(&at.path).unwrap();
    store.enrol(&name("Ann"), &[&template(1)], 0).unwrap();
    store.enrol(&name("Bob"), &[&template(2)], 0).unwrap();
    store.set_model(NEW).unwrap();
    // Another dimension is no obstacle.
    let ann = template_of(NEW, 1, 128);
    store.enrol(&name("Ann"), &[&ann], 0).unwrap();
    assert_eq!(
        store.enrol(&name("Bob"), &[&template(3)], 0).unwrap_err().kind(),
        ErrorKind::ModelMismatch
    );
    store.compact().unwrap();
    drop(store);
    let mut store = open(&at.path).unwrap();
    assert_eq!(store.model(), Some(NEW));
    assert_eq!(store.people().iter().map(|p| p.templates).collect::<Vec<_>>(), [2, 1]);
    assert_eq!(
        store.search::<1>(&template(2)).unwrap()[0].person,
        store.find(&name("Bob")).unwrap()
    );
    assert_eq!(store.search::<3>(&ann).unwrap().len(), 1);
    assert_eq!(store.remove_model(NEW).unwrap_err().kind(), ErrorKind::InvalidArgument);
    store.remove_model(OLD).unwrap();
    assert_eq!(store.people().len(), 1);
    assert_eq!(store.search::<1>(&template(2)).unwrap_err().kind(), ErrorKind::ModelMismatch);
}

#[test]
fn readers_follow_the_writer() {
    let at = place();
    let mut store = open(&at.path).unwrap();
    let mut reader = Reader::open(&at.path, &key(1), OPTIONS).unwrap();
    store.enrol(&name("Ann"), &[&template(1)], 0).unwrap();
    assert!(reader.people().is_empty());
    assert!(reader.refresh().unwrap());
    assert!(!reader.refresh().unwrap());
    assert_eq!(reader.search::<1>(&template(1)).unwrap().len(), 1);
    store.compact().unwrap();
    assert!(reader.refresh().unwrap());
    assert_eq!(reader.counter(), store.counter());
    // An old copy put under a running reader is refused, and the view stays.
    let copy = std::fs::read(&at.path).unwrap();
    store.enrol(&name("Bob"), &[&template(2)], 0).unwrap();
    reader.refresh().unwrap();
    std::fs::write(&at.path, copy).unwrap();
    assert_eq!(reader.refresh().unwrap_err().kind(), ErrorKind::RolledBack);
    assert_eq!(reader.people().len(), 2);
}

#[test]
fn files_are_private_and_unreadable() {
    let at = place();
    let mut store = open(&at.path).unwrap();
    store.enrol(&name("Annabel Lee"), &[&template(1)], 0).unwrap();
    let q = store.export(&name("Annabel Lee")).unwrap()[0]
        .q
        .iter()
        .map(|&v| v as u8)
        .collect::<Vec<_>>();
    let bytes = std::fs::read(&at.path).unwrap();
    assert_eq!(std::fs::metadata(&at.path).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(!bytes.windows(7).any(|w| w == b"Annabel"));
    assert!(!bytes.windows(8).any(|w| w == &q[..8]));
}

#[test]
fn no_biometric_value_in_debug_output_or_errors() {
    let at = place();
    let mut store = open(&at.path).unwrap();
    store.enrol(&name("Ann"), &[&template(1)], 0).unwrap();
    let hits = store.search::<1>(&template(2)).unwrap();
    let exported = store.export(&name("Ann")).unwrap();
    let reader = Reader::open(&at.path, &key(1), OPTIONS).unwrap();
    let gallery = store.gallery(OLD).unwrap();
    let mut text = format!(
        "{store:?} {hits:?} {exported:?} {reader:?} {gallery:?} {:?} {:?}",
        template(1),
        key(0x5a)
    );
    for error in [
        store.enrol(&name("B"), &[&template_of(NEW, 1, 64)], 0).unwrap_err(),
        open(&at.path).unwrap_err(),
    ] {
        text += &format!("{error} {error:?}");
    }
    for value in template(1).as_slice() {
        assert!(!text.contains(&format!("{value}")[..6]), "{text}");
    }
    let row: Vec<String> = exported[0].q[..3].iter().map(i8::to_string).collect();
    for secret in
        [row.join(", "), hits[0].score.to_string(), "90, 90".into(), "5a5a".into(), "0.".into()]
    {
        assert!(!text.contains(&secret), "{secret} in {text}");
    }
}
