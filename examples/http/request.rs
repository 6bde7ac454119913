//! Parses the head of an HTTP/1 request.
//!
//! It reads only what decides how the connection continues: the version, the length of the
//! body, and whether the client keeps the connection. Every target and every method gets the
//! same answer, and `Host` is not required.
//!
//! Pure: no socket, no clock.

/// The largest head of a request, in bytes.
pub const HEAD_LIMIT: usize = 8 * 1024;

/// The result of parsing.
#[derive(Debug, PartialEq, Eq)]
pub enum Parsed {
    /// The beginning of a request.
    Partial,
    /// A whole head, and how many bytes it took.
    Complete(Request, usize),
    /// Not a request that can be served.
    Refused(Refusal),
}

/// A parsed request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// How many bytes of body follow the head.
    pub body: u64,
    /// Whether the client wants to send another request.
    pub keep_alive: bool,
    /// Whether the answer has no body.
    pub is_head: bool,
}

/// Why a request is refused; each ends the connection, because it is not known where the
/// next request would begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It is not HTTP, or contradicts itself.
    Malformed,
    /// It did not arrive in time.
    Late,
    /// Its head is larger than [`HEAD_LIMIT`].
    TooLarge,
    /// It has a transfer coding.
    Coded,
    /// It is not HTTP/1.
    Version,
}

impl Refusal {
    /// The status code and its reason phrase.
    pub const fn status(self) -> &'static str {
        match self {
            Self::Malformed => "400 Bad Request",
            Self::Late => "408 Request Timeout",
            Self::TooLarge => "431 Request Header Fields Too Large",
            Self::Coded => "501 Not Implemented",
            Self::Version => "505 HTTP Version Not Supported",
        }
    }
}

/// Reads the head of a request from the beginning of `input`.
pub fn parse(input: &[u8]) -> Parsed {
    match head_length(input) {
        None if input.len() < HEAD_LIMIT => Parsed::Partial,
        Some(length) if length <= HEAD_LIMIT => match head(&input[..length]) {
            Ok(request) => Parsed::Complete(request, length),
            Err(refusal) => Parsed::Refused(refusal),
        },
        None | Some(_) => Parsed::Refused(Refusal::TooLarge),
    }
}

/// The length of the head with the empty line that ends it, and with empty lines before it,
/// which some clients send after a body.
fn head_length(input: &[u8]) -> Option<usize> {
    let mut length = 0;
    let mut is_begun = false;
    loop {
        let line = input[length..].split_inclusive(|byte| *byte == b'\n').next()?;
        if !line.ends_with(b"\n") {
            return None;
        }
        length += line.len();
        match line {
            b"\n" | b"\r\n" if is_begun => return Some(length),
            b"\n" | b"\r\n" => {}
            _ => is_begun = true,
        }
    }
}

/// Parses a whole head.
fn head(head: &[u8]) -> Result<Request, Refusal> {
    let mut lines = head
        .split(|byte| *byte == b'\n')
        .map(|line| line.strip_suffix(b"\r").unwrap_or(line))
        .filter(|line| !line.is_empty());
    let mut request = request_line(lines.next().unwrap_or_default())?;
    let mut length = None;
    for line in lines {
        let (name, value) = field(line)?;
        if name.eq_ignore_ascii_case(b"content-length") {
            let this = number(value)?;
            if length.is_some_and(|other| other != this) {
                return Err(Refusal::Malformed);
            }
            length = Some(this);
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            return Err(Refusal::Coded);
        } else if name.eq_ignore_ascii_case(b"connection") {
            request.keep_alive = keeps_alive(value, request.keep_alive);
        }
    }
    request.body = length.unwrap_or(0);
    Ok(request)
}

/// Parses `METHOD TARGET VERSION`.
fn request_line(line: &[u8]) -> Result<Request, Refusal> {
    let mut words = line.split(|byte| *byte == b' ');
    let (Some(method), Some(target), Some(version), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(Refusal::Malformed);
    };
    if !is_token(method) || target.is_empty() || !target.iter().all(u8::is_ascii_graphic) {
        return Err(Refusal::Malformed);
    }
    let keep_alive = match version {
        b"HTTP/1.1" => true,
        b"HTTP/1.0" => false,
        other if other.starts_with(b"HTTP/") => return Err(Refusal::Version),
        _ => return Err(Refusal::Malformed),
    };
    Ok(Request { body: 0, keep_alive, is_head: method == b"HEAD" })
}

/// Parses `Name: value`. A folded line has no name and is refused.
fn field(line: &[u8]) -> Result<(&[u8], &[u8]), Refusal> {
    let colon = line.iter().position(|byte| *byte == b':').ok_or(Refusal::Malformed)?;
    let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
    let is_clean = value.iter().all(|byte| *byte == b'\t' || !byte.is_ascii_control());
    if is_token(name) && is_clean { Ok((name, value)) } else { Err(Refusal::Malformed) }
}

/// Whether these bytes are a token of HTTP.
fn is_token(name: &[u8]) -> bool {
    let is_allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    !name.is_empty() && name.iter().all(is_allowed)
}

