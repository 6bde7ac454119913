//! Addresses of listening sockets, as `--bind` takes them.
//!
//! `HOST:PORT`, `[V6]:PORT`, `:PORT` (0.0.0.0) or `unix:PATH`; HOST is a
//! numeric address or `localhost` (127.0.0.1). Names are not looked up: which
//! address a socket has must not depend on a resolver at boot. A link-local
//! address (fe80::/10) has a scope, the interface: `[V6%eth0]` by its name, `[V6%2]`
//! by its index. With `NAME=` in front an address has a name, by which the
//! application finds its socket.
//!
//! A path has at most 4,095 bytes, as open(2) takes it. Whatever begins with
//! `unix:` has no name, so that a path may contain `=`.

use super::fdnames;
use crate::persist::{Codec, Persist, persisted};
use crate::split::cut;
use crate::{decimal, printable, text};
use alloc::ffi::CString;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use core::str::{self, FromStr};

/// The most bytes of a path.
const LONGEST_PATH: usize = 4_095;
/// The most bytes of an interface's name: netdevice(7), `IFNAMSIZ`.
const LONGEST_INTERFACE: usize = 15;

const NOT_INET4: &str = "the host must be a numeric address or localhost: names are not looked up";
const NOT_INET6: &str = "no IPv6 address in the brackets";

/// Where a socket listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// An address and a port; port 0 lets the kernel choose one.
    Inet(SocketAddr),
    /// A link-local address, whose scope id is 0 here, and the name of its interface.
    Scoped(SocketAddrV6, CString),
    /// A path in the file system, of 1 to 4,095 bytes.
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

persisted! { struct Bind { name, address } }

impl Persist for Address {
    fn empty_value() -> Self {
        Self::Unix(CString::default())
    }

    fn persist(&mut self, codec: &mut Codec) {
        let kind = match self {
            Self::Unix(_) => 0,
            Self::Inet(SocketAddr::V4(_)) => 4,
            Self::Inet(SocketAddr::V6(_)) => 6,
            Self::Scoped(..) => 7,
        };
        let kind = codec.number(kind, 7);
        if let (0, Self::Unix(path)) = (kind, &mut *self) {
            return path.persist(codec);
        }
        let (mut bytes, mut port, mut scope) = ([0; 16], 0, 0);
        let mut interface = CString::default();
        match self {
            Self::Inet(SocketAddr::V4(v4)) => {
                (bytes, port) = (v4.ip().to_ipv6_mapped().octets(), v4.port());
            }
            Self::Inet(SocketAddr::V6(v6)) => {
                (bytes, port, scope) = (v6.ip().octets(), v6.port(), v6.scope_id());
            }
            Self::Scoped(v6, name) => {
                (bytes, port, interface) = (v6.ip().octets(), v6.port(), name.clone());
            }
            Self::Unix(_) => {}
        }
        bytes.persist(codec);
        port.persist(codec);
        scope.persist(codec);
        if kind == 7 {
            interface.persist(codec);
        }
        let v6 = SocketAddrV6::new(bytes.into(), port, 0, scope);
        *self = match (kind, v6.ip().to_ipv4_mapped(), scope) {
            (4, Some(ip), 0) => Self::Inet(SocketAddr::V4(SocketAddrV4::new(ip, port))),
            (6, ..) => Self::Inet(SocketAddr::V6(v6)),
            (7, _, 0) => Self::Scoped(v6, interface),
            _ => return codec.fail(),
        };
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
    let port = port.ok_or_else(|| without_port(host))?;
    if inside.is_none() && port.contains(&b':') {
        return Err(match port {
            [b'/', ..] => "an address is HOST:PORT, with no scheme in front and no path behind",
            _ => "an IPv6 address must be in brackets, as in [::1]:80",
        });
    }
    let port = decimal::parse_short(port, u16::MAX);
    let port = port.ok_or("the port must be a number from 0 to 65535")?;
    if inside.is_some() {
        return parse_inet6(host, port);
    }
    let ip = match host {
        b"" => Some(Ipv4Addr::UNSPECIFIED),
        b"localhost" => Some(Ipv4Addr::LOCALHOST),
        _ => parse_ip(host),
    };
    let ip = ip.ok_or(NOT_INET4)?;
    Ok(Address::Inet(SocketAddr::V4(SocketAddrV4::new(ip, port))))
}

/// What is said of an address that has no port.
fn without_port(text: &[u8]) -> &'static str {
    if text.contains(&b'/') {
        return "the path of a Unix socket has unix: in front";
    }
    "an address is HOST:PORT, as in localhost:8080, or :8080 for all"
}

