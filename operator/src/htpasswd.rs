//! Pure. A file of htpasswd to users. What is wrong names the line and never what stands there.

use std::collections::BTreeMap;

use tcpforward_protocol::USERS;
use tcpforward_protocol::snapshot::User;

/// Why a file can't be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Nobody would get in.
    #[error("has no user; write a line for each, as `htpasswd -nB NAME` prints it")]
    Empty,
    /// A line that is none of htpasswd's.
    #[error("line {line} {fault}")]
    Line {
        /// Counted from 1.
        line: usize,
        /// What is wrong with it.
        fault: LineFault,
    },
    /// It is no text.
    #[error("is not UTF-8; write a line for each user, as `htpasswd -nB NAME` prints it")]
    NotText,
    /// More than a proxy holds.
    #[error("has more than {USERS} users; spread them over several TcpForwards")]
    TooMany,
}

/// What is wrong with a line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LineFault {
    /// Hashed in another way, or not at all.
    #[error("has no hash of bcrypt; make the line with `htpasswd -nB NAME`")]
    NotBcrypt,
    /// So cheap that it protects nothing, or so dear that a few requests stop a data plane.
    #[error(
        "has a hash of bcrypt with cost {cost}; make it with a cost from {LEAST_COST} to {MOST_COST}, as `htpasswd -nBC 10 NAME` does"
    )]
    Cost {
        /// What it says.
        cost: u8,
    },
    /// There is no colon.
    #[error("is not NAME:HASH; make it with `htpasswd -nB NAME`")]
    NoColon,
    /// A name that no client can send, or that messages can't show.
    #[error(
        "has a name that is not 1 to {NAME_BYTES} visible ASCII characters; give the user another one"
    )]
    Name,
    /// Which of the two would count?
    #[error("has the name of line {first}, too; take one out")]
    Twice {
        /// Where it was first.
        first: usize,
    },
}

/// Reads NAME:HASH lines; empty ones, and those that begin with #, are passed over.
///
/// # Errors
/// The first thing that is wrong.
pub fn parse(bytes: &[u8]) -> Result<Vec<User>, Fault> {
    let text = str::from_utf8(bytes).map_err(|_| Fault::NotText)?;
    let mut users = Vec::new();
    let mut seen = BTreeMap::new();
    for (line, text) in (1..).zip(text.lines()) {
        let text = text.trim();
        if text.is_empty() || text.starts_with('#') {
            continue;
        }
        let user = user(text).map_err(|fault| Fault::Line { line, fault })?;
        if let Some(first) = seen.insert(user.name.clone(), line) {
            let fault = LineFault::Twice { first };
            return Err(Fault::Line { line, fault });
        }
        if users.len() == USERS {
            return Err(Fault::TooMany);
        }
        users.push(user);
    }
    match users.is_empty() {
        true => Err(Fault::Empty),
        false => Ok(users),
    }
}

fn user(line: &str) -> Result<User, LineFault> {
    let (name, hash) = line.split_once(':').ok_or(LineFault::NoColon)?;
    if !(1..=NAME_BYTES).contains(&name.len()) || !name.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(LineFault::Name);
    }
    let cost = cost(hash).ok_or(LineFault::NotBcrypt)?;
    if !(LEAST_COST..=MOST_COST).contains(&cost) {
        return Err(LineFault::Cost { cost });
    }
    Ok(User {
        name: name.to_owned(),
        hash: hash.to_owned(),
    })
}

/// The cost of `$2y$10$` and 53 characters of salt and hash.
fn cost(hash: &str) -> Option<u8> {
    let rest = ["$2a$", "$2b$", "$2y$"]
        .iter()
        .find_map(|kind| hash.strip_prefix(kind))?;
    let (cost, rest) = rest.split_once('$')?;
    let of_hash = |b: u8| b.is_ascii_alphanumeric() || b == b'.' || b == b'/';
    let digits = cost.len() == 2 && cost.bytes().all(|b| b.is_ascii_digit());
    if !digits || rest.len() != 53 || !rest.bytes().all(of_hash) {
        return None;
    }
    // 16 and 23 bytes end within a character, whose other bits are none: data planes read no others.
    let (salt, hash) = rest.split_at_checked(22)?;
    if !salt.ends_with(SALT_ENDS) || !hash.ends_with(HASH_ENDS) {
        return None;
    }
    cost.parse().ok()
}

