//! Addresses of listening sockets, as `--bind` takes them.
//!
//! `HOST:PORT`, `[V6]:PORT`, `:PORT` (0.0.0.0) or `unix:PATH`; HOST is a
//! numeric address or `localhost` (127.0.0.1). Names are not looked up: which
//! address a socket has must not depend on a resolver at boot. `[V6%N]` names
//! the interface with index N. With `NAME=` in front an address has a name,
//! by which the application finds its socket.
//!
//! A path has at most 107 bytes, which is what unix(7) has room for beside
//! the final NUL. Whatever begins with `unix:` has no name, so that a path
//! may contain `=`.

use super::pieces::cut;
use super::{decimal, fdname, inet, printable};
use crate::tape::{Tape, Taped, taped};
use crate::text;
use alloc::ffi::CString;
use alloc::string::String;
use core::fmt;
use core::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

/// The most bytes of a path that fit into an address of unix(7).
const LONGEST_PATH: usize = 107;

const NOT_INET6: &str = "what is in brackets is not an IPv6 address";

/// Where a socket listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// An address and a port; port 0 lets the kernel choose one.
    Inet(SocketAddr),
    /// A path in the file system, of 1 to 107 bytes.
    Unix(CString),
}

/// What `--bind` asks for: a listening socket and what it is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bind {
    /// The operator's name for it, not yet escaped; short enough to carry.
    pub name: Option<String>,
    /// Where it listens.
    pub address: Address,
}

taped! { struct Bind { name, address } }

impl Taped for Address {
    fn blank() -> Self {
        Self::Unix(CString::default())
    }

    fn tape(&mut self, tape: &mut Tape) {
        let kind = match self {
            Self::Unix(_) => 0,
            Self::Inet(SocketAddr::V4(_)) => 4,
            Self::Inet(SocketAddr::V6(_)) => 6,
        };
        let kind = tape.number(kind, 6);
        if let (0, Self::Unix(path)) = (kind, &mut *self) {
            return path.tape(tape);
        }
        let (mut bytes, mut port, mut interface) = ([0; 16], 0, 0);
        if let Self::Inet(address) = self {
            (bytes, port) = (to_v6(address.ip()).octets(), address.port());
            interface = if let SocketAddr::V6(address) = address { address.scope_id() } else { 0 };
        }
        bytes.tape(tape);
        port.tape(tape);
        interface.tape(tape);
        let ip = Ipv6Addr::from(bytes);
        *self = Self::Inet(match (kind, ip.to_ipv4_mapped()) {
            (4, Some(ip)) => SocketAddr::V4(SocketAddrV4::new(ip, port)),
            _ => SocketAddr::V6(SocketAddrV6::new(ip, port, 0, interface)),
        });
    }
}

/// The 16 bytes that stand for an address.
fn to_v6(address: IpAddr) -> Ipv6Addr {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    }
}

/// Reads an address without a name.
///
/// # Errors
///
/// One clause that says what is wrong with it; nothing is guessed.
pub fn parse(text: &[u8]) -> Result<Address, &'static str> {
    if let Some(path) = text.strip_prefix(b"unix:") {
        return parse_path(path).map(Address::Unix);
    }
    let inside = text.strip_prefix(b"[");
    let (host, port) = match inside.map(|text| cut(text, b']')) {
        Some(None) => return Err(NOT_INET6),
        Some(Some((host, after))) => (host, after.strip_prefix(b":")),
        None => cut(text, b':').map_or((text, None), |(host, port)| (host, Some(port))),
    };
    let port = port.ok_or("the port is missing")?;
    if inside.is_none() && port.contains(&b':') {
        return Err("an IPv6 address needs brackets, as in [::1]:80");
    }
    let port = decimal::parse_short(port, u16::MAX);
    let port = port.ok_or("the port is not a number from 0 to 65535")?;
    let address = if inside.is_some() {
        let (ip, interface) = cut(host, b'%').unwrap_or((host, b"0"));
        let (ip, interface) = (inet::parse6(ip), decimal::parse(interface, u32::MAX));
        let (Some(ip), Some(interface)) = (ip, interface) else { return Err(NOT_INET6) };
        SocketAddr::V6(SocketAddrV6::new(ip, port, 0, interface))
    } else {
        let numeric: &[u8] = match host {
            [] => b"0.0.0.0",
            _ if host == b"localhost" => b"127.0.0.1",
            _ => host,
        };
        let ip =
            inet::parse4(numeric).ok_or("the host is neither a numeric address nor localhost")?;
        SocketAddr::V4(SocketAddrV4::new(ip, port))
    };
    Ok(Address::Inet(address))
}

/// Reads what follows `unix:`.
fn parse_path(path: &[u8]) -> Result<CString, &'static str> {
    match path {
        [] => Err("the path is missing"),
        [b'@', ..] => Err("a socket needs a path, and @ does not begin one (./@ does)"),
        _ if path.len() > LONGEST_PATH => Err("the path has more than 107 bytes"),
        _ => CString::new(path.to_vec()).map_err(|_| "the path contains a NUL"),
    }
}

impl Bind {
    /// Reads what `--bind` takes: an address, with `NAME=` in front or not.
    ///
    /// # Errors
    ///
    /// One clause that says what is wrong with the name or the address.
    pub fn parse(text: &[u8]) -> Result<Self, &'static str> {
        let named = cut(text, b'=').filter(|_| !text.starts_with(b"unix:"));
        let (name, address) = match named {
            Some((name, address)) => (Some(parse_name(name)?), address),
            None => (None, text),
        };
        Ok(Self { name, address: parse(address)? })
    }

    /// Whether the kernel chooses the port, so that each such socket is another.
    pub const fn chooses(&self) -> bool {
        matches!(self.address, Address::Inet(address) if address.port() == 0)
    }

    /// The name by which the socket is handed down, escaped: its own, or else
    /// its address.
    pub fn carried(&self) -> String {
        let name = match &self.name {
            Some(name) => name.clone(),
            None => text::compose(format_args!("{}", self.address)),
        };
        fdname::escape(name.as_bytes()).unwrap_or_default()
    }
}

