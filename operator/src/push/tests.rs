use std::collections::BTreeMap;

use prometheus::Registry;
use tcpforward_protocol::answer::{Hello, Source};
use tcpforward_protocol::proto::{self, to_data_plane, to_operator};
use tcpforward_protocol::version::Version;
use tcpforward_protocol::wire;
use tonic::Code;

use super::fake::{DataPlane, message};
use super::fixtures::{SETTINGS, hello, snapshot};
use super::*;

const PATIENCE: Duration = Duration::from_secs(5);

/// An operator's push without the operator.
struct Operator {
    published: watch::Sender<Option<Published>>,
    lease: watch::Sender<LeaseView>,
    shared: Arc<Shared>,
    dial: mpsc::Sender<DuplexStream>,
    tasks: JoinSet<Result<(), Error>>,
}

impl Operator {
    fn start() -> Self {
        let (published, seen) = watch::channel(None);
        let (lease, view) = watch::channel(LeaseView::alone());
        let shared = Arc::new(Shared {
            identity: "op".to_owned(),
            published: seen,
            accounts: watch::channel(Accounts::default()).1,
            lease: view,
            roster: Arc::default(),
            metrics: Metrics::new(&Registry::new()).unwrap(),
            shutdown: CancellationToken::new(),
            behind: Once::new(),
        });
        let (dial, incoming) = mpsc::channel(4);
        let mut tasks = JoinSet::new();
        tasks.spawn(serve_local(Arc::clone(&shared), incoming));
        Self {
            published,
            lease,
            shared,
            dial,
            tasks,
        }
    }

    fn publish(&self, forwards: &[(&str, i64)]) -> Version {
        let snapshot = snapshot(forwards);
        let version = snapshot.version();
        let pools = [("default".to_owned(), snapshot)];
        let next = Published::new(SETTINGS).with_pools(pools);
        self.published.send_replace(Some(next));
        version
    }

    async fn connect(&self, hello: &Hello) -> DataPlane {
        DataPlane::connect(&self.dial, hello).await
    }
}

#[tokio::test]
async fn a_data_plane_gets_everything_and_then_what_changed() {
    let operator = Operator::start();
    let first = operator.publish(&[("a", 1), ("b", 1)]);
    let mut plane = operator.connect(&hello("u")).await;
    let update = plane.update().await;
    assert!(update.full && update.last && update.upserts.len() == 2);
    assert_eq!(update.version, first.as_bytes());
    plane.ack(update.nonce, first).await;
    let second = operator.publish(&[("a", 2), ("b", 1)]);
    let update = plane.update().await;
    assert!(!update.full && update.last);
    let names: Vec<_> = update.upserts.iter().map(|f| f.name.as_str()).collect();
    assert_eq!(
        (names, update.version.as_slice()),
        (vec!["n/a"], second.as_bytes())
    );
    assert_eq!(
        operator
            .shared
            .metrics
            .pushes
            .with_label_values(&["full"])
            .get(),
        1
    );
}

#[tokio::test]
async fn nothing_is_said_before_the_first_whole_pass() {
    let operator = Operator::start();
    let mut plane = operator.connect(&hello("u")).await;
    let mut news = operator.shared.roster.news();
    let seated = timeout(PATIENCE, news.wait_for(|n| *n > 0)).await;
    seated.unwrap().unwrap();
    let early = timeout(Duration::from_millis(50), plane.heard.message()).await;
    assert!(early.is_err(), "said {early:?}");
    operator.publish(&[("a", 1)]);
    assert!(plane.update().await.full);
}

#[tokio::test]
async fn what_was_not_acknowledged_is_sent_again_on_the_next_stream() {
    let operator = Operator::start();
    let version = operator.publish(&[("a", 1)]);
    let mut plane = operator.connect(&hello("u")).await;
    let nonce = plane.update().await.nonce;
    plane.ack(nonce, version).await;
    operator.publish(&[("a", 2)]);
    let lost = plane.update().await;
    assert!(!lost.full);
    drop(plane);
    let returning = Hello {
        version: Some(version),
        ..hello("u")
    };
    let again = operator.connect(&returning).await.update().await;
    assert!(again.full && again.upserts.len() == 1);
    assert_eq!(again.version, lost.version);
}

