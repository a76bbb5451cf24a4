//! Edge. Keeps the certificate that is shown: made by us and shared by a Secret, or read from files.
//!
//! Every replica shows what the Secret holds; only the holder of the Lease writes it, and with the
//! resourceVersion that it has read: of two that think they hold it, the second reads again.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::jiff::Timestamp;
use kube::Api;
use kube::api::{ObjectMeta, PostParams};
use tcpforward_process::causes::chain;
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::bundles::Bundles;
use super::certificates::{self, Pair};
use super::given::{self, Given};
use super::material::{self, Material, Plan};
use super::rotation::change;
use super::serving::Serving;
use crate::lease::{LeaseView, now};
use crate::metrics::Metrics;

/// From one look to the next, while all is well.
const LOOK: Duration = Duration::from_secs(10);

/// While there is nothing to show, and of certificates that last only seconds.
const SHORT_LOOK: Duration = Duration::from_secs(1);

const CALL_TIME: Duration = Duration::from_secs(5);

/// Writes in one turn: no state needs more to be as it should.
const CHANGES: usize = 8;

/// Where the certificate comes from.
pub(crate) enum Source {
    /// Made here.
    Made(Arc<Made>),
    /// Given, as in a mounted Secret of cert-manager.
    Given(Given),
}

/// Where the certificates that are made here are kept.
pub(crate) struct Made {
    pub(crate) secrets: Api<Secret>,
    pub(crate) name: String,
    pub(crate) plan: Plan,
}