/// Reads a numeric address, without port or scope.
fn parse_ip<A: FromStr>(text: &[u8]) -> Option<A> {
    str::from_utf8(text).ok()?.parse().ok()
}

/// Reads what stands in brackets: an address, and its scope if it is link-local.
fn parse_inet6(host: &[u8], port: u16) -> Result<Address, &'static str> {
    let (ip, scope) = match cut(host, b'%') {
        Some((ip, scope)) => (ip, Some(scope)),
        None => (host, None),
    };
    let ip: Ipv6Addr = parse_ip(ip).ok_or(NOT_INET6)?;
    let of = |scope_id| SocketAddrV6::new(ip, port, 0, scope_id);
    match (ip.is_unicast_link_local(), scope) {
        (false, None) => Ok(Address::Inet(SocketAddr::V6(of(0)))),
        (false, Some(_)) => Err("only a link-local address (fe80::/10) may have a scope"),
        (true, None) => {
            Err("a link-local address needs a network interface, as in [fe80::1%eth0]:80")
        }
        (true, Some(scope)) => match decimal::parse(scope, u32::MAX) {
            Some(0) => Err("the scope must be the name or index of a network interface"),
            Some(index) => Ok(Address::Inet(SocketAddr::V6(of(index)))),
            None => Ok(Address::Scoped(of(0), parse_interface(scope)?)),
        },
    }
}

/// Reads the name of an interface, which need not be there yet.
fn parse_interface(name: &[u8]) -> Result<CString, &'static str> {
    let is_name = (1..=LONGEST_INTERFACE).contains(&name.len())
        && name.iter().all(|byte| byte.is_ascii_graphic() && !b"/:%".contains(byte));
    let name = is_name.then(|| CString::new(name.to_vec()).ok()).flatten();
    name.ok_or("the scope must be the name or index of a network interface")
}

/// Reads what follows `unix:`.
fn parse_path(path: &[u8]) -> Result<CString, &'static str> {
    match path {
        [] => Err("path missing, as in unix:/run/app.sock"),
        [b'@', ..] => {
            Err("abstract sockets are not supported (for a file named @NAME write ./@NAME)")
        }
        _ if path.len() > LONGEST_PATH => Err("the path is longer than 4095 bytes"),
        _ => CString::new(path.to_vec()).map_err(|_| "the path contains a NUL byte"),
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
        let bind = Self { name, address: parse(address)? };
        if fdnames::escape(bind.shown_name().as_bytes()).is_none() {
            return Err(
                "the path is too long to be the name of the socket (255 bytes, escaped); give \
                 it a name: NAME=unix:PATH",
            );
        }
        Ok(bind)
    }

    /// Its own name, or else its address.
    fn shown_name(&self) -> String {
        match &self.name {
            Some(name) => name.clone(),
            None => text::compose(format_args!("{}", self.address)),
        }
    }

    /// What reads as this. What is shown of it has other bytes for those that are no text.
    pub fn written(&self) -> Vec<u8> {
        let name = self.name.as_ref().filter(|_| !self.is_unnamed());
        let name = name.map_or_else(Vec::new, |name| [name.as_bytes(), b"="].concat());
        match &self.address {
            Address::Unix(path) => [&name, &b"unix:"[..], path.as_bytes()].concat(),
            Address::Inet(_) | Address::Scoped(..) => {
                [name, text::compose(format_args!("{}", self.address)).into_bytes()].concat()
            }
        }
    }

    /// Whether the operator has given it no name. A path from the root may stand for a
    /// name: what `unix:` begins is none.
    pub fn is_unnamed(&self) -> bool {
        self.name.as_ref().is_none_or(|name| name.starts_with("unix:"))
    }

    /// Whether the kernel chooses the port, so that each such socket is another.
    pub const fn chooses(&self) -> bool {
        match &self.address {
            Address::Inet(address) => address.port() == 0,
            Address::Scoped(address, _) => address.port() == 0,
            Address::Unix(_) => false,
        }
    }

    /// The name by which the socket is handed down, escaped: its own, or else
    /// its address.
    pub fn carried(&self) -> String {
        fdnames::escape(self.shown_name().as_bytes()).unwrap_or_default()
    }
}

/// Reads a name, which must fit where names are carried.
fn parse_name(name: &[u8]) -> Result<String, &'static str> {
    let text = printable::lossy(name);
    match fdnames::escape(name) {
        Some(carried) if !carried.is_empty() && text.as_bytes() == name => Ok(text),
        Some(_) | None => Err("the name must have 1 to 255 bytes (escaped) of UTF-8"),
    }
}