/// Reads a name, which must fit where names are carried.
fn parse_name(name: &[u8]) -> Result<String, &'static str> {
    let text = printable::lossy(name);
    match fdname::escape(name) {
        Some(carried) if !carried.is_empty() && text.as_bytes() == name => Ok(text),
        Some(_) | None => Err("the name is empty, longer than 255 bytes (escaped), or not UTF-8"),
    }
}

/// Reads as it was written, but for `localhost` and `:PORT`, which show the
/// address they stand for, and for control characters.
impl fmt::Display for Address {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inet(address) => inet::Shown(address).fmt(out),
            Self::Unix(path) => {
                out.write_str("unix:")?;
                printable::write_text(out, path.as_bytes(), LONGEST_PATH)
            }
        }
    }
}

/// The address, with `NAME=` in front if it has a name.
impl fmt::Display for Bind {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(name) = &self.name {
            printable::write_text(out, name.as_bytes(), fdname::LONGEST)?;
            out.write_str("=")?;
        }
        self.address.fmt(out)
    }
}

#[cfg(test)]
mod tests {
    use super::{Bind, parse};
    use alloc::string::{String, ToString};
    use alloc::vec;

    fn shown(text: &str) -> String {
        parse(text.as_bytes()).expect(text).to_string()
    }

    #[test]
    fn an_address_reads_as_it_was_written() {
        for text in [
            "127.0.0.1:8080",
            "[::1]:80",
            "[fe80::1%3]:80",
            "0.0.0.0:0",
            "unix:/run/x.sock",
            "unix:tmp/x",
        ] {
            assert_eq!(shown(text), text);
        }
    }

    #[test]
    fn a_missing_host_is_every_address_and_localhost_is_one() {
        assert_eq!(shown(":80"), "0.0.0.0:80");
        assert_eq!(shown("localhost:80"), "127.0.0.1:80");
    }

    #[test]
    fn every_wrong_address_is_refused_for_its_reason() {
        for (text, why) in [
            (&b""[..], "the port is missing"),
            (b"8080", "the port is missing"),
            (b"[::1]", "the port is missing"),
            (b"[::1]80", "the port is missing"),
            (b"1.2.3.4:", "the port is not a number from 0 to 65535"),
            (b":+80", "the port is not a number from 0 to 65535"),
            (b":65536", "the port is not a number from 0 to 65535"),
            (b":80 ", "the port is not a number from 0 to 65535"),
            (b"[::1]:x", "the port is not a number from 0 to 65535"),
            (b"example.com:80", "the host is neither a numeric address nor localhost"),
            (b"1.2.3:80", "the host is neither a numeric address nor localhost"),
            (b"1.2.3.04:80", "the host is neither a numeric address nor localhost"),
            (b"\xff:80", "the host is neither a numeric address nor localhost"),
            (b"::1:80", "an IPv6 address needs brackets, as in [::1]:80"),
            (b"[::1:80", "what is in brackets is not an IPv6 address"),
            (b"[1.2.3.4]:80", "what is in brackets is not an IPv6 address"),
            (b"[::1%eth0]:80", "what is in brackets is not an IPv6 address"),
            (b"unix:", "the path is missing"),
            (b"unix:@x", "a socket needs a path, and @ does not begin one (./@ does)"),
            (b"unix:/a\0b", "the path contains a NUL"),
        ] {
            assert_eq!(parse(text), Err(why), "{text:?}");
        }
    }

    #[test]
    fn a_path_has_at_most_107_bytes() {
        let mut text = b"unix:".to_vec();
        text.extend(vec![b'x'; 107]);
        assert!(parse(&text).is_ok());
        text.push(b'x');
        assert_eq!(parse(&text), Err("the path has more than 107 bytes"));
    }

    #[test]
    fn a_path_keeps_bytes_that_are_no_text() {
        let address = parse(b"unix:/\xff").expect("any byte but NUL may be in a path");
        assert_eq!(address, super::Address::Unix(c"/\xff".into()));
    }

    #[test]
    fn a_name_stands_before_the_address() {
        let bind = Bind::parse(b"web=:80").expect("it is right");
        assert_eq!(bind.name.as_deref(), Some("web"));
        assert_eq!(bind.to_string(), "web=0.0.0.0:80");
        let bind = Bind::parse(b"web=unix:/a=b").expect("it is right");
        assert_eq!(bind.to_string(), "web=unix:/a=b");
    }

    #[test]
    fn an_equals_sign_in_a_path_makes_no_name() {
        let bind = Bind::parse(b"unix:/a=b").expect("it is right");
        assert_eq!((bind.name.as_deref(), bind.to_string().as_str()), (None, "unix:/a=b"));
    }

    #[test]
    fn a_name_that_cannot_be_carried_is_refused() {
        assert_eq!(
            Bind::parse(b"=:80"),
            Err("the name is empty, longer than 255 bytes (escaped), or not UTF-8")
        );
        assert_eq!(
            Bind::parse(b"\xff=:80"),
            Err("the name is empty, longer than 255 bytes (escaped), or not UTF-8")
        );
        let mut text = vec![b'n'; 256];
        text.extend(b"=:80");
        assert_eq!(
            Bind::parse(&text),
            Err("the name is empty, longer than 255 bytes (escaped), or not UTF-8")
        );
        assert_eq!(
            Bind::parse(b"a=b=:80"),
            Err("the host is neither a numeric address nor localhost")
        );
    }
}
