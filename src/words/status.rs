//! The records that answer `status`: one line each, `KIND key=value…`.
//!
//! ```text
//! main version=0.1.0 pid=12 now=81203 up=5012 state=running binary=same dropped=0
//! reload generation=3 outcome=failed at=80100 why=it\x20left
//! listener name=web address=127.0.0.1:80 origin=bound queue=0 backlog=4096
//! generation number=2 state=current leader=13 monitor=13 since=76191 board=yes
//! ```
//!
//! In a value every byte that is not a visible character of ASCII, and the
//! backslash, is `\xHH`, so that no value has a space. Keys that say nothing
//! are left out; those that a reader does not know it leaves alone, and lines
//! of a kind that it does not know too. Times are milliseconds of main's
//! monotonic clock: `now` says what it shows.

use super::control::LONGEST_ANSWER;
use super::pieces::cut;
use super::{decimal, fdname, printable};
use crate::text::{self, words};
use crate::types::{Generation, Millis, Pid, Stage, Tick};
use alloc::borrow::Cow;
use alloc::string::String;

/// Text from outside: borrowed where it is written, owned where it was read.
pub type Text<'a> = Cow<'a, [u8]>;

/// The most bytes of a text that are sent; the rest is left away.
pub const LONGEST_TEXT: usize = 900;

words! {
    /// What main is at.
    Phase {
        /// Nothing was ever ready.
        Starting = "starting",
        /// It serves, or starts again what has served.
        Running = "running",
        /// It was asked to stop.
        Stopping = "stopping",
    }
}

words! {
    /// The file at the path that main was started from.
    Binary {
        /// It is the one that runs.
        Same = "same",
        /// It is another one: a restart would change main.
        Differs = "differs",
        /// There is none, or it cannot be told.
        Missing = "missing",
    }
}

words! {
    /// What came of a reload.
    Outcome {
        /// It is not over.
        Running = "running",
        /// Its generation has become the current one.
        Current = "current",
        /// Its generation never got ready.
        Failed = "failed",
        /// Its generation failed on probation.
        RolledBack = "rolled_back",
    }
}

words! {
    /// Where a listening socket came from.
    Origin {
        /// Main opened it.
        Bound = "bound",
        /// A service manager above main gave it.
        Adopted = "adopted",
        /// A generation stored it.
        Stored = "stored",
    }
}

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record<'a> {
    /// The first line.
    Main(Main<'a>),
    /// The last reload that was asked for, if one was.
    Reload(Reload<'a>),
    /// One of the sockets that main keeps.
    Listener(Listener<'a>),
    /// A generation of which anybody is left.
    Generation(Life<'a>),
}

/// Main itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Main<'a> {
    /// Of the program.
    pub version: Text<'a>,
    /// Its process.
    pub pid: Pid,
    /// What its clock shows.
    pub now: Tick,
    /// Since it was started.
    pub up: Millis,
    /// What it is at.
    pub state: Phase,
    /// The workers that the operator wants; `None` when the application decides.
    pub count: Option<u16>,
    /// What stands where it was started from.
    pub binary: Binary,
    /// Lines of the log that were lost since the last one that was written.
    pub dropped: u32,
}

/// The last reload that was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reload<'a> {
    /// Its generation; `None` as long as, or because, none was started.
    pub generation: Option<Generation>,
    /// What came of it.
    pub outcome: Outcome,
    /// When that was known, or when it was asked for.
    pub at: Tick,
    /// Why it came to nothing.
    pub why: Option<Text<'a>>,
}

/// A listening socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener<'a> {
    /// As the operator wrote it.
    pub name: Text<'a>,
    /// `HOST:PORT`, `[V6]:PORT` or `unix:/PATH`.
    pub address: Text<'a>,
    /// Where it came from.
    pub origin: Origin,
    /// Connections that wait to be accepted; of TCP alone.
    pub queue: Option<u32>,
    /// How many may wait; of TCP alone.
    pub backlog: Option<u32>,
}

/// A generation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Life<'a> {
    /// Its number.
    pub number: Generation,
    /// What it does.
    pub state: Stage,
    /// The process that was started, alive or not.
    pub leader: Pid,
    /// The same, until it is gone.
    pub monitor: Option<Pid>,
    /// When it was started.
    pub since: Tick,
    /// What it says of itself.
    pub says: Option<Text<'a>>,
    /// Whether a copy of its board comes along with this line.
    pub board: bool,
}

/// Adds ` key=value`, with what a value may not have escaped.
#[inline(never)]
fn words(out: &mut String, key: &str, value: &[u8]) {
    out.push(' ');
    out.push_str(key);
    out.push('=');
    let value = value.get(..LONGEST_TEXT).unwrap_or(value);
    printable::push_escaped(out, value, |byte| byte.is_ascii_graphic() && byte != b'\\');
}

/// Adds ` key=value`.
#[inline(never)]
fn number(out: &mut String, key: &str, value: u64) {
    text::add(out, format_args!(" {key}={value}"));
}

