use std::fs;

use serde_json::Value;
use tempfile::TempDir;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::*;
use crate::index::Kind;

const DEADLINE: Duration = Duration::from_secs(10);

fn forward(name: &str, port: u16) -> String {
    format!(
        "apiVersion: tcpforward.dev/v1alpha1\nkind: TcpForward\nmetadata: {{name: {name}}}\nspec:\n  \
         listener: {{port: {port}}}\n  relay:\n    targets:\n    - name: a\n      \
         address: {{host: 127.0.0.1, port: 9001}}\n---\n"
    )
}

struct Folder {
    dir: TempDir,
    events: mpsc::Receiver<Event>,
    findings: mpsc::UnboundedReceiver<Finding>,
    _task: JoinSet<()>,
}

/// Starts with one file.
fn start(first: &str) -> Folder {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("a.yaml"), first).unwrap();
    let (sender, events) = mpsc::channel(64);
    let (found, findings) = mpsc::unbounded_channel();
    let paths = vec![dir.path().to_owned()];
    let mut task = JoinSet::new();
    task.spawn(async move {
        let tell = |findings: &[Finding]| findings.iter().for_each(|f| drop(found.send(f.clone())));
        run(paths, sender, tell).await.unwrap();
    });
    Folder {
        dir,
        events,
        findings,
        _task: task,
    }
}

impl Folder {
    async fn event(&mut self) -> String {
        let event = timeout(DEADLINE, self.events.recv())
            .await
            .expect("an event in time")
            .unwrap();
        match event {
            Event::Applied(object) => format!("+{}:{}", object.name(), generation(&object)),
            Event::Deleted { name, .. } => format!("-{name}"),
            Event::Replaced(kind, objects) => format!("{kind:?}={}", objects.len()),
            Event::Sight(sight) => format!("{sight:?}"),
            Event::Entrances(news) => format!("{news:?}"),
        }
    }

    async fn lists(&mut self) -> Vec<String> {
        let mut lists = Vec::new();
        for _ in 0..9 {
            lists.push(self.event().await);
        }
        lists
    }

    async fn finding(&mut self) -> Finding {
        timeout(DEADLINE, self.findings.recv())
            .await
            .expect("a finding in time")
            .unwrap()
    }

    fn write(&self, name: &str, text: &str) {
        let fresh = self.dir.path().join(".fresh");
        fs::write(&fresh, text).unwrap();
        fs::rename(fresh, self.dir.path().join(name)).unwrap();
    }
}

fn generation(object: &Object) -> i64 {
    match object {
        Object::TcpForward(raw) => raw["metadata"]["generation"].as_i64().unwrap(),
        _ => 0,
    }
}

#[tokio::test]
async fn every_kind_is_announced_then_every_change() {
    let mut folder = start(&forward("web", 8888));
    let lists = folder.lists().await;
    assert_eq!(
        lists,
        [
            "TcpForward=1",
            "DataPlane=0",
            "Namespace=0",
            "Service=0",
            "ServiceCidr=0",
            "EndpointSlice=0",
            "Node=0",
            "ReferenceGrant=0",
            "Secret=0"
        ]
    );
    folder.write("b.yml", &forward("more", 8889));
    assert_eq!(folder.event().await, "+more:1");
    folder.write("a.yaml", &forward("web", 9999));
    assert_eq!(folder.event().await, "+web:2");
    fs::remove_file(folder.dir.path().join("b.yml")).unwrap();
    assert_eq!(folder.event().await, "-more");
}

#[tokio::test]
async fn a_broken_edit_keeps_what_worked_and_says_where_it_is_wrong() {
    let mut folder = start(&forward("web", 8888));
    folder.lists().await;
    folder.write("a.yaml", &forward("web", 0));
    let finding = folder.finding().await;
    assert_eq!(
        (finding.field.as_str(), finding.line),
        ("spec.listener.port", 5)
    );
    folder.write("c.yaml", &forward("more", 8889));
    assert_eq!(
        folder.event().await,
        "+more:1",
        "and nothing is said of web"
    );
    folder.write("a.yaml", &forward("web", 8890));
    assert_eq!(folder.event().await, "+web:2");
}

