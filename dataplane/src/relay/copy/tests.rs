//! No byte is lost, doubled or moved, however reads and writes are cut.

use std::cell::RefCell;
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
    /// For a sink: what the end was said to follow.
    last: Vec<u8>,
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

impl Script {
    fn read(&mut self, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let n = ready!(self.next(buffer.len()))?.min(self.data.len());
        if n == 0 && self.end == End::Error {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        for (to, from) in buffer.iter_mut().zip(self.data.drain(..n)) {
            *to = from;
        }
        Poll::Ready(Ok(n))
    }

    fn write(&mut self, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.data.len() >= self.room {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let n = ready!(self.next(bytes.len()))?.min(self.room - self.data.len());
        self.data.extend(&bytes[..n]);
        Poll::Ready(Ok(n))
    }
}

/// One that has all the room, and ends cleanly behind its data.
fn script(data: Vec<u8>) -> Script {
    Script {
        turns: VecDeque::new(),
        data,
        end: End::Clean,
        room: usize::MAX,
        last: Vec::new(),
    }
}

/// Two sides, and pipes between them that hold so many bytes.
struct Sides {
    source: RefCell<Script>,
    sink: RefCell<Script>,
    pipe: usize,
    /// Pipes that may be taken; a pipe that isn't given back is missed.
    pipes: usize,
    filled: usize,
    turn: usize,
}

impl Sides {
    fn new(source: Script, sink: Script) -> Self {
        Self {
            source: RefCell::new(source),
            sink: RefCell::new(sink),
            pipe: 0,
            pipes: 0,
            filled: 0,
            turn: 1 << 20,
        }
    }

    fn poll(&mut self, direction: &mut Direction<Vec<u8>>, scratch: &mut [u8]) -> Poll<Ended> {
        let mut cx = Context::from_waker(Waker::noop());
        let (source, sink) = (&self.source, &self.sink);
        let mut pipes = PipesOf {
            source,
            sink,
            size: self.pipe,
            left: &mut self.pipes,
            filled: &mut self.filled,
        };
        direction.poll(
            &mut cx,
            &mut &*source,
            &mut &*sink,
            &mut pipes,
            scratch,
            &mut self.turn.clone(),
        )
    }
}

struct PipesOf<'a> {
    source: &'a RefCell<Script>,
    sink: &'a RefCell<Script>,
    size: usize,
    left: &'a mut usize,
    filled: &'a mut usize,
}

impl Source for &RefCell<Script> {
    fn poll_read(&mut self, _: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        self.borrow_mut().read(buffer)
    }

    fn seems_to_end(&mut self, _: &mut Context<'_>) -> bool {
        self.borrow().data.is_empty()
    }
}

impl Sink for &RefCell<Script> {
    fn poll_write(&mut self, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.borrow_mut().write(bytes)
    }

    fn poll_write_last(&mut self, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut sink = self.borrow_mut();
        sink.last = bytes.to_vec();
        sink.write(bytes)
    }
}

/// As the kernel does it: what it can't move is no end, and a broken source says so only once.
impl Bypass for PipesOf<'_> {
    type Pipe = Vec<u8>;

    fn take(&mut self) -> Option<Vec<u8>> {
        *self.left = self.left.checked_sub(1)?;
        Some(Vec::new())
    }

    fn give(&mut self, pipe: Vec<u8>) {
        assert!(pipe.is_empty(), "bytes of one session would reach another");
        *self.left += 1;
    }

    fn fill(&mut self, _: &mut Context<'_>, pipe: &mut Vec<u8>, most: usize) -> io::Result<usize> {
        assert!(pipe.is_empty());
        let mut source = self.source.borrow_mut();
        pipe.resize(self.size.min(most), 0);
        let n = match source.read(pipe) {
            Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::ConnectionReset => {
                source.end = End::Clean;
                pipe.clear();
                return Err(error);
            }
            Poll::Ready(Ok(n)) => n,
            Poll::Ready(Err(_)) | Poll::Pending => 0,
        };
        pipe.truncate(n);
        *self.filled += n;
        Ok(n)
    }

    fn poll_drain(
        &mut self,
        _: &mut Context<'_>,
        pipe: &mut Vec<u8>,
        bytes: usize,
    ) -> Poll<io::Result<usize>> {
        assert_eq!(pipe.len(), bytes);
        let written = loop {
            match ready!(self.sink.borrow_mut().write(pipe)) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => break other?,
            }
        };
        pipe.drain(..written);
        Poll::Ready(Ok(written))
    }
}

