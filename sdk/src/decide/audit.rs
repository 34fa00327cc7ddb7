//! What a door did, in lines that say nothing about faces.
//!
//! One JSON object a line: a running number, the host's time, the event, the person's number in the gallery, and reasons. No score, no
//! embedding, no picture, no name: names can be looked up as long as the person is enrolled, and not after.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

use super::{Decision, Verdict};
use crate::error::{Error, Result};
use crate::gallery::PersonId;

/// Something worth a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// The door decided. `Wait` is not worth a line and writes none.
    Decided(Decision),
    /// Somebody was enrolled.
    Enrolled(PersonId),
    /// Somebody was removed.
    Removed(PersonId),
    /// All were removed.
    Wiped,
    /// An operator ended the lock-outs.
    Unlocked,
}

/// Writes events. DENY is written when it differs from the event before, so that an empty corridor fills no disk.
#[derive(Debug)]
pub struct Audit<W: Write> {
    out: W,
    number: u64,
    last: Option<Event>,
}

impl<W: Write> Audit<W> {
    /// Lines go to `out`, numbered from `first`.
    pub fn new(out: W, first: u64) -> Self {
        Audit { out, number: first, last: None }
    }

    /// Writes one event at the host's time `at_ms` (milliseconds since 1970), and flushes. Says whether a line was written.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Io`] if it cannot be written: whether a door may open then is the host's policy.
    pub fn write(&mut self, at_ms: u64, event: Event) -> Result<bool> {
        let is = |verdict: Verdict| matches!(event, Event::Decided(d) if d.verdict == verdict);
        if is(Verdict::Wait) || (is(Verdict::Deny) && self.last == Some(event)) {
            return Ok(false);
        }
        let (name, person) = match event {
            Event::Decided(Decision { verdict: Verdict::Allow(person), .. }) => {
                ("allow", Some(person))
            }
            Event::Decided(_) => ("deny", None),
            Event::Enrolled(person) => ("enrolled", Some(person)),
            Event::Removed(person) => ("removed", Some(person)),
            Event::Wiped => ("wiped", None),
            Event::Unlocked => ("unlocked", None),
        };
        let mut line = format!(r#"{{"n":{},"at_ms":{at_ms},"event":"{name}""#, self.number);
        if let Some(PersonId(person)) = person {
            line += &format!(r#","person":{person}"#);
        }
        if let Event::Decided(decision) = event {
            let names: Vec<String> = decision.reasons.names().map(|n| format!("\"{n}\"")).collect();
            line += &format!(r#","reasons":[{}]"#, names.join(","));
        }
        line += "}\n";
        let written = self.out.write_all(line.as_bytes()).and_then(|()| self.out.flush());
        written.map_err(|e| Error::io("write the audit log", &e))?;
        self.number += 1;
        self.last = Some(event);
        Ok(true)
    }
}

/// Opens a log file to append to, and makes it if there is none: the file, and the number of its next line, for [`Audit::new`].
///
/// # Errors
/// [`crate::ErrorKind::Io`] if it cannot be opened or read.
pub fn open(path: &Path) -> Result<(File, u64)> {
    let file = OpenOptions::new().read(true).append(true).create(true).open(path);
    let mut file = file.map_err(|e| Error::io("open the audit log", &e))?;
    let next = next_number(&mut file).map_err(|e| Error::io("read the audit log", &e))?;
    Ok((file, next))
}

/// One more than the number of the last whole line, which is among the last bytes; 0 for a new log, and for what is no file.
fn next_number(file: &mut File) -> io::Result<u64> {
    const TAIL: u64 = 4096;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Ok(0);
    }
    file.seek(SeekFrom::Start(metadata.len().saturating_sub(TAIL)))?;
    let mut tail = String::new();
    file.take(TAIL).read_to_string(&mut tail)?;
    let number = |line: &str| line.strip_prefix(r#"{"n":"#)?.split(',').next()?.parse::<u64>().ok();
    Ok(tail.lines().rev().find_map(number).map_or(0, |n| n + 1))
}

#[cfg(test)]
mod tests {
    use super::super::Reasons;
    use super::*;

    #[test]
    fn lines_are_json_without_biometrics() {
        let mut out = Vec::new();
        let mut audit = Audit::new(&mut out, 7);
        let deny = Event::Decided(Decision {
            verdict: Verdict::Deny,
            reasons: Reasons::NO_MATCH | Reasons::DOOR_LOCKED,
        });
        let allow = Event::Decided(Decision {
            verdict: Verdict::Allow(PersonId(3)),
            reasons: Reasons::NONE,
        });
        let wait =
            Event::Decided(Decision { verdict: Verdict::Wait, reasons: Reasons::COLLECTING });
        let events =
            [deny, deny, wait, allow, allow, deny, Event::Enrolled(PersonId(4)), Event::Wiped];
        let written: Vec<bool> = events.into_iter().map(|e| audit.write(9, e).unwrap()).collect();
        assert_eq!(written, [true, false, false, true, true, true, true, true]);
        let text = String::from_utf8(out).unwrap();
        let first = text.lines().next().unwrap();
        assert_eq!(
            first,
            r#"{"n":7,"at_ms":9,"event":"deny","reasons":["no match","door locked"]}"#
        );
        for (i, line) in text.lines().enumerate() {
            let value: serde_json::Value = serde_json::from_str(line).unwrap();
            assert_eq!(value["n"], 7 + i);
            for key in value.as_object().unwrap().keys() {
                assert!(
                    ["n", "at_ms", "event", "person", "reasons"].contains(&key.as_str()),
                    "{key}"
                );
            }
        }
    }

    #[test]
    fn a_log_file_is_numbered_on() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit");
        for wanted in [0, 2] {
            let (file, first) = open(&path).unwrap();
            assert_eq!(first, wanted);
            let mut audit = Audit::new(file, first);
            assert!(audit.write(1, Event::Wiped).unwrap());
            assert!(audit.write(2, Event::Unlocked).unwrap());
        }
        // A line that a power cut tore does not count.
        std::fs::write(&path, "{\"n\":7,\"at_ms\":1,\"event\":\"wiped\"}\n{\"n\":").unwrap();
        assert_eq!(open(&path).unwrap().1, 8);
        assert!(open(dir.path()).is_err());
    }

    #[test]
    fn a_full_disk_is_an_error() {
        struct Full;
        impl Write for Full {
            fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
                Err(std::io::ErrorKind::StorageFull.into())
            }
            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }
        assert!(Audit::new(Full, 0).write(0, Event::Wiped).is_err());
    }
}
