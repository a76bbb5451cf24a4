use std::collections::BTreeMap;
use std::sync::Once;

use prometheus::Registry;
use serde_json::json;
use tcpforward_protocol::answer::{Applied, ServedSpec, Serving};
use tcpforward_protocol::delta::Scope;
use tcpforward_protocol::snapshot::{LocalTargets, Permission, Settings, Snapshot};
use tcpforward_protocol::version::Version;
use tokio::io::DuplexStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::*;
use crate::crd::{self, TcpForwardStatus};
use crate::identity::accounts::Accounts;
use crate::index::Key;
use crate::index::ReferenceGrant;
use crate::index::tests::{gone, pool, proxy, secret, secret_is};
use crate::index::{Contents, EntranceNews};
use crate::patch::Queue;
use crate::patch::{ServiceWrite, StatusPatch};
use crate::push::fake::DataPlane;
use crate::push::fixtures::{SETTINGS, hello};
use crate::push::{Shared, serve_local};
use crate::status;

struct Operator {
    events: mpsc::Sender<Event>,
    published: watch::Receiver<Option<Published>>,
    accounts: watch::Receiver<Accounts>,
    asked: watch::Receiver<BTreeSet<Key>>,
    forwards: watch::Receiver<Forwards>,
    lease: watch::Sender<LeaseView>,
    queue: Arc<Queue>,
    queue_of_pools: Arc<Queue<StatusPatch<crd::DataPlane>>>,
    queue_of_services: Arc<Queue<ServiceWrite>>,
    namespaces: watch::Receiver<BTreeSet<String>>,
    roster: Arc<Roster>,
    metrics: Metrics,
    pods: watch::Sender<Pods>,
    tasks: JoinSet<()>,
}

impl Operator {
    fn start(lease: LeaseView) -> Self {
        let queue = Arc::<Queue>::default();
        let queue_of_pools = Arc::<Queue<StatusPatch<crd::DataPlane>>>::default();
        let queue_of_services = Arc::<Queue<ServiceWrite>>::default();
        let (namespaces, places) = watch::channel(BTreeSet::new());
        let roster = Arc::<Roster>::default();
        let metrics = Metrics::new(&Registry::new()).unwrap();
        let (lease, view) = watch::channel(lease);
        let (published, seen) = watch::channel(None);
        let (secrets, asked) = watch::channel(BTreeSet::new());
        let (accounts, known) = watch::channel(Accounts::default());
        let (forwards, views) = watch::channel(Forwards::new());
        let pulse = Pulse {
            beat: now(),
            waits_for: Vec::new(),
        };
        let outputs = Outputs {
            published,
            forwards,
            pulse: watch::channel(pulse).0,
            secrets: Some(secrets),
            namespaces: Some(namespaces),
            accounts,
        };
        let writing = Writing::Cluster {
            forwards: Arc::clone(&queue),
            pools: Arc::clone(&queue_of_pools),
            services: Arc::clone(&queue_of_services),
        };
        let controller = Controller::new(
            rules(),
            Index::new(),
            writing,
            Arc::clone(&roster),
            view,
            outputs,
            metrics.clone(),
        );
        let (pods, of_pods) = watch::channel(Pods::default());
        let controller = controller.with_pods(of_pods);
        let (events, inbox) = mpsc::channel(64);
        let mut tasks = JoinSet::new();
        tasks.spawn(controller.run(inbox, CancellationToken::new()));
        Self {
            events,
            published: seen,
            accounts: known,
            asked,
            forwards: views,
            lease,
            queue,
            queue_of_pools,
            queue_of_services,
            namespaces: places,
            roster,
            metrics,
            pods,
            tasks,
        }
    }

    /// An operator that knows two forwards to two Services.
    async fn with_two_forwards(lease: LeaseView) -> Self {
        let operator = Self::start(lease);
        let forwards = vec![forward("a", 1, 8001), forward("b", 1, 8002)];
        let slices = vec![slice("a", &["10.0.0.1"]), slice("b", &["10.0.0.2"])];
        operator
            .say(Event::Replaced(Kind::TcpForward, forwards))
            .await;
        operator
            .say(Event::Replaced(
                Kind::Service,
                vec![service("a"), service("b")],
            ))
            .await;
        operator
            .say(Event::Replaced(Kind::EndpointSlice, slices))
            .await;
        operator.surroundings().await;
        operator.settle().await;
        operator
    }

    /// A pool, and that there is nothing else.
    async fn surroundings(&self) {
        let Event::Applied(default) = pool("default", json!({})) else {
            unreachable!()
        };
        self.say(Event::Replaced(Kind::DataPlane, vec![default]))
            .await;
        for kind in [
            Kind::Namespace,
            Kind::Node,
            Kind::ReferenceGrant,
            Kind::ServiceCidr,
        ] {
            self.say(Event::Replaced(kind, Vec::new())).await;
        }
        self.say(services_of_pods(Vec::new())).await;
    }

    async fn say(&self, event: Event) {
        self.events.send(event).await.unwrap();
    }