impl Record<'_> {
    /// Adds the line and its newline to `out`.
    pub fn write(&self, out: &mut String) {
        match self {
            Self::Main(main) => main.write(out),
            Self::Reload(reload) => reload.write(out),
            Self::Listener(listener) => listener.write(out),
            Self::Generation(life) => life.write(out),
        }
    }
}

// Inlined, so that main, which makes each in one place, makes none in memory.
impl Main<'_> {
    /// Adds the line and its newline to `out`.
    #[inline(always)]
    pub fn write(&self, out: &mut String) {
        out.push_str("main");
        words(out, "version", &self.version);
        number(out, "pid", self.pid.raw().unsigned_abs().into());
        number(out, "now", self.now.0);
        number(out, "up", self.up.0);
        words(out, "state", self.state.name().as_bytes());
        if let Some(count) = self.count {
            number(out, "count", count.into());
        }
        words(out, "binary", self.binary.name().as_bytes());
        number(out, "dropped", self.dropped.into());
        out.push('\n');
    }
}

impl Reload<'_> {
    /// Adds the line and its newline to `out`.
    #[inline(always)]
    pub fn write(&self, out: &mut String) {
        out.push_str("reload");
        if let Some(generation) = self.generation {
            number(out, "generation", generation.0.into());
        }
        words(out, "outcome", self.outcome.name().as_bytes());
        number(out, "at", self.at.0);
        if let Some(why) = &self.why {
            words(out, "why", why);
        }
        out.push('\n');
    }
}

impl Listener<'_> {
    /// Adds the line and its newline to `out`.
    #[inline(always)]
    pub fn write(&self, out: &mut String) {
        out.push_str("listener");
        words(out, "name", &self.name);
        words(out, "address", &self.address);
        words(out, "origin", self.origin.name().as_bytes());
        if let Some(queue) = self.queue {
            number(out, "queue", queue.into());
        }
        if let Some(backlog) = self.backlog {
            number(out, "backlog", backlog.into());
        }
        out.push('\n');
    }
}

impl Life<'_> {
    /// Adds the line and its newline to `out`.
    #[inline(always)]
    pub fn write(&self, out: &mut String) {
        out.push_str("generation");
        number(out, "number", self.number.0.into());
        words(out, "state", self.state.name().as_bytes());
        number(out, "leader", self.leader.raw().unsigned_abs().into());
        if let Some(monitor) = self.monitor {
            number(out, "monitor", monitor.raw().unsigned_abs().into());
        }
        number(out, "since", self.since.0);
        if let Some(says) = &self.says {
            words(out, "says", says);
        }
        if self.board {
            out.push_str(" board=yes");
        }
        out.push('\n');
    }
}

/// The keys and values of a line.
#[derive(Clone, Copy)]
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn find(self, key: &str) -> Option<&'a [u8]> {
        let mut pairs = self.0.split(|&byte| byte == b' ').filter_map(|word| cut(word, b'='));
        pairs.find(|(name, _)| *name == key.as_bytes()).map(|(_, value)| value)
    }

    fn text(self, key: &str) -> Option<Text<'static>> {
        self.find(key).map(|value| Cow::Owned(fdname::unescape(value)))
    }

    fn long(self, key: &str) -> Option<u64> {
        decimal::parse_long(self.find(key)?, u64::MAX)
    }

    fn number(self, key: &str) -> Option<u32> {
        decimal::parse(self.find(key)?, u32::MAX)
    }

    fn pid(self, key: &str) -> Option<Pid> {
        Pid::new(i32::try_from(self.number(key)?).ok()?)
    }

    fn main(self) -> Option<Main<'static>> {
        Some(Main {
            version: self.text("version")?,
            pid: self.pid("pid")?,
            now: Tick(self.long("now")?),
            up: Millis(self.long("up")?),
            state: Phase::parse(self.find("state")?)?,
            count: self.number("count").and_then(|count| u16::try_from(count).ok()),
            binary: Binary::parse(self.find("binary")?)?,
            dropped: self.number("dropped")?,
        })
    }

    fn reload(self) -> Option<Reload<'static>> {
        Some(Reload {
            generation: self.number("generation").map(Generation),
            outcome: Outcome::parse(self.find("outcome")?)?,
            at: Tick(self.long("at")?),
            why: self.text("why"),
        })
    }

    fn listener(self) -> Option<Listener<'static>> {
        Some(Listener {
            name: self.text("name")?,
            address: self.text("address")?,
            origin: Origin::parse(self.find("origin")?)?,
            queue: self.number("queue"),
            backlog: self.number("backlog"),
        })
    }

    fn life(self) -> Option<Life<'static>> {
        Some(Life {
            number: Generation(self.number("number")?),
            state: Stage::parse(self.find("state")?)?,
            leader: self.pid("leader")?,
            monitor: self.pid("monitor"),
            since: Tick(self.long("since")?),
            says: self.text("says"),
            board: self.find("board") == Some(b"yes"),
        })
    }
}

