//! Genuine records around any content: what lies behind the decryption.
#![no_main]

#[path = "../../../sdk/tests/forge/mod.rs"]
mod forge;

use keyface::gallery::fault::FaultDisk;
use keyface::gallery::{HostKey, Store, StoreOptions};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let host = [9; 32];
    let (mut transaction, mut index) = (1, 0u16);
    let records: Vec<forge::Record> = data
        .split(|&b| b == 0xff)
        .filter(|r| r.len() >= 5)
        .map(|r| {
            let last = r[1] & 1;
            let mut body = r[5..r.len().min(600)].to_vec();
            body.resize(body.len().next_multiple_of(8), 0);
            let (kind, record, person, model) = (r[0] % 7, u64::from(r[2]), u64::from(r[3]), r[4]);
            let made = forge::Record { kind, last, index, transaction, record, person, model, body };
            (transaction, index) = if last == 1 { (transaction + 1, 0) } else { (transaction, index + 1) };
            made
        })
        .collect();
    let disk = FaultDisk::with_content(&forge::file(&host, &records));
    let options = StoreOptions { capacity: 64, min_counter: 0 };
    if let Ok(mut store) = Store::open_on(Box::new(disk), &HostKey::new(&host), options) {
        for person in store.people() {
            store.export(&person.name).expect("who is listed can be exported");
        }
        store.compact().expect("what was read can be written");
    }
});
