//! What every program of ours does the same way: logs, signals, metrics, and the pages that tell
//! people and probes how it is.

pub mod causes;
pub mod duration;
pub mod log;
pub mod metric;
pub mod pages;
pub mod signal;
pub mod start;
