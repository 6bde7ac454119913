//! What a process says over `NOTIFY_SOCKET`: sd_notify(3).
//!
//! One datagram holds assignments, one a line. Understood are `READY=1`,
//! `STOPPING=1`, `STATUS=…`, `FDSTORE=1` and `FDSTOREREMOVE=1` with
//! `FDNAME=…`, `BARRIER=1`, and this crate's own `X_PANZER=…`. Everything
//! else is ignored, as the protocol asks, and of a key that stands twice the
//! first counts, but of [`news`] every line. As with systemd, a name that is not valid
//! is no name: what is kept without one is called `stored`, and nothing is removed
//! without one.
//!
//! What stands in a datagram is a claim. Which process sent it, and what came along
//! with it, is not known here.

use super::fdnames;
use crate::decimal;
use crate::split::take;
use crate::types::{Pid, Slot};
use alloc::vec::Vec;

/// Says that the sender is ready.
pub const READY: &[u8] = b"READY=1";

/// What a descriptor is called that was sent without a valid name.
const UNNAMED: &[u8] = b"stored";

/// What one datagram says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Notice<'a> {
    /// The sender is ready.
    pub ready: bool,
    /// The sender is about to leave.
    pub stopping: bool,
    /// What the sender is doing, for people; any bytes but a newline.
    pub status: Option<&'a [u8]>,
    /// What to do with the descriptors that came along, or came before.
    pub store: Store<'a>,
}

/// What our own library has to tell, of a worker as a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News<'a> {
    /// `X_PANZER=lost SLOT PID WHY`: this worker died unasked.
    Lost {
        /// Its slot.
        slot: Slot,
        /// Its process, which is gone.
        pid: Pid,
        /// How it died, for people.
        reason: &'a [u8],
    },
    /// `X_PANZER=respawn SLOT PID`: its slot is filled again.
    Respawned {
        slot: Slot,
        /// The new process.
        pid: Pid,
    },
    /// `X_PANZER=unusable STATUS WHY`: what the workers are to run cannot be executed,
    /// and no worker was ever ready.
    Unusable {
        /// What a shell would leave with: 127 when it is not there, else 126.
        status: u8,
        /// Why, for people.
        reason: &'a [u8],
    },
    /// `X_PANZER=scaled COUNT`: it has so many workers now, all of them ready.
    Scaled {
        /// How many.
        count: u16,
    },
}

impl<'a> News<'a> {
    /// Takes the words behind `X_PANZER=` apart. `full` is no news: it only wakes main,
    /// which then reads on the board that every slot has a ready worker.
    fn parse(text: &'a [u8]) -> Option<Self> {
        let mut rest = text;
        let kind = take(&mut rest, b' ');
        if kind == b"scaled" {
            return decimal::parse_short(rest, Slot::LAST).map(|count| Self::Scaled { count });
        }
        if kind == b"unusable" {
            let status = decimal::parse(take(&mut rest, b' '), u8::MAX.into())?;
            return Some(Self::Unusable { status: status as u8, reason: rest });
        }
        let slot = Slot::new(decimal::parse_short(take(&mut rest, b' '), Slot::LAST)?)?;
        let pid = decimal::parse(take(&mut rest, b' '), i32::MAX.unsigned_abs())?;
        let pid = Pid::new(pid.cast_signed())?;
        if kind == b"respawn" {
            return Some(Self::Respawned { slot, pid });
        }
        (kind == b"lost").then_some(Self::Lost { slot, pid, reason: rest })
    }
}

/// What a datagram asks of the listener store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Store<'a> {
    /// Nothing: descriptors that came along are to be closed.
    Nothing,
    /// Keep the descriptors that came along under this name, as it is carried.
    Keep(&'a [u8]),
    /// Forget the stored descriptors of this name, as it is carried; those that
    /// came along are to be closed, even if the datagram also asks to keep them.
    Remove(&'a [u8]),
}

/// Reads one datagram. Whatever it holds, it says something or nothing.
pub fn parse(datagram: &[u8]) -> Notice<'_> {
    let says = |assignment: &[u8]| lines(datagram).any(|line| line == assignment);
    let value = |key: &[u8]| lines(datagram).find_map(|line| line.strip_prefix(key));
    let name = value(b"FDNAME=").filter(|name| fdnames::is_valid(name));
    Notice {
        ready: says(READY),
        stopping: says(b"STOPPING=1"),
        status: value(b"STATUS="),
        store: match name {
            _ if says(b"FDSTOREREMOVE=1") => name.map_or(Store::Nothing, Store::Remove),
            _ if says(b"FDSTORE=1") => Store::Keep(name.unwrap_or(UNNAMED)),
            Some(_) | None => Store::Nothing,
        },
    }
}

/// The news in a datagram: of these every line counts, in its order.
pub fn news(datagram: &[u8]) -> impl Iterator<Item = News<'_>> {
    lines(datagram).filter_map(|line| News::parse(line.strip_prefix(b"X_PANZER=")?))
}

fn lines(datagram: &[u8]) -> impl Iterator<Item = &[u8]> {
    datagram.split(|&byte| byte == b'\n')
}

/// Asks to keep the descriptors that go along, under `name` as it is carried;
/// `None` if that name is not valid.
pub fn keep(name: &[u8]) -> Option<Vec<u8>> {
    with_name(b"FDSTORE=1\nFDNAME=", name)
}

