//! Gallery files by hand: a second implementation of the format, for files that the store would never write.

use chacha20poly1305::aead::AeadInPlace;
use chacha20poly1305::{KeyInit, XChaCha20Poly1305};
use sha2::{Digest, Sha256};

/// A record before encryption. `Default` is a removal of record 0 as transaction 0.
#[derive(Debug, Clone, Default)]
pub struct Record {
    pub kind: u8,
    pub last: u8,
    pub index: u16,
    pub transaction: u64,
    pub record: u64,
    pub person: u64,
    pub model: u8,
    pub body: Vec<u8>,
}

fn seal(key: &[u8; 32], nonce: &[u8; 24], aad: &[u8], body: &mut [u8]) -> [u8; 16] {
    let sealed =
        XChaCha20Poly1305::new(key.into()).encrypt_in_place_detached(nonce.into(), aad, body);
    sealed.expect("short texts can be sealed").into()
}

/// A file under host key `host` with these records, genuine in every respect.
pub fn file(host: &[u8; 32], records: &[Record]) -> Vec<u8> {
    let data = [0x33; 32];
    let mut out = b"KFGALRY1".to_vec();
    out.extend(1u32.to_le_bytes());
    out.extend([0; 4]);
    out.extend([0x44; 16]);
    out.extend(0u64.to_le_bytes());
    let nonce = [0x55; 24];
    let mut wrapped = data;
    let tag = seal(host, &nonce, &out[..40], &mut wrapped);
    out.extend(nonce);
    out.extend(wrapped);
    out.extend(tag);
    let sum = Sha256::digest(&out);
    out.extend(&sum[..8]);
    out.resize(256, 0);
    let mut previous = tag;
    for (i, r) in records.iter().enumerate() {
        let mut fixed = (r.body.len() as u32).to_le_bytes().to_vec();
        fixed.extend([r.kind, r.last]);
        fixed.extend(r.index.to_le_bytes());
        fixed.extend(r.transaction.to_le_bytes());
        fixed.extend(r.record.to_le_bytes());
        fixed.extend(r.person.to_le_bytes());
        fixed.extend([r.model; 32]);
        fixed.extend(previous);
        let mut aad = 1u32.to_le_bytes().to_vec();
        aad.extend([0x44; 16]);
        aad.extend(&fixed);
        let mut nonce = [0x66; 24];
        nonce[..8].copy_from_slice(&(i as u64).to_le_bytes());
        let mut body = r.body.clone();
        previous = seal(&data, &nonce, &aad, &mut body);
        out.extend(fixed);
        out.extend(nonce);
        out.extend(body);
        out.extend(previous);
    }
    out
}

/// The body of a template record.
#[allow(dead_code)] // not every program that includes this file needs it
pub fn body(name: &[u8], name_length: u8, dim: u16, q: &[i8]) -> Vec<u8> {
    let mut out = vec![name_length];
    out.extend(name);
    out.resize(65, 0);
    out.extend(7u64.to_le_bytes());
    out.extend(dim.to_le_bytes());
    out.extend(q.iter().map(|&v| v as u8));
    out.resize(out.len().next_multiple_of(8), 0);
    out
}
