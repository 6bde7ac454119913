//! What the operator asked for: the value of every option, and its default.
//!
//! [`KNOWN`] is the one table of all options: what the command line and the
//! configuration file take, what is shown, and where each value is kept. A value
//! that is set twice is what was said last; only `bind` collects.
//!
//! Some values are handed down to the application only where the operator set
//! them, so each is kept as what was set, and the default stands in the table.

use crate::error::{Error, Result};
use crate::nearest;
use crate::persist::persisted;
use crate::printable::Quoted;
use crate::protocol::address::Bind;
use crate::split::cut;
use crate::types::{Account, Backoff, Level, Millis, Slot, StopSignal};
use crate::{decimal, seconds};
use alloc::ffi::CString;
use alloc::vec::Vec;
use core::ffi::CStr;
use core::fmt;

/// An option that is a number, or a length of time in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Number {
    /// Workers, as [`Options::count`] says; unset leaves it to the application.
    Count,
    /// How long a graceful stop may take before SIGINT follows SIGTERM.
    Timeout,
    /// What [`Options::ready_after`] says.
    Ready,
    /// How long a generation may take to become ready.
    ReadyTimeout,
    /// How long a ready generation may still be rolled back.
    Probation,
    /// How long to go on serving once a stop was asked for.
    DrainDelay,
    /// The wait before the second repair in a row; 0 means no wait.
    Delay,
    /// The longest wait before a repair, before jitter.
    MaxDelay,
    /// Failed starts in a row before leaving; 0 means never.
    GiveUp,
    /// How long a worker may be busy with one thing; 0 means for ever.
    HangTimeout,
    /// After how long a worker is recycled; 0 means never.
    Lifetime,
    /// The descriptor for events; perhaps not open.
    EventFd,
    /// The descriptor that is told when the first generation is current; perhaps not open.
    NotifyFd,
    /// 1 where COMMAND is what each worker runs, and the monitor is panzer's own.
    Exec,
    /// The permissions of the Unix sockets that main binds.
    SocketMode,
    /// What [`Options::stop_signal`] says.
    StopSignal,
}

/// How many workers there are to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Count {
    /// So many, 1 to [`Slot::LAST`].
    Fixed(u16),
    /// As many as there are processors for us, counted anew for each generation.
    Auto,
}

/// The number that stands for `auto`: a pool has at least one worker.
const AUTO: u16 = 0;
/// The number that stands for `notify`: no process lives so long.
const NOTIFY: u64 = u64::MAX;
/// How long a program lives that knows nothing of readiness.
const LIFE: Millis = Millis(1_000);

/// The probation of what is ready because it has lived for some time: it has shown
/// no more than that.
const LONG_PROBATION: Millis = Millis(5_000);

/// How many numbers there are, by the last of them. What else a new option needs stands
/// in docs/design.md, "Adding an option": `VERSION` of main's saved state is what no
/// compiler asks for.
const NUMBERS: usize = Number::StopSignal as usize + 1;

impl Number {
    /// What it is where it was not set, if that says anything.
    pub const fn default(self) -> Option<u64> {
        Some(match self {
            Self::Timeout | Self::ReadyTimeout => 60_000,
            Self::Probation => 1_000,
            Self::DrainDelay | Self::HangTimeout | Self::Lifetime => 0,
            Self::Delay => Backoff::USUAL.delay.0,
            Self::MaxDelay => Backoff::USUAL.max_delay.0,
            Self::GiveUp => 5,
            Self::StopSignal => StopSignal::Term as u64,
            Self::Count
            | Self::Ready
            | Self::EventFd
            | Self::NotifyFd
            | Self::Exec
            | Self::SocketMode => return None,
        })
    }
}

/// An option that is a path, or another word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathOption {
    /// Where generations run; unset, it is where main was started.
    Chdir,
    /// What to add to a generation's environment.
    EnvFile,
    /// The pid file; unset, it is the default place, if that is there.
    Pid,
    /// The file that the rest comes from; unset, it is the usual one.
    Config,
    /// No path but `USER[:GROUP]`: the user of generations; unset, main's own.
    User,
}

