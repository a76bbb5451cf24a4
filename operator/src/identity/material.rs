//! Edge, of randomness. The certificates that the operator makes: as a Secret, and after a change.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::jiff::Timestamp;

use super::certificates::{self, Pair};
use super::rotation::{Change, Known, Lifetimes, Names, Next};

/// What certificates are for, and for how long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) names: Vec<String>,
    pub(crate) lifetimes: Lifetimes,
}

/// All that a Secret holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Material {
    ca: Pair,
    next: Option<(Pair, Option<i64>)>,
    /// Certificates without keys: nobody signs with them any more.
    old: Vec<String>,
    pub(crate) server: Pair,
}

/// Why a Secret can't be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Certificate(#[from] certificates::Error),
    #[error("it has no {key:?}, so another program has written it: give --tls-secret another name")]
    Missing { key: &'static str },
    #[error("its {key:?} is not a text that we have written; delete it to have all made anew")]
    Text { key: &'static str },
}

const CA: (&str, &str) = ("signing-ca.crt", "signing-ca.key");
const NEXT: (&str, &str) = ("next-ca.crt", "next-ca.key");
const NEXT_PUBLISHED: &str = "next-ca.published";
const OLD: &str = "old-ca.crt";
const SERVER: (&str, &str) = ("tls.crt", "tls.key");

type Data = BTreeMap<String, ByteString>;

impl Material {
    /// Everything new.
    pub(crate) fn begin(plan: &Plan, now: i64) -> Result<Self, certificates::Error> {
        let ca = certificates::authority(now, plan.lifetimes.authority)?;
        Ok(Self {
            server: certificates::server(&ca, &plan.names, now, plan.lifetimes.certificate)?,
            ca,
            next: None,
            old: Vec::new(),
        })
    }

    pub(crate) fn from_data(data: &Data) -> Result<Self, Error> {
        let next = if data.contains_key(NEXT.0) {
            let published = data.get(NEXT_PUBLISHED).map(|_| text(data, NEXT_PUBLISHED));
            let published = published.transpose()?.map(|text| text.parse::<Timestamp>());
            let published = published.transpose().map_err(|_| Error::Text {
                key: NEXT_PUBLISHED,
            })?;
            Some((pair(data, NEXT)?, published.map(Timestamp::as_second)))
        } else {
            None
        };
        let old = match data.get(OLD) {
            Some(_) => each_certificate(&text(data, OLD)?),
            None => Vec::new(),
        };
        Ok(Self {
            ca: pair(data, CA)?,
            next,
            old,
            server: pair(data, SERVER)?,
        })
    }

    pub(crate) fn to_data(&self) -> Data {
        let mut data = Data::new();
        let mut put = |key: &str, value: &str| {
            data.insert(key.to_owned(), ByteString(value.as_bytes().to_vec()));
        };
        for (keys, pair) in [(CA, Some(&self.ca)), (SERVER, Some(&self.server))]
            .into_iter()
            .chain([(NEXT, self.next.as_ref().map(|(pair, _)| pair))])
        {
            let Some(pair) = pair else { continue };
            put(keys.0, &pair.certificate);
            put(keys.1, &pair.key);
        }
        let published = self.next.as_ref().and_then(|(_, published)| *published);
        if let Some(time) = published.and_then(|second| Timestamp::from_second(second).ok()) {
            put(NEXT_PUBLISHED, &time.to_string());
        }
        if !self.old.is_empty() {
            put(OLD, &self.old.concat());
        }
        data
    }

    /// Every authority that a data plane shall trust.
    pub(crate) fn bundle(&self) -> String {
        let next = self.next.iter().map(|(pair, _)| &pair.certificate);
        let all = [&self.ca.certificate].into_iter().chain(next);
        all.chain(&self.old).map(String::as_str).collect()
    }

    pub(crate) fn known(&self, names: &[String]) -> Result<Known, certificates::Error> {
        let found = certificates::names(&self.server.certificate)?;
        let next = match &self.next {
            Some((pair, published)) => Some(Next {
                dates: certificates::dates(&pair.certificate)?,
                published: *published,
            }),
            None => None,
        };
        let old = self.old.iter().map(|pem| certificates::dates(pem));
        Ok(Known {
            ca: certificates::dates(&self.ca.certificate)?,
            next,
            old: old.collect::<Result<_, _>>()?,
            server: certificates::dates(&self.server.certificate)?,
            names: match names.iter().all(|name| found.contains(name)) {
                true => Names::AllThere,
                false => Names::Missing,
            },
        })
    }

    /// What the Secret shall hold after a change.
    pub(crate) fn after(
        &self,
        change: Change,
        plan: &Plan,
        now: i64,
    ) -> Result<Self, certificates::Error> {
        let mut after = self.clone();
        let sign =
            |ca: &Pair| certificates::server(ca, &plan.names, now, plan.lifetimes.certificate);
        match change {
            Change::DropOld => {
                let dates = |pem: &String| certificates::dates(pem);
                after
                    .old
                    .retain(|pem| dates(pem).is_ok_and(|d| now < d.until));
            }
            Change::MakeNext => {
                let next = certificates::authority(now, plan.lifetimes.authority)?;
                after.next = Some((next, None));
            }
            Change::NotePublished => {
                after.next = after.next.map(|(pair, _)| (pair, Some(now)));
            }
            Change::Promote => {
                if let Some((next, _)) = after.next.take() {
                    let retired = std::mem::replace(&mut after.ca, next);
                    after.old.push(retired.certificate);
                }
                after.server = sign(&after.ca)?;
            }
            Change::RenewServer => after.server = sign(&after.ca)?,
            Change::StartOver => after = Self::begin(plan, now)?,
        }
        Ok(after)
    }
}

fn text(data: &Data, key: &'static str) -> Result<String, Error> {
    let bytes = data.get(key).ok_or(Error::Missing { key })?;
    String::from_utf8(bytes.0.clone()).map_err(|_| Error::Text { key })
}

fn pair(data: &Data, keys: (&'static str, &'static str)) -> Result<Pair, Error> {
    Ok(Pair {
        certificate: text(data, keys.0)?,
        key: text(data, keys.1)?,
    })
}

fn each_certificate(pem: &str) -> Vec<String> {
    const END: &str = "-----END CERTIFICATE-----";
    let parts = pem.split_inclusive(END).map(str::trim);
    parts
        .filter(|part| part.ends_with(END))
        .map(|part| format!("{part}\n"))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const NOW: i64 = 1_800_000_000;

    fn plan() -> Plan {
        Plan {
            names: vec!["op.system.svc".to_owned()],
            lifetimes: Lifetimes {
                certificate: Duration::from_secs(1000),
                authority: Duration::from_secs(12_000),
            },
        }
    }

    /// What is shown is accepted by whoever has the bundle of then, of before and of after.
    fn accepted(shown: &Material, bundles: &[&Material]) {
        for other in bundles {
            let bundle = other.bundle();
            let names = plan().names;
            certificates::usable(&shown.server, Some(&bundle), &names, NOW).unwrap();
        }
    }

    #[test]
    fn a_rotation_leaves_nobody_behind() {
        let plan = plan();
        let first = Material::begin(&plan, NOW).unwrap();
        let made = first.after(Change::MakeNext, &plan, NOW).unwrap();
        let noted = made.after(Change::NotePublished, &plan, NOW + 5).unwrap();
        let promoted = noted.after(Change::Promote, &plan, NOW + 9).unwrap();
        assert_eq!(each_certificate(&made.bundle()).len(), 2);
        assert_eq!(made.server, first.server);
        let published = noted.known(&plan.names).unwrap().next.unwrap().published;
        assert_eq!(published, Some(NOW + 5));
        accepted(&first, &[&first, &made, &promoted]);
        accepted(&promoted, &[&made, &noted, &promoted]);
        let first_ca = first.ca.certificate;
        assert_eq!(promoted.old, [first_ca]);
        let later = promoted.after(Change::DropOld, &plan, NOW + 12_000);
        assert_eq!(later.unwrap().old, Vec::<String>::new());
    }

    #[test]
    fn every_state_comes_back_from_its_secret() {
        let plan = plan();
        let mut state = Material::begin(&plan, NOW).unwrap();
        for change in [
            Change::MakeNext,
            Change::NotePublished,
            Change::Promote,
            Change::RenewServer,
            Change::DropOld,
        ] {
            assert_eq!(Material::from_data(&state.to_data()).unwrap(), state);
            state = state.after(change, &plan, NOW).unwrap();
        }
        assert_eq!(Material::from_data(&state.to_data()).unwrap(), state);
    }

    #[test]
    fn a_foreign_secret_is_left_alone() {
        let foreign = BTreeMap::from([("password".to_owned(), ByteString(b"x".to_vec()))]);
        let refused = Material::from_data(&foreign).unwrap_err().to_string();
        assert!(refused.contains("signing-ca.crt") && refused.contains("--tls-secret"));
    }
}
