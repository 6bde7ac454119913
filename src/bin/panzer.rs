//! The `panzer` program.
fn main() {}
