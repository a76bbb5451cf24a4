//! Pure. A set of rules: a bit for each.

use crate::connect::policy::RuleId;

/// As many as a forward may have.
pub(super) const MAX_RULES: usize = 256;

/// Cheap to copy and to intersect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct RuleSet([u128; MAX_RULES / 128]);

impl RuleSet {
    pub(super) fn insert(&mut self, RuleId(id): RuleId) {
        if let Some(bits) = self.0.get_mut(usize::from(id / 128)) {
            *bits |= 1 << (id % 128);
        }
    }

    pub(super) fn and(self, other: Self) -> Self {
        let ([a, b], [c, d]) = (self.0, other.0);
        Self([a & c, b & d])
    }

    pub(super) fn or(self, other: Self) -> Self {
        let ([a, b], [c, d]) = (self.0, other.0);
        Self([a | c, b | d])
    }

    /// In the order of the rules.
    pub(super) fn iter(self) -> impl Iterator<Item = RuleId> {
        let Self([mut low, mut high]) = self;
        std::iter::from_fn(move || {
            let (bits, first) = if low == 0 {
                (&mut high, 128)
            } else {
                (&mut low, 0)
            };
            // There is no lowest bit if all were taken out.
            let rest = *bits & bits.checked_sub(1)?;
            let id = first + u8::try_from(bits.trailing_zeros()).ok()?;
            *bits = rest;
            Some(RuleId(id))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_come_in_their_order() {
        let mut set = RuleSet::default();
        assert_eq!(set.iter().count(), 0);
        for id in [255, 128, 127, 0, 64] {
            set.insert(RuleId(id));
        }
        let ids: Vec<_> = set.iter().map(|RuleId(id)| id).collect();
        assert_eq!(ids, [0, 64, 127, 128, 255]);
        let mut other = RuleSet::default();
        other.insert(RuleId(127));
        other.insert(RuleId(1));
        let both: Vec<_> = set.and(other).iter().map(|RuleId(id)| id).collect();
        assert_eq!(both, [127]);
        assert_eq!(set.or(other).iter().count(), 6);
    }
}
