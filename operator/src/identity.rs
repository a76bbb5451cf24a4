//! Edge. Who the operator is to data planes, and who they are to it.
//!
//! ```text
//!  keeper: Secret or files ─► serving ─► handshake (TLS 1.3)
//!     └─► bundles: ConfigMaps                │ a connection
//!                                            ▼
//!  review: TokenReview ◄───────────── gate ─► every method, with the pod that asks
//!     └─► verdict                        └──► refused
//! ```
//!
//! `rotation` decides when certificates change, `certificates` and `material` make them.

use std::sync::{Arc, Mutex};

use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client};
use rustls::ServerConfig;
use tokio::sync::watch;

use crate::config::transport::{Certificate, Identity as Options};
use crate::lease::LeaseView;
use crate::metrics::Metrics;

pub mod accounts;
mod bundles;
mod certificates;
pub(crate) mod gate;
mod given;
mod keeper;
mod material;
mod review;
pub mod rotation;
pub(crate) mod serving;
pub(crate) mod verdict;

use accounts::Accounts;
use bundles::Bundles;
use gate::{Gate, Guard};
use given::Given;
pub(crate) use keeper::Keeper;
use keeper::{Made, Source};
use material::Plan;
use review::Reviewer;
pub(crate) use serving::Serving;

/// All that stands between data planes and what they ask for.
pub(crate) struct Identity {
    pub(crate) gate: Gate,
    pub(crate) keeper: Keeper,
    pub(crate) serving: Arc<Serving>,
    pub(crate) config: Arc<ServerConfig>,
}

impl Identity {
    /// `namespace` is that of the Secret; `accounts` are those of the pools that there are.
    pub(crate) fn new(
        client: &Client,
        namespace: &str,
        options: Options,
        accounts: watch::Receiver<Accounts>,
        lease: watch::Receiver<LeaseView>,
        metrics: &Metrics,
    ) -> Result<Self, rustls::Error> {
        let serving = Arc::<Serving>::default();
        let config = serving::server_config(Arc::clone(&serving))?;
        let bundles = Bundles {
            client: client.clone(),
            name: options.ca_config_map,
            accounts: accounts.clone(),
        };
        let names = options.server_names;
        let source = match options.certificate {
            Certificate::Given {
                certificate,
                key,
                authorities,
            } => Source::Given(Given {
                certificate,
                key,
                authorities,
                names,
            }),
            Certificate::Made { secret, lifetimes } => Source::Made(Arc::new(Made {
                secrets: Api::<Secret>::namespaced(client.clone(), namespace),
                name: secret,
                plan: Plan { names, lifetimes },
            })),
        };
        let shown = Arc::clone(&serving);
        Ok(Self {
            gate: Gate::Checked(Arc::new(Guard {
                reviewer: Reviewer::new(client.clone(), accounts, metrics.clone()),
                metrics: metrics.clone(),
                logged: Mutex::default(),
            })),
            keeper: Keeper::new(source, bundles, shown, lease, metrics.clone()),
            serving,
            config,
        })
    }
}
