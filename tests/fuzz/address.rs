//! What `--bind` takes.

use super::{assert_shown, rewritten};
use crate::protocol::address::{Address, Bind};
use crate::protocol::fdnames;
use alloc::string::ToString as _;

pub fn read(text: &[u8]) {
    let bind = match Bind::parse(text) {
        Ok(bind) => bind,
        Err(reason) => return assert_shown(reason),
    };
    assert_taken(&bind);
}

/// What holds for every address that is taken.
pub fn assert_taken(bind: &Bind) {
    let carried = bind.carried();
    assert!(fdnames::is_valid(carried.as_bytes()), "{carried}");
    assert_eq!(rewritten(&mut bind.clone()).0.as_ref(), Some(bind));
    if let Address::Unix(path) = &bind.address {
        assert!((1..=4_095).contains(&path.as_bytes().len()));
    }
    assert_eq!(Bind::parse(&bind.written()).as_ref(), Ok(bind));
    assert!(!bind.to_string().contains(char::is_control));
}
