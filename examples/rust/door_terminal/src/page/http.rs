//! A strict HTTP/1.1 server for the page: one request a connection, every length, time and number bounded.
//!
//! Own code in place of a crate, since what matters here is what is refused: the small servers on offer put no limit on how slowly a request
//! may come, on the length of its head or on the number of connections. There is no chunked coding, no pipelining, no reuse, no range.
//! A request whose `Host` is not this machine's own name, or whose `Origin` or `Sec-Fetch-Site` tells of another page, is refused before
//! anything else is looked at: so a foreign page reaches nothing, even under a name of its own that leads here (DNS rebinding).

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Bytes of a request up to the empty line.
pub const MAX_HEAD: usize = 8192;
/// Bytes of a request's body.
pub const MAX_BODY: usize = 512;
/// Connections at a time; more are closed at once.
pub const MAX_CONNECTIONS: usize = 8;
/// A request must have come, and the answer must have gone, within so long each.
pub const PATIENCE: Duration = Duration::from_secs(3);

/// A request that may be answered.
#[derive(Debug)]
pub struct Request {
    /// `GET` or `POST`.
    pub method: &'static str,
    /// The path, without a query.
    pub path: String,
    /// What `Authorization: Bearer` gives; empty if nothing.
    pub token: Vec<u8>,
    /// At most [`MAX_BODY`] bytes.
    pub body: Vec<u8>,
}

/// An answer.
#[derive(Debug)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// The media type of the body.
    pub kind: &'static str,
    /// The body.
    pub body: Vec<u8>,
    /// The script and style with this nonce may run; empty: none.
    pub nonce: String,
}

impl Response {
    /// A status with a line of text.
    #[must_use]
    pub fn text(status: u16, text: &str) -> Response {
        let body = format!("{text}\n").into_bytes();
        Response { status, kind: "text/plain; charset=utf-8", body, nonce: String::new() }
    }
}

/// The server. Dropped, it takes no more connections; those at work end by themselves, within [`PATIENCE`].
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Server {
    /// Listens on a loopback address, port 0 for any that is free, and answers on threads of its own.
    ///
    /// # Errors
    /// The system's, among them a port in use; [`ErrorKind::InvalidInput`] for an address that other machines reach.
    pub fn start<F>(address: SocketAddr, answer: F) -> io::Result<Server>
    where
        F: Fn(&Request) -> Response + Send + Sync + 'static,
    {
        if !address.ip().is_loopback() {
            return Err(io::Error::new(
                ErrorKind::InvalidInput,
                "not an address of this machine alone",
            ));
        }
        let listener = TcpListener::bind(address)?;
        let address = listener.local_addr()?;
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, answer) = (stop.clone(), Arc::new(answer));
        let take = move || {
            let busy = Arc::new(AtomicUsize::new(0));
            for stream in listener.incoming() {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                match stream {
                    Ok(stream) => serve(stream, address.port(), &busy, &answer),
                    // Out of descriptors: wait for some to come back.
                    Err(_) => std::thread::sleep(Duration::from_millis(100)),
                }
            }
        };
        let thread = std::thread::Builder::new().name("page".into()).spawn(take)?;
        Ok(Server { address, stop, thread: Some(thread) })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        // Wakes the thread; where it fails, the thread has ended.
        let woken = TcpStream::connect_timeout(&self.address, Duration::from_millis(100)).is_ok();
        if let Some(thread) = self.thread.take().filter(|_| woken) {
            let _ = thread.join();
        }
    }
}

