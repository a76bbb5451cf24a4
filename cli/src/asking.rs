//! Edge. What is said of a question alike, whatever it is about: where the cluster is, which
//! TcpForward, and in which form the answer is wanted.

use std::io::{self, Write};
use std::path::PathBuf;

use serde_json::Value;
use tcpforward_operator::glance::Cluster;
use tcpforward_protocol::snapshot::ForwardName;

use crate::terminal;
use crate::trouble::Trouble;

/// Where to look, and how to answer.
#[derive(Debug, clap::Args)]
pub(crate) struct Asking {
    /// Of the cluster; absent: as kubectl finds it, or as a pod does.
    #[arg(long, value_name = "FILE")]
    pub(crate) kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig; absent: its current one.
    #[arg(long)]
    pub(crate) context: Option<String>,
    /// Form of the answer.
    #[arg(short, long, value_enum, default_value_t = Form::Text)]
    pub(crate) output: Form,
}

/// How an answer is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Form {
    /// For programs.
    Json,
    /// For people.
    Text,
}

impl Asking {
    pub(crate) async fn cluster(&self) -> Result<Cluster, Trouble> {
        let (kubeconfig, context) = (self.kubeconfig.as_deref(), self.context.as_deref());
        Ok(Cluster::find(kubeconfig, context).await?)
    }
}

/// The value as programs read it.
pub(crate) fn json(value: &Value) -> String {
    terminal::json(value) + "\n"
}

/// Writes an answer. A reader that has left, as `head` does, is an error and no panic.
pub(crate) fn print(text: &str) -> Result<(), Trouble> {
    Ok(io::stdout().write_all(text.as_bytes())?)
}

/// A TcpForward as it is named on the command line.
pub(crate) fn forward_name(given: &str, default: &str) -> Result<ForwardName, Trouble> {
    let (namespace, name) = given.split_once('/').unwrap_or((default, given));
    if [namespace, name].iter().any(|part| !is_name(part)) {
        return Err(Trouble::Usage(format!(
            "FORWARD is {given}: expected NAME or NAMESPACE/NAME, of a-z, 0-9, - and ."
        )));
    }
    Ok(ForwardName::new(namespace, name))
}

/// A namespace as it is named there.
pub(crate) fn namespace(given: &str) -> Result<&str, Trouble> {
    match is_name(given) {
        true => Ok(given),
        false => Err(Trouble::Usage(format!(
            "--namespace is {given}: expected a name of a-z, 0-9, - and ."
        ))),
    }
}

/// Whatever else is no part of a path of the API server either.
fn is_name(text: &str) -> bool {
    let is_allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '.';
    !text.starts_with(['-', '.']) && !text.is_empty() && text.chars().all(is_allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_lead_elsewhere_is_no_name() {
        for (given, expected) in [
            ("web", Some("own/web")),
            ("shop/web.v2-1", Some("shop/web.v2-1")),
            ("a/b/c", None),
            ("..", None),
            ("../secrets", None),
            ("shop/", None),
            ("/web", None),
            ("", None),
            ("web?x", None),
            ("web%2f", None),
            ("Web", None),
        ] {
            let name = forward_name(given, "own").ok().map(|name| name.to_string());
            assert_eq!(name.as_deref(), expected, "{given}");
        }
        assert!(namespace("shop").is_ok());
        for given in ["", "..", "shop/tcpforwards", "a b"] {
            assert!(namespace(given).is_err(), "{given}");
        }
    }
}
