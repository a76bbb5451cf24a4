//! Pure. A parent proxy: who is asked, by HTTP CONNECT, for what is not reached directly.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::SecretRef;
use super::target::DNS_NAME;

/// A parent proxy.
#[derive(KubeSchema, Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new(
    "!has(self.caSecretRef) || self.proxy.scheme == 'https'"
).message(
    "a CA is for https, where the parent proxy has a certificate: set proxy.scheme to https, or take caSecretRef out"
).field_path(".caSecretRef"))]
pub struct Via {
    /// Where the parent proxy listens.
    pub proxy: ParentProxy,
    /// Who we are to it. Absent: it doesn't ask.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials: Option<ParentCredentials>,
    /// The Secret of the forward's namespace whose key ca.crt has the certificates, as PEM, of who
    /// may have signed that of the parent proxy. While it is missing or broken, the parent proxy is
    /// not asked. Absent: the public signers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_secret_ref: Option<SecretRef>,
}

/// Where a parent proxy listens.
#[derive(KubeSchema, Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ParentProxy {
    /// http: it is spoken to in the clear, credentials included. https: by TLS, and its certificate
    /// has to be that of host.
    pub scheme: Scheme,
    /// Its IP address or DNS name; a name is looked up as it is, without search domains.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new(format!("isIP(self) || self.matches('{DNS_NAME}')")).message(
        "must be an IP address, like 10.0.0.8 or fd00::7, or a DNS name in lower case, like proxy.example.com: numbers alone are not a name"
    ))]
    pub host: String,
    /// Its TCP port.
    #[schemars(range(min = 1, max = 65535))]
    pub port: i32,
}

/// Whether a parent proxy is spoken to in the clear.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, schemars::JsonSchema, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Scheme {
    /// It is.
    Http,
    /// By TLS.
    Https,
}

/// Who we are to a parent proxy.
#[derive(KubeSchema, Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ParentCredentials {
    /// The Secret of the forward's namespace whose keys username and password are sent by Basic
    /// authentication: one of type kubernetes.io/basic-auth. While it is missing or broken, the
    /// parent proxy is not asked.
    pub secret_ref: SecretRef,
}
