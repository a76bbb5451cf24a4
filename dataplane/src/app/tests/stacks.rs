//! IPv4 and IPv6, on either side.

use super::*;

/// Serves a forward on that address with that backend; `bind` is for forwards without one.
async fn serve(bind: &str, listen: Option<&str>, backend: &str) -> (Rig, Server, u16) {
    let server = server_at("a", backend).await;
    let port = free_port().await;
    let mut rig = start(|config| config.bind = bind.parse().unwrap());
    let mut stream = rig.subscriber().await;
    let forward = forward("f", port, &[server.address]);
    let mut spec = forward.spec;
    spec.listener.address = listen.map(|ip| ip.parse().unwrap());
    let forward = Forward::new(forward.name, spec, forward.backends);
    let applied = push_all(&mut stream, 1, &samples::snapshot([forward])).await;
    assert!(applied.refused.is_empty(), "{:?}", applied.refused);
    (rig, server, port)
}

async fn greets(ip: &str, port: u16) -> bool {
    let Ok(mut stream) = TcpStream::connect((ip, port)).await else {
        return false;
    };
    let byte = timeout(DEADLINE, stream.read_u8())
        .await
        .expect("an answer");
    byte.is_ok_and(|byte| byte == b'a')
}

#[tokio::test]
async fn every_address_is_of_both_families_whatever_the_backend_is() {
    let cases = [("::", None), ("127.0.0.1", Some("::"))];
    for (bind, listen) in cases {
        for backend in ["127.0.0.1:0", "[::1]:0"] {
            let (_rig, _server, port) = serve(bind, listen, backend).await;
            assert!(greets("127.0.0.1", port).await, "{listen:?} to {backend}");
            assert!(greets("::1", port).await, "{listen:?} to {backend}");
        }
    }
}

#[tokio::test]
async fn an_address_of_one_family_is_of_that_one_only() {
    for (listen, four, six) in [
        ("0.0.0.0", true, false),
        ("127.0.0.1", true, false),
        ("::1", false, true),
    ] {
        for backend in ["127.0.0.1:0", "[::1]:0"] {
            let (_rig, _server, port) = serve("::", Some(listen), backend).await;
            assert_eq!(
                greets("127.0.0.1", port).await,
                four,
                "{listen} to {backend}"
            );
            assert_eq!(greets("::1", port).await, six, "{listen} to {backend}");
        }
    }
}
