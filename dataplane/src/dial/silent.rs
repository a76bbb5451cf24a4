//! Edge. An address that answers no SYN, for tests.

use std::net::SocketAddr;
use std::time::Duration;

use socket2::{Domain, Socket, Type};
use tokio::net::TcpStream;

/// As long as this lives: the queue of its listener is full.
pub(crate) struct Silent {
    pub(crate) address: SocketAddr,
    _listener: Socket,
    _queued: Vec<TcpStream>,
}

pub(crate) async fn silent() -> Silent {
    let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
    listener.bind(&any.into()).unwrap();
    listener.listen(0).unwrap();
    let address = listener.local_addr().unwrap().as_socket().unwrap();
    let mut queued = Vec::new();
    let long = Duration::from_millis(200);
    while let Ok(stream) = tokio::time::timeout(long, TcpStream::connect(address)).await {
        queued.push(stream.unwrap());
    }
    Silent {
        address,
        _listener: listener,
        _queued: queued,
    }
}
