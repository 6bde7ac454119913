//! Formats: parse and print, nothing else.
//!
//! Pure: no system call, no clock, no log. Whatever comes from outside is
//! taken apart here, and refused here with one clear line.

pub mod address;
pub mod death;
pub mod decimal;
pub mod env_file;
pub mod event;
pub mod fdname;
pub mod line;
pub mod notify;
pub mod printable;
pub mod seconds;