/// Asks to forget what is stored under `name` as it is carried; `None` if
/// that name is not valid.
pub fn remove(name: &[u8]) -> Option<Vec<u8>> {
    with_name(b"FDSTOREREMOVE=1\nFDNAME=", name)
}

/// Ends a datagram with a name, if that cannot add an assignment of its own.
fn with_name(start: &[u8], name: &[u8]) -> Option<Vec<u8>> {
    fdnames::is_valid(name).then(|| [start, name].concat())
}

#[cfg(test)]
mod tests {
    use super::{News, Notice, Store, keep, news, parse, remove};
    use crate::types::{Pid, Slot};

    const SILENCE: Notice<'_> =
        Notice { ready: false, stopping: false, status: None, store: Store::Nothing };

    #[test]
    fn each_assignment_is_parsed() {
        assert_eq!(parse(b"READY=1"), Notice { ready: true, ..SILENCE });
        assert_eq!(parse(b"STOPPING=1\n"), Notice { stopping: true, ..SILENCE });
        assert_eq!(parse(b"BARRIER=1"), SILENCE);
        assert_eq!(parse(b"STATUS=a=b \xff"), Notice { status: Some(b"a=b \xff"), ..SILENCE });
    }

    #[test]
    fn every_line_of_news_is_parsed() {
        let datagram = b"X_PANZER=lost 3 901 killed by SIGKILL\nX_PANZER=full\nREADY=1\n\
                         X_PANZER=respawn 3 901\nX_PANZER=scaled 7\n\
                         X_PANZER=unusable 127 cannot execute 'x'";
        let (slot, pid) = (Slot::new(3).expect("in range"), Pid::new(901).expect("positive"));
        let expected = [
            News::Lost { slot, pid, reason: b"killed by SIGKILL" },
            News::Respawned { slot, pid },
            News::Scaled { count: 7 },
            News::Unusable { status: 127, reason: b"cannot execute 'x'" },
        ];
        assert!(news(datagram).eq(expected));
        assert_eq!(parse(datagram), Notice { ready: true, ..SILENCE });
    }

    #[test]
    fn several_assignments_are_all_parsed() {
        let notice = parse(b"STATUS=up\nREADY=1\n\nFDNAME=web\nFDSTORE=1\n");
        let store = Store::Keep(b"web");
        assert_eq!(notice, Notice { ready: true, status: Some(b"up"), store, ..SILENCE });
    }

    #[test]
    fn unknown_assignments_are_ignored() {
        for datagram in [
            &b""[..],
            b"\n\n",
            b"READY=0",
            b"READY=11",
            b" READY=1",
            b"READY=1\r",
            b"ready=1",
            b"MAINPID=1\nWATCHDOG=1",
            b"X_PANZER=won",
            b"X_PANZER=lost",
            b"X_PANZER=lost 0 901 x",
            b"X_PANZER=lost 16384 901",
            b"X_PANZER=lost 3 0",
            b"X_PANZER=respawn 3 2147483648",
            b"X_PANZER=scaled",
            b"X_PANZER=scaled 16384",
            b"X_PANZER=scaled 7 8",
            b"FDNAME=web",
            b"\0\xff=",
            b"STATUS",
        ] {
            assert_eq!(parse(datagram), SILENCE, "{datagram:?}");
            assert_eq!(news(datagram).next(), None, "{datagram:?}");
        }
    }

    #[test]
    fn fdstore_without_a_valid_name_is_called_stored() {
        let stored = Store::Keep(b"stored");
        assert_eq!(parse(b"FDSTORE=1").store, stored);
        assert_eq!(parse(b"FDSTORE=1\nFDNAME=a:b").store, stored);
        assert_eq!(parse(b"FDSTORE=1\nFDNAME=\xc3\xa9").store, stored);
    }

    #[test]
    fn fdstoreremove_without_a_valid_name_is_ignored() {
        assert_eq!(parse(b"FDSTOREREMOVE=1").store, Store::Nothing);
        assert_eq!(parse(b"FDSTOREREMOVE=1\nFDNAME=a:b\nFDSTORE=1").store, Store::Nothing);
    }

    #[test]
    fn fdstoreremove_overrides_fdstore() {
        let notice = parse(b"FDSTORE=1\nFDSTOREREMOVE=1\nFDNAME=web");
        assert_eq!(notice.store, Store::Remove(b"web"));
    }

    #[test]
    fn first_of_two_equal_keys_wins() {
        assert_eq!(parse(b"STATUS=a\nSTATUS=b").status, Some(&b"a"[..]));
    }

    #[test]
    fn composed_messages_parse_back() {
        let sent = keep(br"\x3a80").expect("the name is valid");
        assert_eq!(parse(&sent), Notice { store: Store::Keep(br"\x3a80"), ..SILENCE });
        let sent = remove(b"web").expect("the name is valid");
        assert_eq!(parse(&sent), Notice { store: Store::Remove(b"web"), ..SILENCE });
    }

    #[test]
    fn newline_in_a_name_adds_no_assignment() {
        assert_eq!(keep(b"a\nREADY=1"), None);
        assert_eq!(remove(b"a:b"), None);
    }
}
