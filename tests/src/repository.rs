//! Edge. The repository's own files, for the tests that hold its rules.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::programs::workspace_root;

/// What builds and tools put into the tree, but not into the sources of a crate: a module may have
/// such a name.
const NOT_OURS: [&str; 6] = [
    ".cache",
    ".git",
    "artifacts",
    "corpus",
    "node_modules",
    "target",
];

/// A file of the repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// From the root, such as `operator/src/app.rs`.
    pub path: String,
    /// All of it.
    pub text: String,
}

/// Every text file, sorted by path.
///
/// # Errors
/// The tree can't be read.
pub fn files() -> Result<Vec<Source>> {
    let mut paths = Vec::new();
    walk(&workspace_root(), &mut paths)?;
    paths.sort();
    let sources = paths.iter().map(|path| source(path));
    Ok(sources
        .collect::<Result<Vec<_>>>()?
        .into_iter()
        .flatten()
        .collect())
}

/// The Rust files of the crates.
///
/// # Errors
/// The tree can't be read.
pub fn rust() -> Result<Vec<Source>> {
    let mut files = files()?;
    files.retain(|file| file.path.ends_with(".rs"));
    Ok(files)
}

fn walk(folder: &Path, paths: &mut Vec<PathBuf>) -> Result<()> {
    let mut within = folder.strip_prefix(workspace_root())?.iter();
    let is_source = within.any(|name| name == "src");
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let entry = entry?;
        if !is_source && NOT_OURS.iter().any(|name| entry.file_name() == *name) {
            continue;
        }
        match entry.file_type()? {
            kind if kind.is_dir() => walk(&entry.path(), paths)?,
            kind if kind.is_file() => paths.push(entry.path()),
            _ => {}
        }
    }
    Ok(())
}

fn source(path: &Path) -> Result<Option<Source>> {
    let bytes = fs::read(path).with_context(|| path.display().to_string())?;
    // Golden messages and other binary files have no style.
    let Ok(text) = String::from_utf8(bytes) else {
        return Ok(None);
    };
    let path = path.strip_prefix(workspace_root())?;
    let path = path.to_string_lossy().into_owned();
    Ok(Some(Source { path, text }))
}

impl Source {
    /// The last part of the path, without `.rs`.
    #[must_use]
    pub fn stem(&self) -> &str {
        let name = self.path.rsplit('/').next().unwrap_or_default();
        name.strip_suffix(".rs").unwrap_or(name)
    }

    /// Whether the whole file is test code: a level of the ladder, the tests of one module, or a
    /// fake that only tests use.
    #[must_use]
    pub fn is_test(&self, all: &[Self]) -> bool {
        self.stem() == "tests" || self.path.contains("/tests/") || self.is_declared_for_tests(all)
    }

    /// Whether its parent says `#[cfg(test)] mod this;`.
    fn is_declared_for_tests(&self, all: &[Self]) -> bool {
        let Some((folder, _)) = self.path.rsplit_once('/') else {
            return false;
        };
        let declaration = format!("mod {};", self.stem());
        let parents = [
            format!("{folder}/lib.rs"),
            format!("{folder}/main.rs"),
            format!("{folder}.rs"),
        ];
        all.iter()
            .filter(|file| parents.contains(&file.path))
            .flat_map(Self::test_code)
            .any(|(_, line)| line.ends_with(&declaration))
    }

    /// The lines that are built into programs, with their numbers from 1.
    #[must_use]
    pub fn production(&self) -> Vec<(usize, &str)> {
        self.lines_by_place(Place::Production)
    }

    /// The lines that only tests are made of, with their numbers from 1.
    #[must_use]
    pub fn test_code(&self) -> Vec<(usize, &str)> {
        self.lines_by_place(Place::Tests)
    }

    fn lines_by_place(&self, wanted: Place) -> Vec<(usize, &str)> {
        let numbered = self.text.lines().enumerate().map(|(i, line)| (i + 1, line));
        let places = places(&self.text);
        let placed = numbered.zip(places);
        placed
            .filter_map(|(line, place)| (place == wanted).then_some(line))
            .collect()
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Production,
    Tests,
}

/// The place of each line: an item under `#[cfg(test)]` reaches to its semicolon or to the brace at
/// the depth of the attribute, as rustfmt sets it.
fn places(text: &str) -> Vec<Place> {
    let mut item: Option<(usize, bool)> = None;
    let mut places = Vec::new();
    for line in text.lines() {
        let depth = line.len() - line.trim_start().len();
        if line.trim() == "#[cfg(test)]" && item.is_none() {
            item = Some((depth, false));
            places.push(Place::Tests);
            continue;
        }
        let Some((start, in_braces)) = &mut item else {
            places.push(Place::Production);
            continue;
        };
        places.push(Place::Tests);
        *in_braces |= line.ends_with('{');
        let is_last = match in_braces {
            true => line.trim_start().starts_with('}'),
            false => line.ends_with([';', ',']),
        };
        if is_last && depth == *start {
            item = None;
        }
    }
    places
}

/// A line of Rust code without its comment.
#[must_use]
pub fn code(line: &str) -> &str {
    line.split("//").next().unwrap_or_default()
}

/// A block of commands in a page for people, and the last bold words or heading before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commands {
    /// Such as `In a cluster.` or `Try it in five minutes`.
    pub under: String,
    /// One command a line; a line that ends in `\` goes on in the next.
    pub lines: Vec<String>,
}

