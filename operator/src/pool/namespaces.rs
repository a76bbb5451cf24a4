//! Pure. Whose forwards a pool serves, by the labels of their namespace.

use std::collections::BTreeMap;

use crate::crd::{
    AllowedNamespaces, LabelOperator, LabelRequirement, NamespaceSelector, NamespacesFrom,
};

/// Labels of a namespace.
pub type Labels = BTreeMap<String, String>;

/// Whose forwards a pool serves.
#[derive(Clone, Debug, PartialEq)]
pub enum Namespaces {
    /// Everyone's.
    All,
    /// Those of namespaces that this matches.
    Selected(NamespaceSelector),
}

impl From<Option<AllowedNamespaces>> for Namespaces {
    fn from(written: Option<AllowedNamespaces>) -> Self {
        match written {
            Some(AllowedNamespaces {
                from: NamespacesFrom::Selector,
                selector,
            }) => Self::Selected(selector.unwrap_or_default()),
            Some(_) | None => Self::All,
        }
    }
}

impl Namespaces {
    /// Whether a namespace with these labels is one of them; one that is not known is only where all
    /// are.
    #[must_use]
    pub fn allow(&self, labels: Option<&Labels>) -> bool {
        match (self, labels) {
            (Self::All, _) => true,
            (Self::Selected(_), None) => false,
            (Self::Selected(selector), Some(labels)) => matches(selector, labels),
        }
    }
}

fn matches(selector: &NamespaceSelector, labels: &Labels) -> bool {
    let mut exact = selector.match_labels.iter().flatten();
    let mut expressions = selector.match_expressions.iter().flatten();
    exact.all(|(key, value)| labels.get(key) == Some(value))
        && expressions.all(|expression| holds(expression, labels.get(&expression.key)))
}

fn holds(expression: &LabelRequirement, value: Option<&String>) -> bool {
    let mut values = expression.values.iter().flatten();
    match expression.operator {
        LabelOperator::Exists => value.is_some(),
        LabelOperator::DoesNotExist => value.is_none(),
        LabelOperator::In => values.any(|one| Some(one) == value),
        LabelOperator::NotIn => values.all(|one| Some(one) != value),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn allows(selector: Value, labels: &[(&str, &str)]) -> bool {
        let namespaces = Namespaces::Selected(serde_json::from_value(selector).unwrap());
        let labels = labels
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        namespaces.allow(Some(&labels.collect()))
    }

    #[test]
    fn a_selector_is_that_of_kubernetes() {
        let one = |operator: &str, values: Value| {
            let mut expression = json!({"key": "tier", "operator": operator});
            if !values.is_null() {
                expression["values"] = values;
            }
            json!({"matchExpressions": [expression]})
        };
        let gold = [("tier", "gold"), ("x", "y")];
        let bare = [("x", "y")];
        let table = [
            (json!({}), true, true),
            (json!({"matchLabels": {"tier": "gold"}}), true, false),
            (
                json!({"matchLabels": {"tier": "gold", "x": "z"}}),
                false,
                false,
            ),
            (json!({"matchLabels": {"tier": ""}}), false, false),
            (one("In", json!(["silver", "gold"])), true, false),
            (one("In", json!(["silver"])), false, false),
            (one("NotIn", json!(["silver"])), true, true),
            (one("NotIn", json!(["gold"])), false, true),
            (one("Exists", Value::Null), true, false),
            (one("DoesNotExist", Value::Null), false, true),
        ];
        for (selector, of_gold, of_bare) in table {
            assert_eq!(allows(selector.clone(), &gold), of_gold, "{selector}");
            assert_eq!(allows(selector.clone(), &bare), of_bare, "{selector}");
        }
    }

    #[test]
    fn a_namespace_that_is_not_known_is_selected_by_nothing() {
        assert!(Namespaces::All.allow(None));
        assert!(!Namespaces::Selected(NamespaceSelector::default()).allow(None));
    }
}
