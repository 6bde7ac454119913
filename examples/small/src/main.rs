//! A server without the standard library, linked statically, that embeds Panzer: it answers
//! each connection with one line, and is reloaded without losing one.
//!
//! ```text
//! rustup target add x86_64-unknown-linux-musl
//! cargo build --release --manifest-path examples/small/Cargo.toml \
//!     --target x86_64-unknown-linux-musl --target-dir target/small
//! panzer target/small/x86_64-unknown-linux-musl/release/panzer-small 127.0.0.1:8080
//! ```
//!
//! `rt.rs` is what such a program brings itself, where std would. `plain.rs` is the same server
//! without Panzer; `make test-small` says what the difference takes.

#![no_std]
#![no_main]

extern crate alloc;

mod rt;

use alloc::boxed::Box;
use alloc::format;
use core::error::Error;
use panzer::{Connection, Context, Level, Millis, Monitor, Source};

/// How long a client may take to send its request.
const PATIENCE: Millis = Millis(5_000);

/// What the C library's `main` calls; says the exit status.
fn program(address: Option<&str>) -> u8 {
    match serve(address.unwrap_or("127.0.0.1:8080")) {
        Ok(()) => 0,
        Err(error) => {
            panzer::log(Level::Error, format_args!("{error}"));
            1
        }
    }
}

fn serve(address: &str) -> Result<(), Box<dyn Error>> {
    let listener = panzer::listen(address)?;
    let worker = move |context: &mut Context| {
        let (generation, slot) = (context.generation(), context.slot());
        let line = format!("gen={generation} slot={slot} pid={}\n", rt::pid());
        let head = format!("HTTP/1.0 200 OK\r\nContent-Length: {}\r\n\r\n", line.len());
        let text = head + &line;
        while let Some((connection, _peer)) = context.accept(&listener)? {
            // A client that hangs up early is no reason for a worker to end.
            let _ = answer(&connection, &text);
        }
        Ok(())
    };
    Monitor::new(worker).run()?;
    Ok(())
}

/// Reads a request up to its empty line, and answers it.
fn answer(connection: &Connection, text: &str) -> Result<(), Box<dyn Error>> {
    let (mut request, mut length) = ([0; 2_048], 0);
    let deadline = panzer::now().after(PATIENCE);
    while !request[..length].ends_with(b"\r\n\r\n") {
        let mut source = [Source::readable(connection.as_fd())];
        if !panzer::wait(&mut source, Some(deadline))? {
            return Ok(());
        }
        // A signal, such as the SIGTERM of a reload, ends the wait early.
        if source[0].is_ready() {
            match connection.read(&mut request[length..])? {
                0 => return Ok(()),
                more => length += more,
            }
        }
    }
    connection.write_all(text.as_bytes())?;
    Ok(())
}
