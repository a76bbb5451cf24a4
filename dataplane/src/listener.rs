//! Edge. One accept loop: wait for a connection, wait for descriptors, accept, start a session, here or
//! on a worker that has less to do.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tcpforward_protocol::snapshot::TcpOptions;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::task::JoinSet;

use crate::drain::Phase;
use crate::handover::{Exchange, Newcomer, Placed};
use crate::served::Served;
use crate::session::{self, Session};
use crate::shared::{Context, Shared};
use crate::socket::{self, Stream};
use crate::workers::Listen;

/// How long a listener rests after an accept error. The socket stays readable, so without a pause
/// the loop would spin until somebody closes something.
const PAUSE: Duration = Duration::from_millis(100);

/// How long a listener that stops may wait for descriptors for what is queued still.
const LAST_ACCEPTS: Duration = Duration::from_secs(1);

/// Accepts until the phase says otherwise, then ends when the last session has.
pub async fn run(listen: Listen, context: Context) {
    let Listen {
        socket,
        served,
        exchange,
        multipath,
        tuned,
        mut phase,
        holding,
    } = listen;
    let mut sessions = Sessions {
        multipath,
        served,
        context,
        exchange,
        tasks: JoinSet::new(),
    };
    match socket::watch(socket, Interest::READABLE) {
        Ok(listener) => {
            accept_all(&listener, &mut sessions, tuned, &mut phase).await;
            sessions.take_the_last().await;
            // What has been queued was promised a session; closing would reset it.
            // Not watched any more, so that the close follows the last accept at once.
            let listener = listener.into_inner();
            let emptied = accept_the_rest(&listener, &mut sessions);
            if tokio::time::timeout(LAST_ACCEPTS, emptied).await.is_err() {
                tracing::warn!(forward = %sessions.served.name,
                    "out of descriptors, connections that wait are reset");
            }
        }
        Err(error) => {
            tracing::error!(forward = %sessions.served.name, %error, "a worker can't watch a listener");
        }
    }
    drop(holding);
    sessions.end().await;
    // Until here its owner knew that sessions are left.
    drop(phase);
}

struct Sessions {
    /// Whether the listener speaks Multipath TCP.
    multipath: bool,
    served: Arc<Served>,
    context: Context,
    exchange: Exchange,
    tasks: JoinSet<()>,
}

async fn accept_all(
    listener: &AsyncFd<TcpListener>,
    sessions: &mut Sessions,
    tuned: watch::Receiver<TcpOptions>,
    phase: &mut watch::Receiver<Phase>,
) {
    let shared = Arc::clone(&sessions.context.shared);
    let mut stopped = pin!(stopped(phase));
    let mut tuned = pin!(changed(tuned));
    // All outlive the turns of the loop: a wait for descriptors keeps its place, and to begin to wait for
    // what hardly ever happens costs more than a session's turn.
    let mut accepting = pin!(next(listener, &shared));
    loop {
        let started = tokio::select! {
            () = &mut stopped => return,
            Some(ended) = sessions.tasks.join_next() => {
                log_panic(ended);
                sessions.reap();
                continue;
            }
            mut receiver = &mut tuned => {
                tune(listener.get_ref(), &receiver.borrow_and_update(), sessions);
                tuned.set(changed(receiver));
                continue;
            }
            Some(newcomer) = sessions.exchange.next() => sessions.start(newcomer),
            accepted = &mut accepting => {
                accepting.set(next(listener, &shared));
                accepted.and_then(|accepted| sessions.place(accepted))
            }
        };
        match started {
            Ok(()) => {}
            // The client has gone between its SYN and our accept.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => {
                sessions.note(&error);
                tokio::select! {
                    () = &mut stopped => return,
                    () = tokio::time::sleep(PAUSE) => {}
                }
            }
        }
    }
}

/// Completes when other options are wanted.
async fn changed(mut tuned: watch::Receiver<TcpOptions>) -> watch::Receiver<TcpOptions> {
    if tuned.changed().await.is_err() {
        // Whoever could want others is gone.
        std::future::pending::<()>().await;
    }
    tuned
}

