//! Lines of at most 80 columns for a terminal, with colours or without.
//!
//! What does not fit on a line is cut, and ends in `…`; control characters are
//! shown and not obeyed.

use crate::printable;
use alloc::string::String;
use core::fmt;

/// The columns of a line.
const WIDTH: usize = 80;

/// What stands out, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colour {
    /// Nothing does.
    Plain,
    /// All is well.
    Good,
    /// Something is under way.
    Busy,
    /// Something is wrong.
    Bad,
    /// The name of the thing.
    Bold,
    /// Not worth a look.
    Dim,
}

impl Colour {
    /// The number of its escape: ECMA-48, SGR.
    const fn code(self) -> &'static str {
        match self {
            Self::Plain => "0",
            Self::Good => "32",
            Self::Busy => "33",
            Self::Bad => "31",
            Self::Bold => "1",
            Self::Dim => "2",
        }
    }
}

/// A text that is being written.
#[derive(Debug)]
pub struct TextTable {
    text: String,
    /// Columns taken up in this line.
    used: usize,
    is_cut: bool,
    is_coloured: bool,
}

impl TextTable {
    /// An empty one.
    pub const fn new(is_coloured: bool) -> Self {
        Self { text: String::new(), used: 0, is_cut: false, is_coloured }
    }

    /// What was written.
    pub fn into_text(self) -> String {
        self.text
    }

    /// Adds to the line.
    pub fn put(&mut self, text: fmt::Arguments<'_>) {
        // A page takes everything.
        let _ = fmt::Write::write_fmt(self, text);
    }

    /// Adds to the line so that it stands out.
    pub fn paint(&mut self, colour: Colour, text: fmt::Arguments<'_>) {
        let is_coloured = self.is_coloured && colour != Colour::Plain && !self.is_cut;
        if is_coloured {
            self.escape(colour);
        }
        self.put(text);
        if is_coloured {
            self.escape(Colour::Plain);
        }
    }

    fn escape(&mut self, colour: Colour) {
        self.text.push_str("\x1b[");
        self.text.push_str(colour.code());
        self.text.push('m');
    }

    /// Goes on at this column, or one further when it is passed already.
    pub fn column(&mut self, column: usize) {
        self.put(format_args!(" "));
        while self.used < column && !self.is_cut {
            self.put(format_args!(" "));
        }
    }

    /// Ends the line.
    pub fn end(&mut self) {
        self.text.push('\n');
        (self.used, self.is_cut) = (0, false);
    }

    /// Adds a text of several lines, each beginning with `before`.
    pub fn wrap(&mut self, before: &str, bytes: &[u8]) {
        let text = printable::lossy(bytes);
        self.put(format_args!("{before}"));
        for word in text.split(' ') {
            let length: usize = word.chars().map(columns).sum();
            let is_begun = self.used > before.len();
            if is_begun && self.used + length + 1 >= WIDTH {
                self.end();
                self.put(format_args!("{before}"));
            } else if is_begun {
                self.put(format_args!(" "));
            }
            self.put(format_args!("{word}"));
        }
        self.end();
    }
}

impl fmt::Write for TextTable {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for c in text.chars() {
            if self.is_cut {
                break;
            }
            let wide = columns(c);
            self.is_cut = self.used + wide >= WIDTH;
            self.used += wide;
            let room = &mut [0; 4];
            self.text.push_str(if self.is_cut { "…" } else { printable::show(c, room) });
        }
        Ok(())
    }
}

/// How many columns a terminal needs for `c`.
const fn columns(c: char) -> usize {
    match c {
        _ if printable::is_control(c) => 4,
        '\u{1100}'..='\u{115f}' | '\u{2e80}'.. => 2,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::{Colour, TextTable};
    use alloc::string::String;

    fn line(fill: impl FnOnce(&mut TextTable)) -> String {
        let mut page = TextTable::new(true);
        fill(&mut page);
        page.into_text()
    }

    #[test]
    fn lines_have_at_most_80_columns() {
        for text in ["x", "é", "漢", "\u{1b}", "🦀"] {
            for before in 0..4 {
                let shown = line(|page| {
                    page.put(format_args!("{:before$}", ""));
                    page.put(format_args!("{}", text.repeat(90)));
                });
                let wide = |c: char| 1 + usize::from(c >= '\u{2e80}');
                assert!(shown.chars().map(wide).sum::<usize>() <= 80, "{shown}");
                assert!(shown.ends_with('…'));
            }
        }
    }

    #[test]
    fn colours_take_no_columns_and_are_always_reset() {
        let shown = line(|page| page.paint(Colour::Bad, format_args!("{}", "x".repeat(90))));
        assert_eq!(shown, ["\u{1b}[31m", &"x".repeat(79), "…\u{1b}[0m"].concat());
    }

    #[test]
    fn long_text_wraps() {
        let shown = line(|page| page.wrap("  ", "word ".repeat(40).trim_end().as_bytes()));
        assert!(shown.lines().count() > 2);
        assert!(shown.lines().all(|line| line.len() <= 80 && line.starts_with("  word")));
        assert_eq!(shown.split_whitespace().count(), 40);
    }

    #[test]
    fn word_that_would_take_the_last_column_begins_a_line() {
        let shown = |length| {
            let text = [&*"x".repeat(40), &"y".repeat(length)].join(" ");
            line(|page| page.wrap("", text.as_bytes()))
        };
        assert_eq!(shown(38), ["x".repeat(40), "y".repeat(38)].join(" ") + "\n");
        assert_eq!(shown(39), ["x".repeat(40), "y".repeat(39)].join("\n") + "\n");
    }
}
