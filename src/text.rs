//! A message as a text of its own: what alloc's `format!` makes.
//!
//! That one counts first how much there will be, which is a kilobyte and a
//! half of program for some dozens of short texts.
//!
//! Pure: knows no layer of this crate.

use alloc::string::String;
use core::fmt;

struct Text<'a>(&'a mut String);

/// Takes everything.
impl fmt::Write for Text<'_> {
    fn write_str(&mut self, piece: &str) -> fmt::Result {
        self.0.push_str(piece);
        Ok(())
    }
}

/// Adds a message to a text. Should a value within it refuse to show itself,
/// what is added is what came before it.
pub fn add(text: &mut String, message: fmt::Arguments<'_>) {
    let _ = fmt::write(&mut Text(text), message);
}

/// Composes a text of its own.
#[must_use]
pub fn compose(message: fmt::Arguments<'_>) -> String {
    let mut text = String::new();
    add(&mut text, message);
    text
}