impl Record<'static> {
    /// Reads a line without its newline; `None` for one of a kind that is not
    /// known, or without what one of that kind has to have.
    #[must_use]
    pub fn parse(line: &[u8]) -> Option<Self> {
        let (kind, rest) = cut(line, b' ')?;
        let fields = Fields(rest);
        match kind {
            b"main" => fields.main().map(Self::Main),
            b"reload" => fields.reload().map(Self::Reload),
            b"listener" => fields.listener().map(Self::Listener),
            b"generation" => fields.life().map(Self::Generation),
            _ => None,
        }
    }
}

const _: () = assert!(4 * LONGEST_TEXT + 400 < LONGEST_ANSWER, "a line has room for a text");

#[cfg(test)]
mod tests {
    use super::{
        Binary, Cow, LONGEST_ANSWER, Life, Listener, Main, Origin, Outcome, Phase, Record, Reload,
        Text,
    };
    use crate::types::{Generation, Millis, Pid, Stage, Tick};
    use alloc::string::String;
    use alloc::vec::Vec;

    fn text(bytes: &[u8]) -> Text<'_> {
        Cow::Borrowed(bytes)
    }

    fn pid() -> Pid {
        Pid::new(12).expect("it is positive")
    }

    fn line(record: &Record<'_>) -> String {
        let mut out = String::new();
        record.write(&mut out);
        assert!(out.len() <= LONGEST_ANSWER);
        out
    }

    fn main() -> Main<'static> {
        Main {
            version: text(b"0.1.0"),
            pid: pid(),
            now: Tick(81_203),
            up: Millis(5_012),
            state: Phase::Running,
            count: Some(4),
            binary: Binary::Same,
            dropped: 0,
        }
    }

    fn life(says: Option<&[u8]>) -> Record<'_> {
        Record::Generation(Life {
            number: Generation(2),
            state: Stage::Current,
            leader: pid(),
            monitor: Some(pid()),
            since: Tick(u64::MAX),
            says: says.map(text),
            board: true,
        })
    }

    #[test]
    fn a_record_is_one_line_of_keys_and_values() {
        assert_eq!(
            line(&Record::Main(main())),
            "main version=0.1.0 pid=12 now=81203 up=5012 state=running count=4 binary=same \
             dropped=0\n"
        );
        assert_eq!(
            line(&life(Some(b"a b=\\\n\xff"))),
            "generation number=2 state=current leader=12 monitor=12 since=18446744073709551615 \
             says=a\\x20b=\\x5c\\x0a\\xff board=yes\n"
        );
    }

    #[test]
    fn keys_that_say_nothing_are_left_out() {
        let reload = Reload { generation: None, outcome: Outcome::Failed, at: Tick(7), why: None };
        assert_eq!(line(&Record::Reload(reload)), "reload outcome=failed at=7\n");
        let main = Main { count: None, ..main() };
        assert!(!line(&Record::Main(main)).contains("count"));
    }

    fn comes_back(record: Record<'_>) {
        let line = line(&record);
        let line = line.strip_suffix('\n').expect("a record is a line");
        assert!(!line.contains('\n'));
        assert_eq!(Record::parse(line.as_bytes()), Some(record));
    }

    #[test]
    fn what_is_written_is_read() {
        let every: Vec<u8> = (0..=u8::MAX).collect();
        comes_back(life(None));
        comes_back(life(Some(&every)));
        for state in Phase::ALL {
            comes_back(Record::Main(Main { state: *state, count: None, ..main() }));
        }
        for binary in Binary::ALL {
            comes_back(Record::Main(Main { binary: *binary, ..main() }));
        }
        for outcome in Outcome::ALL {
            comes_back(Record::Reload(Reload {
                generation: Some(Generation(3)),
                outcome: *outcome,
                at: Tick(1),
                why: Some(text(&every)),
            }));
        }
        for origin in Origin::ALL {
            comes_back(Record::Listener(Listener {
                name: text(b""),
                address: text(b"[::1]:80"),
                origin: *origin,
                queue: Some(0),
                backlog: None,
            }));
        }
    }

    #[test]
    fn a_line_is_never_too_long() {
        let long = [0; 10_000];
        assert!(line(&life(Some(&long))).ends_with("\\x00 board=yes\n"));
    }

    #[test]
    fn what_is_not_known_is_left_alone() {
        assert_eq!(Record::parse(b"weather state=fine"), None);
        assert_eq!(Record::parse(b"main"), None);
        assert_eq!(Record::parse(b"generation number=2 state=asleep leader=12 since=1"), None);
        assert_eq!(Record::parse(b"generation number=2 state=current leader=0 since=1"), None);
        let line = b"reload at=7 colour=blue outcome=failed at=8 x";
        let reload = Reload { generation: None, outcome: Outcome::Failed, at: Tick(7), why: None };
        assert_eq!(Record::parse(line), Some(Record::Reload(reload)));
    }
}
