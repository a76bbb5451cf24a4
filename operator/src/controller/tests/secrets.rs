use super::*;

/// The users that data planes are told of a proxy.
fn users(operator: &Operator, name: &str) -> Option<String> {
    let forwards = operator.forwards.borrow();
    let forward = forwards.get(&ForwardName::new("shop", name))?;
    let connect = forward.forward.as_ref()?.spec.connect.as_ref()?;
    let names = connect.users.iter().flatten().map(|u| u.name.as_str());
    Some(names.collect::<Vec<_>>().join(","))
}

fn keys(names: &[&str]) -> BTreeSet<Key> {
    let key = |name: &&str| ("shop".to_owned(), (*name).to_owned());
    names.iter().map(key).collect()
}

#[tokio::test(start_paused = true)]
async fn nothing_is_published_before_every_secret_that_is_named_is_known() {
    let operator = Operator::start(LeaseView::alone());
    for kind in KINDS {
        let objects = match kind {
            Kind::TcpForward => ["users", "others"]
                .iter()
                .zip(3128..)
                .filter_map(|(name, port)| match proxy(name, port, name) {
                    Event::Applied(object) => Some(object),
                    _ => None,
                })
                .collect(),
            Kind::DataPlane => vec![default_pool()],
            _ => Vec::new(),
        };
        operator.say(Event::Replaced(kind, objects)).await;
    }
    operator.say(services_of_pods(Vec::new())).await;
    operator.settle().await;
    assert_eq!(*operator.asked.borrow(), keys(&["others", "users"]));
    operator.say(secret("users", &["ci"])).await;
    operator.settle().await;
    assert!(operator.published.borrow().is_none());
    operator.say(secret_is("others", Contents::Forbidden)).await;
    operator.settle().await;
    assert!(operator.published.borrow().is_some());
    assert_eq!(users(&operator, "users").as_deref(), Some("ci"));
    assert_eq!(users(&operator, "others").as_deref(), Some(""));
}

#[tokio::test(start_paused = true)]
async fn a_forward_stays_what_it_was_until_its_new_secret_is_known() {
    let operator = Operator::with_two_forwards(LeaseView::alone()).await;
    operator.say(proxy("p", 3128, "users")).await;
    operator.settle().await;
    assert_eq!(users(&operator, "p"), None);
    operator.say(secret("users", &["ci"])).await;
    operator.settle().await;
    assert_eq!(users(&operator, "p").as_deref(), Some("ci"));

    operator.say(proxy("p", 3128, "others")).await;
    operator.settle().await;
    assert_eq!(users(&operator, "p").as_deref(), Some("ci"));
    assert_eq!(*operator.asked.borrow(), keys(&["others"]));
    // The watch of the former one ends.
    operator.say(gone(Kind::Secret, "users")).await;
    operator.say(forward_event("a", 2, 8003)).await;
    operator.settle().await;
    let a = operator.forwards.borrow()[&ForwardName::new("shop", "a")].clone();
    assert_eq!(a.forward.unwrap().spec.listener.port.get(), 8003);
    assert_eq!(users(&operator, "p").as_deref(), Some("ci"));
    operator.say(secret("others", &["ops"])).await;
    operator.settle().await;
    assert_eq!(users(&operator, "p").as_deref(), Some("ops"));
}

/// A spec that names a new Secret every now and then would else be a way to keep what was taken back.
#[tokio::test(start_paused = true)]
async fn a_lost_grant_waits_for_no_secret() {
    let operator = Operator::with_two_forwards(LeaseView::alone()).await;
    let far = |secret: &str| {
        let Event::Applied(Object::TcpForward(mut raw)) = proxy("p", 3128, secret) else {
            unreachable!()
        };
        let there = json!([{"namespace": "data", "name": "db"}]);
        raw["spec"]["httpConnect"]["rules"][0]["services"] = there;
        Event::Applied(Object::TcpForward(raw))
    };
    let grant = ReferenceGrant {
        namespace: "data".to_owned(),
        name: "g".to_owned(),
        from: ["shop".to_owned()].into(),
        to: [None].into(),
    };
    operator.say(secret("users", &["ci"])).await;
    operator.say(far("users")).await;
    operator
        .say(Event::Applied(Object::ReferenceGrant(grant)))
        .await;
    operator.settle().await;
    let permission = || {
        let forwards = operator.forwards.borrow();
        let forward = forwards[&ForwardName::new("shop", "p")]
            .forward
            .clone()
            .unwrap();
        forward.grants[0].permission
    };
    assert_eq!(permission(), Permission::Given);
    operator.say(far("unread")).await;
    operator.settle().await;
    assert_eq!(
        (permission(), users(&operator, "p").as_deref()),
        (Permission::Given, Some("ci"))
    );
    operator
        .say(Event::Deleted {
            kind: Kind::ReferenceGrant,
            namespace: "data".to_owned(),
            name: "g".to_owned(),
        })
        .await;
    operator.settle().await;
    assert_eq!(permission(), Permission::Missing);
}
