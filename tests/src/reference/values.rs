//! Pure. The page of a chart's values, made of the comments of its values.yaml.

use std::fmt::Write as _;

/// One value: where it is, what it is when nobody says anything, and what for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Keys with dots between them.
    pub path: String,
    /// As written.
    pub default: String,
    /// The comment above it, in one line.
    pub what: String,
}

/// Every value of a values.yaml: mappings of mappings, whose leaves are in one line each or lists.
#[must_use]
pub fn entries(text: &str) -> Vec<Entry> {
    let mut found: Vec<Entry> = Vec::new();
    let mut parents: Vec<(usize, String)> = Vec::new();
    let mut comment: Vec<&str> = Vec::new();
    for line in text.lines() {
        let bare = line.trim_start();
        let depth = line.len() - bare.len();
        if let Some(said) = bare.strip_prefix('#') {
            comment.push(said.trim());
        } else if bare.starts_with("- ") {
            if let Some(list) = found.last_mut() {
                list.default = format!("{}{bare}", list.default);
            }
        } else if let Some((key, value)) = bare.split_once(':') {
            parents.retain(|(above, _)| *above < depth);
            parents.push((depth, key.to_owned()));
            let keys: Vec<_> = parents.iter().map(|(_, key)| key.as_str()).collect();
            found.push(Entry {
                path: keys.join("."),
                default: value.trim().to_owned(),
                what: comment.join(" "),
            });
            comment.clear();
        } else {
            comment.clear();
        }
    }
    leaves(found)
}

/// Without those that only hold others.
fn leaves(all: Vec<Entry>) -> Vec<Entry> {
    let holds = |path: &str| {
        let inside = format!("{path}.");
        all.iter().any(|other| other.path.starts_with(&inside))
    };
    let kept = all.iter().filter(|entry| !holds(&entry.path));
    kept.cloned().collect()
}

/// The table of all values.
#[must_use]
pub fn page(generated: &str, text: &str) -> String {
    let mut page = format!(
        "{generated}\n\n# Values of the chart\n\nOf `charts/tcpforward`; [install](../tasks/install.md) says how to \
         use them. A value that is unknown, or of another type, is refused by its name.\n\n\
         An entry of `pools` has a `name` and any of the values below `poolDefaults`.\n\n\
         | value | default | what |\n|---|---|---|\n"
    );
    for Entry {
        path,
        default,
        what,
    } in entries(text)
    {
        let default = default.replace('|', "\\|");
        let what = what.replace('|', "\\|");
        let _ = writeln!(page, "| `{path}` | `{default}` | {what} |");
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_has_its_path_its_default_and_the_comment_above_it() {
        let text = "\
# About the file.

# A name.
name: \"\"

image:
  # Where,
  # and which.
  repository: a/b
# All of them.
pools:
- name: one
";
        let entry = |path: &str, default: &str, what: &str| Entry {
            path: path.to_owned(),
            default: default.to_owned(),
            what: what.to_owned(),
        };
        let expected = [
            entry("name", "\"\"", "A name."),
            entry("image.repository", "a/b", "Where, and which."),
            entry("pools", "- name: one", "All of them."),
        ];
        assert_eq!(entries(text), expected);
    }
}
