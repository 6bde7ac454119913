//! The server of `main.rs` without Panzer, for `make test-small` to compare with: it binds,
//! forks a process for each processor, and each of them accepts. It keeps no number of them,
//! cannot be reloaded, and ends with what is in its queue.

#![no_std]
#![no_main]

use core::ffi::{CStr, c_char, c_int};
use core::fmt::Write as _;
use core::mem::size_of;
use core::net::SocketAddrV4;
use core::panic::PanicInfo;
use core::ptr;

// Panzer names it for the programs that embed it.
#[link(name = "c")]
unsafe extern "C" {}

/// How long a client may take to send its request, in milliseconds.
const PATIENCE: c_int = 5_000;

#[unsafe(no_mangle)]
extern "C" fn main(count: c_int, words: *const *const c_char) -> c_int {
    let mut address = SocketAddrV4::new([127, 0, 0, 1].into(), 8080);
    if count > 1 {
        // SAFETY: the C library gives `count` pointers to C strings, which stay.
        let word = unsafe { words.add(1).read() };
        // SAFETY: as above.
        let word = unsafe { CStr::from_ptr(word) };
        match word.to_str().map(str::parse) {
            Ok(Ok(given)) => address = given,
            Ok(Err(_)) | Err(_) => return 2,
        }
    }
    let Some(listener) = listen(address) else { return 1 };
    // SAFETY: it takes a number and touches no memory.
    let count = unsafe { libc::sysconf(libc::_SC_NPROCESSORS_ONLN) };
    for _ in 0..count {
        // SAFETY: this process has one thread.
        if unsafe { libc::fork() } == 0 {
            // SAFETY: this option takes the number of a signal.
            unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM) };
            serve(listener);
        }
    }
    loop {
        // SAFETY: it takes nothing and touches no memory.
        unsafe { libc::pause() };
    }
}

fn listen(address: SocketAddrV4) -> Option<c_int> {
    let name = libc::sockaddr_in {
        sin_family: libc::AF_INET as libc::sa_family_t,
        sin_port: address.port().to_be(),
        sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(address.ip().octets()) },
        sin_zero: [0; 8],
    };
    let (length, one) = (size_of::<libc::sockaddr_in>() as libc::socklen_t, 1 as c_int);
    let kind = libc::SOCK_STREAM | libc::SOCK_CLOEXEC;
    // SAFETY: it takes numbers and touches no memory.
    let listener = unsafe { libc::socket(libc::AF_INET, kind, 0) };
    let (level, reuse) = (libc::SOL_SOCKET, libc::SO_REUSEADDR);
    // SAFETY: `one` is a C int, which is readable for four bytes.
    unsafe { libc::setsockopt(listener, level, reuse, (&raw const one).cast(), 4) };
    // SAFETY: `name` is readable for its length.
    let bound = unsafe { libc::bind(listener, (&raw const name).cast(), length) };
    // SAFETY: it takes numbers and touches no memory.
    let is_listening = bound == 0 && unsafe { libc::listen(listener, libc::SOMAXCONN) } == 0;
    is_listening.then_some(listener)
}

fn serve(listener: c_int) -> ! {
    // SAFETY: it touches no memory.
    let pid = unsafe { libc::getpid() };
    let (mut line, mut text) = (Text::new(), Text::new());
    let _ = writeln!(line, "gen=0 slot=0 pid={pid}");
    let _ = write!(text, "HTTP/1.0 200 OK\r\nContent-Length: {}\r\n\r\n", line.length);
    let _ = text.write_str(line.as_str());
    loop {
        // SAFETY: null pointers ask for no address.
        let connection = unsafe {
            libc::accept4(listener, ptr::null_mut(), ptr::null_mut(), libc::SOCK_CLOEXEC)
        };
        if connection >= 0 {
            answer(connection, text.as_str().as_bytes());
            // SAFETY: the number is ours alone.
            unsafe { libc::close(connection) };
        }
    }
}

/// Reads a request up to its empty line, and answers it.
fn answer(connection: c_int, text: &[u8]) {
    let (mut request, mut length) = ([0_u8; 2_048], 0);
    while !request[..length].ends_with(b"\r\n\r\n") {
        let mut source = libc::pollfd { fd: connection, events: libc::POLLIN, revents: 0 };
        // SAFETY: `source` is writable, and one.
        if unsafe { libc::poll(&raw mut source, 1, PATIENCE) } < 1 {
            return;
        }
        let room = &mut request[length..];
        // SAFETY: `room` is writable for its length.
        let more = unsafe { libc::read(connection, room.as_mut_ptr().cast(), room.len()) };
        match usize::try_from(more) {
            Ok(0) | Err(_) => return,
            Ok(more) => length += more,
        }
    }
    // SAFETY: `text` is readable for its length.
    unsafe { libc::send(connection, text.as_ptr().cast(), text.len(), libc::MSG_NOSIGNAL) };
}

/// A short text, without memory from anywhere.
struct Text {
    bytes: [u8; 128],
    length: usize,
}

impl Text {
    const fn new() -> Self {
        Self { bytes: [0; 128], length: 0 }
    }

    fn as_str(&self) -> &str {
        core::str::from_utf8(&self.bytes[..self.length]).unwrap_or_default()
    }
}

impl core::fmt::Write for Text {
    fn write_str(&mut self, text: &str) -> core::fmt::Result {
        let end = self.length + text.len();
        self.bytes
            .get_mut(self.length..end)
            .ok_or(core::fmt::Error)?
            .copy_from_slice(text.as_bytes());
        self.length = end;
        Ok(())
    }
}

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    // SAFETY: it does not return.
    unsafe { libc::abort() }
}

#[unsafe(no_mangle)]
extern "C" fn rust_eh_personality() -> ! {
    // SAFETY: it does not return.
    unsafe { libc::abort() }
}
