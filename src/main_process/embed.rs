//! Main in a program of one's own: [`Main`] and [`supervise`].
//!
//! What is set here becomes words of panzer(1)'s command line, which main reads
//! as it reads an operator's: so there is one main, and one reader of options.

use super::startup;
use crate::error::{Error, Result, cannot};
use crate::log;
use crate::main_process::executable;
use crate::monitor::{Monitor, refuse_threads};
use crate::printable::Quoted;
use crate::shared::listener;
use crate::sys::{env, process, signal};
use crate::types::Signal;
use crate::worker::Worker;
use alloc::boxed::Box;
use alloc::ffi::CString;
use alloc::vec::Vec;
use core::ffi::CStr;
use core::{iter, result};

/// The exit status when main cannot be set up.
const FAILED: u8 = 1;
/// The exit status when it is told what it cannot do.
const USAGE: u8 = 2;

/// The whole of the program `panzer`, in a program of one's own: keeps the
/// listening sockets and replaces generations of a command.
///
/// It is made of words of panzer(1)'s command line. Options, the configuration
/// file, the pid file with its control socket, signals and the log are those of
/// that program, and so is what is said of mistakes. What is set here counts as
/// the command line, and so wins over the file.
///
/// # Examples
///
/// A main for one server, which would be `panzer -q --timeout=5 -- ./app --flag`:
///
/// ```no_run
/// fn main() -> std::process::ExitCode {
///     let main = panzer::Main::new(["./app", "--flag"]).option("timeout", "5").flag("quiet");
///     main.run().into()
/// }
/// ```
///
/// An operator's own words may come in too. What they come to is shown by
/// `check`, as by `panzer --check`:
///
/// ```standalone_crate
/// use std::os::unix::ffi::OsStringExt;
///
/// let words = std::env::args_os().map(OsStringExt::into_vec);
/// assert_eq!(panzer::Main::new(words).option("count", "auto").flag("check").run(), 0);
/// ```
///
/// What is wrong is one line on standard error and status 2; with a second thread
/// there it is status 1:
///
/// ```standalone_crate
/// assert_eq!(panzer::Main::new(["./app"]).option("timeout", "soon").run(), 2);
/// assert_eq!(panzer::Main::new(["./a\0pp"]).run(), 2);
/// std::thread::spawn(std::thread::park);
/// assert_eq!(panzer::Main::new(["./app"]).flag("check").run(), 1);
/// ```
#[derive(Clone, Debug)]
pub struct Main {
    /// Options, each as one word.
    options: Vec<Vec<u8>>,
    /// COMMAND and its ARGS; `None` is this program itself.
    command: Option<Vec<Vec<u8>>>,
}

impl Main {
    /// Main over `command`: the program and its words, of which none may hold a
    /// NUL. Without any the command is that of the configuration file.
    #[must_use]
    pub fn new<C>(command: C) -> Self
    where
        C: IntoIterator,
        C::Item: Into<Vec<u8>>,
    {
        let command = command.into_iter().map(Into::into).collect();
        Self { options: Vec::new(), command: Some(command) }
    }

    /// Main over this very program, with the words that it was started with: for
    /// [`supervise`](Self::supervise).
    ///
    /// Every generation is started from the path that this process was started
    /// from, so a reload runs the file that stands there then.
    #[must_use]
    pub const fn itself() -> Self {
        Self { options: Vec::new(), command: None }
    }

    /// Sets a long option of panzer(1), without its dashes, as `--NAME=VALUE` does:
    /// `option("ready-timeout", "5")`. `bind` may stand several times; of every
    /// other option the last value counts. [`run`](Self::run) says what is wrong
    /// with it.
    #[must_use]
    pub fn option(mut self, name: &str, value: impl Into<Vec<u8>>) -> Self {
        let value: Vec<u8> = value.into();
        self.options.push([b"--", name.as_bytes(), b"=", &value].concat());
        self
    }

    /// Sets a flag of panzer(1), without its dashes, as `--NAME` does:
    /// `flag("quiet")`.
    #[must_use]
    pub fn flag(mut self, name: &str) -> Self {
        self.options.push([b"--", name.as_bytes()].concat());
        self
    }

