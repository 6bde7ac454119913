//! The records that answer `status`: one line each, `KIND key=value…`.
//!
//! ```text
//! main version=0.1.0 pid=12 now=81203 up=5012 state=running program=/bin/panzer dropped=0
//! outage due=81500 why=its\x20monitor\x20exited
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

use super::fdnames;
use crate::protocol::control_protocol::LONGEST_ANSWER;
use crate::split::{cut, take};
use crate::text::{self, words};
use crate::types::{Generation, Millis, Pid, Stage, Tick};
use crate::{decimal, printable};
use alloc::borrow::Cow;
use alloc::string::String;

/// Text from outside: borrowed where it is written, owned where it was read.
pub type RecordText<'a> = Cow<'a, [u8]>;

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
    /// The file at the path that main was started from, where that is known.
    Binary {
        /// It is the one that runs.
        Same = "same",
        /// It is another one: a restart would change main.
        Differs = "differs",
        /// There is none.
        Missing = "missing",
    }
}

words! {
    /// What stands at the path of a Unix socket. panzerctl looks when it shows it; main
    /// looks at a reload alone.
    Standing {
        /// The socket.
        There = "there",
        /// Nothing.
        Gone = "gone",
        /// Something else.
        Taken = "taken",
    }
}

words! {
    /// What came of a reload.
    ReloadOutcome {
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

/// What may stand in a field.
trait Value: Sized {
    /// Adds ` key=value`, unless it says nothing.
    fn write(&self, key: &str, out: &mut String);

    /// Reads it; `None` if it is nothing of the kind, or missing where it must not be.
    fn read(text: Option<&[u8]>) -> Option<Self>;
}

impl<T: Value> Value for Option<T> {
    fn write(&self, key: &str, out: &mut String) {
        if let Some(value) = self {
            value.write(key, out);
        }
    }

    fn read(text: Option<&[u8]>) -> Option<Self> {
        Some(T::read(text))
    }
}

impl Value for RecordText<'_> {
    fn write(&self, key: &str, out: &mut String) {
        words(out, key, self);
    }

    fn read(text: Option<&[u8]>) -> Option<Self> {
        Some(Cow::Owned(fdnames::unescape(text?)))
    }
}

impl Value for bool {
    fn write(&self, key: &str, out: &mut String) {
        if *self {
            words(out, key, b"yes");
        }
    }

    fn read(text: Option<&[u8]>) -> Option<Self> {
        Some(text == Some(b"yes"))
    }
}

/// Values with a word, and values with a number.
macro_rules! values {
    ($($word:ident)*; $($number:ty: |$value:ident| $out:expr, $in:expr;)*) => {
        $(impl Value for $number {
            fn write(&self, key: &str, out: &mut String) {
                let $value = self;
                number(out, key, u64::from($out));
            }

            fn read(text: Option<&[u8]>) -> Option<Self> {
                decimal::parse_long(text?, u64::MAX).and_then($in)
            }
        })*
        $(impl Value for $word {
            fn write(&self, key: &str, out: &mut String) {
                words(out, key, self.name().as_bytes());
            }

            fn read(text: Option<&[u8]>) -> Option<Self> {
                Self::parse(text?)
            }
        })*
    };
}

values! {
    Phase Standing ReloadOutcome Origin Stage;
    u64: |value| *value, Some;
    u16: |value| *value, |number| Self::try_from(number).ok();
    u32: |value| *value, |number| Self::try_from(number).ok();
    Generation: |value| value.0, |number| u32::try_from(number).ok().map(Self);
    Pid: |value| value.raw().unsigned_abs(), |number| Self::new(i32::try_from(number).ok()?);
    Millis: |value| value.0, |number| Some(Self(number));
    Tick: |value| value.0, |number| Some(Self(number));
}

/// Adds ` key=value`, with what a value may not have escaped.
fn words(out: &mut String, key: &str, value: &[u8]) {
    text::add(out, format_args!(" {key}="));
    let value = value.get(..LONGEST_TEXT).unwrap_or(value);
    printable::push_escaped(out, value, |byte| byte.is_ascii_graphic() && byte != b'\\');
}

/// Adds ` key=value`.
fn number(out: &mut String, key: &str, value: u64) {
    text::add(out, format_args!(" {key}={value}"));
}

/// The value of a key among the fields of a line, the first of several.
fn find<'a>(fields: &'a [u8], key: &str) -> Option<&'a [u8]> {
    let mut pairs = fields.split(|&byte| byte == b' ').filter_map(|word| cut(word, b'='));
    pairs.find(|(name, _)| *name == key.as_bytes()).map(|(_, value)| value)
}

