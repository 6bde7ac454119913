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
//! What the values mean is [`Options::set`]'s to say. Bytes of COMMAND, ARGS
//! and paths are kept as they are.

use super::option_table;
use crate::config::option_table::{KNOWN, OptionSpec, Options, ValueKind};
use crate::error::{Error, Result};
use crate::printable::Quoted;
use crate::split::cut;
use alloc::borrow::ToOwned as _;
use core::ffi::CStr;

/// What a command line asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Invocation {
    /// Run `command`.
    Run,
    /// Show what would be run with, and leave.
    Check,
    /// Print the help and leave.
    Help,
    /// Print the version and leave.
    Version,
}

/// Lays a command line, without its first word, over `options`.
///
/// # Errors
///
/// The first thing that is wrong with it, unless it asks for help or version.
pub fn parse(args: &[&CStr], options: &mut Options) -> Result<Invocation> {
    let mut reader = WordReader { options, rest: args, binds: false, request: Invocation::Run };
    let mut wrong = Ok(());
    loop {
        match reader.step() {
            Ok(true) => {}
            Ok(false) => break,
            // Reads on: help may still be asked for, and wins.
            Err(error) => wrong = wrong.and(Err(error)),
        }
    }
    if matches!(reader.request, Invocation::Run | Invocation::Check) {
        wrong?;
    }
    if !reader.rest.is_empty() {
        reader.options.command = reader.rest.iter().map(|&word| word.to_owned()).collect();
    }
    Ok(reader.request)
}

/// Reads options off the front of the words.
struct WordReader<'a, 'o> {
    options: &'o mut Options,
    rest: &'a [&'a CStr],
    /// Whether a bind of the command line has taken the place of the file's.
    binds: bool,
    request: Invocation,
}

impl<'a> WordReader<'a, '_> {
    /// Reads one word and what belongs to it; says whether there may be more.
    fn step(&mut self) -> Result<bool> {
        let Some((word, after)) = self.rest.split_first() else { return Ok(false) };
        let word = word.to_bytes();
        let [b'-', text @ ..] = word else { return Ok(false) };
        if text.is_empty() {
            return Ok(false);
        }
        self.rest = after;
        match text {
            b"-" => return Ok(false),
            [b'-', ..] => self.take_long(word)?,
            letters => self.take_short(word, letters)?,
        }
        Ok(matches!(self.request, Invocation::Run | Invocation::Check))
    }

    /// Takes a word of two dashes and a name, and perhaps `=` and a value.
    fn take_long(&mut self, word: &'a [u8]) -> Result<()> {
        let joined = cut(word, b'=');
        let name = joined.map_or(word, |(name, _)| name);
        let known = name.get(2..).and_then(option_table::place_of).map(|place| &KNOWN[place]);
        let Some(known) = known.filter(|known| known.takes.on_a_line()) else {
            return Err(unknown(name));
        };
        match joined {
            Some((_, value)) if !known.takes.a_value() => {
                let (name, value) = (known.long, Quoted(value));
                Err(Error::plain(format_args!("--{name}: takes no value, got {value}")))
            }
            _ => self.take(known, joined.map(|(_, value)| value)),
        }
    }

    /// Takes a word of one dash and letters, the last perhaps with its value.
    fn take_short(&mut self, word: &[u8], mut letters: &'a [u8]) -> Result<()> {
        while let Some((letter, joined)) = letters.split_first() {
            // Those without a letter have a NUL, which no word holds.
            let Some(known) = KNOWN.iter().find(|known| known.short == *letter) else {
                return Err(unknown(word));
            };
            if known.takes.a_value() {
                return self.take(known, Some(joined).filter(|joined| !joined.is_empty()));
            }
            self.take(known, None)?;
            letters = joined;
        }
        Ok(())
    }

    /// Takes an option with its value, which may be the next word.
    fn take(&mut self, known: &OptionSpec, joined: Option<&[u8]>) -> Result<()> {
        let name = known.long;
        let value = match (known.takes, joined) {
            (ValueKind::Check, _) => return self.ask(Invocation::Check),
            (ValueKind::Help, _) => return self.ask(Invocation::Help),
            (ValueKind::Version, _) => return self.ask(Invocation::Version),
            (ValueKind::Level(_) | ValueKind::Exec, _) => b"true",
            (_, Some(value)) => value,
            (_, None) => match self.rest.split_first() {
                Some((value, after)) => {
                    self.rest = after;
                    value.to_bytes()
                }
                None => return Err(Error::plain(format_args!("--{name} needs a value"))),
            },
        };
        if matches!(known.takes, ValueKind::Bind) && !self.binds {
            self.binds = true;
            self.options.bind.clear();
        }
        let set = self.options.set(known, value);
        set.map_err(|reason| Error::plain(format_args!("--{name}: {reason}")))
    }

    /// Notes a question; of several the first one that ends the reading wins.
    fn ask(&mut self, request: Invocation) -> Result<()> {
        if matches!(self.request, Invocation::Run | Invocation::Check) {
            self.request = request;
        }
        Ok(())
    }
}

