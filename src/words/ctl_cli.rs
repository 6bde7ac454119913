//! The command line of `panzerctl`.
//!
//! `panzerctl [OPTIONS] COMMAND`, with options before or behind COMMAND. What
//! belongs to one command is refused with another. `--help` and `--version`
//! win over whatever else is asked or wrong.

use super::control::{Request, Scale};
use super::pieces::cut;
use super::printable::Quoted;
use super::seconds;
use crate::types::Millis;
use alloc::borrow::ToOwned as _;
use alloc::ffi::CString;
use alloc::format;
use alloc::string::String;
use core::ffi::CStr;

/// The answer to `--help`.
pub const HELP: &str = "\
Usage: panzerctl [OPTIONS] COMMAND
Asks a running panzer what it does, and has it do something else.

  status                 show generations, workers, sockets, the last reload
      --json             as one object of JSON
      --metrics          as OpenMetrics text
      --watch            again every second, until interrupted
  reload                 start a new generation; wait until it is current
  restart                replace main itself, with its processes as they are
  shutdown               stop gracefully; wait until main is gone
  exit                   stop now; wait until main is gone
  scale N|+N|-N          have N workers, or so many more or fewer
  ready                  is a generation ready, and main not stopping?

  -p, --pid FILE         the pid file of that main [tmp/panzer.pid]
  -t, --timeout SECS     wait so long for the answer [for ever]
      --no-wait          ask, and do not wait for what comes of it
  -h, --help, -V, --version

Exit status: 0 done, 1 failed, 2 usage, 3 not running, 4 the timeout ran out.
";

/// The answer to `--version`.
pub const VERSION: &str = concat!("panzerctl ", env!("CARGO_PKG_VERSION"), "\n");

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Ask main.
    Ask(Asking),
    /// Print this and leave.
    Show(&'static str),
}

/// How to ask main, and what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asking {
    /// The command.
    pub request: Request,
    /// `--pid`.
    pub pid_file: Option<CString>,
    /// `--timeout`.
    pub timeout: Option<Millis>,
    /// Whether to wait for the answer: not with `--no-wait`.
    pub wait: bool,
    /// How to show the status.
    pub form: Form,
    /// `--watch`.
    pub watch: bool,
}

/// How to show the status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// For people.
    Tree,
    /// `--json`
    Json,
    /// `--metrics`
    Metrics,
}

/// What the words have said so far.
struct Reader<'a> {
    words: core::slice::Iter<'a, &'a CStr>,
    /// COMMAND, and what stands behind it without a dash.
    plain: [Option<&'a [u8]>; 2],
    asking: Asking,
    show: Option<&'static str>,
}

/// Reads a command line without its first word, the program's own name.
///
/// # Errors
///
/// The first thing that is wrong with it, in one line.
pub fn parse(args: &[&CStr]) -> Result<Wanted, String> {
    let asking = Asking {
        request: Request::Status,
        pid_file: None,
        timeout: None,
        wait: true,
        form: Form::Tree,
        watch: false,
    };
    let mut reader = Reader { words: args.iter(), plain: [None; 2], asking, show: None };
    let mut wrong = Ok(());
    while let Some(word) = reader.words.next() {
        wrong = wrong.and(reader.take(word.to_bytes()));
    }
    match reader.show {
        Some(text) => Ok(Wanted::Show(text)),
        None => wrong.and_then(|()| reader.finish()).map(Wanted::Ask),
    }
}

