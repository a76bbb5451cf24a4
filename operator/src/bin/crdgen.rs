//! Edge. Writes the CustomResourceDefinitions into the folder that it is given; `make generate` says
//! crds/.

use std::path::PathBuf;

use anyhow::Context;
use tcpforward_operator::crd::{self, Kind};

fn main() -> anyhow::Result<()> {
    let folder = std::env::args_os().nth(1);
    let folder = PathBuf::from(folder.context("name the folder to write into, like crds/")?);
    for kind in Kind::ALL {
        let path = folder.join(kind.file());
        let text = crd::yaml(kind)?;
        std::fs::write(&path, text).with_context(|| format!("can't write {}", path.display()))?;
    }
    Ok(())
}
