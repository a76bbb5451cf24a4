use super::*;
use crate::entrance::tests::stored;
use crate::entrance::{Deed, Live};
use crate::patch::ServiceName;

impl Operator {
    /// An operator whose pool's pods have networks of their own, with one forward.
    async fn with_services() -> Self {
        let operator = Self::start(LeaseView::alone());
        for kind in KINDS {
            let objects = match kind {
                Kind::TcpForward => vec![forward("a", 1, 5432)],
                Kind::DataPlane => vec![plain_pool()],
                _ => Vec::new(),
            };
            operator.say(Event::Replaced(kind, objects)).await;
        }
        operator.settle().await;
        operator
    }

    /// The one thing that is to be done, and to which Service.
    fn deed(&self) -> (ServiceName, Deed) {
        let mut writes = self.queue_of_services.take_all();
        let write = writes.pop().expect("nothing is to be done");
        assert_eq!(writes, [], "more is to be done");
        (write.name, write.deed)
    }

    fn is_idle(&self) -> bool {
        self.queue_of_services.take_all().is_empty()
    }

    async fn see(&self, live: Live) {
        self.say(Event::Entrances(EntranceNews::Seen(live))).await;
        self.settle().await;
    }

    fn programmed(&self) -> (String, String) {
        self.condition("a", "Programmed")
    }

    /// Ports that the pool's pods are told of.
    fn ports(&self) -> Vec<u16> {
        let published = self.published.borrow().clone().unwrap();
        let snapshot = published.snapshot("default");
        let ports = snapshot.forwards().map(|f| f.spec.listener.port.get());
        ports.collect()
    }
}

fn plain_pool() -> Object {
    let Event::Applied(pool) = pool("default", json!({"hostNetwork": false})) else {
        unreachable!()
    };
    pool
}

fn word(status: &str, reason: &str) -> (String, String) {
    (status.to_owned(), reason.to_owned())
}

#[tokio::test(start_paused = true)]
async fn nothing_is_published_before_services_of_pools_are_read() {
    let operator = Operator::with_services().await;
    assert!(operator.published.borrow().is_none());
    let proxies = BTreeSet::from(["proxies".to_owned()]);
    assert_eq!(*operator.namespaces.borrow(), proxies);
    operator.say(services_of_pods(Vec::new())).await;
    operator.settle().await;
    assert!(operator.published.borrow().is_some());
}

#[tokio::test(start_paused = true)]
async fn a_service_is_opened_after_every_pod_serves_and_closed_before_the_listener_goes() {
    let operator = Operator::with_services().await;
    operator.say(services_of_pods(Vec::new())).await;
    operator.settle().await;
    let (name, Deed::Create(body)) = operator.deed() else {
        panic!("no Service is made");
    };
    assert_eq!(name.namespace, "proxies");
    let port = body["spec"]["ports"][0]["targetPort"].as_u64().unwrap();
    let port = u16::try_from(port).unwrap();
    assert_eq!(operator.programmed(), word("False", "Pending"));
    assert_eq!(operator.ports(), [0_u16; 0]);

    operator.see(stored(&body, |_| {})).await;
    assert_eq!(operator.ports(), [port]);
    assert!(operator.is_idle(), "nobody serves it yet");
    operator.serve(&["a"]);
    operator.settle().await;
    assert_eq!(operator.programmed(), word("False", "Pending"));
    let (_, Deed::Apply(open)) = operator.deed() else {
        panic!("it is not opened");
    };
    operator.see(stored(&open, |_| {})).await;
    assert_eq!(operator.programmed(), word("True", "Programmed"));
    let addresses = operator.forwards.borrow()[&ForwardName::new("shop", "a")]
        .status
        .addresses
        .clone();
    assert_eq!(
        (addresses[0].value.as_str(), addresses[0].port),
        ("10.96.3.7", 5432)
    );
    assert!(operator.is_idle());

    operator.say(gone(Kind::TcpForward, "a")).await;
    operator.settle().await;
    assert!(matches!(operator.deed().1, Deed::Close(_)));
    assert_eq!(operator.ports(), [port], "clients may still come");
    operator.see(stored(&body, |_| {})).await;
    assert_eq!(operator.ports(), [port], "nodes do not know yet");
    assert!(operator.is_idle());
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert_eq!(operator.ports(), [0_u16; 0]);
    assert!(matches!(operator.deed().1, Deed::Delete(_)));
}

