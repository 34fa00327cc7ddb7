//! What systemd is told: ready, alive, stopping. The protocol is one datagram of text to the socket in `NOTIFY_SOCKET`
//! (`sd_notify(3)`); without that variable nothing is sent.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::{Duration, Instant};

/// The service manager, if there is one.
#[derive(Debug)]
pub struct Notify {
    to: Option<(UnixDatagram, SocketAddr)>,
    every: Option<Duration>,
    last: Option<Instant>,
}

impl Notify {
    /// As the environment says: `NOTIFY_SOCKET`, and `WATCHDOG_USEC` for how often it wants to hear that we live.
    #[must_use]
    pub fn from_environment() -> Notify {
        let micros = std::env::var("WATCHDOG_USEC").ok().and_then(|v| v.parse().ok());
        Notify::new(std::env::var_os("NOTIFY_SOCKET").as_deref(), micros)
    }

    /// To `socket` (a path, or a name after `@`), with a watchdog that fires after `watchdog_us` of silence.
    fn new(socket: Option<&std::ffi::OsStr>, watchdog_us: Option<u64>) -> Notify {
        let to = socket.and_then(|name| {
            let address = match name.as_bytes() {
                [b'@', name @ ..] => SocketAddr::from_abstract_name(name),
                _ => SocketAddr::from_pathname(name),
            };
            match address.and_then(|a| Ok((UnixDatagram::unbound()?, a))) {
                Ok(to) => Some(to),
                Err(e) => {
                    log::warn!("the service manager cannot be told anything: {e}");
                    None
                }
            }
        });
        // Twice as often as it must hear from us.
        let every = watchdog_us.filter(|&us| us > 0).map(|us| Duration::from_micros(us / 2));
        Notify { to, every, last: None }
    }

    /// Everything is opened and the first frame is awaited.
    pub fn ready(&self) {
        self.send("READY=1");
    }

    /// The program is about to end.
    pub fn stopping(&self) {
        self.send("STOPPING=1");
    }

    /// A line for `systemctl status`.
    pub fn status(&self, text: &str) {
        self.send(&format!("STATUS={text}"));
    }

    /// Called in every turn of the main loop; sends when it is time.
    pub fn alive(&mut self) {
        let due = |every| self.last.is_none_or(|last: Instant| last.elapsed() >= every);
        if self.every.is_some_and(due) {
            self.send("WATCHDOG=1");
            self.last = Some(Instant::now());
        }
    }

    fn send(&self, message: &str) {
        if let Some((socket, address)) = &self.to {
            if let Err(e) = socket.send_to_addr(message.as_bytes(), address) {
                log::warn!("the service manager does not listen: {e}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsStr;

    fn received(socket: &UnixDatagram) -> String {
        let mut buffer = [0; 64];
        let n = socket.recv(&mut buffer).unwrap();
        String::from_utf8_lossy(&buffer[..n]).into_owned()
    }

    #[test]
    fn messages_arrive_by_path_and_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("socket");
        let by_path = UnixDatagram::bind(&path).unwrap();
        let mut notify = Notify::new(Some(path.as_os_str()), Some(1));
        notify.ready();
        notify.alive();
        notify.status("streaming");
        notify.stopping();
        let all: Vec<String> = (0..4).map(|_| received(&by_path)).collect();
        assert_eq!(all, ["READY=1", "WATCHDOG=1", "STATUS=streaming", "STOPPING=1"]);

        let name = format!("keyface-notify-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let by_name = UnixDatagram::bind_addr(&address).unwrap();
        Notify::new(Some(OsStr::new(&format!("@{name}"))), None).ready();
        assert_eq!(received(&by_name), "READY=1");
    }

    #[test]
    fn a_silent_watchdog_and_a_missing_manager_are_no_trouble() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("socket");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_nonblocking(true).unwrap();
        let mut unwatched = Notify::new(Some(path.as_os_str()), None);
        unwatched.alive();
        let mut watched = Notify::new(Some(path.as_os_str()), Some(u64::MAX));
        watched.alive();
        watched.alive();
        assert_eq!(received(&socket), "WATCHDOG=1");
        assert!(socket.recv(&mut [0; 64]).is_err(), "one is enough within the time");
        Notify::new(None, Some(1)).alive();
        Notify::new(Some(dir.path().join("none").as_os_str()), None).ready();
    }
}