impl<'a> Reader<'a> {
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
        *free.ok_or_else(|| format!("{} is not expected here", Quoted(word)))? = Some(word);
        Ok(())
    }

    fn set(&mut self, word: &[u8], name: &[u8], joined: Option<&'a [u8]>) -> Result<(), String> {
        let asking = &mut self.asking;
        match name {
            b"pid" => {
                let path = CString::new(self.value("pid", joined)?).ok();
                let path = path.filter(|path| !path.is_empty()).ok_or("--pid: '' is no path")?;
                self.asking.pid_file = Some(path);
                return Ok(());
            }
            b"timeout" => {
                let value = self.value("timeout", joined)?;
                let wrong = || format!("--timeout: {} is not a number of seconds", Quoted(value));
                self.asking.timeout = Some(seconds::parse(value).ok_or_else(wrong)?);
                return Ok(());
            }
            b"no-wait" => asking.wait = false,
            b"json" => asking.form = Form::Json,
            b"metrics" => asking.form = Form::Metrics,
            b"watch" => asking.watch = true,
            b"help" => self.show = Some(HELP),
            b"version" => self.show = self.show.or(Some(VERSION)),
            _ => return Err(format!("there is no option {}", Quoted(word))),
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

    fn finish(self) -> Result<Asking, String> {
        let [command, word] = self.plain;
        let command = command.ok_or("there is no COMMAND; see --help")?;
        let request = match word {
            _ if command == b"scale" => Some(Request::Scale(
                word.and_then(Scale::parse).ok_or("scale takes N, +N or -N, of 1 to 16383")?,
            )),
            Some(word) => return Err(format!("{} is not expected here", Quoted(word))),
            None => Request::plain(command),
        };
        let request = request.ok_or_else(|| format!("there is no command {}", Quoted(command)))?;
        let asking = Asking { request, ..self.asking };
        if request != Request::Status && (asking.form != Form::Tree || asking.watch) {
            return Err("--json, --metrics and --watch belong to status".to_owned());
        }
        Ok(asking)
    }
}

#[cfg(test)]
mod tests {
    use super::{Asking, Form, HELP, VERSION, Wanted, parse};
    use crate::types::Millis;
    use crate::words::control::{Request, Scale};
    use alloc::ffi::CString;
    use alloc::string::String;
    use alloc::vec::Vec;

    fn read(words: &str) -> Result<Wanted, String> {
        let words: Vec<_> =
            words.split_whitespace().map(|word| CString::new(word).expect("no NUL")).collect();
        parse(&words.iter().map(CString::as_c_str).collect::<Vec<_>>())
    }

    fn asking(words: &str) -> Asking {
        match read(words) {
            Ok(Wanted::Ask(asking)) => asking,
            other => panic!("{words}: {other:?}"),
        }
    }

    #[test]
    fn options_stand_before_or_behind_the_command() {
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
        assert_eq!(asking("status --json").form, Form::Json);
        assert!(asking("--watch status").watch);
    }

    #[test]
    fn every_command_is_known() {
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
    fn what_is_wrong_is_named() {
        for (words, why) in [
            ("", "there is no COMMAND; see --help"),
            ("stop", "there is no command 'stop'"),
            ("status now", "'now' is not expected here"),
            ("scale 1 2", "'2' is not expected here"),
            ("scale", "scale takes N, +N or -N, of 1 to 16383"),
            ("scale 0", "scale takes N, +N or -N, of 1 to 16383"),
            ("-3", "there is no command '-3'"),
            ("-x status", "there is no option '-x'"),
            ("--what status", "there is no option '--what'"),
            ("-- status", "there is no option '--'"),
            ("status --json=1", "'--json=1' takes no value"),
            ("reload --watch", "--json, --metrics and --watch belong to status"),
            ("reload --timeout", "--timeout needs a value"),
            ("reload -t x", "--timeout: 'x' is not a number of seconds"),
            ("reload --pid=", "--pid: '' is no path"),
        ] {
            assert_eq!(read(words), Err(why.into()), "{words}");
        }
    }

    #[test]
    fn help_and_version_win() {
        for words in ["-h", "what --help", "--bogus -h", "-V -h"] {
            assert_eq!(read(words), Ok(Wanted::Show(HELP)), "{words}");
        }
        assert_eq!(read("reload -V --bogus"), Ok(Wanted::Show(VERSION)));
        assert_eq!(VERSION, "panzerctl 0.1.0\n");
    }

    #[test]
    fn the_help_fits_on_one_screen() {
        assert!(HELP.lines().count() <= 24);
        assert!(HELP.lines().all(|line| line.chars().count() <= 80));
    }
}