/// Every block fenced as ```` ```sh ```` in a page.
#[must_use]
pub fn commands(page: &str) -> Vec<Commands> {
    let mut blocks: Vec<Commands> = Vec::new();
    let mut under = String::new();
    let mut fence: Option<bool> = None;
    for line in page.lines() {
        match (line.strip_prefix("```"), fence) {
            (Some(_), Some(_)) => fence = None,
            (Some(language), None) => {
                fence = Some(language == "sh");
                if language == "sh" {
                    let (under, lines) = (under.clone(), Vec::new());
                    blocks.push(Commands { under, lines });
                }
            }
            (None, Some(true)) => {
                if let Some(block) = blocks.last_mut() {
                    block.push(line);
                }
            }
            (None, Some(false)) => {}
            (None, None) => {
                if let Some(title) = title(line) {
                    under = title.to_owned();
                }
            }
        }
    }
    blocks
}

fn title(line: &str) -> Option<&str> {
    if line.starts_with('#') {
        return Some(line.trim_start_matches('#').trim());
    }
    Some(line.strip_prefix("**")?.split_once("**")?.0)
}

impl Commands {
    /// Whether a reader needs a cluster for it.
    #[must_use]
    pub fn needs_cluster(&self) -> bool {
        self.lines.iter().any(|line| line.starts_with("kubectl ")) || self.needs_nodes()
    }

    /// Whether pods have to run for it.
    #[must_use]
    pub fn needs_nodes(&self) -> bool {
        self.lines.iter().any(|line| line.starts_with("helm "))
    }

    fn push(&mut self, line: &str) {
        match self.lines.last_mut() {
            Some(last) if last.ends_with('\\') => {
                last.pop();
                last.push_str(line.trim_start());
            }
            _ if line.trim().is_empty() || line.starts_with('#') => {}
            _ => self.lines.push(line.to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_of_commands_are_found_under_their_titles() {
        let page = "## One\n```sh\nmake run\n\n# why\ntwo \\\n  lines\n```\n**In a cluster.** So:\n\
                    ```yaml\na: b\n```\n```sh\nkubectl get\n```\n";
        let block = |under: &str, lines: &[&str]| Commands {
            under: under.to_owned(),
            lines: lines.iter().map(|&line| line.to_owned()).collect(),
        };
        let expected = [
            block("One", &["make run", "two lines"]),
            block("In a cluster.", &["kubectl get"]),
        ];
        assert_eq!(commands(page), expected);
    }

    #[test]
    fn items_for_tests_end_where_they_end() {
        let text = "a\n#[cfg(test)]\nmod tests;\nb {\n    #[cfg(test)]\n    fn c(\n        d: u8,\n    \
                    ) {\n        {\n        }\n    }\n    e\n}\n#[cfg(test)]\nmod f {\n    g\n}\nh\n";
        let file = Source {
            path: String::new(),
            text: text.to_owned(),
        };
        let production: Vec<_> = file
            .production()
            .iter()
            .map(|(_, line)| line.trim())
            .collect();
        assert_eq!(production, ["a", "b {", "e", "}", "h"]);
    }

    #[test]
    fn tests_are_told_from_production() {
        let source = |path: &str, text: &str| Source {
            path: path.to_owned(),
            text: text.to_owned(),
        };
        let lib = source("a/src/lib.rs", "mod b;\n#[cfg(test)]\nmod fake;\n");
        let all = [lib, source("a/src/fake.rs", ""), source("a/src/b.rs", "")];
        let tests: Vec<_> = all.iter().map(|file| file.is_test(&all)).collect();
        assert_eq!(tests, [false, true, false]);
        assert_eq!(all[0].production(), [(1, "mod b;")]);
        assert!(source("a/src/b/tests.rs", "").is_test(&[]));
        assert!(source("tests/tests/tidy.rs", "").is_test(&[]));
    }
}