/// Kinds of records: each field is written and read under its own name.
macro_rules! records {
    ($($(#[$about:meta])* $name:ident<$life:lifetime> = $kind:literal {
        $($(#[$what:meta])* $field:ident: $type:ty,)*
    })*) => {
        /// One line.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub enum Record<'a> {
            $($(#[$about])* $name($name<'a>),)*
        }

        impl Record<'_> {
            /// Reads a line without its newline; `None` for one of a kind that is
            /// not known, or without what one of that kind has to have.
            pub fn parse(line: &[u8]) -> Option<Self> {
                let mut fields = line;
                match core::str::from_utf8(take(&mut fields, b' ')) {
                    $(Ok($kind) => $name::read(fields).map(Self::$name),)*
                    Ok(_) | Err(_) => None,
                }
            }
        }

        $(
            $(#[$about])*
            #[derive(Clone, Debug, PartialEq, Eq)]
            pub struct $name<$life> {
                $($(#[$what])* pub $field: $type,)*
            }

            impl $name<'_> {
                /// Adds the line and its newline to `out`.
                pub fn write(&self, out: &mut String) {
                    out.push_str($kind);
                    $(self.$field.write(stringify!($field), out);)*
                    out.push('\n');
                }

                fn read(fields: &[u8]) -> Option<Self> {
                    Some(Self { $($field: Value::read(find(fields, stringify!($field)))?,)* })
                }
            }
        )*
    };
}

records! {
    /// The first line: main itself.
    Main<'a> = "main" {
        /// Of the program.
        version: RecordText<'a>,
        /// Its process.
        pid: Pid,
        /// What its clock shows.
        now: Tick,
        /// Since it was started.
        up: Millis,
        /// What it is at.
        state: Phase,
        /// The workers that the operator wants; `None` when the application decides.
        count: Option<u16>,
        /// Where it was started from. What stands there by now main does not look
        /// at: it may be on a file server that is away.
        program: Option<RecordText<'a>>,
        /// Lines of the log that were lost since the last one that was written.
        dropped: u32,
    }

    /// Nothing serves: there is no generation with a ready worker.
    Outage<'a> = "outage" {
        /// When the next start is due, if one is wanted.
        due: Option<Tick>,
        /// The reason of the last failure, if there was one.
        why: Option<RecordText<'a>>,
    }

    /// The last reload that was asked for, if one was.
    Reload<'a> = "reload" {
        /// Its generation; `None` as long as, or because, none was started.
        generation: Option<Generation>,
        /// What came of it.
        outcome: ReloadOutcome,
        /// When that was known, or when it was asked for.
        at: Tick,
        /// Why it came to nothing.
        why: Option<RecordText<'a>>,
    }

    /// One of the listening sockets that main keeps.
    Listener<'a> = "listener" {
        /// As the operator wrote it.
        name: RecordText<'a>,
        /// `HOST:PORT`, `[V6]:PORT` or `unix:/PATH`.
        address: RecordText<'a>,
        /// Where it came from.
        origin: Origin,
        /// Connections that wait to be accepted; of TCP alone.
        queue: Option<u32>,
        /// How many may wait; of TCP alone.
        backlog: Option<u32>,
        /// The device and the inode of a Unix socket's path, of those that main has bound.
        device: Option<u64>,
        /// See `device`.
        inode: Option<u64>,
        /// What stands at that path.
        path: Option<Standing>,
    }

    /// A generation of which a process is left.
    Life<'a> = "generation" {
        /// Its number.
        number: Generation,
        /// What it does.
        state: Stage,
        /// The process that was started, alive or not.
        leader: Pid,
        /// The same, until it is gone.
        monitor: Option<Pid>,
        /// When it was started.
        since: Tick,
        /// What it says of itself.
        says: Option<RecordText<'a>>,
        /// Whether a copy of its board comes along with this line.
        board: bool,
    }
}