/// The least that bcrypt knows.
const LEAST_COST: u8 = 4;

/// About a second of one core for each password that is tried: data planes refuse to spend more.
const MOST_COST: u8 = 14;

const SALT_ENDS: [char; 4] = ['.', 'O', 'e', 'u'];
const HASH_ENDS: [char; 16] = [
    '.', 'C', 'G', 'K', 'O', 'S', 'W', 'a', 'e', 'i', 'm', 'q', 'u', 'y', '2', '6',
];

/// What htpasswd itself takes.
const NAME_BYTES: usize = 255;

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "$2y$05$abcdefghijklmnopqrstuuABCDEFGHIJKLMNOPQRSTUVWXYZ01232";

    #[test]
    fn lines_become_users() {
        let text = format!(
            "# ours\n\nci:{HASH}\r\n  a@b.example:{}  \n",
            HASH.replace("2y$05", "2b$14")
        );
        let users = parse(text.as_bytes()).unwrap();
        let names: Vec<_> = users.iter().map(|user| user.name.as_str()).collect();
        assert_eq!(names, ["ci", "a@b.example"]);
        assert_eq!(users[0].hash, HASH);
    }

    #[test]
    fn what_is_wrong_names_the_line_and_not_what_is_there() {
        let line = |text: String| parse(format!("# users\n{text}\n").as_bytes()).unwrap_err();
        let cases = [
            (line("secret".into()), "line 2 is not NAME:HASH"),
            (
                line(format!("x secret:{HASH}")),
                "line 2 has a name that is not 1 to 255 visible",
            ),
            (line(format!(":{HASH}")), "line 2 has a name"),
            (
                line(format!("{}:{HASH}", "n".repeat(256))),
                "line 2 has a name",
            ),
            (line("ci:secret".into()), "line 2 has no hash of bcrypt"),
            (
                line("ci:{SHA}secret".into()),
                "line 2 has no hash of bcrypt",
            ),
            (
                line("ci:$apr1$secret$secret".into()),
                "line 2 has no hash of bcrypt",
            ),
            (
                line(format!("ci:{HASH}secret")),
                "line 2 has no hash of bcrypt",
            ),
            (
                line(format!("ci:{}", &HASH[..59])),
                "line 2 has no hash of bcrypt",
            ),
            (
                line(format!("ci:{HASH}:secret")),
                "line 2 has no hash of bcrypt",
            ),
            (
                line(format!("ci:{}", HASH.replace("2y", "2x"))),
                "line 2 has no hash of bcrypt",
            ),
            (
                line(format!("ci:{}", HASH.replace("05", "03"))),
                "line 2 has a hash of bcrypt with cost 3; make it with a cost from 4 to 14",
            ),
            (line(format!("ci:{}", HASH.replace("05", "15"))), "cost 15"),
            (
                line(format!("ci:{}", HASH.replace("01232", "01233"))),
                "line 2 has no hash of bcrypt",
            ),
            (
                line(format!("ci:{HASH}\nci:{HASH}")),
                "line 3 has the name of line 2, too; take one out",
            ),
            (line(String::new()), "has no user"),
        ];
        for (fault, expected) in cases {
            let said = fault.to_string();
            assert!(said.contains(expected), "{said}");
            assert!(!format!("{said}{fault:?}").contains("secret"), "{said}");
        }
        assert_eq!(parse(b"ci:\xff"), Err(Fault::NotText));
    }

    #[test]
    fn users_are_bounded() {
        let lines = |n: usize| (0..n).map(|i| format!("u{i}:{HASH}\n")).collect::<String>();
        assert_eq!(parse(lines(USERS).as_bytes()).unwrap().len(), USERS);
        assert_eq!(parse(lines(USERS + 1).as_bytes()), Err(Fault::TooMany));
    }
}
