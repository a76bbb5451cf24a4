//! Pure. Targets in other namespaces, which have to permit them.

use crate::snapshot::ServiceName;

/// A target that leads to a Service of another namespace than the forward's.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Grant {
    /// Name of the target.
    pub target: String,
    /// Where it leads. A session stands on this Service, not on the target's name.
    pub service: ServiceName,
    /// What its namespace says.
    pub permission: Permission,
}

/// Whether a namespace lets a forward of another one to a Service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Permission {
    /// It does.
    Given,
    /// It doesn't, or no longer: sessions that stand on it are cut.
    Missing,
}
