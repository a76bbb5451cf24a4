use std::collections::BTreeMap;
use std::path::Path;

use k8s_openapi::ByteString;
use prometheus::Registry;
use serde_json::{Value, json};

use super::super::accounts::tests::accounts;
use super::super::rotation::{Change, Lifetimes};
use super::*;
use crate::scripted::{ApiServer, Call, api_server};

const SECRET: &str = "/api/v1/namespaces/sys/secrets";
const BUNDLE: &str = "/api/v1/namespaces/edge/configmaps";
const PATIENCE: Duration = Duration::from_secs(1);

fn plan() -> Plan {
    Plan {
        names: vec!["op.sys.svc".to_owned()],
        lifetimes: Lifetimes {
            certificate: Duration::from_secs(30 * 24 * 3600),
            authority: Duration::from_secs(365 * 24 * 3600),
        },
    }
}

/// A keeper whose turns are taken by the test.
struct Keeping {
    keeper: Keeper,
    server: ApiServer,
}

fn start(lease: LeaseView, source: Option<Source>) -> Keeping {
    let (client, server) = api_server();
    let made = || Made {
        secrets: Api::namespaced(client.clone(), "sys"),
        name: "tls".to_owned(),
        plan: plan(),
    };
    let source = source.unwrap_or_else(|| Source::Made(Arc::new(made())));
    let bundles = Bundles {
        client,
        name: "ca".to_owned(),
        accounts: watch::channel(accounts(&[("default", "edge", "proxy")])).1,
    };
    let keeper = Keeper::new(
        source,
        bundles,
        Arc::default(),
        watch::channel(lease).1,
        Metrics::new(&Registry::new()).unwrap(),
    );
    Keeping { keeper, server }
}

fn secret(material: &Material) -> Value {
    let data: BTreeMap<String, ByteString> = material.to_data();
    json!({
        "apiVersion": "v1", "kind": "Secret",
        "metadata": {"name": "tls", "resourceVersion": "7"}, "data": data,
    })
}

fn bundle(material: &Material) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "ca", "resourceVersion": "3"},
        "data": {"ca.crt": material.bundle()},
    })
}

fn stored(call: &Call) -> Material {
    let data = call.body["data"].clone();
    Material::from_data(&serde_json::from_value(data).unwrap()).unwrap()
}

fn echo(call: Call) {
    let body = call.body.clone();
    call.answer(&body);
}

impl Keeping {
    /// One turn, while the script plays the API server.
    async fn turn(&mut self, script: impl AsyncFnOnce(&mut ApiServer)) -> Result<(), String> {
        let (ended, ()) = tokio::join!(self.keeper.turn(), script(&mut self.server));
        ended.map_err(|error| chain(&error))
    }

    fn shows(&self) -> Option<&Pair> {
        self.keeper.shown.as_ref().map(|shown| &shown.pair)
    }
}

async fn next(server: &mut ApiServer, line: &str) -> Call {
    server.expect(line, PATIENCE).await
}

#[tokio::test]
async fn the_holder_makes_publishes_and_shows() {
    let mut keeping = start(LeaseView::alone(), None);
    let mut made = None;
    let turn = keeping.turn(async |server| {
        let get = format!("GET {SECRET}/tls");
        next(server, &get).await.refuse(404, "NotFound");
        let create = next(server, &format!("POST {SECRET}")).await;
        let material = stored(&create);
        echo(create);
        next(server, &get).await.answer(&secret(&material));
        next(server, &format!("GET {BUNDLE}/ca"))
            .await
            .refuse(404, "NotFound");
        let create = next(server, &format!("POST {BUNDLE}")).await;
        assert_eq!(create.body["data"]["ca.crt"], material.bundle());
        echo(create);
        made = Some(material);
    });
    assert_eq!(turn.await, Ok(()));
    assert_eq!(keeping.shows(), Some(&made.unwrap().server));
    assert!(keeping.keeper.serving.is_ready());
}

#[tokio::test]
async fn a_secret_without_data_is_filled() {
    let mut keeping = start(LeaseView::alone(), None);
    let turn = keeping.turn(async |server| {
        let get = format!("GET {SECRET}/tls");
        let room = json!({
            "apiVersion": "v1", "kind": "Secret", "type": "Opaque",
            "metadata": {"name": "tls", "resourceVersion": "1", "labels": {"by": "helm"}},
        });
        next(server, &get).await.answer(&room);
        let fill = next(server, &format!("PUT {SECRET}/tls")).await;
        assert_eq!(fill.body["metadata"], room["metadata"]);
        assert_eq!(fill.body["type"], "Opaque");
        let material = stored(&fill);
        echo(fill);
        next(server, &get).await.answer(&secret(&material));
        let get = format!("GET {BUNDLE}/ca");
        next(server, &get).await.answer(&bundle(&material));
    });
    assert_eq!(turn.await, Ok(()));
    assert!(keeping.keeper.serving.is_ready());
}

#[tokio::test]
async fn others_wait_adopt_and_write_nothing() {
    let mut keeping = start(LeaseView::unseen(), None);
    let get = format!("GET {SECRET}/tls");
    let turn = keeping.turn(async |server| next(server, &get).await.refuse(404, "NotFound"));
    let waits = turn.await.unwrap_err();
    assert!(
        waits.contains("the holder of the Lease makes it"),
        "{waits}"
    );
    let material = Material::begin(&plan(), Timestamp::now().as_second()).unwrap();
    let turn = keeping.turn(async |server| next(server, &get).await.answer(&secret(&material)));
    assert_eq!(turn.await, Ok(()));
    assert_eq!(keeping.shows(), Some(&material.server));
}