/// They were tried before, so this is news: the kernel has changed its mind.
fn tune(listener: &TcpListener, tcp: &TcpOptions, sessions: &Sessions) {
    if let Err(error) = socket::tune(listener, tcp) {
        tracing::warn!(forward = %sessions.served.name, %error, "a listener keeps former options");
    }
}

/// A connection, who it is from, and room for its sockets.
type Accepted = (TcpStream, SocketAddr, Option<OwnedSemaphorePermit>);

/// Accepts until none waits any more.
async fn accept_the_rest(listener: &TcpListener, sessions: &mut Sessions) {
    loop {
        let permit = sessions.context.shared.session_descriptors().await;
        let Ok((stream, client)) = socket::accept(listener) else {
            return;
        };
        if let Err(error) = sessions.keep((stream, client, permit)) {
            sessions.note(&error);
        }
    }
}

async fn next(listener: &AsyncFd<TcpListener>, shared: &Shared) -> io::Result<Accepted> {
    loop {
        let mut ready = listener.readable().await?;
        // While the process is near its limit, connections wait in the kernel's queue.
        let permit = shared.session_descriptors().await;
        match ready.try_io(|fd| socket::accept(fd.get_ref())) {
            Ok(accepted) => {
                let (stream, client) = accepted?;
                return Ok((stream, client, permit));
            }
            Err(_would_block) => {}
        }
    }
}

/// Completes when the listener must not accept any more.
async fn stopped(phase: &mut watch::Receiver<Phase>) {
    // An owner that went away without a word has stopped as well.
    let _ = phase.wait_for(|phase| *phase != Phase::Accept).await;
}

impl Sessions {
    /// Starts a session, or lets another worker do it that has much less to do.
    fn place(&mut self, (stream, client, descriptors): Accepted) -> io::Result<()> {
        let Context { worker, shared } = &self.context;
        let place = shared.loads.place(*worker, fastrand::usize(..));
        if place == *worker {
            return self.keep((stream, client, descriptors));
        }
        let newcomer = Newcomer {
            stream,
            client,
            descriptors,
            placed: Placed::on(place, shared),
        };
        match self.exchange.give(newcomer) {
            Ok(()) => {
                shared.handed_over.fetch_add(1, Ordering::Relaxed);
                Ok(())
            }
            // That one stops already, as this one will.
            Err(kept) => self.keep((kept.stream, kept.client, kept.descriptors)),
        }
    }

    fn keep(&mut self, (stream, client, descriptors): Accepted) -> io::Result<()> {
        let Context { worker, shared } = &self.context;
        let placed = Placed::on(*worker, shared);
        self.start(Newcomer {
            stream,
            client,
            descriptors,
            placed,
        })
    }

    fn start(&mut self, newcomer: Newcomer) -> io::Result<()> {
        let Newcomer {
            stream,
            client,
            descriptors,
            placed,
        } = newcomer;
        if self.multipath {
            socket::take_urgent_in_line(&stream);
        }
        let session = Session {
            stream: Stream::watch(stream, self.multipath)?,
            client,
            served: Arc::clone(&self.served),
            context: placed,
            descriptors,
        };
        self.tasks.spawn(session::run(session));
        Ok(())
    }

    /// A connection that can't be accepted, or not be watched.
    fn note(&self, error: &io::Error) {
        let shared = &self.context.shared;
        shared.accept_errors.fetch_add(1, Ordering::Relaxed);
        if shared.may_log() {
            tracing::warn!(forward = %self.served.name, %error,
                exhausted = socket::is_exhausted(error), "can't accept, trying on");
        }
    }

    /// Starts those that are on their way from other workers; later ones stay where they are.
    async fn take_the_last(&mut self) {
        self.exchange.close();
        while let Some(newcomer) = self.exchange.next().await {
            if let Err(error) = self.start(newcomer) {
                self.note(&error);
            }
        }
    }

    /// Forgets those that have ended.
    fn reap(&mut self) {
        while let Some(ended) = self.tasks.try_join_next() {
            log_panic(ended);
        }
    }

    /// Waits for the sessions.
    async fn end(mut self) {
        while let Some(ended) = self.tasks.join_next().await {
            log_panic(ended);
        }
    }
}

fn log_panic(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "a session died of a fault of ours");
    }
}

#[cfg(test)]
mod tests;
