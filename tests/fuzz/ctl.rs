//! The command line of panzerctl.

use super::{assert_shown, words};
use crate::ctl::args::{Args, Format, HELP, VERSION, Wanted, parse};
use crate::protocol::control_protocol::Request;
use crate::seconds::Seconds;
use crate::text::compose;
use alloc::ffi::CString;
use alloc::string::String;
use alloc::vec::Vec;

fn parsed(words: &[CString]) -> Result<Wanted, String> {
    parse(&words.iter().map(CString::as_c_str).collect::<Vec<_>>())
}

/// The words that ask for this.
fn composed(args: &Args) -> Vec<CString> {
    let mut words: Vec<CString> = Vec::new();
    if let Some(path) = &args.pid_file {
        words.extend([c"--pid".into(), path.clone()]);
    }
    if let Some(span) = args.timeout {
        let word = compose(format_args!("--timeout={}", Seconds(span)));
        words.push(CString::new(word).expect("it has no NUL"));
    }
    match args.form {
        Format::Tree => {}
        Format::Json => words.push(c"--json".into()),
        Format::Metrics => words.push(c"--metrics".into()),
    }
    words.extend(args.watch.then(|| c"--watch".into()));
    words.extend((!args.wait).then(|| c"--no-wait".into()));
    let command = compose(format_args!("{}", args.request));
    words.extend(command.split(' ').map(|word| CString::new(word).expect("it has no NUL")));
    words
}

pub fn read(bytes: &[u8]) {
    let mut words = words(bytes);
    match parsed(&words) {
        Err(reason) => assert_shown(&reason),
        Ok(Wanted::Show(text)) => assert!(text == HELP || text == VERSION),
        Ok(Wanted::Ask(args)) => {
            let is_status = args.request == Request::Status;
            assert!(is_status || args.form == Format::Tree && !args.watch);
            assert_eq!(parsed(&composed(&args)), Ok(Wanted::Ask(args)));
        }
    }
    // The first of them may be a value.
    words.extend([c"--help".into(), c"--help".into()]);
    assert_eq!(parsed(&words), Ok(Wanted::Show(HELP)));
}
