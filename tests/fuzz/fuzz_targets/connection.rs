#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| burdock_fuzz::connection::connection(bytes));
