//! The program as an installer runs it: pictures in, lines, relay, audit log and exit code out.

mod common;

use common::{name, pack, Door, BLANK, KNOWN, STRANGER};
use std::io::{BufRead, BufReader};
use std::os::unix::net::UnixDatagram;
use std::process::{Child, Command, Output, Stdio};

/// The program at this door; `log` as its relay.
fn terminal(door: &Door, source: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_door_terminal"));
    command.args(["--source", source, "--relay"]);
    command.arg(format!("log:{}", door.path("relay").display()));
    command.arg("--gallery").arg(door.path("gallery")).arg("--pack").arg(pack());
    command.env_remove("NOTIFY_SOCKET").stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn stdout(output: &Output) -> Vec<String> {
    String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
}

/// Starts it and waits for its line that starts so.
fn wait_for(
    command: &mut Command,
    start: &str,
) -> (Child, std::io::Lines<BufReader<std::process::ChildStdout>>) {
    let mut child = command.stderr(Stdio::null()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let found = lines.any(|l| l.unwrap().starts_with(start));
    assert!(found, "it ended without the line '{start}'");
    (child, lines)
}

fn signal(child: &Child, signal: &str) {
    assert!(Command::new("kill")
        .args([signal, &child.id().to_string()])
        .status()
        .unwrap()
        .success());
}

#[test]
fn the_enrolled_person_enters_and_a_stranger_does_not() {
    let door = Door::new();
    let shown = [[BLANK; 2].as_slice(), &[KNOWN; 3], &[BLANK], &[STRANGER; 6]].concat();
    let source = format!("dir:{}", door.show(&shown));
    let run = || {
        let mut command = terminal(&door, &source);
        command.arg("--audit").arg(door.path("audit")).arg("--metrics").arg(door.path("metrics"));
        command.output().unwrap()
    };
    let output = run();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let want = [
        "deny nobody",
        "wait collecting",
        "allow 1",
        "deny nobody",
        "wait no match",
        "deny no match",
        "wait no match",
    ];
    assert_eq!(stdout(&output), want);
    assert_eq!(door.relay(), ["on", "off"]);
    let audit = door.lines("audit");
    let events: Vec<&str> =
        audit.iter().map(|l| if l.contains("allow") { "allow" } else { "deny" }).collect();
    assert_eq!(events, ["deny", "allow", "deny", "deny"]);
    assert!(audit[1].contains(r#""person":1"#) && audit[3].contains("no match"), "{audit:?}");
    let metrics = door.lines("metrics");
    for line in [
        "keyface_door_frames_total 12".to_owned(),
        "keyface_door_faces_total 9".to_owned(),
        "keyface_door_decisions_total{verdict=\"allow\"} 1".to_owned(),
        "keyface_door_relay_pulses_total 1".to_owned(),
        "keyface_door_relay_on 0".to_owned(),
        "keyface_door_source_state{state=\"closed\"} 1".to_owned(),
    ] {
        assert!(metrics.contains(&line), "{line} is not in {metrics:#?}");
    }
    assert_eq!(stdout(&run()), want, "the same pictures give the same decisions");
}

#[test]
fn sigterm_ends_a_pulse_and_the_service_manager_is_told() {
    let door = Door::new();
    let socket = UnixDatagram::bind(door.path("notify")).unwrap();
    let mut command = terminal(&door, &format!("loop:{}", door.show(&[KNOWN])));
    command
        .args(["--pulse", "60000", "--votes", "1"])
        .env("NOTIFY_SOCKET", door.path("notify"))
        .env("WATCHDOG_USEC", "100000");
    let (mut child, _lines) = wait_for(&mut command, "allow");
    while door.relay().is_empty() {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    signal(&child, "-TERM");
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert_eq!(door.relay(), ["on", "off"]);
    socket.set_nonblocking(true).unwrap();
    let mut messages = Vec::new();
    let mut buffer = [0; 256];
    while let Ok(n) = socket.recv(&mut buffer) {
        messages.push(String::from_utf8_lossy(&buffer[..n]).into_owned());
    }
    assert_eq!(messages.first().map(String::as_str), Some("READY=1"));
    assert_eq!(messages.last().map(String::as_str), Some("STOPPING=1"));
    for message in ["WATCHDOG=1", "STATUS=streaming"] {
        assert!(messages.iter().any(|m| m == message), "{message} is not in {messages:?}");
    }
}

#[test]
fn a_killed_program_leaves_the_line_to_release() {
    let door = Door::new();
    let source = format!("loop:{}", door.show(&[KNOWN]));
    let mut command = terminal(&door, &source);
    let (mut child, _lines) = wait_for(command.args(["--pulse", "60000", "--votes", "1"]), "allow");
    while door.relay().is_empty() {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    signal(&child, "-KILL");
    assert_eq!(child.wait().unwrap().code(), None);
    assert_eq!(door.relay(), ["on"]);
    assert!(terminal(&door, &source).arg("--release").status().unwrap().success());
    assert_eq!(door.relay(), ["on", "off"]);
}

#[test]
fn without_a_record_nobody_enters() {
    let door = Door::new();
    let source = format!("dir:{}", door.show(&[KNOWN; 4]));
    let output = terminal(&door, &source).args(["--audit", "/dev/full"]).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let lines = stdout(&output);
    assert!(lines.contains(&"deny error".to_owned()), "{lines:?}");
    assert!(!lines.iter().any(|l| l.starts_with("allow")), "{lines:?}");
    assert_eq!(door.relay(), [""; 0]);
}

#[test]
fn who_is_removed_does_not_enter_and_a_damaged_gallery_lets_nobody_in() {
    let door = Door::new();
    let config = format!(
        "source = 'loop:{}'\ngallery = 'gallery'\npack = '{}'\ninterval_s = 1\n[relay]\nwire = 'log:{}'\npulse_ms = 50\n[rules]\nvotes = 1\ncooldown_ms = 0\n",
        door.show(&[KNOWN]),
        pack().display(),
        door.path("relay").display()
    );
    std::fs::write(door.path("door.toml"), config).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_door_terminal"));
    command.arg("--config").arg(door.path("door.toml")).stdout(Stdio::piped());
    let (mut child, mut lines) = wait_for(&mut command, "allow");
    door.store().remove(&name()).unwrap();
    assert!(lines.any(|l| l.unwrap().contains("no match")), "who was removed is a stranger");
    std::fs::write(door.path("gallery"), "not a gallery").unwrap();
    assert!(lines.any(|l| l.unwrap().starts_with("deny error")));
    signal(&child, "-TERM");
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

/// Threads of the process that compute layers of a network.
fn kernel_threads(child: &Child) -> usize {
    let tasks = std::fs::read_dir(format!("/proc/{}/task", child.id())).unwrap();
    let names = tasks.filter_map(|t| std::fs::read_to_string(t.unwrap().path().join("comm")).ok());
    names.filter(|name| name.trim() == "keyface-kernel").count()
}

#[test]
fn the_boards_profile_says_how_many_threads_work_as_far_as_there_are_cpus() {
    let door = Door::new();
    let profile = format!(
        "name = \"own\"\ntitle = \"Own\"\nthreads = 2\npage_sizes = [4096, 16384, 65536]\n\
         [[camera]]\nname = \"film\"\nsource = \"loop:{}\"\n",
        door.show(&[KNOWN])
    );
    std::fs::write(door.path("own.toml"), profile).unwrap();
    let source = format!("board:{}", door.path("own.toml").display());
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let list = status.lines().find_map(|l| l.strip_prefix("Cpus_allowed_list:")).unwrap().trim();
    let first = list.split([',', '-']).next().unwrap();
    let cpus = std::thread::available_parallelism().unwrap().get();
    for (cpus, prefix) in [(cpus, &[][..]), (1, &["taskset", "-c", first])] {
        let program = terminal(&door, &source);
        let mut words = prefix.iter().map(std::ffi::OsStr::new).chain([program.get_program()]);
        let mut command = Command::new(words.next().unwrap());
        command.args(words).args(program.get_args()).args(["--votes", "1"]);
        command.stdout(Stdio::piped());
        let (mut child, _lines) = wait_for(&mut command, "allow");
        // The main thread is the first of the pipeline's pool.
        assert_eq!(kernel_threads(&child), cpus.min(2) - 1, "with {cpus} CPUs");
        signal(&child, "-TERM");
        assert_eq!(child.wait().unwrap().code(), Some(0));
    }
}

#[test]
fn each_trouble_has_its_exit_code() {
    let door = Door::new();
    let source = format!("dir:{}", door.show(&[BLANK]));
    let code = |add: &[&str]| {
        let output = terminal(&door, &source).args(add).output().unwrap();
        assert!(output.status.success() || !output.stderr.is_empty());
        output.status.code()
    };
    assert_eq!(code(&["--check-config"]), Some(0));
    assert_eq!(code(&["--votes", "0", "--check-config"]), Some(3));
    let missing = door.path("none");
    let missing = missing.to_str().unwrap();
    let run = |args: &[&str]| {
        Command::new(env!("CARGO_BIN_EXE_door_terminal")).args(args).output().unwrap()
    };
    assert_eq!(run(&["--relay", "log"]).status.code(), Some(2));
    assert_eq!(run(&["--config", missing]).status.code(), Some(3));
    let pack = pack();
    let base = ["--pack", pack.to_str().unwrap(), "--relay", "none", "--source"];
    let with = |source: &str, gallery: &str| {
        run(&[&base[..], &[source, "--gallery", gallery]].concat()).status.code()
    };
    let gallery = door.path("gallery");
    let gallery = gallery.to_str().unwrap();
    assert_eq!(with("nonsense:", gallery), Some(3));
    assert_eq!(with(&source, missing), Some(4));
    assert_eq!(with(&format!("dir:{missing}"), gallery), Some(5));
    let mut command = Command::new(env!("CARGO_BIN_EXE_door_terminal"));
    command
        .args(["--source", &source, "--gallery", gallery, "--relay", "gpio:no such line"])
        .arg("--pack")
        .arg(&pack);
    assert_eq!(command.output().unwrap().status.code(), Some(6));
    let help = run(&["--help"]);
    assert!(help.status.success() && String::from_utf8_lossy(&help.stdout).contains("Exit codes"));
}
