//! Edge. Keys, certificates and kubeconfigs of a cluster.

use std::fmt;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use anyhow::{Context, Result};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};

use crate::lab::Lab;

/// An authority whose files lie in a lab's `pki` folder.
pub(super) struct Authority {
    folder: PathBuf,
    issuer: Issuer<'static, KeyPair>,
    /// Where the API server is.
    server: SocketAddr,
    /// Its certificate.
    pub(super) certificate: PathBuf,
}

/// The files of one certificate.
pub(super) struct Identity {
    pub(super) certificate: PathBuf,
    pub(super) key: PathBuf,
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Authority").field(&self.folder).finish()
    }
}

impl Authority {
    pub(super) fn new(lab: &Lab, server: SocketAddr) -> Result<Self> {
        let mut params = CertificateParams::default();
        params
            .distinguished_name
            .push(DnType::CommonName, "tcpforward test");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate()?;
        let certificate = params.self_signed(&key)?;
        Ok(Self {
            certificate: lab.file("pki/ca.crt", certificate.pem())?,
            folder: lab.folder().to_owned(),
            issuer: Issuer::new(params, key),
            server,
        })
    }

    /// A certificate for clients and servers; `organization` is a group of Kubernetes' users.
    pub(super) fn issue(&self, name: &str, organization: Option<&str>) -> Result<Identity> {
        let mut params = CertificateParams::new(["localhost".to_owned()])?;
        let addresses = [Ipv4Addr::LOCALHOST, Ipv4Addr::new(10, 96, 0, 1)].map(IpAddr::from);
        for address in addresses.into_iter().chain([self.server.ip()]) {
            params.subject_alt_names.push(SanType::IpAddress(address));
        }
        params.distinguished_name.push(DnType::CommonName, name);
        if let Some(organization) = organization {
            params
                .distinguished_name
                .push(DnType::OrganizationName, organization);
        }
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ClientAuth,
            ExtendedKeyUsagePurpose::ServerAuth,
        ];
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        let file = name.replace(':', "-");
        Ok(Identity {
            certificate: self.write(&format!("pki/{file}.crt"), &certificate.pem())?,
            key: self.write(&format!("pki/{file}.key"), &key.serialize_pem())?,
        })
    }

    fn write(&self, name: &str, content: &str) -> Result<PathBuf> {
        let path = self.folder.join(name);
        fs::write(&path, content).with_context(|| format!("writing {}", path.display()))?;
        Ok(path)
    }

    /// A kubeconfig file for a client of the API server.
    pub(super) fn kubeconfig(&self, name: &str, organization: Option<&str>) -> Result<PathBuf> {
        let user = self.issue(name, organization)?;
        let kubeconfig = serde_json::json!({
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "test",
            "clusters": [{"name": "test", "cluster": {
                "server": format!("https://{}", self.server),
                "certificate-authority": self.certificate,
            }}],
            "users": [{"name": "test", "user": {
                "client-certificate": user.certificate,
                "client-key": user.key,
            }}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
        });
        let file = name.replace(':', "-");
        self.write(&format!("{file}.kubeconfig"), &kubeconfig.to_string())
    }
}