/// Reads as it was written, but for `localhost` and `:PORT`, which show the
/// address they stand for, and for control characters.
impl fmt::Display for Address {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inet(address) => address.fmt(out),
            Self::Scoped(address, interface) => {
                let interface = printable::lossy(interface.as_bytes());
                write!(out, "[{}%{interface}]:{}", address.ip(), address.port())
            }
            Self::Unix(path) => {
                out.write_str("unix:")?;
                printable::write_text(out, path.as_bytes(), LONGEST_PATH)
            }
        }
    }
}

/// The address, with `NAME=` in front if it has a name of the operator's.
impl fmt::Display for Bind {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(name) = self.name.as_ref().filter(|_| !self.is_unnamed()) {
            printable::write_text(out, name.as_bytes(), fdnames::LONGEST)?;
            out.write_str("=")?;
        }
        self.address.fmt(out)
    }
}

#[cfg(test)]
mod tests {
    use super::{Address, Bind, NOT_INET4, parse};
    use crate::persist::tests::{read, written};
    use alloc::string::{String, ToString};
    use alloc::vec;

    const NO_INTERFACE: &str =
        "a link-local address needs a network interface, as in [fe80::1%eth0]:80";
    const NO_NAME: &str = "the scope must be the name or index of a network interface";

    fn shown(text: &str) -> String {
        parse(text.as_bytes()).expect(text).to_string()
    }

    #[test]
    fn address_is_shown_as_it_was_written() {
        for text in [
            "127.0.0.1:8080",
            "[::1]:80",
            "[fe80::1%3]:80",
            "[fe80::1%eth0.5]:80",
            "[::1]:0",
            "[::ffff:192.0.2.1]:80",
            "[2001:db8:0:1::]:80",
            "0.0.0.0:0",
            "unix:/run/x.sock",
            "unix:tmp/x",
        ] {
            assert_eq!(shown(text), text);
        }
    }

    #[test]
    fn saved_address_of_an_unknown_kind_is_refused() {
        let mut bytes = written(&mut parse(b"[::1]:80").expect("it is right"));
        assert!(read::<Address>(&bytes).is_some());
        for kind in [1, 4, 5] {
            bytes[0] = kind;
            assert_eq!(read::<Address>(&bytes), None, "{kind}");
        }
    }

    #[test]
    fn saved_ipv4_address_with_a_scope_is_refused() {
        let mut bytes = written(&mut parse(b"127.0.0.1:80").expect("it is right"));
        assert!(read::<Address>(&bytes).is_some());
        // The scope is what was written last.
        let lowest = bytes.len() - 8;
        bytes[lowest] = 1;
        assert_eq!(read::<Address>(&bytes), None);
    }

    #[test]
    fn missing_host_is_the_wildcard_and_localhost_is_127_0_0_1() {
        assert_eq!(shown(":80"), "0.0.0.0:80");
        assert_eq!(shown("localhost:80"), "127.0.0.1:80");
    }

    #[test]
    fn bad_address_is_refused_with_a_reason() {
        for (text, reason) in [
            (&b""[..], "an address is HOST:PORT, as in localhost:8080, or :8080 for all"),
            (b"8080", "an address is HOST:PORT, as in localhost:8080, or :8080 for all"),
            (b"[::1]", "an address is HOST:PORT, as in localhost:8080, or :8080 for all"),
            (b"[::1]80", "an address is HOST:PORT, as in localhost:8080, or :8080 for all"),
            (b"/run/app.sock", "the path of a Unix socket has unix: in front"),
            (
                b"http://localhost:80",
                "an address is HOST:PORT, with no scheme in front and no path behind",
            ),
            (b"1.2.3.4:", "the port must be a number from 0 to 65535"),
            (b":+80", "the port must be a number from 0 to 65535"),
            (b":65536", "the port must be a number from 0 to 65535"),
            (b":80 ", "the port must be a number from 0 to 65535"),
            (b"[::1]:x", "the port must be a number from 0 to 65535"),
            (b"example.com:80", NOT_INET4),
            (b"1.2.3:80", NOT_INET4),
            (b"1.2.3.4.5:80", NOT_INET4),
            (b"1.2.3.256:80", NOT_INET4),
            (b"1.2.3.+4:80", NOT_INET4),
            (b" 1.2.3.4:80", NOT_INET4),
            (b"1.2.3.04:80", NOT_INET4),
            (b"\xff:80", NOT_INET4),
            (b"::1:80", "an IPv6 address must be in brackets, as in [::1]:80"),
            (b"[::1:80", "no IPv6 address in the brackets"),
            (b"[1.2.3.4]:80", "no IPv6 address in the brackets"),
            (b"[]:80", "no IPv6 address in the brackets"),
            (b"[::1::]:80", "no IPv6 address in the brackets"),
            (b"[1:2:3:4:5:6:7:8:9]:80", "no IPv6 address in the brackets"),
            (b"[12345::]:80", "no IPv6 address in the brackets"),
            (b"[\xff::]:80", "no IPv6 address in the brackets"),
            (b"[::1%eth0]:80", "only a link-local address (fe80::/10) may have a scope"),
            (b"[2001:db8::1%2]:80", "only a link-local address (fe80::/10) may have a scope"),
            (b"[fe80::1]:80", NO_INTERFACE),
            (b"[febf::1]:80", NO_INTERFACE),
            (b"[fe80::1%]:80", NO_NAME),
            (b"[fe80::1%0]:80", NO_NAME),
            (b"[fe80::1%a/b]:80", NO_NAME),
            (b"[fe80::1%a%b]:80", NO_NAME),
            (b"[fe80::1%sixteen-letters-]:80", NO_NAME),
            (b"[fe80::g%lo]:80", "no IPv6 address in the brackets"),
            (b"unix:", "path missing, as in unix:/run/app.sock"),
            (
                b"unix:@x",
                "abstract sockets are not supported (for a file named @NAME write ./@NAME)",
            ),
            (b"unix:/a\0b", "the path contains a NUL byte"),
        ] {
            assert_eq!(parse(text), Err(reason), "{text:?}");
        }
    }

