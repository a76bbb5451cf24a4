//! Edge. Says what is wrong with manifests, by the rules of the API server and of `run`.

use std::path::PathBuf;
use std::process::ExitCode;

use tcpforward_operator::{check, files};

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
    let texts = || {
        texts
            .iter()
            .map(|(file, text)| (file.as_str(), text.as_str()))
    };
    let parsed = check::manifests(texts());
    for finding in &parsed.findings {
        println!("{finding}");
    }
    if parsed.objects.is_empty() && parsed.findings.is_empty() {
        println!("there is no object in what was given: name files or folders of manifests");
        return Ok(ExitCode::FAILURE);
    }
    if parsed.findings.is_empty() {
        println!(
            "{} objects in {} files: nothing to object to",
            parsed.objects.len(),
            texts().count()
        );
        return Ok(ExitCode::SUCCESS);
    }
    Ok(ExitCode::FAILURE)
}
