//! What the charts make of values: golden files, what is refused and how, and that the programs take
//! the command lines that they are given.

use std::collections::BTreeSet;
use std::fs;

use anyhow::{Context, Result, ensure};
use clap::Parser;
use serde_json::Value;
use tcpforward_tests::chart::{self, CHART, CRDS, NAMESPACE};
use tcpforward_tests::lab::{self, Network};
use tcpforward_tests::programs::{self, workspace_root};
use tcpforward_tests::reference::values;

#[test]
fn helm_lint_finds_nothing() -> Result<()> {
    lab::run(Network::Loopback, async |lab| {
        let lint = || -> Result<_> {
            let helm = programs::helm()?.folder(workspace_root());
            Ok(helm.args(["lint", "--strict", "--quiet"]))
        };
        lab.output(&lint()?.arg(CRDS)).await?;
        for set in chart::sets()? {
            let file = format!("tests/chart/{set}.values.yaml");
            let said = lab
                .output(&lint()?.arg(CHART).args(["--values", &file]))
                .await?;
            ensure!(said.trim().is_empty(), "{set}: {said}");
        }
        Ok(())
    })
}

#[test]
fn every_set_of_values_renders_as_its_golden_file_says() -> Result<()> {
    lab::run(Network::Loopback, async |lab| {
        let mut stale = Vec::new();
        let sets = chart::sets()?;
        ensure!(sets.len() >= 8, "only {sets:?}");
        for set in sets {
            let golden = fs::read_to_string(chart::golden(&set)).unwrap_or_default();
            if chart::render(lab, &set).await? != golden {
                stale.push(set);
            }
        }
        ensure!(
            stale.is_empty(),
            "not what the chart makes: look at the difference, then `make chart-golden`: {stale:?}"
        );
        Ok(())
    })
}

/// Values, and what is said of them.
const REFUSED: [(&str, &str); 26] = [
    ("replicas=2", "additional properties 'replicas' not allowed"),
    ("operator.replicas=0", "'/operator/replicas': minimum"),
    ("operator.tls.caLifetime=1y", "'/operator/tls/caLifetime'"),
    ("image.digest=latest", "'/image/digest'"),
    ("image.pullPolicy=Often", "'/image/pullPolicy'"),
    ("watchNamespaces[0]=Shop", "'/watchNamespaces/0'"),
    ("bindAddress=::", "'/bindAddress'"),
    ("pools=null", "missing property 'pools'"),
    ("pools[0].replicas=2", "'/pools/0': missing property 'name'"),
    ("pools[0].name=operator", "'/pools/0/name'"),
    ("pools[0].name=test", "'/pools/0/name'"),
    ("clusterCidrs[0]=10.0.0.1", "'/clusterCidrs/0'"),
    (
        "pools[0].name=a,pools[0].replica=2",
        "'/pools/0': additional",
    ),
    ("pools[0].name=a,pools[0].kind=Pod", "'/pools/0/kind'"),
    (
        "poolDefaults.drain.delaySeconds=5s",
        "'/poolDefaults/drain/delaySeconds'",
    ),
    ("poolDefaults.name=a", "'/poolDefaults/name'"),
    (
        "networkPolicy.clients[0].cidr=10.0.0.0/8",
        "'/networkPolicy/clients/0': additional",
    ),
    (
        "networkPolicy.nodes[0]=10.0.0.1",
        "'/networkPolicy/nodes/0'",
    ),
    ("podMonitor.interval=often", "'/podMonitor/interval'"),
    ("test.port=0", "'/test/port'"),
    (
        "pools[0].name=a,pools[1].name=a",
        "pools: the name \"a\" is there twice",
    ),
    (
        "poolDefaults.kind=DaemonSet,poolDefaults.autoscaling.enabled=true",
        "pools: default: autoscaling is for kind Deployment",
    ),
    (
        "poolDefaults.autoscaling.enabled=true,poolDefaults.autoscaling.minReplicas=20",
        "autoscaling.minReplicas is above maxReplicas",
    ),
    (
        "poolDefaults.autoscaling.enabled=true,poolDefaults.resources.requests.cpu=null",
        "resources.requests.cpu",
    ),
    (
        "poolDefaults.adminPort=9904",
        "healthPort and adminPort are both 9904",
    ),
    ("test.pool=other", "test.pool: there is no pool \"other\""),
];

#[test]
fn what_is_refused_names_the_value() -> Result<()> {
    lab::run(Network::Loopback, async |lab| {
        for (set, expected) in REFUSED {
            let helm = programs::helm()?.folder(workspace_root());
            let helm = helm.args(["template", "tcpforward", CHART, "--set", set]);
            let refused = lab.output(&helm).await.err().context(set)?.to_string();
            ensure!(refused.contains(expected), "{set}: {refused}");
        }
        Ok(())
    })
}

