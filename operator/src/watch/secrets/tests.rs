use prometheus::Registry;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::*;
use crate::scripted::{ApiServer, Call, api_server};

const SOON: Duration = Duration::from_secs(5);

/// The longest pause between two attempts, and a little more.
const RETRY: Duration = Duration::from_secs(61);

const LIST: &str = "GET /api/v1/namespaces/shop/secrets";

/// `ci:` and a hash of bcrypt, in base64.
const AUTH: &str =
    "Y2k6JDJ5JDA1JGFiY2RlZmdoaWprbG1ub3BxcnN0dXVBQkNERUZHSElKS0xNTk9QUVJTVFVWV1hZWjAxMjMy";

struct Follower {
    wanted: watch::Sender<BTreeSet<Key>>,
    events: mpsc::Receiver<Event>,
    server: ApiServer,
    _task: JoinSet<()>,
}

impl Follower {
    fn start() -> Self {
        let (client, server) = api_server();
        let (wanted, asked) = watch::channel(BTreeSet::new());
        let (sender, events) = mpsc::channel(16);
        let metrics = Metrics::new(&Registry::new()).unwrap();
        let mut task = JoinSet::new();
        task.spawn(follow(client, asked, sender, metrics));
        Self {
            wanted,
            events,
            server,
            _task: task,
        }
    }

    fn want(&self, names: &[&str]) {
        self.wanted.send_replace(keys(names));
    }

    /// The next list of one Secret.
    async fn list(&mut self, name: &str) -> Call {
        let call = self.server.expect(LIST, RETRY).await;
        let selector = format!("fieldSelector=metadata.name%3D{name}");
        assert!(call.query.contains(&selector), "{}", call.query);
        assert!(!call.query.contains("watch"), "{}", call.query);
        call
    }

    async fn event(&mut self) -> String {
        self.event_within(SOON).await
    }

    async fn event_within(&mut self, patience: Duration) -> String {
        let event = timeout(patience, self.events.recv()).await;
        match event.expect("an event in time").expect("the task runs") {
            Event::Applied(Object::Secret(secret)) => match secret.contents {
                Contents::Read(held) => {
                    let names = held.users.iter().flatten().map(|user| user.name.as_str());
                    format!("{}: {}", secret.name, names.collect::<Vec<_>>().join(","))
                }
                other => format!("{}: {other:?}", secret.name),
            },
            Event::Deleted { kind, name, .. } => format!("{name}: {kind:?} is forgotten"),
            other => panic!("{other:?}"),
        }
    }
}

fn keys(names: &[&str]) -> BTreeSet<Key> {
    let key = |name: &&str| ("shop".to_owned(), (*name).to_owned());
    names.iter().map(key).collect()
}

fn list_of(items: &[Value]) -> Value {
    json!({"kind": "SecretList", "apiVersion": "v1", "metadata": {"resourceVersion": "7"}, "items": items})
}

fn users() -> Value {
    json!({"metadata": {"namespace": "shop", "name": "users"}, "data": {"auth": AUTH}})
}

#[tokio::test(start_paused = true)]
async fn each_secret_that_is_wanted_is_watched_by_its_name_alone() {
    let mut follower = Follower::start();
    follower.server.stays_quiet(SOON).await;
    follower.want(&["users"]);
    follower.list("users").await.answer(&list_of(&[users()]));
    assert_eq!(follower.event().await, "users: ci");
    let watch = follower.server.expect(LIST, SOON).await;
    assert!(
        watch.query.contains("fieldSelector=metadata.name%3Dusers"),
        "{}",
        watch.query
    );
    assert!(watch.query.contains("watch=true"), "{}", watch.query);
    let _open = watch.hang();

    follower.want(&["others", "users"]);
    follower.list("others").await.answer(&list_of(&[]));
    assert_eq!(follower.event().await, "others: Absent");
    let _open = follower.server.expect(LIST, SOON).await.hang();

    follower.want(&["others"]);
    assert_eq!(follower.event().await, "users: Secret is forgotten");
    follower.want(&["others", "users"]);
    follower.list("users").await.answer(&list_of(&[users()]));
    assert_eq!(follower.event().await, "users: ci");
}

#[tokio::test(start_paused = true)]
async fn a_right_that_is_missing_is_said_and_asked_for_again() {
    let mut follower = Follower::start();
    follower.want(&["users"]);
    follower.list("users").await.refuse(403, "Forbidden");
    assert_eq!(follower.event().await, "users: Forbidden");
    follower.list("users").await.answer(&list_of(&[users()]));
    assert_eq!(follower.event().await, "users: ci");
}

#[tokio::test(start_paused = true)]
async fn an_api_server_that_fails_is_no_answer_until_patience_ends() {
    let mut follower = Follower::start();
    follower.want(&["users"]);
    follower.list("users").await.refuse(500, "InternalError");
    assert!(
        timeout(Duration::from_millis(100), follower.events.recv())
            .await
            .is_err()
    );
    let _never = follower.list("users").await.hang();
    assert_eq!(follower.event_within(PATIENCE).await, "users: Unreadable");
}

#[tokio::test(start_paused = true)]
async fn secrets_beyond_the_bound_wait_for_a_place() {
    let (client, _server) = api_server();
    let mut secrets = Secrets {
        client,
        watching: BTreeMap::new(),
        beyond: BTreeSet::new(),
        watches: SelectAll::new(),
        lives: 0,
        metrics: Metrics::new(&Registry::new()).unwrap(),
    };
    let names: Vec<_> = (0..=SECRETS).map(|i| format!("s{i:04}")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let last = keys(&names[SECRETS..]).pop_first().unwrap();
    assert_eq!(secrets.want(&keys(&names)), [is(&last, Contents::Beyond)]);
    assert_eq!(secrets.want(&keys(&names)), []);
    assert_eq!(secrets.want(&keys(&names[1..])).len(), 1);
    assert!(secrets.watching.contains_key(&last) && secrets.beyond.is_empty());
}
