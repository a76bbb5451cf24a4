//! Pure. All that the status of one forward says.

use k8s_openapi::jiff::Timestamp;
use tcpforward_operator::crd::status::{Backends, DataPlanes};

use super::view::{Truth, View};
use crate::terminal::{shorten, wrap};

/// Of a name that stands with others on a line.
const NAME: usize = 40;

/// Of a text that a status carries: ours are shorter, and those of others have no such bound.
const MESSAGE: usize = 1024;

pub(super) fn text(view: &View, now: Timestamp) -> String {
    let mut page = Page {
        text: String::new(),
        now,
    };
    let (name, ports, pool) = (&view.name, view.ports(), &view.pool);
    page.say("", &format!("{name}, port {ports}, pool {pool}"));
    page.ready(view);
    page.conditions(view);
    if let Some(backends) = &view.status.backends {
        page.backends(backends);
    }
    if let Some(pods) = &view.status.data_planes {
        page.pods(view, pods);
    }
    let addresses = view.status.addresses.iter();
    let addresses: Vec<_> = addresses
        .map(|address| match address.value.contains(':') {
            true => format!("[{}]:{}", address.value, address.port),
            false => format!("{}:{}", address.value, address.port),
        })
        .collect();
    if !addresses.is_empty() {
        page.say("", &format!("addresses: {}", addresses.join(", ")));
    }
    page.text
}

struct Page {
    text: String,
    now: Timestamp,
}

impl Page {
    /// A line, and what is too long for it a little further in.
    fn say(&mut self, indent: &str, text: &str) {
        wrap(&mut self.text, indent, &format!("{indent}  "), text);
    }

    fn ready(&mut self, view: &View) {
        let ready = &view.ready;
        let since = ready.since.map(|since| self.since(since));
        let since = since.unwrap_or_default();
        match ready.is {
            Truth::True => self.say("", &format!("ready{since}")),
            Truth::False => self.say("", &format!("not ready{since}: {}", ready.reason)),
            Truth::Unknown => self.say("", &format!("nobody knows: {}", ready.reason)),
        }
        if ready.is != Truth::True {
            self.say("  ", &shorten(&ready.message, MESSAGE));
        }
    }

    fn conditions(&mut self, view: &View) {
        if view.status.conditions.is_empty() {
            return;
        }
        self.say("", "conditions:");
        for condition in &view.status.conditions {
            let kind = shorten(&condition.type_, NAME);
            let since = self.since(condition.last_transition_time.0);
            let reason = match condition.reason == condition.type_ {
                true => String::new(),
                false => format!(" {}", condition.reason),
            };
            self.say("  ", &format!("{kind}={}{reason}{since}", condition.status));
            let is_said = condition.status != "True" && condition.message != view.ready.message;
            if is_said {
                self.say("    ", &shorten(&condition.message, MESSAGE));
            }
        }
    }

    fn backends(&mut self, backends: &Backends) {
        let (healthy, total, ejected) = (backends.healthy, backends.total, backends.ejected);
        let left_out = match ejected {
            0 => String::new(),
            n => format!(", {n} left out"),
        };
        self.say(
            "",
            &format!("backends: {healthy} of {total} healthy{left_out}"),
        );
        for backend in &backends.unhealthy {
            let target = shorten(&backend.target, NAME);
            let (address, reason) = (&backend.address, &backend.reason);
            let since = self.since(backend.since.0);
            self.say(
                "  ",
                &format!("{address} of target {target}: {reason}{since}"),
            );
            self.say("    ", &shorten(&backend.message, MESSAGE));
        }
        let listed = i32::try_from(backends.unhealthy.len()).unwrap_or(i32::MAX);
        self.more(total.saturating_sub(healthy).saturating_sub(listed));
    }

    fn pods(&mut self, view: &View, pods: &DataPlanes) {
        let (programmed, ready) = (pods.programmed, pods.ready);
        let refuse = match pods.rejected {
            0 => String::new(),
            1 => ", 1 refuses it".to_owned(),
            n => format!(", {n} refuse it"),
        };
        let generation = view.status.observed_generation.unwrap_or(view.generation);
        let serve = format!("{programmed} of {ready} serve generation {generation}{refuse}");
        self.say("", &format!("data plane pods: {serve}"));
        for pod in &pods.pending {
            let name = shorten(&pod.pod, NAME);
            let serves = match pod.generation {
                Some(generation) => format!("serves generation {generation}"),
                None => "serves none".to_owned(),
            };
            self.say("  ", &format!("{name} {serves}: {}", pod.reason));
            self.say("    ", &shorten(&pod.message, MESSAGE));
        }
        let listed = i32::try_from(pods.pending.len()).unwrap_or(i32::MAX);
        self.more(ready.saturating_sub(programmed).saturating_sub(listed));
    }

    /// Statuses list the first few.
    fn more(&mut self, n: i32) {
        if n > 0 {
            self.say("  ", &format!("and {n} more"));
        }
    }

    fn since(&self, time: Timestamp) -> String {
        format!(", for {}", age(self.now.as_second() - time.as_second()))
    }
}

/// A span of time in one number, as kubectl shows it. A clock that is behind sees none.
fn age(seconds: i64) -> String {
    match seconds {
        ..120 => format!("{}s", seconds.max(0)),
        120..7_200 => format!("{}m", seconds / 60),
        7_200..172_800 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}
