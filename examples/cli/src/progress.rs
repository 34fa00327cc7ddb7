//! Progress of long work, on standard error and only where that is a terminal.

use indicatif::{ProgressBar, ProgressStyle};
use std::io::IsTerminal;

/// A bar of `total` steps called `what`; silent where standard error is no terminal.
pub fn bar(total: usize, what: &'static str) -> ProgressBar {
    let style = ProgressStyle::with_template("{msg:12} [{bar:32}] {pos}/{len} {per_sec} {eta}")
        .map(|style| style.progress_chars("=> "));
    match style {
        Ok(style) if std::io::stderr().is_terminal() => {
            ProgressBar::new(total as u64).with_style(style).with_message(what)
        }
        _ => ProgressBar::hidden(),
    }
}
