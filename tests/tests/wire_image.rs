//! What `make image` packs: the same bytes for the same programs, what the Dockerfile says, and blobs
//! that are what their names say. (That the programs run from it is for tests of a whole cluster.)

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tcpforward_tests::lab::{self, Lab, Network};
use tcpforward_tests::process::Program;
use tcpforward_tests::programs::workspace_root;

const PROGRAMS: [&str; 3] = ["dataplane", "operator", "tcpforward"];

#[test]
fn the_same_programs_make_the_same_image() -> Result<()> {
    lab::run(Network::Loopback, async |lab| {
        let programs = mk_programs(lab, "once", 0o700)?;
        let (one, said) = pack(lab, &programs, "one.tar").await?;
        // Made again, at another time and with other rights.
        let programs = mk_programs(lab, "again", 0o775)?;
        let (other, again) = pack(lab, &programs, "other.tar").await?;
        ensure!(fs::read(one)? == fs::read(other)?, "two builds, two images");
        ensure!(said == again, "{said} {again}");
        lab.file("again/operator", "another one")?;
        let (_, changed) = pack(lab, &programs, "changed.tar").await?;
        ensure!(said != changed, "another program, and still {said}");
        Ok(())
    })
}

#[test]
fn every_blob_is_what_its_name_says_and_both_lists_name_the_same() -> Result<()> {
    lab::run(Network::Loopback, async |lab| {
        let image = Image::make(lab).await?;
        let index = json(&image.folder.join("index.json"))?;
        let entry = &index["manifests"][0];
        ensure!(
            image.said.contains(text(&entry["digest"])?),
            "{}",
            image.said
        );
        let names = &entry["annotations"];
        ensure!(names["io.containerd.image.name"] == "docker.io/library/tcpforward:1.2.3");
        ensure!(names["org.opencontainers.image.ref.name"] == "1.2.3");

        let manifest = image.manifest()?;
        let mut named = BTreeSet::from([text(&entry["digest"])?.to_owned()]);
        for descriptor in [&manifest["config"], &manifest["layers"][0]] {
            let digest = text(&descriptor["digest"])?;
            let length = fs::metadata(image.blob(digest)?)?.len();
            ensure!(descriptor["size"] == length, "{digest} has {length} bytes");
            named.insert(digest.to_owned());
        }
        let mut there = BTreeSet::new();
        for file in fs::read_dir(image.folder.join("blobs/sha256"))? {
            let path = file?.path();
            let name = path.file_name().context("a name")?.to_string_lossy();
            ensure!(
                name == sha256(&fs::read(&path)?),
                "{name} is something else"
            );
            there.insert(format!("sha256:{name}"));
        }
        ensure!(there == named, "there {there:?}, named {named:?}");

        let path = |digest: &Value| format!("blobs/{}", digest.as_str().unwrap_or_default());
        let path = |digest| path(digest).replace(':', "/");
        let docker = json(&image.folder.join("manifest.json"))?;
        let expected = json!([{
            "Config": path(&manifest["config"]["digest"]),
            "RepoTags": ["tcpforward:1.2.3"],
            "Layers": [path(&manifest["layers"][0]["digest"])],
        }]);
        ensure!(docker == expected, "{docker:#}");
        Ok(())
    })
}

#[test]
fn the_image_holds_the_programs_and_nothing_else() -> Result<()> {
    lab::run(Network::Loopback, async |lab| {
        let image = Image::make(lab).await?;
        let manifest = image.manifest()?;
        let layer = image.blob(text(&manifest["layers"][0]["digest"])?)?;
        let list = Program::new("tar").args(["--list", "--zstd", "--verbose", "--numeric-owner"]);
        let list = lab.output(&list.arg("--file").arg(&layer)).await?;
        let entries: Vec<_> = list.lines().map(words).collect();
        let mut expected = vec![vec!["drwxr-xr-x", "0/0", "bin/"]];
        let files = ["bin/dataplane", "bin/operator", "bin/tcpforward"];
        expected.extend(files.map(|file| vec!["-rwxr-xr-x", "0/0", file]));
        ensure!(entries == expected, "{list}");

        let kind = "application/vnd.oci.image.layer.v1.tar+zstd";
        ensure!(manifest["layers"][0]["mediaType"] == kind, "{manifest:#}");
        let plain = layer.with_extension("tar");
        let unpacked = Program::new("zstd").args(["--decompress", "--quiet"]);
        lab.output(&unpacked.arg(&layer).arg("-o").arg(&plain))
            .await?;
        let config = image.config()?;
        let content = sha256(&fs::read(plain)?);
        ensure!(config["rootfs"]["diff_ids"] == json!([format!("sha256:{content}")]));
        Ok(())
    })
}

/// Mode, owner and name of what tar lists as mode, owner, size, day, time and name.
fn words(line: &str) -> Vec<&str> {
    let words: Vec<_> = line.split_whitespace().collect();
    [0, 1, 5]
        .iter()
        .filter_map(|&i| words.get(i).copied())
        .collect()
}

