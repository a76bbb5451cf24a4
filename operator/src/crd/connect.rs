//! Pure. Clients say by HTTP CONNECT where they want to go; rules say whether they may.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::listener::Cidr;
use super::via::Via;
use super::{DURATION, HOST_PATTERN, LABEL, SIZE, USER_NAME};

/// A proxy for HTTP CONNECT: clients say where they want to go, rules say whether they may.
#[derive(KubeSchema, Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new(
    "has(self.authentication) || self.rules.all(r, !has(r.subjects))"
).message(
    "subjects are users, and nobody is asked who they are: set authentication, or take subjects out"
).field_path(".rules"))]
pub struct HttpConnect {
    /// Asked in order: the first one that matches decides. Where none does, the answer is 403.
    #[schemars(length(min = 1, max = 256))]
    #[x_kube(validation = Rule::new(
        "self.all(r, self.exists_one(other, other.name == r.name))"
    ).message("two rules have the same name: give each rule a name of its own"))]
    pub rules: Vec<ConnectRule>,
    /// How clients prove who they are. Absent: nobody is asked, and listener.sourceRanges says who
    /// may use the proxy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authentication: Option<Authentication>,
    /// What becomes of a request that rules refuse. Enforce: it is refused. Report: it is let
    /// through, logged and counted, with `tcpforward run` and where the DataPlane allows it. Absent:
    /// Enforce.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "PolicyMode")]
    pub mode: Option<PolicyMode>,
    /// How much is served. Absent: no limit of tunnels, 10s and 16Ki for the head of a request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<TunnelLimits>,
    /// A parent proxy that is asked for what clients ask for; Services are reached directly. Names
    /// go there as they are, judged by hosts, ports and subjects; one that a rule with cidrs could
    /// decide about is resolved first, and its address goes there. Absent: targets are reached
    /// directly.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub via: Option<Via>,
}

/// What becomes of a request that rules refuse.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, schemars::JsonSchema, Serialize)]
pub enum PolicyMode {
    /// It is refused.
    Enforce,
    /// It is told.
    Report,
}

/// Kinds of conditions that must all hold; of a list one entry has to.
#[derive(KubeSchema, Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ConnectRule {
    /// Names the rule in logs and metrics; unique within the forward.
    #[schemars(length(min = 1, max = 63), regex(pattern = LABEL))]
    pub name: String,
    /// What the rule says of a request that it matches.
    pub action: RuleAction,
    /// Names that clients ask for: a name, *.example.com for those below one at any depth, or * for
    /// any. Private addresses that a name leads to need an entry of cidrs. Absent: names and
    /// addresses alike.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256), inner(length(min = 1, max = 253), regex(pattern = HOST_PATTERN)))]
    pub hosts: Option<Vec<String>>,
    /// Networks of addresses that are dialled; one that is outside of them is not. Absent: any but
    /// private ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub cidrs: Option<Vec<Cidr>>,
    /// Services that clients ask for, as in db.shop.svc: their ready endpoints are dialled. All
    /// rules that allow lead to at most 512 ports of Services.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub services: Option<Vec<ServiceName>>,
    /// Ports that clients ask for. Absent: 443.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256), inner(range(min = 1, max = 65535)))]
    pub ports: Option<Vec<i32>>,
    /// Who asks. Absent: everyone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub subjects: Option<Vec<Subject>>,
}

/// What a rule says.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, schemars::JsonSchema, Serialize)]
pub enum RuleAction {
    /// It may.
    Allow,
    /// It may not.
    Deny,
}

/// A Service.
#[derive(KubeSchema, Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceName {
    /// Namespace of the Service. Absent: the namespace of the TcpForward. Any other one has to permit
    /// it by a ReferenceGrant of its own; taking that back cuts the tunnels within 5 s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = LABEL))]
    pub namespace: Option<String>,
    /// Name of the Service.
    #[schemars(length(min = 1, max = 63), regex(pattern = LABEL))]
    pub name: String,
}

/// Somebody who has proven who they are.
#[derive(KubeSchema, Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Subject {
    /// User: one of the users that authentication knows.
    pub kind: SubjectKind,
    /// Name of the user.
    #[schemars(length(min = 1, max = 255), regex(pattern = USER_NAME))]
    pub name: String,
}

/// Kinds of subjects.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, schemars::JsonSchema, Serialize)]
pub enum SubjectKind {
    /// One of htpasswd.
    User,
}

/// How clients prove who they are.
#[derive(KubeSchema, Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Authentication {
    /// By user and password, in the header Proxy-Authorization.
    pub basic: BasicAuthentication,
}

/// Users and passwords.
#[derive(KubeSchema, Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BasicAuthentication {
    /// The Secret of the forward's namespace whose key auth has a line of htpasswd for each user,
    /// hashed by bcrypt. While it is missing or broken, nobody gets in.
    pub secret_ref: SecretRef,
}

/// A Secret of the forward's namespace.
#[derive(KubeSchema, Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SecretRef {
    /// Name of the Secret.
    #[schemars(length(min = 1, max = 253), regex(pattern = super::SUBDOMAIN))]
    pub name: String,
}

/// How much a proxy serves.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TunnelLimits {
    /// Tunnels at a time, over the whole pool. Fewer than it has data planes: some of them get none.
    /// Absent: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10_000_000))]
    pub tunnels: Option<i32>,
    /// Tunnels at a time of one client address, on each data plane. Absent: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10_000_000))]
    pub tunnels_per_source: Option<i32>,
    /// Tunnels at a time of one user, on each data plane. Absent: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10_000_000))]
    pub tunnels_per_subject: Option<i32>,
    /// How long a client may take from connecting to the end of its request's head. Absent: 10s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 28), regex(pattern = DURATION))]
    #[x_kube(validation = Rule::new(
        "duration(self) > duration('0s') && duration(self) <= duration('5m')"
    ).message("must be longer than 0s and at most 5m"))]
    pub header_timeout: Option<String>,
    /// Bytes of the head of a request, from 1Ki to 64Ki. Absent: 16Ki.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new(
        "quantity(string(self)).compareTo(quantity('1Ki')) >= 0 && \
         quantity(string(self)).compareTo(quantity('64Ki')) <= 0"
    ).message("must be from 1Ki to 64Ki"))]
    pub max_header_size: Option<Size>,
}

/// A number of bytes, as a Quantity.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Size {
    /// Bytes.
    Number(i32),
    /// Bytes, or with a unit.
    Text(String),
}

impl schemars::JsonSchema for Size {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Size".into()
    }

    fn inline_schema() -> bool {
        true
    }

    /// The bounds are a rule of the field, which holds for numbers and texts alike.
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "x-kubernetes-int-or-string": true,
            "minLength": 1,
            "maxLength": 8,
            "pattern": SIZE,
        })
    }
}
