//! Edge. Bytes to send through a forward, and proof that they arrived unchanged.

use std::fmt;
use std::io;
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::Instant;

/// Bytes that are written and read at a time.
const CHUNK: usize = 64 << 10;

/// `bytes` bytes that look random and are the same for the same seed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Payload {
    /// How many.
    pub bytes: u64,
    /// Which.
    pub seed: u64,
}

/// Number and SHA-256 of the bytes that arrived.
#[derive(Clone, PartialEq, Eq)]
pub struct Digest {
    /// How many.
    pub bytes: u64,
    /// Their SHA-256.
    pub sha256: [u8; 32],
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hex: String = self.sha256.iter().map(|b| format!("{b:02x}")).collect();
        write!(f, "{} bytes {hex}", self.bytes)
    }
}

impl Payload {
    /// What a reader of the whole payload must find.
    #[must_use]
    pub fn digest(&self) -> Digest {
        let mut hash = Sha256::new();
        for chunk in self.chunks() {
            hash.update(chunk);
        }
        Digest {
            bytes: self.bytes,
            sha256: hash.finalize().into(),
        }
    }

    /// Writes all of it, without ending the stream.
    ///
    /// # Errors
    /// The stream's.
    pub async fn send(&self, mut to: impl AsyncWrite + Unpin) -> io::Result<()> {
        for chunk in self.chunks() {
            to.write_all(&chunk).await?;
        }
        to.flush().await
    }

    /// The bytes, in the pieces in which they are sent.
    pub fn chunks(self) -> impl Iterator<Item = Vec<u8>> {
        let n_chunks = self.bytes.div_ceil(CHUNK as u64);
        (0..n_chunks).map(move |i| {
            let left = self.bytes - i * CHUNK as u64;
            let length = usize::try_from(left).map_or(CHUNK, |left| left.min(CHUNK));
            chunk(self.seed.wrapping_add(i), length)
        })
    }
}

/// A chunk by xorshift, so that no two chunks and no two places in one are alike.
fn chunk(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// Reads until the end of the stream.
///
/// # Errors
/// The stream's: a reset is not an end.
pub async fn receive(from: impl AsyncRead + Unpin) -> io::Result<Digest> {
    let (digest, _) = receive_timed(from).await?;
    Ok(digest)
}

/// The same, with the time from the last bytes to the end.
///
/// # Errors
/// The stream's: a reset is not an end.
pub async fn receive_timed(mut from: impl AsyncRead + Unpin) -> io::Result<(Digest, Duration)> {
    let mut hash = Sha256::new();
    let mut total = 0;
    let mut buffer = vec![0; CHUNK];
    let mut last = Instant::now();
    loop {
        let n = from.read(&mut buffer).await?;
        if n == 0 {
            let sha256 = hash.finalize().into();
            let digest = Digest {
                bytes: total,
                sha256,
            };
            return Ok((digest, last.elapsed()));
        }
        last = Instant::now();
        hash.update(buffer.get(..n).unwrap_or_default());
        total += n as u64;
    }
}

/// Sends the payload and ends that direction, while it reads the other one to its end.
///
/// # Errors
/// The stream's.
pub async fn exchange(stream: impl AsyncRead + AsyncWrite, payload: Payload) -> io::Result<Digest> {
    let (from, mut to) = tokio::io::split(stream);
    let send = async {
        payload.send(&mut to).await?;
        to.shutdown().await
    };
    let ((), digest) = tokio::try_join!(send, receive(from))?;
    Ok(digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn both_sides_of_an_exchange_find_the_other_ones_payload() {
        let (a, b) = tokio::io::duplex(1000);
        let ours = Payload {
            bytes: 200_001,
            seed: 1,
        };
        let theirs = Payload {
            bytes: 65_536,
            seed: 2,
        };
        let (at_a, at_b) = tokio::try_join!(exchange(a, ours), exchange(b, theirs)).unwrap();
        assert_eq!(at_a, theirs.digest());
        assert_eq!(at_b, ours.digest());
        assert_ne!(at_a, Payload { seed: 3, ..theirs }.digest());
    }
}
