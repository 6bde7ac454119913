//! Programs that behave badly: this one with other arguments.
//!
//! Panzer starts them as `soak fixture NAME ...`.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;
use std::process::ExitCode;

use panzer::{Context, Monitor};

/// The argument that makes this program a fixture.
pub const WORD: &str = "fixture";

/// The command that runs a fixture.
pub fn command(words: &[&str]) -> io::Result<Vec<OsString>> {
    let own = std::env::current_exe()?;
    let words = words.iter().map(OsString::from);
    Ok([own.into(), WORD.into()].into_iter().chain(words).collect())
}

/// Runs the requested fixture.
pub fn run(words: &[&str]) -> ExitCode {
    let outcome = match words {
        ["once", marker] => once(Path::new(marker)),
        ["failing", gate] => failing(Path::new(gate)),
        ["hoard", address] => hoard(address),
        ["typist", address] => typist(address),
        _ => Err(io::Error::other("no such fixture")),
    };
    if outcome.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Becomes ready once, and then exits at every start.
fn once(marker: &Path) -> io::Result<()> {
    if marker.exists() {
        return Ok(());
    }
    File::create(marker)?;
    let name = std::env::var("NOTIFY_SOCKET").map_err(io::Error::other)?;
    let address = match name.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(&name)?,
    };
    UnixDatagram::unbound()?.send_to_addr(b"READY=1", &address)?;
    Ok(())
}

/// Has one worker that, once the gate was passed and removed, dies as soon as it is ready,
/// among others that serve.
fn failing(gate: &Path) -> io::Result<()> {
    let listener = panzer::listen("127.0.0.1:0")?;
    let gate = gate.to_path_buf();
    let worker = move |ctx: &mut Context| {
        if ctx.slot() == 1 {
            ctx.ready();
            if gate.exists() {
                std::fs::read(&gate)?;
            }
            return Err("it was told to fail".into());
        }
        while ctx.accept(&listener)?.is_some() {}
        Ok(())
    };
    Monitor::new(worker).run()?;
    Ok(())
}

/// Has workers that try to read main's terminal, and serve.
fn typist(address: &str) -> io::Result<()> {
    let listener = panzer::listen(address)?;
    let worker = move |ctx: &mut Context| {
        let answer = format!("hello from {}\n", std::process::id());
        let answer = format!("HTTP/1.0 200 OK\r\nContent-Length: {}\r\n\r\n{answer}", answer.len());
        std::thread::spawn(|| File::open("/dev/tty").and_then(|mut tty| tty.read(&mut [0])));
        while let Some((connection, _)) = ctx.accept(&listener)? {
            let mut stream = TcpStream::from(connection);
            // A client that has hung up already gets no answer.
            let _ = stream.read(&mut [0; 4096]).and_then(|_| stream.write_all(answer.as_bytes()));
        }
        Ok(())
    };
    Monitor::new(worker).run()?;
    Ok(())
}

/// Greets every client, and keeps each connection until its client hangs up.
fn hoard(address: &str) -> io::Result<()> {
    let listener = panzer::listen(address)?;
    let worker = move |ctx: &mut Context| {
        while let Some((connection, _)) = ctx.accept(&listener)? {
            let mut stream = TcpStream::from(connection);
            std::thread::spawn(move || {
                // A client that has hung up already is not kept.
                let _ = stream.write_all(b"!").and_then(|()| stream.read(&mut [0]));
            });
        }
        Ok(())
    };
    Monitor::new(worker).run()?;
    Ok(())
}
