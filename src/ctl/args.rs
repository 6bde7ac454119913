//! The command line of `panzerctl`.
//!
//! `panzerctl [OPTIONS] COMMAND`, with options before or behind COMMAND. What
//! belongs to one command is refused with another. `--help` and `--version`
//! win over whatever else is asked or wrong.

use crate::nearest;
use crate::printable::Quoted;
use crate::protocol::control_protocol::{Request, Scale};
use crate::seconds;
use crate::split::cut;
use crate::types::Millis;
use alloc::borrow::ToOwned as _;
use alloc::ffi::CString;
use alloc::format;
use alloc::string::String;
use core::ffi::CStr;

/// The answer to `--help`.
pub const HELP: &str = "\
Usage: panzerctl [OPTIONS] COMMAND
Shows and controls a running panzer.

  status                 show generations, workers, sockets, the last reload
      --json             as one JSON object
      --metrics          as OpenMetrics text
      --watch            every second, until interrupted
  reload                 start a new generation, wait until it is current
  restart                replace the main process only; workers keep running
  shutdown               stop gracefully, wait until main has exited
  exit                   stop now, wait until main has exited
  scale N|+N|-N          set the number of workers, or add or remove N
  ready                  succeed if a worker is ready and main is not stopping

  -p, --pid FILE         pid file of the panzer to control [tmp/panzer.pid]
  -t, --timeout SECS     how long to wait for the result [no limit]
      --no-wait          send the request, do not wait for the result
  -h, --help, -V, --version

Exit status: 0 done, 1 failed, 2 usage error, 3 not running, 4 timed out.
";

/// The answer to `--version`.
pub const VERSION: &str = concat!("panzerctl ", env!("CARGO_PKG_VERSION"), "\n");

/// What stands for COMMAND.
const COMMANDS: [&str; 7] = ["status", "reload", "restart", "shutdown", "exit", "scale", "ready"];
/// The options, as they are suggested.
const OPTIONS: [&str; 8] =
    ["pid", "timeout", "no-wait", "json", "metrics", "watch", "help", "version"];

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Ask main.
    Ask(Args),
    /// Print this and leave.
    Show(&'static str),
}

/// How to ask main, and what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Args {
    pub request: Request,
    pub pid_file: Option<CString>,
    pub timeout: Option<Millis>,
    /// Whether to wait for the answer: not with `--no-wait`.
    pub wait: bool,
    /// How to show the status.
    pub form: Format,
    pub watch: bool,
}

/// How to show the status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// For people.
    Tree,
    Json,
    Metrics,
}

/// What the words have said so far.
struct ArgReader<'a> {
    words: core::slice::Iter<'a, &'a CStr>,
    /// COMMAND, and what stands behind it without a dash.
    plain: [Option<&'a [u8]>; 2],
    asking: Args,
    show: Option<&'static str>,
}

/// Reads a command line without its first word, the program's own name.
///
/// # Errors
///
/// The first thing that is wrong with it, in one line.
pub fn parse(args: &[&CStr]) -> Result<Wanted, String> {
    let asking = Args {
        request: Request::Status,
        pid_file: None,
        timeout: None,
        wait: true,
        form: Format::Tree,
        watch: false,
    };
    let mut reader = ArgReader { words: args.iter(), plain: [None; 2], asking, show: None };
    let mut wrong = Ok(());
    while let Some(word) = reader.words.next() {
        wrong = wrong.and(reader.take(word.to_bytes()));
    }
    match reader.show {
        Some(text) => Ok(Wanted::Show(text)),
        None => wrong.and_then(|()| reader.finish()).map(Wanted::Ask),
    }
}

impl<'a> ArgReader<'a> {
    fn take(&mut self, word: &'a [u8]) -> Result<(), String> {
        match word {
            [b'-', digit, ..] if digit.is_ascii_digit() => self.take_plain(word),
            [b'-', b'-', name @ ..] => {
                let joined = cut(name, b'=');
                let name = joined.map_or(name, |(name, _)| name);
                self.set(word, name, joined.map(|(_, value)| value))
            }
            [b'-', letter, joined @ ..] => {
                let name: &[u8] = match letter {
                    b'p' => b"pid",
                    b't' => b"timeout",
                    b'h' => b"help",
                    b'V' => b"version",
                    _ => b"",
                };
                self.set(word, name, Some(joined).filter(|joined| !joined.is_empty()))
            }
            b"-" => self.set(word, b"", None),
            _ => self.take_plain(word),
        }
    }

