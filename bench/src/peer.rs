//! Pure. Who is measured, and what each is told to be.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;

use serde::{Deserialize, Serialize};
use tcpforward_tests::forwarder::target;

/// Who is measured.
#[derive(
    Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize, clap::ValueEnum,
)]
#[serde(rename_all = "kebab-case")]
pub enum Peer {
    /// `tcpforward run` with one forward to one backend.
    Ours,
    /// The same as a CONNECT proxy.
    OursConnect,
    /// The same with a hundred forwards to a hundred backends each.
    OursMany,
    /// HAProxy, copying.
    Haproxy,
    /// HAProxy that always splices: left to itself (`option splice-auto`) it copied here.
    HaproxySplice,
    /// nginx's stream module.
    Nginx,
    /// Envoy's tcp_proxy.
    Envoy,
    /// `bench/relay`: Go's io.Copy, which splices.
    Go,
    /// The same as a CONNECT proxy over net/http.
    GoConnect,
    /// tinyproxy, a CONNECT proxy.
    Tinyproxy,
    /// No relay at all: what the load and the machine can do.
    Direct,
}

/// Which loads make sense for a peer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Loads {
    /// Every one.
    All,
    /// Those without streams and idle connections.
    Short,
    /// Only the opening of tunnels.
    Opening,
}

/// One of the loads of a run.
#[derive(Clone, Copy, Debug, Eq, PartialEq, clap::ValueEnum)]
pub enum Load {
    /// Connections that say nothing.
    Idle,
    /// Endless bytes, one way after the other.
    Stream,
    /// Messages there and back.
    PingPong,
    /// Whole connections, one after the other.
    Exchange,
}

/// What a peer has to know.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// Where clients connect; more than one for a peer with many forwards.
    pub listeners: &'a [SocketAddr],
    /// Where servers are.
    pub backends: &'a [SocketAddr],
    /// A folder that it may write to.
    pub folder: &'a Path,
    /// Where nginx keeps its stream module, unless it is compiled in.
    pub nginx_module: Option<&'a str>,
}

impl Peer {
    /// Its name in tables.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ours => "tcpforward",
            Self::OursConnect => "tcpforward CONNECT",
            Self::OursMany => "tcpforward 100 × 100",
            Self::Haproxy => "HAProxy",
            Self::HaproxySplice => "HAProxy splice",
            Self::Nginx => "nginx",
            Self::Envoy => "Envoy",
            Self::Go => "Go io.Copy",
            Self::GoConnect => "Go CONNECT",
            Self::Tinyproxy => "tinyproxy",
            Self::Direct => "no relay",
        }
    }

    /// Idle connections that it is given. Go's io.Copy holds six descriptors for each, two of them of a pipe for
    /// either way, of the 20,000 that a process may have in the runs on record.
    #[must_use]
    pub fn most_idle(self) -> usize {
        match self {
            Self::Go => 2000,
            _ => usize::MAX,
        }
    }

    /// What is done to it.
    #[must_use]
    pub fn loads(self) -> Loads {
        match self {
            Self::GoConnect | Self::Tinyproxy => Loads::Opening,
            Self::OursMany => Loads::Short,
            _ => Loads::All,
        }
    }

    /// Forwards, and backends of each.
    #[must_use]
    pub fn width(self) -> usize {
        match self {
            Self::OursMany => 100,
            _ => 1,
        }
    }

    /// Whether clients have to ask it for a tunnel.
    #[must_use]
    pub fn is_proxy(self) -> bool {
        matches!(self, Self::OursConnect | Self::GoConnect | Self::Tinyproxy)
    }

    /// The file that it reads; empty: it reads none.
    #[must_use]
    pub fn configuration(self, place: &Place<'_>) -> String {
        match self {
            Self::Ours | Self::OursMany => relays(place),
            Self::OursConnect => proxy(place),
            Self::Haproxy => haproxy(place, ""),
            Self::HaproxySplice => {
                haproxy(place, "  option splice-request\n  option splice-response\n")
            }
            Self::Nginx => nginx(place),
            Self::Envoy => envoy(place),
            Self::Tinyproxy => tinyproxy(place),
            Self::Go | Self::GoConnect | Self::Direct => String::new(),
        }
    }
}

impl Place<'_> {
    fn listener(&self) -> SocketAddr {
        first(self.listeners)
    }

    fn backend(&self) -> SocketAddr {
        first(self.backends)
    }
}

fn first(addresses: &[SocketAddr]) -> SocketAddr {
    let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
    addresses.first().copied().unwrap_or(nowhere)
}

/// Limits that no load of the bench reaches, so that they are kept count of.
const LIMITS: &str =
    "limits: {connections: 8000, connectionsPerSource: 8000, connectionsPerSecond: 1000000}";

