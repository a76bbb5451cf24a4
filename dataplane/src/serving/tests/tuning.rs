//! Socket options of a forward: tried before, changed while it serves.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use socket2::{Domain, Protocol, SockAddr, SockRef, Socket, Type};
use tcpforward_protocol::snapshot::TcpOptions;

use super::*;

fn tuned(plain: &Forward, generation: i64, listener: TcpOptions, relay: TcpOptions) -> Forward {
    let mut spec = plain.spec.clone();
    spec.generation = generation;
    spec.listener.tcp = listener;
    spec.relay.tcp = relay;
    Forward::new(plain.name.clone(), spec, plain.backends.clone())
}

fn control(name: &str) -> TcpOptions {
    TcpOptions {
        congestion_control: Some(name.to_owned()),
        ..TcpOptions::default()
    }
}

/// Sends back what it gets, for as long as the test process lives.
fn echo(listener: TcpListener) -> SocketAddr {
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            thread::spawn(move || std::io::copy(&mut stream.try_clone().unwrap(), &mut stream));
        }
    });
    address
}

fn to_echo(port: u16) -> Forward {
    let address = echo(TcpListener::bind("127.0.0.1:0").unwrap());
    let plain = forward("f", 1, "127.0.0.1", port);
    let backend = samples::backend("t", &address.to_string());
    Forward::new(plain.name, plain.spec, vec![backend])
}

fn turn(stream: &mut TcpStream) -> std::io::Result<()> {
    stream.set_read_timeout(Some(CLOSE_TIME * 10))?;
    stream.write_all(b"line")?;
    let mut line = [0; 4];
    stream.read_exact(&mut line)?;
    assert_eq!(&line, b"line");
    Ok(())
}

#[tokio::test]
async fn an_option_that_the_kernel_refuses_leaves_the_former_spec_and_the_backends_of_today() {
    let (mut serving, port) = (serving(), free_port());
    let plain = to_echo(port);
    serving.apply(wanted([plain.clone()])).await;
    let expected = [row("f", 1, "127.0.0.1", port)];
    let (none, nosuch) = (TcpOptions::default, || control("nosuch"));
    for (side, listener, relay) in [("listener", nosuch(), none()), ("relay", none(), nosuch())] {
        let bad = tuned(&plain, 2, listener, relay);
        let today = vec![samples::backend("t", "10.0.0.9:80")];
        let bad = Forward::new(bad.name, bad.spec, today);
        serving.apply(wanted([bad])).await;
        assert_eq!(in_service(&serving), expected);
        let (_, text) = refused(&serving).remove(0);
        let starts = format!("{side}.tcp.congestionControl nosuch: the kernel says No such file");
        assert!(text.starts_with(&starts), "{text}");
        let running = serving.running.values().next().unwrap();
        let dialled = running.served.backends();
        assert_eq!(dialled[0].address.to_string(), "10.0.0.9:80");
        // What a kernel allows may change, so it is asked again.
        assert!(serving.retries.is_due(Duration::from_secs(3600)));
    }
    let good = tuned(&plain, 3, control("reno"), control("reno"));
    serving.apply(wanted([good])).await;
    assert_eq!(in_service(&serving), [row("f", 3, "127.0.0.1", port)]);
    assert!(refused(&serving).is_empty());
    assert!(!serving.retries.is_due(Duration::from_secs(3600)));
    turn(&mut TcpStream::connect(("127.0.0.1", port)).unwrap()).unwrap();
}

#[tokio::test]
async fn a_forward_that_never_ran_is_refused_for_an_option() {
    let mut serving = serving();
    let plain = forward("f", 1, "127.0.0.1", free_port());
    let bad = tuned(&plain, 1, control("nosuch"), TcpOptions::default());
    serving.apply(wanted([bad])).await;
    assert!(in_service(&serving).is_empty());
    assert_eq!(refused(&serving).len(), 1);
}

#[tokio::test]
async fn a_buffer_that_is_clamped_is_shown() {
    let mut serving = serving();
    let plain = forward("f", 1, "127.0.0.1", free_port());
    let huge = TcpOptions {
        receive_buffer: NonZeroU32::new(512 << 20),
        ..TcpOptions::default()
    };
    let notes = |serving: &Serving| {
        let view = serving.view.read().unwrap();
        view.forwards.values().next().unwrap().notes.clone()
    };
    let large = tuned(&plain, 1, huge, TcpOptions::default());
    serving.apply(wanted([large])).await;
    assert!(refused(&serving).is_empty());
    let told = notes(&serving);
    assert!(told[0].contains("raise net.core.rmem_max"), "{told:?}");
    serving.apply(wanted([plain])).await;
    assert_eq!(notes(&serving), [""; 0]);
}

/// Whether this kernel has Multipath TCP, and it is on.
fn has_multipath() -> bool {
    let enabled = std::fs::read_to_string("/proc/sys/net/mptcp/enabled");
    enabled.is_ok_and(|text| text.trim() == "1")
}

fn multipath() -> TcpOptions {
    TcpOptions {
        multipath: has_multipath(),
        ..TcpOptions::default()
    }
}

/// Has one session go on and others come and go until told to end; how many were served.
fn clients(port: u16, begun: Arc<AtomicBool>, over: Arc<AtomicBool>) -> thread::JoinHandle<u32> {
    thread::spawn(move || {
        let mut old = TcpStream::connect(("127.0.0.1", port)).unwrap();
        let mut served = 0;
        while !over.load(Ordering::Relaxed) {
            turn(&mut old).unwrap();
            turn(&mut TcpStream::connect(("127.0.0.1", port)).unwrap()).unwrap();
            begun.store(true, Ordering::Relaxed);
            served += 1;
        }
        served
    })
}