/// What an option does with the word after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueKind {
    /// It takes a number of workers, or `auto`.
    Count,
    /// It takes a number up to this.
    Number(Number, u32),
    /// It takes seconds.
    Seconds(Number),
    /// It takes permissions in octal.
    Mode(Number),
    /// It takes the name of a signal.
    Signal,
    /// It takes seconds, or `notify`.
    Ready,
    /// It takes a path.
    Path(PathOption),
    /// It takes an address, and may stand several times.
    Bind,
    /// It takes none, and sets the least grave level that is logged.
    Level(Level),
    /// It takes none, and says what COMMAND is.
    Exec,
    /// It is what remains of the command line, or a list of the file.
    Command,
    /// It takes none, and asks for the effective values.
    Check,
    /// It takes none, and asks for the help.
    Help,
    /// It takes none, and asks for the version.
    Version,
}

impl ValueKind {
    /// Whether a value follows the option.
    pub const fn a_value(self) -> bool {
        !matches!(self, Self::Level(_) | Self::Exec | Self::Check | Self::Help | Self::Version)
    }

    /// Whether it stands on the command line with two dashes.
    pub const fn on_a_line(self) -> bool {
        !matches!(self, Self::Command)
    }

    /// Whether the configuration file may set it.
    pub const fn in_a_file(self) -> bool {
        !matches!(self, Self::Path(PathOption::Config) | Self::Check | Self::Help | Self::Version)
    }
}

#[derive(Clone, Copy, Debug)]
pub struct OptionSpec {
    /// Its name after two dashes, and in the file.
    pub long: &'static str,
    /// Its letter after one dash; 0 if it has none.
    pub short: u8,
    /// What it does with the word after it.
    pub takes: ValueKind,
}

const fn known(long: &'static str, short: u8, takes: ValueKind) -> OptionSpec {
    OptionSpec { long, short, takes }
}

/// Every option there is.
pub const KNOWN: &[OptionSpec] = &[
    known("count", b'n', ValueKind::Count),
    known("exec", b'x', ValueKind::Exec),
    known("bind", b'b', ValueKind::Bind),
    known("socket-mode", 0, ValueKind::Mode(Number::SocketMode)),
    known("chdir", b'C', ValueKind::Path(PathOption::Chdir)),
    known("env-file", b'e', ValueKind::Path(PathOption::EnvFile)),
    known("timeout", b't', ValueKind::Seconds(Number::Timeout)),
    known("stop-signal", 0, ValueKind::Signal),
    known("ready", 0, ValueKind::Ready),
    known("ready-timeout", 0, ValueKind::Seconds(Number::ReadyTimeout)),
    known("probation", 0, ValueKind::Seconds(Number::Probation)),
    known("drain-delay", 0, ValueKind::Seconds(Number::DrainDelay)),
    known("delay", 0, ValueKind::Seconds(Number::Delay)),
    known("max-delay", 0, ValueKind::Seconds(Number::MaxDelay)),
    known("give-up", 0, ValueKind::Number(Number::GiveUp, u32::MAX)),
    known("hang-timeout", 0, ValueKind::Seconds(Number::HangTimeout)),
    known("lifetime", 0, ValueKind::Seconds(Number::Lifetime)),
    known("user", b'u', ValueKind::Path(PathOption::User)),
    known("pid", b'p', ValueKind::Path(PathOption::Pid)),
    known("config", b'c', ValueKind::Path(PathOption::Config)),
    known("event-fd", 0, ValueKind::Number(Number::EventFd, i32::MAX.unsigned_abs())),
    known("notify-fd", 0, ValueKind::Number(Number::NotifyFd, i32::MAX.unsigned_abs())),
    known("quiet", b'q', ValueKind::Level(Level::Warn)),
    known("verbose", b'v', ValueKind::Level(Level::Debug)),
    known("command", 0, ValueKind::Command),
    known("check", 0, ValueKind::Check),
    known("help", b'h', ValueKind::Help),
    known("version", b'V', ValueKind::Version),
];