    /// Becomes main, and blocks until it is stopped. Returns the exit status of
    /// panzer(1), with which the process is to leave.
    ///
    /// Call it first of all, and leave when it returns: the process is main's
    /// alone, and what main has made of it is not taken back. Main
    ///
    /// * lets signals through only while it waits and reaps, catches SIGTERM, SIGINT, SIGQUIT, SIGHUP,
    ///   SIGUSR1, SIGUSR2, SIGCHLD, SIGTTIN and SIGVTALRM, and ignores SIGTTOU,
    ///   SIGWINCH, SIGPIPE and SIGXFSZ. What was ignored before is ignored in COMMAND,
    ///   but for SIGPIPE: Rust's runtime has ignored that one, and COMMAND finds it at
    ///   its default, as below `std::process::Command`;
    /// * reaps every child, also those that others have made, and orphans come to
    ///   it (`PR_SET_CHILD_SUBREAPER`);
    /// * opens /dev/null on those of the descriptors 0 to 2 that are closed, and
    ///   takes over the sockets of a service manager (sd_listen_fds(3)); it
    ///   closes nothing else, and hands nothing else down;
    /// * names the process `panzer:main`, and writes the log as main.
    ///
    /// The environment, the working directory and the umask stay as they are. SIGUSR2
    /// executes the program that this process runs, with its own words; and with the
    /// option `exec` each generation is this program, with the words of COMMAND as its
    /// own. Both have to come to this call again. Needs `/proc`.
    ///
    /// # Errors
    ///
    /// They are exit statuses, each with one line on standard error: 2 for a word
    /// that is wrong, and 1 when main cannot be set up. That is so, too, when the
    /// process has more than one thread, or the kernel does not say how many, and
    /// when it has opened a listener, or run a pool, of its own before.
    #[must_use]
    pub fn run(self) -> u8 {
        match self.prepare() {
            Ok((own, words)) => {
                // Before main notes what is ignored.
                signal::reset(Signal::Pipe);
                startup::run(own, words)
            }
            Err((status, reason)) => {
                log::plainly(&reason);
                status
            }
        }
    }

    /// Main and its monitor in one program: see [`supervise`], which is
    /// `Main::itself().supervise(make)`.
    ///
    /// What the operator is to have is set before:
    ///
    /// ```no_run
    /// # fn main() -> panzer::Result<()> {
    /// let main = panzer::Main::itself().option("pid", "/run/hello.pid").option("timeout", "5");
    /// main.supervise(|| {
    ///     let listener = panzer::listen("127.0.0.1:8080")?;
    ///     let hello = move |context: &mut panzer::Context| {
    ///         while context.accept(&listener)?.is_some() {}
    ///         Ok(())
    ///     };
    ///     Ok(panzer::Monitor::new(hello))
    /// })
    /// # }
    /// ```
    ///
    /// A command of [`new`](Self::new) has to come to this program again, perhaps by
    /// another path, and become it without a wrapper that stays.
    ///
    /// # Errors
    ///
    /// As those of [`supervise`].
    pub fn supervise<W, E>(
        self,
        make: impl FnOnce() -> result::Result<Monitor<W>, E>,
    ) -> result::Result<(), E>
    where
        W: Worker,
        E: From<Error>,
    {
        if !listener::is_below_main() {
            // Nothing of the application's is to run on the way out either.
            process::exit_now(self.run());
        }
        if env::take(c"PANZER_EXEC").is_some() {
            Err(Error::plain(format_args!(
                "supervise cannot be used with 'exec': the monitor is this program itself"
            )))?;
        }
        make()?.run()?;
        Ok(())
    }

    /// The words of this process and those for main, or with what to leave and why.
    fn prepare(self) -> result::Result<(Words, Words), (u8, Error)> {
        let (own, command) = make_room(self.command).map_err(|reason| (FAILED, reason))?;
        let words = iter::once(b"panzer".into()).chain(self.options);
        let words = words.chain(iter::once(b"--".into())).chain(command);
        let words: Result<Vec<_>> = words.map(word).collect();
        Ok((own, leak(words.map_err(|reason| (USAGE, reason))?)))
    }
}

