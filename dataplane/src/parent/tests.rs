//! Parents that do right and wrong, on loopback.

use std::time::Duration;

use tcpforward_protocol::snapshot::{LocalTargets, Login, TcpOptions};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

use super::*;
use crate::connect::refusal::Refusal;
use crate::parent::scripted::{accept, accept_tls, answers, in_tls, papers, parent, request};

const SETTINGS: Settings = Settings::new(LocalTargets::Allow);

const OPEN: &[u8] = b"HTTP/1.1 200 OK\r\n\r\n";

/// Beyond what anything here takes.
const LONG: Duration = Duration::from_secs(10);

async fn open_by(via: &Via, time: Duration) -> Result<Channel, Trouble> {
    let target = Target::parse(b"db.example.com:5432").unwrap();
    let shared = Shared::new(1000, 1);
    let until = Instant::now() + time;
    let parent = Parent::new(via);
    parent
        .alone()
        .open(&target, &SETTINGS, &TcpOptions::default(), until, &shared)
        .await
}

async fn open(via: &Via) -> Result<Channel, Trouble> {
    open_by(via, LONG).await
}

/// Several addresses, all of the parent's port.
async fn open_at(via: &Via, ips: &[&str]) -> Result<Channel, Trouble> {
    let target = Target::parse(b"db.example.com:5432").unwrap();
    let ips: Vec<IpAddr> = ips.iter().map(|ip| ip.parse().unwrap()).collect();
    let (shared, until) = (Shared::new(1000, 1), Instant::now() + LONG);
    let parent = Parent::new(via);
    parent
        .open_at(
            &ips,
            &parent.alone().request(&target),
            &SETTINGS,
            &TcpOptions::default(),
            until,
            &shared,
        )
        .await
}

/// What comes of such an answer.
async fn answered(answer: &[u8]) -> Result<Channel, Trouble> {
    let (listener, via) = parent().await;
    let (channel, _parent) = tokio::join!(open(&via), async {
        let asked = answers(&listener, answer).await;
        // An answer that is cut short ends.
        drop(asked);
    });
    channel
}

#[tokio::test]
async fn a_parent_s_answer_becomes_one_of_ours() {
    let long = format!("HTTP/1.1 200 OK\r\nA: {}", "x".repeat(20_000));
    for (answer, expected) in [
        ("HTTP/1.1 403 No\r\n\r\n", Refusal::ParentDenied),
        (
            "HTTP/1.1 407 Who\r\nProxy-Authenticate: Basic\r\n\r\n",
            Refusal::ParentLogin,
        ),
        (
            "HTTP/1.1 401 Who\r\nWWW-Authenticate: Basic\r\n\r\n",
            Refusal::ParentLogin,
        ),
        ("HTTP/1.1 405 What\r\n\r\n", Refusal::ParentUnfit),
        (
            "HTTP/1.1 302 There\r\nLocation: /\r\n\r\n",
            Refusal::ParentUnfit,
        ),
        ("HTTP/1.1 429 Slow\r\n\r\n", Refusal::ParentBusy),
        (
            "HTTP/1.1 502 Bad\r\nContent-Length: 1\r\n\r\nx",
            Refusal::ParentFailed,
        ),
        ("HTTP/1.1 503 Later\r\n\r\n", Refusal::ParentUnavailable),
        ("HTTP/1.1 504 Late\r\n\r\n", Refusal::ParentTimeout),
        ("HTTP/1.1 101 Other\r\n\r\n", Refusal::ParentGarbled),
        ("SSH-2.0-OpenSSH_9.9\r\n", Refusal::ParentGarbled),
        (long.as_str(), Refusal::ParentGarbled),
        ("HTTP/1.1 200 OK\r\n", Refusal::ParentBroke),
        ("", Refusal::ParentBroke),
    ] {
        let trouble = answered(answer.as_bytes()).await.unwrap_err();
        assert_eq!(Refusal::from(&trouble), expected, "{trouble}");
    }
}

