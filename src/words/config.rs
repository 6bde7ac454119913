//! The configuration file: the options by their long names, and `command`.
//!
//! `command` is a list, `bind` a list or one address, and every other option one
//! scalar; a flag is `true` or `false`. Whatever else stands there is refused.

use super::cli::{KNOWN, Takes};
use super::options::{self, Options};
use super::printable::Quoted;
use super::yaml::{self, Shape, Visitor};
use crate::error::{Error, Result};
use alloc::ffi::CString;

/// Sets what `file` says in `options`.
///
/// # Errors
///
/// One line: `3:14: what is wrong there`.
pub fn apply(file: &[u8], options: &mut Options) -> Result<()> {
    yaml::parse(file, &mut Settings { options, key: "" })
}

/// The options, and the one that is being set.
struct Settings<'o> {
    options: &'o mut Options,
    key: &'static str,
}

/// What makes up the program that is run.
const COMMAND: &str = "command";

impl Visitor for Settings<'_> {
    fn key(&mut self, key: &[u8]) -> Result<()> {
        let is_set = |takes| matches!(takes, Takes::Value | Takes::Nothing);
        let mut known = KNOWN.iter().filter(|known| is_set(known.takes)).map(|known| known.long);
        let found = known.find(|long| long.as_bytes() == key && *long != "config");
        self.key = match found {
            Some(long) => long,
            None if key == COMMAND.as_bytes() => COMMAND,
            None => return Err(Error::plain(format_args!("there is no option {}", Quoted(key)))),
        };
        Ok(())
    }

    fn value(&mut self, text: &[u8], shape: Shape) -> Result<()> {
        let key = self.key;
        let why = match shape {
            Shape::Item if key == COMMAND => {
                let word = CString::new(text);
                let word = word.map_err(|_| Error::plain(format_args!("a word contains a NUL")))?;
                self.options.command.push(word);
                return Ok(());
            }
            Shape::Alone if key == COMMAND => "has to be a list: the program and its words",
            Shape::Item if key != "bind" => "takes one value, not a list",
            Shape::Alone | Shape::Item => {
                return options::set(self.options, key, text)
                    .map_err(|why| Error::plain(format_args!("{key}: {why}")));
            }
        };
        Err(Error::plain(format_args!("{key}: {why}")))
    }
}

#[cfg(test)]
mod tests {
    use super::apply;
    use crate::types::{Level, Millis};
    use crate::words::options::{Count, Options};
    use alloc::ffi::CString;
    use alloc::string::{String, ToString as _};

    fn read(file: &str) -> Result<Options, String> {
        let mut options = Options::default();
        let done = apply(file.as_bytes(), &mut options);
        done.map(|()| options).map_err(|error| error.to_string())
    }

    #[test]
    fn every_kind_of_option_is_set() {
        let file = "count: 3\nbind:\n- web=localhost:0\n- unix:/a\ncommand: # it\n  - ./app\n  \
                    - '-v'\nquiet: true\nready-timeout: 1.5\nchdir: '/a b'\n";
        let options = read(file).expect("it is right");
        assert_eq!(
            (options.count, options.bind.len(), options.verbosity),
            (Some(Count::Fixed(3)), 2, Level::Warn)
        );
        assert!(options.command.iter().map(CString::as_c_str).eq([c"./app", c"-v"]));
        assert_eq!(options.ready_timeout, Millis(1_500));
        assert_eq!(options.chdir.as_deref(), Some(c"/a b"));
        assert_eq!(read("bind: :80").expect("one address is enough").bind.len(), 1);
    }

    #[test]
    fn whatever_is_wrong_is_said_with_its_place() {
        for (file, why) in [
            ("count: 0", "1:8: count: '0' is neither auto nor a number from 1 to 16383"),
            ("\ncount:\n- 1", "3:3: count: takes one value, not a list"),
            ("bind:\n- :80\n- 80", "3:3: bind: '80': the port is missing"),
            ("command: app", "1:10: command: has to be a list: the program and its words"),
            ("command:\n- \"a\\0\"", "2:3: a word contains a NUL"),
            ("config: a", "1:1: there is no option 'config'"),
            ("help: true", "1:1: there is no option 'help'"),
            ("check: true", "1:1: there is no option 'check'"),
            ("colour: red", "1:1: there is no option 'colour'"),
            ("quiet: 1", "1:8: quiet: '1' is neither true nor false"),
            ("a b", "1:1: a line is 'key: value', 'key:' before a list, '- item' or '# comment'"),
        ] {
            assert_eq!(read(file), Err(why.into()), "{file:?}");
        }
    }
}
