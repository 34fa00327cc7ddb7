//! The installers' page of the real program: what it shows, what it refuses, and that the door does not depend on it.

mod common;

use common::{pack, Door, BLANK, KNOWN, STRANGER};
use door_terminal::page::http::{MAX_BODY, MAX_CONNECTIONS, MAX_HEAD};
use serde_json::Value;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::MetadataExt;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{channel, Receiver};
use std::time::Duration;

/// Longest wait for anything; a machine that builds beside the tests is slow.
const LIMIT: Duration = Duration::from_secs(120);

/// The program at a door that shows one picture for ever.
struct Running {
    door: Door,
    child: Child,
    out: Receiver<String>,
    err: Receiver<String>,
    port: u16,
    token: String,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Lines, on a thread so that the program never waits for us.
fn lines(stream: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            let _ = sender.send(line);
        }
    });
    receiver
}

/// The first line with this text.
fn line_with(lines: &Receiver<String>, text: &str) -> String {
    loop {
        let line = lines.recv_timeout(LIMIT).unwrap_or_else(|_| panic!("no line with '{text}'"));
        if line.contains(text) {
            return line;
        }
    }
}

fn start(picture: &str, listen: &str) -> Running {
    let door = Door::new();
    let config = format!(
        "source = 'loop:{}'\ngallery = 'gallery'\npack = '{}'\naudit = 'audit'\ninterval_s = 3600\n\
         [relay]\nwire = 'log:{}'\npulse_ms = 50\n[rules]\nvotes = 1\ncooldown_ms = 0\ndoor_failures = 0\n\
         [page]\nlisten = '{listen}'\ntoken = 'token'\nshots = 1\n",
        door.show(&[picture]),
        pack().display(),
        door.path("relay").display()
    );
    std::fs::write(door.path("door.toml"), config).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_door_terminal"));
    command
        .arg("--config")
        .arg(door.path("door.toml"))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let (out, err) = (lines(child.stdout.take().unwrap()), lines(child.stderr.take().unwrap()));
    let line = line_with(&err, "page");
    let port = line
        .split_once("127.0.0.1:")
        .and_then(|(_, rest)| rest.split(['/', ':']).next()?.parse().ok());
    let token = std::fs::read_to_string(door.path("token")).unwrap().trim().to_owned();
    assert!(!line.contains(&token));
    Running { door, child, out, err, port: port.unwrap(), token }
}

impl Running {
    /// The whole answer to these bytes. Asked again where the server's patience or number of clients was used up: on a machine that builds
    /// beside the tests a thread may not run for seconds.
    fn send(&self, request: &[u8]) -> Vec<u8> {
        let start = std::time::Instant::now();
        loop {
            let answer = self.send_once(request);
            let too_slow = answer.is_empty() || answer.starts_with(b"HTTP/1.1 408");
            if !too_slow || start.elapsed() > LIMIT {
                return answer;
            }
        }
    }

    fn send_once(&self, request: &[u8]) -> Vec<u8> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        // A server that refuses need not read to the end.
        let _ = stream.write_all(request);
        let mut answer = Vec::new();
        match stream.read_to_end(&mut answer) {
            Ok(_) => {}
            Err(e) => assert_eq!(e.kind(), ErrorKind::ConnectionReset),
        }
        answer
    }

    /// A request with the right `Host` and these further lines; status, head and body.
    fn ask(&self, request: &str, lines: &str, body: &str) -> (u16, String, Vec<u8>) {
        let host = format!("Host: 127.0.0.1:{}", self.port);
        let text = format!(
            "{request} HTTP/1.1\r\n{host}\r\nContent-Length: {}\r\n{lines}\r\n{body}",
            body.len()
        );
        split(&self.send(text.as_bytes()))
    }

    fn bearer(&self) -> String {
        format!("Authorization: Bearer {}\r\n", self.token)
    }

    fn live(&self) -> (Value, Vec<u8>) {
        let (status, _, mut body) = self.ask("GET /live", &self.bearer(), "");
        assert_eq!(status, 200);
        let end = body.iter().position(|&b| b == b'\n').unwrap();
        let picture = body.split_off(end + 1);
        (serde_json::from_slice(&body).unwrap(), picture)
    }

    /// Asks until `condition` holds.
    fn until(&self, what: &str, condition: impl Fn(&Value) -> bool) -> (Value, Vec<u8>) {
        let start = std::time::Instant::now();
        loop {
            let (live, picture) = self.live();
            if condition(&live) {
                return (live, picture);
            }
            assert!(start.elapsed() < LIMIT, "never: {what}: {live}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn end(mut self) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        assert_eq!(self.child.wait().unwrap().code(), Some(0));
    }
}

fn split(answer: &[u8]) -> (u16, String, Vec<u8>) {
    let end = answer.windows(4).position(|w| w == b"\r\n\r\n").unwrap_or_else(|| {
        panic!("no answer: {}", String::from_utf8_lossy(answer));
    });
    let head = String::from_utf8(answer[..end].to_vec()).unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, head, answer[end + 4..].to_vec())
}

