//! Edge. Many TcpForwards, Services and endpoints around one operator: how much it takes, and how soon a
//! change is in force.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use futures::stream::{self, StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::{DynamicObject, Patch, PatchParams, PostParams};
use kube::core::ApiResource;
use kube::{Api, Client};
use serde_json::json;
use tcpforward_operator::crd::TcpForward;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::client;
use crate::echo::{Behaviour, Server};
use crate::eventually::{eventually, pass};
use crate::fixtures::{State, mk_forward, mk_service, mk_service_target, mk_slice};
use crate::lab::Lab;
use crate::measure;
use crate::stage::{self, DataPlane, Operator, SOON, Stage};
use crate::torture::figure::{Figure, count};
use crate::torture::load::percentile;
use crate::traffic::{answers, name_of};

/// How much there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// TcpForwards, to Services in turn.
    pub forwards: u16,
    /// Services, each with one slice.
    pub services: u16,
    /// Endpoints of each slice.
    pub endpoints: u16,
    /// How long slices are written.
    pub window: Duration,
}

impl Size {
    /// What the figures are promised for.
    pub const WHOLE: Self = Self {
        forwards: 1000,
        services: 500,
        endpoints: 40,
        window: Duration::from_secs(60),
    };

    /// Enough to see that all of it still works.
    pub const SMALL: Self = Self {
        forwards: 50,
        services: 25,
        endpoints: 40,
        window: Duration::from_secs(3),
    };
}

/// Slices that are written in a second.
const WRITES: u32 = 50;

/// Requests to the API server at a time.
const AT_ONCE: usize = 16;

/// The first port of the forwards.
const FIRST: u16 = 10_000;

/// Of the forward that is watched for the change.
const PROBE: u16 = 9_000;

/// Whether everything is read, programs are told apart by what they have to do then.
const SERVING: &str = "tcpforward_dataplane_forwards_serving";

/// Measures all of it.
///
/// # Errors
/// The cluster doesn't start, or the operator doesn't get there.
pub async fn figures(lab: &Lab, size: Size) -> Result<Vec<Figure>> {
    let stage = Stage::new(lab).await?;
    let world = World {
        client: stage.cluster.client().await?,
        size,
    };
    world.fill().await?;
    let servers = Servers::start().await?;
    stage.apply(&servers.service(0)?).await?;
    stage
        .apply(&stage::forward("probe", PROBE, "probe"))
        .await?;

    let operator =
        stage.operator_through(1, stage.cluster.kubeconfig(), &["--insecure-transport"])?;
    let dataplane = stage.dataplane_without_waiting(1, &[operator.push])?;
    let push = world.full_push(&operator, &dataplane).await?;
    let probe = SocketAddr::new(dataplane.ip, PROBE);
    answers(probe, "one").await?;
    // Every status is written once; that is not what is measured next.
    let pid = operator.process.pid();
    quiet(pid).await?;
    let filled = measure::resident(pid)?;

    let before = measure::processor_time(pid)?;
    let start = Instant::now();
    let (written, waits) = tokio::try_join!(world.churn(), world.probes(&servers, probe))?;
    let elapsed = start.elapsed();
    let percent = measure::percent(measure::processor_time(pid)? - before, elapsed);
    let resident = measure::resident(pid)?.max(filled);
    let rate = count(written) / elapsed.as_secs_f64();
    Ok(vec![
        Figure::new(
            "memory of the operator",
            f64::from(resident) / 1024.0,
            "MiB",
        )
        .at_most(150.0),
        Figure::new("full push after the caches", push.as_secs_f64(), "s").at_most(5.0),
        Figure::new("changes measured", count(waits.len()), "changes"),
        Figure::new("a changed endpoint, p50", percentile(&waits, 50), "ms").at_most(150.0),
        Figure::new("a changed endpoint, p99", percentile(&waits, 99), "ms").at_most(1000.0),
        Figure::new("slices written", rate, "a second").at_least(f64::from(WRITES) * 0.95),
        Figure::new("processor of the operator", percent, "% of a core").at_most(30.0),
    ])
}

/// The objects.
struct World {
    client: Client,
    size: Size,
}

impl World {
    async fn fill(&self) -> Result<()> {
        let services: Api<Service> = Api::default_namespaced(self.client.clone());
        let slices: Api<EndpointSlice> = Api::default_namespaced(self.client.clone());
        let resource = ApiResource::erase::<TcpForward>(&());
        let forwards: Api<DynamicObject> =
            Api::default_namespaced_with(self.client.clone(), &resource);
        let post = PostParams::default();
        let create = |n: u16| {
            let (services, slices, post) = (&services, &slices, &post);
            let (name, endpoints) = (format!("s{n}"), self.addresses(n, 0));
            async move {
                let service = mk_service("default", &name, &[("http", 80)]);
                services.create(post, &service).await?;
                let ready: Vec<_> = endpoints
                    .iter()
                    .map(|a| (a.as_str(), State::Ready))
                    .collect();
                let slice = mk_slice("default", &name, &name, ("http", 8080), &ready);
                slices.create(post, &slice).await.map(drop)
            }
        };
        all(0..self.size.services, create).await?;
        let create = |n: u16| {
            let (forwards, post) = (&forwards, &post);
            let target = mk_service_target("a", &format!("s{}", n % self.size.services), "http");
            let forward = mk_forward("default", &format!("f{n}"), FIRST + n, &[target]);
            async move {
                let forward = serde_json::from_value(forward).map_err(kube::Error::SerdeError)?;
                forwards.create(post, &forward).await.map(drop)
            }
        };
        all(0..self.size.forwards, create).await
    }