const _: () = assert!(4 * LONGEST_TEXT + 400 < LONGEST_ANSWER, "a line has room for a text");

#[cfg(test)]
mod tests {
    use super::{
        Cow, LONGEST_ANSWER, Life, Listener, Main, Origin, Outage, Phase, Record, RecordText,
        Reload, ReloadOutcome, Standing,
    };
    use crate::types::{Generation, Millis, Pid, Stage, Tick};
    use alloc::string::String;
    use alloc::vec::Vec;

    fn text(bytes: &[u8]) -> RecordText<'_> {
        Cow::Borrowed(bytes)
    }

    fn pid() -> Pid {
        Pid::new(12).expect("it is positive")
    }

    fn line(record: &Record<'_>) -> String {
        let mut out = String::new();
        match record {
            Record::Main(main) => main.write(&mut out),
            Record::Outage(outage) => outage.write(&mut out),
            Record::Reload(reload) => reload.write(&mut out),
            Record::Listener(listener) => listener.write(&mut out),
            Record::Life(life) => life.write(&mut out),
        }
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
            program: None,
            dropped: 0,
        }
    }

    fn life(says: Option<&[u8]>) -> Record<'_> {
        Record::Life(Life {
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
    fn record_is_one_line_of_keys_and_values() {
        assert_eq!(
            line(&Record::Main(main())),
            "main version=0.1.0 pid=12 now=81203 up=5012 state=running count=4 \
             dropped=0\n"
        );
        assert_eq!(
            line(&life(Some(b"a b=\\\n\xff"))),
            "generation number=2 state=current leader=12 monitor=12 since=18446744073709551615 \
             says=a\\x20b=\\x5c\\x0a\\xff board=yes\n"
        );
    }

    #[test]
    fn unset_keys_are_omitted() {
        let reload =
            Reload { generation: None, outcome: ReloadOutcome::Failed, at: Tick(7), why: None };
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
    fn written_records_read_back() {
        let every: Vec<u8> = (0..=u8::MAX).collect();
        comes_back(life(None));
        comes_back(life(Some(&every)));
        for state in Phase::ALL {
            comes_back(Record::Main(Main { state: *state, count: None, ..main() }));
        }
        comes_back(Record::Main(Main { program: Some(Cow::Borrowed(b"/a b")), ..main() }));
        for outcome in ReloadOutcome::ALL {
            comes_back(Record::Reload(Reload {
                generation: Some(Generation(3)),
                outcome: *outcome,
                at: Tick(1),
                why: Some(text(&every)),
            }));
        }
        let (due, why) = (Some(Tick(7)), Some(text(&every)));
        comes_back(Record::Outage(Outage { due, why }));
        comes_back(Record::Outage(Outage { due: None, why: None }));
        for origin in Origin::ALL {
            comes_back(Record::Listener(Listener {
                name: text(b""),
                address: text(b"[::1]:80"),
                origin: *origin,
                queue: Some(0),
                backlog: None,
                device: Some(u64::MAX),
                inode: None,
                path: Some(Standing::Gone),
            }));
        }
    }

    #[test]
    fn record_fits_in_a_line() {
        let long = [0; 10_000];
        assert!(line(&life(Some(&long))).ends_with("\\x00 board=yes\n"));
    }

    #[test]
    fn unknown_records_and_keys_are_ignored() {
        assert_eq!(Record::parse(b"weather state=fine"), None);
        assert_eq!(Record::parse(b"main"), None);
        assert_eq!(Record::parse(b"generation number=2 state=asleep leader=12 since=1"), None);
        assert_eq!(Record::parse(b"generation number=2 state=current leader=0 since=1"), None);
        let line = b"reload at=7 colour=blue outcome=failed at=8 x";
        let reload =
            Reload { generation: None, outcome: ReloadOutcome::Failed, at: Tick(7), why: None };
        assert_eq!(Record::parse(line), Some(Record::Reload(reload)));
    }
}
