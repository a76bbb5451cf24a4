//! Pure. The ways to go over a path that are compared, and what forwarders on it are told.

use std::net::{Ipv4Addr, SocketAddr};

use serde::{Deserialize, Serialize};

use crate::load::Way;
use crate::path::place::{End, FAST_SERVER, LISTENER, SLOW_SERVER};
use crate::path::plan::Controls;

/// A way to go.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Route {
    /// From client to server, both by the slow congestion control. What the others are compared with.
    Slow,
    /// The same where who sends has the fast one.
    Fast,
    /// Through a forwarder on the client's end; client and server have the slow one.
    AtClient,
    /// Through a forwarder on the server's end; client and server have the slow one.
    AtServer,
}

impl Route {
    /// All, in the order of tables.
    pub const ALL: [Self; 4] = [Self::Slow, Self::Fast, Self::AtClient, Self::AtServer];

    /// Its name in tables.
    #[must_use]
    pub fn name(self, controls: &Controls) -> String {
        match self {
            Self::Slow => format!("direct, {}", controls.slow),
            Self::Fast => format!("direct, {} at the sender", controls.fast),
            Self::AtClient => "forwarder near the client".to_owned(),
            Self::AtServer => "forwarder near the server".to_owned(),
        }
    }

    /// Where its client connects.
    #[must_use]
    pub fn address(self) -> SocketAddr {
        match self {
            Self::Slow => End::Far.port(SLOW_SERVER),
            Self::Fast => End::Far.port(FAST_SERVER),
            Self::AtClient => (Ipv4Addr::LOCALHOST, LISTENER).into(),
            Self::AtServer => End::Far.port(LISTENER),
        }
    }

    /// By what its client sends.
    #[must_use]
    pub fn control(self, controls: &Controls) -> &str {
        match self {
            Self::Fast => &controls.fast,
            _ => &controls.slow,
        }
    }

    /// Whether the sender on the long part has the fast congestion control: a forwarder changes only what it sends.
    #[must_use]
    pub fn is_fast(self, way: Way) -> bool {
        match self {
            Self::Slow => false,
            Self::Fast => true,
            Self::AtClient => way == Way::Up,
            Self::AtServer => way == Way::Down,
        }
    }
}

/// The options of the side that faces the long part.
#[must_use]
pub fn options(controls: &Controls) -> String {
    format!("{{congestionControl: {}, sendBuffer: 4Mi}}", controls.fast)
}

/// What the forwarder on that end is told: it leads to the server that has the slow congestion control.
#[must_use]
pub fn manifest(end: End, controls: &Controls) -> String {
    let options = options(controls);
    let (listener, relay) = match end {
        End::Near => (String::new(), format!("    tcp: {options}\n")),
        End::Far => (format!(", tcp: {options}"), String::new()),
    };
    let host = End::Far.address();
    format!(
        "apiVersion: tcpforward.dev/v1alpha1\nkind: TcpForward\nmetadata: {{name: path}}\nspec:\n  \
         listener: {{port: {LISTENER}{listener}}}\n  relay:\n{relay}    targets:\n    \
         - {{name: server, address: {{host: \"{host}\", port: {SLOW_SERVER}}}}}\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forwarder_is_fast_where_it_is_the_one_that_sends_far() {
        let fast = |way| Route::ALL.map(|route| route.is_fast(way));
        assert_eq!(fast(Way::Down), [false, true, false, true]);
        assert_eq!(fast(Way::Up), [false, true, true, false]);
    }

    #[test]
    fn options_stand_on_the_side_that_faces_the_long_part() {
        let controls = Controls::default();
        let near = manifest(End::Near, &controls);
        let tcp = "tcp: {congestionControl: bbr, sendBuffer: 4Mi}";
        assert!(near.contains(&format!("  relay:\n    {tcp}\n")), "{near}");
        assert!(near.contains("listener: {port: 7000}\n"), "{near}");
        let far = manifest(End::Far, &controls);
        let listener = format!("listener: {{port: 7000, {tcp}}}\n  relay:\n    targets:\n");
        assert!(far.contains(&listener), "{far}");
    }
}
