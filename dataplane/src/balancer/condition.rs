//! Pure. What is wrong with a backend, in the eyes of the sessions that it has.

/// How a backend stands with the sessions that it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// New sessions have gone back to a better priority.
    FailedBack,
    /// Kubernetes says that it is not ready.
    NotReady,
    /// It is no backend of the forward any more.
    Removed,
    /// It is on its way out.
    Terminating,
    /// A check or an ejection leaves it out.
    Unhealthy,
    /// Nothing is wrong.
    Usable,
}

impl Condition {
    /// The word on pages.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::FailedBack => "FailedBack",
            Self::NotReady => "NotReady",
            Self::Removed => "Removed",
            Self::Terminating => "Terminating",
            Self::Unhealthy => "Unhealthy",
            Self::Usable => "Usable",
        }
    }
}
