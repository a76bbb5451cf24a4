//! Pure. What an unquoted scalar means to kubectl: YAML 1.1 as Go reads it.

use serde_json::{Number, Value};

/// The value of a plain scalar.
pub(super) fn plain(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => {
            Value::Bool(true)
        }
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => {
            Value::Bool(false)
        }
        _ => integer(text)
            .map(Value::from)
            .or_else(|| float(text).map(Value::Number))
            .unwrap_or_else(|| Value::String(text.to_owned())),
    }
}

fn integer(text: &str) -> Option<i64> {
    let plain = text.replace('_', "");
    let (sign, digits) = match plain.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", plain.strip_prefix('+').unwrap_or(&plain)),
    };
    let lower = digits.to_ascii_lowercase();
    let (radix, digits) = match lower.as_bytes() {
        [b'0', b'x', ..] => (16, lower.get(2..)?),
        [b'0', b'o', ..] => (8, lower.get(2..)?),
        [b'0', b'b', ..] => (2, lower.get(2..)?),
        [b'0', _, ..] => (8, lower.get(1..)?),
        _ => (10, lower.as_str()),
    };
    // A second sign would be taken by the parser.
    if !digits.starts_with(|c: char| c.is_ascii_hexdigit()) {
        return None;
    }
    i64::from_str_radix(&format!("{sign}{digits}"), radix).ok()
}

/// A whole one becomes an integer, as on its way through JSON in kubectl.
fn float(text: &str) -> Option<Number> {
    let looks_like_one = text.contains(|c: char| c.is_ascii_digit())
        && text
            .chars()
            .all(|c| c.is_ascii_digit() || "+-._eE".contains(c))
        && !text.starts_with(['e', 'E', '_'])
        && text.matches('.').count() <= 1;
    let number: f64 = looks_like_one.then(|| text.replace('_', "").parse().ok())??;
    if number.fract() == 0.0 && number.abs() < WHOLE {
        #[expect(clippy::cast_possible_truncation, reason = "whole and small")]
        return Some(Number::from(number as i64));
    }
    Number::from_f64(number)
}

/// Beyond 2^53 a float does not tell neighbours apart.
const WHOLE: f64 = 9_007_199_254_740_992.0;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn scalars_mean_what_kubectl_makes_of_them() {
        for (text, expected) in [
            ("8888", json!(8888)),
            ("-1", json!(-1)),
            ("+7", json!(7)),
            ("0x1F", json!(31)),
            ("0o17", json!(15)),
            ("017", json!(15)),
            ("1_000", json!(1000)),
            ("80.0", json!(80)),
            ("1e3", json!(1000)),
            ("0.5", json!(0.5)),
            ("5s", json!("5s")),
            ("--5", json!("--5")),
            ("1.2.3.4", json!("1.2.3.4")),
            ("10.0.0.1", json!("10.0.0.1")),
            ("fd00::1", json!("fd00::1")),
            ("::1", json!("::1")),
            ("-", json!("-")),
            ("on", json!(true)),
            ("NO", json!(false)),
            ("~", json!(null)),
            ("http", json!("http")),
            ("e5", json!("e5")),
            (".inf", json!(".inf")),
        ] {
            assert_eq!(plain(text), expected, "{text}");
        }
    }
}
