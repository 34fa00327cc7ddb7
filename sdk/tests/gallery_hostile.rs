//! Files that no store wrote: genuine ciphertext around nonsense, and plain nonsense. An error or an empty gallery, never a panic.

mod forge;

use forge::{body, file, Record};
use keyface::gallery::fault::FaultDisk;
use keyface::gallery::{HostKey, Store, StoreOptions};
use keyface::ErrorKind;
use proptest::prelude::*;

const HOST: [u8; 32] = [9; 32];

fn open(bytes: &[u8]) -> keyface::Result<Store> {
    let options = StoreOptions { capacity: 100, min_counter: 0 };
    Store::open_on(Box::new(FaultDisk::with_content(bytes)), &HostKey::new(&HOST), options)
}

fn add(record: u64, person: u64, name: &str) -> Record {
    let q = [1, -2, 3, 127, -128, 0, 5, 6];
    let body = body(name.as_bytes(), name.len() as u8, 8, &q);
    Record {
        kind: 1,
        last: 1,
        transaction: record,
        record,
        person,
        model: 1,
        body,
        ..Record::default()
    }
}

#[test]
fn the_second_implementation_agrees_with_the_first() {
    let store = open(&file(&HOST, &[add(1, 1, "Ann"), add(2, 2, "Bob")])).unwrap();
    assert_eq!(
        store.people().iter().map(|p| p.name.as_str().to_owned()).collect::<Vec<_>>(),
        ["Ann", "Bob"]
    );
    assert_eq!(store.export(&store.people()[0].name).unwrap()[0].q[..5], [1, -2, 3, 127, -128]);
}

#[test]
fn genuine_nonsense_is_refused() {
    let good = add(1, 1, "Ann");
    let with = |name: &[u8], length: u8, dim: u16, q: &[i8]| Record {
        body: body(name, length, dim, q),
        ..good.clone()
    };
    let three = [1i8, 2, 3];
    let singles = [
        Record { body: vec![], ..good.clone() },
        Record { body: vec![0; 64], ..good.clone() },
        Record { body: vec![0; 72], ..good.clone() },
        Record { body: vec![0; 592], ..good.clone() },
        Record { body: vec![0; 600], ..good.clone() },
        Record { body: vec![0; 601], ..good.clone() },
        with(b"", 0, 3, &three),
        with(b"Ann", 200, 3, &three),
        with(b"A\xffn", 3, 3, &three),
        with(b"A\nn", 3, 3, &three),
        with(b"Ann", 3, 0, &three),
        with(b"Ann", 3, 9, &three),
        with(b"Ann", 3, 513, &[1; 517]),
        with(b"Ann", 3, 65_535, &three),
        with(b"Ann", 3, 3, &[0, 0, 0]),
        Record { record: u64::MAX, ..good.clone() },
        Record { person: u64::MAX, ..good.clone() },
        Record { kind: 0, ..good.clone() },
        Record { kind: 6, ..good.clone() },
        Record { last: 2, ..good.clone() },
        Record { last: 0, ..good.clone() },
        Record { transaction: 0, ..good.clone() },
        Record { transaction: 2, ..good.clone() },
        Record { transaction: u64::MAX, ..good.clone() },
        Record { index: 1, ..good.clone() },
        Record { kind: 2, body: vec![], ..good.clone() },
        Record { kind: 3, body: vec![], ..good.clone() },
    ];
    for (i, record) in singles.iter().enumerate() {
        match open(&file(&HOST, std::slice::from_ref(record))) {
            Ok(store) => assert!(store.is_empty() && store.discarded() > 0, "case {i}"),
            Err(e) => assert_eq!(e.kind(), ErrorKind::DamagedGallery, "case {i}"),
        }
    }
    let pairs = [
        // One number, two names; one name, two numbers; another size; too long a transaction; a third model.
        vec![add(1, 1, "Ann"), add(2, 1, "Bob")],
        vec![add(1, 1, "Ann"), add(2, 2, "Ann")],
        vec![add(1, 1, "Ann"), Record { body: body(b"Ann", 3, 3, &three), ..add(2, 1, "Ann") }],
        (0..70)
            .map(|i| Record {
                transaction: 1,
                index: i,
                last: 0,
                ..add(u64::from(i) + 1, 1, "Ann")
            })
            .collect(),
        (1..4).map(|i| Record { model: i, ..add(u64::from(i), 1, "Ann") }).collect(),
    ];
    for (i, records) in pairs.iter().enumerate() {
        assert_eq!(
            open(&file(&HOST, records)).unwrap_err().kind(),
            ErrorKind::DamagedGallery,
            "case {i}"
        );
    }
    let many: Vec<Record> = (1..=101).map(|i| add(i, i, &format!("p{i}"))).collect();
    assert_eq!(open(&file(&HOST, &many)).unwrap_err().kind(), ErrorKind::CapacityExceeded);
}

#[test]
fn a_number_at_its_end_does_not_overflow() {
    let t =
        keyface::template::Template::from_embedding(&[1.0; 8], keyface::template::ModelId([1; 32]))
            .unwrap();
    let name = keyface::gallery::PersonName::new("Bob").unwrap();
    let most = 1 << 62;
    let mut store = open(&file(&HOST, &[Record { record: most, ..add(1, most, "Ann") }])).unwrap();
    store.enrol(&name, &[&t], 0).unwrap();
    store.compact().unwrap();
    assert!(open(&file(&HOST, &[Record { record: most + 1, ..add(1, 1, "Ann") }]))
        .unwrap()
        .is_empty());
    // The wipe's counter is nobody's word: a file with its mark is empty, and goes on counting.
    let mut wiped = file(&HOST, &[add(1, 1, "Ann")]);
    wiped[128..136].fill(0xff);
    wiped[136..144].copy_from_slice(b"KFWIPED!");
    let mut store = open(&wiped).unwrap();
    assert!(store.is_empty());
    store.enrol(&name, &[&t], 0).unwrap();
    store.wipe().unwrap();
    assert!(store.counter() > most);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(300) })]

    #[test]
    fn any_bytes_give_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
        prop_assert!(open(&bytes).is_err());
    }

    #[test]
    fn any_genuine_body_is_survived(
        records in proptest::collection::vec((1..6u8, 0..2u8, 0..4u64, 0..4u64, 0..3u8, proptest::collection::vec(any::<u8>(), 0..75)), 0..8),
    ) {
        let (mut transaction, mut index) = (1, 0);
        let records: Vec<Record> = records.into_iter().map(|(kind, last, record, person, model, mut body)| {
            body.resize(body.len() * 8, 1);
            let made = Record { kind, last, index, transaction, record, person, model, body };
            (transaction, index) = if last == 1 { (transaction + 1, 0) } else { (transaction, index + 1) };
            made
        }).collect();
        if let Err(e) = open(&file(&HOST, &records)) {
            prop_assert!(matches!(e.kind(), ErrorKind::DamagedGallery | ErrorKind::InvalidArgument));
        }
    }
}
