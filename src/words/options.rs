//! What the operator asked for: the value of every option, and its default.
//!
//! [`set`] takes an option by its long name, without the dashes, wherever it
//! was written. A value that is set twice is what was said last; only `bind`
//! collects.
//!
//! Some values are handed down to the application only where the operator set
//! them. Those are `Option`s, and a method of the same name knows the default.

use super::address::Bind;
use super::printable::Quoted;
use super::{decimal, seconds};
use crate::error::{Error, Result};
use crate::types::{Backoff, Level, Millis, Slot};
use alloc::ffi::CString;
use alloc::vec::Vec;
use core::fmt;

/// How a starting generation becomes ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ready {
    /// It says so.
    Notify,
    /// It has lived this long.
    After(Millis),
}

/// How many workers there are to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Count {
    /// So many, 1 to [`Slot::LAST`].
    Fixed(u16),
    /// As many as there are processors for us, counted anew for each generation.
    Auto,
}

impl fmt::Display for Count {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Fixed(count) => u32::from(count).fmt(out),
            Self::Auto => out.write_str("auto"),
        }
    }
}

/// The value of every option.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// COMMAND and its ARGS.
    pub command: Vec<CString>,
    /// `--count`: workers; `None` leaves it to the application.
    pub count: Option<Count>,
    /// `--bind`: the sockets to open, in their order.
    pub bind: Vec<Bind>,
    /// `--chdir`: where generations run; `None` is where main was started.
    pub chdir: Option<CString>,
    /// `--env-file`: what to add to a generation's environment.
    pub env_file: Option<CString>,
    /// `--timeout`, where it was set; see [`Options::timeout`].
    pub timeout: Option<Millis>,
    /// `--delay`, where it was set; see [`Options::delay`].
    pub delay: Option<Millis>,
    /// `--max-delay`, where it was set; see [`Options::max_delay`].
    pub max_delay: Option<Millis>,
    /// `--ready`: how a generation becomes ready.
    pub ready: Ready,
    /// `--ready-timeout`: how long a generation may take to become ready.
    pub ready_timeout: Millis,
    /// `--probation`: how long a ready generation may still be rolled back.
    pub probation: Millis,
    /// `--drain-delay`: how long to go on serving once a stop was asked for.
    pub drain_delay: Millis,
    /// `--give-up`: failed starts in a row before leaving; 0 means never.
    pub give_up: u32,
    /// `--pid`: the pid file; `None` is the default place, if that is there.
    pub pid: Option<CString>,
    /// `--config`: the file that the rest comes from; `None` is the usual one.
    pub config: Option<CString>,
    /// `--event-fd`: the descriptor for events, 0 or more; perhaps not open.
    pub event_fd: Option<i32>,
    /// `--quiet` and `--verbose`: the least grave level that is logged.
    pub verbosity: Level,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            command: Vec::new(),
            count: None,
            bind: Vec::new(),
            chdir: None,
            env_file: None,
            timeout: None,
            delay: None,
            max_delay: None,
            ready: Ready::Notify,
            ready_timeout: Millis::from_secs(60),
            probation: Millis::from_secs(1),
            drain_delay: Millis(0),
            give_up: 5,
            pid: None,
            config: None,
            event_fd: None,
            verbosity: Level::Info,
        }
    }
}

impl Options {
    /// How long a graceful stop may take before SIGINT follows SIGTERM.
    #[must_use]
    pub fn timeout(&self) -> Millis {
        self.timeout.unwrap_or(Millis::from_secs(60))
    }

    /// The wait before the second repair in a row; 0 means no wait.
    #[must_use]
    pub fn delay(&self) -> Millis {
        self.delay.unwrap_or(Backoff::default().delay)
    }

    /// The longest wait before a repair, before jitter.
    #[must_use]
    pub fn max_delay(&self) -> Millis {
        self.max_delay.unwrap_or(Backoff::default().max_delay)
    }
}

