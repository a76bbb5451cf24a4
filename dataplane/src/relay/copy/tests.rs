//! No byte is lost, doubled or moved, however reads and writes are cut.

use std::collections::VecDeque;
use std::task::Waker;

use proptest::prelude::*;

use super::*;

/// What a side does when it is asked next.
#[derive(Clone, Copy, Debug)]
enum Turn {
    Interrupted,
    Some(usize),
    WouldBlock,
}

fn turns() -> impl Strategy<Value = VecDeque<Turn>> {
    let turn = prop_oneof![
        1 => Just(Turn::Interrupted),
        4 => (1..200_usize).prop_map(Turn::Some),
        3 => Just(Turn::WouldBlock),
    ];
    prop::collection::vec(turn, 0..60).prop_map(VecDeque::from)
}

/// How a side ends after its bytes.
#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    Clean,
    Error,
}

struct Script {
    turns: VecDeque<Turn>,
    data: Vec<u8>,
    end: End,
    /// For a sink: breaks once it holds so many bytes.
    room: usize,
}

impl Script {
    fn next(&mut self, wanted: usize) -> Poll<io::Result<usize>> {
        assert!(wanted > 0, "a read into nothing looks like the end");
        match self.turns.pop_front() {
            Some(Turn::WouldBlock) => Poll::Pending,
            Some(Turn::Interrupted) => Poll::Ready(Err(io::ErrorKind::Interrupted.into())),
            Some(Turn::Some(n)) => Poll::Ready(Ok(n.min(wanted))),
            None => Poll::Ready(Ok(wanted)),
        }
    }
}

impl Source for Script {
    fn poll_read(&mut self, _: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let n = ready!(self.next(buffer.len()))?.min(self.data.len());
        if n == 0 && self.end == End::Error {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        for (to, from) in buffer.iter_mut().zip(self.data.drain(..n)) {
            *to = from;
        }
        Poll::Ready(Ok(n))
    }
}

impl Sink for Script {
    fn poll_write(&mut self, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.data.len() >= self.room {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let n = ready!(self.next(bytes.len()))?.min(self.room - self.data.len());
        self.data.extend(&bytes[..n]);
        Poll::Ready(Ok(n))
    }
}

fn copy(
    mut direction: Direction,
    source: &mut Script,
    sink: &mut Script,
    scratch: usize,
) -> (Ended, u64) {
    let most = direction.held().max(scratch);
    let mut scratch = vec![0; scratch];
    let mut cx = Context::from_waker(Waker::noop());
    let mut bytes = 0;
    loop {
        let polled = direction.poll(&mut cx, source, sink, &mut scratch);
        bytes += direction.take_bytes();
        assert!(direction.held() <= most);
        if let Poll::Ready(ended) = polled {
            return (ended, bytes);
        }
    }
}

proptest! {
    // More by the environment: `make soak` asks for a million.
    #![proptest_config(ProptestConfig::with_cases(ProptestConfig::default().cases.max(4000)))]

    #[test]
    fn everything_arrives_once_and_in_order(
        first in prop::collection::vec(any::<u8>(), 0..300),
        sent in prop::collection::vec(any::<u8>(), 0..3000),
        reads in turns(), writes in turns(),
        scratch in 1..512_usize,
        end in prop_oneof![Just(End::Clean), Just(End::Error)],
        room in prop_oneof![3 => Just(usize::MAX), 1 => 1..3000_usize],
    ) {
        let mut source = Script { turns: reads, data: sent.clone(), end, room: 0 };
        let mut sink = Script { turns: writes, data: Vec::new(), end: End::Clean, room };
        let direction = Direction::starting_with(first.clone());
        let (ended, bytes) = copy(direction, &mut source, &mut sink, scratch);
        let sent = [first, sent].concat();
        prop_assert_eq!(bytes, sink.data.len() as u64);
        match ended {
            Ended::Fin => {
                prop_assert_eq!(end, End::Clean);
                prop_assert_eq!(sink.data, sent);
            }
            Ended::Source(error) => {
                prop_assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
                prop_assert_eq!(sink.data, sent);
            }
            Ended::Sink(error) => {
                prop_assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
                prop_assert_eq!(&sink.data[..], &sent[..room]);
            }
        }
    }
}

#[test]
fn a_sink_that_takes_nothing_of_something_has_broken() {
    let mut source = Script {
        turns: VecDeque::new(),
        data: vec![7; 20],
        end: End::Clean,
        room: 0,
    };
    let mut sink = Script {
        turns: VecDeque::from([Turn::Some(3), Turn::Interrupted, Turn::Some(0)]),
        data: Vec::new(),
        end: End::Clean,
        room: usize::MAX,
    };
    let (ended, bytes) = copy(Direction::default(), &mut source, &mut sink, 64);
    assert!(matches!(ended, Ended::Sink(error) if error.kind() == io::ErrorKind::WriteZero));
    assert_eq!((bytes, sink.data.len()), (3, 3));
}

#[test]
fn nothing_is_held_while_the_source_is_silent() {
    let mut source = Script {
        turns: VecDeque::from([Turn::Some(100), Turn::WouldBlock]),
        data: vec![7; 200],
        end: End::Clean,
        room: 0,
    };
    let mut sink = Script {
        turns: VecDeque::from([Turn::Some(30), Turn::WouldBlock]),
        data: Vec::new(),
        end: End::Clean,
        room: usize::MAX,
    };
    let mut direction = Direction::default();
    let mut cx = Context::from_waker(Waker::noop());
    let mut scratch = [0; 128];
    assert!(
        direction
            .poll(&mut cx, &mut source, &mut sink, &mut scratch)
            .is_pending()
    );
    assert_eq!(direction.held(), 70);
    assert!(
        direction
            .poll(&mut cx, &mut source, &mut sink, &mut scratch)
            .is_pending()
    );
    assert_eq!((direction.held(), sink.data.len()), (0, 100));
}

#[test]
fn a_busy_source_lets_others_have_their_turn() {
    let (sent, all) = (vec![1; 100], usize::MAX);
    let mut source = Script {
        turns: VecDeque::new(),
        data: sent,
        end: End::Clean,
        room: 0,
    };
    let mut sink = Script {
        turns: VecDeque::new(),
        data: Vec::new(),
        end: End::Clean,
        room: all,
    };
    let mut cx = Context::from_waker(Waker::noop());
    let polled = Direction::default().poll(&mut cx, &mut source, &mut sink, &mut [0; 1]);
    assert!(polled.is_pending());
    assert_eq!(sink.data.len(), READS_PER_POLL as usize);
}
