//! The configuration file: the options by their long names, and `command`.
//!
//! `command` is a list, `bind` a list or one address, and every other option one
//! scalar; a flag is `true` or `false`. Whatever else stands there is refused.

use super::{option_table, yaml};
use crate::config::option_table::{KNOWN, OptionSpec, Options, ValueKind};
use crate::config::yaml::Piece;
use crate::error::{Error, Result};
use crate::printable::Quoted;
use crate::types::Level;

/// Sets what `file` says in `options`.
///
/// # Errors
///
/// One line: `3:14: what is wrong there`.
pub fn apply(file: &[u8], options: &mut Options) -> Result<()> {
    let mut settings = FileReader { options, known: &KNOWN[0], seen: 0 };
    yaml::parse(file, &mut |piece, text| settings.take(piece, text))
}

/// The options, the one that is being set, and which ones were, as bits.
struct FileReader<'o> {
    options: &'o mut Options,
    known: &'static OptionSpec,
    seen: u32,
}

impl FileReader<'_> {
    fn take(&mut self, piece: Piece, text: &[u8]) -> Result<()> {
        if piece == Piece::Key {
            return self.take_key(text);
        }
        let (key, takes) = (self.known.long, self.known.takes);
        let set = match piece {
            Piece::Alone if matches!(takes, ValueKind::Command) => Err(Error::plain(format_args!(
                "must be a list: below it '- PROGRAM', and a '- ' line for each argument"
            ))),
            Piece::Item if !matches!(takes, ValueKind::Command | ValueKind::Bind) => {
                Err(Error::plain(format_args!("must be one value, not a list")))
            }
            // Keys have no order, so neither can be the last word.
            Piece::Alone
                if matches!(takes, ValueKind::Level(_))
                    && text == b"true"
                    && self.options.verbosity != Level::Info =>
            {
                Err(Error::plain(format_args!("quiet and verbose cannot both be true")))
            }
            Piece::Key | Piece::Alone | Piece::Item => self.options.set(self.known, text),
        };
        set.map_err(|reason| Error::plain(format_args!("{key}: {reason}")))
    }

    fn take_key(&mut self, key: &[u8]) -> Result<()> {
        let place = option_table::place_of(key).filter(|&place| KNOWN[place].takes.in_a_file());
        let Some(place) = place else {
            return Err(option_table::unknown("key", key, key, ValueKind::in_a_file));
        };
        if self.seen & 1 << place != 0 {
            return Err(Error::plain(format_args!("duplicate key {}", Quoted(key))));
        }
        self.seen |= 1 << place;
        self.known = &KNOWN[place];
        Ok(())
    }
}

const _: () = assert!(KNOWN.len() <= 32, "there is a bit for every option");

#[cfg(test)]
mod tests {
    use super::apply;
    use crate::config::option_table::{Count, Number, Options, PathOption};
    use crate::types::Level;
    use alloc::ffi::CString;
    use alloc::string::{String, ToString as _};

    fn read(file: &str) -> Result<Options, String> {
        let mut options = Options::default();
        let done = apply(file.as_bytes(), &mut options);
        done.map(|()| options).map_err(|error| error.to_string())
    }

    #[test]
    fn every_kind_of_option_is_read() {
        let file = "count: 3\nbind:\n- web=localhost:0\n- unix:/a\ncommand: # it\n  - ./app\n  \
                    - '-v'\nquiet: true\nready-timeout: 1.5\nchdir: '/a b'\n";
        let options = read(file).expect("it is right");
        assert_eq!((options.count(), options.bind.len()), (Some(Count::Fixed(3)), 2));
        assert_eq!(options.verbosity, Level::Warn);
        assert!(options.command.iter().map(CString::as_c_str).eq([c"./app", c"-v"]));
        assert_eq!(options.number(Number::ReadyTimeout), Some(1_500));
        assert_eq!(options.path(PathOption::Chdir), Some(c"/a b"));
        assert_eq!(read("bind: :80").expect("one address is enough").bind.len(), 1);
    }

    #[test]
    fn errors_have_line_and_column() {
        for (file, reason) in [
            (
                "count: 0",
                "1:8: count: invalid value '0', expected auto or a number from 1 to 16383",
            ),
            ("\ncount:\n- 1", "3:3: count: must be one value, not a list"),
            (
                "bind:\n- :80\n- 80",
                "3:3: bind: '80': an address is HOST:PORT, as in localhost:8080, or :8080 for all",
            ),
            (
                "command: app",
                "1:10: command: must be a list: below it '- PROGRAM', and a '- ' line for each \
                 argument",
            ),
            (
                "command:\n- \"a\\0\"",
                "2:3: command: invalid value 'a\\x00', a NUL byte is not allowed",
            ),
            ("config: a", "1:1: unknown key 'config'; panzer --help lists them"),
            ("help: true", "1:1: unknown key 'help'; panzer --help lists them"),
            ("check: true", "1:1: unknown key 'check'; panzer --help lists them"),
            ("hang_timeout: 5", "1:1: unknown key 'hang_timeout', did you mean hang-timeout?"),
            ("Count: 5", "1:1: unknown key 'Count', did you mean count?"),
            ("count: 1\ncount: 1", "2:1: duplicate key 'count'"),
            ("quiet: true\nquiet: true", "2:1: duplicate key 'quiet'"),
            ("colour: red", "1:1: unknown key 'colour'; panzer --help lists them"),
            ("quiet: 1", "1:8: quiet: invalid value '1', expected true or false"),
            ("quiet: true\nverbose: true", "2:10: verbose: quiet and verbose cannot both be true"),
            ("a b", "1:1: expected 'key: value', 'key:' before a list, '- item' or '# comment'"),
        ] {
            assert_eq!(read(file), Err(reason.into()), "{file:?}");
        }
    }
}
