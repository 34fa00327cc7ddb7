//! `keyface list`: who is in a gallery.

use crate::args::GalleryArgs;
use crate::gallery_file;
use crate::report::{counted, Exit, Outcome, Output};
use serde::Serialize;

/// One person's line.
#[derive(Serialize)]
struct Line<'a> {
    name: &'a str,
    templates: usize,
}

/// Runs the command.
pub fn run(args: &GalleryArgs, out: Output) -> Outcome {
    let reader = gallery_file::reader(args)?;
    let people = reader.people();
    for person in &people {
        out.text(format_args!("{:30} {}", person.name, counted(person.templates, "template")))?;
        out.object(&Line { name: person.name.as_str(), templates: person.templates })?;
    }
    if people.is_empty() {
        out.text("nobody is enrolled")?;
    }
    Ok(Exit::Done)
}
