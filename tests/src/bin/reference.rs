//! Edge. Writes the reference pages; `make generate` calls it.

use std::fs;

use anyhow::{Context, Result};
use tcpforward_tests::programs::workspace_root;
use tcpforward_tests::reference;

fn main() -> Result<()> {
    for page in reference::pages() {
        let path = workspace_root().join(page.path);
        fs::create_dir_all(path.parent().context("a page lies in a folder")?)?;
        fs::write(&path, page.text)?;
    }
    Ok(())
}
