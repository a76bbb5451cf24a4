//! Edge. The last good snapshot on disk: what a data plane serves when it starts without an operator.
//!
//! One file: a line of JSON (format, build, pool, checksum, share), then a whole `Update`. It is written
//! beside and renamed, so a crash or a full disk leaves the former one.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use prost::Message;
use serde::{Deserialize, Serialize};
use tcpforward_protocol::version::Hash;
use tcpforward_protocol::{CHANGE_BYTES, proto, wire};

use crate::place::Share;
use crate::sync::assemble::Held;

/// A snapshot from an earlier life.
#[derive(Debug)]
pub(crate) struct LastGood {
    pub(crate) held: Held,
    /// Whether an operator may send only what changed since: this same program wrote all of it.
    pub(crate) complete: Complete,
    /// This data plane's part of pool-wide limits, as it was told last.
    pub(crate) share: Option<Share>,
}

/// Whether a stored snapshot is everything that its version names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Complete {
    Yes,
    /// Another build wrote it, perhaps dropping fields, or a forward of it was refused.
    No,
}

/// Why there is no last good snapshot, or why it can't be kept.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("--state-dir: can't use {path}")]
    Io { path: PathBuf, source: io::Error },
    #[error("--state-dir: {path} is no last good snapshot of pool {pool:?}: {why}; it is ignored")]
    Foreign {
        path: PathBuf,
        pool: String,
        why: String,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    format: u32,
    build: String,
    pool: String,
    checksum: String,
    /// Absent also in files of before it was stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    share: Option<Share>,
}

const FILE: &str = "last-good.snapshot";
const FORMAT: u32 = 1;
const BUILD: &str = env!("CARGO_PKG_VERSION");

/// Reads what an earlier life stored; `None` if there is nothing.
///
/// # Errors
/// The file can't be read, is damaged, or belongs to something else.
pub(crate) fn load(dir: &Path, pool: &str) -> Result<Option<LastGood>, Error> {
    let path = dir.join(FILE);
    let mut bytes = Vec::new();
    let read = File::open(&path)
        .and_then(|file| file.take(CHANGE_BYTES as u64 * 2).read_to_end(&mut bytes));
    match read {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(Error::Io { path, source }),
    }
    decode(&bytes, pool)
        .map(Some)
        .map_err(|why| Error::Foreign {
            path,
            pool: pool.to_owned(),
            why,
        })
}

/// Writes a snapshot, safe against a crash at any point.
///
/// # Errors
/// The disk is full or the folder can't be written; the former file is still there.
pub(crate) fn store(
    dir: &Path,
    pool: &str,
    held: &Held,
    share: Option<Share>,
) -> Result<(), Error> {
    let path = dir.join(FILE);
    let fresh = dir.join(format!("{FILE}.new"));
    write(dir, &path, &fresh, &encode(held, share, pool)).map_err(|source| {
        // What is left of a failed write must not take the space that the next one needs.
        let _ = fs::remove_file(&fresh);
        Error::Io { path, source }
    })
}

fn write(dir: &Path, path: &Path, fresh: &Path, bytes: &[u8]) -> io::Result<()> {
    fs::create_dir_all(dir)?;
    let mut options = OpenOptions::new();
    let mut file = options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(fresh)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(fresh, path)?;
    File::open(dir)?.sync_all()
}

fn encode(held: &Held, share: Option<Share>, pool: &str) -> Vec<u8> {
    let body = proto::Update {
        epoch: held.epoch,
        version: held.version.as_bytes().to_vec(),
        full: true,
        last: true,
        settings: Some(wire::settings_to_proto(&held.settings)),
        upserts: held
            .forwards
            .values()
            .map(|f| wire::forward_to_proto(f))
            .collect(),
        ..Default::default()
    }
    .encode_to_vec();
    let header = Header {
        format: FORMAT,
        build: BUILD.to_owned(),
        pool: pool.to_owned(),
        checksum: Hash::of([body.as_slice()]).to_string(),
        share,
    };
    let mut bytes = serde_json::to_vec(&header).unwrap_or_default();
    bytes.push(b'\n');
    bytes.extend(body);
    bytes
}

