//! Pure. Text for a terminal: 80 columns, and nothing in it that a terminal would obey.
//!
//! What is printed comes from objects of a cluster, or from its API server. An escape sequence in it
//! could write over what stands above, or set the title; a mark of direction could turn words round.

use std::borrow::Cow;
use std::fmt::Write as _;

use serde_json::Value;

/// Columns of a line.
pub(crate) const WIDTH: usize = 80;

/// The text on one line, with every character visible.
pub(crate) fn plain(text: &str) -> Cow<'_, str> {
    if !text.contains(is_obeyed) {
        return Cow::Borrowed(text);
    }
    let mut plain = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' | '\r' | '\t' => plain.push(' '),
            c if is_obeyed(c) => plain.extend(c.escape_unicode()),
            c => plain.push(c),
        }
    }
    Cow::Owned(plain)
}

/// The value as JSON in which such characters are escaped, too: `serde_json` escapes no more than it
/// must.
pub(crate) fn json(value: &Value) -> String {
    let mut text = String::new();
    for c in format!("{value:#}").chars() {
        if c == '\n' || !is_obeyed(c) {
            text.push(c);
            continue;
        }
        for unit in c.encode_utf16(&mut [0; 2]) {
            let _ = write!(text, "\\u{unit:04x}");
        }
    }
    text
}

/// Characters that are not shown but do something: controls, marks of direction, and those without
/// a width, by which two names can look the same.
fn is_obeyed(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
                | '\u{e0000}'..='\u{e007f}'
        )
}

/// The text in at most that many columns. What is left out is in the middle: names begin alike, and
/// end in what tells them apart.
pub(crate) fn shorten(text: &str, columns: usize) -> String {
    let length = text.chars().count();
    if length <= columns {
        return text.to_owned();
    }
    let kept = columns.saturating_sub(1);
    let end = kept / 2;
    let beginning = text.chars().take(kept - end);
    let end = text.chars().skip(length - end);
    beginning.chain(['…']).chain(end).collect()
}

/// Adds lines of a text, the first with its beginning, the others below it. A word that no line has
/// room for is cut.
pub(crate) fn wrap(out: &mut String, first: &str, others: &str, text: &str) {
    let mut line = Line {
        out,
        text: plain(first).into_owned(),
        others: &plain(others),
        is_empty: true,
    };
    for word in plain(text).split(' ') {
        line.add(word);
    }
    line.end();
}

struct Line<'a> {
    out: &'a mut String,
    text: String,
    others: &'a str,
    /// Of words.
    is_empty: bool,
}

impl Line<'_> {
    fn add(&mut self, word: &str) {
        let mut word: Vec<char> = word.chars().collect();
        if !self.is_empty && self.room() < word.len() + 1 {
            self.end();
        }
        while word.len() > self.room() && self.room() > 0 {
            let rest = word.split_off(self.room());
            self.text.extend(word);
            self.end();
            word = rest;
        }
        if !self.is_empty {
            self.text.push(' ');
        }
        self.text.extend(word);
        self.is_empty = false;
    }

    fn room(&self) -> usize {
        WIDTH.saturating_sub(self.text.chars().count())
    }

    fn end(&mut self) {
        let line = std::mem::replace(&mut self.text, self.others.to_owned());
        let _ = writeln!(self.out, "{}", line.trim_end());
        self.is_empty = true;
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn lines_have_eighty_columns_and_words_stay_whole() {
        let mut text = String::new();
        let words = "one two three four five six seven eight nine ten ".repeat(4);
        wrap(&mut text, "  10.0.0.7  ", "            ", words.trim_end());
        let lines: Vec<_> = text.lines().collect();
        assert!(lines.len() > 2, "{text}");
        assert!(lines.iter().all(|line| line.len() <= WIDTH), "{text}");
        let mut below = lines.iter().skip(1);
        assert!(below.all(|line| line.starts_with("            ")));
        let joined: Vec<_> = text.split_whitespace().skip(1).collect();
        assert_eq!(joined.join(" "), words.trim_end());
    }

    #[test]
    fn a_word_that_no_line_has_room_for_is_cut() {
        let mut text = String::new();
        wrap(&mut text, "a ", "  ", &"x".repeat(100));
        assert_eq!(
            text,
            format!("a {}\n  {}\n", "x".repeat(78), "x".repeat(22))
        );
        text.clear();
        wrap(&mut text, "", "  ", &format!("so {} is", "x".repeat(80)));
        let expected = format!("so\n  {}\n  xx is\n", "x".repeat(78));
        assert_eq!(text, expected);
    }

    #[test]
    fn names_keep_their_beginning_and_their_end() {
        for (columns, expected) in [
            (11, "default/web"),
            (10, "defau…/web"),
            (5, "de…eb"),
            (2, "d…"),
            (1, "…"),
        ] {
            assert_eq!(shorten("default/web", columns), expected);
        }
    }

    #[test]
    fn nothing_is_left_that_a_terminal_obeys() {
        let hostile = "a\u{1b}]0;title\u{7}b\u{9b}2Jc\u{7f}\r\n\u{202e}d\u{200b}\u{e0041}";
        assert_eq!(
            plain(hostile),
            "a\\u{1b}]0;title\\u{7}b\\u{9b}2Jc\\u{7f}  \\u{202e}d\\u{200b}\\u{e0041}"
        );
        assert!(matches!(plain("plain ü 漢"), Cow::Borrowed(_)));
        let mut text = String::new();
        wrap(&mut text, hostile, hostile, hostile);
        assert!(!text.contains(|c| c != '\n' && is_obeyed(c)), "{text:?}");

        let value = json!({ hostile: [hostile] });
        let printed = super::json(&value);
        assert!(!printed.contains(|c| c != '\n' && is_obeyed(c)));
        assert_eq!(serde_json::from_str::<Value>(&printed).unwrap(), value);
    }
}
