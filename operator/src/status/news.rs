//! Pure. Which change of a status is worth an Event: a condition that turns, and how it is told.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use super::{ACCEPTED, BACKENDS_AVAILABLE, PENDING, PROGRAMMED, RESOLVED_REFS, bounded, condition};
use crate::crd::TcpForwardStatus;

/// What an Event says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct News {
    pub(crate) tone: Tone,
    /// That of the condition.
    pub(crate) reason: String,
    /// What was being done.
    pub(crate) action: &'static str,
    /// The condition's message.
    pub(crate) note: String,
}

/// `type` of an Event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tone {
    Normal,
    Warning,
}

/// What was being done when a condition turned. Ready has no Event: it repeats the first that fails.
const ACTIONS: [(&str, &str); 4] = [
    (ACCEPTED, "Accept"),
    (RESOLVED_REFS, "ResolveRefs"),
    (PROGRAMMED, "Program"),
    (BACKENDS_AVAILABLE, "ReachBackends"),
];

/// The news in a status that takes the place of another. What is there already is none, whoever has
/// written it.
pub(crate) fn of(previous: Option<&TcpForwardStatus>, next: &TcpForwardStatus) -> Vec<News> {
    let turned = ACTIONS.into_iter().filter_map(|(kind, action)| {
        let before = previous.and_then(|previous| condition(previous, kind));
        let now = condition(next, kind)?;
        Some(News {
            tone: tone(before, now)?,
            reason: now.reason.clone(),
            action,
            note: bounded(now.message.clone()),
        })
    });
    turned.collect()
}

/// A trouble is told when it begins and when it becomes another one; that all is well only to whoever
/// was told of a trouble, or waited. Waiting itself is a step of every change.
fn tone(before: Option<&Condition>, now: &Condition) -> Option<Tone> {
    let was = before.map(|before| before.status.as_str());
    let is_same = before.is_some_and(|b| b.status == now.status && b.reason == now.reason);
    match now.status.as_str() {
        "True" if was == Some("False") => Some(Tone::Normal),
        "False" if !is_same && now.reason != PENDING => Some(Tone::Warning),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::*;
    use super::*;

    /// Conditions as `kind=status reason`.
    fn status(conditions: &[(&str, &str, &str)]) -> TcpForwardStatus {
        let conditions = conditions.iter().map(|(kind, status, reason)| Condition {
            type_: (*kind).to_owned(),
            status: (*status).to_owned(),
            reason: (*reason).to_owned(),
            message: format!("{kind} is {status}"),
            observed_generation: Some(1),
            last_transition_time: Time(Timestamp::UNIX_EPOCH),
        });
        TcpForwardStatus {
            conditions: conditions.collect(),
            ..Default::default()
        }
    }

    #[test]
    fn a_turn_is_told_once_and_in_the_right_tone() {
        use Tone::{Normal, Warning};
        let good = (PROGRAMMED, "True", PROGRAMMED);
        let pending = (PROGRAMMED, "False", PENDING);
        let rejected = (PROGRAMMED, "False", REJECTED);
        let nobody = (PROGRAMMED, "False", NO_DATA_PLANE);
        let unknown = (PROGRAMMED, "Unknown", PENDING);
        let cases = [
            ("nothing there, all well", None, good, None),
            ("nothing there, a step", None, pending, None),
            ("nothing there, a trouble", None, nobody, Some(Warning)),
            ("the same after a restart", Some(rejected), rejected, None),
            ("as well as before", Some(good), good, None),
            ("still on its way", Some(pending), pending, None),
            ("an edit on its way", Some(good), pending, None),
            ("an edit has arrived", Some(pending), good, Some(Normal)),
            ("a trouble begins", Some(good), rejected, Some(Warning)),
            (
                "a trouble from a step",
                Some(pending),
                rejected,
                Some(Warning),
            ),
            ("another trouble", Some(rejected), nobody, Some(Warning)),
            ("a trouble is over", Some(nobody), good, Some(Normal)),
            ("a trouble becomes a step", Some(rejected), pending, None),
            ("not looked at any more", Some(good), unknown, None),
            ("looked at, all well", Some(unknown), good, None),
            (
                "looked at, a trouble",
                Some(unknown),
                rejected,
                Some(Warning),
            ),
        ];
        for (case, before, now, expected) in cases {
            let before = before.map(|before| status(&[before]));
            let next = status(&[now]);
            let told = of(before.as_ref(), &next);
            let expected: Vec<_> = expected
                .map(|tone| News {
                    tone,
                    reason: now.2.to_owned(),
                    action: "Program",
                    note: next.conditions[0].message.clone(),
                })
                .into_iter()
                .collect();
            assert_eq!(told, expected, "{case}");
        }
    }

    #[test]
    fn each_condition_tells_its_own_and_ready_and_those_of_others_tell_none() {
        let foreign = "example.com/Checked";
        let kinds = [
            ACCEPTED,
            RESOLVED_REFS,
            PROGRAMMED,
            BACKENDS_AVAILABLE,
            READY,
            foreign,
        ];
        let bad = status(&kinds.map(|kind| (kind, "False", "Broken")));
        let told = of(None, &bad);
        let actions: Vec<_> = told.iter().map(|news| news.action).collect();
        assert_eq!(
            actions,
            ["Accept", "ResolveRefs", "Program", "ReachBackends"]
        );
        assert_eq!(of(Some(&bad), &bad), []);
        let good = status(&kinds.map(|kind| (kind, "True", kind)));
        let told = of(Some(&bad), &good);
        let reasons: Vec<_> = told.iter().map(|news| news.reason.as_str()).collect();
        assert_eq!(
            reasons,
            [ACCEPTED, RESOLVED_REFS, PROGRAMMED, BACKENDS_AVAILABLE]
        );
    }
}
