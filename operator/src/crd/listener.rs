//! Pure. Where clients connect, and which of them may.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::tcp::TcpOptions;

/// Where clients connect.
#[derive(KubeSchema, Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new(
    "!has(self.endPort) || (self.endPort >= self.port && self.endPort - self.port < 100)"
).message(
    "must be at least port and at most 99 above it: a range has at most 100 ports"
).field_path(".endPort"))]
pub struct Listener {
    /// The TCP port that clients dial; the first one of a range.
    #[schemars(range(min = 1, max = 65535))]
    pub port: i32,
    /// The last port of a range of at most 100. The port that is dialled on a backend moves by the
    /// same offset; checks go to the first one. Absent: port alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub end_port: Option<i32>,
    /// The IP address to listen on, where no Service leads here: with `tcpforward run`, in pools with
    /// hostNetwork, or with expose.type None. Absent: every address of the pod, IPv6 and IPv4; with
    /// `tcpforward run`, the address of --bind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 45))]
    #[x_kube(validation = Rule::new("isIP(self)").message(
        "must be an IP address, like 10.0.0.7 or fd00::7: a listener binds an address of its own host"
    ))]
    pub address: Option<String>,
    /// Networks whose clients are served; others are reset before anything is dialled. With the
    /// PROXY protocol the address in the header counts. Absent: anyone is served.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub source_ranges: Option<Vec<Cidr>>,
    /// The PROXY header that load balancers in front send. Absent: none is expected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy_protocol: Option<ProxyProtocolIn>,
    /// How much is served. Absent: as much as the data plane's descriptors carry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<ListenerLimits>,
    /// Options of the sockets that clients connect to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tcp: Option<TcpOptions>,
}

/// A network in CIDR notation.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub struct Cidr(pub String);

impl schemars::JsonSchema for Cidr {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Cidr".into()
    }

    fn inline_schema() -> bool {
        true
    }

    /// 39 characters of an address, a slash and 3 of a length.
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "minLength": 1,
            "maxLength": 43,
            "x-kubernetes-validations": [{
                // Leading zeros are nothing to the API server's isCIDR, and something to others'.
                "rule": "isCIDR(self) && isIP(self.split('/')[0]) && !self.matches('/0[0-9]')",
                "message": "must be a network in CIDR notation, like 10.0.0.0/8 or fd00::/8: one \
                            address is written with /32 or /128",
            }],
        })
    }
}

/// The PROXY header that load balancers in front send, version 1 or 2.
#[derive(KubeSchema, Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ProxyProtocolIn {
    /// Whether a client may come without a header. Optional: trusted sources may send one, everyone
    /// else is taken as they come. Required: a connection without one, or from elsewhere, is refused.
    pub mode: ProxyMode,
    /// Networks of the load balancers: nobody else's header is believed.
    #[schemars(length(min = 1, max = 256))]
    pub trusted_sources: Vec<Cidr>,
}

/// Whether a client may come without a header.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, schemars::JsonSchema, Serialize)]
pub enum ProxyMode {
    /// It may be left out.
    Optional,
    /// It may not.
    Required,
}

/// How much is served.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ListenerLimits {
    /// Connections at a time, over the whole pool. Fewer than it has data planes: some of them get
    /// none. Absent: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10_000_000))]
    pub connections: Option<i32>,
    /// Connections at a time of one client address, on each data plane. Absent: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10_000_000))]
    pub connections_per_source: Option<i32>,
    /// New connections in a second, over the whole pool. Fewer than it has data planes: some of
    /// them get none. Absent: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10_000_000))]
    pub connections_per_second: Option<i32>,
}
