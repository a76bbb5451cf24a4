//! Edge. An image that holds one program and nothing else, as a file that containerd imports.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::lab::Lab;
use crate::process::Program;

/// Makes the image `reference` of a static program, which it runs as `/NAME` with these arguments.
pub(super) async fn make(
    lab: &Lab,
    reference: &str,
    program: &Path,
    entrypoint: &[&str],
) -> Result<PathBuf> {
    let name = reference.replace(['/', ':'], "-");
    let file = |part: &str| lab.file(&format!("{name}/{part}"), "");
    let (folder, layer) = (file("root/pod")?, file("layer.tar")?);
    fs::copy(program, &folder)?;
    let root = lab.folder().join(format!("{name}/root"));
    archive(lab, &layer, &root, &["pod"]).await?;

    let config = json!({
        "architecture": std::env::consts::ARCH.replace("x86_64", "amd64").replace("aarch64", "arm64"),
        "os": "linux",
        "config": {"Entrypoint": entrypoint},
        "rootfs": {"type": "layers", "diff_ids": [digest(&layer)?]},
    });
    let manifest = json!([
        {"Config": "config.json", "RepoTags": [reference], "Layers": ["layer.tar"]},
    ]);
    lab.file(&format!("{name}/config.json"), config.to_string())?;
    lab.file(&format!("{name}/manifest.json"), manifest.to_string())?;
    let image = lab.folder().join(format!("{name}.tar"));
    let parts = ["manifest.json", "config.json", "layer.tar"];
    archive(lab, &image, &lab.folder().join(&name), &parts).await?;
    Ok(image)
}

async fn archive(lab: &Lab, file: &Path, folder: &Path, names: &[&str]) -> Result<()> {
    let tar = Program::new("tar")
        .args(["--create", "--owner=0", "--group=0", "--mode=0755"])
        .args([Path::new("--file"), file, Path::new("--directory"), folder])
        .args(names.iter().copied());
    lab.output(&tar).await.map(drop)
}

fn digest(file: &Path) -> Result<String> {
    let sum = Sha256::digest(fs::read(file)?);
    let text: String = sum.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(format!("sha256:{text}"))
}
