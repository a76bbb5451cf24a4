//! Edge. From names to streams: every address of every operator has one.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::Ids;
use super::stream::{self, Event, Peer};
use crate::config::OperatorAddress;

/// Names are looked up again this often: replicas come and go.
const LOOKUP: Duration = Duration::from_secs(30);

/// After a lookup that failed or found nothing.
const RETRY: Duration = Duration::from_secs(2);

/// Addresses of one name at most: an operator has a handful of replicas.
const ADDRESSES: usize = 16;

/// Keeps a stream to each operator until it is dropped.
pub(crate) async fn keep_all(operators: Vec<OperatorAddress>, events: mpsc::Sender<Event>) {
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
        let mut found = Vec::new();
        let mut failed = false;
        for name in &names {
            match tokio::net::lookup_host((name.host.as_str(), name.port)).await {
                Ok(addresses) => found.extend(addresses.take(ADDRESSES)),
                Err(error) => {
                    failed = true;
                    tracing::warn!(operator = %name, %error, "can't look up an operator");
                }
            }
        }
        for address in &found {
            streams.entry(*address).or_insert_with(|| {
                let peer = Peer::Address(*address);
                if !address.ip().to_canonical().is_loopback() {
                    tracing::error!(
                        %address,
                        "not connecting: plain text is spoken with loopback only, and there is no TLS yet"
                    );
                }
                let unwanted = CancellationToken::new();
                tasks.spawn(stream::keep(peer, ids.clone(), events.clone(), unwanted.clone()));
                unwanted
            });
        }
        // A name that can't be looked up says nothing about addresses found before.
        if !failed {
            streams.retain(|address, unwanted| {
                let known = found.contains(address);
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
