//! What is said of a dial that failed.

use std::num::NonZeroU32;

use tcpforward_protocol::snapshot::{self as protocol, Forward};

use super::*;
use crate::shared::Shared;
use crate::sync::samples;

const CLIENT: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

/// A forward whose only backend refuses, or without any.
async fn forward(has_backend: bool) -> Forward {
    let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let backend = protocol::Backend {
        target: "t".to_owned(),
        address: closed.local_addr().unwrap(),
        state: protocol::BackendState::Ready,
        takes_new: protocol::TakesNew::Yes,
        nodes: Vec::new(),
        zones: Vec::new(),
    };
    let mut plain = samples::forward("f", 1, &[]);
    plain.spec.relay.dial.attempts = NonZeroU32::new(100).unwrap();
    plain.spec.relay.dial.deadline = Duration::from_millis(120);
    let backends = has_backend.then_some(backend).into_iter().collect();
    Forward::new(plain.name, plain.spec, backends)
}

fn context() -> Context {
    Context {
        worker: 0,
        shared: Arc::new(Shared::new(1000, 1)),
    }
}

fn is_refusal(error: &Error) -> bool {
    match error {
        Error::Exhausted { cause, .. } => cause.result() == DialResult::Failed(DialError::Refused),
        Error::NoBackend => false,
    }
}

#[tokio::test]
async fn the_end_of_the_time_hides_no_cause() {
    let served = samples::served(forward(true).await);
    let error = dial(&served, &served.active(), &context(), CLIENT)
        .await
        .unwrap_err();
    assert!(is_refusal(&error), "{error}");
}

#[tokio::test]
async fn backends_that_vanish_hide_no_cause() {
    let served = samples::served(forward(true).await);
    let (active, context, none) = (served.active(), context(), forward(false).await);
    let vanish = async {
        while served.totals().dials.iter().sum::<u64>() == 0 {
            tokio::task::yield_now().await;
        }
        served.update(
            Arc::new(none),
            samples::terms(),
            Instant::now().into_std(),
            0,
        );
    };
    let (dialled, ()) = tokio::join!(dial(&served, &active, &context, CLIENT), vanish);
    let error = dialled.unwrap_err();
    assert!(is_refusal(&error), "{error}");
}