#[tokio::test]
async fn the_first_of_two_writers_wins() {
    let mut keeping = start(LeaseView::alone(), None);
    let now = Timestamp::now().as_second();
    // What the other one has stored is two thirds old, and a third writer renews it before us.
    let old = Material::begin(&plan(), now - 21 * 24 * 3600).unwrap();
    let renewed = old.after(Change::RenewServer, &plan(), now).unwrap();
    let turn = keeping.turn(async |server| {
        let get = format!("GET {SECRET}/tls");
        next(server, &get).await.refuse(404, "NotFound");
        next(server, &format!("POST {SECRET}"))
            .await
            .refuse(409, "AlreadyExists");
        next(server, &get).await.answer(&secret(&old));
        next(server, &format!("GET {BUNDLE}/ca"))
            .await
            .answer(&bundle(&old));
        let replace = next(server, &format!("PUT {SECRET}/tls")).await;
        assert_eq!(replace.body["metadata"]["resourceVersion"], "7");
        replace.refuse(409, "Conflict");
        next(server, &get).await.answer(&secret(&renewed));
        next(server, &format!("GET {BUNDLE}/ca"))
            .await
            .answer(&bundle(&renewed));
    });
    assert_eq!(turn.await, Ok(()));
    assert_eq!(keeping.shows(), Some(&renewed.server));
}

#[tokio::test]
async fn a_bundle_that_can_not_be_written_keeps_a_new_authority_from_signing() {
    let mut keeping = start(LeaseView::alone(), None);
    let now = Timestamp::now().as_second();
    let old = Material::begin(&plan(), now - 300 * 24 * 3600).unwrap();
    let old = old.after(Change::RenewServer, &plan(), now).unwrap();
    let turn = keeping.turn(async |server| {
        let get = format!("GET {SECRET}/tls");
        next(server, &get).await.answer(&secret(&old));
        next(server, &format!("GET {BUNDLE}/ca"))
            .await
            .answer(&bundle(&old));
        let replace = next(server, &format!("PUT {SECRET}/tls")).await;
        let material = stored(&replace);
        assert_eq!(material.server, old.server);
        echo(replace);
        next(server, &get).await.answer(&secret(&material));
        next(server, &format!("GET {BUNDLE}/ca"))
            .await
            .answer(&bundle(&old));
        next(server, &format!("PUT {BUNDLE}/ca"))
            .await
            .refuse(403, "Forbidden");
    });
    let failed = turn.await.unwrap_err();
    assert!(failed.contains("ConfigMap edge/ca"), "{failed}");
    assert_eq!(keeping.shows(), Some(&old.server));
}

#[tokio::test]
async fn a_foreign_secret_is_never_written() {
    let mut keeping = start(LeaseView::alone(), None);
    let foreign = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "tls"},
        "data": {"password": "eA=="},
    });
    let turn = keeping.turn(async |server| {
        next(server, &format!("GET {SECRET}/tls"))
            .await
            .answer(&foreign);
    });
    let refused = turn.await.unwrap_err();
    assert!(refused.contains("--tls-secret"), "{refused}");
    keeping.server.stays_quiet(Duration::from_millis(50)).await;
}

fn write(folder: &Path, material: &Material) {
    let server = &material.server;
    std::fs::write(folder.join("tls.crt"), &server.certificate).unwrap();
    std::fs::write(folder.join("tls.key"), &server.key).unwrap();
    std::fs::write(folder.join("ca.crt"), material.bundle()).unwrap();
}

#[tokio::test]
async fn given_files_are_read_again_and_bad_ones_leave_the_last_good() {
    let folder = tempfile::tempdir().unwrap();
    let given = Source::Given(Given {
        certificate: folder.path().join("tls.crt"),
        key: folder.path().join("tls.key"),
        authorities: Some(folder.path().join("ca.crt")),
        names: plan().names,
    });
    let mut keeping = start(LeaseView::alone(), Some(given));
    let missing = keeping.turn(async |_| {}).await.unwrap_err();
    assert!(
        missing.contains("--tls-cert is ") && missing.contains("tls.crt"),
        "{missing}"
    );
    let now = Timestamp::now().as_second();
    let mut last = None;
    for _ in 0..2 {
        let material = Material::begin(&plan(), now).unwrap();
        write(folder.path(), &material);
        let turn = keeping.turn(async |server| {
            let get = next(server, &format!("GET {BUNDLE}/ca")).await;
            get.answer(&bundle(&material));
        });
        assert_eq!(turn.await, Ok(()));
        assert_eq!(keeping.shows(), Some(&material.server));
        last = Some(material.server);
    }
    let foreign = Material::begin(&plan(), now).unwrap();
    std::fs::write(folder.path().join("ca.crt"), foreign.bundle()).unwrap();
    let refused = keeping.turn(async |_| {}).await.unwrap_err();
    assert!(refused.contains("would refuse it"), "{refused}");
    assert_eq!(keeping.shows(), last.as_ref());
}
