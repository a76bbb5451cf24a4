//! Pure. What a TokenReview says about whoever showed a token, and what a refusal says to them.

use http::HeaderMap;
use http::header::AUTHORIZATION;
use k8s_openapi::api::authentication::v1::{TokenReviewStatus, UserInfo};
use tcpforward_protocol::TEXT_CHARS;
use tcpforward_protocol::answer::Hello;
use tonic::{Code, Status};

use super::accounts::Accounts;

/// What tokens must be made for: one for another program is of no use here, and one of ours of
/// none elsewhere.
pub(crate) const AUDIENCE: &str = "tcpforward";

const POD_NAME: &str = "authentication.kubernetes.io/pod-name";
const POD_UID: &str = "authentication.kubernetes.io/pod-uid";

/// Longer than the API server makes any: what is longer is not worth a call.
const TOKEN_BYTES: usize = 8 << 10;

/// A pod, as the API server knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pod {
    /// Its ServiceAccount, as a user.
    user: String,
    pub(crate) name: String,
    pub(crate) uid: String,
}

/// A data plane: a pod of a pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Peer {
    pub(crate) pod: Pod,
    pool: String,
}

/// Why someone is turned away.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error(
        "this ServiceAccount is no data plane's: a DataPlane has to name it by spec.podNamespace and spec.serviceAccountName"
    )]
    Account { user: String },
    #[error(
        "the token is not for the audience {AUDIENCE}: project one with `serviceAccountToken: {{audience: {AUDIENCE}}}` and name it by --token-file"
    )]
    Audience,
    #[error("too many tokens are being checked: try again")]
    Busy,
    #[error(
        "the hello's {field} is not that of the token: set --pod and --pod-uid by the downward API, and --pool to the pool of the ServiceAccount"
    )]
    Hello { field: &'static str },
    #[error("no token: send `authorization: Bearer …`; a data plane does so with --token-file")]
    NoToken,
    #[error("the API server refuses the token: {text}")]
    Token { text: String },
    #[error(
        "the token is not bound to a pod: use a projected one, not that of a Secret or of `kubectl create token`"
    )]
    Unbound,
    #[error("the operator can't check tokens now: {text}")]
    Unavailable { text: String },
}

impl Refusal {
    /// The word in metrics and logs.
    pub(crate) fn reason(&self) -> &'static str {
        match self {
            Self::Account { .. } => "account",
            Self::Audience => "audience",
            Self::Busy => "busy",
            Self::Hello { .. } => "hello",
            Self::NoToken => "no_token",
            Self::Token { .. } => "token",
            Self::Unbound => "unbound",
            Self::Unavailable { .. } => "unavailable",
        }
    }

    pub(crate) fn code(&self) -> Code {
        match self {
            Self::Account { .. } | Self::Hello { .. } | Self::Unbound => Code::PermissionDenied,
            Self::Audience | Self::NoToken | Self::Token { .. } => Code::Unauthenticated,
            Self::Busy | Self::Unavailable { .. } => Code::Unavailable,
        }
    }

    pub(crate) fn status(&self) -> Status {
        Status::new(self.code(), self.to_string())
    }
}

/// The token of a request.
pub(crate) fn bearer(headers: &HeaderMap) -> Result<&str, Refusal> {
    let value = headers.get(AUTHORIZATION).ok_or(Refusal::NoToken)?;
    let text = value.to_str().map_err(|_| Refusal::NoToken)?;
    let (scheme, token) = text.split_once(' ').ok_or(Refusal::NoToken)?;
    if !scheme.eq_ignore_ascii_case("bearer") || token.is_empty() || token.len() > TOKEN_BYTES {
        return Err(Refusal::NoToken);
    }
    Ok(token)
}

/// Which pod showed the token.
pub(crate) fn judge(status: &TokenReviewStatus) -> Result<Pod, Refusal> {
    if status.authenticated != Some(true) {
        let text = status.error.as_deref().unwrap_or("it is not valid");
        return Err(Refusal::Token {
            text: text.chars().take(TEXT_CHARS).collect(),
        });
    }
    // A server that knows no audiences says yes to all of them, and names none.
    let audiences = status.audiences.iter().flatten();
    if !audiences.into_iter().any(|audience| audience == AUDIENCE) {
        return Err(Refusal::Audience);
    }
    let user = status.user.clone().unwrap_or_default();
    Ok(Pod {
        name: one(&user, POD_NAME)?,
        uid: one(&user, POD_UID)?,
        user: user.username.unwrap_or_default(),
    })
}

impl Pod {
    /// The data plane that it is by what the pools say now.
    pub(crate) fn of_pool(&self, accounts: &Accounts) -> Result<Peer, Refusal> {
        if !accounts.known {
            return Err(Refusal::Unavailable {
                text: "it has not read the DataPlanes yet".to_owned(),
            });
        }
        let pool = accounts.pool(&self.user).ok_or_else(|| Refusal::Account {
            user: self.user.clone(),
        })?;
        Ok(Peer {
            pod: self.clone(),
            pool: pool.to_owned(),
        })
    }
}

