//! Pure. YAML to values that know where they were written, within bounds.

use std::collections::{BTreeMap, BTreeSet};

use granit_parser::{Event, Parser, ScalarStyle, ScanError, Span};
use serde_json::Value;

use super::scalar;

/// Where something begins; both counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Position {
    pub(super) line: usize,
    pub(super) column: usize,
}

/// What is wrong with the YAML as such.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) position: Position,
    pub(super) field: String,
    pub(super) message: String,
    pub(super) remedy: &'static str,
}

/// A document and what is wrong with it.
#[derive(Clone, Debug)]
pub(super) struct Document {
    pub(super) root: Node,
    pub(super) faults: Vec<Fault>,
}

/// A value and where it begins; in a mapping that is where its key begins.
#[derive(Clone, Debug)]
pub(super) struct Node {
    position: Position,
    content: Content,
}

#[derive(Clone, Debug)]
enum Content {
    List(Vec<Node>),
    Map(Vec<(String, Node)>),
    Scalar(Value),
}

impl Node {
    pub(super) fn to_value(&self) -> Value {
        match &self.content {
            Content::List(nodes) => nodes.iter().map(Self::to_value).collect(),
            Content::Map(entries) => entries
                .iter()
                .map(|(key, node)| (key.clone(), node.to_value()))
                .collect(),
            Content::Scalar(value) => value.clone(),
        }
    }

    /// Where `spec.relay.targets[0].name` begins, or the last part of it that is there.
    pub(super) fn find(&self, path: &str) -> Position {
        let mut node = self;
        for part in path.split(['.', '[']).filter(|part| !part.is_empty()) {
            let part = part.trim_end_matches(']');
            let child = match &node.content {
                Content::List(nodes) => part.parse().ok().and_then(|i: usize| nodes.get(i)),
                Content::Map(entries) => entries.iter().find(|(k, _)| k == part).map(|(_, n)| n),
                Content::Scalar(_) => None,
            };
            match child {
                Some(child) => node = child,
                None => break,
            }
        }
        node.position
    }

    fn size(&self) -> usize {
        1 + match &self.content {
            Content::List(nodes) => nodes.iter().map(Self::size).sum(),
            Content::Map(entries) => entries.iter().map(|(_, node)| node.size()).sum(),
            Content::Scalar(_) => 0,
        }
    }
}

/// All documents up to the first fault that makes the rest unreadable.
pub(super) fn read(text: &str) -> (Vec<Document>, Option<Fault>) {
    let mut reader = Reader {
        open: Vec::new(),
        anchors: BTreeMap::new(),
        nodes: 0,
        done: Vec::new(),
        faults: Vec::new(),
    };
    let options = granit_parser::options! { emit_comments: false };
    for next in Parser::new_from_str_with_options(text, options) {
        let step = match next {
            Ok((event, span)) => reader.take(event, span),
            Err(error) => Err(unreadable(&error)),
        };
        if let Err(fault) = step {
            return (reader.done, Some(fault));
        }
    }
    (reader.done, None)
}

fn unreadable(error: &ScanError) -> Fault {
    let marker = error.marker();
    Fault {
        position: Position {
            line: marker.line(),
            column: marker.col() + 1,
        },
        field: String::new(),
        message: format!("this is not YAML: {}", error.info()),
        remedy: "look for a wrong indent, an open quote or bracket, or a tab",
    }
}

/// A collection whose end has not come yet.
struct Open {
    position: Position,
    anchor: usize,
    content: Content,
    /// In a mapping, the key whose value comes next.
    key: Option<(String, Position)>,
    /// The keys so far.
    keys: BTreeSet<String>,
}

struct Reader {
    open: Vec<Open>,
    anchors: BTreeMap<usize, Node>,
    nodes: usize,
    done: Vec<Document>,
    faults: Vec<Fault>,
}

