//! What the operator asks of `panzer`: one table of options, and every place where
//! they are written.
//!
//! Pure: no system call, no clock, no log.
//!
//! * [`option_table`]: every option, its default and its value.
//! * [`command_line`], [`config_file`] (in the YAML of [`yaml`]): where they stand.
//! * [`env_file`], [`passwd`]: the files that two of them name.
//! * [`print_config`], [`help`]: what `--check` and `--help` print.

pub mod command_line;
pub mod config_file;
pub mod env_file;
pub mod help;
pub mod option_table;
pub mod passwd;
pub mod print_config;
pub mod yaml;
