//! What clients send over the control socket, and in which pieces it comes.

use super::Client;
use crate::fuzz::assert_shown;
use crate::protocol::control_protocol::{LONGEST_REQUEST, Request};
use crate::split::cut;
use crate::sys::message::{self, SendWait};
use crate::sys::socket;
use crate::types::{Slot, Tick};
use alloc::vec::Vec;

/// What main makes of it; nothing if the client has left before its line was whole.
type Heard = Option<Result<Request, &'static str>>;

fn heard(pieces: &[&[u8]]) -> Heard {
    let (fd, theirs) = socket::stream_pair().expect("there is room");
    let mut client = Client::new(fd, Tick(0));
    for piece in pieces.iter().filter(|piece| !piece.is_empty()) {
        let sent = message::send(theirs.borrow(), piece, None, SendWait::Never);
        assert_eq!(sent, Ok(piece.len()));
        // What does not come in one look comes in the next ones.
        for _ in 0..=piece.len() {
            if let Some(heard) = client.read_request() {
                assert!(client.has_asked && client.read_request().is_none(), "it asks once");
                return Some(heard);
            }
        }
        assert!(!client.is_gone && client.request.len() < LONGEST_REQUEST);
    }
    drop(theirs);
    assert!(client.read_request().is_none() && client.is_gone);
    None
}

/// What it is to make of it.
fn expected(sent: &[u8]) -> Heard {
    let start = &sent[..sent.len().min(LONGEST_REQUEST)];
    match cut(start, b'\n') {
        Some((line, _)) => Some(Request::parse(line)),
        None if start.len() == LONGEST_REQUEST => Some(Err("request line too long")),
        None => None,
    }
}

/// The target.
pub fn read(bytes: &[u8]) {
    assert_eq!(heard(&[bytes]), expected(bytes));
    let pieces: Vec<_> = bytes.split(|&byte| byte == 0).collect();
    let outcome = heard(&pieces);
    assert_eq!(outcome, expected(&pieces.concat()), "however it comes it means the same");
    match outcome {
        None => {}
        Some(Err(reason)) => assert_shown(reason),
        Some(Ok(request)) => {
            let line = request.line();
            assert!(line.len() <= LONGEST_REQUEST);
            let line = line.strip_suffix('\n').expect("a request is a line");
            assert_eq!(Request::parse(line.as_bytes()), Ok(request));
            if let Request::Scale(scale) = request {
                for count in [0, 1, 7, Slot::LAST] {
                    assert!(scale.of(count).is_none_or(|count| Slot::new(count).is_some()));
                }
            }
        }
    }
}
