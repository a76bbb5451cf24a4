//! The owner task against scripted operators over in-memory pipes.

use std::time::Duration;

use tcpforward_protocol::delta::Delta;
use tcpforward_protocol::proto::to_data_plane::Message;
use tokio::time::timeout;

use super::samples::{forward, snapshot};
use super::scripted::{DEADLINE, operator};
use super::*;
use crate::last_good;

/// The rest of the program: serves at once whatever is wanted.
struct Applier {
    wanted: watch::Receiver<Option<Arc<Wanted>>>,
    applied: watch::Sender<Arc<Applied>>,
    view: watch::Receiver<View>,
    _report: watch::Sender<Arc<Report>>,
    _sync: JoinSet<()>,
}

fn identity() -> Identity {
    Identity {
        pod: "p".to_owned(),
        uid: "u".to_owned(),
        node: "n1".to_owned(),
        pool: "default".to_owned(),
    }
}

fn start(operators: Vec<OperatorAddress>, dir: Option<PathBuf>) -> Applier {
    let held = dir
        .as_ref()
        .and_then(|dir| last_good::load(dir, "default").unwrap());
    let (wanted_in, wanted) = watch::channel(None);
    let (applied, applied_out) = watch::channel(Arc::new(Applied::default()));
    let (report, report_out) = watch::channel(Arc::new(Report::default()));
    let (view_in, view) = watch::channel(View::default());
    let channels = Channels {
        wanted: wanted_in,
        applied: applied_out,
        report: report_out,
        view: view_in,
    };
    let mut sync = JoinSet::new();
    sync.spawn(run(
        operators,
        Transport::Insecure,
        identity(),
        dir,
        held,
        channels,
    ));
    Applier {
        wanted,
        applied,
        view,
        _report: report,
        _sync: sync,
    }
}

impl Applier {
    async fn serve(&mut self) -> Arc<Wanted> {
        let wanted = timeout(DEADLINE, self.wanted.wait_for(Option::is_some)).await;
        let wanted = wanted.expect("a set in time").unwrap().clone().unwrap();
        let spec = |f: &Arc<Forward>| ServedSpec {
            hash: f.spec_hash,
            generation: f.spec.generation,
        };
        self.applied.send_replace(Arc::new(Applied {
            seq: wanted.seq,
            serving: wanted
                .forwards
                .iter()
                .map(|(name, f)| (name.clone(), spec(f)))
                .collect(),
            refused: wanted.refused.clone(),
        }));
        wanted
    }

    async fn serve_next(&mut self) -> Arc<Wanted> {
        timeout(DEADLINE, self.wanted.changed())
            .await
            .expect("a change in time")
            .unwrap();
        self.serve().await
    }
}

#[tokio::test]
async fn a_set_is_pushed_served_and_acknowledged() {
    let (mut operator, address) = operator();
    let mut applier = start(vec![address], None);
    let mut stream = operator.subscriber().await;
    let hello = stream.hello().await;
    assert!(!hello.source && hello.version.is_empty());
    assert!(stream.applied().await.full);
    stream.welcome(7).await;
    assert!(stream.hello().await.source);
    let first = snapshot([forward("a", 1, &[])]);
    stream.push(5, 7, Delta::full(&first), &first).await;
    applier.serve_next().await;
    let applied = stream.applied().await;
    assert_eq!((applied.nonce, applied.epoch, applied.full), (5, 7, false));
    assert_eq!(applied.version, first.version().as_bytes());
    assert_eq!(applied.serving[0].forward, "n/a");
    let second = snapshot([forward("b", 1, &[])]);
    stream
        .push(6, 7, Delta::between(&first, &second), &second)
        .await;
    applier.serve_next().await;
    let applied = stream.applied().await;
    let said: Vec<_> = applied
        .serving
        .iter()
        .map(|s| (s.forward.as_str(), s.spec_hash.is_empty()))
        .collect();
    assert_eq!(
        (applied.nonce, said),
        (6, vec![("n/a", true), ("n/b", false)])
    );
}

#[tokio::test]
async fn only_one_operator_is_the_source_and_all_of_them_hear() {
    let (mut one, first) = operator();
    let (mut two, second) = operator();
    let mut applier = start(vec![first, second], None);
    let (mut one, mut two) = (one.subscriber().await, two.subscriber().await);
    one.hello().await;
    two.hello().await;
    one.welcome(3).await;
    assert!(one.hello().await.source);
    two.welcome(3).await;
    let (set, other) = (
        snapshot([forward("a", 1, &[])]),
        snapshot([forward("b", 1, &[])]),
    );
    two.push(1, 3, Delta::full(&other), &other).await;
    one.push(1, 3, Delta::full(&set), &set).await;
    let wanted = applier.serve_next().await;
    assert_eq!(
        wanted
            .forwards
            .keys()
            .map(ForwardName::name)
            .collect::<Vec<_>>(),
        ["a"]
    );
    assert!(
        two.applied().await.full,
        "what it served when the stream began"
    );
    let heard = two.applied().await;
    assert_eq!((heard.nonce, heard.serving.len()), (0, 1));
    drop(one);
    assert!(two.hello().await.source);
}

