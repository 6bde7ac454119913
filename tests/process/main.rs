//! What the processes promise, each promise by itself, on the real program.
//!
//! * `start`: the first start, and when there is none.
//! * `ready`: who may say that a generation is ready, and how.
//! * `reload`: a new generation takes over.
//! * `broken`: a new version is a bad one, and nothing has happened.
//! * `reuse`: the numbers of processes that are gone.
//! * `signals`: in numbers, and in bad moments.
//! * `stop`: how it ends.
//! * `moments`: how it ends from whatever it is doing.
//! * `frozen`: when somebody cannot be ended.
//! * `deaths`: workers, monitors and main are killed.
//! * `starved`: the kernel kills them, for there is no memory left.
//! * `hang`: a worker that does one thing for ever.
//! * `lifetime`: workers are recycled.
//! * `orphans`: nobody outlives whoever he works for.
//! * `forks`: what happens between a fork and what follows.
//! * `claims`: what is said and handed over on a notify socket.
//! * `clock`: clocks that jump, and pauses in which nobody can run.
//! * `pool`: what the workers of one monitor do.
//! * `scale`: their number.
//! * `sockets`: which sockets are open, and for how long.
//! * `pidfile`: the pid file, and what is not one.
//! * `control`: what is asked over the control socket.
//! * `config`: the configuration file.
//! * `ctl`: what panzerctl does, and how it ends.
//! * `ctl_hostile`: panzerctl and who only says that he is main.
//! * `given`: what a monitor, and what a worker's child, finds.
//! * `told`: the log, and how much of it.
//! * `user`: monitors and workers of another user.
//! * `surroundings`: started under the worst of circumstances.
//! * `connections`: every way in which accept4(2) can disappoint.
//! * `several`: a worker with several listeners.
//! * `above`: with a service manager above, or nobody.
//! * `handover`: what one generation leaves to the next.
//! * `embedded`: main in a program of one's own.
//! * `serving`: a server whose next version may be a bad one.
//! * `keep_alive`: how the HTTP example drains.
//! * `audit`: what they ask the kernel for, and what never.
//! * `order`: in which order they ask for it.
//! * `failing`: what a process is made with fails.
//! * `first`: main as process 1.
//! * `growth`: nothing grows.
//! * `windows`: a signal between two system calls.
//! * `restart`: main is restarted in place, and what it keeps.
//! * `restart_above`: under whoever has started it.
//! * `restart_builds`: by programs of other builds.
//! * `restart_deadlines`: what is due at a time, over restarts.
//! * `restart_broken`: the program that main is to become is a bad one.
//! * `restart_forged`: what says that it is main's state, and is not.
//! * `restart_failing`: what a restart is made with fails.
//! * `restarting`: a main that may be restarted.
//! * `exec`: any program, in as many copies as there are to be workers.
//! * `examples`: they do what they say, and the README too.

#[path = "../harness/mod.rs"]
mod harness;

mod above;
mod audit;
mod broken;
mod claims;
mod clock;
mod config;
mod connections;
mod control;
mod ctl;
mod ctl_hostile;
mod deaths;
mod embedded;
mod examples;
mod exec;
mod failing;
mod first;
mod forks;
mod frozen;
mod given;
mod growth;
mod handover;
mod hang;
mod keep_alive;
mod lifetime;
mod moments;
mod order;
mod orphans;
mod pidfile;
mod pool;
mod ready;
mod reload;
mod restart;
mod restart_above;
mod restart_broken;
mod restart_builds;
mod restart_deadlines;
mod restart_failing;
mod restart_forged;
mod restarting;
mod reuse;
mod scale;
mod serving;
mod several;
mod signals;
mod sockets;
mod start;
mod starved;
mod stop;
mod surroundings;
mod told;
mod user;
mod windows;
