//! Edge. A DNS server for one test: it answers what the test says and writes down what it was asked.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};
use tokio::net::UdpSocket;
use tokio::task::JoinSet;

/// Of a question: A and the class IN.
const A: [u8; 4] = [0, 1, 0, 1];

/// A running server. Dropping it stops it.
#[derive(Debug)]
pub struct Dns {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
    _tasks: JoinSet<()>,
}

/// What the server answers: the address of a name, for no time at all; absent: there is no such name.
pub trait Zone: FnMut(&str) -> Option<Ipv4Addr> + Send + 'static {}
impl<F: FnMut(&str) -> Option<Ipv4Addr> + Send + 'static> Zone for F {}

impl Dns {
    /// Listens on a port of 127.0.0.1. `zone` is called once for each question about IPv4; to those
    /// about anything else there is no answer but that there is none.
    ///
    /// # Errors
    /// There is no free port.
    pub async fn start(mut zone: impl Zone) -> Result<Self> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = socket.local_addr()?;
        let asked = Arc::<Mutex<Vec<String>>>::default();
        let log = Arc::clone(&asked);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut buffer = [0; 1500];
            while let Ok((n, from)) = socket.recv_from(&mut buffer).await {
                let query = buffer.get(..n).unwrap_or_default();
                if let Ok(reply) = answer(query, &mut zone, &log) {
                    // Whoever asked asks again if it is lost.
                    let _ = socket.send_to(&reply, from).await;
                }
            }
        });
        Ok(Self {
            address,
            asked,
            _tasks: tasks,
        })
    }

    /// Where it listens, for `--dns-server`.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Names whose IPv4 address was asked for, each time.
    #[must_use]
    pub fn asked(&self) -> Vec<String> {
        let asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        asked.clone()
    }
}

fn answer(query: &[u8], zone: &mut impl Zone, log: &Mutex<Vec<String>>) -> Result<Vec<u8>> {
    let (id, mut rest) = query.split_at_checked(2).context("an id")?;
    rest = rest.get(10..).context("a header")?;
    let mut name = String::new();
    let mut question = Vec::new();
    loop {
        let (length, after) = rest.split_first().context("a label")?;
        question.push(*length);
        rest = after;
        if *length == 0 {
            break;
        }
        let (label, after) = rest.split_at_checked((*length).into()).context("a label")?;
        question.extend(label);
        name += &(String::from_utf8_lossy(label).to_ascii_lowercase() + ".");
        rest = after;
    }
    let kind = rest.get(..4).context("a type and a class")?;
    question.extend(kind);
    let mut address = None;
    let mut code = 0;
    if kind == A {
        let mut asked = log.lock().unwrap_or_else(PoisonError::into_inner);
        asked.push(name.clone());
        address = zone(&name);
        code = if address.is_some() { 0 } else { 3 };
    }
    let n_answers = u8::from(address.is_some());
    let mut reply = [id, &[0x81, 0x80 | code, 0, 1, 0, n_answers, 0, 0, 0, 0]].concat();
    reply.extend(question);
    if let Some(address) = address {
        // The name of the question, its type and class, for no time, four bytes.
        reply.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4]);
        reply.extend(address.octets());
    }
    Ok(reply)
}
