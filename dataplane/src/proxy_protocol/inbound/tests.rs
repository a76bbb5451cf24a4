//! Headers over real sockets, from those who may send them and from others.

use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};

use super::*;

const LINE: &[u8] = b"PROXY TCP4 10.0.0.1 10.0.0.2 8080 80\r\n";

struct Rig {
    client: TcpStream,
    stream: Stream,
    socket: Endpoints,
}

async fn rig() -> Rig {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let destination = listener.local_addr().unwrap();
    let (client, accepted) = tokio::join!(TcpStream::connect(destination), listener.accept());
    let (stream, source) = accepted.unwrap();
    Rig {
        client: client.unwrap(),
        stream: stream.into(),
        socket: Endpoints {
            source,
            destination,
        },
    }
}

fn accepted(mode: ProxyMode, trusted: &str) -> ProxyProtocolIn {
    ProxyProtocolIn {
        mode,
        trusted_sources: vec![trusted.parse().unwrap()],
    }
}

const LOOPBACK: &str = "127.0.0.0/8";

impl Rig {
    async fn origin(&self, mode: ProxyMode, trusted: &str) -> Result<Origin, Ending> {
        let accepted = accepted(mode, trusted);
        let origin = origin(&self.stream, self.socket, &accepted).await;
        origin.map_err(|refused| refused.ending())
    }

    /// Reads what is left, which is that much.
    async fn read(&self, bytes: &mut [u8]) {
        let reading = poll_fn(|cx| self.stream.poll_read(cx, bytes));
        assert_eq!(reading.await.unwrap(), bytes.len());
    }

    /// It speaks for itself, and these bytes were read.
    fn itself(&self, early: &[u8]) -> Result<Origin, Ending> {
        Ok(Origin {
            endpoints: self.socket,
            unique_id: None,
            is_proxied: false,
            early: early.to_vec(),
        })
    }
}

#[tokio::test]
async fn a_trusted_source_says_who_connected() {
    for mode in [ProxyMode::Optional, ProxyMode::Required] {
        let mut rig = rig().await;
        rig.client.write_all(LINE).await.unwrap();
        rig.client.write_all(b"hello").await.unwrap();
        let origin = rig.origin(mode, LOOPBACK).await.unwrap();
        assert!(origin.is_proxied && origin.early.is_empty());
        assert_eq!(origin.endpoints.source, "10.0.0.1:8080".parse().unwrap());
        assert_eq!(origin.endpoints.destination, "10.0.0.2:80".parse().unwrap());
        let mut payload = [0; 5];
        rig.read(&mut payload).await;
        assert_eq!(&payload, b"hello");
    }
}

#[tokio::test]
async fn a_header_that_names_nobody_leaves_the_sockets_address() {
    let mut rig = rig().await;
    rig.client.write_all(b"PROXY UNKNOWN\r\n").await.unwrap();
    let origin = rig.origin(ProxyMode::Required, LOOPBACK).await;
    assert_eq!(origin, rig.itself(b""));
}

#[tokio::test]
async fn nothing_is_read_from_others() {
    let mut rig = rig().await;
    rig.client.write_all(LINE).await.unwrap();
    let elsewhere = "10.0.0.0/8";
    let required = rig.origin(ProxyMode::Required, elsewhere).await;
    assert_eq!(required, Err(Ending::ProxyHeaderUntrusted));
    let optional = rig.origin(ProxyMode::Optional, elsewhere).await;
    assert_eq!(optional, rig.itself(b""));
    let mut bytes = [0; LINE.len()];
    rig.read(&mut bytes).await;
    assert_eq!(bytes, LINE);
}

#[tokio::test]
async fn what_is_no_header_is_early_or_refused() {
    let mut plain = rig().await;
    plain.client.write_all(b"hi").await.unwrap();
    let origin = plain.origin(ProxyMode::Optional, LOOPBACK).await;
    assert_eq!(origin, plain.itself(b"hi"));
    let cases: [&[u8]; 3] = [b"hi", b"PROXY TCP4 nonsense\r\n", b"PROXY TCP4 10.0"];
    for bytes in cases {
        let mut rig = rig().await;
        rig.client.write_all(bytes).await.unwrap();
        rig.client.shutdown().await.unwrap();
        let origin = rig.origin(ProxyMode::Required, LOOPBACK).await;
        assert_eq!(origin, Err(Ending::ProxyHeaderInvalid));
    }
    let mut ended = rig().await;
    ended.client.write_all(b"PROXY TCP4 10.0").await.unwrap();
    ended.client.shutdown().await.unwrap();
    let origin = ended.origin(ProxyMode::Optional, LOOPBACK).await;
    assert_eq!(origin, Err(Ending::ProxyHeaderInvalid));
}

#[tokio::test(start_paused = true)]
async fn a_source_that_says_nothing_is_waited_for_once() {
    let mut rig = rig().await;
    let start = Instant::now();
    let required = rig.origin(ProxyMode::Required, LOOPBACK).await;
    assert_eq!(required, Err(Ending::ProxyHeaderTimeout));
    let waited = start.elapsed();
    assert!(waited >= DEADLINE && waited < DEADLINE * 2, "{waited:?}");
    let optional = rig.origin(ProxyMode::Optional, LOOPBACK).await;
    assert_eq!(optional, rig.itself(b""));
    // It could be both, up to here.
    rig.client.write_all(b"PRO").await.unwrap();
    let optional = rig.origin(ProxyMode::Optional, LOOPBACK).await;
    assert_eq!(optional, rig.itself(b"PRO"));
    rig.client.write_all(b"PROXY TCP4 ").await.unwrap();
    let optional = rig.origin(ProxyMode::Optional, LOOPBACK).await;
    assert_eq!(optional, Err(Ending::ProxyHeaderTimeout));
}

#[tokio::test]
async fn a_reset_in_front_of_a_header_is_a_reset() {
    let rig = rig().await;
    drop(crate::socket::Connection::new(rig.client.into()));
    let accepted = accepted(ProxyMode::Required, LOOPBACK);
    let refused = origin(&rig.stream, rig.socket, &accepted).await;
    assert_eq!(refused.unwrap_err().ending(), Ending::DownstreamRst);
}
