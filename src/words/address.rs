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
use crate::text;
use alloc::ffi::CString;
use alloc::string::String;
use core::fmt;
use core::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV6};

/// The most bytes of a path that fit into an address of unix(7).
const LONGEST_PATH: usize = 107;

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

/// What is wrong with an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// There is no `:PORT`.
    NoPort,
    /// What follows the last colon is no port.
    Port,
    /// The host is a name, or an address with a slip in it.
    Host,
    /// An IPv6 address without its brackets.
    NoBrackets,
    /// What is in brackets is no IPv6 address.
    Inet6,
    /// `unix:` alone.
    NoPath,
    /// A path that no socket address can hold.
    LongPath,
    /// A path with a NUL in it.
    NulInPath,
    /// `unix:@NAME`, which elsewhere means a socket without a path.
    Abstract,
    /// A name that cannot be carried.
    Name,
}

impl Wrong {
    /// One clause that says what is wrong.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::NoPort => "the port is missing",
            Self::Port => "the port is not a number from 0 to 65535",
            Self::Host => "the host is neither a numeric address nor localhost",
            Self::NoBrackets => "an IPv6 address needs brackets, as in [::1]:80",
            Self::Inet6 => "what is in brackets is not an IPv6 address",
            Self::NoPath => "the path is missing",
            Self::LongPath => "the path has more than 107 bytes",
            Self::NulInPath => "the path contains a NUL",
            Self::Abstract => "a socket needs a path, and @ does not begin one (./@ does)",
            Self::Name => "the name is empty, longer than 255 bytes (escaped), or not UTF-8",
        }
    }
}

impl fmt::Display for Wrong {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.words())
    }
}

/// Reads an address without a name.
///
/// # Errors
///
/// [`Wrong`] says what is wrong with it; nothing is guessed.
pub fn parse(text: &[u8]) -> Result<Address, Wrong> {
    if let Some(path) = text.strip_prefix(b"unix:") {
        return parse_path(path).map(Address::Unix);
    }
    if let [b'[', text @ ..] = text {
        return parse_inet6(text).map(Address::Inet);
    }
    let (host, port) = cut(text, b':').ok_or(Wrong::NoPort)?;
    let ip = match host {
        _ if port.contains(&b':') => return Err(Wrong::NoBrackets),
        b"" => Ipv4Addr::UNSPECIFIED,
        b"localhost" => Ipv4Addr::LOCALHOST,
        _ => inet::parse4(host).ok_or(Wrong::Host)?,
    };
    Ok(Address::Inet(SocketAddr::new(IpAddr::V4(ip), parse_port(port)?)))
}

/// Reads what follows the opening bracket.
fn parse_inet6(text: &[u8]) -> Result<SocketAddr, Wrong> {
    let (inside, after) = cut(text, b']').ok_or(Wrong::Inet6)?;
    let [b':', port @ ..] = after else { return Err(Wrong::NoPort) };
    let port = parse_port(port)?;
    let (ip, interface) = match cut(inside, b'%') {
        Some((ip, index)) => (ip, decimal::parse(index, u32::MAX).ok_or(Wrong::Inet6)?),
        None => (inside, 0),
    };
    let ip = inet::parse6(ip).ok_or(Wrong::Inet6)?;
    Ok(SocketAddr::V6(SocketAddrV6::new(ip, port, 0, interface)))
}

/// Reads a port: 0 to 65535, digits alone.
fn parse_port(text: &[u8]) -> Result<u16, Wrong> {
    decimal::parse(text, u32::from(u16::MAX))
        .and_then(|port| u16::try_from(port).ok())
        .ok_or(Wrong::Port)
}

/// Reads what follows `unix:`.
fn parse_path(path: &[u8]) -> Result<CString, Wrong> {
    match path {
        [] => Err(Wrong::NoPath),
        [b'@', ..] => Err(Wrong::Abstract),
        _ if path.len() > LONGEST_PATH => Err(Wrong::LongPath),
        _ => CString::new(path).map_err(|_| Wrong::NulInPath),
    }
}

impl Bind {
    /// Reads what `--bind` takes: an address, with `NAME=` in front or not.
    ///
    /// # Errors
    ///
    /// [`Wrong`] says what is wrong with the name or the address.
    pub fn parse(text: &[u8]) -> Result<Self, Wrong> {
        let equals = text.iter().position(|&byte| byte == b'=');
        let named = equals.filter(|_| !text.starts_with(b"unix:"));
        match named.and_then(|end| text.split_at_checked(end)) {
            Some((name, [_, address @ ..])) => {
                Ok(Self { name: Some(parse_name(name)?), address: parse(address)? })
            }
            Some((_, [])) | None => Ok(Self { name: None, address: parse(text)? }),
        }
    }

    /// The name by which the socket is handed down, escaped: its own, or else
    /// its address.
    #[must_use]
    pub fn carried(&self) -> String {
        let name = match &self.name {
            Some(name) => name.clone(),
            None => text::compose(format_args!("{}", self.address)),
        };
        fdname::escape(name.as_bytes()).unwrap_or_default()
    }
}

/// Reads a name, which must fit where names are carried.
fn parse_name(name: &[u8]) -> Result<String, Wrong> {
    let text = printable::lossy(name);
    match fdname::escape(name) {
        Some(carried) if !carried.is_empty() && text.as_bytes() == name => Ok(text),
        Some(_) | None => Err(Wrong::Name),
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
    use super::{Bind, Wrong, parse};
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
            (&b""[..], Wrong::NoPort),
            (b"8080", Wrong::NoPort),
            (b"[::1]", Wrong::NoPort),
            (b"[::1]80", Wrong::NoPort),
            (b"1.2.3.4:", Wrong::Port),
            (b":+80", Wrong::Port),
            (b":65536", Wrong::Port),
            (b":80 ", Wrong::Port),
            (b"[::1]:x", Wrong::Port),
            (b"example.com:80", Wrong::Host),
            (b"1.2.3:80", Wrong::Host),
            (b"1.2.3.04:80", Wrong::Host),
            (b"\xff:80", Wrong::Host),
            (b"::1:80", Wrong::NoBrackets),
            (b"[::1:80", Wrong::Inet6),
            (b"[1.2.3.4]:80", Wrong::Inet6),
            (b"[::1%eth0]:80", Wrong::Inet6),
            (b"unix:", Wrong::NoPath),
            (b"unix:@x", Wrong::Abstract),
            (b"unix:/a\0b", Wrong::NulInPath),
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
        assert_eq!(parse(&text), Err(Wrong::LongPath));
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
        assert_eq!(Bind::parse(b"=:80"), Err(Wrong::Name));
        assert_eq!(Bind::parse(b"\xff=:80"), Err(Wrong::Name));
        let mut text = vec![b'n'; 256];
        text.extend(b"=:80");
        assert_eq!(Bind::parse(&text), Err(Wrong::Name));
        assert_eq!(Bind::parse(b"a=b=:80"), Err(Wrong::Host));
    }
}