/// Sets the option with the long name `key`; flags take `true` or `false`.
///
/// # Errors
///
/// One clause that shows the value and says what is wrong with it, or that
/// there is no such option; nothing is set then.
pub fn set(options: &mut Options, key: &str, value: &[u8]) -> Result<()> {
    match key {
        "count" => options.count = Some(parse_count(value)?),
        "bind" => options.bind.push(parse_bind(value)?),
        "chdir" => options.chdir = Some(parse_path(value)?),
        "env-file" => options.env_file = Some(parse_path(value)?),
        "timeout" => options.timeout = Some(parse_secs(value)?),
        "delay" => options.delay = Some(parse_secs(value)?),
        "max-delay" => options.max_delay = Some(parse_secs(value)?),
        "ready" => options.ready = parse_ready(value)?,
        "ready-timeout" => options.ready_timeout = parse_secs(value)?,
        "probation" => options.probation = parse_secs(value)?,
        "drain-delay" => options.drain_delay = parse_secs(value)?,
        "give-up" => options.give_up = parse_number(value, u32::MAX)?,
        "pid" => options.pid = Some(parse_path(value)?),
        "config" => options.config = Some(parse_path(value)?),
        "event-fd" => options.event_fd = Some(parse_fd(value)?),
        "quiet" => set_verbosity(options, value, Level::Warn)?,
        "verbose" => set_verbosity(options, value, Level::Debug)?,
        _ => return Err(Error::plain(format_args!("there is no such option"))),
    }
    Ok(())
}

/// Sets the verbosity to `level`, or back to the default if it was that.
fn set_verbosity(options: &mut Options, value: &[u8], level: Level) -> Result<()> {
    match value {
        b"true" => options.verbosity = level,
        b"false" if options.verbosity == level => options.verbosity = Level::Info,
        b"false" => {}
        _ => return Err(wrong(value, format_args!("is neither true nor false"))),
    }
    Ok(())
}

/// An objection to `value`.
fn wrong(value: &[u8], what: fmt::Arguments<'_>) -> Error {
    Error::plain(format_args!("{} {what}", Quoted(value)))
}

fn parse_number(value: &[u8], most: u32) -> Result<u32> {
    decimal::parse(value, most)
        .ok_or_else(|| wrong(value, format_args!("is not a number from 0 to {most}")))
}

fn parse_fd(value: &[u8]) -> Result<i32> {
    parse_number(value, i32::MAX.unsigned_abs()).map(u32::cast_signed)
}

fn parse_count(value: &[u8]) -> Result<Count> {
    const LAST: u32 = Slot::LAST as u32;
    if value == b"auto" {
        return Ok(Count::Auto);
    }
    decimal::parse(value, LAST)
        .and_then(|count| u16::try_from(count).ok())
        .filter(|&count| count > 0)
        .map(Count::Fixed)
        .ok_or_else(|| wrong(value, format_args!("is neither auto nor a number from 1 to {LAST}")))
}

fn parse_secs(value: &[u8]) -> Result<Millis> {
    seconds::parse(value)
        .ok_or_else(|| wrong(value, format_args!("is not a number of seconds up to 1000000000")))
}

fn parse_ready(value: &[u8]) -> Result<Ready> {
    if value == b"notify" {
        return Ok(Ready::Notify);
    }
    seconds::parse(value).map(Ready::After).ok_or_else(|| {
        wrong(value, format_args!("is neither notify nor a number of seconds up to 1000000000"))
    })
}

fn parse_bind(value: &[u8]) -> Result<Bind> {
    Bind::parse(value)
        .map_err(|wrong| Error::plain(format_args!("{}: {}", Quoted(value), wrong.words())))
}

fn parse_path(value: &[u8]) -> Result<CString> {
    match CString::new(value) {
        Ok(path) if !path.is_empty() => Ok(path),
        Ok(_) | Err(_) => Err(wrong(value, format_args!("is not a path"))),
    }
}

#[cfg(test)]
mod tests {
    use super::{Count, Options, Ready, Result, set};
    use crate::types::{Level, Millis, Slot};
    use alloc::string::ToString;

    /// The options after these were set, or the first objection.
    fn after(settings: &[(&str, &str)]) -> Result<Options> {
        let mut options = Options::default();
        for (key, value) in settings {
            set(&mut options, key, value.as_bytes())?;
        }
        Ok(options)
    }

    #[test]
    fn what_is_not_set_has_its_default() {
        let options = Options::default();
        let limits = [options.timeout(), options.delay(), options.max_delay()];
        assert_eq!(limits, [Millis(60_000), Millis(100), Millis(30_000)]);
        let limits = [options.ready_timeout, options.probation, options.drain_delay];
        assert_eq!(limits, [Millis(60_000), Millis(1_000), Millis(0)]);
        assert_eq!((options.timeout, options.delay, options.max_delay), (None, None, None));
        assert_eq!((options.count, options.event_fd, options.give_up), (None, None, 5));
        assert_eq!((options.ready, options.verbosity), (Ready::Notify, Level::Info));
    }