/// A place among the connections, given back on drop, also when the thread panics.
struct Place(Arc<AtomicUsize>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

fn serve<F>(mut stream: TcpStream, port: u16, busy: &Arc<AtomicUsize>, answer: &Arc<F>)
where
    F: Fn(&Request) -> Response + Send + Sync + 'static,
{
    let place = Place(busy.clone());
    if busy.fetch_add(1, Ordering::SeqCst) >= MAX_CONNECTIONS {
        return;
    }
    let answer = answer.clone();
    let work = move || {
        let _place = place;
        let response = match read(&mut stream, port, Instant::now() + PATIENCE) {
            Ok(request) => answer(&request),
            Err(status) => Response::text(status, reason(status)),
        };
        // A client that went away, or does not read, is its own trouble.
        let _ = write(&mut stream, &response, Instant::now() + PATIENCE);
    };
    // Without a thread the connection is closed.
    let _ = std::thread::Builder::new().name("page-client".into()).spawn(work);
}

/// Reads a request, or gives the status that refuses it.
fn read(stream: &mut TcpStream, port: u16, until: Instant) -> Result<Request, u16> {
    let mut bytes = Vec::with_capacity(1024);
    let head = loop {
        if let Some(end) = bytes.windows(4).position(|w| w == b"\r\n\r\n") {
            break end;
        }
        if bytes.len() > MAX_HEAD {
            return Err(431);
        }
        more(stream, &mut bytes, until)?;
    };
    let mut body = bytes.split_off(head + 4);
    let head = std::str::from_utf8(&bytes[..head]).map_err(|_| 400u16)?;
    let mut lines = head.split("\r\n");
    let mut words = lines.next().unwrap_or_default().split(' ');
    let [method, path, version] =
        [words.next(), words.next(), words.next()].map(Option::unwrap_or_default);
    if words.next().is_some() || !path.starts_with('/') {
        return Err(400);
    }
    if version != "HTTP/1.1" {
        return Err(505);
    }
    let headers = Headers::read(lines).ok_or(400u16)?;
    headers.check_origin(port)?;
    let method = match method {
        "GET" => "GET",
        "POST" => "POST",
        _ => return Err(405),
    };
    if headers.chunked {
        return Err(411);
    }
    let length = match headers.length {
        None => 0,
        Some(text) if text.bytes().all(|b| b.is_ascii_digit()) => {
            text.parse().map_err(|_| 413u16)?
        }
        Some(_) => return Err(400),
    };
    if length > MAX_BODY {
        return Err(413);
    }
    while body.len() < length {
        more(stream, &mut body, until)?;
    }
    if body.len() > length {
        return Err(400);
    }
    let token = headers.token.and_then(|t| t.strip_prefix("Bearer ")).unwrap_or_default();
    let path = path.split('?').next().unwrap_or_default();
    Ok(Request { method, path: path.to_owned(), token: token.as_bytes().to_vec(), body })
}

/// Appends what comes next.
fn more(stream: &mut TcpStream, bytes: &mut Vec<u8>, until: Instant) -> Result<(), u16> {
    let left = until.saturating_duration_since(Instant::now());
    if left.is_zero() || stream.set_read_timeout(Some(left)).is_err() {
        return Err(408);
    }
    let mut part = [0; 2048];
    match stream.read(&mut part) {
        Ok(0) => Err(400),
        Ok(n) => {
            bytes.extend_from_slice(&part[..n]);
            Ok(())
        }
        Err(e) if e.kind() == ErrorKind::Interrupted => Ok(()),
        Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => Err(408),
        Err(_) => Err(400),
    }
}

/// The headers that count.
#[derive(Default)]
struct Headers<'a> {
    host: Option<&'a str>,
    origin: Option<&'a str>,
    site: Option<&'a str>,
    token: Option<&'a str>,
    length: Option<&'a str>,
    chunked: bool,
}

impl<'a> Headers<'a> {
    /// `None` for lines that are no headers, and for one of ours given twice.
    fn read(lines: impl Iterator<Item = &'a str>) -> Option<Headers<'a>> {
        let mut headers = Headers::default();
        for line in lines {
            let (name, value) = line.split_once(':')?;
            let is_name = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
            if name.is_empty()
                || !name.bytes().all(is_name)
                || value.bytes().any(|b| b < b' ' && b != b'\t')
            {
                return None;
            }
            let place = match name.to_ascii_lowercase().as_str() {
                "host" => &mut headers.host,
                "origin" => &mut headers.origin,
                "sec-fetch-site" => &mut headers.site,
                "authorization" => &mut headers.token,
                "content-length" => &mut headers.length,
                "transfer-encoding" => {
                    headers.chunked = true;
                    continue;
                }
                _ => continue,
            };
            if place.replace(value.trim_matches([' ', '\t'])).is_some() {
                return None;
            }
        }
        Some(headers)
    }

    /// Whether the request is meant for this page and comes from it, from a tool or from the address bar.
    fn check_origin(&self, port: u16) -> Result<(), u16> {
        let ours = |host: &str| {
            ["127.0.0.1", "localhost", "[::1]"].iter().any(|name| host == format!("{name}:{port}"))
        };
        let host = self.host.ok_or(400u16)?;
        let from_us = self.origin.is_none_or(|origin| origin == format!("http://{host}"));
        let same_site = self.site.is_none_or(|site| matches!(site, "same-origin" | "none"));
        match ours(host) && from_us && same_site {
            true => Ok(()),
            false => Err(403),
        }
    }
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        202 => "Accepted",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        409 => "Conflict",
        411 => "Length Required",
        413 => "Content Too Large",
        431 => "Request Header Fields Too Large",
        503 => "Service Unavailable",
        505 => "HTTP Version Not Supported",
        _ => "Internal Server Error",
    }
}

fn write(stream: &mut TcpStream, response: &Response, until: Instant) -> io::Result<()> {
    let Response { status, kind, body, nonce } = response;
    let may_run = match nonce.is_empty() {
        true => String::new(),
        false => format!(
            "; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; connect-src 'self'; img-src blob: data:"
        ),
    };
    let head = format!(
        "HTTP/1.1 {status} {}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\
         Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\nReferrer-Policy: no-referrer\r\n\
         Cross-Origin-Resource-Policy: same-origin\r\nContent-Security-Policy: default-src 'none'; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'{may_run}\r\n\r\n",
        reason(*status),
        body.len(),
    );
    for mut part in [head.as_bytes(), body] {
        while !part.is_empty() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(ErrorKind::TimedOut.into());
            }
            stream.set_write_timeout(Some(left))?;
            match stream.write(part) {
                Ok(n) => part = &part[n..],
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
    }
    // What the client still sends is read away for a moment: closing over it would take the answer back.
    stream.shutdown(std::net::Shutdown::Write)?;
    let (mut rest, soon) = (Vec::new(), Instant::now() + Duration::from_millis(500));
    while rest.len() < 16 * MAX_HEAD && more(stream, &mut rest, soon.min(until)).is_ok() {}
    Ok(())
}