fn copy(mut direction: Direction<Vec<u8>>, sides: &mut Sides, scratch: usize) -> (Ended, u64) {
    let most = direction.held().max(scratch).max(sides.pipe);
    let mut scratch = vec![0; scratch];
    let mut bytes = 0;
    loop {
        let polled = sides.poll(&mut direction, &mut scratch);
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
        pipe in 1..800_usize,
        pipes in 0..2_usize,
        is_bulk in any::<bool>(),
    ) {
        let source = Script { turns: reads, end, ..script(sent.clone()) };
        let sink = Script { turns: writes, room, ..script(Vec::new()) };
        let mut sides = Sides { pipe, pipes, ..Sides::new(source, sink) };
        let mut direction = Direction::starting_with(&first);
        if is_bulk {
            direction.bulk.moved(usize::MAX);
        }
        let (ended, bytes) = copy(direction, &mut sides, scratch);
        if matches!(ended, Ended::Fin | Ended::Source(_)) {
            prop_assert_eq!(sides.pipes, pipes);
        }
        let sink = sides.sink.into_inner();
        let sent = [first, sent].concat();
        prop_assert_eq!(bytes, sink.data.len() as u64);
        prop_assert!(sink.last.is_empty() || (end == End::Clean && sent.ends_with(&sink.last)));
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
    let source = script(vec![7; 20]);
    let sink = Script {
        turns: VecDeque::from([Turn::Some(3), Turn::Interrupted, Turn::Some(0)]),
        ..script(Vec::new())
    };
    let mut sides = Sides::new(source, sink);
    let (ended, bytes) = copy(Direction::default(), &mut sides, 64);
    assert!(matches!(ended, Ended::Sink(error) if error.kind() == io::ErrorKind::WriteZero));
    assert_eq!((bytes, sides.sink.borrow().data.len()), (3, 3));
}

#[test]
fn the_last_bytes_go_with_the_end_if_it_is_clean() {
    for (end, scratch, last) in [
        (End::Clean, 21, 20),
        // One more than these would have been read.
        (End::Clean, 20, 0),
        (End::Error, 21, 0),
    ] {
        let source = Script {
            end,
            ..script(vec![7; 20])
        };
        let mut sides = Sides::new(source, script(Vec::new()));
        copy(Direction::default(), &mut sides, scratch);
        let sink = sides.sink.into_inner();
        assert_eq!((sink.last.len(), sink.data.len()), (last, 20), "{end:?}");
    }
}

#[test]
fn nothing_is_held_while_the_source_is_silent() {
    let source = Script {
        turns: VecDeque::from([Turn::Some(100), Turn::WouldBlock]),
        ..script(vec![7; 200])
    };
    let sink = Script {
        turns: VecDeque::from([Turn::Some(30), Turn::WouldBlock]),
        ..script(Vec::new())
    };
    let mut direction = Direction::default();
    let mut sides = Sides::new(source, sink);
    let mut scratch = [0; 128];
    assert!(sides.poll(&mut direction, &mut scratch).is_pending());
    assert_eq!(direction.held(), 70);
    assert!(sides.poll(&mut direction, &mut scratch).is_pending());
    assert_eq!((direction.held(), sides.sink.borrow().data.len()), (0, 100));
}

#[test]
fn a_busy_source_lets_others_have_their_turn() {
    let source = script(vec![1; 100]);
    let sink = script(Vec::new());
    let mut sides = Sides {
        turn: 10 * STEP,
        ..Sides::new(source, sink)
    };
    let polled = sides.poll(&mut Direction::default(), &mut [0; 1]);
    assert!(polled.is_pending());
    assert_eq!(sides.sink.borrow().data.len(), 10);
}

#[test]
fn a_pipe_takes_no_more_than_is_left_of_the_turn() {
    let mut sides = Sides {
        pipe: 8 * STEP,
        pipes: 1,
        turn: 2 * STEP,
        ..Sides::new(script(vec![7; 8 * STEP]), script(Vec::new()))
    };
    let mut direction = Direction::default();
    direction.bulk.moved(usize::MAX);
    assert!(sides.poll(&mut direction, &mut [0; 1]).is_pending());
    assert_eq!((sides.filled, direction.held()), (2 * STEP, 0));
}

#[test]
fn what_is_long_goes_by_a_pipe_and_what_is_short_does_not() {
    const ALL: usize = 400 << 10;
    let mut sides = Sides {
        pipe: 64 << 10,
        pipes: 1,
        ..Sides::new(script(vec![7; ALL]), script(Vec::new()))
    };
    let (ended, bytes) = copy(Direction::default(), &mut sides, 32 << 10);
    assert!(matches!(ended, Ended::Fin));
    assert_eq!((bytes, sides.pipes), (ALL as u64, 1));
    assert_eq!(ALL - sides.filled, 128 << 10, "copied at first");
}

#[test]
fn a_pipe_with_bytes_in_it_is_not_given_back() {
    let scripted = |data, turns: &[Turn]| Script {
        turns: turns.iter().copied().collect(),
        ..script(data)
    };
    let sink = scripted(Vec::new(), &[Turn::Some(10), Turn::WouldBlock]);
    let mut sides = Sides {
        pipe: 100,
        pipes: 1,
        ..Sides::new(scripted(vec![7; 100], &[]), sink)
    };
    let mut direction = Direction::default();
    direction.bulk.moved(usize::MAX);
    assert!(sides.poll(&mut direction, &mut [0; 64]).is_pending());
    assert_eq!((direction.held(), sides.pipes), (90, 0));
}
