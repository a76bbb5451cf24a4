//! Edge. Certificates that others make and renew, as files.

use std::path::PathBuf;

use super::certificates::Pair;

/// Files in PEM.
pub(crate) struct Given {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
    /// Of those who sign; absent: data planes get it from elsewhere.
    pub(crate) authorities: Option<PathBuf>,
    /// What data planes dial.
    pub(crate) names: Vec<String>,
}

/// A file that can't be read.
#[derive(Debug, thiserror::Error)]
#[error("--{flag} is {}: can't read it", path.display())]
pub(crate) struct Error {
    flag: &'static str,
    path: PathBuf,
    source: std::io::Error,
}

impl Given {
    /// As they are now: the certificate with its key, and the authorities.
    pub(super) fn read(&self) -> Result<(Pair, Option<String>), Error> {
        let pair = Pair {
            certificate: file("tls-cert", &self.certificate)?,
            key: file("tls-key", &self.key)?,
        };
        let authorities = match &self.authorities {
            Some(path) => Some(file("tls-ca", path)?),
            None => None,
        };
        Ok((pair, authorities))
    }
}

fn file(flag: &'static str, path: &PathBuf) -> Result<String, Error> {
    std::fs::read_to_string(path).map_err(|source| Error {
        flag,
        path: path.clone(),
        source,
    })
}
