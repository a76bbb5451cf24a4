//! Pure. Socket options of one side.

use kube::KubeSchema;
use kube::core::Rule;
use serde::{Deserialize, Serialize};

use super::connect::Size;
use super::{CONGESTION_CONTROL, DURATION, SECONDS, some_time};

/// Socket options of one side. What the kernel of a data plane refuses is a refusal of the forward
/// there, and what was served before goes on.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TcpOptions {
    /// Sends small segments at once, instead of waiting for more (Nagle). Absent: true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub no_delay: Option<bool>,
    /// Finds a silent peer that is dead. Absent: after 60s, by 3 probes 10s apart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tcp_keepalive: Option<TcpKeepalive>,
    /// Ends a connection whose sent bytes stay unacknowledged for so long; a peer that is alive and
    /// takes nothing counts as well. Absent: not set, dead peers are found without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 28), regex(pattern = DURATION))]
    #[x_kube(validation = some_time())]
    pub user_timeout: Option<String>,
    /// The largest segment in bytes, for paths that lose larger ones silently. Absent: what the path
    /// allows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 88, max = 32767))]
    pub max_segment_size: Option<i32>,
    /// Bytes that may wait to be sent and acknowledged, from 4Ki to 512Mi; the kernel allows no more
    /// than net.core.wmem_max. Absent: the kernel's own tuning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = buffer())]
    pub send_buffer: Option<Size>,
    /// Bytes that may wait to be read, from 4Ki to 512Mi; the kernel allows no more than
    /// net.core.rmem_max. Absent: the kernel's own tuning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = buffer())]
    pub receive_buffer: Option<Size>,
    /// The congestion control, one of net.ipv4.tcp_allowed_congestion_control on the nodes. Absent:
    /// the kernel's default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 15), regex(pattern = CONGESTION_CONTROL))]
    pub congestion_control: Option<String>,
    /// Bytes that may wait unsent before no more are taken, from 4Ki to 512Mi. Absent: the kernel's
    /// net.ipv4.tcp_notsent_lowat.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = buffer())]
    pub not_sent_lowat: Option<Size>,
    /// Lets a client's first bytes come with its SYN, which may bring them twice. For listeners only:
    /// a backend gets no byte before it has answered. Absent: false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fast_open: Option<bool>,
    /// Speaks Multipath TCP with those who do, and TCP with all others. Absent: false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub multipath: Option<bool>,
    /// The traffic class of what is sent: four times the DSCP, such as 184 for expedited forwarding.
    /// Absent: the kernel's default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 252))]
    #[x_kube(validation = Rule::new("self % 4 == 0").message(
        "must be a multiple of 4: it is four times the DSCP, the two low bits are TCP's own"
    ))]
    pub traffic_class: Option<i32>,
}

/// How a silent peer that is dead is found.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TcpKeepalive {
    /// Silence before the first probe. Absent: 60s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 28), regex(pattern = SECONDS))]
    #[x_kube(validation = keepalive_time())]
    pub idle_time: Option<String>,
    /// From one probe to the next. Absent: 10s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 28), regex(pattern = SECONDS))]
    #[x_kube(validation = keepalive_time())]
    pub interval: Option<String>,
    /// Probes without an answer that end the connection. Absent: 3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 127))]
    pub probes: Option<i32>,
}

fn keepalive_time() -> Rule {
    Rule::new("duration(self) >= duration('1s') && duration(self) <= duration('32767s')")
        .message("must be from 1s to 32767s, which is what kernels take")
}

fn buffer() -> Rule {
    Rule::new(
        "quantity(string(self)).compareTo(quantity('4Ki')) >= 0 && \
         quantity(string(self)).compareTo(quantity('512Mi')) <= 0",
    )
    .message("must be from 4Ki to 512Mi")
}