/// Where the option with this long name stands in the table.
pub fn place_of(long: &[u8]) -> Option<usize> {
    KNOWN.iter().position(|known| known.long.as_bytes() == long)
}

/// The error that there is no such option or key, with the nearest of those that `may_be`
/// meant.
pub fn unknown(what: &str, word: &[u8], name: &[u8], may_be: fn(ValueKind) -> bool) -> Error {
    let mut names = KNOWN.iter().filter(|known| may_be(known.takes)).map(|known| known.long);
    let reason = nearest::unknown(what, (word, name), &mut names, "panzer");
    Error::plain(format_args!("{reason}"))
}

/// The value of every option.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// COMMAND and its ARGS.
    pub command: Vec<CString>,
    /// The sockets to open, in their order.
    pub bind: Vec<Bind>,
    /// The least grave level that is logged.
    pub verbosity: Level,
    /// The account of [`PathOption::User`], once it was looked up.
    pub account: Option<Account>,
    numbers: [Option<u64>; NUMBERS],
    paths: [Option<CString>; 5],
}

persisted! { struct Options { command, bind, verbosity, account, numbers, paths } }

impl Default for Options {
    fn default() -> Self {
        Self {
            command: Vec::new(),
            bind: Vec::new(),
            verbosity: Level::Info,
            numbers: [None; NUMBERS],
            account: None,
            paths: [const { None }; 5],
        }
    }
}

impl Options {
    /// A number as it was set.
    pub const fn number(&self, which: Number) -> Option<u64> {
        self.numbers[which as usize]
    }

    /// A number as it was set, or its default; 0 without either.
    pub fn effective(&self, which: Number) -> u64 {
        let is_ready_by_time = which == Number::Probation && self.ready_after().is_some();
        let usual = if is_ready_by_time { Some(LONG_PROBATION.0) } else { which.default() };
        self.number(which).or(usual).unwrap_or(0)
    }

    /// A length of time as it was set, or its default.
    pub fn span(&self, which: Number) -> Millis {
        Millis(self.effective(which))
    }

    /// The first word behind COMMAND that would be an option of ours before it.
    pub fn misplaced(&self) -> Option<&[u8]> {
        let words = self.command.iter().skip(1).map(|word| word.to_bytes());
        words.into_iter().find(|word| match word {
            [b'-', b'-', long @ ..] => place_of(cut(long, b'=').map_or(long, |(name, _)| name))
                .is_some_and(|place| KNOWN[place].takes.on_a_line()),
            [b'-', letter] => KNOWN.iter().any(|known| known.short == *letter),
            _ => false,
        })
    }

    /// Whether COMMAND is what each worker runs.
    pub fn exec(&self) -> bool {
        self.effective(Number::Exec) == 1
    }

    /// What COMMAND is stays as it was.
    pub const fn keep_exec(&mut self, before: &Self) {
        self.numbers[Number::Exec as usize] = before.number(Number::Exec);
    }

    /// How long a generation, or with `--exec` each worker, lives until it is
    /// ready; `None`: it has to say so.
    pub fn ready_after(&self) -> Option<Millis> {
        match self.number(Number::Ready) {
            None => self.exec().then_some(LIFE),
            Some(NOTIFY) => None,
            Some(span) => Some(Millis(span)),
        }
    }

    /// The first signal of a stop, for what does not know this library.
    pub fn stop_signal(&self) -> StopSignal {
        StopSignal::at(self.effective(Number::StopSignal)).unwrap_or(StopSignal::Term)
    }

    /// The number of workers, where it was set.
    pub fn count(&self) -> Option<Count> {
        self.number(Number::Count).map(|count| match count as u16 {
            AUTO => Count::Auto,
            count => Count::Fixed(count),
        })
    }

    /// A path as it was set.
    pub fn path(&self, which: PathOption) -> Option<&CStr> {
        self.paths[which as usize].as_deref()
    }

    pub fn set_path(&mut self, which: PathOption, path: CString) {
        self.paths[which as usize] = Some(path);
    }

