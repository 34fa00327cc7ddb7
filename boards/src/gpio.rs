//! Which GPIO lines a board has: what `keyface board probe` shows. Lines are driven by the application.

use gpiocdev::chip::Chip;
use std::path::PathBuf;

/// A GPIO controller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Controller {
    /// Its node.
    pub path: PathBuf,
    /// Its label, which stays where numbers change.
    pub label: String,
    /// How many lines it has.
    pub lines: u32,
}

/// All controllers that this program may open, in the order of their nodes.
#[must_use]
pub fn controllers() -> Vec<Controller> {
    let mut paths = gpiocdev::chip::chips().unwrap_or_default();
    paths.sort();
    let info = |path: PathBuf| {
        let info = Chip::from_path(&path).ok()?.info().ok()?;
        Some(Controller { path, label: info.label, lines: info.num_lines })
    };
    paths.into_iter().filter_map(info).collect()
}

/// Where the line of a profile's `gpio:` wire is, and who uses it; the error is the cause in words.
///
/// # Errors
/// Where the wire is no GPIO line, or there is no such line, or it may not be looked at.
pub fn find(wire: &str) -> Result<String, String> {
    let body = wire.strip_suffix(",active-low").unwrap_or(wire);
    let line = body.strip_prefix("gpio:").ok_or("not a GPIO line")?;
    let (path, offset) = match line.rsplit_once(':') {
        Some((label, number)) => {
            let number: u32 = number.parse().map_err(|_| "the line is no number")?;
            let all = controllers();
            let chip = all.iter().find(|c| c.label == label);
            let chip = chip.ok_or_else(|| format!("no controller is called {label}"))?;
            if number >= chip.lines {
                return Err(format!("{label} has only {} lines", chip.lines));
            }
            (chip.path.clone(), number)
        }
        None => {
            let found = gpiocdev::find_named_line(line);
            let found = found.ok_or_else(|| format!("no line is called {line}"))?;
            (found.chip, found.info.offset)
        }
    };
    let info = Chip::from_path(&path).and_then(|chip| chip.line_info(offset));
    let info = info.map_err(|e| format!("{}: {e}", path.display()))?;
    let user = match (info.used, info.consumer.as_str()) {
        (false, _) => "free".to_owned(),
        (true, "") => "in use".to_owned(),
        (true, consumer) => format!("in use by {consumer}"),
    };
    Ok(format!("{} line {offset}, {user}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_there_is_told() {
        for (wire, cause) in [
            ("led:ACT", "not a GPIO line"),
            ("gpio:no-such-line", "no line is called no-such-line"),
            ("gpio:no-such-chip:3,active-low", "no controller is called no-such-chip"),
            ("gpio:chip:x", "no number"),
        ] {
            let refused = find(wire).unwrap_err();
            assert!(refused.contains(cause), "{wire}: {refused}");
        }
    }
}
