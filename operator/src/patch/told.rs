//! Pure. The kinds whose status is written.

use std::fmt::{Debug, Display};

use kube::Resource;
use serde::Serialize;
use tcpforward_protocol::snapshot::ForwardName;

use crate::crd::{DataPlane, DataPlaneStatus, TcpForward, TcpForwardStatus};
use crate::record::Subject;
use crate::status::{self, Difference, News};

/// A kind whose status is written.
pub(crate) trait Told:
    Resource<DynamicType = ()> + Clone + Debug + PartialEq + 'static
{
    /// What tells one object from another.
    type Name: Clone + Debug + Display + Ord + Send + Sync;
    /// What is written.
    type Status: Clone + Debug + PartialEq + Serialize + Send + Sync;

    /// What is written, for logs.
    const STATUS: &'static str;

    /// Namespace, if it has one, and name.
    fn place(name: &Self::Name) -> (Option<&str>, &str);

    /// Whom Events about it are about; none: there are no such Events.
    fn subject(name: &Self::Name, uid: String) -> Option<Subject>;

    /// What a status says that the one before did not, for Events.
    fn news(previous: Option<&Self::Status>, next: &Self::Status) -> Vec<News>;

    /// How the status to write differs from the one that is there.
    fn difference(previous: Option<&Self::Status>, next: &Self::Status) -> Difference;
}

impl Told for DataPlane {
    type Name = String;
    type Status = DataPlaneStatus;

    const STATUS: &'static str = "the status of a DataPlane";

    fn place(name: &String) -> (Option<&str>, &str) {
        (None, name)
    }

    fn subject(_: &String, _: String) -> Option<Subject> {
        None
    }

    fn news(_: Option<&DataPlaneStatus>, _: &DataPlaneStatus) -> Vec<News> {
        Vec::new()
    }

    fn difference(previous: Option<&DataPlaneStatus>, next: &DataPlaneStatus) -> Difference {
        status::difference_of_pools(previous, next)
    }
}

impl Told for TcpForward {
    type Name = ForwardName;
    type Status = TcpForwardStatus;

    const STATUS: &'static str = "the status of a TcpForward";

    fn place(name: &ForwardName) -> (Option<&str>, &str) {
        (Some(name.namespace()), name.name())
    }

    fn subject(name: &ForwardName, uid: String) -> Option<Subject> {
        let name = name.clone();
        Some(Subject { name, uid })
    }

    fn news(previous: Option<&TcpForwardStatus>, next: &TcpForwardStatus) -> Vec<News> {
        status::news(previous, next)
    }

    fn difference(previous: Option<&TcpForwardStatus>, next: &TcpForwardStatus) -> Difference {
        status::difference(previous, next)
    }
}
