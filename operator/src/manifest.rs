//! Pure. Text of manifests to objects, and everything that is wrong with it: file, line, column,
//! object, field, value, message, remedy.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::Value;

use crate::index::{Kind, Object};

mod object;
mod scalar;
mod yaml;

use yaml::{Document, Position};

/// An object and where it was written.
#[derive(Clone, Debug, PartialEq)]
pub struct Located {
    /// As it was given.
    pub file: String,
    /// Where its document begins.
    pub line: usize,
    /// The object, its namespace filled in.
    pub object: Object,
}

/// What is wrong in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// As it was given.
    pub file: String,
    /// Counted from 1.
    pub line: usize,
    /// Counted from 1.
    pub column: usize,
    /// `TcpForward shop/web`; empty where no object was recognized.
    pub object: String,
    /// Path of the field; empty for the object as a whole.
    pub field: String,
    /// What is there, cut; empty when there is nothing.
    pub value: String,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub remedy: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: ", self.file, self.line, self.column)?;
        if !self.object.is_empty() {
            write!(f, "{}: ", self.object)?;
        }
        if !self.field.is_empty() {
            write!(f, "{}", self.field)?;
            if !self.value.is_empty() {
                write!(f, " is {}", self.value)?;
            }
            write!(f, ": ")?;
        }
        write!(f, "{}", self.message)?;
        if !self.remedy.is_empty() {
            write!(f, "; {}", self.remedy)?;
        }
        Ok(())
    }
}

/// What a file, or several, hold.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Parsed {
    /// The objects without a finding, in order.
    pub objects: Vec<Located>,
    /// All findings, in order.
    pub findings: Vec<Finding>,
}

/// Reads one file: YAML, which JSON is, too; any number of documents, and Lists of objects.
#[must_use]
pub fn parse(file: &str, text: &str) -> Parsed {
    let mut parsed = Parsed::default();
    let (documents, fault) = yaml::read(text);
    for document in &documents {
        let value = document.root.to_value();
        if value.is_null() {
            continue;
        }
        let mut place = Place {
            file,
            document,
            prefix: "",
            object: String::new(),
        };
        for fault in &document.faults {
            let (message, remedy) = (fault.message.as_str(), fault.remedy);
            let finding = place.at(fault.position, &fault.field, "", message, remedy);
            parsed.findings.push(finding);
        }
        if document.faults.is_empty() {
            object::read(&mut place, value, &mut parsed);
        }
    }
    if let Some(fault) = fault {
        parsed.findings.push(Finding {
            file: file.to_owned(),
            line: fault.position.line,
            column: fault.position.column,
            object: String::new(),
            field: fault.field,
            value: String::new(),
            message: fault.message,
            remedy: fault.remedy.to_owned(),
        });
    }
    gather(vec![parsed])
}

/// Joins files. Of an object that is there twice the first one stays.
#[must_use]
pub fn gather(files: Vec<Parsed>) -> Parsed {
    let mut all = Parsed::default();
    let mut seen: BTreeMap<(Kind, String, String), (String, usize)> = BTreeMap::new();
    for parsed in files {
        all.findings.extend(parsed.findings);
        for located in parsed.objects {
            let (namespace, name) = (located.object.namespace(), located.object.name());
            let key = (located.object.kind(), namespace.to_owned(), name.to_owned());
            match seen.get(&key) {
                Some((file, line)) => all.findings.push(Finding {
                    file: located.file.clone(),
                    line: located.line,
                    column: 1,
                    object: object::title(&located.object),
                    field: "metadata.name".to_owned(),
                    value: format!("{name:?}"),
                    message: format!("the same object is at {file}:{line}, too"),
                    remedy: "take one out, or give it another name".to_owned(),
                }),
                None => {
                    seen.insert(key, (located.file.clone(), located.line));
                    all.objects.push(located);
                }
            }
        }
    }
    all
}

/// Where an object is being read.
struct Place<'a> {
    file: &'a str,
    document: &'a Document,
    /// Path of the object in its document: empty, or an item of a List.
    prefix: &'a str,
    object: String,
}

impl Place<'_> {
    /// A finding about a field of the object.
    fn about(
        &self,
        field: &str,
        value: &str,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Finding {
        let path = match (self.prefix, field) {
            ("", field) => field.to_owned(),
            (prefix, "") => prefix.to_owned(),
            (prefix, field) => format!("{prefix}.{field}"),
        };
        let position = self.document.root.find(&path);
        self.at(position, field, value, message, remedy)
    }

    fn at(
        &self,
        position: Position,
        field: &str,
        value: &str,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Finding {
        Finding {
            file: self.file.to_owned(),
            line: position.line,
            column: position.column,
            object: self.object.clone(),
            field: field.to_owned(),
            value: value.to_owned(),
            message: message.into(),
            remedy: remedy.into(),
        }
    }

    fn line(&self) -> usize {
        self.document.root.find(self.prefix).line
    }
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

#[cfg(test)]
mod tests;
