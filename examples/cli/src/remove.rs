//! `keyface remove`: a person leaves a gallery for good.

use crate::args::RemoveArgs;
use crate::gallery_file::{self, failed};
use crate::report::{Exit, Outcome, Output};
use keyface::error::ErrorKind;
use serde::Serialize;

/// The result.
#[derive(Serialize)]
struct Line<'a> {
    name: &'a str,
    removed: usize,
}

/// Runs the command. The file is rewritten, so that nothing of the person stays in it.
pub fn run(args: &RemoveArgs, out: Output) -> Outcome {
    let name = gallery_file::name(&args.name)?;
    let mut store = gallery_file::writer(&args.gallery)?;
    let removed = match store.remove(&name) {
        Ok(removed) => removed,
        Err(e) if e.kind() == ErrorKind::NotFound => {
            return Err(failed(&args.gallery, e).with_exit(Exit::NoMatch));
        }
        Err(e) => return Err(failed(&args.gallery, e)),
    };
    store.compact().map_err(|e| failed(&args.gallery, e))?;
    out.text(format_args!("{name} removed from {}", args.gallery.gallery.display()))?;
    out.object(&Line { name: name.as_str(), removed })?;
    Ok(Exit::Done)
}
