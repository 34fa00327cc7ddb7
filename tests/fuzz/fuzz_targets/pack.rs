//! Any bytes, and any damage to a sound pack: a pack or an error, never a panic, never memory out of proportion to the input.
#![no_main]

#[allow(dead_code)]
#[path = "../../../sdk/tests/support/mod.rs"]
mod support;

use keyface::engine::Recogniser;
use keyface::pack::{Pack, Precision, Trust};
use libfuzzer_sys::fuzz_target;
use sha2::{Digest, Sha256};
use std::sync::OnceLock;

/// A pack of a small network.
fn sound() -> &'static [u8] {
    static SOUND: OnceLock<Vec<u8>> = OnceLock::new();
    SOUND.get_or_init(|| {
        support::pack_bytes(&support::manifest(support::conv_stem(), Precision::Int8), 1)
    })
}

/// Behind the right digest the structure itself is reached.
fn look_into(mut bytes: Vec<u8>) {
    if bytes.len() < 64 {
        return;
    }
    bytes[24] = 0;
    let digest = Sha256::new().chain_update(&bytes[..32]).chain_update(&bytes[64..]).finalize();
    bytes[32..64].copy_from_slice(&digest);
    if let Ok(pack) = Pack::from_bytes(&bytes, Trust::Anyone) {
        for section in pack.sections() {
            assert_eq!(pack.bytes(section).len(), section.byte_len());
        }
        let _ = Recogniser::new(&pack);
    }
}

fuzz_target!(|data: &[u8]| {
    let _ = Pack::from_bytes(data, Trust::Anyone);
    look_into(data.to_vec());
    let mut bytes = sound().to_vec();
    for edit in data.chunks_exact(4) {
        let at = usize::from(u16::from_le_bytes([edit[0], edit[1]]));
        match edit[2] % 8 {
            0 => bytes.truncate(at),
            1 => bytes.insert(at.min(bytes.len()), edit[3]),
            _ => bytes.get_mut(at).into_iter().for_each(|b| *b ^= edit[3]),
        }
    }
    look_into(bytes);
});
