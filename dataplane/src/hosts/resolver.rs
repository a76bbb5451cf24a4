//! Edge. Asks DNS, as resolv.conf or an option says, by UDP and for long answers by TCP.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hickory_resolver::config::{
    ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts,
};
use hickory_resolver::lookup::Lookup;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::{Query, ResponseCode};
use hickory_resolver::proto::rr::{Name, RecordType};
use hickory_resolver::{Hosts, TokioResolver, system_conf};
use tokio::time::timeout;

use super::answer::{self, Answer, Keep};
use super::found::Found;
use super::name::{self, Kind};

const RESOLV_CONF: &str = "/etc/resolv.conf";
const HOSTS: &str = "/etc/hosts";

/// Of all that is asked for one name.
const TIMEOUT: Duration = Duration::from_secs(15);

/// How long what does not come from DNS holds: an address, an entry of the hosts file.
const LOCAL_TTL: Duration = Duration::from_secs(10);

/// Asks servers, or those of this host.
pub(crate) struct Resolver {
    /// Empty: those of resolv.conf.
    servers: Vec<SocketAddr>,
    client: Mutex<Option<Arc<Client>>>,
}

/// What is asked with one configuration.
pub(crate) struct Client {
    /// What it was made from.
    texts: Texts,
    resolver: TokioResolver,
    search: Vec<Name>,
    hosts: Hosts,
}

/// What DNS says of one family of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Addresses {
    /// At least one.
    pub(crate) addresses: Vec<IpAddr>,
    /// How long they may be kept.
    pub(crate) ttl: Duration,
}

/// Why DNS gave no address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoAddress {
    /// The name does not exist.
    #[error("DNS says that there is no such name")]
    Name,
    /// Anything else.
    #[error("DNS: {0}")]
    Other(String),
    /// The name exists.
    #[error("DNS says that the name has no address")]
    Record,
    /// The server answers with an error.
    #[error("the DNS server answers: {0}")]
    Refused(String),
    /// The server answers nothing.
    #[error("the DNS server doesn't answer")]
    Silent,
}

/// The host's files, read for each name: they change under a laptop that goes elsewhere.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Texts {
    resolv_conf: Vec<u8>,
    hosts: Vec<u8>,
}

impl Resolver {
    pub(crate) fn new(servers: Vec<SocketAddr>) -> Self {
        Self {
            servers,
            client: Mutex::default(),
        }
    }

    /// What that name leads to now, where it led to `before`.
    pub(super) async fn resolve(&self, text: &str, before: &Found) -> (Found, Keep) {
        let failed = |error: String| {
            answer::combine(before, Answer::Failed(error.clone()), Answer::Failed(error))
        };
        let name = match name::parse(text) {
            Ok(Kind::Address(address)) => {
                let found = Found {
                    addresses: vec![address],
                    error: None,
                };
                return (found, Some(LOCAL_TTL));
            }
            Ok(Kind::Name(name)) => name,
            Err(error) => return failed(error.to_string()),
        };
        let client = match self.client() {
            Ok(client) => client,
            Err(error) => return failed(error),
        };
        match timeout(TIMEOUT, client.ask(&name)).await {
            Ok((v4, v6)) => answer::combine(before, v4, v6),
            Err(_) => failed(format!("no answer from DNS within {TIMEOUT:?}")),
        }
    }

    /// For questions with the configuration that holds now.
    pub(crate) fn client(&self) -> Result<Arc<Client>, String> {
        let texts = if self.servers.is_empty() {
            let resolv_conf = std::fs::read(RESOLV_CONF);
            Texts {
                resolv_conf: resolv_conf.map_err(|error| format!("{RESOLV_CONF}: {error}"))?,
                hosts: std::fs::read(HOSTS).unwrap_or_default(),
            }
        } else {
            Texts::default()
        };
        let mut client = self.client.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = client.as_ref().filter(|client| client.texts == texts) {
            return Ok(Arc::clone(client));
        }
        let made = Arc::new(Client::new(&self.servers, texts).map_err(|error| error.to_string())?);
        *client = Some(Arc::clone(&made));
        Ok(made)
    }
}