    fn take_plain(&mut self, word: &'a [u8]) -> Result<(), String> {
        let free = self.plain.iter_mut().find(|place| place.is_none());
        *free.ok_or_else(|| format!("unexpected argument {}", Quoted(word)))? = Some(word);
        Ok(())
    }

    fn set(&mut self, word: &[u8], name: &[u8], joined: Option<&'a [u8]>) -> Result<(), String> {
        let asking = &mut self.asking;
        match name {
            b"pid" => {
                let path = CString::new(self.value("pid", joined)?).ok();
                let path = path
                    .filter(|path| !path.is_empty())
                    .ok_or("--pid: the path must not be empty")?;
                self.asking.pid_file = Some(path);
                return Ok(());
            }
            b"timeout" => {
                let value = self.value("timeout", joined)?;
                let wrong = || {
                    format!(
                        "--timeout: invalid value {}, expected a number of seconds",
                        Quoted(value)
                    )
                };
                self.asking.timeout = Some(seconds::parse(value).ok_or_else(wrong)?);
                return Ok(());
            }
            b"no-wait" => asking.wait = false,
            b"json" => asking.form = Format::Json,
            b"metrics" => asking.form = Format::Metrics,
            b"watch" => asking.watch = true,
            b"help" => self.show = Some(HELP),
            b"version" => self.show = self.show.or(Some(VERSION)),
            _ => {
                let name = if word.starts_with(b"--") { name } else { b"" };
                return Err(unknown("option", word, name, &OPTIONS));
            }
        }
        match joined {
            Some(_) => Err(format!("{} takes no value", Quoted(word))),
            None => Ok(()),
        }
    }

    fn value(&mut self, name: &str, joined: Option<&'a [u8]>) -> Result<&'a [u8], String> {
        let next = joined.or_else(|| self.words.next().map(|word| word.to_bytes()));
        next.ok_or_else(|| format!("--{name} needs a value"))
    }

    fn finish(self) -> Result<Args, String> {
        let [command, word] = self.plain;
        let command = command.ok_or("no COMMAND given, as in 'panzerctl status'; see --help")?;
        let request = match word {
            _ if command == b"scale" => Some(Request::Scale(
                word.and_then(Scale::parse)
                    .ok_or("scale needs N, +N or -N, with N from 1 to 16383")?,
            )),
            Some(word) => return Err(format!("unexpected argument {}", Quoted(word))),
            None => Request::plain(command),
        };
        let request = request.ok_or_else(|| unknown("command", command, command, &COMMANDS))?;
        let asking = Args { request, ..self.asking };
        if request != Request::Status && (asking.form != Format::Tree || asking.watch) {
            return Err("--json, --metrics and --watch are for status only".to_owned());
        }
        Ok(asking)
    }
}

/// The error that there is no such option or command.
fn unknown(what: &str, word: &[u8], name: &[u8], names: &'static [&'static str]) -> String {
    // Systemd's name for it.
    let name = if name == b"stop" { b"shutdown" } else { name };
    nearest::unknown(what, (word, name), &mut names.iter().copied(), "panzerctl")
}

#[cfg(test)]
mod tests {
    use super::{Args, COMMANDS, Format, HELP, OPTIONS, VERSION, Wanted, parse};
    use crate::protocol::control_protocol::{Request, Scale};
    use crate::types::Millis;
    use alloc::ffi::CString;
    use alloc::format;
    use alloc::string::String;
    use alloc::vec::Vec;

    fn read(words: &str) -> Result<Wanted, String> {
        let words: Vec<_> =
            words.split_whitespace().map(|word| CString::new(word).expect("no NUL")).collect();
        parse(&words.iter().map(CString::as_c_str).collect::<Vec<_>>())
    }

