//! Pure. The patterns of our schemas, compiled, and in words.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use regex::Regex;

use crate::crd;

pub(super) struct Pattern {
    pub(super) regex: Regex,
    pub(super) words: &'static str,
}

/// Every pattern of the schema; a test proves it.
pub(super) static PATTERNS: LazyLock<BTreeMap<&'static str, Pattern>> = LazyLock::new(|| {
    let patterns = [
        (
            crd::LABEL,
            "a name of at most 63 lower case letters, digits and '-', with a letter or digit at \
             both ends",
        ),
        (
            crd::SUBDOMAIN,
            "a name of lower case letters, digits, '-' and '.', with a letter or digit at both ends",
        ),
        (
            crd::LABEL_KEY,
            "a key of a label: letters, digits, '-', '_' and '.', perhaps with a DNS name and a slash \
             before it, like tier or example.com/team",
        ),
        (
            crd::LABEL_VALUE,
            "a value of a label: at most 63 letters, digits, '-', '_' and '.', with a letter or digit \
             at both ends, or nothing",
        ),
        (
            crd::HOST_PATTERN,
            "a name in lower case without a dot at its end, like www.example.com, or \
             *.example.com for the names below it, or * for any",
        ),
        (
            crd::USER_NAME,
            "a user's name of visible ASCII characters other than ':'",
        ),
        (crd::SIZE, "a number of bytes, like 16Ki or 16384"),
        (
            crd::SECONDS,
            "a duration in whole seconds with a unit: h, m or s, like 60s or 1h30m",
        ),
        (
            crd::CONGESTION_CONTROL,
            "a name of letters, digits, '-' and '_', like bbr",
        ),
        (
            crd::DURATION,
            "a duration with a unit: h, m, s or ms, like 5s, 250ms or 1h30m",
        ),
        (
            crd::HEX,
            "pairs of hexadecimal digits, two for each byte, like 0d0a",
        ),
        (
            crd::HTTP_PATH,
            "a path that begins with / and has no spaces, like /healthz",
        ),
    ];
    let compiled = patterns.into_iter().map(|(text, words)| {
        #[expect(
            clippy::expect_used,
            reason = "constants of this program, compiled by a test"
        )]
        let regex = Regex::new(text).expect("a pattern of ours is a pattern");
        (text, Pattern { regex, words })
    });
    compiled.collect()
});