    /// Sets an option; flags take `true` or `false`.
    ///
    /// # Errors
    ///
    /// One clause that shows the value and says what is wrong with it; nothing
    /// is set then.
    pub fn set(&mut self, known: &OptionSpec, value: &[u8]) -> Result<()> {
        let (number, read) = match known.takes {
            ValueKind::Count if value == b"auto" => (Number::Count, Some(AUTO.into())),
            ValueKind::Count => (Number::Count, Some(parse_number(value, 1, Slot::LAST.into())?)),
            ValueKind::Number(number, most) => (number, Some(parse_number(value, 0, most)?)),
            ValueKind::Signal => (Number::StopSignal, Some(parse_stop_signal(value)?)),
            ValueKind::Ready if value == b"notify" => (Number::Ready, Some(NOTIFY)),
            ValueKind::Ready => (Number::Ready, Some(parse_secs(value, "notify or ")?)),
            ValueKind::Seconds(number) => (number, Some(parse_secs(value, "")?)),
            ValueKind::Mode(number) => (number, Some(parse_mode(value)?)),
            ValueKind::Path(path) => {
                self.set_path(path, parse_word(value, 1)?);
                return Ok(());
            }
            ValueKind::Bind => {
                self.bind.push(Bind::parse(value).map_err(|reason| {
                    Error::plain(format_args!("{}: {}", Quoted(value), reason))
                })?);
                return Ok(());
            }
            ValueKind::Command => {
                self.command.push(parse_word(value, 0)?);
                return Ok(());
            }
            ValueKind::Level(level) => return self.set_verbosity(level, value),
            ValueKind::Exec => (Number::Exec, Some(parse_flag(value)?.into())),
            // They have no value.
            ValueKind::Check | ValueKind::Help | ValueKind::Version => return Ok(()),
        };
        self.numbers[number as usize] = read;
        Ok(())
    }

    /// Sets the verbosity to `level`, or back to the default if it was that.
    fn set_verbosity(&mut self, level: Level, value: &[u8]) -> Result<()> {
        if parse_flag(value)? {
            self.verbosity = level;
        } else if self.verbosity == level {
            self.verbosity = Level::Info;
        }
        Ok(())
    }
}

/// An objection to `value`.
fn wrong(value: &[u8], what: fmt::Arguments<'_>) -> Error {
    Error::plain(format_args!("invalid value {}, {what}", Quoted(value)))
}

fn parse_flag(value: &[u8]) -> Result<bool> {
    match value {
        b"true" => Ok(true),
        b"false" => Ok(false),
        _ => Err(wrong(value, format_args!("expected true or false"))),
    }
}

/// Takes a number; a `least` of 1 means `--count`, whose objection names `auto`.
fn parse_number(value: &[u8], least: u32, most: u32) -> Result<u64> {
    let number = decimal::parse(value, most).filter(|&number| number >= least);
    number.map(u64::from).ok_or_else(|| {
        let or = if least == 0 { "" } else { "auto or " };
        wrong(value, format_args!("expected {or}a number from {least} to {most}"))
    })
}

fn parse_secs(value: &[u8], or: &str) -> Result<u64> {
    let secs = seconds::parse(value);
    let secs = secs.map(|Millis(span)| span);
    secs.ok_or_else(|| {
        wrong(value, format_args!("expected {or}a number of seconds up to 1000000000"))
    })
}

/// Takes permissions: 0 to 0777, in octal, with zeros in front or not.
fn parse_mode(value: &[u8]) -> Result<u64> {
    let is_octal =
        (1..=4).contains(&value.len()) && value.iter().all(|digit| (b'0'..=b'7').contains(digit));
    let mode = value.iter().fold(0, |mode, digit| mode << 3 | u64::from(digit & 7));
    if is_octal && mode <= 0o777 {
        return Ok(mode);
    }
    Err(wrong(value, format_args!("expected an octal mode from 0 to 0777")))
}

fn parse_stop_signal(value: &[u8]) -> Result<u64> {
    let signal = StopSignal::named(value).map(|signal| signal as u64);
    signal.ok_or_else(|| {
        wrong(
            value,
            format_args!("expected TERM, QUIT, INT, HUP, USR1, USR2 or WINCH, in capitals"),
        )
    })
}

