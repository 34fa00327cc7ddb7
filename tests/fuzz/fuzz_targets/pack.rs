//! Any bytes: a pack or an error, never a panic, never memory out of proportion to the input.
#![no_main]

use keyface::engine::Recogniser;
use keyface::pack::{Pack, Trust};
use libfuzzer_sys::fuzz_target;
use sha2::{Digest, Sha256};

fuzz_target!(|data: &[u8]| {
    let _ = Pack::from_bytes(data, Trust::Anyone);
    // Behind the right digest the structure itself is reached.
    if data.len() >= 64 {
        let mut sealed = data.to_vec();
        sealed[24] = 0;
        let mut hash = Sha256::new();
        hash.update(&sealed[..32]);
        hash.update(&sealed[64..]);
        let digest = hash.finalize();
        sealed[32..64].copy_from_slice(&digest);
        if let Ok(pack) = Pack::from_bytes(&sealed, Trust::Anyone) {
            for section in pack.sections() {
                assert_eq!(pack.bytes(section).len(), section.byte_len());
            }
            let _ = Recogniser::new(&pack);
        }
    }
});
