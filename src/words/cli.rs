//! The command line of `panzer`.
//!
//! `panzer [OPTIONS] [--] COMMAND [ARGS...]`. A long option takes its value as
//! the next word or after `=`, a short one joined or as the next word; short
//! flags may share a dash. Options end at COMMAND or after `--`, so that what
//! belongs to COMMAND is never taken for ours. `--help` and `--version` win
//! over whatever else is asked or wrong before or after them.
//!
//! The command line is laid over the options that are there already, those of
//! the configuration file: a COMMAND and binds take the place of the file's,
//! every other value that of its own.
//!
//! What the values mean is [`options::set`]'s to say. Bytes of COMMAND, ARGS
//! and paths are kept as they are.

use super::options::{self, Options};
use super::pieces::cut;
use super::printable::Quoted;
use crate::error::{Error, Result};
use alloc::borrow::ToOwned as _;
use core::ffi::CStr;

/// What a command line asks for.
// There is one in a process, and it is taken apart at once.
#[allow(clippy::large_enum_variant)]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Run `command`.
    Run(Options),
    /// Show what would be run with, and leave.
    Check(Options),
    /// Print the help and leave.
    Help,
    /// Print the version and leave.
    Version,
}

/// What an option does with the word after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takes {
    /// It takes a value.
    Value,
    /// It takes none: it sets itself to true.
    Nothing,
    /// It takes none, and asks for the effective values.
    Check,
    /// It takes none, and asks for the help.
    Help,
    /// It takes none, and asks for the version.
    Version,
}

/// One option.
#[derive(Clone, Copy, Debug)]
pub struct Known {
    /// Its name after two dashes.
    pub long: &'static str,
    /// Its letter after one dash, if it has one.
    pub short: Option<u8>,
    /// What it does with the word after it.
    pub takes: Takes,
}

/// An option of the table.
const fn known(long: &'static str, short: Option<u8>, takes: Takes) -> Known {
    Known { long, short, takes }
}

/// Every option there is.
pub const KNOWN: &[Known] = &[
    known("count", Some(b'n'), Takes::Value),
    known("bind", Some(b'b'), Takes::Value),
    known("chdir", Some(b'C'), Takes::Value),
    known("env-file", Some(b'e'), Takes::Value),
    known("timeout", Some(b't'), Takes::Value),
    known("ready", None, Takes::Value),
    known("ready-timeout", None, Takes::Value),
    known("probation", None, Takes::Value),
    known("drain-delay", None, Takes::Value),
    known("delay", None, Takes::Value),
    known("max-delay", None, Takes::Value),
    known("give-up", None, Takes::Value),
    known("pid", Some(b'p'), Takes::Value),
    known("config", Some(b'c'), Takes::Value),
    known("event-fd", None, Takes::Value),
    known("quiet", Some(b'q'), Takes::Nothing),
    known("verbose", Some(b'v'), Takes::Nothing),
    known("check", None, Takes::Check),
    known("help", Some(b'h'), Takes::Help),
    known("version", Some(b'V'), Takes::Version),
];

/// Lays a command line, without its first word, over `options`.
///
/// # Errors
///
/// The first thing that is wrong with it, unless it asks for help or version.
// Inlined into its one caller it would make that frame larger, and with it
// every access to the frame.
#[inline(never)]
pub fn parse(args: &[&CStr], options: Options) -> Result<Request> {
    let mut reader = Reader { options, rest: args, binds: false, check: false };
    let mut wrong = None;
    loop {
        match reader.step() {
            Ok(Step::Took) => {}
            Ok(Step::Help) => return Ok(Request::Help),
            Ok(Step::Version) => return Ok(Request::Version),
            Ok(Step::End) => break,
            // Reads on: help may still be asked for, and wins.
            Err(error) => wrong = wrong.or(Some(error)),
        }
    }
    let mut options = reader.options;
    if !reader.rest.is_empty() {
        options.command = reader.rest.iter().map(|&word| word.to_owned()).collect();
    }
    match wrong {
        Some(error) => Err(error),
        None if reader.check => Ok(Request::Check(options)),
        None => Ok(Request::Run(options)),
    }
}

/// What came of looking at the next word.
enum Step {
    /// An option, or several, with what belongs to them.
    Took,
    /// A question for the help.
    Help,
    /// A question for the version.
    Version,
    /// The options are over; what is left is the command.
    End,
}

/// Reads options off the front of the words.
struct Reader<'a> {
    options: Options,
    rest: &'a [&'a CStr],
    /// Whether a bind of the command line has taken the place of the file's.
    binds: bool,
    check: bool,
}

