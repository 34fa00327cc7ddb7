//! Our half of `tests/peers/compare`: embeds on request, so that whoever drives it can take turns with another runtime.
//!
//! `embed PACK THREADS` says `ready` and waits for a line, opens the pack and embeds once; then embeds as often as each
//! further line of standard input says. Every answer is a line with the milliseconds of wall time it took, and the first one ends with the
//! embedding, so that two runtimes can be compared.

use keyface::engine::Recogniser;
use keyface::geometry::TEMPLATE_112;
use keyface::pack::{Pack, Trust};
use keyface::sample::normalised;
use std::io::{BufRead, Write};
use std::time::Instant;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let (Some(path), Some(threads)) = (args.next(), args.next()) else {
        return Err("usage: embed PACK THREADS".into());
    };
    let threads = threads.parse()?;
    let mut lines = std::io::stdin().lock().lines();
    let mut out = std::io::stdout().lock();
    writeln!(out, "ready")?;
    out.flush()?;
    if lines.next().is_none() {
        return Ok(());
    }
    let start = Instant::now();
    let pack = Pack::open(path.as_ref(), Trust::Anyone)?;
    let mut session = Recogniser::new(&pack)?.session(threads)?;
    let size = session.input_size();
    let image: Vec<u8> = (0..3 * size * size).map(|i| (i * 37 % 251) as u8).collect();
    let keypoints = TEMPLATE_112.map(normalised);
    let mut embedding = vec![0.0; session.output_dim()];
    session.run(&image, &keypoints, &mut embedding)?;
    write!(out, "{}", start.elapsed().as_secs_f64() * 1e3)?;
    for v in &embedding {
        write!(out, " {v}")?;
    }
    writeln!(out)?;
    out.flush()?;
    for line in lines {
        let count: usize = line?.trim().parse()?;
        let start = Instant::now();
        for _ in 0..count {
            session.run(&image, &keypoints, &mut embedding)?;
        }
        writeln!(out, "{}", start.elapsed().as_secs_f64() * 1e3)?;
        out.flush()?;
    }
    Ok(())
}
