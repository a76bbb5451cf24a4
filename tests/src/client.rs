//! Edge. The downstream side of a forward, and a reader of our programs' pages.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

/// Nothing on loopback takes this long unless it hangs.
const DEADLINE: Duration = Duration::from_secs(10);

/// The answer to an HTTP request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Such as 200.
    pub status: u16,
    /// What follows the head.
    pub body: String,
}

/// Connects.
///
/// # Errors
/// Refused, or no answer in time.
pub async fn dial(address: SocketAddr) -> Result<TcpStream> {
    timeout(DEADLINE, TcpStream::connect(address))
        .await
        .with_context(|| format!("{address} did not answer within {DEADLINE:?}"))?
        .with_context(|| format!("dialling {address}"))
}

/// Connects from an address of this host, at a port that is given or 0.
///
/// # Errors
/// The address is not there, refused, or no answer in time.
pub async fn dial_from(source: SocketAddr, address: SocketAddr) -> Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket
        .bind(source)
        .with_context(|| format!("from {source}"))?;
    timeout(DEADLINE, socket.connect(address))
        .await
        .with_context(|| format!("{address} did not answer within {DEADLINE:?}"))?
        .with_context(|| format!("dialling {address}"))
}

/// Sends a byte to a server that sends it back.
///
/// # Errors
/// It is lost, changed, or not back in time.
pub async fn echo(stream: &mut TcpStream) -> Result<()> {
    let there_and_back = async {
        stream.write_all(b"p").await?;
        stream.read_u8().await
    };
    let byte = timeout(DEADLINE, there_and_back).await;
    let byte = byte.context("a byte got stuck")??;
    ensure!(byte == b'p', "{byte:?} came back");
    Ok(())
}

/// Connects, sends `text`, ends that direction and returns all that comes back.
///
/// # Errors
/// Refused, reset, or no end in time.
pub async fn ask(address: SocketAddr, text: &str) -> Result<String> {
    let mut stream = dial(address).await?;
    let answer = async {
        stream.write_all(text.as_bytes()).await?;
        stream.shutdown().await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Ok::<_, std::io::Error>(answer)
    };
    timeout(DEADLINE, answer)
        .await
        .with_context(|| format!("{address} did not end within {DEADLINE:?}"))?
        .with_context(|| format!("asking {address}"))
}

/// Reads a page by HTTP.
///
/// # Errors
/// Refused, reset, no end in time, or no HTTP.
pub async fn get(address: SocketAddr, path: &str) -> Result<Answer> {
    let head = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    request(address, path, &head).await
}

/// Posts JSON by HTTP.
///
/// # Errors
/// Refused, reset, no end in time, or no HTTP.
pub async fn post(address: SocketAddr, path: &str, body: &str) -> Result<Answer> {
    let length = body.len();
    let whole = format!(
        "POST {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\
         Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    );
    request(address, path, &whole).await
}

async fn request(address: SocketAddr, path: &str, request: &str) -> Result<Answer> {
    let mut stream = dial(address).await?;
    let answer = async {
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Ok::<_, std::io::Error>(answer)
    };
    let answer = timeout(DEADLINE, answer)
        .await
        .with_context(|| format!("{address}{path} did not end within {DEADLINE:?}"))??;
    let (head, body) = answer
        .split_once("\r\n\r\n")
        .with_context(|| format!("no HTTP: {answer:?}"))?;
    let status = head.split_ascii_whitespace().nth(1);
    Ok(Answer {
        status: status.context("a status")?.parse()?,
        body: body.to_owned(),
    })
}

/// The sum of a metric's samples whose line holds each of `labels`, such as `forward="shop/web"`;
/// 0 if there is none.
///
/// # Errors
/// The page can't be read.
pub async fn metric(address: SocketAddr, name: &str, labels: &[&str]) -> Result<f64> {
    let page = get(address, "/metrics").await?.body;
    let samples = page.lines().filter_map(|line| {
        let rest = line.strip_prefix(name)?;
        let (its_labels, value) = rest.rsplit_once(' ')?;
        let whole_name = its_labels.is_empty() || its_labels.starts_with('{');
        let matches = labels.iter().all(|label| its_labels.contains(label));
        (whole_name && matches).then(|| value.parse::<f64>().ok())?
    });
    Ok(samples.sum())
}

/// Cuts a connection: the other side sees a reset.
///
/// # Errors
/// The system refuses.
pub fn reset(stream: TcpStream) -> Result<()> {
    socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO))?;
    drop(stream);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::echo::{Behaviour, BlackHole, Server};
    use crate::payload::{Payload, exchange};

    #[tokio::test]
    async fn a_named_server_says_its_name() {
        let name = Behaviour::Name("one".to_owned());
        let server = Server::start("127.0.0.1:0", name).await.unwrap();
        assert_eq!(ask(server.address(), "hello").await.unwrap(), "one");
        assert_eq!(server.accepted(), 1);
        let http = Behaviour::Http("two".to_owned());
        let server = Server::start("127.0.0.1:0", http).await.unwrap();
        let answer = get(server.address(), "/").await.unwrap();
        assert_eq!((answer.status, answer.body.as_str()), (200, "two\n"));
    }

    #[tokio::test]
    async fn an_exchange_is_seen_whole_on_both_sides() {
        let mine = Payload {
            bytes: 3 << 20,
            seed: 7,
        };
        let its = Payload {
            bytes: 1 << 20,
            seed: 8,
        };
        let behaviour = Behaviour::Exchange(its);
        let mut server = Server::start("127.0.0.1:0", behaviour).await.unwrap();
        let stream = dial(server.address()).await.unwrap();
        assert_eq!(exchange(stream, mine).await.unwrap(), its.digest());
        assert_eq!(server.received(DEADLINE).await.unwrap(), mine.digest());
    }

    #[tokio::test]
    async fn nobody_gets_into_a_black_hole() {
        let hole = BlackHole::start([127, 0, 0, 1].into()).await.unwrap();
        let attempt = TcpStream::connect(hole.address());
        let attempt = timeout(Duration::from_millis(200), attempt).await;
        assert!(attempt.is_err(), "{attempt:?}");
    }
}
