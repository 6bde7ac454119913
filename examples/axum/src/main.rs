//! axum in each worker, and no request is lost over a reload or a stop.
//!
//! ```text
//! cargo build --manifest-path examples/axum/Cargo.toml --target-dir target
//! panzer target/debug/panzer-axum 127.0.0.1:8080
//! ```

use std::error::Error;
use std::os::fd::AsFd;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderValue, header::CONNECTION};
use axum::middleware::{Next, from_fn};
use axum::routing::get;
use hyper::server::conn::http1;
use hyper_util::{rt::TokioIo, server::graceful::GracefulShutdown, service::TowerToHyperService};
use panzer::{Context, Listener, Monitor, Outcome};
use tokio::io::Interest;
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::mpsc;

/// How long a client may leave its connection idle at a stop and still send one request
/// more. Longer than it does, and shorter than panzer's --timeout.
const LAST_CHANCE: Duration = Duration::from_secs(5);

fn main() -> Result<(), Box<dyn Error>> {
    // In the monitor: what all workers share. No runtime, since a fork copies no threads.
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8080".into());
    let listener = panzer::listen(&address)?.nonblocking()?;
    let worker = move |context: &mut Context| {
        // One thread is enough: by default there is a worker for each processor.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(serve(context, &listener))
    };
    Monitor::new(worker).run()?;
    Ok(())
}

async fn serve(context: &mut Context, listener: &Listener) -> Outcome {
    let acceptor = context.acceptor(listener)?;
    // What waits for a descriptor, of any kind; nothing is read from it.
    let queue = UnixStream::from_std(acceptor.as_fd().try_clone_to_owned()?.into())?;
    let service = TowerToHyperService::new(app(context));
    let (connections, counter) = (GracefulShutdown::new(), context.counter());
    let (open, mut all_closed) = mpsc::channel::<()>(1);
    context.ready();
    // Ends when this worker was told to stop and has let go of the queue.
    while let Some((connection, _peer)) =
        queue.async_io(Interest::READABLE, || acceptor.accept()).await?
    {
        let stream = TokioIo::new(TcpStream::from_std(connection.into())?);
        let served = http1::Builder::new().serve_connection(stream, service.clone());
        let (served, open) = (connections.watch(served), open.clone());
        let held = counter.connection(); // before the task: workers then hold the same number
        tokio::spawn(async move {
            let _ = served.await; // a client that hangs up early is no failure of ours
            drop((held, open));
        });
    }
    drop(open);
    // Every answer is the last one on its connection now; then the idle ones are closed.
    let _ = tokio::time::timeout(LAST_CHANCE, all_closed.recv()).await;
    connections.shutdown().await;
    Ok(())
}

fn app(context: &Context) -> Router {
    let (generation, slot) = (context.generation(), context.slot());
    let text = format!("gen={generation} slot={slot} pid={}\n", std::process::id());
    let (counter, stop) = (context.counter(), context.stop_handle());
    let count_and_close = from_fn(move |request: Request, next: Next| {
        let (busy, stop) = (counter.busy(), stop.clone());
        async move {
            let mut response = next.run(request).await;
            if stop.is_stopping() {
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            drop(busy);
            response
        }
    });
    Router::new().route("/", get(|| async { text })).layer(count_and_close)
}
