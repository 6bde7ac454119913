//! The loop of one worker: it waits, serves what is ready or late, and accepts.
//!
//! It waits in one place, for everything at once. Workers share the listener, and each takes
//! one connection from it in a round; one that holds more connections than the others leaves
//! the next one to them.
//!
//! When told to stop it closes the listener, at once if another generation uses it, and
//! otherwise after all queued connections are accepted. It returns when the last connection
//! is closed.

use panzer::{Context, Level, Listener, MayAccept, Millis, Outcome, Source, Tick};

use crate::connection::{Connection, Moment};

/// How many clients a worker serves at once; more wait in the listener's queue.
const CAPACITY: usize = 512;
/// How long to leave the listener alone when a connection cannot be accepted.
const PAUSE: Millis = Millis(100);
/// How long before the end of a drain all idle connections are closed, so that enough time
/// is left to close them in order.
const MARGIN: Millis = Millis(1_000);

/// One worker's server.
pub struct Server {
    /// `None` when no more clients are to be accepted.
    listener: Option<Listener>,
    connections: Vec<Connection>,
    /// Whether a stop was requested when this round began. Checked in two places, a stop that
    /// comes between them would be lost: the first would still accept, and the second would
    /// no longer wait for the stop descriptor.
    is_stopping: bool,
    /// The listener is left alone until then: accept has failed, or others are to take more.
    pause: Option<Tick>,
    /// Whether the failure of accept was logged.
    is_short: bool,
    delay: Millis,
}

/// The result of a wait.
struct Ready {
    listener: bool,
    /// One for each connection.
    connections: Vec<bool>,
}

impl Server {
    /// A server for the clients of a non-blocking `listener`; an answer takes
    /// it `delay`.
    pub const fn new(listener: Option<Listener>, delay: Millis) -> Self {
        Self {
            listener,
            connections: Vec::new(),
            is_stopping: false,
            pause: None,
            is_short: false,
            delay,
        }
    }

    /// Serves until told to stop and nothing is left to do.
    pub fn run(mut self, ctx: &mut Context) -> Outcome {
        ctx.ready();
        while self.listener.is_some() || !self.connections.is_empty() {
            let ready = self.wait(ctx)?;
            self.is_stopping = ctx.is_stopping();
            let delay = self.delay;
            let mut moment = Moment { ctx, now: panzer::now(), delay };
            self.go_on(&ready, &mut moment);
            self.admit(ready.listener, &mut moment);
            self.forget_closed(moment.ctx);
            if self.connections.iter().any(Connection::is_in_hand) {
                moment.ctx.busy();
            }
        }
        Ok(())
    }

    /// Blocks until something is ready or late, or a stop is requested.
    fn wait(&self, ctx: &Context) -> panzer::Result<Ready> {
        let listener = self.listener.as_ref().filter(|_| self.is_open());
        let mut sources = Vec::with_capacity(self.connections.len() + 2);
        for connection in &self.connections {
            let (socket, read, write) = connection.interest();
            sources.push(Source::new(socket, read, write));
        }
        sources.extend(listener.map(|listener| Source::readable(listener.as_fd())));
        // The stop descriptor stays readable, so a draining worker must not wait for it.
        if !self.is_stopping {
            sources.push(Source::readable(ctx.stop_fd()));
        }
        panzer::wait(&mut sources, self.deadline(ctx))?;

        let (connections, others) = sources.split_at(self.connections.len());
        Ok(Ready {
            listener: listener.is_some() && others[0].is_ready(),
            connections: connections.iter().map(Source::is_ready).collect(),
        })
    }

    /// Whether another client may be accepted now.
    fn is_open(&self) -> bool {
        !self.is_stopping && self.pause.is_none() && self.connections.len() < CAPACITY
    }

    /// When something is late, if nothing happens before.
    fn deadline(&self, ctx: &Context) -> Option<Tick> {
        let limit = drain_limit(ctx);
        let due = self.connections.iter().map(|connection| connection.due(limit));
        due.chain(self.pause).min()
    }

    /// Continues each connection that is ready or late.
    fn go_on(&mut self, ready: &Ready, moment: &mut Moment<'_>) {
        let limit = drain_limit(moment.ctx);
        for (connection, is_ready) in self.connections.iter_mut().zip(&ready.connections) {
            if *is_ready {
                connection.proceed(moment);
            }
            if !connection.is_closed() && connection.due(limit) <= moment.now {
                connection.expire(moment);
            }
        }
        self.pause = self.pause.filter(|pause| *pause > moment.now);
    }

    /// Accepts one client, or in the final drain the whole queue, and closes the listener when
    /// told to stop.
    fn admit(&mut self, is_ready: bool, moment: &mut Moment<'_>) {
        if !self.is_stopping {
            if let (true, Some(listener)) = (is_ready, &self.listener) {
                match moment.ctx.may_accept(listener) {
                    MayAccept::Yes => {
                        self.accept(moment);
                    }
                    MayAccept::LeaveFor(pause) => self.pause = Some(moment.now.after(pause)),
                }
            }
            return;
        }
        // The port is closed with this generation: no other one serves the queue.
        let mut is_queued = moment.ctx.is_final();
        while is_queued && self.pause.is_none() && self.connections.len() < CAPACITY {
            is_queued = self.accept(moment);
        }
        if !is_queued {
            self.listener = None;
        }
    }

    /// Accepts one client; `false` if the queue is empty.
    fn accept(&mut self, moment: &mut Moment<'_>) -> bool {
        let Some(listener) = &self.listener else { return false };
        match moment.ctx.try_accept(listener) {
            Ok(None) => return false,
            Ok(Some((connection, _peer))) => {
                self.is_short = false;
                // The request is usually here already.
                if let Some(mut connection) = Connection::new(connection, moment.now) {
                    connection.proceed(moment);
                    self.connections.push(connection);
                    moment.ctx.connections(self.held());
                }
            }
            // Out of descriptors, or of memory. Present connections must not
            // suffer, and a retry at once would use a whole processor.
            Err(error) => {
                if !self.is_short {
                    panzer::log(Level::Warn, format_args!("{error}; clients have to wait"));
                }
                self.is_short = true;
                self.pause = Some(moment.now.after(PAUSE));
            }
        }
        true
    }

    /// Drops the closed connections, which may make room for others.
    fn forget_closed(&mut self, ctx: &mut Context) {
        let before = self.connections.len();
        self.connections.retain(|connection| !connection.is_closed());
        if self.connections.len() < before {
            self.pause = None;
            ctx.connections(self.held());
        }
    }

    fn held(&self) -> u32 {
        self.connections.len() as u32
    }
}

/// When a drain must have closed all idle connections.
fn drain_limit(ctx: &Context) -> Option<Tick> {
    let end = ctx.deadline()?;
    Some(Tick(end.0.saturating_sub(MARGIN.0)))
}