impl<'a> Reader<'a> {
    /// Reads one word and what belongs to it.
    fn step(&mut self) -> Result<Step> {
        let Some((word, after)) = self.rest.split_first() else { return Ok(Step::End) };
        match word.to_bytes() {
            b"--" => {
                self.rest = after;
                Ok(Step::End)
            }
            [b'-', b'-', text @ ..] => {
                self.rest = after;
                self.take_long(text)
            }
            text @ [b'-', _, ..] => {
                self.rest = after;
                self.take_short(text)
            }
            _ => Ok(Step::End),
        }
    }

    /// Takes what follows two dashes: a name, and perhaps `=` and a value.
    fn take_long(&mut self, text: &'a [u8]) -> Result<Step> {
        let (name, joined) = match cut(text, b'=') {
            Some((name, value)) => (name, Some(value)),
            None => (text, None),
        };
        let Some(known) = KNOWN.iter().find(|known| known.long.as_bytes() == name) else {
            let name = [b"--", name].concat();
            return Err(Error::plain(format_args!("there is no option {}", Quoted(&name))));
        };
        match (known.takes, joined) {
            (Takes::Value, Some(value)) => self.set(known, value),
            (Takes::Value, None) => {
                let value = self.next_value(known)?;
                self.set(known, value)
            }
            (Takes::Nothing | Takes::Check | Takes::Help | Takes::Version, Some(value)) => {
                let (name, value) = (known.long, Quoted(value));
                Err(Error::plain(format_args!("--{name} takes no value, not {value}")))
            }
            (Takes::Nothing, None) => self.set(known, b"true"),
            (Takes::Check, None) => {
                self.check = true;
                Ok(Step::Took)
            }
            (Takes::Help, None) => Ok(Step::Help),
            (Takes::Version, None) => Ok(Step::Version),
        }
    }

    /// Takes a word of one dash and letters, the last perhaps with its value.
    fn take_short(&mut self, word: &'a [u8]) -> Result<Step> {
        let mut letters = word.strip_prefix(b"-").unwrap_or(word);
        while let Some((letter, joined)) = letters.split_first() {
            let Some(known) = KNOWN.iter().find(|known| known.short == Some(*letter)) else {
                return Err(Error::plain(format_args!("there is no option {}", Quoted(word))));
            };
            match known.takes {
                Takes::Value => {
                    let value = if joined.is_empty() { self.next_value(known)? } else { joined };
                    return self.set(known, value);
                }
                Takes::Nothing => {
                    self.set(known, b"true")?;
                }
                // It has no letter.
                Takes::Check => self.check = true,
                Takes::Help => return Ok(Step::Help),
                Takes::Version => return Ok(Step::Version),
            };
            letters = joined;
        }
        Ok(Step::Took)
    }

    /// Takes the next word as the value of `known`.
    fn next_value(&mut self, known: &Known) -> Result<&'a [u8]> {
        let Some((value, after)) = self.rest.split_first() else {
            return Err(Error::plain(format_args!("--{} needs a value", known.long)));
        };
        self.rest = after;
        Ok(value.to_bytes())
    }

    /// Sets an option, or says which one did not like its value.
    fn set(&mut self, known: &Known, value: &[u8]) -> Result<Step> {
        if known.long == "bind" && !self.binds {
            self.binds = true;
            self.options.bind.clear();
        }
        options::set(&mut self.options, known.long, value)
            .map(|()| Step::Took)
            .map_err(|why| Error::plain(format_args!("--{}: {why}", known.long)))
    }
}

#[cfg(test)]
mod tests {
    use super::{Error, KNOWN, Options, Request, Result, Takes, parse};
    use crate::types::{Level, Millis};
    use crate::words::options::{self, Count};
    use alloc::ffi::CString;
    use alloc::string::{String, ToString};
    use alloc::vec::Vec;

    /// Reads these words, which are separated by single spaces.
    fn read(words: &[u8]) -> Result<Request> {
        let words: Vec<_> = words
            .split(|&byte| byte == b' ')
            .filter(|word| !word.is_empty())
            .map(|word| CString::new(word).expect("it has no NUL"))
            .collect();
        parse(&words.iter().map(CString::as_c_str).collect::<Vec<_>>(), Options::default())
    }

    fn run(words: &str) -> Options {
        match read(words.as_bytes()) {
            Ok(Request::Run(options)) => options,
            other => panic!("{words}: {other:?}"),
        }
    }

    fn wrong(words: &str) -> String {
        read(words.as_bytes()).expect_err(words).to_string()
    }

    #[test]
    fn a_value_is_joined_or_the_next_word() {
        for words in ["--count 4 x", "--count=4 x", "-n 4 x", "-n4 x", "-qn4 x", "-qn 4 -- x"] {
            assert_eq!(run(words).count, Some(Count::Fixed(4)), "{words}");
        }
        assert_eq!(run("-n 4 --timeout=.5 x").timeout, Some(Millis(500)));
        assert_eq!(run("--bind=a=unix:/b=c x").bind.remove(0).to_string(), "a=unix:/b=c");
    }

