//! The terminal on a source that fails, for as long as `KEYFACE_SOAK_MINUTES` says (`make soak`), else for 200 frames: no leak, no
//! deadlock, no stuck relay, every fault counted. `KEYFACE_SOAK_SEED` chooses the faults.

mod common;

use common::{Door, BLANK, KNOWN, STRANGER};
use door_terminal::counters::{resident_bytes, Counters, Outcome, Stage};
use door_terminal::notify::Notify;
use door_terminal::observe::Observer;
use door_terminal::output::Output;
use door_terminal::record::{Places, Recorder};
use door_terminal::relay::Relay;
use door_terminal::terminal::{End, Terminal};
use keyface::decide::Decider;
use keyface_boards::fault::{Fault, FaultySource};
use keyface_boards::settings::Pace;
use keyface_boards::source::Source;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};

const PULSE: Duration = Duration::from_millis(100);
/// Frames of the short run.
const SHORT: u64 = 200;
/// Frames after which memory is taken as warmed up.
const WARM: u64 = 50;
/// What memory may grow by: the allocator's own play.
const PLAY: u64 = 16 << 20;
/// Without a frame for so long, it hangs.
const HANGS: Duration = Duration::from_secs(120);

fn number<T: std::str::FromStr>(variable: &str) -> Option<T> {
    std::env::var(variable).ok()?.parse().ok()
}

/// When to stop.
struct Bound {
    minutes: Option<f64>,
    start: Instant,
}

impl Bound {
    fn reached(&self, frames: u64) -> bool {
        match self.minutes {
            Some(minutes) => self.start.elapsed().as_secs_f64() >= 60.0 * minutes,
            None => frames >= SHORT,
        }
    }
}

/// Waits until the bound is reached; memory when warm. Ends the whole program if frames stop coming.
fn watch(bound: &Bound, counters: &Counters) -> u64 {
    let (mut warm, mut last) = (0, (0, Instant::now()));
    loop {
        std::thread::sleep(Duration::from_millis(50));
        let frames = counters.frames();
        if frames != last.0 {
            last = (frames, Instant::now());
        }
        if last.1.elapsed() > HANGS {
            eprintln!("no frame for {} s after {frames}: it hangs", HANGS.as_secs());
            std::process::abort();
        }
        if warm == 0 && frames >= WARM {
            warm = resident_bytes();
        }
        if bound.reached(frames) {
            return warm;
        }
    }
}

#[test]
fn a_failing_source_never_leaves_the_door_open() {
    let seed = number("KEYFACE_SOAK_SEED").unwrap_or(1);
    let bound = Bound { minutes: number("KEYFACE_SOAK_MINUTES"), start: Instant::now() };
    let door = Door::new();
    let shown = [[KNOWN; 8].as_slice(), &[BLANK; 2], &[STRANGER; 4]].concat();
    let mut config = door.config(&format!("loop:{}", door.show(&shown)));
    (config.rules.votes, config.rules.cooldown_ms, config.rules.door_failures) =
        (Some(2), Some(500), Some(0));
    config.check().unwrap();

    let mut settings = config.settings().unwrap();
    settings.pace = Pace::Virtual;
    let faulty = FaultySource::new(Source::open(&config.source, &settings).unwrap(), seed);
    let injected = faulty.counts();
    let observer = Observer::open(&config).unwrap();
    let decider = Decider::new(config.rules.rules(observer.threshold(&config).unwrap())).unwrap();
    let relay = Relay::new(Output::open(&config.wire().unwrap(), "soak").unwrap(), PULSE).unwrap();
    let counters = Arc::new(Counters::default());
    let places = Places {
        audit: Some(door.path("audit")),
        metrics: Some(door.path("metrics")),
        interval: Duration::from_secs(1),
        led: Output::open(&"none".parse().unwrap(), "soak").unwrap(),
    };
    let recorder = Recorder::start(places, counters.clone()).unwrap();
    let notify = Notify::from_environment();
    let terminal = Terminal {
        config: &config,
        source: faulty.into(),
        observer,
        decider,
        relay,
        recorder,
        notify,
        counters: &counters,
        page: None,
    };

    let stop = AtomicBool::new(false);
    let mut lines = Vec::new();
    let (end, warm) = std::thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            let warm = watch(&bound, &counters);
            stop.store(true, Ordering::Relaxed);
            warm
        });
        let end = terminal.run(&stop, &mut lines).unwrap();
        (end, watcher.join().unwrap())
    });
    let grown = resident_bytes().saturating_sub(warm);

    let relay = door.lines("relay");
    let stamps: Vec<u64> =
        relay.iter().map(|l| l.split(' ').next().unwrap().parse().unwrap()).collect();
    let longest = stamps.chunks_exact(2).map(|p| p[1] - p[0]).max().unwrap_or(0);
    let health = counters.health();
    println!(
        "seed {seed}, {:.1} min, {} frames, {} faults:",
        bound.start.elapsed().as_secs_f64() / 60.0,
        counters.frames(),
        injected.total()
    );
    for fault in Fault::ALL {
        println!("  {fault:?}: {}", injected.of(fault));
    }
    let [allow, deny, wait] =
        [Outcome::Allow, Outcome::Deny, Outcome::Wait].map(|o| counters.outcomes(o));
    println!(
        "allow {allow}, deny {deny}, wait {wait}; {} pulses, the longest {longest} ms of {} ms",
        stamps.len() / 2,
        PULSE.as_millis()
    );
    println!(
        "memory {:.1} MB, {:.1} MB more than after {WARM} frames",
        resident_bytes() as f64 / 1e6,
        grown as f64 / 1e6
    );

    assert_eq!(end, End::Asked);
    let words = door.relay();
    assert!(
        words.chunks(2).all(|pair| pair == ["on", "off"]),
        "the relay is on at the end: {words:?}"
    );
    assert!(allow > 0 && !words.is_empty(), "somebody enters in spite of the faults");
    assert!(words.len() as u64 / 2 <= allow, "no pulse without ALLOW");
    let audit = door.lines("audit");
    assert_eq!(
        audit.iter().filter(|l| l.contains("allow")).count() as u64,
        allow,
        "no ALLOW without a record"
    );
    assert_eq!(health.damaged, injected.of(Fault::Damage));
    assert_eq!(health.skipped, injected.of(Fault::Drop));
    assert_eq!(health.stalls, injected.of(Fault::Stall));
    assert_eq!(health.losses, injected.of(Fault::Lose));
    assert_eq!(
        counters.errors(Stage::Clock),
        injected.of(Fault::FrozenClock) + injected.of(Fault::ClockBack)
    );
    for stage in [Stage::Pipeline, Stage::Gallery, Stage::Record, Stage::Relay] {
        assert_eq!(counters.errors(stage), 0, "{stage:?}");
    }
    assert!(grown < PLAY, "{grown} bytes more than after {WARM} frames");
}
