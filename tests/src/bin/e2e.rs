//! Edge. The suite of level 5 for any cluster.
//!
//! ```sh
//! e2e image FILE        writes the image of the suite's own pods, for `kind load image-archive`
//! e2e run KUBECONFIG    does the suite; nodes have that image and ours
//! ```

use std::path::Path;

use anyhow::{Result, bail};
use tcpforward_tests::cluster::nodes;
use tcpforward_tests::e2e::{self, Site};
use tcpforward_tests::lab::{self, Network};

fn main() -> Result<()> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let words: Vec<_> = arguments.iter().map(String::as_str).collect();
    lab::run(Network::Loopback, async |lab| match words.as_slice() {
        ["image", file] => {
            std::fs::copy(nodes::pod_image(lab).await?, file)?;
            Ok(())
        }
        ["run", kubeconfig] => e2e::run(&Site::new(lab, Path::new(kubeconfig)).await?, None).await,
        _ => bail!("expected `e2e image FILE` or `e2e run KUBECONFIG`, got {words:?}"),
    })
}
