//! Numeric addresses of ip(7) and ipv6(7): read and shown.
//!
//! The language and the canonical form are the standard library's (RFC 4291,
//! RFC 5952), and the tests hold both against it. Its own reader and writer
//! would be a twentieth of the whole program, for they pad, and take sockets'
//! addresses in forms that nobody asks for here.

use super::pieces::{cut, take};
use super::{decimal, printable};
use core::fmt;
use core::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

/// Reads `192.0.2.1`: four numbers without leading zeros.
pub fn parse4(text: &[u8]) -> Option<Ipv4Addr> {
    let (mut rest, mut bytes) = (text, [0; 4]);
    for byte in &mut bytes[..3] {
        *byte = parse_byte(take(&mut rest, b'.'))?;
    }
    bytes[3] = parse_byte(rest)?;
    Some(Ipv4Addr::from(bytes))
}

/// Reads 0 to 255.
fn parse_byte(text: &[u8]) -> Option<u8> {
    let is_octal = text.len() > 1 && text.starts_with(b"0");
    let byte = decimal::parse_short(text, u8::MAX.into()).filter(|_| !is_octal)?;
    Some(byte as u8)
}

/// Reads `2001:db8::1` or `::ffff:192.0.2.1`, without brackets.
pub fn parse6(text: &[u8]) -> Option<Ipv6Addr> {
    let (mut bytes, mut tail) = ([0; 16], [0; 16]);
    let Some(gap) = text.windows(2).position(|two| two == b"::") else {
        return (parse_groups(text, &mut bytes)? == 16).then(|| bytes.into());
    };
    let (front, back) = (text.get(..gap)?, text.get(gap + 2..)?);
    let before = if front.is_empty() { 0 } else { parse_groups(front, &mut bytes)? };
    let after = if back.is_empty() { 0 } else { parse_groups(back, &mut tail)? };
    // The gap is at least one group long, and what is in front of it is
    // groups alone.
    if before + after > 14 || front.contains(&b'.') {
        return None;
    }
    bytes.get_mut(16 - after..)?.iter_mut().zip(tail).for_each(|(byte, last)| *byte = last);
    Some(bytes.into())
}

/// Reads groups with colons between them, the last two perhaps as an IPv4
/// address; says how many bytes that were.
fn parse_groups(text: &[u8], bytes: &mut [u8; 16]) -> Option<usize> {
    let (mut rest, mut count) = (text, 0);
    let mut put = |group: &[u8]| {
        for byte in group {
            *bytes.get_mut(count)? = *byte;
            count += 1;
        }
        Some(())
    };
    while let Some((part, after)) = cut(rest, b':') {
        put(&parse_group(part)?.to_be_bytes())?;
        rest = after;
    }
    match parse4(rest) {
        Some(address) => put(&address.octets())?,
        None => put(&parse_group(rest)?.to_be_bytes())?,
    }
    Some(count)
}

/// Reads one to four hexadecimal digits.
fn parse_group(text: &[u8]) -> Option<u16> {
    if text.is_empty() || text.len() > 4 {
        return None;
    }
    let mut digits = text.iter().map(|&digit| printable::nibble(digit));
    digits.try_fold(0, |group, digit| Some(group << 4 | u16::from(digit?)))
}

/// Shows an address and its port, as `192.0.2.1:80` or `[2001:db8::1%2]:80`.
#[derive(Clone, Copy, Debug)]
pub struct Shown<'a>(pub &'a SocketAddr);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            SocketAddr::V4(address) => write4(out, address.ip())?,
            SocketAddr::V6(address) => {
                out.write_str("[")?;
                write6(out, address.ip())?;
                if address.scope_id() != 0 {
                    write!(out, "%{}", address.scope_id())?;
                }
                out.write_str("]")?;
            }
        }
        write!(out, ":{}", u32::from(self.0.port()))
    }
}

fn write4(out: &mut fmt::Formatter<'_>, address: &Ipv4Addr) -> fmt::Result {
    for (index, byte) in address.octets().into_iter().enumerate() {
        out.write_str(if index == 0 { "" } else { "." })?;
        fmt::Display::fmt(&u32::from(byte), out)?;
    }
    Ok(())
}

