//! Pictures by name from a folder or a tar archive.

use crate::report::{Exit, Failure};
use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Component, Path, PathBuf};

/// The largest picture taken from an archive, in bytes.
const MAX_ENTRY: u64 = 128 << 20;

/// Where pictures come from. May be read by several threads at once.
pub enum Source {
    /// A folder.
    Folder(PathBuf),
    /// An uncompressed tar archive, read in place.
    Tar {
        /// Its name for messages.
        path: PathBuf,
        /// The open archive.
        file: File,
        /// Offset and length of every regular file in it.
        entries: HashMap<String, (u64, u64)>,
    },
}

impl Source {
    /// Opens a folder, or a tar archive and reads its table of contents.
    pub fn open(path: &Path) -> Result<Source, Failure> {
        let failed =
            |e: std::io::Error| Failure::new(Exit::Input, format!("{}: {e}", path.display()));
        let file = File::open(path).map_err(failed)?;
        if file.metadata().map_err(failed)?.is_dir() {
            return Ok(Source::Folder(path.to_owned()));
        }
        let mut entries = HashMap::new();
        let mut archive = tar::Archive::new(&file);
        let not_tar = |e: std::io::Error| {
            Failure::new(
                Exit::Input,
                format!("{}: not a readable tar archive: {e}", path.display()),
            )
        };
        for entry in archive.entries_with_seek().map_err(not_tar)? {
            let entry = entry.map_err(not_tar)?;
            if entry.header().entry_type().is_file() {
                let name = entry.path().map_err(not_tar)?.to_string_lossy().into_owned();
                let name = name.strip_prefix("./").unwrap_or(&name).to_owned();
                entries.insert(name, (entry.raw_file_position(), entry.size()));
            }
        }
        if entries.is_empty() {
            return Err(Failure::new(
                Exit::Input,
                format!("{}: no files in this archive", path.display()),
            ));
        }
        Ok(Source::Tar { path: path.to_owned(), file, entries })
    }

    /// The bytes of the picture called `name`; the error names the file and the cause. Names that leave the folder are refused.
    pub fn read(&self, name: &str) -> Result<Vec<u8>, String> {
        match self {
            Source::Folder(folder) => {
                let inside = Path::new(name)
                    .components()
                    .all(|c| matches!(c, Component::Normal(_) | Component::CurDir));
                if !inside {
                    return Err(format!("{name}: the name leads out of {}", folder.display()));
                }
                let path = folder.join(name);
                let shown = path.display();
                let size = std::fs::metadata(&path).map_err(|e| format!("{shown}: {e}"))?.len();
                if size > MAX_ENTRY {
                    return Err(format!(
                        "{shown}: the file is larger than {} MiB",
                        MAX_ENTRY >> 20
                    ));
                }
                std::fs::read(&path).map_err(|e| format!("{shown}: {e}"))
            }
            Source::Tar { path, file, entries } => {
                let shown = path.display();
                let &(offset, size) =
                    entries.get(name).ok_or_else(|| format!("{name}: not in {shown}"))?;
                if size > MAX_ENTRY {
                    return Err(format!("{name} in {shown}: larger than {} MiB", MAX_ENTRY >> 20));
                }
                let mut bytes = vec![0; size as usize];
                file.read_exact_at(&mut bytes, offset)
                    .map_err(|e| format!("{name} in {shown}: {e}"))?;
                Ok(bytes)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folder_and_archive_give_the_same_bytes() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("sub")).unwrap();
        std::fs::write(dir.path().join("sub/a.jpg"), b"abc").unwrap();
        std::fs::write(dir.path().join("b.jpg"), vec![7; 1000]).unwrap();
        let tar_path = dir.path().join("all.tar");
        let mut builder = tar::Builder::new(File::create(&tar_path).unwrap());
        builder.append_path_with_name(dir.path().join("sub/a.jpg"), "./sub/a.jpg").unwrap();
        builder.append_path_with_name(dir.path().join("b.jpg"), "b.jpg").unwrap();
        builder.finish().unwrap();
        for source in [Source::open(dir.path()).unwrap(), Source::open(&tar_path).unwrap()] {
            assert_eq!(source.read("sub/a.jpg").unwrap(), b"abc");
            assert_eq!(source.read("b.jpg").unwrap(), vec![7; 1000]);
            assert!(source.read("c.jpg").unwrap_err().contains("c.jpg"));
            assert!(source.read("../b.jpg").is_err());
            assert!(source.read("/etc/hostname").is_err());
        }
        assert!(Source::open(&dir.path().join("b.jpg")).is_err());
        assert!(Source::open(&dir.path().join("nothing")).is_err());
    }

    #[test]
    fn a_cut_archive_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("cut.tar");
        let mut builder = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_size(2000);
        header.set_cksum();
        builder.append_data(&mut header, "a", &[1u8; 2000][..]).unwrap();
        let bytes = builder.into_inner().unwrap();
        std::fs::write(&path, &bytes[..1000]).unwrap();
        let read = Source::open(&path).map_err(|f| f.message).and_then(|s| s.read("a"));
        assert!(read.is_err());
    }
}
