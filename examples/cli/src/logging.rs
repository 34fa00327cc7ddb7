//! The SDK's log on standard error: warnings and errors, more with `--verbose`. The SDK never logs biometric data.

use log::{LevelFilter, Log, Metadata, Record};

struct StandardError;

impl Log for StandardError {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        // tract is chatty about what it optimises.
        metadata.target().starts_with("keyface")
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            eprintln!("keyface: {}: {}", record.level().as_str().to_lowercase(), record.args());
        }
    }

    fn flush(&self) {}
}

/// Starts the log of this process.
pub fn start(verbose: bool) {
    static LOG: StandardError = StandardError;
    if log::set_logger(&LOG).is_ok() {
        log::set_max_level(if verbose { LevelFilter::Debug } else { LevelFilter::Warn });
    }
}