/// Takes a word of at least so many bytes.
fn parse_word(value: &[u8], least: usize) -> Result<CString> {
    match CString::new(value.to_vec()) {
        Ok(word) if value.len() >= least => Ok(word),
        Ok(_) => Err(wrong(value, format_args!("expected at least one character"))),
        Err(_) => Err(wrong(value, format_args!("a NUL byte is not allowed"))),
    }
}

#[cfg(test)]
mod tests {
    use super::{Count, KNOWN, Number, Options, PathOption, Result, ValueKind};
    use crate::types::{Level, Millis, Slot};
    use alloc::ffi::CString;
    use alloc::string::ToString;

    /// The options after these were set, or the first error.
    fn after(settings: &[(&str, &str)]) -> Result<Options> {
        let mut options = Options::default();
        for (key, value) in settings {
            let known = KNOWN.iter().find(|known| known.long == *key).expect(key);
            options.set(known, value.as_bytes())?;
        }
        Ok(options)
    }

    #[test]
    fn unset_options_have_their_defaults() {
        let options = Options::default();
        let limits = [Number::Timeout, Number::Delay, Number::MaxDelay];
        assert_eq!(limits.map(|limit| options.effective(limit)), [60_000, 100, 30_000]);
        assert_eq!(limits.map(|limit| options.number(limit)), [None; 3]);
        let limits = [Number::ReadyTimeout, Number::Probation, Number::DrainDelay];
        assert_eq!(limits.map(|limit| options.effective(limit)), [60_000, 1_000, 0]);
        for by_time in [("exec", "true"), ("ready", "0.5")] {
            let options = after(&[by_time]).expect("it is well");
            assert_eq!(options.effective(Number::Probation), 5_000);
        }
        let notify = after(&[("exec", "true"), ("ready", "notify")]).expect("it is well");
        assert_eq!(notify.effective(Number::Probation), 1_000);
        let unset = [Number::Count, Number::Ready, Number::EventFd];
        assert_eq!(unset.map(|number| options.number(number)), [None; 3]);
        assert_eq!((options.effective(Number::GiveUp), options.verbosity), (5, Level::Info));
    }

    #[test]
    fn every_option_sets_its_own_value() {
        let set = |key, value| after(&[(key, value)]).expect(key);
        let spans = KNOWN.iter().filter_map(|known| {
            let ValueKind::Seconds(number) = known.takes else { return None };
            Some((known.long, "0.5", number, 500))
        });
        let others = [
            ("count", "16383", Number::Count, u64::from(Slot::LAST)),
            ("ready", "0.5", Number::Ready, 500),
            ("give-up", "0", Number::GiveUp, 0),
            ("event-fd", "3", Number::EventFd, 3),
            ("notify-fd", "4", Number::NotifyFd, 4),
            ("exec", "true", Number::Exec, 1),
            ("socket-mode", "0660", Number::SocketMode, 0o660),
            ("socket-mode", "7", Number::SocketMode, 7),
            ("socket-mode", "0777", Number::SocketMode, 0o777),
            ("exec", "false", Number::Exec, 0),
            ("stop-signal", "QUIT", Number::StopSignal, 1),
            ("stop-signal", "SIGWINCH", Number::StopSignal, 6),
        ];
        for (key, value, number, expected) in spans.chain(others) {
            let mut options = set(key, value);
            assert_eq!(options.number(number), Some(expected), "{key}");
            options.numbers[number as usize] = None;
            assert_eq!(options, Options::default(), "{key}");
        }
        assert_eq!(set("count", "auto").count(), Some(Count::Auto));
        for (key, path) in [
            ("chdir", PathOption::Chdir),
            ("env-file", PathOption::EnvFile),
            ("pid", PathOption::Pid),
            ("config", PathOption::Config),
            ("user", PathOption::User),
        ] {
            let mut options = Options::default();
            options.set_path(path, c"/a".into());
            assert_eq!(set(key, "/a"), options, "{key}");
        }
        assert_eq!(set("quiet", "true").verbosity, Level::Warn);
        assert_eq!(set("verbose", "true").verbosity, Level::Debug);
        assert_eq!(set("command", "").command, [CString::default()]);
        assert_eq!(set("bind", "a=:80").bind.remove(0).to_string(), "a=0.0.0.0:80");
    }

