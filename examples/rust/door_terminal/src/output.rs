//! One wire: a relay or an LED, on a GPIO line, as the kernel's LED, or written to a file where there is no hardware.

use gpiocdev::line::Value;
use gpiocdev::Request;
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{Error, ErrorKind, Result, Write};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Instant;

/// What a wire is, as text:
///
/// | text | wire |
/// |---|---|
/// | `gpio:GPIO17` | the GPIO line of that name, on whatever chip |
/// | `gpio:pinctrl-bcm2711:17` | line 17 of the chip with that label (labels survive kernel updates, chip numbers do not) |
/// | `led:ACT` | the LED of that name in `/sys/class/leds` |
/// | `log` | standard error: no hardware |
/// | `log:FILE` | lines appended to a file: no hardware |
/// | `none` | nothing |
///
/// `,active-low` behind a GPIO line means that 0 V is "on".
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wire {
    /// A GPIO line by its name.
    Named {
        /// The name.
        line: String,
        /// 0 V is "on".
        active_low: bool,
    },
    /// A GPIO line by its chip's label and its number.
    Numbered {
        /// The label, as `gpioinfo` shows it.
        chip: String,
        /// The line's number on that chip.
        line: u32,
        /// 0 V is "on".
        active_low: bool,
    },
    /// An LED of the kernel's.
    Led(String),
    /// Text on standard error, or in a file.
    Log(Option<PathBuf>),
    /// Nothing.
    None,
}

impl FromStr for Wire {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Wire, String> {
        let (wire, active_low) = match text.strip_suffix(",active-low") {
            Some(wire) => (wire, true),
            None => (text, false),
        };
        let (kind, rest) = wire.split_once(':').unwrap_or((wire, ""));
        let parsed = match (kind, rest) {
            ("gpio", rest) if !rest.is_empty() => match rest.rsplit_once(':') {
                None => Some(Wire::Named { line: rest.to_owned(), active_low }),
                Some((chip, line)) if !chip.is_empty() => line
                    .parse()
                    .ok()
                    .map(|line| Wire::Numbered { chip: chip.to_owned(), line, active_low }),
                Some(_) => None,
            },
            _ if active_low => None,
            ("led", name) if !name.is_empty() && !name.contains('/') && name != ".." => {
                Some(Wire::Led(name.to_owned()))
            }
            ("log", "") if wire == "log" => Some(Wire::Log(None)),
            ("log", file) if !file.is_empty() => Some(Wire::Log(Some(file.into()))),
            ("none", "") if wire == "none" => Some(Wire::None),
            _ => None,
        };
        parsed.ok_or_else(|| {
            format!(
                "'{text}' is no wire: gpio:NAME, gpio:CHIP:LINE, led:NAME, log, log:FILE or none"
            )
        })
    }
}

/// A wire that is held, off when it is opened, and switched off when it is dropped.
pub struct Output {
    kind: Kind,
    on: bool,
}

enum Kind {
    Gpio(Request),
    Led {
        brightness: File,
        full: String,
    },
    Log {
        file: Option<File>,
        start: Instant,
    },
    None,
    #[cfg(test)]
    Broken {
        works: u32,
    },
}

impl fmt::Debug for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Output").field("on", &self.on).finish_non_exhaustive()
    }
}

impl Output {
    /// Takes the wire and switches it off. `consumer` is the name that other programs see on a GPIO line.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] where there is no such line or LED; otherwise the system's, among them "busy" for a line that
    /// another program holds.
    pub fn open(wire: &Wire, consumer: &str) -> Result<Output> {
        let kind = match wire {
            Wire::Named { line, active_low } => {
                let found = gpiocdev::find_named_line(line)
                    .ok_or_else(|| missing(format!("no GPIO line is called {line}")))?;
                Kind::Gpio(request(found.chip, found.info.offset, *active_low, consumer)?)
            }
            Wire::Numbered { chip, line, active_low } => {
                Kind::Gpio(request(chip_labelled(chip)?, *line, *active_low, consumer)?)
            }
            Wire::Led(name) => {
                let folder = PathBuf::from("/sys/class/leds").join(name);
                if !folder.exists() {
                    return Err(missing(format!("no LED is called {name}")));
                }
                // The kernel's own blinking would fight with ours; an LED without triggers has no such file.
                let _ = std::fs::write(folder.join("trigger"), "none");
                let full =
                    std::fs::read_to_string(folder.join("max_brightness"))?.trim().to_owned();
                Kind::Led {
                    brightness: OpenOptions::new().write(true).open(folder.join("brightness"))?,
                    full,
                }
            }
            Wire::Log(path) => {
                let open = |p| OpenOptions::new().append(true).create(true).open(p);
                Kind::Log { file: path.as_ref().map(open).transpose()?, start: Instant::now() }
            }
            Wire::None => Kind::None,
        };
        let mut output = Output { kind, on: false };
        if matches!(output.kind, Kind::Led { .. }) {
            output.write(false)?;
        }
        Ok(output)
    }

