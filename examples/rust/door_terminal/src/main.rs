//! The command: see `door_terminal --help`.

use clap::Parser;
use door_terminal::config::Config;
use door_terminal::counters::Counters;
use door_terminal::notify::Notify;
use door_terminal::observe::Observer;
use door_terminal::output::Output;
use door_terminal::page::Page;
use door_terminal::record::{Places, Recorder};
use door_terminal::relay::Relay;
use door_terminal::terminal::{End, Terminal};
use keyface::decide::Decider;
use keyface_boards::selection::FORMS;
use keyface_boards::source::Source;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::AtomicBool;
use std::sync::Arc;
use std::time::Duration;

/// Opens a door for people it recognises.
#[derive(Debug, Parser)]
#[command(version, after_help = format!("Sources:\n{FORMS}\n{AFTER}"))]
struct Args {
    /// Configuration file; the flags below go before what it says
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where frames come from; the forms are below
    #[arg(long, value_name = "SELECTION")]
    source: Option<String>,
    /// Gallery of the people who may pass; its key is GALLERY.key
    #[arg(long, value_name = "FILE")]
    gallery: Option<PathBuf>,
    /// Model pack
    #[arg(long, value_name = "FILE")]
    pack: Option<PathBuf>,
    /// The relay: gpio:NAME, gpio:CHIP-LABEL:LINE (each with ,active-low), log, log:FILE, none
    #[arg(long, value_name = "WIRE")]
    relay: Option<String>,
    /// How long the door is open, in milliseconds
    #[arg(long, value_name = "MS")]
    pulse: Option<u64>,
    /// Good frames that must agree
    #[arg(long, value_name = "N")]
    votes: Option<usize>,
    /// Score from which on faces match, in place of the pack's figures
    #[arg(long, value_name = "SCORE", allow_negative_numbers = true)]
    threshold: Option<f32>,
    /// Audit log, one JSON object a line
    #[arg(long, value_name = "FILE")]
    audit: Option<PathBuf>,
    /// Counters as Prometheus text
    #[arg(long, value_name = "FILE")]
    metrics: Option<PathBuf>,
    /// Check the configuration, the model and the gallery, then end
    #[arg(long)]
    check_config: bool,
    /// Switch the relay off, then end: for after a crash
    #[arg(long, conflicts_with = "check_config")]
    release: bool,
}

const AFTER: &str = "\
Pictures played once have the time of their number, at the configured rate, so the same pictures give the same decisions.

Standard output has a line for each decision that differs from the one before:
  allow PERSON            the relay opens; PERSON is the number in the gallery
  deny REASON, REASON     nobody, several faces, no match, ambiguous, error, door locked ..
  wait REASON             collecting, quality, no match, cool-down ..

Exit codes: 0 the source ended, or SIGTERM or SIGINT came; 1 the relay failed; 2 wrong usage; 3 the configuration is refused;
4 model or gallery cannot be used; 5 the source cannot be opened; 6 relay, LED or audit log cannot be opened.

Examples:
  door_terminal --config /etc/keyface/door.toml
  door_terminal --config door.toml --check-config
  door_terminal --source dir:faces --gallery door.kfgallery --pack default.kfpack --relay log --votes 1";

/// What goes wrong before the loop, with its exit code.
struct Trouble(u8, String);

fn main() -> ExitCode {
    // Nothing else has set a logger.
    let _ = log::set_logger(&StandardError).map(|()| log::set_max_level(log::LevelFilter::Info));
    match run(&Args::parse()) {
        Ok(code) => code,
        Err(Trouble(code, text)) => {
            eprintln!("door_terminal: {text}");
            ExitCode::from(code)
        }
    }
}