    /// Longer than a batch may take; time is paused.
    async fn settle(&self) {
        tokio::time::sleep(Duration::from_millis(300)).await;
    }

    /// A data plane that has applied what is wanted of it.
    fn serve(&self, names: &[&str]) -> crate::push::roster::Seat {
        let seat = self.roster.join(&hello("u"));
        let forwards = self.forwards.borrow();
        let serving = names.iter().map(|name| {
            let forward = ForwardName::new("shop", name);
            let wanted = forwards[&forward].forward.clone().unwrap();
            Serving {
                forward,
                spec: Some(ServedSpec {
                    hash: wanted.spec_hash,
                    generation: wanted.spec.generation,
                }),
            }
        });
        let version =
            tcpforward_protocol::snapshot::Snapshot::new(Settings::new(LocalTargets::Refuse));
        let applied = Applied {
            nonce: 0,
            version: Some(version.version()),
            epoch: 0,
            scope: Scope::Full,
            serving: serving.collect(),
            refused: Vec::new(),
        };
        drop(self.roster.applied(&seat, applied));
        seat
    }

    /// Lets data planes connect; the way to do so.
    fn push(&mut self) -> mpsc::Sender<DuplexStream> {
        let shared = Shared {
            identity: "op".to_owned(),
            published: self.published.clone(),
            accounts: self.accounts.clone(),
            lease: self.lease.subscribe(),
            roster: Arc::clone(&self.roster),
            metrics: self.metrics.clone(),
            shutdown: CancellationToken::new(),
            behind: Once::new(),
        };
        let (dial, incoming) = mpsc::channel(1);
        let serving = serve_local(Arc::new(shared), incoming);
        self.tasks.spawn(async move { serving.await.unwrap() });
        dial
    }

    fn compiled(&self) -> u64 {
        self.metrics.compiled.get()
    }

    fn condition(&self, name: &str, type_: &str) -> (String, String) {
        let forwards = self.forwards.borrow();
        let status = &forwards[&ForwardName::new("shop", name)].status;
        word(status, type_)
    }
}

fn rules() -> Rules {
    Rules::of_cluster("cluster.local")
}

/// All Services where the pool's pods are.
fn services_of_pods(services: Vec<crate::entrance::Live>) -> Event {
    Event::Entrances(EntranceNews::Listed {
        namespace: "proxies".to_owned(),
        services,
    })
}

fn default_pool() -> Object {
    let Event::Applied(default) = pool("default", json!({})) else {
        unreachable!()
    };
    default
}

fn word(status: &TcpForwardStatus, type_: &str) -> (String, String) {
    let condition = status::condition(status, type_).unwrap();
    (condition.status.clone(), condition.reason.clone())
}

fn names(patches: &[StatusPatch]) -> Vec<&str> {
    patches.iter().map(|patch| patch.name.name()).collect()
}

fn forward(name: &str, generation: i64, port: u16) -> Object {
    Object::TcpForward(json!({
        "apiVersion": "tcpforward.dev/v1alpha1", "kind": "TcpForward",
        "metadata": {"namespace": "shop", "name": name, "uid": name, "generation": generation,
                     "resourceVersion": generation.to_string(), "creationTimestamp": "2026-01-01T00:00:00Z"},
        "spec": {"listener": {"port": port},
                 "relay": {"targets": [{"name": "t", "service": {"name": name, "port": 80}}]}},
    }))
}

fn service(name: &str) -> Object {
    let service = json!({
        "metadata": {"namespace": "shop", "name": name},
        "spec": {"clusterIP": "10.96.0.1", "ipFamilies": ["IPv4"],
                 "ports": [{"port": 80, "protocol": "TCP", "targetPort": 8080}]},
    });
    Object::Service(Box::new(serde_json::from_value(service).unwrap()))
}

fn slice(service: &str, addresses: &[&str]) -> Object {
    let endpoints = addresses
        .iter()
        .map(|a| json!({"addresses": [a], "conditions": {"ready": true}}));
    let slice = json!({
        "metadata": {"namespace": "shop", "name": format!("{service}-1"),
                     "labels": {"kubernetes.io/service-name": service}},
        "addressType": "IPv4",
        "endpoints": endpoints.collect::<Vec<_>>(),
        "ports": [{"name": "", "port": 8080, "protocol": "TCP"}],
    });
    Object::EndpointSlice(Box::new(serde_json::from_value(slice).unwrap()))
}

#[tokio::test(start_paused = true)]
async fn nothing_is_published_before_every_kind_is_listed() {
    let operator = Operator::start(LeaseView::alone());
    let (last, others) = KINDS.split_last().unwrap();
    for kind in others {
        operator.say(Event::Replaced(*kind, Vec::new())).await;
        operator.settle().await;
        assert!(operator.published.borrow().is_none());
    }
    operator.say(Event::Replaced(*last, Vec::new())).await;
    operator.settle().await;
    assert!(operator.published.borrow().is_some());
}