impl Reader {
    fn take(&mut self, event: Event<'_>, span: Span) -> Result<(), Fault> {
        let position = Position {
            line: span.start.line(),
            column: span.start.col() + 1,
        };
        match event {
            Event::DocumentStart(..) => {
                self.anchors.clear();
                Ok(())
            }
            Event::SequenceStart(_, anchor, _) => {
                self.begin(position, anchor, Content::List(Vec::new()))
            }
            Event::MappingStart(_, anchor, _) => {
                self.begin(position, anchor, Content::Map(Vec::new()))
            }
            Event::SequenceEnd | Event::MappingEnd => match self.open.pop() {
                Some(open) => self.add(
                    Node {
                        position: open.position,
                        content: open.content,
                    },
                    open.anchor,
                ),
                None => Ok(()),
            },
            Event::Scalar(text, style, anchor, tag) => {
                let told =
                    tag.is_some_and(|tag| tag.is_yaml_core_schema() && tag.suffix() == "str");
                let value = match style {
                    ScalarStyle::Plain if !told && !self.wants_key() => scalar::plain(&text),
                    _ => Value::String(text.into_owned()),
                };
                self.add(
                    Node {
                        position,
                        content: Content::Scalar(value),
                    },
                    anchor,
                )
            }
            Event::Alias(id) => match self.anchors.get(&id).cloned() {
                Some(node) => {
                    self.count(position, node.size())?;
                    self.add(Node { position, ..node }, 0)
                }
                None => Err(beyond(
                    position,
                    "an alias stands for something that contains it",
                )),
            },
            _ => Ok(()),
        }
    }

    fn wants_key(&self) -> bool {
        let top = self.open.last();
        top.is_some_and(|open| matches!(open.content, Content::Map(_)) && open.key.is_none())
    }

    fn begin(&mut self, position: Position, anchor: usize, content: Content) -> Result<(), Fault> {
        if self.open.len() >= DEPTH {
            return Err(beyond(position, "the document is nested too deeply"));
        }
        self.open.push(Open {
            position,
            anchor,
            content,
            key: None,
            keys: BTreeSet::new(),
        });
        Ok(())
    }

    fn count(&mut self, position: Position, nodes: usize) -> Result<(), Fault> {
        self.nodes += nodes;
        match self.nodes > NODES {
            true => Err(beyond(position, "the file holds too many values")),
            false => Ok(()),
        }
    }

    /// A whole value: the document itself, an item, a key, or what belongs to a key.
    fn add(&mut self, node: Node, anchor: usize) -> Result<(), Fault> {
        self.count(node.position, 1)?;
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        let Some(open) = self.open.last_mut() else {
            let faults = std::mem::take(&mut self.faults);
            self.done.push(Document { root: node, faults });
            return Ok(());
        };
        let entries = match &mut open.content {
            Content::List(nodes) => {
                nodes.push(node);
                return Ok(());
            }
            Content::Map(entries) => entries,
            Content::Scalar(_) => return Ok(()),
        };
        let Some((key, position)) = open.key.take() else {
            let Content::Scalar(Value::String(key)) = node.content else {
                return Err(beyond(node.position, "a key must be a plain text"));
            };
            open.key = Some((key, node.position));
            return Ok(());
        };
        let twice = !open.keys.insert(key.clone());
        if twice || key == "<<" {
            self.faults.push(Fault {
                position,
                message: match twice {
                    true => format!("the key {key:?} is there twice"),
                    false => "merge keys are not supported".to_owned(),
                },
                remedy: match twice {
                    true => "take one out",
                    false => "write the fields out",
                },
                field: key,
            });
        } else {
            entries.push((key, Node { position, ..node }));
        }
        Ok(())
    }
}

fn beyond(position: Position, message: &str) -> Fault {
    Fault {
        position,
        field: String::new(),
        message: message.to_owned(),
        remedy: "write it out in a simpler way, or split the file",
    }
}

/// Deeper than any manifest, shallow enough for every walk over a value.
const DEPTH: usize = 64;

/// Values of one file, those that aliases repeat included: some 64 MiB at most.
const NODES: usize = 1_000_000;