fn one(user: &UserInfo, key: &str) -> Result<String, Refusal> {
    let values = user.extra.as_ref().and_then(|extra| extra.get(key));
    match values.map(Vec::as_slice) {
        Some([value]) if !value.is_empty() => Ok(value.clone()),
        _ => Err(Refusal::Unbound),
    }
}

impl Peer {
    /// Whether it is of its pool still.
    pub(crate) fn stays(&self, accounts: &Accounts) -> Result<(), Refusal> {
        match accounts.pool(&self.pod.user) {
            Some(pool) if pool == self.pool => Ok(()),
            _ => Err(Refusal::Account {
                user: self.pod.user.clone(),
            }),
        }
    }

    /// Whether a hello is that of this data plane.
    pub(crate) fn says(&self, hello: &Hello) -> Result<(), Refusal> {
        let same = [
            ("pod", self.pod.name == hello.pod),
            ("uid", self.pod.uid == hello.uid),
            ("pool", self.pool == hello.pool),
        ];
        match same.into_iter().find(|(_, same)| !same) {
            Some((field, _)) => Err(Refusal::Hello { field }),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::accounts::tests::accounts;
    use super::*;
    use crate::push::fixtures;

    fn judged(change: impl FnOnce(&mut Value)) -> Result<Peer, Refusal> {
        let mut status = json!({
            "authenticated": true,
            "audiences": ["tcpforward"],
            "user": {
                "username": "system:serviceaccount:edge:proxy",
                "extra": {POD_NAME: ["pod-u"], POD_UID: ["u"]},
            },
        });
        change(&mut status);
        let accounts = accounts(&[("default", "edge", "proxy")]);
        judge(&serde_json::from_value(status).unwrap())?.of_pool(&accounts)
    }

    #[test]
    fn only_a_bound_pod_of_a_known_account_is_a_data_plane() {
        let peer = judged(|_| {}).unwrap();
        assert_eq!(peer.says(&fixtures::hello("u")), Ok(()));
        type Change = fn(&mut Value);
        let table: [(Change, &str); 9] = [
            (|s| s["authenticated"] = json!(false), "token"),
            (|s| s["authenticated"] = Value::Null, "token"),
            (|s| s["audiences"] = json!([]), "audience"),
            (
                |s| s["audiences"] = json!(["https://kubernetes.default.svc"]),
                "audience",
            ),
            (|s| s["audiences"] = Value::Null, "audience"),
            (
                |s| s["user"]["username"] = json!("system:serviceaccount:edge:other"),
                "account",
            ),
            (|s| s["user"] = Value::Null, "unbound"),
            (|s| s["user"]["extra"] = Value::Null, "unbound"),
            (
                |s| s["user"]["extra"][POD_UID] = json!(["u", "v"]),
                "unbound",
            ),
        ];
        for (n, (change, expected)) in table.into_iter().enumerate() {
            let refused = judged(change).unwrap_err();
            assert_eq!(refused.reason(), expected, "row {n}: {refused}");
        }
    }

    #[test]
    fn a_data_plane_stays_one_while_its_pool_has_its_account() {
        let peer = judged(|_| {}).unwrap();
        let stays = |pools| peer.stays(&accounts(pools)).is_ok();
        assert!(stays(&[("default", "edge", "proxy"), ("x", "a", "b")]));
        assert!(!stays(&[]));
        assert!(!stays(&[("default", "edge", "other")]));
        assert!(!stays(&[("other", "edge", "proxy")]));
    }

    #[test]
    fn a_hello_of_another_pod_or_pool_is_refused() {
        let peer = judged(|_| {}).unwrap();
        let ours = fixtures::hello("u");
        let other = |change: fn(&mut Hello)| {
            let mut hello = ours.clone();
            change(&mut hello);
            peer.says(&hello).unwrap_err()
        };
        for (change, field) in [
            ((|h| h.pod = "x".to_owned()) as fn(&mut Hello), "pod"),
            (|h| h.uid = "x".to_owned(), "uid"),
            (|h| h.pool = "x".to_owned(), "pool"),
        ] {
            assert_eq!(other(change), Refusal::Hello { field });
        }
    }

    #[test]
    fn a_token_comes_as_a_bearer() {
        let token = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(AUTHORIZATION, value.parse().unwrap());
            bearer(&headers).map(ToOwned::to_owned)
        };
        assert_eq!(token("Bearer abc"), Ok("abc".to_owned()));
        assert_eq!(token("bearer abc"), Ok("abc".to_owned()));
        let long = format!("Bearer {}", "x".repeat(TOKEN_BYTES + 1));
        for bad in ["abc", "Bearer", "Bearer ", "Basic abc", &long] {
            assert_eq!(token(bad), Err(Refusal::NoToken), "{bad:.20}");
        }
        assert_eq!(bearer(&HeaderMap::new()), Err(Refusal::NoToken));
    }
}