    /// Addresses of a slice; the last one is another with each turn.
    fn addresses(&self, service: u16, turn: usize) -> Vec<String> {
        let [high, low] = service.to_be_bytes();
        let of = |n: u16| format!("10.{}.{low}.{}", 100 + high, n + 1);
        let last = format!("10.{}.{low}.{}", 100 + high, 200 + turn % 50);
        let others = self.size.endpoints - 1;
        (0..others).map(of).chain([last]).collect()
    }

    /// From the operator's word that it knows everything to the data plane's that it serves it.
    async fn full_push(&self, operator: &Operator, dataplane: &DataPlane) -> Result<Duration> {
        // With the probe's.
        let all = f64::from(self.size.forwards) + 1.0;
        stage::ready(operator.health).await?;
        let start = Instant::now();
        eventually("all forwards to be served", SOON, async || {
            let serving = client::metric(dataplane.health, SERVING, &[]).await?;
            ensure!(serving >= all, "{serving} of {all}");
            Ok(())
        })
        .await?;
        Ok(start.elapsed())
    }

    /// Writes slices at a steady rate; how many.
    async fn churn(&self) -> Result<usize> {
        let slices: Api<EndpointSlice> = Api::default_namespaced(self.client.clone());
        let mut clock = interval(Duration::from_secs(1) / WRITES);
        clock.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let end = Instant::now() + self.size.window;
        let (turn, written) = (AtomicUsize::new(1), AtomicUsize::new(0));
        let due = stream::unfold(clock, async |mut clock| {
            let due = clock.tick().await;
            (due < end).then_some(((), clock))
        });
        let writes = due.map(|()| {
            let turn = turn.fetch_add(1, Ordering::Relaxed);
            let n = u16::try_from(turn % usize::from(self.size.services)).unwrap_or_default();
            let endpoint = |address| json!({"addresses": [address], "conditions": {"ready": true}});
            let endpoints: Vec<_> = self.addresses(n, turn).into_iter().map(endpoint).collect();
            let (slices, written) = (&slices, &written);
            async move {
                let patch = Patch::Merge(json!({"endpoints": endpoints}));
                let name = format!("s{n}");
                slices.patch(&name, &PatchParams::default(), &patch).await?;
                written.fetch_add(1, Ordering::Relaxed);
                Ok::<_, kube::Error>(())
            }
        });
        writes.buffer_unordered(AT_ONCE).try_collect::<()>().await?;
        Ok(written.into_inner())
    }

    /// Moves the probe's one endpoint again and again; how long each took, sorted.
    async fn probes(&self, servers: &Servers, probe: SocketAddr) -> Result<Vec<Duration>> {
        let slices: Api<EndpointSlice> = Api::default_namespaced(self.client.clone());
        let end = Instant::now() + self.size.window;
        let mut waits = Vec::new();
        let mut turn = 1;
        while Instant::now() < end {
            let (name, address) = servers.nth(turn)?;
            let endpoint = json!({"addresses": [address.ip()], "conditions": {"ready": true}});
            let patch = Patch::Merge(json!({"endpoints": [endpoint]}));
            slices
                .patch("probe", &PatchParams::default(), &patch)
                .await?;
            let start = Instant::now();
            while name_of(probe).await? != name {
                ensure!(start.elapsed() < SOON, "{name} never answers");
                pass(Duration::from_millis(5)).await;
            }
            waits.push(start.elapsed());
            turn += 1;
            // Out of step with whatever has a step.
            pass(Duration::from_millis(fastrand::u64(50..250))).await;
        }
        waits.sort();
        Ok(waits)
    }
}

async fn all<F>(numbers: std::ops::Range<u16>, one: impl Fn(u16) -> F) -> Result<()>
where
    F: Future<Output = Result<(), kube::Error>>,
{
    let requests = stream::iter(numbers).map(one).buffer_unordered(AT_ONCE);
    Ok(requests.try_collect::<()>().await?)
}

/// Waits until a process does next to nothing.
async fn quiet(pid: u32) -> Result<()> {
    let look = Duration::from_secs(1);
    eventually("the operator to be done", 5 * SOON, async || {
        let before = measure::processor_time(pid)?;
        pass(look).await;
        let used = measure::percent(measure::processor_time(pid)? - before, look);
        ensure!(used <= 2.0, "{used} % of a core");
        Ok(())
    })
    .await
}

/// Where the probe's Service leads in turn.
struct Servers([(&'static str, Server); 2]);

impl Servers {
    async fn start() -> Result<Self> {
        let start = |name: &'static str, address: &'static str| async move {
            let server = Server::start(address, Behaviour::Http(name.to_owned())).await?;
            Ok::<_, anyhow::Error>((name, server))
        };
        let (one, two) = (
            start("one", "10.77.0.11:8080"),
            start("two", "10.77.0.12:8080"),
        );
        Ok(Self([one.await?, two.await?]))
    }

    fn nth(&self, turn: usize) -> Result<(&'static str, SocketAddr)> {
        let (name, server) = self.0.get(turn % 2).context("one of two")?;
        Ok((name, server.address()))
    }

    fn service(&self, turn: usize) -> Result<String> {
        Ok(stage::service("probe", &[self.nth(turn)?.1]))
    }
}
