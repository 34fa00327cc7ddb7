//! Keys: the host's, and the gallery's own under it.

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use chacha20poly1305::aead::AeadInPlace;
use chacha20poly1305::{KeyInit, XChaCha20Poly1305};
use zeroize::Zeroizing;

use crate::error::{Error, ErrorKind, Result};

/// Bytes of a nonce: long enough that random ones never meet.
pub(super) const NONCE: usize = 24;
/// Bytes of an authentication tag.
pub(super) const TAG: usize = 16;
/// Bytes of a key.
pub(super) const KEY: usize = 32;

/// The host's key: it opens the gallery's own key and nothing else. Wiped on drop.
///
/// Best kept in a secure element or a TPM and handed over by [`HostKey::from_callback`]; a key file on the same card as the gallery
/// protects against little (THREATS.md).
#[derive(Clone)]
pub struct HostKey(Zeroizing<[u8; KEY]>);

impl std::fmt::Debug for HostKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("HostKey(..)")
    }
}

impl HostKey {
    /// Takes 32 bytes. They must be random: no key stretching happens here.
    #[must_use]
    pub fn new(bytes: &[u8; KEY]) -> Self {
        HostKey(Zeroizing::new(*bytes))
    }

    /// Lets `fill` write the key in place, so that no copy stays behind.
    ///
    /// # Errors
    /// Those of `fill`.
    pub fn from_callback(fill: impl FnOnce(&mut [u8; KEY]) -> Result<()>) -> Result<Self> {
        let mut key = HostKey(Zeroizing::new([0; KEY]));
        fill(&mut key.0)?;
        Ok(key)
    }

    /// Reads a key file: 32 bytes, a regular file of this process's user that nobody else may read or write.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] if it cannot be read; [`ErrorKind::InvalidArgument`] for a wrong size, mode or owner.
    pub fn from_file(path: &Path) -> Result<Self> {
        let mut file = File::open(path).map_err(|e| Error::io("open the key file", &e))?;
        let meta = file.metadata().map_err(|e| Error::io("inspect the key file", &e))?;
        if !meta.is_file() || meta.len() != KEY as u64 {
            return Err(Error::new(
                ErrorKind::InvalidArgument,
                "a key file is a regular file of 32 bytes",
            ));
        }
        if meta.mode() & 0o077 != 0 {
            return Err(Error::new(
                ErrorKind::InvalidArgument,
                "the key file is open to others: set its mode to 0600",
            ));
        }
        HostKey::from_callback(|key| {
            file.read_exact(key).map_err(|e| Error::io("read the key file", &e))
        })
    }

    /// Makes a random key and a new key file of mode 0600 with it, durable on return.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] if the file exists or cannot be written.
    pub fn create_file(path: &Path) -> Result<Self> {
        let key = HostKey::from_callback(|key| random(key))?;
        let write = || {
            let mut file = File::options().write(true).create_new(true).mode(0o600).open(path)?;
            file.write_all(&*key.0)?;
            file.sync_all()?;
            let parent =
                path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
            File::open(parent)?.sync_all()
        };
        write().map_err(|e| Error::io("write the key file", &e))?;
        Ok(key)
    }

    /// Encrypts a data key.
    pub(super) fn wrap(
        &self,
        data: &DataKey,
        nonce: &[u8; NONCE],
        aad: &[u8],
    ) -> Result<([u8; KEY], [u8; TAG])> {
        let mut sealed = *data.0;
        let tag = seal(&self.0, nonce, aad, &mut sealed)?;
        Ok((sealed, tag))
    }

    /// Decrypts a data key.
    pub(super) fn unwrap(
        &self,
        sealed: &[u8; KEY],
        nonce: &[u8; NONCE],
        aad: &[u8],
        tag: &[u8; TAG],
    ) -> Result<DataKey> {
        let mut data = DataKey(Zeroizing::new(*sealed));
        if !open(&self.0, nonce, aad, &mut *data.0, tag) {
            return Err(Error::new(ErrorKind::WrongKey, "the host key does not open this gallery"));
        }
        Ok(data)
    }
}

/// The key of one gallery file: random, never leaves the process in clear, new at each rewrite. Wiped on drop.
pub(super) struct DataKey(Zeroizing<[u8; KEY]>);

impl DataKey {
    pub(super) fn generate() -> Result<Self> {
        let mut key = Zeroizing::new([0; KEY]);
        random(&mut *key)?;
        Ok(DataKey(key))
    }

    pub(super) fn seal(
        &self,
        nonce: &[u8; NONCE],
        aad: &[u8],
        body: &mut [u8],
    ) -> Result<[u8; TAG]> {
        seal(&self.0, nonce, aad, body)
    }

    /// False, and `body` of no meaning, if anything was changed.
    pub(super) fn open(
        &self,
        nonce: &[u8; NONCE],
        aad: &[u8],
        body: &mut [u8],
        tag: &[u8; TAG],
    ) -> bool {
        open(&self.0, nonce, aad, body, tag)
    }
}

/// Fills `into` from the operating system's generator.
pub(super) fn random(into: &mut [u8]) -> Result<()> {
    getrandom::fill(into)
        .map_err(|_| Error::new(ErrorKind::Io, "the operating system gives no random numbers"))
}

fn seal(key: &[u8; KEY], nonce: &[u8; NONCE], aad: &[u8], body: &mut [u8]) -> Result<[u8; TAG]> {
    XChaCha20Poly1305::new(key.into())
        .encrypt_in_place_detached(nonce.into(), aad, body)
        .map(Into::into)
        .map_err(|_| Error::new(ErrorKind::Internal, "encryption failed"))
}

fn open(
    key: &[u8; KEY],
    nonce: &[u8; NONCE],
    aad: &[u8],
    body: &mut [u8],
    tag: &[u8; TAG],
) -> bool {
    XChaCha20Poly1305::new(key.into())
        .decrypt_in_place_detached(nonce.into(), aad, body, tag.into())
        .is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_key_file_must_be_private() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        let made = HostKey::create_file(&path).unwrap();
        assert_eq!(HostKey::from_file(&path).unwrap().0, made.0);
        assert_eq!(
            HostKey::create_file(&path).unwrap_err().kind(),
            ErrorKind::Io,
            "an old key is never overwritten"
        );
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        assert_eq!(HostKey::from_file(&path).unwrap_err().kind(), ErrorKind::InvalidArgument);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        std::fs::write(&path, [1; 31]).unwrap();
        assert_eq!(HostKey::from_file(&path).unwrap_err().kind(), ErrorKind::InvalidArgument);
        assert_eq!(HostKey::from_file(dir.path()).unwrap_err().kind(), ErrorKind::InvalidArgument);
    }

    #[test]
    fn wrapped_keys_open_only_as_they_were() {
        let (host, data) = (HostKey::new(&[1; 32]), DataKey::generate().unwrap());
        let (sealed, tag) = host.wrap(&data, &[2; 24], b"file").unwrap();
        assert_eq!(host.unwrap(&sealed, &[2; 24], b"file", &tag).unwrap().0, data.0);
        assert_ne!(sealed, *data.0);
        let wrong = HostKey::new(&[3; 32]).unwrap(&sealed, &[2; 24], b"file", &tag);
        assert_eq!(wrong.err().map(|e| e.kind()), Some(ErrorKind::WrongKey));
        assert!(host.unwrap(&sealed, &[2; 24], b"other", &tag).is_err());
    }

    #[test]
    fn keys_do_not_print() {
        assert_eq!(format!("{:?}", HostKey::new(&[0x41; 32])), "HostKey(..)");
    }
}
