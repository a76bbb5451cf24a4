//! Edge. Prints the CustomResourceDefinition that `make generate` puts into `crds/`.

use std::io::Write;

fn main() -> anyhow::Result<()> {
    let yaml = tcpforward_operator::crd::yaml()?;
    std::io::stdout().write_all(yaml.as_bytes())?;
    Ok(())
}