    #[test]
    fn every_option_sets_its_own_value() {
        let set = |key, value| after(&[(key, value)]).expect(key);
        let default = Options::default;
        let most = Some(Count::Fixed(Slot::LAST));
        assert_eq!(set("count", "16383"), Options { count: most, ..default() });
        assert_eq!(set("count", "auto"), Options { count: Some(Count::Auto), ..default() });
        assert_eq!(set("chdir", "/a"), Options { chdir: Some(c"/a".into()), ..default() });
        assert_eq!(set("env-file", "b"), Options { env_file: Some(c"b".into()), ..default() });
        let half = Millis(500);
        assert_eq!(set("timeout", "0.5"), Options { timeout: Some(half), ..default() });
        assert_eq!(set("delay", "0.5"), Options { delay: Some(half), ..default() });
        assert_eq!(set("max-delay", "0.5"), Options { max_delay: Some(half), ..default() });
        assert_eq!(set("ready", "0.5"), Options { ready: Ready::After(half), ..default() });
        assert_eq!(set("ready-timeout", "0.5"), Options { ready_timeout: half, ..default() });
        assert_eq!(set("probation", "0.5"), Options { probation: half, ..default() });
        assert_eq!(set("drain-delay", "0.5"), Options { drain_delay: half, ..default() });
        assert_eq!(set("give-up", "0"), Options { give_up: 0, ..default() });
        assert_eq!(set("config", "c"), Options { config: Some(c"c".into()), ..default() });
        assert_eq!(set("event-fd", "3"), Options { event_fd: Some(3), ..default() });
        assert_eq!(set("quiet", "true"), Options { verbosity: Level::Warn, ..default() });
        assert_eq!(set("verbose", "true"), Options { verbosity: Level::Debug, ..default() });
        assert_eq!(set("bind", "a=:80").bind.remove(0).to_string(), "a=0.0.0.0:80");
    }

    #[test]
    fn what_is_set_counts_even_where_it_is_the_default() {
        let options = after(&[("timeout", "60")]).expect("it is right");
        assert_eq!((options.timeout, options.timeout()), (Some(Millis(60_000)), Millis(60_000)));
    }

    #[test]
    fn the_last_value_counts_and_binds_collect() {
        let settings = [
            ("count", "1"),
            ("bind", ":1"),
            ("count", "2"),
            ("bind", ":2"),
            ("ready", "1"),
            ("ready", "notify"),
        ];
        let options = after(&settings).expect("all are right");
        assert_eq!((options.count, options.ready), (Some(Count::Fixed(2)), Ready::Notify));
        assert_eq!(options.bind.len(), 2);
    }

    #[test]
    fn a_false_flag_takes_back_its_own_effect_alone() {
        let verbosity = |settings| after(settings).map(|options| options.verbosity);
        assert_eq!(verbosity(&[("quiet", "true"), ("quiet", "false")]), Ok(Level::Info));
        assert_eq!(verbosity(&[("quiet", "true"), ("verbose", "false")]), Ok(Level::Warn));
    }

    #[test]
    fn a_wrong_value_is_shown_with_what_is_wrong() {
        for (key, value, why) in [
            ("count", "0", "'0' is neither auto nor a number from 1 to 16383"),
            ("count", "16384", "'16384' is neither auto nor a number from 1 to 16383"),
            ("count", "Auto", "'Auto' is neither auto nor a number from 1 to 16383"),
            ("bind", "80", "'80': the port is missing"),
            ("chdir", "", "'' is not a path"),
            ("env-file", "a\0b", r"'a\x00b' is not a path"),
            ("timeout", "1m", "'1m' is not a number of seconds up to 1000000000"),
            ("ready", "yes", "'yes' is neither notify nor a number of seconds up to 1000000000"),
            ("give-up", "-1", "'-1' is not a number from 0 to 4294967295"),
            ("event-fd", "2147483648", "'2147483648' is not a number from 0 to 2147483647"),
            ("quiet", "yes", "'yes' is neither true nor false"),
            ("exec", "true", "there is no such option"),
        ] {
            assert_eq!(after(&[(key, value)]).expect_err(key).to_string(), why);
        }
    }
}