#[test]
fn the_dockerfile_says_the_same() -> Result<()> {
    lab::run(Network::Loopback, async |lab| {
        let config = Image::make(lab).await?.config()?;
        let dockerfile = fs::read_to_string(workspace_root().join("Dockerfile"))?;
        let (_, stage) = dockerfile
            .split_once("FROM scratch\n")
            .context("no stage from scratch")?;
        let lines: Vec<_> = stage.lines().collect();
        let copied: Vec<_> = PROGRAMS.iter().map(|p| format!("/programs/{p}")).collect();
        let labels = &config["config"]["Labels"];
        let label = |name: &str| format!("{name}={}", labels[name].as_str().unwrap_or_default());
        let expected = [
            format!("COPY --from=build {} /bin/", copied.join(" ")),
            format!("ENV {}", text(&config["config"]["Env"][0])?),
            format!(
                "LABEL {} {}",
                label("org.opencontainers.image.title"),
                label("org.opencontainers.image.licenses")
            ),
            format!("USER {}", text(&config["config"]["User"])?),
            format!("ENTRYPOINT {}", config["config"]["Entrypoint"]),
        ];
        ensure!(lines == expected, "{lines:#?}\n{expected:#?}");
        // Nothing in the configuration that the Dockerfile could not say.
        let keys: Vec<_> = config["config"]
            .as_object()
            .context("config")?
            .keys()
            .collect();
        ensure!(keys == ["Entrypoint", "Env", "Labels", "User"], "{keys:?}");
        Ok(())
    })
}

#[test]
fn both_builds_are_one_command() -> Result<()> {
    let read = |path: &str| fs::read_to_string(workspace_root().join(path));
    let cargo = |text: String| -> Result<String> {
        let text = text.replace("\\\n", " ");
        let line = text.lines().find(|line| line.contains("cargo build"));
        let words = line.context("no cargo build")?.split_whitespace();
        let words = words.skip_while(|word| !word.starts_with("RUSTFLAGS"));
        let words = words.take_while(|word| *word != "&&" && *word != ">&2");
        Ok(words.collect::<Vec<_>>().join(" "))
    };
    assert_eq!(cargo(read("image/build.sh")?)?, cargo(read("Dockerfile")?)?);
    let toolchain = read("rust-toolchain.toml")?;
    let version = toolchain.split('"').nth(1).context("a channel")?;
    let from = format!("FROM rust:{version}-bookworm AS build");
    assert!(read("Dockerfile")?.contains(&from), "expected: {from}");
    Ok(())
}

#[test]
fn what_can_not_be_packed_is_named() -> Result<()> {
    lab::run(Network::Loopback, async |lab| {
        let programs = mk_programs(lab, "programs", 0o755)?;
        for (machine, name, expected) in [
            ("s390x", "tcpforward:1", "no image is made for s390x"),
            ("aarch64", "tcpforward", "expected NAME:TAG"),
        ] {
            let script = workspace_root().join("image/pack.sh");
            let packing = Program::new(script).arg(&programs);
            let packing = packing.args([machine, name, "out.tar"]);
            let refused = lab.output(&packing).await.err().context(name)?.to_string();
            ensure!(refused.contains(expected), "{refused}");
        }
        Ok(())
    })
}

/// An image that is packed and taken apart again.
struct Image {
    folder: PathBuf,
    said: String,
}

impl Image {
    async fn make(lab: &Lab) -> Result<Self> {
        let programs = mk_programs(lab, "programs", 0o755)?;
        let (tar, said) = pack(lab, &programs, "image.tar").await?;
        let folder = lab.folder().join("image");
        fs::create_dir(&folder)?;
        let taking = Program::new("tar").args(["--extract", "--file"]).arg(tar);
        lab.output(&taking.arg("--directory").arg(&folder)).await?;
        Ok(Self { folder, said })
    }

    fn manifest(&self) -> Result<Value> {
        let index = json(&self.folder.join("index.json"))?;
        json(&self.blob(digest(&index, "/manifests/0/digest")?)?)
    }

    fn config(&self) -> Result<Value> {
        json(&self.blob(digest(&self.manifest()?, "/config/digest")?)?)
    }

    fn blob(&self, digest: &str) -> Result<PathBuf> {
        let name = digest.strip_prefix("sha256:").context("no sha256")?;
        Ok(self.folder.join("blobs/sha256").join(name))
    }
}

fn mk_programs(lab: &Lab, folder: &str, mode: u32) -> Result<PathBuf> {
    for program in PROGRAMS {
        let path = lab.file(&format!("{folder}/{program}"), program.repeat(1000))?;
        fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    }
    lab.file(&format!("{folder}/crdgen"), "not for the image")?;
    Ok(lab.folder().join(folder))
}

/// The tar, and what was printed.
async fn pack(lab: &Lab, programs: &Path, out: &str) -> Result<(PathBuf, String)> {
    let script = workspace_root().join("image/pack.sh");
    let packing = Program::new(script).arg(programs);
    let packing = packing.args(["x86_64", "tcpforward:1.2.3", out]);
    let said = lab.output(&packing).await?;
    Ok((lab.folder().join(out), said))
}

fn json(path: &Path) -> Result<Value> {
    let bytes = fs::read(path).with_context(|| path.display().to_string())?;
    Ok(serde_json::from_slice(&bytes)?)
}

fn digest<'a>(value: &'a Value, pointer: &str) -> Result<&'a str> {
    text(value.pointer(pointer).context("no digest")?)
}

fn text(value: &Value) -> Result<&str> {
    value.as_str().with_context(|| format!("no text: {value}"))
}

fn sha256(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}
