//! Real programs behind real pipes.

use super::*;
use std::path::Path;

fn settings() -> Settings {
    let backoff = (Duration::from_millis(10), Duration::from_millis(40));
    Settings { stall: Duration::from_millis(300), backoff, ..Settings::default() }
}

/// Until `done`, or 20 seconds have passed.
fn until(source: &mut Y4mPipeSource, mut done: impl FnMut(&Y4mPipeSource, Step) -> bool) -> bool {
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(20) {
        let step = source.advance(Duration::from_millis(20));
        if done(source, step) {
            return true;
        }
    }
    false
}

fn save(path: &Path, greys: &[u8]) {
    let mut bytes = b"YUV4MPEG2 W4 H2 F25:1 Cmono\n".to_vec();
    for &grey in greys {
        bytes.extend(b"FRAME\n");
        bytes.extend([grey; 8]);
    }
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn frames_come_and_the_newest_wins() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.y4m");
    save(&path, &[1, 2, 3, 4, 5]);
    let command = format!("cat {}; sleep 60", path.display());
    let settings = Settings { rotation: Rotation::Cw90, mirrored: true, ..settings() };
    let mut source = Y4mPipeSource::start(&command, &settings).unwrap();
    assert_eq!(source.state(), State::Configured);
    let last = |s: &Y4mPipeSource, _| s.frame().is_some_and(|f| f.planes()[0].data == [5; 8]);
    assert!(until(&mut source, last));
    let frame = source.frame().unwrap();
    assert_eq!((frame.width(), frame.height(), frame.upright_size()), (4, 2, (2, 4)));
    assert!(frame.mirrored() && frame.timestamp_us() > 0);
    let health = source.health();
    assert_eq!(health.frames + health.skipped, 5);
    assert_eq!(source.advance(Duration::ZERO), Step::Nothing);
    assert!(source.frame().is_none(), "a frame is lent once");
}

#[test]
fn a_program_that_ends_is_started_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.y4m");
    save(&path, &[7]);
    let mut source = Y4mPipeSource::start(&format!("cat {}", path.display()), &settings()).unwrap();
    assert!(until(&mut source, |s, _| s.health().frames >= 3));
    let health = source.health();
    assert!(health.losses >= 2 && health.restarts >= 2, "{health:?}");
}

#[test]
fn silence_is_a_stall_and_the_program_is_killed() {
    let dir = tempfile::tempdir().unwrap();
    let (path, alive) = (dir.path().join("a.y4m"), dir.path().join("alive"));
    save(&path, &[7]);
    // The first run sleeps in a grandchild that holds the pipe; the next runs go on.
    let (alive_shown, shown) = (alive.display(), path.display());
    let command =
        format!("cat {shown}; if ! test -e {alive_shown}; then touch {alive_shown}; (sleep 60); fi; sleep 0.05");
    let mut source = Y4mPipeSource::start(&command, &settings()).unwrap();
    assert!(until(&mut source, |s, _| s.state() == State::Stalled));
    assert!(until(&mut source, |s, step| step == Step::Ready && s.state() == State::Streaming));
    assert_eq!(source.health().stalls, 1);
}

#[test]
fn what_is_no_stream_is_lost_and_no_frame() {
    for command in [
        "true",
        "echo hello",
        "exit 3",
        "/nonexistent/program 2>/dev/null",
        "printf 'YUV4MPEG2 W4 H2 C422\\n'",
    ] {
        let mut source = Y4mPipeSource::start(command, &settings()).unwrap();
        assert!(until(&mut source, |s, _| s.state() == State::Lost && s.health().restarts > 1));
        assert_eq!(source.health().frames, 0, "{command}");
    }
    let refused = Y4mPipeSource::start("  ", &settings()).unwrap_err();
    assert_eq!(refused.kind(), keyface::error::ErrorKind::InvalidArgument);
}

#[test]
fn the_program_dies_with_the_source() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.y4m");
    save(&path, &[1]);
    let command = format!("cat {}; sh -c 'echo $$ > {0}.pid; sleep 60'", path.display());
    let mut source = Y4mPipeSource::start(&command, &settings()).unwrap();
    let id_file = dir.path().join("a.y4m.pid");
    let id = || std::fs::read_to_string(&id_file).ok()?.trim().parse::<u32>().ok();
    assert!(until(&mut source, |_, _| id().is_some()));
    let id = id().unwrap();
    drop(source);
    // Gone, or dead and not yet collected by its new parent.
    let gone = || {
        let state = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
        state.rsplit(')').next().is_none_or(|rest| !rest.trim_start().starts_with(['R', 'S', 'D']))
    };
    let start = Instant::now();
    while !gone() && start.elapsed() < Duration::from_secs(10) {
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(gone());
}