    /// A wire that can be switched `works` times, and fails from then on.
    #[cfg(test)]
    pub(crate) fn broken(works: u32) -> Output {
        Output { kind: Kind::Broken { works }, on: false }
    }

    /// Switches. Does nothing where it is so already.
    ///
    /// # Errors
    /// The system's. The wire's state is unknown then.
    pub fn set(&mut self, on: bool) -> Result<()> {
        if on != self.on {
            self.write(on)?;
            self.on = on;
        }
        Ok(())
    }

    /// Switches off whatever the state is believed to be.
    ///
    /// # Errors
    /// As [`Output::set`].
    pub fn force_off(&mut self) -> Result<()> {
        self.write(false)?;
        self.on = false;
        Ok(())
    }

    /// Whether it is on, as far as it could be switched.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.on
    }

    fn write(&mut self, on: bool) -> Result<()> {
        match &mut self.kind {
            Kind::Gpio(request) => {
                let value = if on { Value::Active } else { Value::Inactive };
                request.set_lone_value(value).map_err(gpio)
            }
            Kind::Led { brightness, full } => {
                brightness.write_all(if on { full.as_bytes() } else { b"0" })
            }
            Kind::Log { file, start } => {
                let ms = start.elapsed().as_millis();
                let line = format!("{ms} {}\n", if on { "on" } else { "off" });
                match file {
                    Some(file) => file.write_all(line.as_bytes()),
                    None => std::io::stderr().write_all(format!("relay {line}").as_bytes()),
                }
            }
            Kind::None => Ok(()),
            #[cfg(test)]
            Kind::Broken { works: 0 } => Err(ErrorKind::BrokenPipe.into()),
            #[cfg(test)]
            Kind::Broken { works } => {
                *works -= 1;
                Ok(())
            }
        }
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        // Nothing is left to try; the kernel frees the line when the request goes.
        if self.on && self.force_off().is_err() {
            log::error!("a wire could not be switched off");
        }
    }
}

fn missing(text: String) -> Error {
    Error::new(ErrorKind::NotFound, text)
}

fn gpio(e: gpiocdev::Error) -> Error {
    Error::other(e.to_string())
}

fn chip_labelled(label: &str) -> Result<PathBuf> {
    let has_label = |path: &PathBuf| {
        let info = gpiocdev::Chip::from_path(path).and_then(|chip| chip.info());
        info.is_ok_and(|info| info.label == label)
    };
    let mut chips = gpiocdev::chip::chips().map_err(gpio)?.into_iter();
    chips.find(has_label).ok_or_else(|| missing(format!("no GPIO chip has the label {label}")))
}

/// The line as an output that is off.
fn request(chip: PathBuf, line: u32, active_low: bool, consumer: &str) -> Result<Request> {
    let mut builder = Request::builder();
    builder.on_chip(chip).with_line(line).as_output(Value::Inactive).with_consumer(consumer);
    if active_low {
        builder.as_active_low();
    }
    builder.request().map_err(gpio)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wires_are_read_and_nonsense_is_refused() {
        let wire = |text: &str| text.parse::<Wire>();
        let named = |line: &str, active_low| Ok(Wire::Named { line: line.into(), active_low });
        assert_eq!(wire("gpio:GPIO17"), named("GPIO17", false));
        assert_eq!(wire("gpio:PQ.05,active-low"), named("PQ.05", true));
        let chip = "9030000.pl061".to_owned();
        assert_eq!(
            wire("gpio:9030000.pl061:2"),
            Ok(Wire::Numbered { chip, line: 2, active_low: false })
        );
        assert_eq!(wire("led:ACT"), Ok(Wire::Led("ACT".into())));
        assert_eq!(wire("log"), Ok(Wire::Log(None)));
        assert_eq!(wire("log:/a:b"), Ok(Wire::Log(Some("/a:b".into()))));
        assert_eq!(wire("none"), Ok(Wire::None));
        for bad in [
            "",
            "gpio",
            "gpio:",
            "gpio:a:b",
            "gpio::1",
            "led:../x",
            "led:..",
            "log:",
            "none:",
            "log,active-low",
            "relay",
        ] {
            assert!(wire(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_dropped_wire_is_off() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("wire");
        let mut output = Output::open(&Wire::Log(Some(path.clone())), "test").unwrap();
        output.set(true).unwrap();
        output.set(true).unwrap();
        assert!(output.is_on());
        drop(output);
        let text = std::fs::read_to_string(path).unwrap();
        let words: Vec<&str> = text.lines().map(|l| l.split_once(' ').unwrap().1).collect();
        assert_eq!(words, ["on", "off"]);
    }

    #[test]
    fn what_is_missing_is_named() {
        let e = Output::open(&Wire::Led("no such led".into()), "test").unwrap_err();
        assert!(e.to_string().contains("no such led"), "{e}");
    }
}
