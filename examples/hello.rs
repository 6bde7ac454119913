//! The example of panzer(3): its page shows what stands below this comment.
//!
//! ```text
//! panzer target/debug/examples/hello
//! ```

use std::error::Error;
use std::io::Write;
use std::net::TcpStream;

use panzer::{Context, Monitor};

fn main() -> Result<(), Box<dyn Error>> {
    // In the monitor, once a generation: all workers share this.
    let listener = panzer::listen("127.0.0.1:8080")?;
    let worker = move |context: &mut Context| {
        let line = format!("hello from worker {}\n", context.slot());
        while let Some((connection, _peer)) = context.accept(&listener)? {
            let mut stream = TcpStream::from(connection);
            // A client that hangs up early must not end the worker.
            let _ = stream.write_all(line.as_bytes());
        }
        Ok(()) // It was told to stop, and no connection is left for it.
    };
    Monitor::new(worker).run()?;
    Ok(())
}