/// Parses a length: digits only, without overflow.
fn number(value: &[u8]) -> Result<u64, Refusal> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return Err(Refusal::Malformed);
    }
    let digits = str::from_utf8(value).map_err(|_| Refusal::Malformed)?;
    digits.parse().map_err(|_| Refusal::Malformed)
}

/// Whether the client keeps the connection, by a `Connection` field; `close` wins.
fn keeps_alive(value: &[u8], otherwise: bool) -> bool {
    let options = || value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
    let says = |word: &[u8]| options().any(|option| option.eq_ignore_ascii_case(word));
    !says(b"close") && (otherwise || says(b"keep-alive"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(input: &str) -> Parsed {
        parse(input.as_bytes())
    }

    fn accepted(input: &str) -> Request {
        match parsed(input) {
            Parsed::Complete(request, _) => request,
            other @ (Parsed::Partial | Parsed::Refused(_)) => panic!("{input:?} is {other:?}"),
        }
    }

    #[test]
    fn request_is_partial_until_its_last_byte() {
        let whole = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
        for length in 0..whole.len() {
            assert_eq!(parse(&whole[..length]), Parsed::Partial, "{length} bytes");
        }
        let request = Request { body: 0, keep_alive: true, is_head: false };
        assert_eq!(parse(whole), Parsed::Complete(request, whole.len()));
    }

    #[test]
    fn head_ends_before_the_next_request() {
        let first = "GET /1 HTTP/1.1\r\n\r\n";
        match parsed(&format!("{first}GET /2 HTTP/1.1\r\n\r\n")) {
            Parsed::Complete(_, length) => assert_eq!(length, first.len()),
            other @ (Parsed::Partial | Parsed::Refused(_)) => panic!("{other:?}"),
        }
    }

    #[test]
    fn empty_lines_before_a_request_are_skipped() {
        assert!(accepted("\r\n\r\nGET / HTTP/1.1\r\n\r\n").keep_alive);
        assert_eq!(parsed("\r\n\r\n"), Parsed::Partial);
    }

    #[test]
    fn head_is_limited_to_8_kib() {
        let frame = "GET / HTTP/1.1\r\nA: \r\n\r\n".len();
        let head =
            |size: usize| format!("GET / HTTP/1.1\r\nA: {}\r\n\r\n", "x".repeat(size - frame));
        assert!(accepted(&head(HEAD_LIMIT)).keep_alive);
        assert_eq!(parsed(&head(HEAD_LIMIT + 1)), Parsed::Refused(Refusal::TooLarge));
        assert_eq!(parsed(&"x".repeat(HEAD_LIMIT)), Parsed::Refused(Refusal::TooLarge));
    }

    #[test]
    fn keep_alive_follows_version_and_connection_field() {
        assert!(accepted("GET / HTTP/1.1\r\n\r\n").keep_alive);
        assert!(!accepted("GET / HTTP/1.1\r\nConnection: Close\r\n\r\n").keep_alive);
        assert!(!accepted("GET / HTTP/1.1\r\nConnection: keep-alive, close\r\n\r\n").keep_alive);
        assert!(!accepted("GET / HTTP/1.0\r\n\r\n").keep_alive);
        assert!(accepted("GET / HTTP/1.0\r\nconnection:Keep-Alive\r\n\r\n").keep_alive);
    }

    #[test]
    fn a_body_has_one_length_in_digits() {
        let post = |fields: &str| format!("POST / HTTP/1.1\r\n{fields}\r\n");
        assert_eq!(accepted(&post("Content-Length: 12\r\n")).body, 12);
        assert_eq!(accepted(&post("Content-Length: 12\r\nContent-Length: 12\r\n")).body, 12);
        let wrong = ["-1", "+1", "", "1 2", "1, 1", "0x1", "18446744073709551616"];
        for length in wrong {
            let parsed = parsed(&post(&format!("Content-Length: {length}\r\n")));
            assert_eq!(parsed, Parsed::Refused(Refusal::Malformed), "{length:?}");
        }
        let twice = post("Content-Length: 1\r\nContent-Length: 2\r\n");
        assert_eq!(parsed(&twice), Parsed::Refused(Refusal::Malformed));
        let coded = post("Transfer-Encoding: chunked\r\n");
        assert_eq!(parsed(&coded), Parsed::Refused(Refusal::Coded));
    }

    #[test]
    fn malformed_requests_are_refused() {
        let malformed = [
            "GET\r\n\r\n",
            "GET /\r\n\r\n",
            "GET  / HTTP/1.1\r\n\r\n",
            "GET / HTTP/1.1 \r\n\r\n",
            "G(T / HTTP/1.1\r\n\r\n",
            "GET / FTP/1.1\r\n\r\n",
            "GET / HTTP/1.1\r\nA : b\r\n\r\n",
            "GET / HTTP/1.1\r\nA: b\r\n folded\r\n\r\n",
            "GET / HTTP/1.1\r\nA: b\rc\r\n\r\n",
            "GET / HTTP/1.1\r\nno colon\r\n\r\n",
        ];
        for input in malformed {
            assert_eq!(parsed(input), Parsed::Refused(Refusal::Malformed), "{input:?}");
        }
        assert_eq!(parsed("GET / HTTP/2.0\r\n\r\n"), Parsed::Refused(Refusal::Version));
    }
}
