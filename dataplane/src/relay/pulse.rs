//! Pure. Whether a peer that was sent something still answers: an acknowledgement of anything, a
//! closed window too, is an answer, so a peer that is alive is never taken for dead however long it
//! reads nothing.

use std::time::{Duration, Instant};

use crate::socket::TcpInfo;

/// Probes of a closed window that nobody answers, before a peer may be called dead: one or two get
/// lost.
const PROBES: u8 = 3;

/// How many times within the limit a peer is looked at, which is how exact the limit is.
const LOOKS: u32 = 12;

/// What is known of one peer while something is on its way to it.
#[derive(Debug, Default)]
pub(super) struct Pulse {
    /// What it had acknowledged when it was first seen to have, and when that was.
    stuck: Option<(u64, Instant)>,
}

/// What one look says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing was heard for too long.
    Dead,
    /// Nothing is on its way, so there is nothing to hear.
    Idle,
    /// To be looked at again.
    Waiting(Instant),
}

impl Pulse {
    /// Looks at a peer that may be silent for `limit`.
    ///
    /// Silence is counted from the last acknowledgement, but at most since it is known that one is
    /// owed: after an idle hour the last one is an hour old when the next byte is sent.
    pub(super) fn look(&mut self, info: &TcpInfo, now: Instant, limit: Duration) -> Verdict {
        if !info.is_on_its_way() {
            self.stuck = None;
            return Verdict::Idle;
        }
        let since = match self.stuck {
            Some((acked, since)) if acked == info.acked => since,
            _ => now,
        };
        self.stuck = Some((info.acked, since));
        let silent = now.duration_since(since).min(info.last_ack);
        // Sent and not acknowledged, or not even sent, because there is no room for it.
        let is_asked = info.unacked > 0 || info.probes >= PROBES;
        match limit.checked_sub(silent) {
            Some(left) if !left.is_zero() => Verdict::Waiting(now + left.min(pause(limit))),
            _ if is_asked => Verdict::Dead,
            _ => Verdict::Waiting(now + pause(limit)),
        }
    }
}

/// Between two looks.
pub(super) fn pause(limit: Duration) -> Duration {
    limit / LOOKS
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(30);

    /// What a socket says at that second.
    struct At {
        second: f64,
        acked: u64,
        unacked: u32,
        not_sent: u32,
        probes: u8,
        last_ack: f64,
    }

    const SENT: At = At {
        second: 0.0,
        acked: 1,
        unacked: 1,
        not_sent: 0,
        probes: 0,
        last_ack: 0.0,
    };

    fn look(pulse: &mut Pulse, start: Instant, at: &At) -> Verdict {
        let info = TcpInfo {
            acked: at.acked,
            unacked: at.unacked,
            not_sent: at.not_sent,
            probes: at.probes,
            last_ack: Duration::from_secs_f64(at.last_ack),
            ..TcpInfo::default()
        };
        pulse.look(&info, start + Duration::from_secs_f64(at.second), LIMIT)
    }

    #[expect(clippy::disallowed_methods, reason = "any moment will do")]
    fn start() -> Instant {
        Instant::now()
    }

    /// When a peer is called dead that is looked at as often as it says, for at most so long.
    fn dies(at: impl Fn(f64) -> At, seconds: f64) -> Option<f64> {
        let (mut pulse, start) = (Pulse::default(), start());
        let mut now = pause(LIMIT).as_secs_f64();
        while now < seconds {
            match look(&mut pulse, start, &at(now)) {
                Verdict::Dead => return Some(now),
                Verdict::Idle => return None,
                Verdict::Waiting(again) => now = again.duration_since(start).as_secs_f64(),
            }
        }
        None
    }

    #[test]
    fn a_peer_that_acknowledges_nothing_is_dead_after_the_limit() {
        let at = |second| At {
            second,
            last_ack: second,
            ..SENT
        };
        let died = dies(at, 100.0).unwrap();
        assert!((30.0..=32.6).contains(&died), "{died}");
    }

    #[test]
    fn an_hour_of_silence_before_the_write_doesnt_count() {
        let at = |second| At {
            second,
            last_ack: 3600.0 + second,
            ..SENT
        };
        let died = dies(at, 100.0).unwrap();
        assert!((30.0..=32.6).contains(&died), "{died}");
    }

    #[test]
    fn what_was_sent_between_two_looks_has_its_own_time() {
        let (mut pulse, start) = (Pulse::default(), start());
        let first = look(
            &mut pulse,
            start,
            &At {
                second: 2.5,
                last_ack: 2.5,
                ..SENT
            },
        );
        assert_eq!(first, Verdict::Waiting(start + Duration::from_secs(5)));
        // The first was acknowledged at once, a second one sent just now.
        let later = At {
            second: 40.0,
            acked: 2,
            last_ack: 37.0,
            ..SENT
        };
        let again = start + Duration::from_millis(42_500);
        assert_eq!(look(&mut pulse, start, &later), Verdict::Waiting(again));
    }

    #[test]
    fn a_peer_with_a_closed_window_lives_as_long_as_it_answers() {
        let answering = |second| At {
            second,
            unacked: 0,
            not_sent: 9,
            last_ack: 20.0,
            ..SENT
        };
        assert_eq!(dies(answering, 600.0), None);
        // Probes come seldom after a while; one that is just on its way says nothing.
        let seldom = |second| At {
            probes: 1,
            last_ack: 119.0,
            ..answering(second)
        };
        assert_eq!(dies(seldom, 600.0), None);
        let silent = |second| At {
            probes: 3,
            last_ack: second,
            ..answering(second)
        };
        let died = dies(silent, 100.0).unwrap();
        assert!((30.0..=32.6).contains(&died), "{died}");
    }

    #[test]
    fn a_peer_that_has_everything_is_left_alone() {
        let all = At {
            unacked: 0,
            last_ack: 3600.0,
            ..SENT
        };
        assert_eq!(look(&mut Pulse::default(), start(), &all), Verdict::Idle);
    }
}
