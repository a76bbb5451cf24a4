//! Pure. The command by its other name: a file `kubectl-tcpforward` is `kubectl tcpforward`.

use std::ffi::OsString;
use std::path::Path;

/// As kubectl looks for it.
const FILE: &str = "kubectl-tcpforward";

/// What kubectl's users call it, for usages and errors.
const NAME: &str = "kubectl tcpforward";

/// What is done when nothing is said.
const DEFAULT: &str = "status";

/// The arguments as the command takes them. By the other name it is `status` that is asked for
/// unless something else is: a flag that the command itself doesn't know is one of `status`.
pub(crate) fn arguments(
    command: &mut clap::Command,
    given: impl IntoIterator<Item = OsString>,
) -> Vec<OsString> {
    let mut arguments: Vec<_> = given.into_iter().collect();
    let Some(program) = arguments.first_mut() else {
        return arguments;
    };
    if Path::new(program)
        .file_stem()
        .is_none_or(|name| name != FILE)
    {
        return arguments;
    }
    *program = NAME.into();
    let is_default = match arguments.get(1).and_then(|first| first.to_str()) {
        Some(first) => first.starts_with('-') && !knows(command, first),
        None => arguments.len() == 1,
    };
    if is_default {
        arguments.insert(1, DEFAULT.into());
    }
    arguments
}

fn knows(command: &mut clap::Command, flag: &str) -> bool {
    command.build();
    let flag = flag.split('=').next().unwrap_or_default();
    command.get_arguments().any(|argument| {
        let long = argument.get_long().map(|long| format!("--{long}"));
        let short = argument.get_short().map(|short| format!("-{short}"));
        [long, short].iter().flatten().any(|own| own == flag)
    })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::Args;

    #[test]
    fn by_its_other_name_it_is_a_plugin_that_shows_statuses() {
        let cases = [
            ("/bin/tcpforward", "/bin/tcpforward"),
            ("tcpforward -n shop", "tcpforward -n shop"),
            ("/x/kubectl-tcpforward", "kubectl tcpforward|status"),
            (
                "kubectl-tcpforward -n shop",
                "kubectl tcpforward|status -n shop",
            ),
            (
                "kubectl-tcpforward -A -o=json",
                "kubectl tcpforward|status -A -o=json",
            ),
            (
                "kubectl-tcpforward status web",
                "kubectl tcpforward|status web",
            ),
            (
                "kubectl-tcpforward explain a b:1",
                "kubectl tcpforward|explain a b:1",
            ),
            (
                "kubectl-tcpforward --version",
                "kubectl tcpforward|--version",
            ),
            ("kubectl-tcpforward --help", "kubectl tcpforward|--help"),
            ("kubectl-tcpforward -h", "kubectl tcpforward|-h"),
            (
                "kubectl-tcpforward --log=off check",
                "kubectl tcpforward|--log=off check",
            ),
            ("kubectl-tcpforward.exe", "kubectl tcpforward|status"),
        ];
        for (given, expected) in cases {
            let split = given.split(' ').map(OsString::from);
            let made = arguments(&mut Args::command(), split);
            let (program, rest) = expected
                .split_once('|')
                .unwrap_or_else(|| expected.split_once(' ').unwrap_or((expected, "")));
            let rest = rest.split(' ').filter(|word| !word.is_empty());
            let expected: Vec<_> = std::iter::once(program)
                .chain(rest)
                .map(OsString::from)
                .collect();
            assert_eq!(made, expected, "{given}");
        }
        assert!(arguments(&mut Args::command(), []).is_empty());
    }
}
