//! Pure. What a setup is in our words.

use crate::forwarder::target;
use crate::torture::relay::{LISTENER, Setup};

impl Setup {
    /// Our manifest.
    #[must_use]
    pub fn manifest(&self) -> String {
        let last = self.backends.len().saturating_sub(1);
        let more = |i: usize| match &self.last_target {
            Some(fields) if i == last => fields.as_str(),
            _ => self.target.as_str(),
        };
        let targets = self.backends.iter().enumerate();
        let mut targets: String = targets
            .map(|(i, address)| target(&format!("b{i}"), *address, more(i)))
            .collect();
        let mut objects = String::new();
        if self.service {
            targets = "    - {name: all, service: {name: all, port: 8000}}\n".to_owned();
            objects = self.service_objects();
        }
        if self.tunnels {
            return self.proxy() + &objects;
        }
        let port = port();
        // A listener may be said once: a row that says its own replaces the plain one.
        let listener = match self.spec.contains("  listener:") {
            true => String::new(),
            false => format!("  listener: {{port: {port}}}\n"),
        };
        format!(
            "apiVersion: tcpforward.dev/v1alpha1\nkind: TcpForward\nmetadata: {{name: torture}}\n\
             spec:\n{listener}{}  relay:\n{}    targets:\n{targets}{objects}{}",
            self.spec, self.relay, self.beside
        )
    }

    /// A CONNECT proxy that leads to the servers, or to their Service.
    fn proxy(&self) -> String {
        let to = match self.service {
            true => "services: [{name: all}], ports: [8000]",
            false => "cidrs: [10.77.0.0/24], ports: [8000]",
        };
        let port = port();
        format!(
            "apiVersion: tcpforward.dev/v1alpha1\nkind: TcpForward\nmetadata: {{name: torture}}\n\
             spec:\n  listener: {{port: {port}, address: 127.0.0.1}}\n{}  httpConnect:\n{}    \
             rules:\n    - {{name: servers, action: Allow, {to}}}\n",
            self.spec, self.connect
        )
    }

    /// A Service and its endpoints.
    fn service_objects(&self) -> String {
        let endpoints = self.backends.iter().map(|address| {
            format!(
                "- {{addresses: [\"{}\"], conditions: {{ready: true}}}}\n",
                address.ip()
            )
        });
        let endpoints: String = endpoints.collect();
        format!(
            "---\napiVersion: v1\nkind: Service\nmetadata: {{name: all}}\nspec:\n  ports:\n  - {{port: 8000}}\n\
             ---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata:\n  name: all-1\n  \
             labels: {{kubernetes.io/service-name: all}}\naddressType: IPv4\nports:\n\
             - {{name: \"\", port: 8000, protocol: TCP}}\nendpoints:\n{endpoints}"
        )
    }
}

fn port() -> &'static str {
    LISTENER.rsplit(':').next().unwrap_or_default()
}