/// Makes sure that this process may become main; its own words, and the command.
fn make_room(command: Option<Vec<Vec<u8>>>) -> Result<(Words, Vec<Vec<u8>>)> {
    refuse_threads("and the main process must have only one")?;
    if listener::is_given() {
        return Err(Error::plain(format_args!(
            "cannot become the main process: the program has opened a listener or run a pool \
             before Main::run or supervise"
        )));
    }
    let own = env::arguments().map_err(cannot("read the command line of this program"))?;
    let own = leak(own);
    let command = match command {
        Some(command) => command,
        None => itself(own, &executable::start_directory()?),
    };
    Ok((own, command))
}

/// This program as a command: where its image stands, and its own words.
fn itself(own: Words, start: &CStr) -> Vec<Vec<u8>> {
    let path = executable::path_of_image(own, start).into_bytes();
    iter::once(path).chain(own.iter().skip(1).map(|word| word.to_bytes().into())).collect()
}

fn word(bytes: Vec<u8>) -> Result<CString> {
    CString::new(bytes).map_err(|error| {
        Error::plain(format_args!("{} contains a NUL byte", Quoted(&error.into_vec())))
    })
}

/// Words as main has them: it lives as long as the process, and looks at them
/// again and again.
type Words = &'static [&'static CStr];

fn leak(words: Vec<CString>) -> Words {
    let leak = |word: CString| -> &'static CStr { Box::leak(word.into_boxed_c_str()) };
    words.into_iter().map(leak).collect::<Vec<_>>().leak()
}

/// Makes of one program a server that can be replaced while it runs: main, and
/// the monitor that main starts.
///
/// Started by itself the process becomes main, and starts this same program as its
/// monitor: from the path that it was started from itself, so that a reload runs
/// the newest file, with the same words and environment. In the process that main
/// has started, `make` opens the listeners and makes the [`Monitor`], which then
/// runs. `make` is called there alone: main loads nothing of the application, so
/// that nothing of it can break main. Make this call the first of the program:
/// what stands before it runs in main too.
///
/// To the operator the program is panzer(1): the signals, `panzerctl` and the
/// configuration file are the same. Options stand in `config/panzer.yml`, or are
/// set with [`Main::itself`], all but `exec`; the pid file and its control socket are
/// in `tmp/` if there is one. The words of the command line are the application's own.
///
/// Below `panzer` itself, or another main, the program is just the monitor: it is
/// main only where `PANZER_MAIN` is not in its environment. Where that names
/// another process than the parent a wrapper stands between; the program runs
/// alone then, and says so.
///
/// # Examples
///
/// ```no_run
/// use panzer::{Context, Monitor};
/// use std::error::Error;
/// use std::io::Write as _;
/// use std::net::TcpStream;
///
/// fn main() -> Result<(), Box<dyn Error>> {
///     panzer::supervise(|| {
///         let listener = panzer::listen("127.0.0.1:8080")?;
///         let hello = move |context: &mut Context| {
///             while let Some((connection, _peer)) = context.accept(&listener)? {
///                 // A client that has hung up is no reason to end the worker.
///                 let _ = TcpStream::from(connection).write_all(b"HTTP/1.0 200 OK\r\n\r\nhello\n");
///             }
///             Ok(())
///         };
///         Ok(Monitor::new(hello).count(4))
///     })
/// }
/// ```
///
/// # Errors
///
/// In the monitor what `make` says, and what [`Monitor::run`] says. Main never
/// returns: it leaves with the exit status of panzer(1), by _exit(2), so that no
/// destructor and no atexit(3) handler of the application runs in it. What keeps it
/// from becoming main is one line on standard error, as for [`Main::run`].
pub fn supervise<W, E>(
    make: impl FnOnce() -> result::Result<Monitor<W>, E>,
) -> result::Result<(), E>
where
    W: Worker,
    E: From<Error>,
{
    Main::itself().supervise(make)
}