#[test]
fn a_person_is_seen_enrolled_by_name_and_let_in() {
    let door = start(STRANGER, "127.0.0.1:0");
    assert_eq!(std::fs::metadata(door.door.path("token")).unwrap().mode() & 0o777, 0o600);
    let (live, picture) = door.until("a face", |live| live["faces"][0]["meant"] == true);
    let keys: Vec<&str> = live.as_object().unwrap().keys().map(String::as_str).collect();
    let mut known = [
        "frame",
        "width",
        "height",
        "source",
        "trouble",
        "relay",
        "faces",
        "decisions",
        "enrolment",
    ];
    known.sort_unstable();
    assert_eq!(keys, known);
    let face = live["faces"][0].as_object().unwrap();
    assert_eq!(face.keys().collect::<Vec<_>>(), ["box", "hints", "meant", "points"]);
    let (w, h) = (live["width"].as_f64().unwrap(), live["height"].as_f64().unwrap());
    let numbers =
        |v: &Value| v.as_array().unwrap().iter().map(|n| n.as_f64().unwrap()).collect::<Vec<_>>();
    let rect = numbers(&face["box"]);
    assert!(rect[2] > 20.0 && rect[2] < w && rect[3] > 20.0 && rect[3] < h, "{live}");
    let points: Vec<Vec<f64>> = face["points"].as_array().unwrap().iter().map(numbers).collect();
    let inside = |p: &Vec<f64>| {
        (rect[0]..rect[0] + rect[2]).contains(&p[0]) && (rect[1]..rect[1] + rect[3]).contains(&p[1])
    };
    assert!(points.len() == 5 && points.iter().all(inside), "{live}");
    let decoded = image::load_from_memory(&picture).unwrap().to_rgb8();
    assert_eq!((f64::from(decoded.width()), f64::from(decoded.height())), (w, h));
    assert!(decoded.pixels().any(|p| p.0[0] > 100) && decoded.pixels().any(|p| p.0[0] < 60));
    door.until("a decision", |live| {
        live["decisions"][0]["text"].as_str().is_some_and(|t| t.contains("no match"))
    });
    line_with(&door.out, "no match");

    assert_eq!(door.ask("POST /enrol", &door.bearer(), "Eileen").0, 202);
    let (done, _) = door.until("the end", |live| live["enrolment"]["running"] == false);
    assert_eq!(done["enrolment"]["text"], "enrolled as person 2");
    assert_eq!(
        (&done["enrolment"]["name"], &done["enrolment"]["taken"]),
        (&"Eileen".into(), &1.into())
    );
    line_with(&door.out, "allow 2");
    let audit = door.door.lines("audit");
    assert!(audit.iter().any(|l| l.contains(r#""event":"enrolled","person":2"#)), "{audit:?}");

    assert_eq!(door.ask("POST /enrol", &door.bearer(), "Eileen").0, 202);
    let (again, _) = door.until("the end", |live| live["enrolment"]["running"] == false);
    let text = again["enrolment"]["text"].as_str().unwrap();
    assert!(text.starts_with("not enrolled: ") && text.contains("name"), "{text}");
    door.end();
}

#[test]
fn whoever_is_not_meant_gets_nothing() {
    let door = start(BLANK, "127.0.0.1:0");
    let (port, bearer) = (door.port, door.bearer());
    let status = |request: &str, lines: &str, body: &str| door.ask(request, lines, body).0;
    let raw = |text: &str| split(&door.send(text.as_bytes())).0;

    let (code, head, page) = door.ask("GET /", "", "");
    let page = String::from_utf8(page).unwrap();
    assert_eq!(code, 200);
    assert!(
        head.contains("default-src 'none'") && head.contains("frame-ancestors 'none'"),
        "{head}"
    );
    assert!(page.contains("<title>") && !page.contains(&door.token) && !page.contains("NONCE"));
    assert!(!page.contains("http://") || page.matches("http").count() == 1, "no other resource");

    // Token.
    assert_eq!(status("GET /live", &bearer, ""), 200);
    for lines in [
        String::new(),
        bearer.replace("Bearer", "Basic"),
        bearer.replace(&door.token[..4], "beef_"),
        bearer.replace(&door.token, &door.token[1..]),
        "Authorization: Bearer \r\n".into(),
    ] {
        for request in ["GET /live", "POST /enrol", "POST /cancel"] {
            assert_eq!(status(request, &lines, ""), 401, "{request} {lines}");
        }
    }
    // Another page, and another name that leads here.
    let here = format!("127.0.0.1:{port}");
    for (lines, code) in [
        ("Origin: http://evil.example\r\n".to_owned(), 403),
        ("Origin: null\r\n".to_owned(), 403),
        (format!("Origin: http://localhost:{port}\r\n"), 403),
        (format!("Origin: http://{here}\r\n"), 200),
        ("Sec-Fetch-Site: cross-site\r\n".to_owned(), 403),
        ("Sec-Fetch-Site: same-site\r\n".to_owned(), 403),
        ("Sec-Fetch-Site: same-origin\r\n".to_owned(), 200),
    ] {
        assert_eq!(status("GET /live", &format!("{bearer}{lines}"), ""), code, "{lines}");
    }
    for (host, code) in [
        ("evil.example".to_owned(), 403),
        (format!("evil.example:{port}"), 403),
        ("127.0.0.1".to_owned(), 403),
        ("127.0.0.1:1".to_owned(), 403),
        (format!("localhost:{port}"), 200),
        (format!("[::1]:{port}"), 200),
    ] {
        assert_eq!(
            raw(&format!("GET /live HTTP/1.1\r\nHost: {host}\r\n{bearer}\r\n")),
            code,
            "{host}"
        );
    }
    // What is no request, or too large a one.
    let host = format!("Host: {here}\r\n");
    for (text, code) in [
        (format!("GET /live HTTP/1.1\r\n{bearer}\r\n"), 400),
        (format!("GET /live HTTP/1.1\r\n{host}{host}{bearer}\r\n"), 400),
        (format!("GET /live HTTP/1.1\r\n{host} folded\r\n{bearer}\r\n"), 400),
        (format!("GET /live HTTP/1.0\r\n{host}{bearer}\r\n"), 505),
        (format!("GET  /live HTTP/1.1\r\n{host}\r\n"), 400),
        (format!("GET http://{here}/ HTTP/1.1\r\n{host}\r\n"), 400),
        (format!("POST /enrol HTTP/1.1\r\n{host}{bearer}Transfer-Encoding: chunked\r\n\r\n"), 411),
        (format!("POST /enrol HTTP/1.1\r\n{host}{bearer}Content-Length: -1\r\n\r\n"), 400),
        (
            format!(
                "POST /enrol HTTP/1.1\r\n{host}{bearer}Content-Length: {}\r\n\r\n",
                MAX_BODY + 1
            ),
            413,
        ),
        (
            format!(
                "POST /enrol HTTP/1.1\r\n{host}{bearer}Content-Length: {}\r\n\r\n",
                "9".repeat(40)
            ),
            413,
        ),
        (format!("POST /enrol HTTP/1.1\r\n{host}{bearer}Content-Length: 1\r\n\r\nAna"), 400),
        (format!("GET /live HTTP/1.1\r\n{host}X: {}\r\n\r\n", "x".repeat(2 * MAX_HEAD)), 431),
        (format!("GET /{} HTTP/1.1\r\n{host}\r\n", "x".repeat(4 * MAX_HEAD)), 431),
        (format!("PUT /live HTTP/1.1\r\n{host}{bearer}\r\n"), 405),
        (format!("POST /live HTTP/1.1\r\n{host}{bearer}\r\n"), 405),
        (format!("GET /token HTTP/1.1\r\n{host}{bearer}\r\n"), 404),
        (format!("GET /../token HTTP/1.1\r\n{host}{bearer}\r\n"), 404),
        ("\r\n\r\n".to_owned(), 400),
    ] {
        assert_eq!(raw(&text), code, "{}", &text[..text.len().min(200)]);
    }
    assert_eq!(split(&door.send(b"GET /\xFF HTTP/1.1\r\n\r\n")).0, 400);

    // Names that a gallery does not take, and one enrolment at a time.
    for name in ["", "  ", "a\u{7}b", &"x".repeat(65)] {
        assert_eq!(status("POST /enrol", &bearer, name), 400, "{name:?}");
    }
    assert_eq!(status("POST /enrol", &bearer, "Ana Ruiz"), 202);
    assert_eq!(status("POST /enrol", &bearer, "Somebody else"), 409);
    door.until("a hint", |live| live["enrolment"]["text"] == "step in front of the camera");
    assert_eq!(status("POST /cancel", &bearer, ""), 202);
    door.until("the end", |live| live["enrolment"]["text"] == "cancelled");
    assert_eq!(status("POST /enrol", &bearer, "Ana Ruiz"), 202);

    // Clients that open connections and say little: no more than a few at a time, and not for long.
    let slow: Vec<TcpStream> = (0..3 * MAX_CONNECTIONS)
        .map(|_| {
            let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
            // Those beyond the limit may be closed already.
            let _ = stream.write_all(b"GET /live HTTP/1.1\r\nHost:");
            stream
        })
        .collect();
    let (mut late, mut closed) = (0, 0);
    for mut stream in slow {
        let mut answer = Vec::new();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        let _ = stream.read_to_end(&mut answer);
        match answer.is_empty() {
            true => closed += 1,
            false => late += usize::from(split(&answer).0 == 408),
        }
    }
    assert!(late > 0 && closed > 0 && late + closed == 3 * MAX_CONNECTIONS, "{late} {closed}");
    let (before, _) = door.live();
    door.until("frames go on", |live| live["frame"].as_u64() > before["frame"].as_u64());
    assert_eq!(door.door.relay(), [""; 0]);
    door.end();
}

#[test]
fn a_page_that_cannot_start_changes_nothing_at_the_door() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let door = start(KNOWN, &taken.local_addr().unwrap().to_string());
    line_with(&door.out, "allow 1");
    assert!(door.err.try_iter().all(|line| !line.contains("panicked")));
    door.end();
}

/// One drawn mark's attributes, from the DOM as text.
fn attribute(mark: &str, name: &str) -> Option<f64> {
    mark.split(&format!(" {name}=\"")).nth(1)?.split('"').next()?.parse().ok()
}

#[test]
fn a_browser_draws_the_box_and_the_points() {
    let Ok(version) = Command::new("chromium").arg("--version").output() else {
        println!("skipped: there is no chromium here");
        return;
    };
    println!("{}", String::from_utf8_lossy(&version.stdout).trim());
    let door = start(KNOWN, "127.0.0.1:0");
    let (live, _) = door.until("a face", |live| live["faces"][0]["meant"] == true);
    let address = format!("http://127.0.0.1:{}/#{}", door.port, door.token);
    let output = Command::new("timeout")
        .args(["240", "chromium", "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"])
        .args(["--disable-dev-shm-usage", "--disable-background-networking", "--dump-dom"])
        .args(["--virtual-time-budget=5000", &address])
        .arg(format!("--user-data-dir={}", door.door.path("browser").display()))
        .env("HOME", door.door.path("home"))
        .output()
        .unwrap();
    let dom = String::from_utf8_lossy(&output.stdout);
    let cause = || format!("{dom}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(dom.contains("camera streaming"), "{}", cause());
    assert!(dom.contains(&format!("src=\"blob:http://127.0.0.1:{}/", door.port)), "{}", cause());
    let marks: Vec<&str> = dom.split('<').collect();
    let rects: Vec<&&str> = marks.iter().filter(|m| m.starts_with("rect ")).collect();
    let points = marks.iter().filter(|m| m.starts_with("circle ")).count();
    assert_eq!((rects.len(), points), (1, 5), "{}", cause());
    assert!(rects[0].contains("class=\"meant\""), "{}", cause());
    // The picture is the same for ever, so the box is.
    for (i, name) in ["x", "y", "width", "height"].into_iter().enumerate() {
        let (drawn, want) =
            (attribute(rects[0], name), live["faces"][0]["box"][i].as_f64().unwrap());
        assert!(drawn.is_some_and(|d| (d - want).abs() < 0.01), "{name}: {drawn:?}, not {want}");
    }
    assert!(dom.contains("allow 1"), "the last decisions are shown: {}", cause());
    assert!(!dom.contains(&door.token), "the token is nowhere in the page");
    door.end();
}
