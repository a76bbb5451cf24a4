//! Edge. Which manifests there are, and their text.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::Error;

/// What tells one state of a file from the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    device: u64,
    inode: u64,
    modified: (i64, i64),
    changed: (i64, i64),
    bytes: u64,
}

/// A manifest larger than this is a mistake: a log, an image, a disk.
pub(super) const FILE_BYTES: u64 = 16 << 20;

/// Files of a folder at most.
pub(super) const FILES: usize = 10_000;

pub(super) fn text(path: &Path) -> Result<String, Error> {
    let bytes = fs::read(path).map_err(|source| Error::Io {
        path: path.to_owned(),
        source,
    })?;
    // Bytes that are no UTF-8 become marks, and the marks a finding with its line.
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

pub(super) fn find(paths: &[PathBuf]) -> Result<BTreeMap<PathBuf, Stamp>, Error> {
    let mut found = BTreeMap::new();
    for path in paths {
        let io = |source| Error::Io {
            path: path.clone(),
            source,
        };
        let metadata = fs::metadata(path).map_err(io)?;
        if !metadata.is_dir() {
            found.insert(path.clone(), stamp(path, &metadata)?);
            continue;
        }
        for entry in fs::read_dir(path).map_err(io)? {
            let file = entry.map_err(io)?.path();
            // A file that vanishes between the listing and this is simply not there.
            let Ok(metadata) = fs::metadata(&file) else {
                continue;
            };
            if metadata.is_file() && is_manifest(&file) {
                let stamp = stamp(&file, &metadata)?;
                found.insert(file, stamp);
            }
            if found.len() > FILES {
                return Err(Error::TooMany { path: path.clone() });
            }
        }
    }
    Ok(found)
}

fn is_manifest(path: &Path) -> bool {
    let visible = path
        .file_name()
        .is_some_and(|name| !name.as_encoded_bytes().starts_with(b"."));
    let ending = path.extension().and_then(|ending| ending.to_str());
    visible && matches!(ending, Some("yaml" | "yml" | "json"))
}

fn stamp(path: &Path, metadata: &fs::Metadata) -> Result<Stamp, Error> {
    if !metadata.is_file() {
        return Err(Error::NotAFile {
            path: path.to_owned(),
        });
    }
    if metadata.len() > FILE_BYTES {
        return Err(Error::TooLarge {
            path: path.to_owned(),
            bytes: metadata.len(),
        });
    }
    Ok(Stamp {
        device: metadata.dev(),
        inode: metadata.ino(),
        modified: (metadata.mtime(), metadata.mtime_nsec()),
        changed: (metadata.ctime(), metadata.ctime_nsec()),
        bytes: metadata.len(),
    })
}
