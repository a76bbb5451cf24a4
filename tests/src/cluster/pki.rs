//! Edge. Keys, certificates and kubeconfigs of a cluster.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use anyhow::Result;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};

use crate::lab::Lab;

/// An authority whose files lie in a lab's `pki` folder.
pub(super) struct Authority<'a> {
    lab: &'a Lab,
    issuer: Issuer<'static, KeyPair>,
    /// Its certificate.
    pub(super) certificate: PathBuf,
}

/// The files of one certificate.
pub(super) struct Identity {
    pub(super) certificate: PathBuf,
    pub(super) key: PathBuf,
}

impl<'a> Authority<'a> {
    pub(super) fn new(lab: &'a Lab) -> Result<Self> {
        let mut params = CertificateParams::default();
        params
            .distinguished_name
            .push(DnType::CommonName, "tcpforward test");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate()?;
        let certificate = params.self_signed(&key)?;
        Ok(Self {
            lab,
            certificate: lab.file("pki/ca.crt", certificate.pem())?,
            issuer: Issuer::new(params, key),
        })
    }

    /// A certificate for clients and servers; `organization` is a group of Kubernetes' users.
    pub(super) fn issue(&self, name: &str, organization: Option<&str>) -> Result<Identity> {
        let mut params = CertificateParams::new(["localhost".to_owned()])?;
        for address in [Ipv4Addr::LOCALHOST, Ipv4Addr::new(10, 96, 0, 1)] {
            let address = SanType::IpAddress(IpAddr::V4(address));
            params.subject_alt_names.push(address);
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
            certificate: self
                .lab
                .file(&format!("pki/{file}.crt"), certificate.pem())?,
            key: self
                .lab
                .file(&format!("pki/{file}.key"), key.serialize_pem())?,
        })
    }

    /// A kubeconfig file for a client of the API server at `server`.
    pub(super) fn kubeconfig(
        &self,
        server: SocketAddr,
        name: &str,
        organization: Option<&str>,
    ) -> Result<PathBuf> {
        let user = self.issue(name, organization)?;
        let kubeconfig = serde_json::json!({
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "test",
            "clusters": [{"name": "test", "cluster": {
                "server": format!("https://{server}"),
                "certificate-authority": self.certificate,
            }}],
            "users": [{"name": "test", "user": {
                "client-certificate": user.certificate,
                "client-key": user.key,
            }}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
        });
        let file = name.replace(':', "-");
        self.lab
            .file(&format!("{file}.kubeconfig"), kubeconfig.to_string())
    }
}
