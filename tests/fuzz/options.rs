//! The command line of panzer.

use super::{address, assert_shown, rewritten, words};
use crate::config::command_line::{Invocation, parse};
use crate::config::config_file::apply;
use crate::config::option_table::{Count, Number, Options, PathOption};
use crate::config::print_config::show;
use crate::types::Slot;
use alloc::ffi::CString;
use alloc::string::ToString as _;
use alloc::vec::Vec;

/// The longest time that an option takes: a billion seconds.
const LONGEST: u64 = 1_000_000_000_000;
const TIMES: [Number; 7] = [
    Number::Timeout,
    Number::ReadyTimeout,
    Number::Probation,
    Number::DrainDelay,
    Number::Delay,
    Number::MaxDelay,
    Number::HangTimeout,
];
const PATHS: [PathOption; 5] =
    [PathOption::Chdir, PathOption::EnvFile, PathOption::Pid, PathOption::Config, PathOption::User];

pub fn read(bytes: &[u8]) {
    let owned = words(bytes);
    let line: Vec<_> = owned.iter().map(CString::as_c_str).collect();
    let mut options = Options::default();
    let invocation = parse(&line, &mut options);
    let help = [&[c"--help"], &line[..]].concat();
    assert_eq!(parse(&help, &mut Options::default()), Ok(Invocation::Help));
    match invocation {
        Err(reason) => return assert_shown(&reason.to_string()),
        Ok(Invocation::Help | Invocation::Version) => return,
        Ok(Invocation::Run | Invocation::Check) => {}
    }
    assert!(owned.ends_with(&options.command), "COMMAND is what the line ends with");
    let mut again = options.clone();
    assert_eq!(parse(&line, &mut again), invocation);
    assert_eq!(again, options, "the same line over it changes nothing");
    assert_taken(&options);
}

/// What holds for all options that are taken, wherever they stand.
pub fn assert_taken(options: &Options) {
    if let Some(Count::Fixed(count)) = options.count() {
        assert!(Slot::new(count).is_some(), "{count}");
    }
    for time in TIMES {
        assert!(options.number(time).is_none_or(|span| span <= LONGEST), "{time:?}");
    }
    assert!(options.ready_after().is_none_or(|span| span.0 <= LONGEST));
    assert!(options.number(Number::SocketMode).is_none_or(|mode| mode <= 0o777));
    for number in [Number::EventFd, Number::NotifyFd] {
        assert!(options.number(number).is_none_or(|fd| fd <= i32::MAX as u64));
    }
    assert!(PATHS.iter().all(|&path| options.path(path).is_none_or(|path| !path.is_empty())));
    options.bind.iter().for_each(address::assert_taken);
    assert_eq!(rewritten(&mut options.clone()).0.as_ref(), Some(options));
    assert_printed(options);
}

/// That what is printed of them is a file that means the same.
fn assert_printed(options: &Options) {
    let (shown, wrong) = show(options);
    wrong.iter().for_each(|reason| assert_shown(&reason.to_string()));
    let mut read = Options::default();
    apply(shown.as_bytes(), &mut read).expect("what is printed is a file");
    if !wrong.is_empty() {
        return;
    }
    if let Some(path) = options.path(PathOption::Config) {
        read.set_path(PathOption::Config, path.into());
    }
    assert_eq!(show(&read).0, shown, "what is printed reads back the same");
    assert_eq!((&read.command, &read.bind), (&options.command, &options.bind));
    assert_eq!((read.count(), read.verbosity), (options.count(), options.verbosity));
    assert_eq!((read.exec(), read.ready_after()), (options.exec(), options.ready_after()));
    assert_eq!(read.stop_signal(), options.stop_signal());
    assert!(TIMES.iter().all(|&time| read.effective(time) == options.effective(time)));
    assert!(PATHS.iter().all(|&path| read.path(path) == options.path(path)));
}
