//! What answers panzerctl, and says that it is main.

use super::ControlConnection;
use crate::ctl::args::{Args, Format};
use crate::ctl::connect::Found;
use crate::ctl::{Deadline, show_status};
use crate::fuzz::json;
use crate::protocol::control_protocol::{Answer, LONGEST_ANSWER, Request};
use crate::protocol::status_records::Record;
use crate::sys::socket;
use alloc::string::String;
use alloc::vec::Vec;

/// A connection over which this has come, and nothing more will.
fn connection(bytes: &[u8]) -> ControlConnection {
    let (fd, _) = socket::pair().expect("there is room");
    ControlConnection { fd, bytes: bytes.to_vec(), boards: Vec::new(), has_ended: true }
}

/// The line of a record.
fn written(record: &Record<'_>) -> String {
    let mut line = String::new();
    match record {
        Record::Main(main) => main.write(&mut line),
        Record::Outage(outage) => outage.write(&mut line),
        Record::Reload(reload) => reload.write(&mut line),
        Record::Listener(listener) => listener.write(&mut line),
        Record::Life(life) => life.write(&mut line),
    }
    line
}

/// That a record is written as one line that says the same. A text that is too long is
/// cut the first time.
fn assert_comes_back(record: &Record<'_>) {
    let line = written(record);
    assert_eq!(line.find('\n'), Some(line.len() - 1), "{line}");
    let again = Record::parse(&line.as_bytes()[..line.len() - 1]).expect("it was a record");
    assert_eq!(written(&again), line);
}

fn assert_lines(bytes: &[u8]) {
    let (mut connection, patience) = (connection(bytes), Deadline::begin(None, None));
    let mut rest = bytes;
    while let Ok(Some(line)) = connection.line(&patience) {
        assert!(line.len() < LONGEST_ANSWER && !line.contains(&b'\n'));
        rest = rest
            .strip_prefix(&line[..])
            .and_then(|rest| rest.strip_prefix(b"\n"))
            .expect("each line is the next one");
        if let Answer::Record(record) = Answer::parse(&line)
            && let Some(record) = Record::parse(record)
        {
            assert_comes_back(&record);
        }
    }
    assert!(rest.len() >= LONGEST_ANSWER || !rest.contains(&b'\n'), "all lines were read");
}

/// That this is OpenMetrics, as far as lines go.
fn assert_metrics(text: &str) {
    assert!(text.lines().all(|line| line.starts_with("panzer_") || line.starts_with("# ")));
    assert!(text.ends_with("# EOF\n"));
}

/// The target.
pub fn read(bytes: &[u8]) {
    assert_lines(bytes);
    for form in [Format::Tree, Format::Json, Format::Metrics] {
        let asking = Args {
            request: Request::Status,
            pid_file: None,
            timeout: None,
            wait: true,
            form,
            watch: false,
        };
        let found = Found { process: None, socket: c"/".into() };
        let patience = Deadline::begin(None, None);
        let shown = show_status::status(&asking, &found, connection(bytes), &patience, false);
        let Ok(text) = shown else { continue };
        match form {
            Format::Tree => {
                assert!(!text.replace('\n', "").contains(char::is_control), "{text:?}");
                assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
            }
            Format::Json => json::assert_valid(&text),
            Format::Metrics => assert_metrics(&text),
        }
    }
}
