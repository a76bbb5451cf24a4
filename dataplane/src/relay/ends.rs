//! Pure. What a session does when one of its directions ends or a side breaks.

use std::io::ErrorKind;

use crate::relay::copy::Ended;
use crate::relay::ending::Side;

/// What a session does after one direction has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// The session is over. The side that broke needs nothing, the other one is reset.
    Broken(Side, ErrorKind),
    /// Both directions ended cleanly, the one that comes from here first.
    Finished(Side),
    /// Pass the end on to the other side; the other direction goes on.
    PassFin,
    /// The sink takes nothing more; what it had sent before is still delivered.
    Deliver,
}

/// What is known of the ends of both directions.
#[derive(Debug, Default)]
pub(super) struct Ends {
    first_fin: Option<Side>,
    broken: Option<(Side, ErrorKind)>,
}

impl Ends {
    /// Whether one direction has ended cleanly and the other not.
    #[must_use]
    pub(super) fn half_closed(&self) -> bool {
        self.first_fin.is_some()
    }

    /// The side that ended cleanly first.
    #[must_use]
    pub(super) fn first_fin(&self) -> Option<Side> {
        self.first_fin
    }

    /// The side that broke first, as far as a session knows that still delivers what came from it.
    #[must_use]
    pub(super) fn broken(&self) -> Option<(Side, ErrorKind)> {
        self.broken
    }

    /// That side has broken; what it had sent before is still delivered.
    pub(super) fn broke(&mut self, side: Side, kind: ErrorKind) {
        self.broken.get_or_insert((side, kind));
    }

    /// Judges the end of the direction that comes `from` a side.
    ///
    /// A reset can be told to a write as well as to a read, and only to one of them: the read then
    /// sees a clean end. So once a side is known to be broken, its end is never taken for clean.
    pub(super) fn judge(&mut self, from: Side, ended: Ended) -> Next {
        match ended {
            Ended::Source(error) => Next::Broken(from, error.kind()),
            Ended::Fin => match (self.broken, self.first_fin) {
                (Some((side, kind)), _) => Next::Broken(side, kind),
                (None, Some(first)) => Next::Finished(first),
                (None, None) => {
                    self.first_fin = Some(from);
                    Next::PassFin
                }
            },
            Ended::Sink(error) => {
                let broken = (from.other(), error.kind());
                match (self.broken, self.first_fin) {
                    (None, None) => {
                        self.broken = Some(broken);
                        Next::Deliver
                    }
                    (earlier, _) => {
                        let (side, kind) = earlier.unwrap_or(broken);
                        Next::Broken(side, kind)
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn broken(kind: ErrorKind) -> std::io::Error {
        kind.into()
    }

    #[test]
    fn two_clean_ends_finish_a_session() {
        let mut ends = Ends::default();
        assert_eq!(ends.judge(Side::Upstream, Ended::Fin), Next::PassFin);
        assert!(ends.half_closed());
        assert_eq!(
            ends.judge(Side::Downstream, Ended::Fin),
            Next::Finished(Side::Upstream)
        );
    }

    #[test]
    fn a_reset_told_to_a_write_never_looks_like_a_clean_end() {
        let mut ends = Ends::default();
        let write = Ended::Sink(broken(ErrorKind::BrokenPipe));
        assert_eq!(ends.judge(Side::Downstream, write), Next::Deliver);
        assert_eq!(
            ends.judge(Side::Upstream, Ended::Fin),
            Next::Broken(Side::Upstream, ErrorKind::BrokenPipe)
        );
    }

    #[test]
    fn a_reset_told_to_a_read_ends_it_at_once() {
        let read = Ended::Source(broken(ErrorKind::ConnectionReset));
        assert_eq!(
            Ends::default().judge(Side::Downstream, read),
            Next::Broken(Side::Downstream, ErrorKind::ConnectionReset)
        );
    }

    #[test]
    fn after_a_clean_end_a_failed_write_is_the_end() {
        let mut ends = Ends::default();
        ends.judge(Side::Upstream, Ended::Fin);
        let write = Ended::Sink(broken(ErrorKind::BrokenPipe));
        assert_eq!(
            ends.judge(Side::Downstream, write),
            Next::Broken(Side::Upstream, ErrorKind::BrokenPipe)
        );
    }
}
