//! What the processes promise, each promise by itself, on the real program.
//!
//! * `start`: the first start, and when there is none.
//! * `ready`: who may say that a generation is ready, and how.
//! * `reload`: a new generation takes over, or nothing has happened.
//! * `signals`: in numbers, and in bad moments.
//! * `stop`: how it ends.
//! * `deaths`: workers, monitors and main are killed.
//! * `pool`: what the workers of one monitor do.
//! * `sockets`: which sockets are open, and for how long.
//! * `pidfile`: the pid file, and what is not one.
//! * `control`: what is asked over the control socket.
//! * `ctl`: what panzerctl does, and how it ends.
//! * `ctl_hostile`: panzerctl and who only says that he is main.
//! * `given`: what a monitor, and what a worker's child, finds.
//! * `told`: the log, and how much of it.
//! * `surroundings`: started under the worst of circumstances.
//! * `audit`: what they ask the kernel for, and what never.
//! * `growth`: nothing grows.

#[path = "../harness/mod.rs"]
mod harness;

mod audit;
mod control;
mod ctl;
mod ctl_hostile;
mod deaths;
mod given;
mod growth;
mod pidfile;
mod pool;
mod ready;
mod reload;
mod signals;
mod sockets;
mod start;
mod stop;
mod surroundings;
mod told;
