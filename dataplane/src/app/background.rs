//! Edge. The thread for what goes on beside sessions and beside what operators say.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, RwLock};

use tokio::sync::oneshot;

use crate::connect;
use crate::hosts;
use crate::probe;
use crate::shared::Shared;
use crate::view::View;

/// Resolves names and checks backends until it is dropped.
///
/// On a thread of its own: sessions never wait for a check, and a check is never late because a
/// large set is being read, which would look like a backend that doesn't answer.
#[derive(Debug)]
pub(super) struct Background {
    _stop: oneshot::Sender<()>,
}

impl Background {
    /// Starts the thread.
    ///
    /// # Errors
    /// The host gives no more threads or descriptors.
    pub(super) fn start(
        view: &Arc<RwLock<View>>,
        shared: &Arc<Shared>,
        dns_servers: Vec<SocketAddr>,
    ) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let (stop, stopped) = oneshot::channel();
        let of_tunnels = connect::names::run(Arc::clone(shared), dns_servers.clone());
        let names = hosts::run(Arc::clone(view), Arc::clone(shared), dns_servers);
        let checks = probe::run(Arc::clone(view), Arc::clone(shared));
        let run = async move {
            tokio::select! {
                () = names => {}
                () = of_tunnels => {}
                () = checks => {}
                _ = stopped => {}
            }
        };
        std::thread::Builder::new()
            .name("background".to_owned())
            .spawn({
                let watched = Watched(Arc::clone(shared));
                move || {
                    let _watched = watched;
                    runtime.block_on(run);
                }
            })?;
        Ok(Self { _stop: stop })
    }
}

/// Says so when its thread panics: nobody else would notice that health and names stand still.
struct Watched(Arc<Shared>);

impl Drop for Watched {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.background_died.store(true, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_panic_is_a_death() {
        let died = |panics: bool| {
            let shared = Arc::new(Shared::new(100, 1));
            let watched = Watched(Arc::clone(&shared));
            let thread = std::thread::spawn(move || {
                let _watched = watched;
                assert!(!panics, "as the test wants");
            });
            assert_eq!(thread.join().is_err(), panics);
            shared.background_died.load(Ordering::Relaxed)
        };
        assert!(!died(false));
        assert!(died(true));
    }
}