fn configuration(args: &Args) -> Result<Config, Trouble> {
    let refused = |e| Trouble(3, e);
    let mut config = match (&args.config, &args.source, &args.gallery, &args.pack, &args.relay) {
        (Some(path), ..) => Config::read(path).map_err(refused)?,
        (None, Some(source), Some(gallery), Some(pack), Some(relay)) => {
            Config::new(source.clone(), gallery.clone(), pack.clone(), relay.clone())
        }
        _ => {
            return Err(Trouble(
                2,
                "without --config: --source, --gallery, --pack and --relay are needed".into(),
            ))
        }
    };
    if let Some(source) = &args.source {
        config.source.clone_from(source);
    }
    if let Some(gallery) = &args.gallery {
        (config.gallery, config.key) = (gallery.clone(), None);
    }
    if let Some(pack) = &args.pack {
        config.pack.clone_from(pack);
    }
    if let Some(wire) = &args.relay {
        config.relay.wire.clone_from(wire);
    }
    config.relay.pulse_ms = args.pulse.unwrap_or(config.relay.pulse_ms);
    config.rules.votes = args.votes.or(config.rules.votes);
    config.rules.threshold = args.threshold.or(config.rules.threshold);
    config.audit = args.audit.clone().or(config.audit);
    config.metrics = args.metrics.clone().or(config.metrics);
    config.check().map_err(refused)?;
    Ok(config)
}

fn run(args: &Args) -> Result<ExitCode, Trouble> {
    let config = configuration(args)?;
    let hardware = |what: &str, e: std::io::Error| Trouble(6, format!("{what}: {e}"));
    let wire = config.wire().map_err(|e| Trouble(3, e))?;
    if args.release {
        let mut line = Output::open(&wire, "door_terminal").map_err(|e| hardware("relay", e))?;
        line.force_off().map_err(|e| hardware("relay", e))?;
        return Ok(ExitCode::SUCCESS);
    }
    let observer =
        Observer::open(&config).map_err(|(name, e)| Trouble(4, format!("{name}: {e}")))?;
    let threshold = observer.threshold(&config).map_err(|e| Trouble(4, e.to_string()))?;
    let decider =
        Decider::new(config.rules.rules(threshold)).map_err(|e| Trouble(3, e.to_string()))?;
    if args.check_config {
        let (templates, threads) = (observer.templates(), config.threads().unwrap_or(1));
        println!(
            "sound: {templates} templates, faces match from {threshold:.3}, threads: {threads}"
        );
        return Ok(ExitCode::SUCCESS);
    }
    // The relay first: from here on the line is ours and off.
    let line = Output::open(&wire, "door_terminal").map_err(|e| hardware("relay", e))?;
    let relay = Relay::new(line, config.pulse()).map_err(|e| hardware("relay", e))?;
    let led_wire = config.led_wire().map_err(|e| Trouble(3, e))?;
    let counters = Arc::new(Counters::default());
    let places = Places {
        audit: config.audit.clone(),
        metrics: config.metrics.clone(),
        interval: Duration::from_secs(config.interval_s),
        led: Output::open(&led_wire, "door_terminal").map_err(|e| hardware("led", e))?,
    };
    let recorder =
        Recorder::start(places, counters.clone()).map_err(|e| hardware("audit log", e))?;
    let settings = config.settings().map_err(|e| Trouble(3, e))?;
    let source = Source::open(&config.source, &settings).map_err(|e| Trouble(5, e.to_string()))?;
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGTERM, signal_hook::consts::SIGINT] {
        signal_hook::flag::register(signal, stop.clone()).map_err(|e| Trouble(1, e.to_string()))?;
    }
    let notify = Notify::from_environment();
    let page = config.page.as_ref().and_then(|table| {
        // The door works without it.
        let started = Page::start(table, &config, threshold, &counters);
        started.inspect_err(|e| log::error!("there is no page: {e}")).ok()
    });
    let (config, counters) = (&config, &*counters);
    let terminal =
        Terminal { config, source, observer, decider, relay, recorder, notify, counters, page };
    match terminal.run(&stop, &mut std::io::stdout()) {
        Ok(End::Source | End::Asked) => Ok(ExitCode::SUCCESS),
        Ok(End::Relay) => Err(Trouble(1, "the relay cannot be switched".into())),
        Err(e) => Err(Trouble(1, format!("standard output: {e}"))),
    }
}

/// Messages as lines on standard error, which systemd's journal takes.
struct StandardError;

impl log::Log for StandardError {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        metadata.target().starts_with("door_terminal") || metadata.target().starts_with("keyface")
    }

    fn log(&self, record: &log::Record<'_>) {
        if self.enabled(record.metadata()) {
            eprintln!("{}: {}", record.level().as_str().to_lowercase(), record.args());
        }
    }

    fn flush(&self) {}
}
