//! Edge, of randomness. Makes authorities and the certificates that they sign, and reads them.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};
use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem};
use rustls::sign::CertifiedKey;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;

use super::rotation::{Dates, seconds};

/// New certificates are valid from a moment ago: clocks of nodes differ.
const BACKDATE: i64 = 300;

/// A certificate and its key, in PEM.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Pair {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

/// The key is nobody's business.
impl std::fmt::Debug for Pair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Pair").field(&self.certificate).finish()
    }
}

/// Why a certificate can't be made or used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("no certificate in it: expected PEM that starts with -----BEGIN CERTIFICATE-----")]
    Empty,
    #[error("it has expired {seconds} s ago: renew it")]
    Expired { seconds: i64 },
    #[error("can't make a certificate")]
    Make(#[from] rcgen::Error),
    #[error("it can't be read as a certificate")]
    Malformed,
    #[error("not a PEM file")]
    Pem(#[from] pem::Error),
    #[error("the key is not that of the certificate, or of an unknown kind")]
    Key(#[source] rustls::Error),
    #[error("a data plane that trusts the authority and dials {name} would refuse it")]
    Refused { name: String, source: rustls::Error },
    #[error("the authority's certificates can't be used")]
    Roots(#[source] rustls::client::VerifierBuilderError),
    #[error("the authority's certificates can't be used")]
    Root(#[source] rustls::Error),
}

/// The same provider as the client of the API server has: one implementation in the program.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// Makes an authority that signs certificates but no further authorities.
pub(crate) fn authority(now: i64, lifetime: Duration) -> Result<Pair, Error> {
    let key = KeyPair::generate()?;
    let dates = Dates {
        from: now - BACKDATE,
        until: now + seconds(lifetime),
    };
    let mut params = params(Vec::new(), dates)?;
    // A name of its own, so that the one that signed is found among several.
    let name = format!("tcpforward operator CA {:08x}", fastrand::u32(..));
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(Pair {
        certificate: params.self_signed(&key)?.pem(),
        key: key.serialize_pem(),
    })
}

/// Makes a certificate for a server of these names. It ends with its authority at the latest.
pub(crate) fn server(
    authority: &Pair,
    names: &[String],
    now: i64,
    lifetime: Duration,
) -> Result<Pair, Error> {
    let issuer =
        Issuer::from_ca_cert_pem(&authority.certificate, KeyPair::from_pem(&authority.key)?)?;
    let until = dates(&authority.certificate)?.until;
    let dates = Dates {
        from: now - BACKDATE,
        until: until.min(now + seconds(lifetime)),
    };
    let mut params = params(names.to_vec(), dates)?;
    params
        .distinguished_name
        .push(DnType::CommonName, "tcpforward operator");
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let key = KeyPair::generate()?;
    Ok(Pair {
        certificate: params.signed_by(&key, &issuer)?.pem(),
        key: key.serialize_pem(),
    })
}

fn params(names: Vec<String>, dates: Dates) -> Result<CertificateParams, Error> {
    let time = |second: i64| {
        let second = u64::try_from(second).unwrap_or_default();
        date_time_ymd(1970, 1, 1) + Duration::from_secs(second)
    };
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.not_before = time(dates.from);
    params.not_after = time(dates.until);
    Ok(params)
}

/// From when until when the first certificate of a PEM text is valid.
pub(crate) fn dates(pem: &str) -> Result<Dates, Error> {
    let certificate = first(pem)?;
    let validity = parsed(&certificate)?.validity().clone();
    Ok(Dates {
        from: validity.not_before.timestamp(),
        until: validity.not_after.timestamp(),
    })
}

/// The DNS names that the first certificate of a PEM text is for.
pub(crate) fn names(pem: &str) -> Result<BTreeSet<String>, Error> {
    let certificate = first(pem)?;
    let parsed = parsed(&certificate)?;
    let extension = parsed
        .subject_alternative_name()
        .map_err(|_| Error::Malformed)?;
    let names = extension
        .iter()
        .flat_map(|names| &names.value.general_names);
    let dns = names.filter_map(|name| match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        _ => None,
    });
    Ok(dns.collect())
}

fn first(pem: &str) -> Result<CertificateDer<'static>, Error> {
    CertificateDer::pem_slice_iter(pem.as_bytes())
        .next()
        .ok_or(Error::Empty)?
        .map_err(Error::Pem)
}

fn parsed<'a>(certificate: &'a CertificateDer<'_>) -> Result<X509Certificate<'a>, Error> {
    let parsed = X509Certificate::from_der(certificate);
    parsed.map(|(_, found)| found).map_err(|_| Error::Malformed)
}

/// What a server shows, once it is sure that whoever dials one of `names` and trusts `bundle`
/// accepts it. Without a bundle that is between others.
pub(crate) fn usable(
    pair: &Pair,
    bundle: Option<&str>,
    names: &[String],
    now: i64,
) -> Result<CertifiedKey, Error> {
    let chain = CertificateDer::pem_slice_iter(pair.certificate.as_bytes());
    let chain: Vec<_> = chain.collect::<Result<_, _>>()?;
    let key = PrivateKeyDer::from_pem_slice(pair.key.as_bytes())?;
    let until = dates(&pair.certificate)?.until;
    if now >= until {
        return Err(Error::Expired {
            seconds: now - until,
        });
    }
    if let Some(bundle) = bundle {
        verify(&chain, bundle, names, now)?;
    }
    CertifiedKey::from_der(chain, key, &provider()).map_err(Error::Key)
}

fn verify(
    chain: &[CertificateDer<'_>],
    bundle: &str,
    names: &[String],
    now: i64,
) -> Result<(), Error> {
    let mut roots = RootCertStore::empty();
    for root in CertificateDer::pem_slice_iter(bundle.as_bytes()) {
        roots.add(root?).map_err(Error::Root)?;
    }
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider())
        .build()
        .map_err(Error::Roots)?;
    let (leaf, rest) = chain.split_first().ok_or(Error::Empty)?;
    let time = Duration::from_secs(u64::try_from(now).unwrap_or_default());
    let time = UnixTime::since_unix_epoch(time);
    for name in names {
        let refused = |source| Error::Refused {
            name: name.clone(),
            source,
        };
        let dialled = ServerName::try_from(name.as_str());
        let dialled =
            dialled.map_err(|_| refused(rustls::Error::General("not a name".to_owned())))?;
        verifier
            .verify_server_cert(leaf, rest, &dialled, &[], time)
            .map_err(refused)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_800_000_000;
    const DAY: Duration = Duration::from_secs(24 * 3600);

    fn names() -> Vec<String> {
        vec!["op.system.svc".to_owned(), "localhost".to_owned()]
    }

    #[test]
    fn a_made_certificate_is_what_data_planes_accept() {
        let ca = authority(NOW, DAY * 10).unwrap();
        let shown = server(&ca, &names(), NOW, DAY).unwrap();
        let found = dates(&shown.certificate).unwrap();
        assert_eq!((found.from, found.until), (NOW - BACKDATE, NOW + 86_400));
        let expected: BTreeSet<_> = names().into_iter().collect();
        assert_eq!(super::names(&shown.certificate).unwrap(), expected);
        usable(&shown, Some(&ca.certificate), &names(), NOW).unwrap();
        usable(&shown, None, &names(), NOW).unwrap();
    }

    #[test]
    fn a_certificate_ends_with_its_authority() {
        let ca = authority(NOW, DAY).unwrap();
        let shown = server(&ca, &names(), NOW, DAY * 30).unwrap();
        assert_eq!(dates(&shown.certificate).unwrap().until, NOW + 86_400);
    }

    #[test]
    fn what_data_planes_would_refuse_is_not_shown() {
        let (ca, other) = (authority(NOW, DAY).unwrap(), authority(NOW, DAY).unwrap());
        let shown = server(&ca, &names(), NOW, DAY).unwrap();
        let both = format!("{}{}", other.certificate, ca.certificate);
        usable(&shown, Some(&both), &names(), NOW).unwrap();
        let mixed = Pair {
            key: other.key.clone(),
            ..shown.clone()
        };
        let wanted = [names(), vec!["elsewhere".to_owned()]].concat();
        let empty = Pair {
            certificate: String::new(),
            ..shown.clone()
        };
        let table = [
            (
                &shown,
                Some(other.certificate.as_str()),
                names(),
                NOW,
                "dials op.system.svc",
            ),
            (
                &shown,
                Some(ca.certificate.as_str()),
                wanted,
                NOW,
                "dials elsewhere",
            ),
            (&shown, None, names(), NOW + 90_000, "expired 3600 s ago"),
            (&mixed, None, names(), NOW, "not that of the certificate"),
            (&empty, None, names(), NOW, "no certificate in it"),
        ];
        for (pair, bundle, names, now, expected) in table {
            let refused = usable(pair, bundle, &names, now).unwrap_err().to_string();
            assert!(refused.contains(expected), "{expected}: {refused}");
        }
    }

    #[test]
    fn no_key_is_ever_printed() {
        let ca = authority(NOW, DAY).unwrap();
        assert!(!format!("{ca:?}").contains("PRIVATE"));
    }
}