#[tokio::test]
async fn at_the_start_what_is_good_of_a_file_is_served() {
    let mut folder = start(&(forward("good", 8888) + &forward("bad", 0)));
    assert_eq!(folder.lists().await[0], "TcpForward=1");
    assert!(folder.finding().await.object.contains("bad"));
}

#[test]
fn a_pipe_or_device_is_refused() {
    let error = read(&["/dev/zero".into()]).unwrap_err().to_string();
    assert!(
        error.contains("/dev/zero is neither a file nor a folder"),
        "{error}"
    );
}

#[tokio::test]
async fn one_object_in_two_files_is_a_finding() {
    let mut folder = start(&forward("web", 8888));
    folder.lists().await;
    folder.write("b.yaml", &forward("web", 9999));
    let finding = folder.finding().await;
    assert!(finding.file.ends_with("b.yaml"), "{finding}");
    assert!(finding.object.contains("web"), "{finding}");
}

#[tokio::test]
async fn who_was_here_first_keeps_the_object() {
    let mut folder = start(&forward("web", 8888));
    folder.lists().await;
    folder.write("_before_a.yaml", &forward("web", 9999));
    let finding = folder.finding().await;
    assert!(finding.file.ends_with("_before_a.yaml"), "{finding}");
    folder.write("c.yaml", &forward("more", 8889));
    assert_eq!(
        folder.event().await,
        "+more:1",
        "and nothing is said of web"
    );
}

#[tokio::test]
async fn a_file_that_turns_empty_keeps_what_it_held() {
    let mut folder = start(&forward("web", 8888));
    folder.lists().await;
    folder.write("a.yaml", "");
    let finding = folder.finding().await;
    assert!(finding.remedy.contains("delete the file"), "{finding}");
    fs::remove_file(folder.dir.path().join("a.yaml")).unwrap();
    assert_eq!(folder.event().await, "-web");
}

#[test]
fn who_came_first_is_older() {
    let object = |name: &str| {
        Object::TcpForward(serde_json::json!({"metadata": {"name": name, "namespace": "n"}}))
    };
    let age = |event: &Event| match event {
        Event::Applied(Object::TcpForward(raw)) => raw["metadata"]["creationTimestamp"]
            .as_str()
            .unwrap()
            .to_owned(),
        _ => panic!("an applied forward"),
    };
    let mut world = World::default();
    let first = world.load(vec![object("web")]);
    let both = world.load(vec![object("aaa"), object("web")]);
    assert_eq!(both.len(), 1, "the first one is unchanged");
    assert!(age(&first[0]) < age(&both[0]));
}

#[test]
fn a_path_that_is_not_there_is_named() {
    let error = read(&["no/such.yaml".into()]).unwrap_err().to_string();
    assert!(error.contains("no/such.yaml"), "{error}");
}

#[test]
fn only_visible_manifests_of_a_folder_are_read() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["b.yaml", "a.json", ".hidden.yaml", "README.md", "c.yml~"] {
        fs::write(dir.path().join(name), "{}").unwrap();
    }
    let read = read(&[dir.path().to_owned()]).unwrap();
    let names: Vec<_> = read
        .iter()
        .map(|(name, _)| name.rsplit('/').next().unwrap())
        .collect();
    assert_eq!(names, ["a.json", "b.yaml"]);
}

#[test]
fn a_forward_that_comes_back_is_not_its_former_self() {
    let object = |port: u16| {
        let raw: Value = serde_json::json!({
            "metadata": {"name": "web", "namespace": "n"}, "spec": {"listener": {"port": port}},
        });
        Object::TcpForward(raw)
    };
    let mut world = World::default();
    world.load(vec![object(1)]);
    assert!(matches!(
        world.load(vec![]).as_slice(),
        [Event::Deleted {
            kind: Kind::TcpForward,
            ..
        }]
    ));
    let [Event::Applied(back)] = &world.load(vec![object(2)])[..] else {
        panic!("one event")
    };
    assert_eq!(generation(back), 2);
}
