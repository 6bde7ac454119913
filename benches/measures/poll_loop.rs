//! The simplest event loop on the shared socket: one poll, and a handler that blocks.
//!
//! What `benches/baseline/events.c` is with `block`. One request is one segment here.

use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;
use std::os::fd::AsFd as _;

use panzer::sys::{clock, poll, process};
use panzer::{Borrowed, Context, Listener, MayAccept, Millis, Monitor, Outcome, Source, Tick};

/// Serves under panzer on this address.
pub fn run(address: &str) -> io::Result<()> {
    let delay = std::env::var("HTTP_DELAY_MS").ok().and_then(|delay| delay.parse().ok());
    let delay = Millis(delay.unwrap_or(0));
    let listen = || panzer::listen(address)?.nonblocking();
    let listener = listen().map_err(io::Error::other)?;
    Monitor::new(move |ctx: &mut Context| serve(&listener, ctx, delay))
        .run()
        .map_err(io::Error::other)
}

fn serve(listener: &Listener, ctx: &mut Context, delay: Millis) -> Outcome {
    let (mut clients, mut pause): (Vec<TcpStream>, _) = (Vec::new(), None);
    ctx.ready();
    while !ctx.is_stopping() {
        let ready = wait(pause.is_none().then_some(listener), pause, ctx, &clients);
        let mut ready = ready.iter();
        clients.retain_mut(|client| {
            ready.next() != Some(&true) || answer(client, ctx, delay).is_ok_and(|kept| kept)
        });
        ctx.connections(clients.len() as u32);
        pause = pause.filter(|until| *until > panzer::now());
        if ready.next() == Some(&true) {
            match ctx.may_accept(listener) {
                MayAccept::Yes => clients.extend(accept(listener, ctx)?),
                MayAccept::LeaveFor(span) => pause = Some(panzer::now().after(span)),
            }
            ctx.connections(clients.len() as u32);
        }
    }
    Ok(())
}

fn accept(listener: &Listener, ctx: &mut Context) -> panzer::Result<Option<TcpStream>> {
    let client = ctx.try_accept(listener)?.map(|(connection, _peer)| TcpStream::from(connection));
    if let Some(client) = &client {
        // It is as good without.
        let _ = client.set_nodelay(true);
    }
    Ok(client)
}

/// Which clients are ready, and at last the listener, if it is waited for.
fn wait(
    listener: Option<&Listener>,
    until: Option<Tick>,
    ctx: &Context,
    clients: &[TcpStream],
) -> Vec<bool> {
    let client = |client| Source::readable(Borrowed::from(TcpStream::as_fd(client)));
    let mut sources: Vec<_> = clients.iter().map(client).collect();
    sources.push(Source::readable(ctx.stop_fd()));
    sources.extend(listener.map(|listener| Source::readable(listener.as_fd())));
    // A signal interrupts it; the flag says which.
    let _ = poll::wait(&mut sources, until);
    sources.remove(clients.len());
    sources.iter().map(Source::is_ready).collect()
}

fn is_readable(client: &TcpStream) -> bool {
    let mut sources = [Source::readable(Borrowed::from(client.as_fd()))];
    // One that cannot be asked counts as gone.
    poll::wait(&mut sources, Some(Tick(0))).is_ok_and(|is_ready| is_ready)
}

/// Answers one request; whether the connection is kept.
fn answer(client: &mut TcpStream, ctx: &mut Context, delay: Millis) -> io::Result<bool> {
    let mut request = [0; 4096];
    let length = client.read(&mut request)?;
    if length == 0 {
        return Ok(false);
    }
    let request = String::from_utf8_lossy(&request[..length]);
    // A handler that never ends, as long as its client is there.
    while request.starts_with("GET /hang ") && !is_readable(client) {}
    let is_last = request.contains("Connection: close");
    let _ = poll::wait(&mut [], Some(clock::now().after(delay)));
    let (generation, slot, pid) = (ctx.generation(), ctx.slot(), process::id());
    let body = format!("gen={generation} slot={slot} pid={}\n", pid.raw());
    let close = if is_last { "Connection: close\r\n" } else { "" };
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n{close}\r\n", body.len());
    client.write_all((head + &body).as_bytes())?;
    Ok(!is_last)
}
