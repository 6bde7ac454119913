//! Whether a text is JSON: RFC 8259. What Panzer writes has no numbers but whole ones.

/// That this is one value, and nothing else but space.
pub fn assert_valid(text: &str) {
    let rest = value(text.trim_ascii_start()).unwrap_or_else(|| panic!("no JSON: {text}"));
    assert!(rest.trim_ascii().is_empty(), "{rest:?} after the end of {text}");
}

/// What stands behind the value that begins here.
fn value(text: &str) -> Option<&str> {
    match text.as_bytes().first()? {
        b'{' => list(&text[1..], '}', |rest| {
            value(string(rest)?.trim_ascii_start().strip_prefix(':')?.trim_ascii_start())
        }),
        b'[' => list(&text[1..], ']', value),
        b'"' => string(text),
        b'-' | b'0'..=b'9' => {
            let digits = text.strip_prefix('-').unwrap_or(text);
            let rest = digits.trim_start_matches(|c: char| c.is_ascii_digit());
            (rest.len() < digits.len()).then_some(rest)
        }
        _ => ["true", "false", "null"].iter().find_map(|word| text.strip_prefix(word)),
    }
}

/// What stands behind a list of such items that ends so.
fn list(text: &str, end: char, item: impl Fn(&str) -> Option<&str>) -> Option<&str> {
    let mut rest = text.trim_ascii_start();
    if let Some(rest) = rest.strip_prefix(end) {
        return Some(rest);
    }
    loop {
        rest = item(rest)?.trim_ascii_start();
        match rest.strip_prefix(',') {
            Some(more) => rest = more.trim_ascii_start(),
            None => return rest.strip_prefix(end),
        }
    }
}

/// What stands behind a string.
fn string(text: &str) -> Option<&str> {
    let mut rest = text.strip_prefix('"')?;
    loop {
        let c = rest.chars().next()?;
        rest = &rest[c.len_utf8()..];
        match c {
            '"' => return Some(rest),
            '\\' => {
                let escape = *rest.as_bytes().first()?;
                let more = match escape {
                    b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => 1,
                    b'u' if rest.as_bytes().get(1..5)?.iter().all(u8::is_ascii_hexdigit) => 5,
                    _ => return None,
                };
                rest = rest.get(more..)?;
            }
            '\0'..='\x1f' => return None,
            _ => {}
        }
    }
}