#[tokio::test]
async fn a_stale_replica_serves_newcomers_only() {
    let operator = Operator::start();
    let long_ago = LeaseView::seen(7, None, Some(crate::lease::now()));
    operator.lease.send_replace(long_ago);
    operator.publish(&[("a", 1)]);
    assert!(operator.connect(&hello("new")).await.update().await.full);
    let holding = Hello {
        version: Some(snapshot(&[("x", 1)]).version()),
        ..hello("old")
    };
    let mut plane = operator.connect(&holding).await;
    let welcome = plane.hear().await.unwrap();
    assert!(
        matches!(welcome, to_data_plane::Message::Welcome(_)),
        "{welcome:?}"
    );
    let share = plane.hear().await.unwrap();
    assert!(
        matches!(share, to_data_plane::Message::Share(_)),
        "{share:?}"
    );
    operator.lease.send_replace(LeaseView::alone());
    assert!(matches!(plane.hear().await.unwrap(), to_data_plane::Message::Update(u) if u.full));
}

#[tokio::test]
async fn a_replica_that_loses_sight_of_the_lease_says_epoch_0() {
    let operator = Operator::start();
    operator.publish(&[("a", 1)]);
    let later = crate::lease::now() + Duration::from_secs(60);
    let sees = |until| LeaseView::seen(7, None, Some(until));
    operator.lease.send_replace(sees(later));
    let mut plane = operator.connect(&hello("u")).await;
    let mut said = async || loop {
        if let to_data_plane::Message::Welcome(welcome) = plane.hear().await.unwrap() {
            return welcome.epoch;
        }
    };
    assert_eq!(said().await, 7);
    operator.lease.send_replace(sees(crate::lease::now()));
    assert_eq!(said().await, 0);
    operator.lease.send_replace(sees(later));
    assert_eq!(said().await, 7);
}

#[tokio::test]
async fn the_newer_of_two_streams_of_a_pod_stays() {
    let operator = Operator::start();
    operator.publish(&[("a", 1)]);
    let mut older = operator.connect(&hello("u")).await;
    older.update().await;
    let mut newer = operator.connect(&hello("u")).await;
    assert_eq!(older.end().await, Code::Aborted);
    assert!(newer.update().await.full);
    assert_eq!(operator.shared.roster.sizes().get("default"), Some(&1));
}

#[tokio::test]
async fn shares_are_told_again_when_a_member_comes() {
    let operator = Operator::start();
    operator.publish(&[]);
    let mut b = operator.connect(&hello("b")).await;
    b.update().await;
    let _a = operator.connect(&hello("a")).await;
    let told = b.hear().await.unwrap();
    assert_eq!(
        told,
        to_data_plane::Message::Share(proto::Share { index: 1, of: 2 })
    );
}

#[tokio::test]
async fn the_count_of_a_pool_goes_with_its_last_member() {
    let operator = Operator::start();
    operator.publish(&[]);
    let mut plane = operator.connect(&hello("u")).await;
    plane.update().await;
    let connected = &operator.shared.metrics.connected;
    assert_eq!(connected.with_label_values(&["default"]).get(), 1);
    drop(plane);
    let gone = async {
        while !prometheus::core::Collector::collect(connected)[0]
            .get_metric()
            .is_empty()
        {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, gone)
        .await
        .expect("the pool is still counted");
}

#[tokio::test]
async fn a_hello_of_another_pod_ends_the_stream() {
    let operator = Operator::start();
    operator.publish(&[]);
    let listening = Hello {
        source: Source::Listening,
        ..hello("u")
    };
    let mut plane = operator.connect(&listening).await;
    plane.hear().await.unwrap();
    let other = wire::hello_to_proto(&hello("other"));
    plane
        .say
        .send(message(to_operator::Message::Hello(other)))
        .await
        .unwrap();
    assert_eq!(plane.end().await, Code::InvalidArgument);
}

#[tokio::test]
async fn shutdown_ends_streams_and_the_server() {
    let mut operator = Operator::start();
    operator.publish(&[]);
    let mut plane = operator.connect(&hello("u")).await;
    plane.update().await;
    operator.shared.shutdown.cancel();
    assert_eq!(plane.end().await, Code::Unavailable);
    drop(plane);
    let ended = timeout(PATIENCE, operator.tasks.join_next()).await;
    ended
        .expect("the server does not end")
        .unwrap()
        .unwrap()
        .unwrap();
    assert_eq!(operator.shared.roster.sizes(), BTreeMap::new());
}

#[tokio::test]
async fn plain_text_is_served_on_loopback_only() {
    let refused = bind("0.0.0.0:9900".parse().unwrap(), Reach::Loopback)
        .await
        .unwrap_err();
    let text = refused.to_string();
    assert!(text.starts_with("--push is 0.0.0.0:9900"), "{text}");
    assert!(text.ends_with("use 127.0.0.1:9900"), "{text}");
    let bound = bind("127.0.0.1:0".parse().unwrap(), Reach::Loopback)
        .await
        .unwrap();
    let taken = bind(bound.local_addr().unwrap(), Reach::Anywhere)
        .await
        .unwrap_err();
    assert!(matches!(taken, Error::Bind { .. }));
}
