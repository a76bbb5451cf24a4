//! Edge. Prints the CustomResourceDefinition that `make generate` puts into crds/.

use tcpforward_operator::crd;

fn main() -> anyhow::Result<()> {
    print!("{}", crd::yaml()?);
    Ok(())
}