fn forward_event(name: &str, generation: i64, port: u16) -> Event {
    Event::Applied(forward(name, generation, port))
}

#[tokio::test(start_paused = true)]
async fn what_data_planes_say_does_not_pile_up_while_a_list_is_missing() {
    let operator = Operator::start(LeaseView::alone());
    let _seat = operator.serve(&[]);
    operator.settle().await;
    assert_eq!(operator.roster.take_dirty().pools, BTreeSet::new());
}

#[tokio::test(start_paused = true)]
async fn a_change_of_one_service_recompiles_only_the_forwards_that_use_it() {
    let operator = Operator::with_two_forwards(LeaseView::alone()).await;
    assert_eq!(operator.compiled(), 2);
    operator
        .say(Event::Applied(slice("b", &["10.0.0.3"])))
        .await;
    operator.settle().await;
    assert_eq!(operator.compiled(), 3);
    operator.say(Event::Applied(service("unused"))).await;
    operator.settle().await;
    assert_eq!(operator.compiled(), 3);
}

#[tokio::test(start_paused = true)]
async fn what_comes_in_a_burst_is_one_pass_and_no_change_is_no_news() {
    let mut operator = Operator::with_two_forwards(LeaseView::alone()).await;
    let passes = operator.metrics.passes.get();
    operator.published.mark_unchanged();
    for address in ["10.0.0.3", "10.0.0.4", "10.0.0.1"] {
        operator.say(Event::Applied(slice("a", &[address]))).await;
    }
    operator.settle().await;
    assert_eq!(operator.metrics.passes.get(), passes + 1);
    assert!(
        !operator.published.has_changed().unwrap(),
        "the same set is published again"
    );
    operator
        .say(Event::Applied(slice("a", &["10.0.0.9"])))
        .await;
    let changed = timeout(Duration::from_secs(1), operator.published.changed()).await;
    changed.expect("the change is not published").unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_new_holder_gives_data_planes_ten_seconds() {
    let operator = Operator::with_two_forwards(LeaseView::alone()).await;
    let first = operator.queue.take_all();
    assert_eq!(names(&first), ["a", "b"]);
    assert_eq!(word(&first[0].status, "Programmed").1, "Pending");
    assert_eq!(first[0].resource_version, "1");
    tokio::time::sleep(Duration::from_secs(8)).await;
    assert_eq!(operator.queue.take_all(), []);
    tokio::time::sleep(Duration::from_secs(4)).await;
    let second = operator.queue.take_all();
    assert_eq!(word(&second[0].status, "Programmed").1, "NoDataPlane");
}

#[tokio::test(start_paused = true)]
async fn a_pool_s_status_and_its_account_follow_what_is_there() {
    let operator = Operator::with_two_forwards(LeaseView::alone()).await;
    let ready = || {
        let mut written = operator.queue_of_pools.take_all();
        let patch = written.pop()?;
        assert_eq!((patch.name.as_str(), written.len()), ("default", 0));
        let ready = patch.status.conditions.iter().find(|c| c.type_ == "Ready");
        Some((ready?.reason.clone(), patch.status.pods?.summary))
    };
    let says = |reason: &str, summary: &str| Some((reason.to_owned(), summary.to_owned()));
    assert_eq!(ready(), says("NoDataPlane", "0/0"));
    assert_eq!(ready(), None, "nothing is new");
    let user = "system:serviceaccount:proxies:default";
    let pool_of = || operator.accounts.borrow().pool(user).map(ToOwned::to_owned);
    assert_eq!(pool_of().as_deref(), Some("default"));
    operator.serve(&["a", "b"]);
    operator.settle().await;
    assert_eq!(ready(), says("Ready", "1/1"));
    operator.say(gone(Kind::DataPlane, "default")).await;
    operator.settle().await;
    assert_eq!((ready(), pool_of()), (None, None));
    assert_eq!(
        operator.condition("a", "Accepted"),
        ("False".to_owned(), "UnknownDataPlane".to_owned())
    );
}

#[tokio::test(start_paused = true)]
async fn data_planes_of_a_forgotten_pool_get_the_empty_set() {
    let mut operator = Operator::with_two_forwards(LeaseView::alone()).await;
    let dial = operator.push();
    let mut plane = DataPlane::connect(&dial, &hello("u")).await;
    let update = plane.update().await;
    assert_eq!(update.upserts.len(), 2);
    let held = operator.published.borrow().clone().unwrap();
    assert!(format!("{held:?}").contains("\"default\""));
    let version = Version::try_from(update.version.as_slice()).unwrap();
    plane.ack(update.nonce, version).await;
    operator
        .say(Event::Replaced(Kind::TcpForward, Vec::new()))
        .await;
    let update = plane.update().await;
    assert_eq!((update.full, update.removals.len()), (false, 2));
    assert_eq!(update.version, Snapshot::new(SETTINGS).version().as_bytes());
    let held = operator.published.borrow().clone().unwrap();
    assert!(!format!("{held:?}").contains("\"default\""));
}

mod entrances;
mod pods;
mod secrets;
mod statuses;