impl Client {
    fn new(servers: &[SocketAddr], texts: Texts) -> Result<Self, NetError> {
        let (config, mut options) = if servers.is_empty() {
            system_conf::parse_resolv_conf(&texts.resolv_conf)?
        } else {
            let servers = servers.iter().map(server).collect();
            (
                ResolverConfig::from_name_servers(servers),
                ResolverOpts::default(),
            )
        };
        // What is known of a name is kept here, where it is known for how long it is good.
        options.cache_size = 0;
        options.use_hosts_file = ResolveHosts::Never;
        let search = config.search().to_vec();
        let mut hosts = Hosts::default();
        // What is no text in it concerns nobody.
        hosts.read_hosts_conf(String::from_utf8_lossy(&texts.hosts).as_bytes())?;
        let provider = TokioRuntimeProvider::default();
        let builder = TokioResolver::builder_with_config(config, provider).with_options(options);
        Ok(Self {
            resolver: builder.build()?,
            texts,
            search,
            hosts,
        })
    }

    /// The addresses of one family of that full name, and of no other: neither search domains nor
    /// the hosts file are looked at.
    pub(crate) async fn addresses(
        &self,
        name: Name,
        family: RecordType,
    ) -> Result<Addresses, NoAddress> {
        addresses(self.resolver.lookup(name, family).await)
    }

    /// IPv4 and IPv6 of the first full name that has any.
    async fn ask(&self, name: &Name) -> (Answer, Answer) {
        if let Some(both) = self.of_hosts_file(name) {
            return both;
        }
        let ndots = self.resolver.options().ndots;
        let mut failure = None;
        let mut nothing = None;
        for candidate in name::candidates(name, &self.search, ndots) {
            let v4 = self.resolver.lookup(candidate.clone(), RecordType::A);
            let v6 = self.resolver.lookup(candidate, RecordType::AAAA);
            let (v4, v6) = tokio::join!(v4, v6);
            match (answer(v4), answer(v6)) {
                (Answer::Nothing(text), Answer::Nothing(_)) => {
                    nothing = Some(Answer::Nothing(text))
                }
                // Like the libraries of C: a search domain that is broken doesn't hide the others.
                both @ (Answer::Failed(_), Answer::Failed(_) | Answer::Nothing(_))
                | both @ (Answer::Nothing(_), Answer::Failed(_)) => {
                    failure.get_or_insert(both);
                }
                both => return both,
            }
        }
        let nothing = nothing.unwrap_or_else(|| Answer::Nothing("no name to ask for".to_owned()));
        failure.unwrap_or_else(|| (nothing.clone(), nothing))
    }

    fn of_hosts_file(&self, name: &Name) -> Option<(Answer, Answer)> {
        let of = |kind| {
            let found = self
                .hosts
                .lookup_static_host(&Query::query(name.clone(), kind));
            match answer(found.ok_or(NetError::Message("not there"))) {
                Answer::Addresses { addresses, .. } => Answer::Addresses {
                    addresses,
                    ttl: LOCAL_TTL,
                },
                Answer::Failed(text) | Answer::Nothing(text) => Answer::Nothing(text),
            }
        };
        match (of(RecordType::A), of(RecordType::AAAA)) {
            (Answer::Nothing(_), Answer::Nothing(_)) => None,
            both => Some(both),
        }
    }
}

fn server(address: &SocketAddr) -> NameServerConfig {
    let mut ways = vec![ConnectionConfig::udp(), ConnectionConfig::tcp()];
    ways.iter_mut().for_each(|way| way.port = address.port());
    NameServerConfig::new(address.ip(), true, ways)
}

fn answer(lookup: Result<Lookup, NetError>) -> Answer {
    match addresses(lookup) {
        Ok(Addresses { addresses, ttl }) => Answer::Addresses { addresses, ttl },
        Err(error @ (NoAddress::Name | NoAddress::Record)) => Answer::Nothing(error.to_string()),
        Err(error) => Answer::Failed(error.to_string()),
    }
}

fn addresses(lookup: Result<Lookup, NetError>) -> Result<Addresses, NoAddress> {
    let lookup = match lookup {
        Ok(lookup) => lookup,
        Err(NetError::Dns(DnsError::NoRecordsFound(none))) => {
            return Err(match none.response_code {
                ResponseCode::NXDomain => NoAddress::Name,
                _ => NoAddress::Record,
            });
        }
        Err(NetError::Dns(DnsError::ResponseCode(code))) => {
            return Err(NoAddress::Refused(code.to_string()));
        }
        Err(NetError::Timeout) => return Err(NoAddress::Silent),
        Err(error) => return Err(NoAddress::Other(error.to_string())),
    };
    let records = lookup.answers();
    let addresses: Vec<_> = records.iter().filter_map(|r| r.data.ip_addr()).collect();
    let ttl = records.iter().map(|record| record.ttl).min().unwrap_or(0);
    if addresses.is_empty() {
        return Err(NoAddress::Record);
    }
    Ok(Addresses {
        addresses,
        ttl: Duration::from_secs(ttl.into()),
    })
}