#[tokio::test]
async fn a_stale_epoch_is_refused_and_another_operator_chosen() {
    let (mut old, first) = operator();
    let (mut new, second) = operator();
    let mut applier = start(vec![first, second], None);
    let (mut old, mut new) = (old.subscriber().await, new.subscriber().await);
    old.hello().await;
    new.hello().await;
    old.welcome(9).await;
    assert!(old.hello().await.source);
    let set = snapshot([forward("a", 1, &[])]);
    old.push(1, 9, Delta::full(&set), &set).await;
    applier.serve_next().await;
    new.welcome(10).await;
    let backwards = snapshot([forward("b", 1, &[])]);
    old.push(2, 8, Delta::full(&backwards), &backwards).await;
    assert!(!old.hello().await.source);
    let hello = new.hello().await;
    assert!(hello.source);
    assert_eq!(hello.version, set.version().as_bytes());
    assert!(applier.view.borrow().epoch == 9);
    assert_eq!(applier.wanted.borrow().as_ref().unwrap().forwards.len(), 1);
    assert!(!applier.wanted.has_changed().unwrap());
}

#[tokio::test]
async fn a_set_that_does_not_add_up_is_asked_for_again() {
    let (mut operator, address) = operator();
    let mut applier = start(vec![address], None);
    let mut stream = operator.subscriber().await;
    stream.welcome(1).await;
    let set = snapshot([forward("a", 1, &[])]);
    while !stream.hello().await.source {}
    stream.push(1, 1, Delta::full(&set), &set).await;
    applier.serve_next().await;
    let lie = snapshot([forward("a", 1, &[]), forward("b", 1, &[])]);
    stream.push(2, 1, Delta::between(&set, &set), &lie).await;
    let mut again = operator.subscriber().await;
    assert!(
        again.hello().await.version.is_empty(),
        "a whole set is wanted"
    );
    assert_eq!(
        again.applied().await.serving.len(),
        1,
        "what is served stays"
    );
}

#[tokio::test]
async fn the_last_good_set_is_served_without_an_operator() {
    let dir = tempfile::tempdir().unwrap();
    let state = || Some(dir.path().to_owned());
    let set = snapshot([forward("a", 1, &[])]);
    {
        let (mut operator, address) = operator();
        let mut applier = start(vec![address], state());
        let mut stream = operator.subscriber().await;
        stream.welcome(4).await;
        while !stream.hello().await.source {}
        stream.push(1, 4, Delta::full(&set), &set).await;
        applier.serve_next().await;
        let stored = async {
            while last_good::load(dir.path(), "default").unwrap().is_none() {
                tokio::task::yield_now().await;
            }
        };
        timeout(DEADLINE, stored).await.expect("stored in time");
    }
    let (mut operator, address) = operator();
    let mut applier = start(vec![address], state());
    assert_eq!(applier.serve().await.forwards.len(), 1);
    let mut stream = operator.subscriber().await;
    let hello = stream.hello().await;
    assert_eq!(
        (hello.version.as_slice(), hello.epoch),
        (set.version().as_bytes(), 4)
    );
    stream.welcome(3).await;
    let stale = timeout(Duration::from_millis(200), stream.hello()).await;
    assert!(stale.is_err(), "an operator of a lower epoch is not chosen");
}

#[tokio::test]
async fn only_what_an_operator_sent_is_stored() {
    let dir = tempfile::tempdir().unwrap();
    let set = snapshot([forward("a", 1, &[])]);
    let part = Delta::full(&set).into_parts(1, 4, &set).remove(0);
    let loaded = LastGood {
        held: assemble::Held::apply(None, part).unwrap(),
        complete: last_good::Complete::No,
        share: Some(Share { index: 1, of: 3 }),
    };
    let (wanted, _wanted) = watch::channel(None);
    let (applied_in, applied) = watch::channel(Arc::new(Applied::default()));
    let (_report, report) = watch::channel(Arc::new(Report::default()));
    let (view, shown) = watch::channel(View::default());
    let channels = Channels {
        wanted,
        applied,
        report,
        view,
    };
    let folder = Some(dir.path().to_owned());
    let mut sync = Sync::new(identity(), folder, Some(loaded), channels);
    let serve = |seq| {
        applied_in.send_replace(Arc::new(Applied {
            seq,
            ..Applied::default()
        }));
    };
    serve(1);
    sync.applied();
    assert_eq!(sync.storing.written().await, None, "nothing is written");
    assert_eq!(shown.borrow().share, Some((1, 3)), "its part is known");

    let (outbound, _said) = mpsc::channel(64);
    let broken = tokio_util::sync::CancellationToken::new();
    sync.event(stream::Event::Opening {
        stream: 1,
        outbound,
        broken,
    });
    let welcome = tcpforward_protocol::proto::Welcome {
        epoch: 4,
        ..Default::default()
    };
    let update = Delta::full(&set).into_parts(1, 4, &set).remove(0);
    for message in [Message::Welcome(welcome), Message::Update(update)] {
        sync.event(stream::Event::Said { stream: 1, message });
    }
    serve(2);
    sync.applied();
    assert_eq!(sync.storing.written().await, Some(()));
    let stored = || last_good::load(dir.path(), "default").unwrap().unwrap();
    assert_eq!(stored().share, Some(Share { index: 1, of: 3 }));

    sync.choose();
    let share = tcpforward_protocol::proto::Share { index: 0, of: 2 };
    let message = Message::Share(share);
    sync.event(stream::Event::Said { stream: 1, message });
    assert_eq!(sync.storing.written().await, Some(()));
    assert_eq!(stored().share, Some(Share { index: 0, of: 2 }));
}

#[test]
fn all_that_a_forward_can_ask_for_is_done_here() {
    assert_eq!(FEATURES, tcpforward_protocol::feature::ALL);
}
