//! Tests of the real programs, one property at a time.
//!
//! * `start`: the first start, and starts that are refused.
//! * `ready`: which processes may report a generation ready, and how.
//! * `reload`: a new generation replaces the old one.
//! * `bad_version`: a new version fails, and the old one keeps serving.
//! * `pid_reuse`: a new process with the number of an old one is never signalled.
//! * `signals`: many at once, and at bad moments.
//! * `stop`: how main stops.
//! * `stop_signal`: the first signal of a stop.
//! * `stop_anytime`: a stop in every state, after any two other requests.
//! * `unkillable`: processes that not even SIGKILL ends.
//! * `deaths`: workers, monitors and main are killed.
//! * `out_of_memory`: the kernel kills a worker or a monitor because memory has run out.
//! * `hang`: workers that make no progress.
//! * `lifetime`: workers are recycled.
//! * `outage`: what the status shows when nothing serves.
//! * `orphans`: no process outlives the one above it.
//! * `fork_exec`: what happens between fork and exec.
//! * `notify_socket`: messages and descriptors sent to main's notify socket.
//! * `clock`: clocks that jump, and pauses in which no process can run.
//! * `pool`: a library monitor and its workers.
//! * `refill`: how the slots of a pool are refilled.
//! * `scale`: the number of workers.
//! * `listeners`: how the sockets of `--bind` are opened.
//! * `first_contact`: what is said to a first-time user.
//! * `final_stop`: which connections are still accepted in a final stop.
//! * `sockets`: which sockets are kept open, and for how long.
//! * `pidfile`: the pid file: its lock, and what is never overwritten or removed.
//! * `control`: requests over the control socket.
//! * `config`: the configuration file.
//! * `ctl`: what panzerctl does, and its exit status.
//! * `status_text`: what panzerctl prints of a status, to the last character.
//! * `ctl_hostile`: panzerctl and a process that only pretends to be main.
//! * `child_environment`: what a monitor and a worker's child inherit.
//! * `log_and_events`: the log, the status on SIGTTIN, events, the notify descriptor.
//! * `user`: monitors and workers that run as another user.
//! * `never_blocks`: no process and no hung file server can block main or flood its log.
//! * `start_conditions`: signals blocked or ignored, descriptors closed, the log full.
//! * `terminal`: main on a controlling terminal, which no process below it has.
//! * `accept_errors`: the errors of accept4(2).
//! * `several_listeners`: a worker that accepts on several listeners.
//! * `tasks`: a worker that accepts as an event loop does, and works in threads.
//! * `announcements`: what main tells a service manager above it.
//! * `descriptor_store`: what a service manager keeps for a main that is killed.
//! * `service_manager`: under a service manager, with and without main.
//! * `handover`: what one generation hands over to the next.
//! * `embedded`: main embedded in an application.
//! * `serving`: a server whose program a test can replace by a broken version.
//! * `keep_alive`: how the HTTP example drains.
//! * `even_shares`: event-driven workers on one socket: which of them takes a connection.
//! * `system_calls`: which system calls are made, by which process.
//! * `system_call_order`: the order of the system calls that the processes make.
//! * `resource_failures`: system calls that are needed to start a process fail.
//! * `process_1`: main as process 1.
//! * `heap`: what main and a monitor take of the heap.
//! * `leaks`: no descriptors, threads, zombies or generations accumulate.
//! * `signal_races`: signals between two chosen system calls.
//! * `restart`: main is restarted in place: what survives.
//! * `restart_above`: under a service manager, with another user, as process 1.
//! * `restart_builds`: between builds of other versions.
//! * `restart_deadlines`: no deadline moves, whatever the number of restarts.
//! * `restart_broken`: a broken program is refused.
//! * `restart_forged`: a forged state is refused.
//! * `restart_failing`: each system call of a restart fails in turn.
//! * `deploy`: the deployment script among the examples.
//! * `restartable`: a main whose own program a test can replace.
//! * `exec`: pools of any program, `-x`.
//! * `release`: which file later workers under `--exec` run, in which directory.
//! * `wrappers`: programs of `--exec` that start other processes.
//! * `examples`: the examples and the README do what they say.

#[path = "../harness/mod.rs"]
mod harness;

mod accept_errors;
mod announcements;
mod bad_version;
mod child_environment;
mod clock;
mod config;
mod control;
mod ctl;
mod ctl_hostile;
mod deaths;
mod deploy;
mod descriptor_store;
mod embedded;
mod even_shares;
mod examples;
mod exec;
mod final_stop;
mod first_contact;
mod fork_exec;
mod handover;
mod hang;
mod heap;
mod keep_alive;
mod leaks;
mod lifetime;
mod listeners;
mod log_and_events;
mod never_blocks;
mod notify_socket;
mod orphans;
mod out_of_memory;
mod outage;
mod pid_reuse;
mod pidfile;
mod pool;
mod process_1;
mod ready;
mod refill;
mod release;
mod reload;
mod resource_failures;
mod restart;
mod restart_above;
mod restart_broken;
mod restart_builds;
mod restart_deadlines;
mod restart_failing;
mod restart_forged;
mod restartable;
mod scale;
mod service_manager;
mod serving;
mod several_listeners;
mod signal_races;
mod signals;
mod sockets;
mod start;
mod start_conditions;
mod status_text;
mod stop;
mod stop_anytime;
mod stop_signal;
mod system_call_order;
mod system_calls;
mod tasks;
mod terminal;
mod unkillable;
mod user;
mod wrappers;
