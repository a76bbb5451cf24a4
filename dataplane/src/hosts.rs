//! Edge. Resolves the names of targets, again and again.

pub mod found;
