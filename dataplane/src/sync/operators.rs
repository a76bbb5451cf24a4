//! Edge. From names to streams: every address of every operator has one.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::Ids;
use super::stream::{self, Event, Peer};
use super::transport::Checked;
use crate::config::{Credentials, HostPort, OperatorAddress, Transport};

/// Names are looked up again this often: replicas come and go.
const LOOKUP: Duration = Duration::from_secs(30);

/// After a lookup that failed or found nothing.
const RETRY: Duration = Duration::from_secs(2);

/// Addresses of one name at most: an operator has a handful of replicas.
const ADDRESSES: usize = 16;

/// Keeps a stream to each operator until it is dropped.
pub(crate) async fn keep_all(
    operators: Vec<OperatorAddress>,
    transport: Transport,
    events: mpsc::Sender<Event>,
) {
    let credentials = match transport {
        Transport::Identity(credentials) => Some(Arc::new(credentials)),
        Transport::Insecure => None,
    };
    let ids = Ids::default();
    let mut tasks = JoinSet::new();
    let mut names = Vec::new();
    for operator in operators {
        match operator {
            OperatorAddress::Name(name) => names.push(name),
            OperatorAddress::Duplex(pipe) => {
                let peer = Peer::InProcess(pipe);
                let always = CancellationToken::new();
                tasks.spawn(stream::keep(peer, ids.clone(), events.clone(), always));
            }
        }
    }
    let mut streams: BTreeMap<SocketAddr, CancellationToken> = BTreeMap::new();
    loop {
        let (found, failed) = look_up(&names).await;
        for (address, host) in &found {
            streams.entry(*address).or_insert_with(|| {
                let peer = peer(*address, host, credentials.as_ref());
                let unwanted = CancellationToken::new();
                tasks.spawn(stream::keep(
                    peer,
                    ids.clone(),
                    events.clone(),
                    unwanted.clone(),
                ));
                unwanted
            });
        }
        // A name that can't be looked up says nothing about addresses found before.
        if !failed {
            streams.retain(|address, unwanted| {
                let known = found.iter().any(|(found, _)| found == address);
                if !known {
                    unwanted.cancel();
                }
                known
            });
        }
        while tasks.try_join_next().is_some() {}
        tokio::time::sleep(if failed { RETRY } else { LOOKUP }).await;
    }
}

/// Every address with the name that it was found by, and whether a name could not be looked up.
async fn look_up(names: &[HostPort]) -> (Vec<(SocketAddr, &str)>, bool) {
    let mut found = Vec::new();
    let mut failed = false;
    for name in names {
        match tokio::net::lookup_host((name.host.as_str(), name.port)).await {
            Ok(addresses) => {
                let addresses = addresses.take(ADDRESSES);
                found.extend(addresses.map(|address| (address, name.host.as_str())));
            }
            Err(error) => {
                failed = true;
                tracing::warn!(operator = %name, %error, "can't look up an operator");
            }
        }
    }
    (found, failed)
}

fn peer(address: SocketAddr, host: &str, credentials: Option<&Arc<Credentials>>) -> Peer {
    match credentials {
        Some(credentials) => Peer::Checked(Checked {
            address,
            host: host.to_owned(),
            credentials: Arc::clone(credentials),
        }),
        None => Peer::Address(address),
    }
}