/// One forward to each backend by its address, or many by a Service that all backends belong to.
fn relays(place: &Place<'_>) -> String {
    let (mut text, limits, targets) = match place.listeners {
        [_] => (String::new(), LIMITS, target("b0", place.backend(), "")),
        _ => (
            service(place.backends),
            // All of them together must be within what descriptors carry.
            "limits: {connections: 80, connectionsPerSource: 80, connectionsPerSecond: 1000000}",
            "    - {name: all, service: {name: all, port: 80}}\n".to_owned(),
        ),
    };
    for (i, listener) in place.listeners.iter().enumerate() {
        let port = listener.port();
        // Writing to a string can't fail.
        let _ = write!(
            text,
            "apiVersion: tcpforward.dev/v1alpha1\nkind: TcpForward\nmetadata: {{name: bench-{i}}}\nspec:\n  \
             listener: {{port: {port}, sourceRanges: [127.0.0.0/8], {limits}}}\n  relay:\n    \
             backendLimits: {{connections: 8000}}\n    targets:\n{targets}---\n"
        );
    }
    text
}

/// A Service of those, which have one port.
fn service(backends: &[SocketAddr]) -> String {
    let port = first(backends).port();
    let endpoints = backends.iter().map(|backend| backend.ip());
    let endpoints: String = endpoints
        .map(|ip| format!("- addresses: [\"{ip}\"]\n"))
        .collect();
    format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: all}}\nspec:\n  ports:\n  - {{name: tcp, port: 80}}\n---\n\
         apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata:\n  name: all\n  \
         labels: {{kubernetes.io/service-name: all}}\naddressType: IPv4\nports:\n- {{name: tcp, port: {port}}}\n\
         endpoints:\n{endpoints}---\n"
    )
}

fn proxy(place: &Place<'_>) -> String {
    let (port, to) = (place.listener().port(), place.backend().port());
    format!(
        "apiVersion: tcpforward.dev/v1alpha1\nkind: TcpForward\nmetadata: {{name: bench}}\nspec:\n  \
         listener: {{port: {port}, sourceRanges: [127.0.0.0/8], {LIMITS}}}\n  httpConnect:\n    rules:\n    \
         - {{name: backends, action: Allow, cidrs: [127.0.0.0/8], ports: [{to}]}}\n    \
         limits: {{tunnels: 8000, tunnelsPerSource: 8000}}\n"
    )
}

fn haproxy(place: &Place<'_>, option: &str) -> String {
    let (listener, backend) = (place.listener(), place.backend());
    format!(
        "global\n  nbthread 1\n  maxconn 7500\n  log stdout format raw local0\ndefaults\n  mode tcp\n  log global\n  \
         option tcplog\n{option}  timeout connect 5s\n  timeout client 1h\n  timeout server 1h\nlisten bench\n  \
         bind {listener} backlog 4096\n  server s1 {backend}\n"
    )
}

fn nginx(place: &Place<'_>) -> String {
    let (listener, backend, folder) = (place.listener(), place.backend(), place.folder.display());
    let module = match place.nginx_module {
        Some(file) => format!("load_module {file};\n"),
        None => String::new(),
    };
    format!(
        "{module}daemon off;\nmaster_process off;\npid {folder}/nginx.pid;\nerror_log {folder}/nginx.log warn;\n\
         events {{ worker_connections 18000; }}\nstream {{\n  log_format basic '$remote_addr [$time_local] $protocol \
         $status $bytes_sent $bytes_received $session_time \"$upstream_addr\"';\n  \
         access_log {folder}/nginx-access.log basic;\n  server {{\n    listen {listener} backlog=4096;\n    \
         proxy_pass {backend};\n    proxy_timeout 1h;\n  }}\n}}\n"
    )
}

/// Envoy's word for what bounds a cluster's connections, which stands for something else in ours.
const NO_LIMITS: &str = concat!("circuit_", "breakers");

fn envoy(place: &Place<'_>) -> String {
    let address = |at: SocketAddr| {
        let (ip, port) = (at.ip(), at.port());
        format!("{{socket_address: {{address: {ip}, port_value: {port}}}}}")
    };
    let (listener, backend) = (address(place.listener()), address(place.backend()));
    format!(
        "static_resources:\n  listeners:\n  - address: {listener}\n    filter_chains:\n    - filters:\n      \
         - name: envoy.filters.network.tcp_proxy\n        typed_config:\n          \
         \"@type\": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy\n          \
         stat_prefix: bench\n          cluster: bench\n          access_log:\n          \
         - name: envoy.access_loggers.stdout\n            typed_config: {{\"@type\": \
         type.googleapis.com/envoy.extensions.access_loggers.stream.v3.StdoutAccessLog}}\n  clusters:\n  \
         - name: bench\n    type: STATIC\n    connect_timeout: 5s\n    {NO_LIMITS}: {{thresholds: \
         [{{max_connections: 100000, max_pending_requests: 100000, max_requests: 100000}}]}}\n    \
         load_assignment: {{cluster_name: bench, endpoints: [{{lb_endpoints: [{{endpoint: {{address: {backend}}}}}]}}]}}\n"
    )
}

fn tinyproxy(place: &Place<'_>) -> String {
    let (ip, port) = (place.listener().ip(), place.listener().port());
    let folder = place.folder.display();
    format!(
        "Port {port}\nListen {ip}\nMaxClients 10000\nTimeout 600\nLogLevel Connect\nLogFile \"{folder}/tinyproxy-access.log\"\n"
    )
}
