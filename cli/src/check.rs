//! Edge. Says what is wrong with manifests, by the rules of the API server and of `run`.

use std::path::PathBuf;
use std::process::ExitCode;

use tcpforward_operator::{files, manifest};

/// What to look at.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Manifests, or folders of them.
    #[arg(required = true)]
    paths: Vec<PathBuf>,
}

/// Prints each finding on a line of its own. Exit code 1 if there is one.
pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let texts = files::read(&args.paths)?;
    let parsed = texts
        .iter()
        .map(|(file, text)| manifest::parse(file, text))
        .collect();
    let parsed = manifest::gather(parsed);
    for finding in &parsed.findings {
        println!("{finding}");
    }
    if parsed.findings.is_empty() {
        println!(
            "{} objects in {} files: nothing to object to",
            parsed.objects.len(),
            texts.len()
        );
        return Ok(ExitCode::SUCCESS);
    }
    Ok(ExitCode::FAILURE)
}
