//! What `panzer --help` and `panzer --version` print.
//!
//! The help names every option there is and fits on one screen of 30 lines
//! and 80 columns; the manual page says the rest.

/// The answer to `--help`.
pub const HELP: &str = "\
Usage: panzer [OPTIONS] [--] COMMAND [ARGS...]
Runs a server on all processors and replaces it without losing a connection.

  -n, --count N|auto       number of workers [COMMAND's own, else one per CPU]
  -x, --exec               every worker runs COMMAND, which need not know Panzer
  -b, --bind [NAME=]ADDR   listen on HOST:PORT, [V6]:PORT, :PORT or unix:/PATH
      --socket-mode OCTAL  permissions of the Unix sockets of --bind [umask]
  -C, --chdir DIR          working directory, entered again at every start
  -e, --env-file FILE      KEY=VALUE lines, read again at every start
  -t, --timeout SECS       in a stop, SIGINT after SECS, SIGKILL 2 s later [60]
      --stop-signal SIG    first signal of a stop for foreign programs [TERM]
      --ready notify|SECS  ready when it says so, or after SECS [notify]
      --ready-timeout SECS a start that is not ready after SECS has failed [60]
      --probation SECS     roll back a reload that fails within SECS [1, or 5]
      --drain-delay SECS   after a stop request, serve for SECS more [0]
      --delay SECS         wait before a second restart, then doubled [0.1]
      --max-delay SECS     longest wait before a restart [30]
      --give-up N          exit after N failed first starts; 0: never [5]
      --hang-timeout SECS  end a worker that is busy for longer; 0: never [0]
      --lifetime SECS      replace a worker that is older; 0: never [0]
  -u, --user USER[:GROUP]  run COMMAND as this user; sockets are opened before
  -p, --pid FILE           pid file, with the control socket [tmp/panzer.pid]
  -c, --config FILE        YAML file with these options [config/panzer.yml]
      --event-fd N         write each event as a line of JSON to descriptor N
      --notify-fd N        write a newline to descriptor N once it serves
      --check              show all options, and what is wrong with them
  -q, --quiet, -v, --verbose, -h, --help, -V, --version
Signals: USR1, HUP: reload; USR2: restart main; TERM, INT: stop; TTIN: status.
";

/// The answer to `--version`.
pub const VERSION: &str = concat!("panzer ", env!("CARGO_PKG_VERSION"), "\n");

#[cfg(test)]
mod tests {
    use super::{HELP, VERSION};
    use crate::config::option_table::{KNOWN, Number, ValueKind};
    use crate::seconds::Seconds;
    use crate::types::Millis;
    use alloc::string::ToString as _;
    use alloc::vec::Vec;

    /// The words of the help, without commas.
    fn words() -> Vec<&'static str> {
        HELP.split_whitespace().map(|word| word.trim_end_matches(',')).collect()
    }

    #[test]
    fn help_has_every_option_with_its_letter_and_value() {
        let words = words();
        for known in KNOWN.iter().filter(|known| known.takes != ValueKind::Command) {
            let place = words.iter().position(|word| word.strip_prefix("--") == Some(known.long));
            let place = place.unwrap_or_else(|| panic!("--{} is missing", known.long));
            let letter = words[place - 1].strip_prefix('-').filter(|text| text.len() == 1);
            assert_eq!(
                letter.map(|text| text.as_bytes()[0]),
                Some(known.short).filter(|short| *short != 0),
                "{}",
                known.long
            );
            if known.takes.a_value() {
                let value = words[place + 1];
                assert!(value.contains(|c: char| c.is_ascii_uppercase()), "{}", known.long);
            }
        }
    }

    #[test]
    fn help_has_no_unknown_option() {
        for name in words().iter().filter_map(|word| word.strip_prefix("--")) {
            let is_known = KNOWN.iter().any(|known| known.long == name);
            assert!(is_known, "--{name}");
        }
    }

    /// The text in brackets at the end of an option's line.
    fn shown_default(long: &str) -> &'static str {
        let name = ["--", long, " "].concat();
        let line = HELP.lines().find(|line| line.contains(&name)).expect("a line has it");
        line.trim_end_matches(']').rsplit('[').next().expect("a line has an end")
    }

    #[test]
    fn help_shows_the_real_defaults() {
        assert_eq!(shown_default("ready"), "notify");
        assert_eq!(shown_default("give-up"), "5");
        for known in KNOWN {
            if let ValueKind::Seconds(number) = known.takes {
                let mut shown =
                    Seconds(number.default().map(Millis).expect(known.long)).to_string();
                if number == Number::Probation {
                    // Where ready is taken from time lived it is longer.
                    shown.push_str(", or 5");
                }
                assert_eq!(shown_default(known.long), shown, "{}", known.long);
            }
        }
        assert_eq!(Number::GiveUp.default(), Some(5));
    }

    #[test]
    fn help_fits_on_one_screen() {
        assert!(HELP.lines().count() <= 30);
        for line in HELP.lines() {
            assert!(line.chars().count() <= 80, "{line}");
        }
    }

    #[test]
    fn version_is_that_of_the_manifest() {
        assert_eq!(VERSION, "panzer 0.1.0\n");
    }
}