    #[test]
    fn explicit_value_equal_to_the_default_counts_as_set() {
        let options = after(&[("timeout", "60")]).expect("it is right");
        assert_eq!(options.number(Number::Timeout), Some(60_000));
        assert_eq!(options.span(Number::Timeout), Millis(60_000));
    }

    #[test]
    fn last_value_wins_and_binds_accumulate() {
        let settings = [
            ("count", "1"),
            ("bind", ":1"),
            ("count", "2"),
            ("bind", ":2"),
            ("ready", "1"),
            ("ready", "notify"),
        ];
        let options = after(&settings).expect("all are right");
        assert_eq!((options.count(), options.bind.len()), (Some(Count::Fixed(2)), 2));
        assert_eq!(options.ready_after(), None);
    }

    #[test]
    fn exec_without_ready_is_ready_after_1s() {
        let ready = |settings: &[_]| after(settings).map(|options| options.ready_after());
        let (exec, say) = (("exec", "true"), ("ready", "notify"));
        assert_eq!(ready(&[]), Ok(None));
        assert_eq!(ready(&[exec]), Ok(Some(Millis(1_000))));
        assert_eq!(ready(&[exec, say]), Ok(None));
        assert_eq!(ready(&[say, exec, ("ready", "0.2")]), Ok(Some(Millis(200))));
        assert_eq!(ready(&[("ready", "0")]), Ok(Some(Millis(0))));
        assert_eq!(ready(&[exec, ("exec", "false")]), Ok(None));
    }

    #[test]
    fn flag_set_to_false_undoes_only_itself() {
        let verbosity = |settings| after(settings).map(|options| options.verbosity);
        assert_eq!(verbosity(&[("quiet", "true"), ("quiet", "false")]), Ok(Level::Info));
        assert_eq!(verbosity(&[("quiet", "true"), ("verbose", "false")]), Ok(Level::Warn));
    }

    #[test]
    fn bad_value_is_quoted_in_its_error() {
        for (key, value, reason) in [
            ("count", "0", "invalid value '0', expected auto or a number from 1 to 16383"),
            ("count", "16384", "invalid value '16384', expected auto or a number from 1 to 16383"),
            ("count", "Auto", "invalid value 'Auto', expected auto or a number from 1 to 16383"),
            ("bind", "80", "'80': an address is HOST:PORT, as in localhost:8080, or :8080 for all"),
            ("chdir", "", "invalid value '', expected at least one character"),
            ("env-file", "a\0b", r"invalid value 'a\x00b', a NUL byte is not allowed"),
            ("timeout", "1m", "invalid value '1m', expected a number of seconds up to 1000000000"),
            (
                "ready",
                "yes",
                "invalid value 'yes', expected notify or a number of seconds up to 1000000000",
            ),
            ("give-up", "-1", "invalid value '-1', expected a number from 0 to 4294967295"),
            (
                "event-fd",
                "2147483648",
                "invalid value '2147483648', expected a number from 0 to 2147483647",
            ),
            ("socket-mode", "", "invalid value '', expected an octal mode from 0 to 0777"),
            ("socket-mode", "1777", "invalid value '1777', expected an octal mode from 0 to 0777"),
            (
                "socket-mode",
                "00660",
                "invalid value '00660', expected an octal mode from 0 to 0777",
            ),
            ("socket-mode", "668", "invalid value '668', expected an octal mode from 0 to 0777"),
            ("socket-mode", "u=rw", "invalid value 'u=rw', expected an octal mode from 0 to 0777"),
            ("quiet", "yes", "invalid value 'yes', expected true or false"),
            ("exec", "1", "invalid value '1', expected true or false"),
        ] {
            assert_eq!(after(&[(key, value)]).expect_err(key).to_string(), reason);
        }
    }
}
