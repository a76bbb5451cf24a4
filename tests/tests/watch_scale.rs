//! The small form of `make scale`: all of it works; how fast is for an idle machine to say.

use anyhow::{Result, ensure};
use tcpforward_tests::lab::{self, Network};
use tcpforward_tests::scale::{self, Size};

#[test]
fn a_small_world_is_measured_whole() -> Result<()> {
    lab::raise_descriptors()?;
    lab::run(Network::Namespace, async |lab| {
        let figures = scale::figures(lab, Size::SMALL).await?;
        for figure in &figures {
            println!("{}: {}", figure.name, figure.shown());
        }
        let measured = figures.iter().find(|f| f.name == "changes measured");
        let measured = measured.map(|figure| figure.value);
        ensure!(matches!(measured, Some(Ok(n)) if n > 0.0), "{measured:?}");
        Ok(())
    })
}
