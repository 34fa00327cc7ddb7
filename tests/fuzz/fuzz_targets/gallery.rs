//! Any bytes as a gallery file, and any damage to a sound one: an error or a prefix of what was there, never a panic.
#![no_main]

#[path = "../../../sdk/tests/forge/mod.rs"]
mod forge;

use keyface::gallery::fault::FaultDisk;
use keyface::gallery::{HostKey, Store, StoreOptions};
use libfuzzer_sys::fuzz_target;

const HOST: [u8; 32] = [9; 32];
const OPTIONS: StoreOptions = StoreOptions { capacity: 64, min_counter: 0 };

fn open(bytes: &[u8]) -> keyface::Result<Store> {
    Store::open_on(Box::new(FaultDisk::with_content(bytes)), &HostKey::new(&HOST), OPTIONS)
}

fuzz_target!(|data: &[u8]| {
    let _ = open(data);
    let sound: Vec<forge::Record> = (1..=4u64)
        .map(|n| forge::Record {
            kind: 1,
            last: 1,
            transaction: n,
            record: n,
            person: n,
            model: 1,
            body: forge::body(&[b'a' + n as u8], 1, 4, &[n as i8, 2, 3, 4]),
            ..forge::Record::default()
        })
        .collect();
    let mut bytes = forge::file(&HOST, &sound);
    for edit in data.chunks_exact(4) {
        let at = usize::from(u16::from_le_bytes([edit[0], edit[1]]));
        match edit[2] % 3 {
            0 => bytes.truncate(at),
            1 => bytes.push(edit[3]),
            _ => bytes.get_mut(at).into_iter().for_each(|b| *b ^= edit[3]),
        }
    }
    if let Ok(store) = open(&bytes) {
        for (i, person) in store.people().iter().enumerate() {
            assert_eq!(person.name.as_str().as_bytes(), [b'b' + i as u8]);
        }
    }
});
