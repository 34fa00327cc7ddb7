//! Gallery files: the SDK's encrypted store, opened with a key file. The only place that knows how people are kept.

use crate::args::GalleryArgs;
use crate::report::{Exit, Failure};
use keyface::error::Error;
use keyface::gallery::{HostKey, PersonName, Reader, Store, StoreOptions};
use std::path::PathBuf;

/// The key file: as given, or the gallery's name with `.key` added.
fn key_path(args: &GalleryArgs) -> PathBuf {
    args.key.clone().unwrap_or_else(|| {
        let mut name = args.gallery.clone().into_os_string();
        name.push(".key");
        name.into()
    })
}

/// Every trouble with a gallery has one exit code.
pub fn failed(args: &GalleryArgs, error: Error) -> Failure {
    Failure::sdk(args.gallery.display(), error).with_exit(Exit::Gallery)
}

fn key(args: &GalleryArgs) -> Result<HostKey, Failure> {
    let path = key_path(args);
    HostKey::from_file(&path).map_err(|e| Failure::sdk(path.display(), e).with_exit(Exit::Gallery))
}

/// Opens a gallery that exists, for reading.
pub fn reader(args: &GalleryArgs) -> Result<Reader, Failure> {
    check_exists(args)?;
    Reader::open(&args.gallery, &key(args)?, StoreOptions::default()).map_err(|e| failed(args, e))
}

/// Opens a gallery that exists, for changes.
pub fn writer(args: &GalleryArgs) -> Result<Store, Failure> {
    check_exists(args)?;
    Store::open(&args.gallery, &key(args)?, StoreOptions::default()).map_err(|e| failed(args, e))
}

/// Opens a gallery for changes, and makes it, and a key file where none is, if there is no gallery. Returns the path of a new key file.
pub fn writer_or_new(args: &GalleryArgs) -> Result<(Store, Option<PathBuf>), Failure> {
    let path = key_path(args);
    let new = !args.gallery.exists() && !path.exists();
    let key = if new {
        HostKey::create_file(&path)
            .map_err(|e| Failure::sdk(path.display(), e).with_exit(Exit::Gallery))?
    } else {
        key(args)?
    };
    match Store::open(&args.gallery, &key, StoreOptions::default()) {
        Ok(store) => Ok((store, new.then_some(path))),
        Err(e) => {
            if new {
                // It opens nothing.
                let _ = std::fs::remove_file(&path);
            }
            Err(failed(args, e))
        }
    }
}

/// A person's name from the command line.
pub fn name(text: &str) -> Result<PersonName, Failure> {
    PersonName::new(text).map_err(|e| Failure::sdk("NAME", e).with_exit(Exit::Usage))
}

fn check_exists(args: &GalleryArgs) -> Result<(), Failure> {
    match std::fs::metadata(&args.gallery) {
        Ok(meta) if meta.is_file() => Ok(()),
        Ok(_) => Err(Failure::new(
            Exit::Gallery,
            format!("{}: not a gallery file", args.gallery.display()),
        )),
        Err(e) => {
            Err(Failure::new(Exit::Gallery, format!("{}: no gallery: {e}", args.gallery.display())))
        }
    }
}
