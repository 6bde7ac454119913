//! Random bytes into everything that reads what comes from outside.

use crate::config::option_table::Options;
use crate::config::{command_line, config_file, env_file};
use crate::ctl::args;
use crate::protocol::{
    address, control_protocol, event_lines, fdnames, json, metrics, sd_notify, status_records,
    status_report, status_tree,
};
use crate::types::Tick;
use crate::{cgroup, decimal, log_line, seconds};
use alloc::ffi::CString;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write as _;

/// Right in one format or another; the beginnings of what is wrong.
const SEEDS: &[&[u8]] = &[
    b"a=[fe80::1%3]:80",
    b"localhost:65535",
    b"n=unix:/run/x=y.sock",
    b"1000000000.0009",
    b"0::/a/b",
    b"50000 100000\n",
    b"-qn4 --timeout=1.5 -b :80 -- ./app \xff",
    b"A='x'\n# y\nB=\"\\\"\"\nC=3\n",
    br"a:\x3a\x41\xzz:\\",
    b"count: 4 # x\nbind:\n- ':80'\ncommand:\n  - \"\\x41\"\nquiet: true\n",
    b"READY=1\nFDSTORE=1\nFDNAME=web\nSTATUS=\xc3\xa9\n",
    b"panzer/1 scale +7",
    b"generation number=2 state=current leader=12 since=1 says=a\\x20b board=yes",
    b"main version=0.1.0 pid=12 now=81203 up=5012 state=running program=/bin/panzer dropped=0\n\
      reload generation=3 outcome=failed at=80100 why=it\\x20left\\x0a\xc3\xa9\n\
      listener name=w\"eb address=127.0.0.1:80 origin=bound queue=0 backlog=4096",
    b"-px status --json -t .5",
    "a…\u{1b}[2J\"\\🦀".as_bytes(),
];

/// Everything that reads what comes from outside.
fn read_as_everything(bytes: &[u8]) {
    read_as_values(bytes);
    read_as_files(bytes);
    read_as_messages(bytes);
    read_as_arguments(bytes);
    show_as_lines(bytes);
}

/// What stands in options, variables and the files of the kernel.
fn read_as_values(bytes: &[u8]) {
    let _ = decimal::parse(bytes, u32::MAX);
    let _ = seconds::parse(bytes).map(|length| {
        assert_eq!(seconds::parse(format(seconds::Seconds(length)).as_bytes()), Some(length));
    });
    let _ = address::Bind::parse(bytes).map(format);
    let _ = cgroup::parse(bytes, b"cpu").map(|(_, path)| cgroup::parent(path));
    let _ = cgroup::processors(bytes);
    let name = fdnames::unescape(bytes);
    if let Some(carried) = fdnames::escape(&name) {
        assert!(fdnames::is_valid(carried.as_bytes()));
        assert_eq!(fdnames::unescape(carried.as_bytes()), name);
    }
}

/// The operator's files.
fn read_as_files(bytes: &[u8]) {
    let _ = env_file::parse(bytes, &mut |_, _| ()).map_err(format);
    if let Err(reason) = config_file::apply(bytes, &mut Options::default()).map_err(format) {
        assert!(!reason.contains(char::is_control), "{reason:?}");
    }
}

/// What processes say to each other.
fn read_as_messages(bytes: &[u8]) {
    let _ = sd_notify::parse(bytes);
    let _ =
        control_protocol::Request::parse(bytes).map(|request| assert!(request.line().len() <= 64));
    let _ = control_protocol::Answer::parse(bytes);
    let mut picture = status_report::StatusReport::default();
    bytes.split(|&byte| byte == b'\n').for_each(|line| picture.take(line));
    show(&picture);
    let _ = status_records::Record::parse(bytes);
}

/// The command lines of both programs.
fn read_as_arguments(bytes: &[u8]) {
    let words: Vec<_> = bytes
        .split(|&byte| byte == b' ' || byte == 0)
        .filter_map(|word| CString::new(word).ok())
        .collect();
    let words: Vec<_> = words.iter().map(CString::as_c_str).collect();
    let options = command_line::parse(&words, &mut Options::default()).map_err(format).err();
    for usage in [options, args::parse(&words).err()] {
        assert!(!usage.is_some_and(|usage| usage.contains(char::is_control)));
    }
}

/// Shows text of others in a line of the log and in one of the events.
fn show_as_lines(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let mut line = log_line::LogLine::new();
    line.write_str(&text).expect("a line takes everything");
    let reason = event_lines::EventLine {
        reason: Some(&text),
        ..event_lines::EventLine::new(event_lines::EventName::Failed)
    };
    for line in [line, reason.line(Tick(0))] {
        let text = core::str::from_utf8(line.as_bytes()).expect("a line is text");
        assert_eq!(text.find('\n'), Some(text.len() - 1));
    }
}

/// Shows a picture in every way.
fn show(picture: &status_report::StatusReport) {
    let tree = status_tree::render(picture, false);
    assert!(!tree.replace('\n', "").contains(char::is_control), "{tree:?}");
    assert!(tree.lines().all(|line| line.chars().count() <= 80), "{tree}");
    let json = json::render(picture);
    assert_eq!(json.find(char::is_control), Some(json.len() - 1), "{json}");
    let metrics = metrics::render(picture);
    assert!(metrics.lines().all(|line| line.starts_with("panzer_") || line.starts_with("# ")));
}

fn format(value: impl core::fmt::Display) -> String {
    alloc::format!("{value}")
}

#[test]
fn parsers_do_not_panic_on_random_input() {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state >> 33).expect("31 bits fit") % below
    };
    for seed in SEEDS {
        read_as_everything(seed);
        for _ in 0..2_000 {
            let mut bytes = seed.to_vec();
            for _ in 0..=random(4) {
                let place = random(bytes.len() + 1);
                let other = SEEDS[random(SEEDS.len())];
                match random(4) {
                    0 => bytes.truncate(place),
                    1 => bytes.insert(place, u8::try_from(random(256)).expect("it is a byte")),
                    2 => drop(bytes.splice(place.., other.iter().copied())),
                    _ => bytes.extend_from_within(..place),
                }
            }
            read_as_everything(&bytes);
        }
    }
}