/// Why there is no certificate, or not the one that should be.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Certificate(#[from] certificates::Error),
    #[error(transparent)]
    File(#[from] given::Error),
    #[error(transparent)]
    Kube(#[from] kube::Error),
    #[error("can't write the ConfigMap {namespace}/{name}")]
    Publish {
        namespace: String,
        name: String,
        source: Box<Self>,
    },
    #[error("the Secret {name} can't be used")]
    Secret {
        name: String,
        source: material::Error,
    },
    #[error("the API server does not answer")]
    Timeout,
    #[error("the Secret {name} is not there yet: the holder of the Lease makes it")]
    Waits { name: String },
}

/// What is shown at present, to notice a change.
#[derive(Clone, PartialEq, Eq)]
struct Shown {
    pair: Pair,
    bundle: Option<String>,
}

/// The task that keeps the certificate.
pub(crate) struct Keeper {
    source: Source,
    bundles: Bundles,
    serving: Arc<Serving>,
    lease: watch::Receiver<LeaseView>,
    metrics: Metrics,
    shown: Option<Shown>,
    complaint: Option<String>,
}

impl Keeper {
    pub(crate) fn new(
        source: Source,
        bundles: Bundles,
        serving: Arc<Serving>,
        lease: watch::Receiver<LeaseView>,
        metrics: Metrics,
    ) -> Self {
        Self {
            source,
            bundles,
            serving,
            lease,
            metrics,
            shown: None,
            complaint: None,
        }
    }

    /// Looks after it until shutdown.
    pub(crate) async fn run(mut self, shutdown: CancellationToken) {
        let mut accounts = self.bundles.accounts.clone();
        loop {
            let turn = self.turn().await;
            self.tell(turn.err());
            let pause = self.pause().mul_f64(0.9 + fastrand::f64() * 0.2);
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
                // A new pool's pods wait for their bundle.
                Ok(()) = accounts.changed() => {}
            }
        }
    }

    async fn turn(&mut self) -> Result<(), Error> {
        match &self.source {
            Source::Given(given) => {
                let (pair, bundle) = given.read()?;
                let names = given.names.clone();
                self.show(pair, bundle.clone(), &names)?;
                match bundle {
                    Some(bundle) if self.holds() => {
                        let (_, failed) = self.bundles.publish(&bundle).await;
                        failed.map_or(Ok(()), Err)
                    }
                    _ => Ok(()),
                }
            }
            Source::Made(made) => {
                let made = Arc::clone(made);
                self.share(&made).await
            }
        }
    }

    /// Shows what the Secret holds and, if we hold the Lease, makes it hold what it should.
    async fn share(&mut self, made: &Made) -> Result<(), Error> {
        let Made {
            secrets,
            name,
            plan,
        } = made;
        let post = PostParams::default();
        let mut failed = None;
        for _ in 0..CHANGES {
            let wall = Timestamp::now().as_second();
            let mut secret = match call(secrets.get_opt(name)).await? {
                Some(secret) if secret.data.is_some() => secret,
                room => {
                    self.begin(made, room, wall).await?;
                    continue;
                }
            };
            let data = secret.data.take().unwrap_or_default();
            let unusable = |source| Error::Secret {
                name: name.clone(),
                source,
            };
            let material = Material::from_data(&data).map_err(unusable)?;
            let known = material.known(&plan.names)?;
            // A replica that wants other names shows it too, until it may write: it would never be
            // ready, and the one that does not want them never end.
            let names: Vec<_> = certificates::names(&material.server.certificate)?
                .into_iter()
                .collect();
            let shown = self.show(material.server.clone(), Some(material.bundle()), &names);
            if !self.holds() {
                return shown;
            }
            let (bundle, behind) = self.bundles.publish(&material.bundle()).await;
            failed = behind;
            let Some(change) = change(&known, bundle, &plan.lifetimes, wall) else {
                shown?;
                break;
            };
            secret.data = Some(material.after(change, plan, wall)?.to_data());
            settled(call(secrets.replace(name, &post, &secret)).await)?;
            tracing::info!(name, ?change, "changed the certificates");
        }
        failed.map_or(Ok(()), Err)
    }

    /// Makes all of it anew, into the Secret that an installer has made room with, if there is one.
    async fn begin(&self, made: &Made, room: Option<Secret>, wall: i64) -> Result<(), Error> {
        let name = &made.name;
        if !self.holds() {
            let name = name.clone();
            return Err(Error::Waits { name });
        }
        let material = Material::begin(&made.plan, wall)?;
        let post = PostParams::default();
        let written = match room {
            None => call(made.secrets.create(&post, &new_secret(name, &material))).await,
            Some(mut room) => {
                room.data = Some(material.to_data());
                call(made.secrets.replace(name, &post, &room)).await
            }
        };
        settled(written)?;
        tracing::info!(name, "made an authority and a certificate");
        Ok(())
    }

    /// From the next handshake on. What can't be used leaves the former one in place.
    fn show(&mut self, pair: Pair, bundle: Option<String>, names: &[String]) -> Result<(), Error> {
        let next = Shown { pair, bundle };
        if self.shown.as_ref() == Some(&next) {
            return Ok(());
        }
        let wall = Timestamp::now().as_second();
        let bundle = next.bundle.as_deref();
        let usable = certificates::usable(&next.pair, bundle, names, wall)?;
        let until = certificates::dates(&next.pair.certificate)?.until;
        self.serving.show(usable);
        self.metrics.certificate_expiry.set(until);
        let ends = Timestamp::from_second(until).unwrap_or(Timestamp::MAX);
        tracing::info!(%ends, "shows a certificate");
        self.shown = Some(next);
        Ok(())
    }

    fn holds(&self) -> bool {
        self.lease.borrow().holds(now())
    }

    fn pause(&self) -> Duration {
        let short = match &self.source {
            Source::Made(made) => made.plan.lifetimes.certificate / 30,
            Source::Given(_) => LOOK,
        };
        match self.serving.is_ready() {
            true => short.clamp(SHORT_LOOK, LOOK),
            false => SHORT_LOOK,
        }
    }

    /// Each thing once, and that it is over.
    fn tell(&mut self, error: Option<Error>) {
        let text = error.map(|error| chain(&error));
        if self.complaint == text {
            return;
        }
        match &text {
            Some(error) => tracing::warn!(error, "the certificate is not as it should be"),
            None => tracing::info!("the certificate is as it should be"),
        }
        self.complaint = text;
    }
}

fn new_secret(name: &str, material: &Material) -> Secret {
    Secret {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            ..ObjectMeta::default()
        },
        type_: Some("kubernetes.io/tls".to_owned()),
        data: Some(material.to_data()),
        ..Secret::default()
    }
}

/// A write that another one has forestalled is no failure: what that one wrote is read next.
fn settled<T>(written: Result<T, Error>) -> Result<(), Error> {
    match written {
        Err(Error::Kube(kube::Error::Api(status)))
            if status.is_conflict() || status.is_already_exists() || status.is_not_found() =>
        {
            Ok(())
        }
        written => written.map(drop),
    }
}

pub(crate) async fn call<T>(
    call: impl Future<Output = Result<T, kube::Error>>,
) -> Result<T, Error> {
    match timeout(CALL_TIME, call).await {
        Ok(answer) => answer.map_err(Error::Kube),
        Err(_) => Err(Error::Timeout),
    }
}

#[cfg(test)]
mod tests;
