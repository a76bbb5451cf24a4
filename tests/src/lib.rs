//! The test harness: a place for one test (`lab`), a real Kubernetes in it (`cluster`), our programs
//! as processes (`process`, `programs`), servers and clients for their traffic.
//!
//! ```text
//!  lab::run(Network::Namespace, async |lab| …)     a thread, a network namespace, a folder
//!    ├─ Cluster::start(lab, …)                     etcd, kube-apiserver, kube-controller-manager
//!    ├─ lab.start(&programs::operator()?.args(…))  a process: logs in the folder, gone with the lab
//!    ├─ Server::start("10.77.0.1:0", …)            a backend
//!    ├─ client::…                                  a downstream
//!    └─ eventually(…)                              the only way to wait
//! ```
//!
//! A test never sleeps, never uses a fixed port outside a namespace of its own, and leaves nothing
//! behind: processes die with the thread that started them, even when the test is killed.

pub mod audit;
pub mod chart;
pub mod client;
pub mod cluster;
pub mod detour;
pub mod dns;
pub mod e2e;
pub mod echo;
pub mod eventually;
pub mod fixtures;
pub mod forwarder;
pub mod https;
pub mod lab;
pub mod measure;
pub mod netns;
pub mod payload;
pub mod ports;
pub mod process;
pub mod programs;
pub mod reach;
pub mod reference;
pub mod repository;
pub mod scale;
pub mod secure;
pub mod stage;
pub mod torture;
pub mod traffic;
pub mod tunnel;
pub mod walkthrough;
