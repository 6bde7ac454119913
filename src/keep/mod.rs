//! Things held: what a role keeps between two turns of its loop.
//!
//! * [`log`]: the log and the events, which never wait.
//! * [`socket`]: opening a listening socket, and letting it go for good.
//! * [`inherited`]: what a monitor was given by the process above it.
//! * [`pidfile`]: the file that says which process main is.
//! * [`control`]: the socket that operators ask over.
//! * [`listeners`]: main's store of listening sockets.
//! * [`kills`]: whom the kernel has killed for want of memory.
//! * [`processors`]: how many of them there are for us.
//! * [`board`]: the table in shared memory that a generation is watched by.
//! * [`snapshot`]: a copy of it, as panzerctl is given.
//!
//! Knows `words` and `sys`; decides nothing.

pub mod board;
pub mod control;
pub mod inherited;
pub mod kills;
pub mod listeners;
pub mod log;
pub mod pidfile;
pub mod processors;
pub mod snapshot;
pub mod socket;
