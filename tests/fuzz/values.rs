//! Numbers, and what the kernel says in its files.

use crate::text::compose;
use crate::{cgroup, decimal, seconds};

pub fn read(bytes: &[u8]) {
    if let Some(number) = decimal::parse_long(bytes, u64::MAX) {
        assert!(!bytes.is_empty() && bytes.iter().all(u8::is_ascii_digit));
        let shown = compose(format_args!("{number}"));
        assert!(
            bytes.ends_with(shown.as_bytes())
                && decimal::parse_long(shown.as_bytes(), number).is_some()
        );
        assert!(number == 0 || decimal::parse_long(bytes, number - 1).is_none());
        let short = u32::try_from(number).ok();
        assert_eq!(decimal::parse(bytes, u32::MAX), short);
    }
    if let Some(span) = seconds::parse(bytes) {
        assert!(span.0 <= 1_000_000_000_000);
        let shown = compose(format_args!("{}", seconds::Seconds(span)));
        assert_eq!(seconds::parse(shown.as_bytes()), Some(span));
    }
    if let Some((_, path)) = cgroup::parse(bytes, b"cpu") {
        assert!(bytes.ends_with(path));
        // To the outermost group there are only so many steps.
        let mut inner = path;
        while let Some(outer) = cgroup::parent(inner) {
            assert!(outer.len() < inner.len() && inner.starts_with(outer));
            inner = outer;
        }
    }
    assert!(cgroup::processors(bytes).is_none_or(|count| count > 0));
    let _ = cgroup::oom_kills(bytes);
}
