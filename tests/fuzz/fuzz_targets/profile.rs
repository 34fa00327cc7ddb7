//! Any text as a board profile and as the name of a source: what is wanted, or the cause.
#![no_main]

use keyface_boards::profile::{check_together, Profile};
use keyface_boards::selection::Selection;
use keyface_boards::settings::parse_size;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(profile) = Profile::parse(text) {
        let twice = [profile.clone(), profile];
        assert!(check_together(&twice).is_err(), "two profiles of one name");
    }
    let _ = Selection::parse(text);
    let _ = parse_size(text);
});
