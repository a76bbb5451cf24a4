//! Edge. Prints what one operator takes for 1,000 TcpForwards, 500 Services and 20,000 endpoints, and how
//! soon a change is in force. Exits 1 if a figure is not what it must be.

use std::process::ExitCode;

use anyhow::Result;
use tcpforward_tests::lab::{self, Network};
use tcpforward_tests::scale::{self, Size};

fn main() -> Result<ExitCode> {
    lab::raise_descriptors()?;
    let mut failing = 0;
    lab::run(Network::Namespace, async |lab| {
        println!("{:28} {:18} {:16} verdict", "figure", "must be", "is");
        for figure in scale::figures(lab, Size::WHOLE).await? {
            let (wanted, shown) = (figure.wanted(), figure.shown());
            let verdict = if figure.meets() { "pass" } else { "MISSED" };
            failing += usize::from(!figure.meets());
            println!("{:28} {wanted:18} {shown:16} {verdict}", figure.name);
        }
        Ok(())
    })?;
    Ok(ExitCode::from(u8::from(failing > 0)))
}
