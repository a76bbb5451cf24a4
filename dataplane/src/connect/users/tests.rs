//! Lines of htpasswd and passwords to verdicts, and what they cost.

use futures::FutureExt as _;
use futures::future::join_all;

use super::*;

/// Of `correct horse`, by crypt(3) of libxcrypt, as are all hashes here.
const TWO_Y: &str = "$2y$05$abcdefghijklmnopqrstuuHNbAKRhpaujgo33bRWs.NLUTJO3lOy2";
const TWO_A: &str = "$2a$05$abcdefghijklmnopqrstuuHNbAKRhpaujgo33bRWs.NLUTJO3lOy2";
const TWO_B: &str = "$2b$04$abcdefghijklmnopqrstuujydOTSfIH/d5oUHpsygqV5X9xJLQc6e";
const EMPTY: &str = "$2y$04$......................w74bL5gU7LSJClZClCa.Pkz14aTv/XO";
const NOT_UTF8: &str = "$2y$04$......................spLxTQLiyZa7Y0OTJ07RrqOjBN3CZXq";
const SEVENTY_TWO: &str = "$2y$04$......................UaUp2CqHXn14N7RprrzoDsNv91ahi36";

const PASSWORD: &[u8] = b"correct horse";

fn users(lines: &[(&str, &str)]) -> Users {
    let user = |(name, hash): &(&str, &str)| User {
        name: (*name).to_owned(),
        hash: (*hash).to_owned(),
    };
    Users::new(&lines.iter().map(user).collect::<Vec<_>>())
}

fn yes(name: &str) -> Result<Subject, Refused> {
    Ok(Subject::User(name.to_owned()))
}

/// One whose threads never begin, so that all that it is given waits.
fn stalled(waiting: usize) -> Checker {
    Checker {
        pool: Pool::new(0, waiting),
    }
}

impl Checker {
    /// Does what a thread would, and says how many jobs waited.
    fn work_off(&self) -> usize {
        let jobs: Vec<Job> = self.pool.turn().lock().unwrap().try_iter().collect();
        let count = jobs.len();
        jobs.into_iter().for_each(|job| job.run(self.pool.work()));
        count
    }
}

#[tokio::test]
async fn the_right_password_of_every_version_is_right() {
    let seventy_two = [b'a'; 73];
    let long = &seventy_two[..];
    let checker = Checker::default();
    for (hash, right, wrong) in [
        (TWO_Y, PASSWORD, &b"correct horsf"[..]),
        (TWO_A, PASSWORD, b""),
        (TWO_B, PASSWORD, b"correct"),
        (EMPTY, b"", b"\0"),
        (NOT_UTF8, b"\xff\xfe\x80caf\xe9", b"\xff\xfe\x80caf"),
        (SEVENTY_TWO, &long[..72], &long[..71]),
        // What follows counts for nothing, as for htpasswd.
        (SEVENTY_TWO, long, b"a"),
    ] {
        let users = users(&[("ci", hash)]);
        assert_eq!(users.left_out(), [""; 0]);
        let check = |password| checker.check(&users, "ci", password);
        assert_eq!(check(right).await, yes("ci"), "{hash}");
        assert_eq!(check(wrong).await, Err(Refused::Wrong), "{hash}");
    }
}

#[tokio::test]
async fn nobody_is_known_by_another_s_password_or_name() {
    let checker = Checker::default();
    let both = users(&[("ci", TWO_Y), ("ops", EMPTY)]);
    for (name, password) in [
        ("ops", PASSWORD),
        ("ci", b""),
        ("CI", PASSWORD),
        ("", PASSWORD),
    ] {
        let verdict = checker.check(&both, name, password).await;
        assert_eq!(verdict, Err(Refused::Wrong), "{name}");
    }
    let nobody = users(&[]);
    let verdict = checker.check(&nobody, "ci", PASSWORD).await;
    assert_eq!(verdict, Err(Refused::Wrong));
    // NUL ends a password for htpasswd, and goes round and round for bcrypt.
    let hashed = checker.hashed();
    for password in [&b"correct horse\0correct horse"[..], b"correct horse\0"] {
        let verdict = checker.check(&both, "ci", password).await;
        assert_eq!(verdict, Err(Refused::Wrong));
    }
    assert_eq!(checker.hashed(), hashed);
}

