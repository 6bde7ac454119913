//! Names of descriptors, and which ones were handed down.

use crate::protocol::fdnames;
use crate::types::Pid;
use alloc::vec::Vec;

/// `LISTEN_FDS`, `LISTEN_PID` and `LISTEN_FDNAMES`, a NUL between them, in process 7.
fn handed_down(bytes: &[u8]) {
    let own = Pid::new(7).expect("it is positive");
    let mut words = bytes.splitn(3, |&byte| byte == 0);
    let [count, pid, names] = [(); 3].map(|()| words.next().unwrap_or_default());
    let all: Vec<_> = fdnames::handed_down(count, pid, names, own).collect();
    assert!(all.len() <= 1_024);
    let mut carried = fdnames::split(names);
    for (number, (fd, name)) in (3..).zip(&all) {
        assert_eq!((*fd, *name), (number, carried.next().unwrap_or_default()));
    }
    if all.is_empty() {
        return;
    }
    assert!(pid.ends_with(b"7") && pid.iter().all(|byte| b"07".contains(byte)));
    assert_eq!(fdnames::handed_down(count, b"7", names, own).count(), all.len());
    assert!(fdnames::handed_down(count, b"8", names, own).next().is_none());
}

pub fn read(bytes: &[u8]) {
    handed_down(bytes);
    let name = fdnames::unescape(bytes);
    assert!(name.len() <= bytes.len());
    if let Some(carried) = fdnames::escape(&name) {
        assert!(fdnames::is_valid(carried.as_bytes()));
        assert_eq!(fdnames::unescape(carried.as_bytes()), name);
        let kept = fdnames::to_kept(&carried);
        // It may be longer, and is not kept then.
        assert!(kept.as_bytes().chunks(fdnames::LONGEST).all(fdnames::is_valid), "{kept}");
        assert!(!kept.contains('\\'), "{kept}");
        assert_eq!(fdnames::from_kept(kept.as_bytes()), Some(carried));
    } else {
        assert!(name.len() > fdnames::LONGEST / 4, "a name that is short fits");
    }
    if let Some(carried) = fdnames::from_kept(bytes) {
        assert!(fdnames::is_valid(carried.as_bytes()));
        assert_eq!(fdnames::from_kept(fdnames::to_kept(&carried).as_bytes()), Some(carried));
    }
    let carried: Vec<_> = bytes.split(|&byte| byte == 0).filter_map(fdnames::escape).collect();
    let joined = fdnames::join(carried.iter().map(|name| &**name));
    if !carried.is_empty() {
        assert!(fdnames::split(joined.as_bytes()).eq(carried.iter().map(|name| name.as_bytes())));
    }
}
