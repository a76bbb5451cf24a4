//! Edge. A DNS server for tests: it answers what it is told to, by UDP and TCP on loopback.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr as _;
use std::sync::{Arc, Mutex};

use hickory_resolver::proto::op::{Message, ResponseCode};
use hickory_resolver::proto::rr::rdata::CNAME;
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UdpSocket};
use tokio::task::JoinSet;

/// What is said of a name.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    /// These, each for so many seconds.
    Addresses(Vec<IpAddr>, u32),
    /// It is another name.
    Alias(&'static str),
    /// By UDP: too long; by TCP these.
    Long(Vec<IpAddr>),
    /// An error.
    Refuse(ResponseCode),
    /// Nothing, whatever it is asked.
    Silence,
    /// These, but nothing to questions about that type.
    SilenceAbout(RecordType, Vec<IpAddr>),
    /// One of them to each question about its type, by turns, for so many seconds.
    Turns(Vec<IpAddr>, u32),
}

type Zone = Arc<Mutex<BTreeMap<String, Reply>>>;

/// Runs until it is dropped. A name that it doesn't know doesn't exist.
pub(crate) struct Dns {
    pub(crate) address: SocketAddr,
    zone: Zone,
    asked: Arc<Mutex<Vec<String>>>,
    _tasks: JoinSet<()>,
}

impl Dns {
    pub(crate) async fn start() -> Self {
        let (tcp, udp) = loop {
            let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
            // The port of one kind may be taken for the other.
            if let Ok(udp) = UdpSocket::bind(tcp.local_addr().unwrap()).await {
                break (tcp, udp);
            }
        };
        let address = udp.local_addr().unwrap();
        let (zone, asked) = (Zone::default(), Arc::<Mutex<Vec<String>>>::default());
        let mut tasks = JoinSet::new();
        let (of_udp, log) = (Arc::clone(&zone), Arc::clone(&asked));
        tasks.spawn(async move {
            let mut buffer = [0; 4096];
            while let Ok((n, from)) = udp.recv_from(&mut buffer).await {
                if let Some(reply) = answer(&buffer[..n], &of_udp, &log, false) {
                    let _ = udp.send_to(&reply, from).await;
                }
            }
        });
        let (of_tcp, log) = (Arc::clone(&zone), Arc::clone(&asked));
        tasks.spawn(async move {
            while let Ok((mut stream, _)) = tcp.accept().await {
                let Ok(length) = stream.read_u16().await else {
                    continue;
                };
                let mut query = vec![0; length.into()];
                if stream.read_exact(&mut query).await.is_ok()
                    && let Some(reply) = answer(&query, &of_tcp, &log, true)
                {
                    let _ = stream.write_u16(reply.len().try_into().unwrap()).await;
                    let _ = stream.write_all(&reply).await;
                }
            }
        });
        Self {
            address,
            zone,
            asked,
            _tasks: tasks,
        }
    }

    pub(crate) fn set(&self, name: &str, reply: Reply) {
        self.zone.lock().unwrap().insert(format!("{name}."), reply);
    }

    pub(crate) fn set_addresses(&self, name: &str, addresses: &[&str], ttl: u32) {
        let addresses = addresses.iter().map(|a| a.parse().unwrap()).collect();
        self.set(name, Reply::Addresses(addresses, ttl));
    }

    pub(crate) fn remove(&self, name: &str) {
        self.zone.lock().unwrap().remove(&format!("{name}."));
    }

    /// Every name that was asked for, with its type.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

fn answer(query: &[u8], zone: &Zone, asked: &Mutex<Vec<String>>, is_tcp: bool) -> Option<Vec<u8>> {
    let query = Message::from_vec(query).unwrap();
    let question = query.queries[0].clone();
    let mut reply = Message::response(query.metadata.id, query.metadata.op_code);
    reply.add_query(question.clone());
    let kind = question.query_type();
    let mut name = question.name().to_string();
    asked.lock().unwrap().push(format!("{name} {kind}"));
    let mut zone = zone.lock().unwrap();
    loop {
        let owner = Name::from_str(&name).unwrap();
        match zone.get_mut(&name) {
            None => reply.metadata.response_code = ResponseCode::NXDomain,
            Some(Reply::Alias(other)) => {
                name = format!("{other}.");
                let target = Name::from_str(&name).unwrap();
                reply.add_answer(Record::from_rdata(owner, 60, RData::CNAME(CNAME(target))));
                continue;
            }
            Some(Reply::Refuse(code)) => reply.metadata.response_code = *code,
            Some(Reply::Long(_)) if !is_tcp => reply.metadata.truncation = true,
            Some(Reply::Long(addresses)) => add(&mut reply, &owner, addresses, 60, kind),
            Some(Reply::Addresses(addresses, ttl)) => {
                add(&mut reply, &owner, addresses, *ttl, kind)
            }
            Some(Reply::Silence) => return None,
            Some(Reply::SilenceAbout(silent, _)) if *silent == kind => return None,
            Some(Reply::SilenceAbout(_, addresses)) => add(&mut reply, &owner, addresses, 60, kind),
            Some(Reply::Turns(addresses, ttl)) => {
                let (first, is_v4) = (addresses[0], kind == RecordType::A);
                if first.is_ipv4() == is_v4 {
                    add(&mut reply, &owner, &[first], *ttl, kind);
                    addresses.rotate_left(1);
                }
            }
        }
        return Some(reply.to_vec().unwrap());
    }
}

fn add(reply: &mut Message, owner: &Name, addresses: &[IpAddr], ttl: u32, kind: RecordType) {
    let of_kind = |a: &&IpAddr| a.is_ipv4() == (kind == RecordType::A);
    for address in addresses.iter().filter(of_kind) {
        reply.add_answer(Record::from_rdata(
            owner.clone(),
            ttl,
            RData::from(*address),
        ));
    }
}