#[test]
fn the_programs_take_the_command_lines_of_the_chart() -> Result<()> {
    let mut seen = BTreeSet::new();
    for set in chart::sets()? {
        for pod in pods(&set)? {
            let container = &pod["containers"][0];
            let words = ["command", "args"].map(|key| container[key].as_array());
            let words = words.into_iter().flatten().flatten();
            let words: Vec<_> = words.filter_map(Value::as_str).collect();
            let program = *words.first().context("a command")?;
            let refused = match program {
                "operator" => {
                    let args = tcpforward_operator::config::Args::try_parse_from(&words)?;
                    let config = tcpforward_operator::config::Config::try_from(args);
                    config.err().map(|error| error.to_string())
                }
                "dataplane" => {
                    // As the downward API does.
                    let uid = words.iter().copied().chain(["--pod-uid=1"]);
                    let args = tcpforward_dataplane::config::args::Args::try_parse_from(uid)?;
                    let config = tcpforward_dataplane::config::Config::try_from(args);
                    config.err().map(|error| error.to_string())
                }
                // The command's own crate is none that tests know: a run shows what it takes.
                "tcpforward" => None,
                other => Some(format!("there is no program {other}")),
            };
            ensure!(refused.is_none(), "{set}: {words:?}: {refused:?}");
            seen.insert(program.to_owned());
        }
    }
    assert_eq!(
        seen.iter().collect::<Vec<_>>(),
        ["dataplane", "operator", "tcpforward"]
    );
    Ok(())
}

/// A pod that is killed before its drain has ended cuts the sessions that it has promised time.
#[test]
fn the_grace_period_is_longer_than_the_drain() -> Result<()> {
    for set in chart::sets()? {
        for pod in pods(&set)? {
            let container = &pod["containers"][0];
            if container["name"] != "dataplane" {
                continue;
            }
            let args: Vec<_> = container["args"]
                .as_array()
                .context("args")?
                .iter()
                .collect();
            let seconds = |flag: &str| -> Result<u64> {
                let found = args.iter().find_map(|arg| arg.as_str()?.strip_prefix(flag));
                Ok(found.context("a flag")?.trim_end_matches('s').parse()?)
            };
            let sleep = &container["lifecycle"]["preStop"]["sleep"]["seconds"];
            let drain = sleep.as_u64().unwrap_or(0)
                + seconds("--drain-delay=")?
                + seconds("--drain-timeout=")?;
            let grace = pod["terminationGracePeriodSeconds"].as_u64();
            ensure!(grace == Some(drain + 5), "{set}: {drain} {grace:?}");
        }
    }
    Ok(())
}

#[test]
fn data_planes_have_no_rights() -> Result<()> {
    for set in chart::sets()? {
        let objects = chart::objects(&set)?;
        for object in &objects {
            let kind = object["kind"].as_str().unwrap_or_default();
            let name = object["metadata"]["name"].as_str().unwrap_or_default();
            for subject in object["subjects"].as_array().into_iter().flatten() {
                let subject = subject["name"].as_str().unwrap_or_default();
                let is_known = subject.ends_with("-operator") || subject.ends_with("-test");
                ensure!(is_known, "{set}: {kind} {name} gives rights to {subject}");
            }
            for rule in object["rules"].as_array().into_iter().flatten() {
                ensure!(
                    !rule.to_string().contains("\"*\""),
                    "{set}: {kind} {name}: {rule}"
                );
            }
        }
        let accounts = objects.iter().filter(|o| o["kind"] == "ServiceAccount");
        for account in accounts {
            ensure!(
                account["automountServiceAccountToken"] == false,
                "{account}"
            );
        }
    }
    for set in chart::sets()? {
        for pod in pods(&set)? {
            let is_data_plane = pod["containers"][0]["name"] == "dataplane";
            ensure!(
                pod["automountServiceAccountToken"] == !is_data_plane,
                "{set}"
            );
        }
    }
    Ok(())
}