    fn asking(words: &str) -> Args {
        match read(words) {
            Ok(Wanted::Ask(asking)) => asking,
            other => panic!("{words}: {other:?}"),
        }
    }

    #[test]
    fn options_can_precede_or_follow_the_command() {
        for words in [
            "--pid=x -t2 reload --no-wait",
            "reload --timeout 2 -p x --no-wait",
            "-px --no-wait -t 2 reload",
        ] {
            let asking = asking(words);
            assert_eq!((asking.request, asking.wait), (Request::Reload, false), "{words}");
            assert_eq!(asking.timeout, Some(Millis(2_000)), "{words}");
            assert_eq!(asking.pid_file.as_deref(), Some(c"x"), "{words}");
        }
        assert_eq!(asking("status --json").form, Format::Json);
        assert_eq!(asking("status --metrics").form, Format::Metrics);
        assert!(asking("--watch status").watch);
    }

    #[test]
    fn every_command_is_parsed_and_in_the_help() {
        for (word, request) in [
            ("status", Request::Status),
            ("reload", Request::Reload),
            ("restart", Request::Restart),
            ("shutdown", Request::Shutdown),
            ("exit", Request::Exit),
            ("ready", Request::Ready),
            ("scale 4", Request::Scale(Scale::To(4))),
            ("scale +7", Request::Scale(Scale::More(7))),
            ("scale -3", Request::Scale(Scale::Less(3))),
        ] {
            assert_eq!(asking(word).request, request);
            let line = HELP.lines().any(|line| line.trim_start().starts_with(&word[..4]));
            assert!(line, "{word} is not in the help");
        }
    }

    #[test]
    fn names_that_are_suggested_are_known() {
        let options = OPTIONS.map(|name| format!("--{name}"));
        for name in COMMANDS.into_iter().chain(options.iter().map(String::as_str)) {
            if let Err(reason) = read(name) {
                assert!(!reason.starts_with("unknown "), "{reason}");
            }
        }
    }

    #[test]
    fn error_names_the_bad_argument() {
        for (words, reason) in [
            ("", "no COMMAND given, as in 'panzerctl status'; see --help"),
            ("stop", "unknown command 'stop', did you mean shutdown?"),
            ("relod", "unknown command 'relod', did you mean reload?"),
            ("dance", "unknown command 'dance'; panzerctl --help lists them"),
            ("--jsn status", "unknown option '--jsn', did you mean --json?"),
            ("status --no-wiat=x", "unknown option '--no-wiat=x', did you mean --no-wait?"),
            ("status now", "unexpected argument 'now'"),
            ("scale 1 2", "unexpected argument '2'"),
            ("scale", "scale needs N, +N or -N, with N from 1 to 16383"),
            ("scale 0", "scale needs N, +N or -N, with N from 1 to 16383"),
            ("-3", "unknown command '-3'; panzerctl --help lists them"),
            ("-x status", "unknown option '-x'; panzerctl --help lists them"),
            ("--what status", "unknown option '--what'; panzerctl --help lists them"),
            ("-- status", "unknown option '--'; panzerctl --help lists them"),
            ("- status", "unknown option '-'; panzerctl --help lists them"),
            ("status --json=1", "'--json=1' takes no value"),
            ("reload --watch", "--json, --metrics and --watch are for status only"),
            ("reload --timeout", "--timeout needs a value"),
            ("reload -t x", "--timeout: invalid value 'x', expected a number of seconds"),
            ("reload --pid=", "--pid: the path must not be empty"),
        ] {
            assert_eq!(read(words), Err(reason.into()), "{words}");
        }
    }

    #[test]
    fn help_and_version_override_all_other_arguments() {
        for words in ["-h", "what --help", "--bogus -h", "-V -h"] {
            assert_eq!(read(words), Ok(Wanted::Show(HELP)), "{words}");
        }
        assert_eq!(read("reload -V --bogus"), Ok(Wanted::Show(VERSION)));
        assert_eq!(VERSION, "panzerctl 0.1.0\n");
    }

    #[test]
    fn help_fits_on_one_screen() {
        assert!(HELP.lines().count() <= 24);
        assert!(HELP.lines().all(|line| line.chars().count() <= 80));
    }
}
