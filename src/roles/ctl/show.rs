//! Asking for the status, and showing it.

use super::ask::Connection;
use super::{Bad, Patience, Status};
use crate::keep::snapshot;
use crate::sys::fd::{Borrowed, Standard};
use crate::sys::{env, terminal};
use crate::words::control::{Answer, Request, Word};
use crate::words::ctl_cli::{Asking, Form};
use crate::words::picture::Picture;
use crate::words::{json, metrics, printable, tree};
use alloc::string::String;

/// Whether the standard output is a terminal whose owner likes colours:
/// <https://no-color.org>.
pub fn is_coloured() -> bool {
    let wants = env::var(c"NO_COLOR").is_none_or(|value| value.is_empty());
    let knows = env::var(c"TERM").is_some_and(|name| name.as_c_str() != c"dumb");
    wants && knows && terminal::size(Borrowed::standard(Standard::Output)).is_some()
}

/// Asks, and draws what is answered.
pub fn status(
    asking: &Asking,
    connection: Connection,
    patience: &Patience<'_>,
    is_coloured: bool,
) -> Result<String, Bad> {
    let picture = picture(connection, patience)?;
    Ok(match asking.form {
        Form::Tree => tree::render(&picture, is_coloured),
        Form::Json => json::render(&picture),
        Form::Metrics => metrics::render(&picture),
    })
}

fn picture(mut connection: Connection, patience: &Patience<'_>) -> Result<Picture, Bad> {
    let mut picture = Picture::default();
    connection.send(Request::Status);
    while let Some(line) = connection.line(patience)? {
        match Answer::parse(&line) {
            Answer::Record(record) => picture.take(record),
            Answer::Says(Word::Progress, _) => {}
            Answer::Says(Word::Done, _) if picture.main.is_some() => {
                add_boards(&mut picture, &connection);
                return Ok(picture);
            }
            Answer::Says(Word::Done, _) => break,
            Answer::Says(Word::Failed | Word::Refused, text) => {
                let why = printable::lossy(text);
                return Err(Bad { status: Status::Failed, why });
            }
        }
    }
    let why = format_args!("main has answered half of it, or in a way that is not known here");
    Err(Bad::new(Status::Failed, why))
}

/// The n-th board belongs to the n-th line that speaks of one.
fn add_boards(picture: &mut Picture, connection: &Connection) {
    let mut boards = connection.boards();
    for generation in picture.generations.iter_mut().filter(|generation| generation.life.board) {
        let board = boards.next().ok_or("its board has not come along");
        generation.workers = Some(board.and_then(snapshot::read));
    }
}
