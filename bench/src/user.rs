//! Edge. Who peers run as, and what of a lab that user may reach.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use anyhow::Result;
use tcpforward_tests::lab::Lab;
use tcpforward_tests::programs;

/// The user and group that our image names.
pub const USER: u32 = 65532;

/// Lets any user into the lab's folder.
///
/// # Errors
/// It isn't ours.
pub fn let_in(lab: &Lab) -> Result<()> {
    let mode = PermissionsExt::from_mode(0o755);
    Ok(std::fs::set_permissions(lab.folder(), mode)?)
}

/// Our program in the lab's folder, where any user may run it.
///
/// # Errors
/// It is not built.
pub fn ours(lab: &Lab) -> Result<PathBuf> {
    lab.lend(programs::tcpforward()?.path())
}

/// Who those are, for people.
#[must_use]
pub fn name() -> String {
    match rustix::process::geteuid().is_root() {
        true => format!("uid {USER} without capabilities"),
        false => "the caller".to_owned(),
    }
}
