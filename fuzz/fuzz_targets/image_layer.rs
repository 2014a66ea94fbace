#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| nvbind_fuzz::run("image_layer", data));
