//! A server without the library: it takes descriptor 3, sends READY=1 with the crate
//! sd-notify, and finishes its request at SIGTERM.

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use listenfd::ListenFd;
use rustix::event::{PollFd, PollFlags, poll};
use sd_notify::NotifyState;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (stop, wake) = UnixStream::pair()?;
    signal_hook::low_level::pipe::register(signal_hook::consts::SIGTERM, wake)?;
    let listener = ListenFd::from_env().take_tcp_listener(0)?.ok_or("no LISTEN_FDS")?;
    listener.set_nonblocking(true)?;
    sd_notify::notify(&[NotifyState::Ready])?;
    loop {
        let mut waiting = [PollFd::new(&listener, PollFlags::IN), PollFd::new(&stop, PollFlags::IN)];
        match poll(&mut waiting, None) {
            Ok(_) if waiting[1].revents().is_empty() => {}
            Ok(_) => return Ok(()),
            Err(rustix::io::Errno::INTR) => continue,
            Err(error) => Err(error)?,
        }
        if let Ok((connection, _)) = listener.accept() {
            // A client that hangs up early must not end the server.
            let _ = answer(&connection);
        }
    }
}

fn answer(mut stream: &TcpStream) -> io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    for line in BufReader::new(stream).lines() {
        if line?.is_empty() {
            break;
        }
    }
    let body = format!("hello from {}\n", std::process::id());
    write!(stream, "HTTP/1.0 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}