fn decode(bytes: &[u8], pool: &str) -> Result<LastGood, String> {
    let end = bytes
        .iter()
        .position(|b| *b == b'\n')
        .ok_or("its first line does not end")?;
    let (header, body) = bytes.split_at(end);
    let body = body.get(1..).unwrap_or_default();
    let header: Header = serde_json::from_slice(header).map_err(|e| format!("first line: {e}"))?;
    if header.format != FORMAT {
        return Err(format!(
            "it has format {}, this build reads {FORMAT}",
            header.format
        ));
    }
    if header.pool != pool {
        return Err(format!("it is of pool {:?}", header.pool));
    }
    if header.checksum != Hash::of([body]).to_string() {
        return Err("its checksum is wrong".to_owned());
    }
    let update = proto::Update::decode(body).map_err(|e| e.to_string())?;
    if !update.full {
        return Err("it is no whole set".to_owned());
    }
    let held = Held::gather(None, update).map_err(|e| e.to_string())?;
    let same = header.build == BUILD && held.computed() == held.version && held.refused.is_empty();
    Ok(LastGood {
        held,
        complete: if same { Complete::Yes } else { Complete::No },
        share: header.share,
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::sync::Arc;

    use tcpforward_protocol::delta::Delta;

    use super::*;
    use crate::sync::samples::{forward, snapshot};

    const SHARE: Option<Share> = Some(Share { index: 1, of: 3 });

    fn sample() -> Held {
        let wanted = snapshot([forward("a", 1, &[]), forward("b", 2, &[])]);
        let mut parts = Delta::full(&wanted).into_parts(1, 29_000_000, &wanted);
        Held::apply(None, parts.remove(0)).unwrap()
    }

    fn stored(dir: &Path) -> PathBuf {
        store(dir, "default", &sample(), SHARE).unwrap();
        dir.join(FILE)
    }

    #[test]
    fn what_is_stored_is_loaded() {
        let dir = tempfile::tempdir().unwrap();
        assert!(load(dir.path(), "default").unwrap().is_none());
        let path = stored(&dir.path().join("below"));
        let last = load(&dir.path().join("below"), "default").unwrap().unwrap();
        assert_eq!(last.complete, Complete::Yes);
        assert_eq!(last.held.version, sample().version);
        assert_eq!(last.share, SHARE);
        assert_eq!(last.held.epoch, 29_000_000);
        assert_eq!(last.held.forwards, sample().forwards);
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_damaged_or_foreign_file_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let whole = fs::read(stored(dir.path())).unwrap();
        let mut flipped = whole.clone();
        *flipped.last_mut().unwrap() ^= 1;
        let text = String::from_utf8_lossy(&whole);
        let other_format = text.replacen("\"format\":1", "\"format\":9", 1);
        let cases: [(&[u8], &str); 5] = [
            (b"", "does not end"),
            (b"hello\n", "first line"),
            (&whole[..whole.len() - 3], "checksum"),
            (&flipped, "checksum"),
            (other_format.as_bytes(), "format 9"),
        ];
        for (bytes, why) in cases {
            fs::write(dir.path().join(FILE), bytes).unwrap();
            let error = load(dir.path(), "default").unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
        fs::write(dir.path().join(FILE), &whole).unwrap();
        let error = load(dir.path(), "other").unwrap_err().to_string();
        assert!(error.contains("of pool \"default\""), "{error}");
    }

    #[test]
    fn another_build_is_served_and_asked_for_again() {
        let dir = tempfile::tempdir().unwrap();
        let whole = fs::read(stored(dir.path())).unwrap();
        let build = format!("\"build\":\"{BUILD}\"").into_bytes();
        let at = whole.windows(build.len()).position(|w| w == build).unwrap();
        let other = [
            &whole[..at],
            b"\"build\":\"0.0.1\"",
            &whole[at + build.len()..],
        ]
        .concat();
        fs::write(dir.path().join(FILE), other).unwrap();
        let last = load(dir.path(), "default").unwrap().unwrap();
        assert_eq!(last.complete, Complete::No);
        assert_eq!(last.held.forwards.len(), 2);
    }

    #[test]
    fn a_file_without_a_share_is_read() {
        let dir = tempfile::tempdir().unwrap();
        store(dir.path(), "default", &sample(), None).unwrap();
        let bytes = fs::read(dir.path().join(FILE)).unwrap();
        assert!(!String::from_utf8_lossy(&bytes).contains("share"));
        let last = load(dir.path(), "default").unwrap().unwrap();
        assert_eq!((last.share, last.complete), (None, Complete::Yes));
    }

    #[test]
    fn a_failed_write_leaves_the_former_one() {
        let dir = tempfile::tempdir().unwrap();
        stored(dir.path());
        fs::create_dir(dir.path().join(format!("{FILE}.new"))).unwrap();
        let error = store(dir.path(), "default", &sample(), None).unwrap_err();
        assert!(error.to_string().contains("--state-dir"), "{error}");
        assert!(load(dir.path(), "default").unwrap().is_some());
    }

    #[test]
    fn a_forward_that_makes_no_sense_is_left_out_alone() {
        let dir = tempfile::tempdir().unwrap();
        let mut held = sample();
        let names: Vec<_> = held.forwards.keys().cloned().collect();
        let strange = held.forwards.get_mut(&names[0]).unwrap();
        *strange = Arc::new(forward("a", 1, &["teleport"]));
        held.hashes
            .insert(names[0].clone(), held.forwards[&names[0]].hash);
        held.version = held.computed();
        store(dir.path(), "default", &held, None).unwrap();
        let last = load(dir.path(), "default").unwrap().unwrap();
        assert_eq!(last.complete, Complete::No);
        assert_eq!(last.held.version, held.version);
        assert_eq!(last.held.forwards.keys().collect::<Vec<_>>(), [&names[1]]);
        assert_eq!(last.held.refused.keys().collect::<Vec<_>>(), [&names[0]]);
    }
}
