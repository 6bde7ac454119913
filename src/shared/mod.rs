//! What several processes hold at once, or do alike.
//!
//! * [`listener`]: the application's listening sockets, inherited or bound.
//! * [`listening_socket`]: binding one, and closing one for good.
//! * [`inherited`]: what a monitor was given by the process above it.
//! * [`scoreboard`]: the table in shared memory of a generation, with a row of
//!   [`scoreboard_rows`] a process; [`scoreboard_copy`], as panzerctl is given it.
//! * [`even_share`]: which of the workers of a socket takes the next connection.
//! * [`inbox`]: a datagram socket that strangers write to.
//! * [`closer`]: a child that closes what strangers sent.
//! * [`rate_limit`]: log lines that others can cause.
//! * [`oom_kills`]: how many processes the kernel has killed for want of memory.

pub mod closer;
pub mod even_share;
pub mod inbox;
pub mod inherited;
pub mod listener;
pub mod listening_socket;
pub mod oom_kills;
pub mod rate_limit;
pub mod scoreboard;
pub mod scoreboard_copy;
pub mod scoreboard_rows;
