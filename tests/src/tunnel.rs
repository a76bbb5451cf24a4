//! Edge. The client of a CONNECT proxy.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::client;

/// Nothing on loopback takes this long unless it hangs.
const DEADLINE: Duration = Duration::from_secs(10);

/// What a proxy made of a request.
#[derive(Debug)]
pub enum Asked {
    /// Its whole answer, after which it closed.
    Refused(String),
    /// What is sent and read from now on is the target's.
    Tunnel(TcpStream),
}

/// The head of a request; `fields` are further ones, each with its end of line.
#[must_use]
pub fn head(target: &str, fields: &str) -> String {
    format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n{fields}\r\n")
}

/// The field by which a client says who it is; `credentials` are `USER:PASSWORD`.
#[must_use]
pub fn basic(credentials: &str) -> String {
    let credentials = STANDARD.encode(credentials);
    format!("Proxy-Authorization: Basic {credentials}\r\n")
}

/// Asks `proxy` for a tunnel to `target`.
///
/// # Errors
/// No answer in time, or none by HTTP.
pub async fn ask(proxy: SocketAddr, target: &str, fields: &str) -> Result<Asked> {
    let stream = client::dial(proxy).await?;
    ask_over(stream, target, fields).await
}

/// The same over a connection that is there.
///
/// # Errors
/// No answer in time, or none by HTTP.
pub async fn ask_over(mut stream: TcpStream, target: &str, fields: &str) -> Result<Asked> {
    let answer = async {
        let request = head(target, fields);
        stream.write_all(request.as_bytes()).await?;
        // Not a byte more, or it would be one of the target's.
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            answer.push(stream.read_u8().await?);
        }
        if answer.starts_with(b"HTTP/1.1 200 ") {
            return Ok(Asked::Tunnel(stream));
        }
        stream.read_to_end(&mut answer).await?;
        Ok::<_, anyhow::Error>(Asked::Refused(String::from_utf8(answer)?))
    };
    let answer = timeout(DEADLINE, answer).await;
    answer.with_context(|| format!("no answer to CONNECT {target} within {DEADLINE:?}"))?
}

impl Asked {
    /// The tunnel.
    ///
    /// # Errors
    /// It was refused.
    pub fn tunnel(self) -> Result<TcpStream> {
        match self {
            Self::Tunnel(stream) => Ok(stream),
            Self::Refused(answer) => bail!("refused: {answer}"),
        }
    }

    /// The answer to a request that must be refused with that status.
    ///
    /// # Errors
    /// It wasn't, or with another one.
    pub fn refused(self, status: u16) -> Result<String> {
        let Self::Refused(answer) = self else {
            bail!("it has a tunnel")
        };
        let line = format!("HTTP/1.1 {status} ");
        ensure!(answer.starts_with(&line), "not {status}: {answer}");
        Ok(answer)
    }
}