#[test]
fn both_charts_have_the_repositorys_crds() -> Result<()> {
    lab::run(Network::Loopback, async |lab| {
        let read = |folder: &str| -> Result<Vec<(String, String)>> {
            let mut files = Vec::new();
            for file in fs::read_dir(workspace_root().join(folder))? {
                let path = file?.path();
                let name = path.file_name().context("a name")?.to_string_lossy();
                files.push((name.into_owned(), fs::read_to_string(&path)?));
            }
            files.sort();
            Ok(files)
        };
        let ours = read("crds")?;
        ensure!(!ours.is_empty());
        for copy in ["charts/tcpforward/crds", "charts/tcpforward-crds/files"] {
            ensure!(read(copy)? == ours, "{copy} is stale: `make generate`");
        }
        let helm = programs::helm()?.folder(workspace_root());
        let text = lab.output(&helm.args(["template", "crds", CRDS])).await?;
        let mut rendered = chart::parse(&text)?;
        let key = "helm.sh/resource-policy";
        for crd in &mut rendered {
            let metadata = crd["metadata"].as_object_mut().context("metadata")?;
            let annotations = metadata.remove("annotations").context("annotations")?;
            ensure!(
                annotations == serde_json::json!({key: "keep"}),
                "{annotations}"
            );
        }
        let mut expected = Vec::new();
        for (_, text) in &ours {
            expected.extend(chart::parse(text)?);
        }
        ensure!(
            rendered == expected,
            "the chart changes more than an annotation"
        );
        Ok(())
    })
}

#[test]
fn charts_have_the_version_of_the_programs() -> Result<()> {
    for chart in [CHART, CRDS] {
        let text = fs::read_to_string(workspace_root().join(chart).join("Chart.yaml"))?;
        let parsed = chart::parse(&text)?;
        for field in ["version", "appVersion"] {
            assert_eq!(
                parsed[0][field],
                env!("CARGO_PKG_VERSION"),
                "{chart}: {field}"
            );
        }
    }
    Ok(())
}

#[test]
fn every_value_is_described_and_in_the_schema_and_the_other_way_round() -> Result<()> {
    let read = |name: &str| fs::read_to_string(workspace_root().join(CHART).join(name));
    let text = read("values.yaml")?;
    let schema: Value = serde_json::from_str(&read("values.schema.json")?)?;
    let mut in_schema = BTreeSet::new();
    leaves(&schema, &schema, "", &mut in_schema);
    let entries = values::entries(&text);
    let in_values: BTreeSet<_> = entries.iter().map(|entry| entry.path.clone()).collect();
    // What is below a value that is written in one line is part of it.
    let whole = |path: String| {
        let value = in_values
            .iter()
            .find(|value| path.starts_with(&format!("{value}.")));
        value.cloned().unwrap_or(path)
    };
    let in_schema: BTreeSet<_> = in_schema.into_iter().map(whole).collect();
    let only: Vec<_> = in_schema.symmetric_difference(&in_values).collect();
    ensure!(only.is_empty(), "only in one of the two: {only:?}");
    let mute: Vec<_> = entries.iter().filter(|e| e.what.is_empty()).collect();
    ensure!(mute.is_empty(), "without a comment: {mute:?}");
    Ok(())
}

/// Paths of what a schema lists by name and takes apart no further.
fn leaves(root: &Value, schema: &Value, path: &str, found: &mut BTreeSet<String>) {
    let mut schema = schema;
    if let Some(name) = schema["$ref"].as_str().and_then(|r| r.strip_prefix('#')) {
        schema = root.pointer(name).unwrap_or(&Value::Null);
    }
    let Some(fields) = schema["properties"].as_object() else {
        found.insert(path.to_owned());
        return;
    };
    for (name, field) in fields {
        let inside = match path {
            "" => name.clone(),
            _ => format!("{path}.{name}"),
        };
        // Helm's own, and the name that only an entry of pools has.
        if ["global", "poolDefaults.name"].contains(&inside.as_str()) {
            continue;
        }
        leaves(root, field, &inside, found);
    }
}

/// The specs of all pods that a set of values leads to.
fn pods(set: &str) -> Result<Vec<Value>> {
    let objects = chart::objects(set)?;
    for object in &objects {
        let namespace = chart::text(object, "/metadata/namespace");
        let kind = chart::text(object, "/kind");
        let is_clusters = ["ClusterRole", "ClusterRoleBinding", "DataPlane"].contains(&kind);
        let expected: &[&str] = match is_clusters {
            true => &[""],
            false => &[NAMESPACE, "games", "shop"],
        };
        ensure!(
            expected.contains(&namespace),
            "{set}: {kind} in {namespace:?}"
        );
    }
    let pods = objects.into_iter().filter_map(|mut object| {
        let spec = match chart::text(&object, "/kind") {
            "Deployment" | "DaemonSet" => object.pointer_mut("/spec/template/spec")?.take(),
            "Pod" => object.pointer_mut("/spec")?.take(),
            _ => return None,
        };
        Some(spec)
    });
    Ok(pods.collect())
}