fn write6(out: &mut fmt::Formatter<'_>, address: &Ipv6Addr) -> fmt::Result {
    if let Some(mapped) = address.to_ipv4_mapped() {
        out.write_str("::ffff:")?;
        return write4(out, &mapped);
    }
    let octets = address.octets();
    let groups = octets.as_chunks().0;
    let (gap, length) = longest_gap(groups);
    let mut at = 0;
    while let Some(group) = groups.get(at) {
        if at == gap {
            out.write_str("::")?;
            at += length;
        } else {
            out.write_str(if at == 0 || at == gap + length { "" } else { ":" })?;
            fmt::LowerHex::fmt(&u16::from_be_bytes(*group), out)?;
            at += 1;
        }
    }
    Ok(())
}

/// Where the longest row of zeros begins, and its length; the first of equals.
/// One alone is none.
fn longest_gap(groups: &[[u8; 2]]) -> (usize, usize) {
    let (mut longest, mut length) = ((groups.len(), 1), 0);
    for (index, group) in groups.iter().enumerate() {
        length = if *group == [0, 0] { length + 1 } else { 0 };
        if length > longest.1 {
            longest = (index + 1 - length, length);
        }
    }
    longest
}

#[cfg(test)]
mod tests {
    use super::{Shown, parse4, parse6};
    use alloc::string::{String, ToString as _};
    use core::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

    /// Holds both readers against the standard library's.
    fn check(text: &str) {
        assert_eq!(parse4(text.as_bytes()), text.parse::<Ipv4Addr>().ok(), "{text}");
        assert_eq!(parse6(text.as_bytes()), text.parse::<Ipv6Addr>().ok(), "{text}");
    }

    fn check_shown(groups: [u16; 8], scope: u32) {
        let address = SocketAddr::V6(SocketAddrV6::new(groups.into(), 80, 0, scope));
        assert_eq!(Shown(&address).to_string(), address.to_string());
        check(&Ipv6Addr::from(groups).to_string());
    }

    fn generator() -> impl FnMut(usize) -> usize {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        move |below| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            usize::try_from(state >> 33).expect("31 bits fit") % below
        }
    }

    #[test]
    fn every_row_of_groups_is_shown_as_std_shows_it() {
        for zeros in 0..=255_u32 {
            for other in [1, 0xffff, 0xab0, 0xc] {
                let mut groups = [0; 8];
                for (index, group) in groups.iter_mut().enumerate() {
                    *group = if zeros >> index & 1 == 1 { 0 } else { other };
                }
                check_shown(groups, zeros);
            }
        }
        check_shown([0, 0, 0, 0, 0, 0xffff, 0x102, 0x3ff], 0);
    }

    #[test]
    fn an_address_of_four_bytes_is_shown_as_std_shows_it() {
        for byte in 0..=u8::MAX {
            let ip = Ipv4Addr::new(byte, 255, 0, byte);
            let address = SocketAddr::V4(SocketAddrV4::new(ip, u16::MAX));
            assert_eq!(Shown(&address).to_string(), address.to_string());
            check(&ip.to_string());
        }
    }

    #[test]
    fn every_short_text_is_read_as_std_reads_it() {
        const LETTERS: [char; 6] = ['0', '1', 'f', ':', '.', 'g'];
        for number in 0..6_usize.pow(7) {
            let mut text = String::new();
            let mut rest = number;
            while rest > 0 {
                text.push(LETTERS[rest % 6]);
                rest /= 6;
            }
            check(&text);
        }
    }

    #[test]
    fn whatever_pieces_a_text_is_made_of_it_is_read_as_std_reads_it() {
        const PIECES: [&str; 16] = [
            "::",
            ":",
            ":",
            ":",
            "0",
            "1",
            "ffff",
            "12345",
            "1.2.3.4",
            ".",
            "255",
            "256",
            "01",
            "aB",
            "1:2:3:4:5:6",
            "+1",
        ];
        let mut random = generator();
        for _ in 0..300_000 {
            check(&(0..random(12)).map(|_| PIECES[random(PIECES.len())]).collect::<String>());
        }
    }

    #[test]
    fn an_address_with_a_slip_in_it_is_read_as_std_reads_it() {
        let mut random = generator();
        for _ in 0..100_000 {
            let zero = [0, u16::MAX][random(2)];
            let mut group = || u16::try_from(random(65_536)).expect("16 bits fit") & zero;
            let groups = core::array::from_fn::<u16, 8, _>(|_| group());
            let mut text = Ipv6Addr::from(groups).to_string();
            check(&text);
            let place = random(text.len());
            text.replace_range(place..=place, ["", ":", "::", "0", ".", "1.2.3.4"][random(6)]);
            check(&text);
        }
    }
}
