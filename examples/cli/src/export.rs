//! `keyface export`: all that a gallery stores about one person, for that person.

use crate::args::ExportArgs;
use crate::gallery_file::{self, failed};
use crate::report::{counted, write_private, Exit, Failure, Outcome, Output};
use keyface::gallery::StoredTemplate;
use serde::Serialize;

/// The whole copy.
#[derive(Serialize)]
struct Copy<'a> {
    name: &'a str,
    templates: Vec<Entry<'a>>,
}

/// One template of it. The components are quantised: divided by their length they are the embedding.
#[derive(Serialize)]
struct Entry<'a> {
    record: u64,
    model: String,
    enrolled_ms: u64,
    components: &'a [i8],
}

impl<'a> From<&'a StoredTemplate> for Entry<'a> {
    fn from(stored: &'a StoredTemplate) -> Entry<'a> {
        Entry {
            record: stored.record.0,
            model: stored.model.0.iter().map(|b| format!("{b:02x}")).collect(),
            enrolled_ms: stored.at_ms,
            components: &stored.q,
        }
    }
}

/// Runs the command.
pub fn run(args: &ExportArgs, out: Output) -> Outcome {
    let name = gallery_file::name(&args.name)?;
    let reader = gallery_file::reader(&args.gallery)?;
    let stored = reader.export(&name).map_err(|e| match e.kind() {
        keyface::error::ErrorKind::NotFound => failed(&args.gallery, e).with_exit(Exit::NoMatch),
        _ => failed(&args.gallery, e),
    })?;
    let copy = Copy { name: name.as_str(), templates: stored.iter().map(Entry::from).collect() };
    let mut json = serde_json::to_vec_pretty(&copy)
        .map_err(|e| Failure::new(Exit::Internal, format!("cannot write JSON: {e}")))?;
    json.push(b'\n');
    write_private(&args.out, &json)?;
    #[derive(Serialize)]
    struct Line<'a> {
        name: &'a str,
        templates: usize,
        file: String,
    }
    out.text(format_args!(
        "{name}: {} written to {}",
        counted(stored.len(), "template"),
        args.out.display()
    ))?;
    let file = args.out.display().to_string();
    out.object(&Line { name: name.as_str(), templates: stored.len(), file })?;
    Ok(Exit::Done)
}
