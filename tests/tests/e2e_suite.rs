//! The suite of level 5 in the lab: our image and our chart on two nodes.

use anyhow::{Result, ensure};
use tcpforward_tests::cluster::nodes::Nodes;
use tcpforward_tests::e2e::{self, Site};
use tcpforward_tests::lab::{self, Network};
use tcpforward_tests::programs::workspace_root;

#[test]
fn users_get_what_they_are_promised() -> Result<()> {
    let image = workspace_root().join("target/image/tcpforward.tar");
    ensure!(
        image.is_file(),
        "{} is missing: `make image` makes it",
        image.display()
    );
    lab::run(Network::Namespace, async |lab| {
        let mut nodes = Nodes::start(lab, &[e2e::OPERATOR.to_owned()]).await?;
        nodes.import(lab, &image).await?;
        let kubeconfig = nodes.cluster.kubeconfig().to_owned();
        let site = Site::new(lab, &kubeconfig).await?;
        e2e::run(&site, Some(&mut nodes)).await
    })
}
