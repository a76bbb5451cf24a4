//! Pure. Answers about names, for as long as they hold.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use hickory_resolver::proto::rr::Name;

use super::Answer;

/// As many as it was made for; then those that would have ended first make room. So names that don't
/// exist, which are kept for seconds, never drive out those that do.
#[derive(Debug)]
pub(super) struct Cache {
    most: usize,
    answers: HashMap<Name, Kept>,
}

#[derive(Debug)]
struct Kept {
    answer: Answer,
    until: Instant,
}

impl Cache {
    pub(super) fn new(most: usize) -> Self {
        Self {
            most,
            answers: HashMap::new(),
        }
    }

    pub(super) fn find(&self, name: &Name, now: Instant) -> Option<Answer> {
        let kept = self.answers.get(name).filter(|kept| now < kept.until)?;
        Some(kept.answer.clone())
    }

    pub(super) fn keep(&mut self, name: Name, answer: Answer, now: Instant, keep: Duration) {
        let until = now + keep;
        self.answers.remove(&name);
        if self.answers.len() >= self.most {
            self.answers.retain(|_, kept| now < kept.until);
        }
        if self.answers.len() >= self.most {
            let first = self.answers.iter().min_by_key(|(_, kept)| kept.until);
            let first = first.map(|(name, _)| name.clone());
            first.map(|name| self.answers.remove(&name));
        }
        self.answers.insert(name, Kept { answer, until });
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::connect::names::NameError;

    #[test]
    fn what_would_end_first_makes_room() {
        #[expect(clippy::disallowed_methods, reason = "any instant will do")]
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let name = |text: &str| Name::from_ascii(text).unwrap();
        let mut cache = Cache::new(2);
        let mut keep = |text, answer, seconds| {
            cache.keep(name(text), answer, start, Duration::from_secs(seconds));
            let known = |text: &&str| cache.find(&name(text), start).is_some();
            ["a.", "b.", "c.", "d."].into_iter().filter(known).collect()
        };
        let address = || Ok(Arc::from(["192.0.2.1".parse().unwrap()]));
        let none = || Err(NameError::NotFound);
        let known: Vec<&str> = keep("a.", address(), 60);
        assert_eq!(known, ["a."]);
        assert_eq!(keep("b.", none(), 5), ["a.", "b."]);
        assert_eq!(keep("A.", address(), 30), ["a.", "b."]);
        assert_eq!(keep("c.", none(), 5), ["a.", "c."]);
        assert_eq!(keep("d.", address(), 60), ["a.", "d."]);
        assert_eq!(cache.find(&name("a."), at(29)), Some(address()));
        assert_eq!(cache.find(&name("a."), at(30)), None);
    }
}