#[tokio::test]
async fn other_options_drop_no_session_and_refuse_no_client() {
    let (mut serving, port) = (serving(), free_port());
    let plain = to_echo(port);
    serving.apply(wanted([plain.clone()])).await;
    let (begun, over) = (Arc::<AtomicBool>::default(), Arc::<AtomicBool>::default());
    let clients = clients(port, Arc::clone(&begun), Arc::clone(&over));
    let mut pause = tokio::time::interval(Duration::from_millis(5));
    while !begun.load(Ordering::Relaxed) && !clients.is_finished() {
        pause.tick().await;
    }
    for generation in 2..=25 {
        let bytes = 4096 << (generation % 4);
        let options = TcpOptions {
            no_delay: generation % 2 == 0,
            not_sent_lowat: NonZeroU32::new(bytes),
            ..control("reno")
        };
        let generation = i64::from(generation);
        let next = tuned(&plain, generation, options.clone(), options.clone());
        serving.apply(wanted([next])).await;
        assert_eq!(refused(&serving), []);
        let expected = [row("f", generation, "127.0.0.1", port)];
        assert_eq!(in_service(&serving), expected);
        let running = serving.running.values().next().unwrap();
        assert!(running.tuned_otherwise(&options).is_empty() && running.former() == 0);
        pause.tick().await;
    }
    over.store(true, Ordering::Relaxed);
    assert!(clients.join().unwrap() > 1);
}

#[tokio::test]
async fn sessions_go_on_where_new_sockets_are_needed() {
    let (mut serving, port) = (serving(), free_port());
    let plain = to_echo(port);
    serving.apply(wanted([plain.clone()])).await;
    let mut old = TcpStream::connect(("127.0.0.1", port)).unwrap();
    turn(&mut old).unwrap();
    let mut pause = tokio::time::interval(Duration::from_millis(5));
    for (generation, options) in [(2, multipath()), (3, control("reno")), (4, multipath())] {
        let next = tuned(&plain, generation, options.clone(), options);
        serving.apply(wanted([next])).await;
        assert_eq!(
            in_service(&serving),
            [row("f", generation, "127.0.0.1", port)]
        );
        turn(&mut old).unwrap();
        // Who comes while the former sockets close may be reset.
        let end = Instant::now() + CLOSE_TIME * 10;
        while let Err(error) = turn(&mut TcpStream::connect(("127.0.0.1", port)).unwrap()) {
            assert!(Instant::now() < end, "{error}");
            pause.tick().await;
        }
    }
}

/// Where `splice(2)` knows no such sockets bytes are copied; in any case they arrive.
#[tokio::test]
async fn bulk_passes_between_multipath_sockets() {
    if !has_multipath() {
        return;
    }
    let open = || Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::MPTCP)).unwrap();
    let on_loopback = |port| SockAddr::from(SocketAddr::from(([127, 0, 0, 1], port)));
    let backend = open();
    backend.bind(&on_loopback(0)).unwrap();
    backend.listen(16).unwrap();
    let address = echo(backend.into());
    let (mut serving, port) = (serving(), free_port());
    let plain = forward("f", 1, "127.0.0.1", port);
    let both = tuned(&plain, 1, multipath(), multipath());
    let backends = vec![samples::backend("t", &address.to_string())];
    let both = Forward::new(both.name, both.spec, backends);
    serving.apply(wanted([both])).await;
    let client = open();
    client.connect(&on_loopback(port)).unwrap();
    let mut client = TcpStream::from(client);
    client.set_read_timeout(Some(CLOSE_TIME * 10)).unwrap();
    let bytes: Vec<u8> = (0..4_u32 << 20).map(|i| (i % 251) as u8).collect();
    let (mut out, sent) = (client.try_clone().unwrap(), bytes.clone());
    let sending = thread::spawn(move || {
        out.write_all(&sent).unwrap();
        out.shutdown(std::net::Shutdown::Write).unwrap();
    });
    let mut back = Vec::new();
    client.read_to_end(&mut back).unwrap();
    sending.join().unwrap();
    assert!(back == bytes, "{} of {} bytes", back.len(), bytes.len());
}

/// The largest segment that the kernel sends to a forward's listener: the listener says so.
fn segment(port: u16) -> u32 {
    let client = TcpStream::connect(("127.0.0.1", port)).unwrap();
    SockRef::from(&client).tcp_mss().unwrap()
}

#[tokio::test]
async fn a_listening_socket_is_given_more_and_stays() {
    let (mut serving, port) = (serving(), free_port());
    let plain = to_echo(port);
    serving.apply(wanted([plain.clone()])).await;
    let whole = segment(port);
    let mut pause = tokio::time::interval(Duration::from_millis(5));
    let mut old = TcpStream::connect(("127.0.0.1", port)).unwrap();
    for (generation, size) in [(2, Some(1200)), (3, Some(1300)), (4, None)] {
        let options = TcpOptions {
            max_segment_size: size.and_then(NonZeroU16::new),
            ..TcpOptions::default()
        };
        serving
            .apply(wanted([tuned(
                &plain,
                generation,
                options,
                TcpOptions::default(),
            )]))
            .await;
        // What was said can be said otherwise, and not be taken back.
        let running = serving.running.values().next().unwrap();
        assert_eq!(running.former(), usize::from(size.is_none()));
        let fits = |got: u32| {
            size.map_or(got == whole, |size| {
                got <= size.into() && got + 40 > size.into()
            })
        };
        let end = Instant::now() + CLOSE_TIME * 10;
        while !fits(segment(port)) {
            assert!(Instant::now() < end, "{size:?}: {}", segment(port));
            pause.tick().await;
        }
        turn(&mut old).unwrap();
    }
}
