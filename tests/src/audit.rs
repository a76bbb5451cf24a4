//! Pure. What an API server was asked, from its audit log.

use anyhow::Result;
use serde_json::Value;

/// One request.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Asked {
    /// Where: a namespace, or empty for the whole cluster.
    pub namespace: String,
    /// The API group; empty: the core one.
    pub group: String,
    /// `services`, or `tcpforwards/status`.
    pub resource: String,
    /// As RBAC says it.
    pub verb: String,
    /// Which object, if one is meant.
    pub name: String,
    /// What was answered.
    pub code: i64,
    /// Whether it was refused for want of a right: others are refused as well, such as whoever makes
    /// something in a namespace that ends.
    pub is_forbidden: bool,
}

/// All that one user was answered; a watch counts as soon as it has begun.
///
/// # Errors
/// A line is no event.
pub fn asked(log: &str, user: &str) -> Result<Vec<Asked>> {
    let mut asked = Vec::new();
    // The last line may be being written.
    let (whole, _) = log.rsplit_once('\n').unwrap_or_default();
    for line in whole.lines() {
        let event: Value = serde_json::from_str(line)?;
        if event.pointer("/user/username").and_then(Value::as_str) == Some(user) {
            asked.extend(event.get("objectRef").map(|object| one(&event, object)));
        }
    }
    Ok(asked)
}

fn one(event: &Value, object: &Value) -> Asked {
    let text = |of: &Value, key: &str| {
        let found = of.get(key).and_then(Value::as_str);
        found.unwrap_or_default().to_owned()
    };
    let mut resource = text(object, "resource");
    if let Some(sub) = object.get("subresource").and_then(Value::as_str) {
        resource = format!("{resource}/{sub}");
    }
    let code = event.pointer("/responseStatus/code");
    let decision = event.pointer("/annotations/authorization.k8s.io~1decision");
    Asked {
        namespace: text(object, "namespace"),
        group: text(object, "apiGroup"),
        resource,
        verb: text(event, "verb"),
        name: text(object, "name"),
        code: code.and_then(Value::as_i64).unwrap_or(0),
        is_forbidden: decision.and_then(Value::as_str) == Some("forbid"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_those_of_one_user_with_their_subresource() {
        let log = r#"{"verb":"patch","user":{"username":"me"},"objectRef":{"resource":"tcpforwards","namespace":"shop","name":"web","apiGroup":"tcpforward.dev","subresource":"status"},"responseStatus":{"code":200}}
{"verb":"get","user":{"username":"other"},"objectRef":{"resource":"nodes"},"responseStatus":{"code":200}}
{"verb":"get","user":{"username":"me"},"requestURI":"/version","responseStatus":{"code":200}}
{"verb":"list","user":{"username":"me"},"objectRef":{"resource":"nodes"},"responseStatus":{"code":403},"annotations":{"authorization.k8s.io/decision":"forbid"}}
{"verb":"create","user":{"username":"me"},"objectRef":{"resource":"events","namespace":"going"},"responseStatus":{"code":403},"annotations":{"authorization.k8s.io/decision":"allow"}}
"#;
        let asked = asked(log, "me").unwrap();
        let expected = [
            Asked {
                namespace: "shop".to_owned(),
                group: "tcpforward.dev".to_owned(),
                resource: "tcpforwards/status".to_owned(),
                verb: "patch".to_owned(),
                name: "web".to_owned(),
                code: 200,
                is_forbidden: false,
            },
            Asked {
                namespace: String::new(),
                group: String::new(),
                resource: "nodes".to_owned(),
                verb: "list".to_owned(),
                name: String::new(),
                code: 403,
                is_forbidden: true,
            },
            Asked {
                namespace: "going".to_owned(),
                group: String::new(),
                resource: "events".to_owned(),
                verb: "create".to_owned(),
                name: String::new(),
                code: 403,
                is_forbidden: false,
            },
        ];
        assert_eq!(asked, expected);
    }
}
