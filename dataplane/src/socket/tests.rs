use std::io::Read;
use std::net::TcpStream as Std;
use std::process::Command;

use socket2::{Protocol, Socket, Type};
use tcpforward_protocol::snapshot::{ForwardSpec, TcpKeepalive};
use tcpforward_protocol::testing;

use super::setting::{Setting, settings};
use super::*;

/// Options that every kernel takes, none of them the default.
fn full() -> TcpOptions {
    TcpOptions {
        multipath: false,
        fast_open: false,
        ..testing::full_tcp()
    }
}

fn spec(listener: TcpOptions, relay: TcpOptions) -> ForwardSpec {
    let mut spec = testing::spec(vec![testing::target("a")]);
    spec.listener.tcp = listener;
    spec.relay.tcp = relay;
    spec
}

fn any() -> IpAddr {
    Ipv6Addr::UNSPECIFIED.into()
}

fn number(path: &str) -> Option<u32> {
    std::fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// What the socket of an established connection says of options that are not the default.
fn assert_has(socket: &SockRef<'_>, domain: Domain, options: &TcpOptions) {
    for setting in settings(options) {
        let got = setting.get(socket, domain).unwrap();
        match setting {
            // Both sides have agreed on one, and its options take some of it.
            Setting::MaxSegmentSize(size) => {
                let got: u32 = got.unwrap().parse().unwrap();
                assert!((size - 40..=size).contains(&got), "{got}");
            }
            Setting::SendBuffer(size) => {
                assert_eq!(socket.send_buffer_size().unwrap(), 2 * size as usize);
            }
            Setting::ReceiveBuffer(size) => {
                assert_eq!(socket.recv_buffer_size().unwrap(), 2 * size as usize);
            }
            setting => assert_eq!(got.unwrap(), setting.to_string(), "{setting:?}"),
        }
    }
    assert!(socket.out_of_band_inline().unwrap());
}

/// A socket to that address, once it is connected.
async fn connected(address: SocketAddr, options: &TcpOptions) -> Stream {
    let stream = connect(address, options).unwrap();
    stream.connected().await.unwrap();
    stream
}

#[tokio::test]
async fn accepted_and_dialled_sockets_have_every_option() {
    for (ip, domain) in [("127.0.0.1", Domain::IPV4), ("::1", Domain::IPV6)] {
        let address = SocketAddr::new(ip.parse().unwrap(), 0);
        let listener = listen(address, Share::First, &full()).unwrap();
        let address = listener.local_addr().unwrap();
        let dialled = connected(address, &full()).await;
        assert!(!SockRef::from(&dialled).keepalive().unwrap());
        keep_alive(&dialled, full().keepalive);
        let (accepted, _) = accept(&listener).unwrap();
        assert_has(&SockRef::from(&dialled), domain, &full());
        assert_has(&SockRef::from(&accepted), domain, &full());
    }
}

#[tokio::test]
async fn without_options_sockets_are_as_they_ever_were() {
    let address = SocketAddr::from(([127, 0, 0, 1], 0));
    let plain = TcpOptions::default();
    let listener = listen(address, Share::First, &plain).unwrap();
    let address = listener.local_addr().unwrap();
    let dialled = connected(address, &plain).await;
    keep_alive(&dialled, plain.keepalive);
    let (accepted, _) = accept(&listener).unwrap();
    for socket in [SockRef::from(&dialled), SockRef::from(&accepted)] {
        assert!(socket.tcp_nodelay().unwrap() && socket.keepalive().unwrap());
        let keepalive = TcpKeepalive::default();
        assert_eq!(keepalive.idle_time, socket.tcp_keepalive_time().unwrap());
        assert_eq!(keepalive.interval, socket.tcp_keepalive_interval().unwrap());
        assert_eq!(socket.tcp_keepalive_retries().unwrap(), 3);
        assert_eq!(socket.tcp_user_timeout().unwrap(), None);
    }
}

#[test]
fn what_the_kernel_refuses_is_refused_with_its_text() {
    let nosuch = TcpOptions {
        congestion_control: Some("nosuch".to_owned()),
        ..TcpOptions::default()
    };
    for (side, spec) in [
        ("listener", spec(nosuch.clone(), TcpOptions::default())),
        ("relay", spec(TcpOptions::default(), nosuch)),
    ] {
        let text = try_options(&spec, any()).unwrap_err().to_string();
        let starts = format!("{side}.tcp.congestionControl nosuch: the kernel says No such file");
        assert!(text.starts_with(&starts), "{text}");
        assert!(text.contains("choose one of"), "{text}");
    }
    assert_eq!(try_options(&spec(full(), full()), any()).unwrap(), [""; 0]);
}

#[test]
fn a_buffer_that_the_kernel_makes_smaller_is_told() {
    let most = number("/proc/sys/net/core/wmem_max").unwrap();
    let large = TcpOptions {
        send_buffer: std::num::NonZeroU32::new(most + 4096),
        ..TcpOptions::default()
    };
    let notes = try_options(&spec(TcpOptions::default(), large), any()).unwrap();
    let wanted = most + 4096;
    assert_eq!(
        notes,
        [format!(
            "relay.tcp.sendBuffer is {wanted} bytes, and the kernel gives {most}: \
             raise net.core.wmem_max on the node"
        )]
    );
}

#[test]
fn fast_open_is_taken_where_listeners_have_it() {
    let fast = TcpOptions {
        fast_open: true,
        ..TcpOptions::default()
    };
    let tried = try_options(&spec(fast.clone(), TcpOptions::default()), any());
    let bits = number("/proc/sys/net/ipv4/tcp_fastopen").unwrap();
    match tried {
        Ok(_) => assert!(bits & 2 != 0),
        Err(error) => {
            assert!(bits & 2 == 0);
            let text = error.to_string();
            assert!(
                text.contains(&format!("net.ipv4.tcp_fastopen is {bits}: set bit 2")),
                "{text}"
            );
        }
    }
    // The socket has it in any case.
    let address = SocketAddr::from(([127, 0, 0, 1], 0));
    let listener = listen(address, Share::First, &fast).unwrap();
    let got = Setting::FastOpen.get(&SockRef::from(&listener), Domain::IPV4);
    assert_eq!(got.unwrap().unwrap(), "true");
}

/// `false`: this kernel has no Multipath TCP, or it is off.
fn has_multipath() -> bool {
    number("/proc/sys/net/mptcp/enabled") == Some(1)
}

#[tokio::test]
async fn multipath_listeners_serve_both_kinds_of_clients() {
    let multipath = TcpOptions {
        multipath: true,
        ..TcpOptions::default()
    };
    let tried = try_options(&spec(multipath.clone(), multipath.clone()), any());
    if !has_multipath() {
        let text = tried.unwrap_err().to_string();
        assert!(text.contains("multipath true: the kernel says"), "{text}");
        return;
    }
    tried.unwrap();
    let address = SocketAddr::from(([127, 0, 0, 1], 0));
    let listener = listen(address, Share::First, &multipath).unwrap();
    let address = listener.local_addr().unwrap();
    let dialled = connected(address, &multipath).await;
    let (accepted, _) = accept(&listener).unwrap();
    for socket in [SockRef::from(&dialled), SockRef::from(&accepted)] {
        let protocol = socket.protocol().unwrap();
        assert_eq!(protocol, Some(Protocol::MPTCP));
    }
    // One that speaks TCP alone sends an urgent byte, which is a byte like any other.
    let plain = Std::connect(address).unwrap();
    let (mut accepted, _) = accept(&listener).unwrap();
    take_urgent_in_line(&accepted);
    SockRef::from(&plain).send_out_of_band(b"!").unwrap();
    drop(plain);
    accepted.set_nonblocking(false).unwrap();
    let mut got = Vec::new();
    accepted.read_to_end(&mut got).unwrap();
    assert_eq!(got, b"!");
}

/// Names of what the kernel has, and of what it lets anybody use.
fn congestion_controls() -> (Vec<String>, Vec<String>) {
    let read = |which: &str| {
        let path = format!("/proc/sys/net/ipv4/tcp_{which}_congestion_control");
        let text = std::fs::read_to_string(path).unwrap();
        text.split_whitespace().map(str::to_owned).collect()
    };
    (read("available"), read("allowed"))
}

fn with_control(name: &str) -> ForwardSpec {
    let options = TcpOptions {
        congestion_control: Some(name.to_owned()),
        ..TcpOptions::default()
    };
    spec(options, TcpOptions::default())
}

/// The capability to use any congestion control.
fn may_use_any() -> bool {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let (available, allowed) = congestion_controls();
    let mut others = available.iter().filter(|name| !allowed.contains(name));
    others.all(|name| socket.set_tcp_congestion(name.as_bytes()).is_ok())
}

#[test]
fn a_congestion_control_is_taken_as_far_as_we_may() {
    let (available, allowed) = congestion_controls();
    for name in &allowed {
        try_options(&with_control(name), any()).unwrap();
    }
    let others = available.iter().filter(|name| !allowed.contains(name));
    for name in others.filter(|_| !may_use_any()) {
        let text = try_options(&with_control(name), any())
            .unwrap_err()
            .to_string();
        let remedy = format!("congestion_control, now {}", allowed.join(" "));
        assert!(
            text.contains("Operation not permitted") && text.contains(&remedy),
            "{text}"
        );
    }
}

/// As the image runs: the test above again, as nobody and without capabilities. Who isn't root has
/// done that already.
#[test]
fn as_nobody_only_what_is_allowed_is_taken() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let output = Command::new("setpriv")
        .args([
            "--reuid=65532",
            "--regid=65532",
            "--clear-groups",
            "--bounding-set=-all",
        ])
        .arg("--")
        .arg(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "socket::tests::a_congestion_control_is_taken_as_far_as_we_may",
        ])
        .output()
        .unwrap();
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && printed.contains("1 passed"),
        "{printed}"
    );
}
