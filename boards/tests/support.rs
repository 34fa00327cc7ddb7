//! The board support files: units that systemd accepts and finds well locked, rules that udev can read, a page for every board.

use keyface_boards::profile::Profile;
use std::path::{Path, PathBuf};
use std::process::Command;

fn support() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("support")
}

fn files(folder: &str, ending: &str) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = std::fs::read_dir(support().join(folder))
        .unwrap()
        .map(|e| e.unwrap().path())
        .filter(|p| p.to_str().unwrap().ends_with(ending))
        .collect();
    found.sort();
    assert!(!found.is_empty(), "{folder}/*{ending}");
    found
}

/// Copies of the units in which programs that are not installed here are replaced.
fn units(folder: &Path) -> Vec<PathBuf> {
    let copy = |unit: PathBuf| {
        let text = std::fs::read_to_string(&unit).unwrap();
        let text = text.replace("/usr/bin/door_terminal", "/bin/true");
        let text = text.replace("/usr/bin/gst-launch-1.0", "/bin/true");
        let at = folder.join(unit.file_name().unwrap());
        std::fs::write(&at, text).unwrap();
        at
    };
    files("systemd", ".service").into_iter().map(copy).collect()
}

/// Runs systemd-analyze; `None`, with a word, where there is none.
fn analyze(arguments: &[&str], units: &[PathBuf]) -> Option<(bool, String)> {
    match Command::new("systemd-analyze").args(arguments).args(units).output() {
        Ok(out) => {
            let text = [out.stdout, out.stderr].map(|b| String::from_utf8_lossy(&b).into_owned());
            Some((out.status.success(), text.concat()))
        }
        Err(e) => {
            println!("skipped: systemd-analyze: {e}");
            None
        }
    }
}

#[test]
fn systemd_accepts_the_units() {
    let folder = tempfile::tempdir().unwrap();
    let units = units(folder.path());
    // With each unit's drop-ins, of which a board has one.
    for unit in &units {
        let name = unit.file_name().unwrap().to_str().unwrap();
        let to = folder.path().join(format!("{name}.d"));
        std::fs::create_dir(&to).unwrap();
        for drop_in in files(&format!("systemd/{name}.d"), ".conf") {
            std::fs::copy(&drop_in, to.join(drop_in.file_name().unwrap())).unwrap();
        }
    }
    if let Some((ok, text)) = analyze(&["verify", "--man=no"], &units) {
        assert!(ok && !text.contains("keyface"), "{text}");
        // It does see what is wrong.
        let broken = folder.path().join("broken.service");
        std::fs::write(&broken, "[Service]\nExecStart=/bin/true\nDevicePolicy=open\n").unwrap();
        let (_, text) = analyze(&["verify", "--man=no"], &[broken]).unwrap();
        assert!(text.contains("DevicePolicy") || text.contains("device policy"), "{text}");
        let drop_in = folder.path().join("keyface.service.d/broken.conf");
        std::fs::write(drop_in, "[Service]\nPrivateNetwork=perhaps\n").unwrap();
        let (_, text) = analyze(&["verify", "--man=no"], &units[..]).unwrap();
        assert!(text.contains("broken.conf"), "drop-ins are read: {text}");
    }
}

#[test]
fn the_units_are_well_locked() {
    let folder = tempfile::tempdir().unwrap();
    for unit in units(folder.path()) {
        // In tenths: 1.5 of 10, where 0 is locked up and 10 is open.
        let arguments = ["security", "--offline=true", "--threshold=15", "--no-pager"];
        if let Some((ok, text)) = analyze(&arguments, &[unit]) {
            if text.contains("unrecognized option") {
                println!("skipped: this systemd-analyze cannot look at units that are not running");
                continue;
            }
            let last = text.lines().rfind(|l| l.contains("exposure")).unwrap_or(&text);
            println!("{last}");
            assert!(ok, "{last}");
        }
    }
}

#[test]
fn the_terminal_is_hardened_as_promised() {
    let unit = std::fs::read_to_string(support().join("systemd/keyface.service")).unwrap();
    for line in [
        "Type=notify",
        "DevicePolicy=closed",
        "MemoryDenyWriteExecute=yes",
        "ProtectSystem=strict",
        "PrivateNetwork=yes",
        "Restart=always",
        "LimitCORE=0",
    ] {
        assert!(unit.lines().any(|l| l == line), "{line}");
    }
    assert!(unit.contains("\nWatchdogSec=") && unit.contains("\nUser=keyface"));
    assert!(unit.contains("\nExecStopPost=/usr/bin/door_terminal"));
}

/// `KEY=="value"`, `KEY+="value"` and so on, separated by commas: a misspelt key is ignored by udev, so it must not pass here.
#[test]
fn udev_rules_hold_only_keys_that_exist() {
    const KEYS: [&str; 13] = [
        "ACTION",
        "SUBSYSTEM",
        "SUBSYSTEMS",
        "KERNEL",
        "DRIVERS",
        "ATTR",
        "ATTRS",
        "ENV",
        "SYMLINK",
        "GROUP",
        "MODE",
        "TAG",
        "TEST",
    ];
    for file in files("udev", ".rules") {
        let text = std::fs::read_to_string(&file).unwrap();
        let rules = text.lines().filter(|l| !l.is_empty() && !l.starts_with('#'));
        let mut count = 0;
        for rule in rules {
            count += 1;
            for part in rule.split(", ") {
                let end = part.find(['=', '+', '!']).unwrap_or_else(|| panic!("{part}"));
                let key = part[..end].split('{').next().unwrap();
                assert!(KEYS.contains(&key), "{part}");
                let value = part[end..].trim_start_matches(['=', '+', '!', ':']);
                let quoted = value.len() >= 2 && value.starts_with('"') && value.ends_with('"');
                assert!(quoted && value.matches('"').count() == 2, "{part}");
            }
        }
        assert!(count > 2);
    }
}

#[test]
fn every_board_has_a_page_and_every_bridge_a_pipeline() {
    let pages: String =
        files("", ".md").iter().map(|page| std::fs::read_to_string(page).unwrap()).collect();
    for profile in Profile::built_in().unwrap() {
        assert!(pages.contains(&format!("`{}`", profile.name)), "{}", profile.name);
    }
    for file in files("bridge", ".env") {
        let text = std::fs::read_to_string(&file).unwrap();
        let set = text.lines().filter(|l| !l.starts_with('#')).collect::<Vec<_>>();
        assert!(set.len() == 1 && set[0].starts_with("KEYFACE_BRIDGE="), "{}", file.display());
        // The node that the module's options make.
        let options =
            std::fs::read_to_string(support().join("modprobe.d/keyface-v4l2loopback.conf"));
        assert!(text.contains("/dev/video42") && options.unwrap().contains("video_nr=42"));
    }
}