    #[test]
    fn path_is_limited_to_4095_bytes() {
        let mut text = b"unix:".to_vec();
        text.extend(vec![b'x'; 4_095]);
        assert!(parse(&text).is_ok());
        text.push(b'x');
        assert_eq!(parse(&text), Err("the path is longer than 4095 bytes"));
    }

    #[test]
    fn path_too_long_for_a_name_needs_an_explicit_one() {
        let mut text = b"unix:".to_vec();
        text.extend(vec![b'x'; 250 - 3]);
        assert!(Bind::parse(&text).is_ok(), "the colon is escaped");
        text.push(b'x');
        let refused = Bind::parse(&text).expect_err("256 bytes");
        assert!(refused.ends_with("give it a name: NAME=unix:PATH"), "{refused}");
        assert!(Bind::parse(&[b"web=", &*text].concat()).is_ok());
    }

    #[test]
    fn printed_address_reads_back_the_same() {
        for text in ["127.0.0.1:80", "[::1]:80", "[fe80::1%3]:80", "[fe80::1%lo]:80", "unix:/x"] {
            let address = parse(text.as_bytes()).expect(text);
            let bytes = written(&mut address.clone());
            assert_eq!(read::<Address>(&bytes), Some(address));
        }
    }

    #[test]
    fn kernel_chooses_port_0() {
        for (text, expected) in [
            ("localhost:0", true),
            ("[fe80::1%lo]:0", true),
            (":80", false),
            ("[fe80::1%lo]:80", false),
            ("unix:/x", false),
        ] {
            assert_eq!(Bind::parse(text.as_bytes()).expect(text).chooses(), expected, "{text}");
        }
    }

    #[test]
    fn path_keeps_bytes_that_are_not_utf8() {
        let address = parse(b"unix:/\xff").expect("any byte but NUL may be in a path");
        assert_eq!(address, Address::Unix(c"/\xff".into()));
    }

    #[test]
    fn name_precedes_the_address() {
        let bind = Bind::parse(b"web=:80").expect("it is right");
        assert_eq!(bind.name.as_deref(), Some("web"));
        assert_eq!(bind.to_string(), "web=0.0.0.0:80");
        let bind = Bind::parse(b"web=unix:/a=b").expect("it is right");
        assert_eq!(bind.to_string(), "web=unix:/a=b");
        let bind = Bind { name: Some("unix:b".into()), ..bind };
        assert_eq!(bind.to_string(), "unix:/a=b", "a path that stands for a name is not shown");
    }

    #[test]
    fn equals_sign_in_a_path_makes_no_name() {
        let bind = Bind::parse(b"unix:/a=b").expect("it is right");
        assert_eq!((bind.name.as_deref(), bind.to_string().as_str()), (None, "unix:/a=b"));
    }

    #[test]
    fn invalid_name_is_refused() {
        assert_eq!(
            Bind::parse(b"=:80"),
            Err("the name must have 1 to 255 bytes (escaped) of UTF-8")
        );
        assert_eq!(
            Bind::parse(b"\xff=:80"),
            Err("the name must have 1 to 255 bytes (escaped) of UTF-8")
        );
        let mut text = vec![b'n'; 256];
        text.extend(b"=:80");
        assert_eq!(Bind::parse(&text), Err("the name must have 1 to 255 bytes (escaped) of UTF-8"));
        assert_eq!(Bind::parse(b"a=b=:80"), Err(NOT_INET4));
    }
}
