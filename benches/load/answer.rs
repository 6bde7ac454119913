//! Parses the answers of the examples `http`, `basic` and `hello.py`, and accepts nothing
//! else.
//!
//! Pure: no socket, no clock.

/// What an answer says about its server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The generation that answered; 0 without panzer, and from `hello.py`.
    pub generation: u32,
    /// The slot of the worker that answered; 0 from `hello.py`.
    pub slot: u16,
    /// The worker's pid; 0 from `basic`, which does not send it.
    pub pid: u32,
    /// Whether another request may follow on this connection.
    pub keeps_alive: bool,
}

/// The result of parsing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parsed {
    /// The beginning of an answer.
    Partial,
    /// One whole answer and nothing after it.
    Complete(Answer),
    /// Not an answer.
    Wrong,
}

/// Parses the answer to one request from its first byte.
pub fn parse(received: &[u8]) -> Parsed {
    let Ok(received) = str::from_utf8(received) else { return Parsed::Wrong };
    let Some((head, body)) = received.split_once("\r\n\r\n") else { return Parsed::Partial };
    let Some((length, keeps_alive)) = read_head(head) else { return Parsed::Wrong };
    match read_body(body, keeps_alive) {
        _ if body.len() < length => Parsed::Partial,
        Some(answer) if body.len() == length => Parsed::Complete(answer),
        Some(_) | None => Parsed::Wrong,
    }
}

/// Parses the one line of `basic`; `received` is the whole answer.
pub fn parse_line(received: &[u8]) -> Option<Answer> {
    let line = str::from_utf8(received).ok()?.strip_suffix('\n')?;
    let (generation, slot) =
        line.strip_prefix("hello from generation ")?.split_once(", worker ")?;
    let (generation, slot) = (generation.parse().ok()?, slot.parse().ok()?);
    Some(Answer { generation, slot, pid: 0, keeps_alive: false })
}

/// Parses the length of the body, and whether the connection is kept.
fn read_head(head: &str) -> Option<(usize, bool)> {
    let mut lines = head.split("\r\n");
    let (mut length, mut keeps_alive) = match lines.next()? {
        "HTTP/1.1 200 OK" => (None, true),
        "HTTP/1.0 200 OK" => (None, false),
        _ => return None,
    };
    for line in lines {
        let (name, value) = line.split_once(": ")?;
        if name.eq_ignore_ascii_case("content-length") {
            length = Some(value.parse().ok()?);
        } else if name.eq_ignore_ascii_case("connection") {
            keeps_alive = !value.eq_ignore_ascii_case("close");
        }
    }
    Some((length?, keeps_alive))
}

/// Parses `gen=G slot=S pid=P`, or `hello from P`, and the end of the line.
fn read_body(body: &str, keeps_alive: bool) -> Option<Answer> {
    if let Some(pid) = body.strip_prefix("hello from ") {
        let pid = pid.strip_suffix('\n')?.parse().ok()?;
        return Some(Answer { generation: 0, slot: 0, pid, keeps_alive });
    }
    let mut words = body.strip_suffix('\n')?.split(' ');
    let generation = words.next()?.strip_prefix("gen=")?.parse().ok()?;
    let slot = words.next()?.strip_prefix("slot=")?.parse().ok()?;
    let pid = words.next()?.strip_prefix("pid=")?.parse().ok()?;
    words.next().is_none().then_some(Answer { generation, slot, pid, keeps_alive })
}
