//! The harness itself: a cluster starts, works, can be stopped and held, and leaves nothing behind.

use std::path::Path;
use std::time::Duration;

use anyhow::{Result, ensure};
use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use kube::Api;
use kube::api::{ObjectMeta, PostParams};
use rustix::process::Signal;
use tcpforward_tests::cluster::{Cluster, Controllers};
use tcpforward_tests::eventually::eventually;
use tcpforward_tests::lab::{self, Network};

const DEADLINE: Duration = Duration::from_secs(60);

#[test]
fn a_cluster_works_and_is_gone_with_its_lab() -> Result<()> {
    let mut pids = Vec::new();
    lab::run(Network::Loopback, async |lab| {
        let cluster = Cluster::start(lab, Controllers::Run).await?;
        pids.extend([cluster.etcd.pid(), cluster.api_server.pid()]);
        pids.extend(cluster.controllers.as_ref().map(|process| process.pid()));

        let version = cluster.kubectl(lab, &["version"]).await?;
        ensure!(version.contains("Client Version: v1."), "{version}");
        ensure!(version.contains("Server Version: v1."), "{version}");

        let client = cluster.client().await?;
        let shop = Namespace {
            metadata: ObjectMeta {
                name: Some("shop".to_owned()),
                ..ObjectMeta::default()
            },
            ..Namespace::default()
        };
        Api::all(client.clone())
            .create(&PostParams::default(), &shop)
            .await?;
        let accounts: Api<ServiceAccount> = Api::namespaced(client, "shop");
        eventually("the controllers to act", DEADLINE, async || {
            accounts.get("default").await.map(drop)
        })
        .await
    })?;
    assert_eq!(pids.len(), 3);
    for pid in pids {
        assert!(!Path::new(&format!("/proc/{pid}")).exists(), "{pid} lives");
    }
    Ok(())
}

#[test]
fn an_api_server_can_be_held_killed_and_started_again() -> Result<()> {
    lab::run(Network::Loopback, async |lab| {
        let mut cluster = Cluster::start(lab, Controllers::Absent).await?;
        let client = cluster.client().await?;

        cluster.api_server.signal(Signal::STOP)?;
        let held = tokio::time::timeout(Duration::from_millis(300), client.apiserver_version());
        ensure!(held.await.is_err(), "a held API server answered");
        cluster.api_server.signal(Signal::CONT)?;
        client.apiserver_version().await?;

        cluster.api_server.kill()?;
        ensure!(
            client.apiserver_version().await.is_err(),
            "a dead one answered"
        );
        cluster.api_server.restart()?;
        cluster.ready().await?;
        client.apiserver_version().await?;
        Ok(())
    })
}