#[tokio::test(start_paused = true)]
async fn a_listener_waits_ten_seconds_for_its_service_at_most() {
    let operator = Operator::with_services().await;
    operator.say(services_of_pods(Vec::new())).await;
    operator.settle().await;
    let (_, Deed::Create(body)) = operator.deed() else {
        panic!("no Service is made");
    };
    let mut open = body.clone();
    open["spec"]["selector"] = json!({"tcpforward.dev/data-plane": "default"});
    operator.see(stored(&open, |_| {})).await;
    assert_eq!(operator.ports().len(), 1);
    operator.say(gone(Kind::TcpForward, "a")).await;
    tokio::time::sleep(Duration::from_secs(9)).await;
    assert_eq!(operator.ports().len(), 1);
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(operator.ports().len(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_is_not_seen_is_asked_for_again_and_trouble_is_told() {
    let operator = Operator::with_services().await;
    operator.say(services_of_pods(Vec::new())).await;
    operator.settle().await;
    let (name, first) = operator.deed();
    operator.settle().await;
    assert!(operator.is_idle());
    tokio::time::sleep(Duration::from_secs(7)).await;
    assert_eq!(operator.deed(), (name.clone(), first));
    operator
        .queue_of_services
        .complain(&name, "may not be written".to_owned());
    operator.settle().await;
    assert_eq!(operator.programmed(), word("False", "ServiceUnavailable"));
    operator.queue_of_services.forget(&name);
    operator.settle().await;
    assert_eq!(operator.programmed(), word("False", "Pending"));
}

#[tokio::test(start_paused = true)]
async fn a_service_of_someone_else_is_left_alone_and_said() {
    let operator = Operator::with_services().await;
    operator.say(services_of_pods(Vec::new())).await;
    operator.settle().await;
    let (name, _) = operator.deed();
    let foreign = Live {
        namespace: name.namespace.clone(),
        name: name.name.clone(),
        owned: None,
    };
    operator.see(foreign).await;
    assert!(operator.is_idle());
    assert_eq!(operator.programmed(), word("False", "ServiceUnavailable"));
    let gone = EntranceNews::Gone {
        namespace: name.namespace,
        name: name.name,
    };
    operator.say(Event::Entrances(gone)).await;
    operator.settle().await;
    assert!(matches!(operator.deed().1, Deed::Create(_)));
}

#[tokio::test(start_paused = true)]
async fn who_does_not_lead_writes_nothing_and_a_new_leader_all() {
    let operator = Operator::with_services().await;
    operator.lease.send_replace(LeaseView::unseen());
    operator.say(services_of_pods(Vec::new())).await;
    operator.settle().await;
    assert!(operator.is_idle());
    operator.lease.send_replace(LeaseView::alone());
    operator.settle().await;
    assert!(matches!(operator.deed().1, Deed::Create(_)));
}

#[tokio::test(start_paused = true)]
async fn a_pool_that_moves_leaves_no_service_behind() {
    let operator = Operator::with_services().await;
    operator.say(services_of_pods(Vec::new())).await;
    operator.settle().await;
    let (_, Deed::Create(body)) = operator.deed() else {
        panic!("no Service is made");
    };
    operator.see(stored(&body, |_| {})).await;
    let moved = json!({"hostNetwork": false, "podNamespace": "elsewhere"});
    operator.say(pool("default", moved)).await;
    operator.settle().await;
    let both = ["elsewhere", "proxies"].map(str::to_owned);
    assert_eq!(*operator.namespaces.borrow(), BTreeSet::from(both));
    let (name, deed) = operator.deed();
    assert_eq!(
        (name.namespace.as_str(), deed.word()),
        ("proxies", "delete")
    );
}
