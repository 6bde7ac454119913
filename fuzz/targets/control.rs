#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| panzer::fuzz::control::read(bytes));
