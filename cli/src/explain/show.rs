//! Pure. An explanation for people, in 80 columns, and for programs.

use std::fmt::Write as _;
use std::net::IpAddr;

use serde_json::{Value, json};
use tcpforward_dataplane::connect::target::Target;
use tcpforward_protocol::snapshot::{ForwardName, PolicyMode};

use super::explanation::{Answer, Explanation, Kind, Way};
use crate::terminal::wrap;

/// What was asked.
pub(super) struct Head<'a> {
    pub(super) forward: &'a ForwardName,
    /// Absent: it is not served.
    pub(super) mode: Option<PolicyMode>,
    pub(super) target: &'a Target,
    pub(super) user: Option<&'a str>,
    pub(super) from: Option<IpAddr>,
}

pub(super) fn text(head: &Head<'_>, explanation: &Explanation) -> String {
    let mut first = format!("forward {}", head.forward);
    if let Some(mode) = head.mode {
        let _ = write!(first, " ({})", word(mode));
    }
    let _ = write!(first, ", {}", head.target);
    if let Some(user) = head.user {
        let _ = write!(first, " as {user}");
    }
    if let Some(from) = head.from {
        let _ = write!(first, " from {from}");
    }
    let mut text = String::new();
    wrap(&mut text, "", "  ", &first);
    wrap(&mut text, "", "  ", &explanation.reason);
    let addresses = explanation.ways.iter().map(|way| way.address.len());
    let width = addresses.max().unwrap_or_default();
    for Way { address, what, .. } in &explanation.ways {
        let first = format!("  {address:width$}  ");
        wrap(&mut text, &first, &" ".repeat(first.len()), what);
    }
    wrap(&mut text, "", "  ", &heard(explanation.answer));
    for note in &explanation.notes {
        wrap(&mut text, "note: ", "  ", note);
    }
    text
}

/// What the client hears, for people.
fn heard(answer: Answer) -> String {
    match answer {
        Answer::Open => "the client gets 200 once one of them is connected".to_owned(),
        Answer::Perhaps => "the client gets 200 unless something else refuses it".to_owned(),
        Answer::Refused(refusal) => format!(
            "the client gets {}, Proxy-Status: {}",
            refusal.status_line(),
            refusal.proxy_status()
        ),
        Answer::Reset(ending) => {
            format!(
                "the client is reset before a word is read ({})",
                ending.word()
            )
        }
        Answer::NotServed => "nobody listens, unless an older version is served".to_owned(),
    }
}

pub(super) fn json(head: &Head<'_>, explanation: &Explanation) -> Value {
    let (status, proxy_status) = match explanation.answer {
        Answer::Open | Answer::Perhaps => (Some(200), None),
        Answer::Refused(refusal) => (Some(refusal.status()), Some(refusal.proxy_status())),
        Answer::Reset(_) | Answer::NotServed => (None, None),
    };
    let ending = match explanation.answer {
        Answer::Open | Answer::Perhaps | Answer::NotServed => None,
        Answer::Refused(refusal) => Some(refusal.ending().word()),
        Answer::Reset(ending) => Some(ending.word()),
    };
    let ways = |kind| -> Vec<Value> {
        let of_kind = explanation.ways.iter().filter(|way| way.kind == kind);
        let values = of_kind.map(
            |way| json!({"address": way.address, "allowed": way.is_allowed, "reason": way.what}),
        );
        values.collect()
    };
    json!({
        "forward": head.forward.to_string(),
        "mode": head.mode.map(word),
        "target": head.target.to_string(),
        "user": head.user,
        "from": head.from,
        "allowed": explanation.answer.is_allowed(),
        "certain": explanation.answer != Answer::Perhaps,
        "rule": explanation.rule,
        "reason": explanation.reason,
        "status": status,
        "proxyStatus": proxy_status,
        "ending": ending,
        "addresses": ways(Kind::Address),
        "backends": ways(Kind::Backend),
        "notes": explanation.notes,
    })
}

fn word(mode: PolicyMode) -> &'static str {
    match mode {
        PolicyMode::Enforce => "Enforce",
        PolicyMode::Report => "Report",
    }
}