    #[test]
    fn flags_may_share_a_dash_and_the_last_counts() {
        assert_eq!(run("-qv x").verbosity, Level::Debug);
        assert_eq!(run("--verbose -q x").verbosity, Level::Warn);
    }

    #[test]
    fn options_end_at_the_command_or_at_two_dashes() {
        for (words, command) in [
            ("-q ./app -n 4 --help", &[c"./app", c"-n", c"4", c"--help"][..]),
            ("-q -- -x -- y", &[c"-x", c"--", c"y"]),
            ("- -q", &[c"-", c"-q"]),
        ] {
            let options = run(words);
            assert!(options.command.iter().map(CString::as_c_str).eq(command.iter().copied()));
            assert_eq!(options.count, None);
        }
    }

    #[test]
    fn bytes_that_are_no_text_are_kept() {
        let Ok(Request::Run(options)) = read(b"-C /\xff -eb\xfe a\xfd \xfc") else {
            panic!("all of it is right");
        };
        assert_eq!(options.chdir.as_deref(), Some(c"/\xff"));
        assert_eq!(options.env_file.as_deref(), Some(c"b\xfe"));
        assert_eq!(options.command, [CString::from(c"a\xfd"), CString::from(c"\xfc")]);
    }

    #[test]
    fn help_and_version_win_over_everything() {
        for words in ["-h", "--help x", "-n 0 -h", "--what -h", "-q -h -V", "-qh", "-n -n -h"] {
            assert_eq!(read(words.as_bytes()), Ok(Request::Help), "{words}");
        }
        assert_eq!(read(b"-n x --version --bogus"), Ok(Request::Version));
        assert_eq!(run("x -h").command.len(), 2);
    }

    #[test]
    fn a_bad_option_or_value_is_named() {
        for (words, why) in [
            ("-n", "--count needs a value"),
            ("--bind", "--bind needs a value"),
            ("-n 0 x", "--count: '0' is neither auto nor a number from 1 to 16383"),
            ("-n=4 x", "--count: '=4' is neither auto nor a number from 1 to 16383"),
            ("--count= x", "--count: '' is neither auto nor a number from 1 to 16383"),
            ("--quiet=true x", "--quiet takes no value, not 'true'"),
            ("--help=x", "--help takes no value, not 'x'"),
            ("--coun=4 x", "there is no option '--coun'"),
            ("-qz x", "there is no option '-qz'"),
            ("--\n x", r"there is no option '--\x0a'"),
            ("-n 0 -t x y", "--count: '0' is neither auto nor a number from 1 to 16383"),
        ] {
            assert_eq!(wrong(words), why);
        }
    }

    #[test]
    fn options_of_later_versions_are_refused() {
        for name in ["exec", "hang-timeout", "lifetime", "user"] {
            let words = "--".to_string() + name + "=1 x";
            assert_eq!(wrong(&words), "there is no option '--".to_string() + name + "'");
        }
        for word in ["-x", "-u"] {
            assert!(wrong(word).starts_with("there is no option"));
        }
    }

    #[test]
    fn every_option_of_the_table_is_one_that_can_be_set() {
        for known in KNOWN {
            let result = options::set(&mut Options::default(), known.long, b"\0");
            let unknown = |error: Error| error.to_string() == "there is no such option";
            let exists = !result.is_err_and(unknown);
            let is_setting = matches!(known.takes, Takes::Value | Takes::Nothing);
            assert_eq!(exists, is_setting, "{}", known.long);
        }
    }

    #[test]
    fn what_stands_there_already_is_kept_or_replaced() {
        let mut file = Options::default();
        for (key, value) in [("bind", ":1"), ("bind", ":2"), ("count", "3"), ("timeout", "9")] {
            options::set(&mut file, key, value.as_bytes()).expect("it is right");
        }
        file.command = alloc::vec![c"./app".into(), c"-v".into()];
        let words = [c"-b:3", c"--bind=:4", c"--count", c"5"];
        let Ok(Request::Run(both)) = parse(&words, file.clone()) else { panic!("all is right") };
        assert_eq!(
            (both.bind.len(), both.count, both.timeout),
            (2, Some(Count::Fixed(5)), file.timeout)
        );
        assert_eq!(both.command, file.command);
        let Ok(Request::Check(both)) = parse(&[c"--check", c"x"], file.clone()) else {
            panic!("all is right")
        };
        assert_eq!((both.bind, both.command.len()), (file.bind, 1));
    }

    #[test]
    fn no_two_options_share_a_name_or_a_letter() {
        for (index, one) in KNOWN.iter().enumerate() {
            for other in &KNOWN[..index] {
                assert_ne!(one.long, other.long);
                assert!(one.short.is_none() || one.short != other.short, "{}", one.long);
            }
        }
    }
}