/// Pitfalls 3 and 4, with us as the client.
#[tokio::test]
async fn bytes_behind_the_answer_are_kept_however_it_comes() {
    let (listener, via) = parent().await;
    let slow = async {
        let (mut stream, _) = answers(&listener, b"").await;
        for byte in [OPEN, b"hello"].concat() {
            stream.write_all(&[byte]).await.unwrap();
            tokio::task::yield_now().await;
        }
        stream
    };
    let (channel, _stream) = tokio::join!(open(&via), slow);
    let mut channel = channel.unwrap();
    let mut seen = channel.take_early();
    let mut byte = [0; 1];
    while seen.len() < 5 {
        assert_eq!(channel.read(&mut byte).await.unwrap(), 1);
        seen.extend(byte);
    }
    assert_eq!(seen, b"hello");
    let mut at_once = answered(&[OPEN, b"hello"].concat()).await.unwrap();
    assert_eq!(at_once.take_early(), b"hello");
}

#[tokio::test]
async fn a_parent_that_never_answers_is_given_up() {
    let (listener, via) = parent().await;
    let time = Duration::from_millis(200);
    let (channel, _stream) = tokio::join!(open_by(&via, time), answers(&listener, b"HTTP/1.1 2"));
    let trouble = channel.unwrap_err();
    assert!(
        matches!(trouble, Trouble::Silent(_) | Trouble::Local(_)),
        "{trouble}"
    );
}

#[tokio::test]
async fn a_parent_is_told_who_we_are_and_nobody_else_is() {
    let (listener, plain) = parent().await;
    let credentials = Some(Login {
        user: "team".to_owned(),
        password: "hunter2".to_owned(),
    });
    let via = Via {
        credentials,
        ..plain.clone()
    };
    let (channel, (_stream, request)) = tokio::join!(open(&via), answers(&listener, OPEN));
    channel.unwrap();
    let expected = "CONNECT db.example.com:5432 HTTP/1.1\r\nHost: db.example.com:5432\r\n\
                    Proxy-Authorization: Basic dGVhbTpodW50ZXIy\r\n\r\n";
    assert_eq!(request, expected);
    let (_, (_stream, request)) = tokio::join!(open(&plain), answers(&listener, OPEN));
    assert!(!request.contains("Authorization"), "{request}");
    assert!(!format!("{:?}", Parent::new(&via)).contains("hunter2"));
    let unusable = Via {
        unusable: Some("Secret parent does not exist".to_owned()),
        ..plain
    };
    let trouble = open(&unusable).await.unwrap_err();
    assert!(matches!(trouble, Trouble::Setup(_)), "{trouble}");
}

/// What the parent sees of a request that has been through those.
async fn open_after(parent: &Parent, fields: &[&str]) -> Result<Channel, Trouble> {
    let target = Target::parse(b"db.example.com:5432").unwrap();
    let (shared, until) = (Shared::new(1000, 1), Instant::now() + LONG);
    let mut hops = Hops::new("1.1");
    fields.iter().for_each(|field| hops.add(field.as_bytes()));
    let chain = parent.after(&hops);
    chain
        .open(&target, &SETTINGS, &TcpOptions::default(), until, &shared)
        .await
}

#[tokio::test]
async fn pitfall_20_a_request_that_goes_in_a_circle_goes_no_further() {
    let (listener, via) = parent().await;
    let parent = Parent::new(&via);
    let (channel, (_stream, request)) = tokio::join!(
        open_after(&parent, &["1.1 squid"]),
        answers(&listener, OPEN)
    );
    channel.unwrap();
    let via = request.lines().find_map(|line| line.strip_prefix("Via: "));
    let via = via.unwrap().to_owned();
    assert_eq!(via, format!("1.1 squid, 1.1 {}", parent.name));
    // Another one asks under another name.
    assert!(!via.contains(&Parent::new(&parent.via).name));

    drop(listener);
    let circle = open_after(&parent, &[&via, "1.1 other"]).await;
    assert_eq!(circle.unwrap_err(), Trouble::Circle);
    let most = vec!["1.1 a"; hops::MOST];
    let endless = open_after(&parent, &most).await;
    assert_eq!(endless.unwrap_err(), Trouble::TooManyHops(hops::MOST));
    let one_less = open_after(&parent, &most[1..]).await.unwrap_err();
    assert!(matches!(one_less, Trouble::Unreached(_)), "{one_less}");
}

