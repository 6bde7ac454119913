//! Datagrams to a notify socket.

use super::{assert_shown, lines};
use crate::printable;
use crate::protocol::control_protocol::LONGEST_ANSWER;
use crate::protocol::fdnames;
use crate::protocol::sd_notify::{News, Notice, Store, keep, news, parse, remove};
use crate::protocol::status_records::{Life, Record};
use crate::text::compose;
use crate::types::{Generation, Pid, Slot, Stage, Tick};
use alloc::borrow::Cow;
use alloc::string::String;
use alloc::vec::Vec;

/// The line that tells this.
fn line_of(news: &News<'_>) -> Vec<u8> {
    let (start, reason) = match *news {
        News::Lost { slot, pid, reason } => {
            (compose(format_args!("X_PANZER=lost {slot} {pid} ")), reason)
        }
        News::Respawned { slot, pid } => {
            (compose(format_args!("X_PANZER=respawn {slot} {pid}")), &b""[..])
        }
        News::Unusable { status, reason } => {
            (compose(format_args!("X_PANZER=unusable {} ", u32::from(status))), reason)
        }
        News::Scaled { count } => {
            (compose(format_args!("X_PANZER=scaled {}", u32::from(count))), &b""[..])
        }
    };
    [start.as_bytes(), reason].concat()
}

/// A datagram that says this.
fn composed(notice: &Notice<'_>, told: &[News<'_>]) -> Vec<u8> {
    let mut all: Vec<Vec<u8>> = Vec::new();
    all.extend(notice.ready.then(|| b"READY=1".to_vec()));
    all.extend(notice.stopping.then(|| b"STOPPING=1".to_vec()));
    all.extend(notice.status.map(|status| [b"STATUS=", status].concat()));
    all.extend(told.iter().map(line_of));
    all.push(match notice.store {
        Store::Nothing => Vec::new(),
        Store::Keep(name) => keep(name).expect("what is taken is valid"),
        Store::Remove(name) => remove(name).expect("what is taken is valid"),
    });
    all.join(&b'\n')
}

/// Texts of others end in the log, in events and in the status.
fn assert_fit_for_people(text: &[u8]) {
    assert!(!text.contains(&b'\n'));
    let lossy = printable::lossy(text);
    lines::read(lossy.as_bytes());
    let shown = compose(format_args!("{}", printable::Quoted(text)));
    assert_shown(&shown);
    let life = Life {
        number: Generation(1),
        state: Stage::Current,
        leader: Pid::new(1).expect("it is positive"),
        monitor: None,
        since: Tick(0),
        says: Some(Cow::Borrowed(lossy.as_bytes())),
        board: true,
    };
    let mut line = String::new();
    life.write(&mut line);
    assert!(line.len() <= LONGEST_ANSWER && line.find('\n') == Some(line.len() - 1), "{line}");
    let Some(Record::Life(read)) = Record::parse(&line.as_bytes()[..line.len() - 1]) else {
        panic!("{line}");
    };
    let says = read.says.clone().expect("it has said something");
    assert!(lossy.as_bytes().starts_with(&says));
    assert_eq!(Life { says: life.says.clone(), ..read }, life);
}

pub fn read(datagram: &[u8]) {
    let notice = parse(datagram);
    let told: Vec<_> = news(datagram).collect();
    let again = composed(&notice, &told);
    assert_eq!(parse(&again), notice);
    assert!(news(&again).eq(told.iter().copied()));
    // What is not understood changes nothing; of two equal keys the first counts.
    let more = [b"X=READY=1\n", datagram, b"\nREADY=0\n", datagram].concat();
    assert_eq!(parse(&more), notice);
    assert!(news(&more).eq(told.iter().chain(&told).copied()), "of news every line counts");
    for one in &told {
        match *one {
            News::Lost { reason, .. } | News::Unusable { reason, .. } => {
                assert_fit_for_people(reason);
            }
            News::Scaled { count } => assert!(count <= Slot::LAST),
            News::Respawned { .. } => {}
        }
    }
    assert_fit_for_people(notice.status.unwrap_or_default());
    match notice.store {
        Store::Nothing => {}
        Store::Keep(name) | Store::Remove(name) => assert!(fdnames::is_valid(name)),
    }
}
