use std::sync::Mutex;

use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Subscriber};

use super::*;

const LINE: [u8; 1000] = [b'x'; 1000];

#[test]
fn lines_go_together_and_whole() {
    let (mut held, mut to) = (Vec::new(), Vec::new());
    let mut add = |line: &[u8], to: &mut Vec<u8>| {
        Line::Patient.go(Some(&mut held), line, to).unwrap();
        to.len()
    };
    let many = MOST / LINE.len();
    for _ in 0..many {
        assert_eq!(add(&LINE, &mut to), 0);
    }
    assert_eq!(add(&LINE, &mut to), many * LINE.len());
    assert_eq!(add(&[b'y'; MOST * 2], &mut to), (many + 1) * LINE.len());
    assert_eq!(add(b"z", &mut to), (many + 1) * LINE.len() + MOST * 2);
}

/// What threads hold at present that hold this line.
fn holding(line: &[u8]) -> usize {
    let all = ALL.lock().unwrap();
    let held = all.iter().filter_map(Weak::upgrade);
    held.filter(|held| *held.lines() == line).count()
}

#[test]
fn a_thread_holds_lines_until_it_is_told_or_all_are() {
    let ways: [(&str, fn()); 2] = [("mine\n", flush), ("all\n", flush_all)];
    for (line, flush) in ways {
        std::thread::spawn(move || {
            Line::Patient.write_all(line.as_bytes()).unwrap();
            assert_eq!(holding(line.as_bytes()), 0, "it holds nothing yet");
            hold();
            Line::Patient.write_all(line.as_bytes()).unwrap();
            assert_eq!(holding(line.as_bytes()), 1);
            flush();
            assert_eq!(holding(line.as_bytes()), 0);
        })
        .join()
        .unwrap();
    }
}

#[test]
fn one_that_can_t_wait_comes_after_those_that_were_held() {
    let (mut held, mut to) = (Vec::new(), Vec::new());
    for (line, text) in [(Line::Patient, "1"), (Line::Urgent, "2")] {
        line.go(Some(&mut held), text.as_bytes(), &mut to).unwrap();
    }
    assert_eq!((to.as_slice(), held.len()), (b"12".as_slice(), 0));
}

#[test]
fn who_holds_nothing_writes_all_at_once() {
    let mut to = Vec::new();
    Line::Patient.go(None, b"1", &mut to).unwrap();
    assert_eq!(to, b"1");
}

#[test]
fn trouble_with_the_log_is_told_and_nothing_is_written_twice() {
    let mut held = vec![0; MOST];
    let mut full: &mut [u8] = &mut [0; 10];
    assert!(Line::Patient.go(Some(&mut held), b"1", &mut full).is_err());
    assert_eq!(held, b"1");
}

#[test]
fn a_line_that_can_t_wait_has_its_own_try() {
    /// Fails once.
    struct Once(bool, Vec<u8>);
    impl Write for Once {
        fn write(&mut self, line: &[u8]) -> io::Result<usize> {
            match std::mem::replace(&mut self.0, true) {
                true => self.1.write(line),
                false => Err(io::ErrorKind::StorageFull.into()),
            }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let (mut held, mut to) = (b"1".to_vec(), Once(false, Vec::new()));
    assert!(Line::Urgent.go(Some(&mut held), b"2", &mut to).is_err());
    assert_eq!(to.1, b"2");
}

#[test]
fn lines_about_sessions_may_wait_and_others_may_not() {
    fn of(event: fn()) -> Option<Line> {
        let seen = Arc::new(Mutex::new(None));
        tracing::subscriber::with_default(Noting(seen.clone()), event);
        *seen.lock().unwrap()
    }
    let session = of(|| tracing::info!(target: ACCESS, "session"));
    assert_eq!(session, Some(Line::Patient));
    assert_eq!(of(|| tracing::warn!("trouble")), Some(Line::Urgent));
}

/// Notes which writer an event gets.
struct Noting(Arc<Mutex<Option<Line>>>);

impl Subscriber for Noting {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        *self.0.lock().unwrap() = Some(Lines.make_writer_for(event.metadata()));
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}