#[tokio::test]
async fn whoever_is_unknown_costs_as_much_as_a_wrong_password() {
    let lines = [("cheap", TWO_B), ("dear", TWO_Y)];
    let users = users(&lines);
    assert!(matches!(users.test("nobody"), Test::Vain { cost: 5 }));
    let checker = Checker::default();
    for (count, name) in [(1, "dear"), (2, "nobody"), (3, "nobody")] {
        let verdict = checker.check(&users, name, b"wrong").await;
        assert_eq!(verdict, Err(Refused::Wrong));
        assert_eq!(checker.hashed(), count, "{name}");
    }
}

#[tokio::test]
async fn a_right_password_is_hashed_once_and_anew_when_its_hash_changes() {
    let checker = Checker::default();
    let before = users(&[("ci", TWO_Y)]);
    for _ in 0..3 {
        assert_eq!(checker.check(&before, "ci", PASSWORD).await, yes("ci"));
    }
    assert_eq!(checker.hashed(), 1);
    let wrong = checker.check(&before, "ci", b"wrong").await;
    assert_eq!((wrong, checker.hashed()), (Err(Refused::Wrong), 2));
    let after = users(&[("ci", EMPTY)]);
    let verdict = checker.check(&after, "ci", PASSWORD).await;
    assert_eq!((verdict, checker.hashed()), (Err(Refused::Wrong), 3));
    let gone = users(&[("ops", TWO_Y)]);
    let verdict = checker.check(&gone, "ci", PASSWORD).await;
    assert_eq!((verdict, checker.hashed()), (Err(Refused::Wrong), 4));
    // The same password under another hash is another one.
    let same = users(&[("ci", TWO_B)]);
    let verdict = checker.check(&same, "ci", PASSWORD).await;
    assert_eq!((verdict, checker.hashed()), (yes("ci"), 5));
}

#[tokio::test]
async fn many_connections_at_once_are_one_hash() {
    let (checker, users) = (stalled(100), users(&[("ci", TWO_B)]));
    let checks = join_all((0..100).map(|_| checker.check(&users, "ci", PASSWORD)));
    let mut checks = Box::pin(checks);
    assert_eq!((&mut checks).now_or_never(), None);
    assert_eq!(checker.work_off(), 100);
    assert_eq!(checks.await, vec![yes("ci"); 100]);
    assert_eq!(checker.hashed(), 1);
}

#[tokio::test]
async fn beyond_those_who_wait_everybody_is_told_to_come_again() {
    let (checker, users) = (stalled(2), users(&[("ci", TWO_B)]));
    let check = |name| Box::pin(checker.check(&users, name, PASSWORD));
    let mut waiting = ["ci", "nobody"].map(check);
    for check in &mut waiting {
        assert_eq!(check.now_or_never(), None);
    }
    assert_eq!(check("ci").await, Err(Refused::Busy));
    checker.work_off();
    let [first, second] = waiting;
    assert_eq!(first.await, yes("ci"));
    assert_eq!(second.await, Err(Refused::Wrong));
    // What is remembered needs no turn.
    let mut waiting = ["nobody", "nobody"].map(check);
    for check in &mut waiting {
        assert_eq!(check.now_or_never(), None);
    }
    assert_eq!(check("ci").await, yes("ci"));
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_too_long_is_told_and_whoever_leaves_costs_nothing() {
    let (checker, users) = (stalled(9), users(&[("ci", TWO_B)]));
    let verdict = checker.check(&users, "ci", PASSWORD).await;
    assert_eq!(verdict, Err(Refused::Busy));
    let mut left = Box::pin(checker.check(&users, "nobody", PASSWORD));
    assert_eq!((&mut left).now_or_never(), None);
    drop(left);
    assert_eq!((checker.work_off(), checker.hashed()), (2, 0));
}

#[test]
fn only_what_bcrypt_can_check_in_time_is_a_hash() {
    let dear = TWO_Y.replace("$05$", "$15$");
    let two_x = TWO_Y.replace("$2y$", "$2x$");
    for hash in [
        "",
        "secret",
        "{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=",
        "$apr1$abcdefgh$irS8oRCqBrwAIYQwVPdMm.",
        &TWO_Y[..59],
        &dear,
        &TWO_Y.replace("$05$", "$03$"),
        &two_x,
    ] {
        assert_eq!(users(&[("a", hash)]).left_out(), ["a"], "{hash}");
    }
    let users = users(&[("a", &dear), ("a", EMPTY), ("a", TWO_Y)]);
    assert!(matches!(users.test("a"), Test::Hash(hash) if &*hash == EMPTY));
    assert!(!format!("{users:?}").contains("$2"));
}
