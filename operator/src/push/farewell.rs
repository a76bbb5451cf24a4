//! Pure. How long a data plane that is none any more is spoken with.

use std::time::{Duration, Instant};

/// It gets this long to take that it has nothing to serve.
const FAREWELL: Duration = Duration::from_secs(10);

/// What is left of it; nothing began while the data plane is one.
#[derive(Debug, Default)]
pub(super) struct Farewell {
    end: Option<Instant>,
}

impl Farewell {
    /// Takes in why it is a data plane no more; nothing: it is one, or is one again.
    ///
    /// # Errors
    /// It has heard all that there is for it, or has had its time.
    pub(super) fn look<R>(
        &mut self,
        refusal: Option<R>,
        has_heard_all: impl FnOnce() -> bool,
        now: Instant,
    ) -> Result<(), R> {
        let Some(refusal) = refusal else {
            self.end = None;
            return Ok(());
        };
        let end = *self.end.get_or_insert_with(|| now + FAREWELL);
        match now >= end || has_heard_all() {
            true => Err(refusal),
            false => Ok(()),
        }
    }

    /// When it ends, whatever is heard until then.
    pub(super) fn end(&self) -> Option<Instant> {
        self.end
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lease::now;

    #[test]
    fn it_ends_when_all_is_heard_or_in_time() {
        let (mut farewell, start) = (Farewell::default(), now());
        assert_eq!(farewell.look(Some("gone"), || true, start), Err("gone"));
        let mut farewell = Farewell::default();
        assert_eq!(farewell.look(Some("gone"), || false, start), Ok(()));
        assert_eq!(farewell.end(), Some(start + FAREWELL));
        let late = start + FAREWELL;
        assert_eq!(farewell.look(Some("gone"), || false, late), Err("gone"));
    }

    #[test]
    fn who_is_a_data_plane_again_has_none_and_another_one_later() {
        let (mut farewell, start) = (Farewell::default(), now());
        assert_eq!(farewell.look(Some("gone"), || false, start), Ok(()));
        assert_eq!(farewell.look(None::<&str>, || false, start), Ok(()));
        assert_eq!(farewell.end(), None, "nothing has to be done in time");
        let later = start + 2 * FAREWELL;
        assert_eq!(farewell.look(Some("gone"), || false, later), Ok(()));
        assert_eq!(farewell.end(), Some(later + FAREWELL));
    }
}
