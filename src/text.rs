//! A message as a text of its own: what alloc's `format!` makes.
//!
//! That one counts first how much there will be, which is a kilobyte and a
//! half of program for some dozens of short texts.
//!
//! Pure: knows no layer of this crate.

use alloc::string::String;
use core::fmt;

struct Text(String);

/// Takes everything.
impl fmt::Write for Text {
    fn write_str(&mut self, piece: &str) -> fmt::Result {
        self.0.push_str(piece);
        Ok(())
    }
}

/// Composes a text. Should a value within the message refuse to show itself,
/// the text is what came before it.
#[must_use]
pub fn compose(message: fmt::Arguments<'_>) -> String {
    let mut text = Text(String::new());
    let _ = fmt::write(&mut text, message);
    text.0
}
