//! Any text is a configuration, or has errors that say where they are.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use mailweir::config::parse;

fuzz_target!(|text: &str| {
    let lines = text.split('\n').count();
    match parse(text, Path::new("mailweir.toml"), Path::new("/nonexistent")) {
        Ok(config) => assert!(!config.server.hostname.is_empty()),
        Err(errors) => {
            let mut count = 0;
            for error in errors.iter() {
                assert!((1..=lines).contains(&error.place.line), "{error}");
                assert!(!error.what.is_empty());
                count += 1;
            }
            assert!(count > 0);
            // It is shown to an operator on a terminal.
            assert!(!errors.to_string().chars().any(|character| character.is_control() && character != '\n'));
        }
    }
});
