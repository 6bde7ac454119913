//! Reads the answers of the `http` and `basic` examples, and believes nothing
//! else.
//!
//! Pure: no socket, no clock.

/// What the server said of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The generation that answered; 0 without panzer.
    pub generation: u32,
    /// The slot of the worker that answered.
    pub slot: u16,
    /// The worker's pid; 0 from `basic`, which does not tell.
    pub pid: u32,
    /// Whether another request may follow on this connection.
    pub keeps_alive: bool,
}

/// What some bytes turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parsed {
    /// The beginning of an answer, as far as one can tell.
    Partial,
    /// One whole answer and nothing behind it.
    Complete(Answer),
    /// Something else.
    Wrong,
}

/// Reads the answer to one request, from its first byte on.
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

/// Reads the one line of `basic`, of which `received` is all that came.
pub fn parse_line(received: &[u8]) -> Option<Answer> {
    let line = str::from_utf8(received).ok()?.strip_suffix('\n')?;
    let (generation, slot) =
        line.strip_prefix("hello from generation ")?.split_once(", worker ")?;
    let (generation, slot) = (generation.parse().ok()?, slot.parse().ok()?);
    Some(Answer { generation, slot, pid: 0, keeps_alive: false })
}

/// Reads the length of the body, and whether the connection goes on.
fn read_head(head: &str) -> Option<(usize, bool)> {
    let mut lines = head.split("\r\n");
    if lines.next()? != "HTTP/1.1 200 OK" {
        return None;
    }
    let (mut length, mut keeps_alive) = (None, true);
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

/// Reads `gen=G slot=S pid=P` and the end of the line.
fn read_body(body: &str, keeps_alive: bool) -> Option<Answer> {
    let mut words = body.strip_suffix('\n')?.split(' ');
    let generation = words.next()?.strip_prefix("gen=")?.parse().ok()?;
    let slot = words.next()?.strip_prefix("slot=")?.parse().ok()?;
    let pid = words.next()?.strip_prefix("pid=")?.parse().ok()?;
    words.next().is_none().then_some(Answer { generation, slot, pid, keeps_alive })
}