#[tokio::test]
async fn an_address_that_is_dead_or_breaks_leaves_the_others() {
    let (listener, via) = parent().await;
    let ips = ["127.0.0.2", "127.0.0.1"];
    // Nobody listens on the first one.
    let (channel, _stream) = tokio::join!(open_at(&via, &ips), answers(&listener, OPEN));
    assert!(channel.is_ok());
    let port = via.port.get();
    let broken = TcpListener::bind(("127.0.0.2", port)).await.unwrap();
    let (channel, _stream, ()) =
        tokio::join!(open_at(&via, &ips), answers(&listener, OPEN), async {
            drop(accept(&broken).await)
        });
    assert_eq!(channel.unwrap().parent().unwrap().ip().to_string(), ips[1]);
    drop((broken, listener));
    let trouble = open_at(&via, &ips).await.unwrap_err();
    assert_eq!(Refusal::from(&trouble), Refusal::ParentUnreachable);
}

#[tokio::test]
async fn a_parent_that_is_nobody_s_to_reach_is_not_dialled() {
    let (listener, via) = parent().await;
    let target = Target::parse(b"db.example.com:5432").unwrap();
    let (shared, until) = (Shared::new(1000, 1), Instant::now() + LONG);
    shared.set_listeners([listener.local_addr().unwrap()]);
    let parent = Parent::new(&via);
    let own = parent
        .alone()
        .open(&target, &SETTINGS, &TcpOptions::default(), until, &shared)
        .await;
    assert_eq!(own.unwrap_err(), Trouble::Loop);
    let strict = Settings::new(LocalTargets::Refuse);
    let forbidden = parent
        .alone()
        .open(&target, &strict, &TcpOptions::default(), until, &shared)
        .await;
    let trouble = forbidden.unwrap_err();
    assert_eq!(Refusal::from(&trouble), Refusal::ParentUnfit, "{trouble}");
}

#[tokio::test]
async fn a_parent_in_tls_has_to_be_who_it_should_be() {
    let (listener, via) = parent().await;
    let (right, stranger, other) = (papers("127.0.0.1"), papers("127.0.0.1"), papers("10.0.0.1"));
    let secret = in_tls(via.clone(), &right);
    let answering = async {
        let mut stream = accept_tls(&listener, &right).await;
        let asked = request(&mut stream).await;
        stream.write_all(OPEN).await.unwrap();
        asked
    };
    let (channel, asked) = tokio::join!(open(&secret), answering);
    channel.unwrap();
    assert!(asked.starts_with("CONNECT db.example.com:5432 "));
    for (shown, trusted) in [(&stranger, &right), (&other, &other)] {
        let via = in_tls(via.clone(), trusted);
        let refused = async {
            let stream = accept(&listener).await;
            shown.refused_by(stream).await;
        };
        let (channel, ()) = tokio::join!(open(&via), refused);
        let trouble = channel.unwrap_err();
        assert_eq!(
            Refusal::from(&trouble),
            Refusal::ParentCertificate,
            "{trouble}"
        );
    }
    let (channel, _stream) = tokio::join!(open(&secret), async {
        let mut stream = accept(&listener).await;
        stream.write_all(b"HTTP/1.1 400 Bad\r\n\r\n").await.unwrap();
        stream
    });
    assert_eq!(Refusal::from(&channel.unwrap_err()), Refusal::ParentTls);
    let broken = Via {
        ca: Some("no certificate".to_owned()),
        ..secret
    };
    let (channel, _stream) = tokio::join!(open(&broken), accept(&listener));
    let trouble = channel.unwrap_err();
    assert!(
        trouble.to_string().contains("CA of the parent"),
        "{trouble}"
    );
}

#[test]
fn the_public_signers_are_built_in() {
    assert!(tls::config(None).is_ok());
}