/// An objection to an option.
fn unknown(word: &[u8]) -> Error {
    let name = word.strip_prefix(b"--").unwrap_or_default();
    option_table::unknown("option", word, name, ValueKind::on_a_line)
}

#[cfg(test)]
mod tests {
    use super::{Invocation, KNOWN, Options, Result, parse};
    use crate::config::option_table::{Count, Number, PathOption};
    use crate::types::Level;
    use alloc::ffi::CString;
    use alloc::string::{String, ToString};
    use alloc::vec::Vec;

    /// Reads these words, which are separated by single spaces.
    fn read(words: &[u8]) -> Result<(Invocation, Options)> {
        let words: Vec<_> = words
            .split(|&byte| byte == b' ')
            .filter(|word| !word.is_empty())
            .map(|word| CString::new(word).expect("it has no NUL"))
            .collect();
        let mut options = Options::default();
        let request = parse(&words.iter().map(CString::as_c_str).collect::<Vec<_>>(), &mut options);
        request.map(|request| (request, options))
    }

    fn run(words: &str) -> Options {
        match read(words.as_bytes()) {
            Ok((Invocation::Run, options)) => options,
            other => panic!("{words}: {other:?}"),
        }
    }

    fn asks(words: &str) -> Invocation {
        read(words.as_bytes()).expect(words).0
    }

    fn wrong(words: &str) -> String {
        read(words.as_bytes()).expect_err(words).to_string()
    }

    #[test]
    fn option_value_is_attached_or_the_next_argument() {
        for words in ["--count 4 x", "--count=4 x", "-n 4 x", "-n4 x", "-qn4 x", "-qn 4 -- x"] {
            assert_eq!(run(words).count(), Some(Count::Fixed(4)), "{words}");
        }
        assert_eq!(run("-n 4 --timeout=.5 x").number(Number::Timeout), Some(500));
        assert_eq!(run("--bind=a=unix:/b=c x").bind.remove(0).to_string(), "a=unix:/b=c");
    }

    #[test]
    fn short_flags_can_be_joined_and_the_last_one_wins() {
        assert_eq!(run("-qv x").verbosity, Level::Debug);
        assert_eq!(run("--verbose -q x").verbosity, Level::Warn);
        assert!(run("-qxn4 x").exec() && run("--exec x").exec() && !run("-q x").exec());
    }

    #[test]
    fn options_end_at_the_command_or_at_a_double_dash() {
        for (words, command) in [
            ("-q ./app -n 4 --help", &[c"./app", c"-n", c"4", c"--help"][..]),
            ("-q -- -x -- y", &[c"-x", c"--", c"y"]),
            ("- -q", &[c"-", c"-q"]),
        ] {
            let options = run(words);
            assert!(options.command.iter().map(CString::as_c_str).eq(command.iter().copied()));
            assert_eq!(options.count(), None);
        }
    }

