//! `tcpforward check` as a user has it: what it prints, how it exits, and that `run` agrees.

use anyhow::{Context, Result, ensure};
use tcpforward_tests::forwarder::{manifest, target};
use tcpforward_tests::lab::{self, Lab, Network};
use tcpforward_tests::programs;

/// What `tcpforward COMMAND PATH` prints and its exit code.
fn tcpforward(lab: &Lab, command: &str, path: &str) -> Result<(Option<i32>, String)> {
    let output = programs::tcpforward()?
        .args([command, path])
        .command(lab.folder())
        .output()?;
    let printed = [output.stdout, output.stderr].concat();
    Ok((
        output.status.code(),
        String::from_utf8_lossy(&printed).into_owned(),
    ))
}

fn good(name: &str) -> Result<String> {
    Ok(manifest(
        name,
        8888,
        &[target("a", "127.0.0.1:9001".parse()?, "")],
        "",
    ))
}

#[test]
fn a_good_manifest_is_no_finding() -> Result<()> {
    lab::run(Network::Loopback, async |lab| {
        lab.file("good.yaml", good("web")?)?;
        let (code, printed) = tcpforward(lab, "check", "good.yaml")?;
        ensure!(code == Some(0), "{code:?}: {printed}");
        Ok(())
    })
}

#[test]
fn each_finding_names_file_line_field_value_and_remedy() -> Result<()> {
    lab::run(Network::Loopback, async |lab| {
        let web = good("web")?;
        // Name of the case, the manifest, and what must be said of it.
        let cases: [(&str, String, &[&str]); 9] = [
            (
                "port-0",
                web.replace("8888", "0"),
                &[":5:", "spec.listener.port", "0", "1"],
            ),
            (
                "port-70000",
                web.replace("8888", "70000"),
                &[":5:", "spec.listener.port", "65535"],
            ),
            ("unknown", web.replace("relay:", "rely:"), &["spec.rely"]),
            (
                "name",
                web.replace("name: web", "name: We_b"),
                &[":3:", "metadata.name", "We_b"],
            ),
            (
                "weight",
                web.replace("}}\n", "}, weight: -1}\n"),
                &["targets[0].weight", "-1"],
            ),
            (
                "duration",
                web.replace("timeout: 300ms", "timeout: \"5\""),
                &["spec.relay.dial.timeout", "\"5\""],
            ),
            ("twice", web.clone() + &web, &["default/web", "web"]),
            ("no-yaml", "apiVersion: [\n".to_owned(), &["no-yaml.yaml:"]),
            (
                "kind",
                web.replace("kind: TcpForward", "kind: TcpForwards"),
                &["TcpForwards"],
            ),
        ];
        for (name, text, expected) in cases {
            let file = format!("{name}.yaml");
            lab.file(&file, text)?;
            let (code, printed) = tcpforward(lab, "check", &file)?;
            ensure!(code == Some(1), "{name}: {code:?}: {printed}");
            for text in [&[file.as_str()], expected].concat() {
                ensure!(printed.contains(text), "{name}: no {text:?} in {printed}");
            }
            if name != "twice" {
                let (code, said) = tcpforward(lab, "run", &file)?;
                ensure!(code == Some(1), "run {name}: {code:?}: {said}");
                let finding = printed.lines().next().context("a finding")?;
                ensure!(said.contains(finding), "run says {said}, check {finding}");
            }
        }
        Ok(())
    })
}

#[test]
fn a_path_that_is_not_there_is_named() -> Result<()> {
    lab::run(Network::Loopback, async |lab| {
        for command in ["check", "run"] {
            let (code, printed) = tcpforward(lab, command, "no-such.yaml")?;
            ensure!(
                code == Some(1) && printed.contains("no-such.yaml"),
                "{code:?}: {printed}"
            );
        }
        Ok(())
    })
}

#[test]
fn a_bad_flag_exits_with_64() -> Result<()> {
    lab::run(Network::Loopback, async |lab| {
        let cases = [
            programs::tcpforward()?.args(["run", "--threads", "0", "x.yaml"]),
            programs::dataplane()?.args(["--operator", "10.0.0.1:9900"]),
            programs::operator()?.args(["--push", "nowhere"]),
        ];
        for program in cases {
            let output = program.command(lab.folder()).output()?;
            let printed = String::from_utf8_lossy(&output.stderr).into_owned();
            ensure!(
                output.status.code() == Some(64),
                "{:?}: {printed}",
                output.status
            );
            let flags = ["--threads", "--operator", "--push"];
            ensure!(flags.iter().any(|flag| printed.contains(flag)), "{printed}");
        }
        Ok(())
    })
}

#[test]
fn two_forwards_on_one_port_are_a_finding() -> Result<()> {
    lab::run(Network::Loopback, async |lab| {
        lab.file("both.yaml", good("one")? + &good("two")?)?;
        let (code, printed) = tcpforward(lab, "check", "both.yaml")?;
        ensure!(
            code == Some(1) && printed.contains("default/one"),
            "{code:?}: {printed}"
        );
        ensure!(printed.contains("spec.listener.port"), "{printed}");
        Ok(())
    })
}