    #[test]
    fn bytes_that_are_not_utf8_are_kept() {
        let Ok((Invocation::Run, options)) = read(b"-C /\xff -eb\xfe a\xfd \xfc") else {
            panic!("all arguments are valid");
        };
        assert_eq!(options.path(PathOption::Chdir), Some(c"/\xff"));
        assert_eq!(options.path(PathOption::EnvFile), Some(c"b\xfe"));
        assert_eq!(options.command, [CString::from(c"a\xfd"), CString::from(c"\xfc")]);
    }

    #[test]
    fn help_and_version_override_all_other_options() {
        for words in ["-h", "--help x", "-n 0 -h", "--what -h", "-q -h -V", "-qh", "-n -n -h"] {
            assert_eq!(asks(words), Invocation::Help, "{words}");
        }
        assert_eq!(asks("-n x --version --bogus"), Invocation::Version);
        assert_eq!(asks("--check -h"), Invocation::Help);
        assert_eq!(asks("-q --check x -h"), Invocation::Check);
        assert_eq!(run("x -h").command.len(), 2);
    }

    #[test]
    fn error_names_the_bad_option_or_value() {
        for (words, reason) in [
            ("-n", "--count needs a value"),
            ("--bind", "--bind needs a value"),
            ("-n 0 x", "--count: invalid value '0', expected auto or a number from 1 to 16383"),
            ("-n=4 x", "--count: invalid value '=4', expected auto or a number from 1 to 16383"),
            ("--count= x", "--count: invalid value '', expected auto or a number from 1 to 16383"),
            ("--quiet=true x", "--quiet: takes no value, got 'true'"),
            ("--exec=true x", "--exec: takes no value, got 'true'"),
            ("--help=x", "--help: takes no value, got 'x'"),
            ("--coun=4 x", "unknown option '--coun', did you mean --count?"),
            ("--hang_timeout=4 x", "unknown option '--hang_timeout', did you mean --hang-timeout?"),
            ("--command=x", "unknown option '--command'; panzer --help lists them"),
            ("--foo=bar x", "unknown option '--foo'; panzer --help lists them"),
            ("-qz x", "unknown option '-qz'; panzer --help lists them"),
            ("--\n x", r"unknown option '--\x0a'; panzer --help lists them"),
            (
                "-n 0 -t x y",
                "--count: invalid value '0', expected auto or a number from 1 to 16383",
            ),
        ] {
            assert_eq!(wrong(words), reason);
        }
    }

    #[test]
    fn unknown_options_are_refused() {
        for (name, meant) in
            [("hang", "hang-timeout"), ("life-time", "lifetime"), ("lifetimes", "lifetime")]
        {
            let words = "--".to_string() + name + "=1 x";
            let reason = alloc::format!("unknown option '--{name}', did you mean --{meant}?");
            assert_eq!(wrong(&words), reason);
        }
    }

    #[test]
    fn command_line_replaces_values_of_the_file() {
        let mut file = Options::default();
        for (long, value) in [("bind", ":1"), ("bind", ":2"), ("count", "3"), ("timeout", "9")] {
            let known = KNOWN.iter().find(|known| known.long == long).expect(long);
            file.set(known, value.as_bytes()).expect("it is right");
        }
        file.command = alloc::vec![c"./app".into(), c"-v".into()];
        let mut both = file.clone();
        assert_eq!(
            parse(&[c"-b:3", c"--bind=:4", c"--count", c"5"], &mut both),
            Ok(Invocation::Run)
        );
        assert_eq!((both.bind.len(), both.count()), (2, Some(Count::Fixed(5))));
        assert_eq!(both.number(Number::Timeout), file.number(Number::Timeout));
        assert_eq!(both.command, file.command);
        let mut both = file.clone();
        assert_eq!(parse(&[c"--check", c"x"], &mut both), Ok(Invocation::Check));
        assert_eq!((both.bind, both.command.len()), (file.bind, 1));
    }

    #[test]
    fn option_names_and_letters_are_unique() {
        for (index, one) in KNOWN.iter().enumerate() {
            for other in &KNOWN[..index] {
                assert_ne!(one.long, other.long);
                assert!(one.short == 0 || one.short != other.short, "{}", one.long);
            }
        }
    }
}
