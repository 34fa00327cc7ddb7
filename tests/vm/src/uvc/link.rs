//! USB/IP between the camera and the kernel: the host's transfers in, answers out. Messages are those of the kernel's
//! `Documentation/usb/usbip_protocol.rst`: 48 bytes of header, big-endian, then data.

use super::camera::{Camera, Fault};
use super::MAX_PAYLOAD;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

const SUBMIT: u32 = 1;
const UNLINK: u32 = 2;
const SUBMITTED: u32 = 3;
const UNLINKED: u32 = 4;
const TO_HOST: u32 = 1;
/// `-ECONNRESET`: the transfer was cancelled.
const CANCELLED: i32 = -104;
/// Where the kernel takes a port: `port fd device-id speed`.
const ATTACH: &str = "/sys/devices/platform/vhci_hcd.0/attach";

/// A plugged-in camera; [`Plug::pull`] unplugs it.
pub struct Plug {
    socket: UnixStream,
}

type Shared = Arc<Mutex<Camera>>;

fn lock(camera: &Shared) -> MutexGuard<'_, Camera> {
    camera.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

impl Plug {
    /// Plugs the camera into the first port, at high speed. Two threads serve it until it is pulled.
    ///
    /// # Errors
    /// Those of the socket, and of the kernel where `vhci_hcd` is missing or the port is taken.
    pub fn new(camera: &Shared) -> std::io::Result<Plug> {
        let (ours, kernels) = UnixStream::pair()?;
        // Device 65538 is bus 1, device 2; 3 is high speed. The kernel keeps a reference of its own to the socket.
        std::fs::write(ATTACH, format!("0 {} 65538 3", kernels.as_raw_fd()))?;
        lock(camera).waiting.clear();
        let link = Arc::new(Link {
            writer: Mutex::new(ours.try_clone()?),
            open: AtomicBool::new(true),
            camera: camera.clone(),
        });
        let (reader, answers) = (ours.try_clone()?, link.clone());
        std::thread::spawn(move || {
            answers.serve(reader);
            answers.open.store(false, Ordering::SeqCst);
        });
        std::thread::spawn(move || link.send_frames());
        Ok(Plug { socket: ours })
    }

    /// Pulls the camera out.
    pub fn pull(self) {
        // A socket that the kernel has closed is as good.
        let _ = self.socket.shutdown(Shutdown::Both);
    }
}

fn reply(command: u32, sequence: u32, status: i32, data: &[u8], actual: u32) -> Vec<u8> {
    let mut out = Vec::with_capacity(48 + data.len());
    for word in [command, sequence, 0, 0, 0, status as u32, actual, 0, u32::MAX, 0] {
        out.extend(word.to_be_bytes());
    }
    out.extend([0; 8]);
    out.extend(data);
    out
}

/// What the two threads of a plugged-in camera share.
struct Link {
    writer: Mutex<UnixStream>,
    open: AtomicBool,
    camera: Shared,
}

impl Link {
    /// The socket to write to. Taken before the camera's lock where both are held: a transfer is answered or cancelled, and the kernel
    /// gives the port up if it hears of a transfer after its cancellation.
    fn socket(&self) -> MutexGuard<'_, UnixStream> {
        self.writer.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Cancels a transfer, if it still waits. False if the socket is closed.
    fn unlink(&self, sequence: u32, cancelled: u32) -> bool {
        let mut socket = self.socket();
        let waited = {
            let waiting = &mut lock(&self.camera).waiting;
            let before = waiting.len();
            waiting.retain(|&s| s != cancelled);
            waiting.len() < before
        };
        let status = if waited { CANCELLED } else { 0 };
        socket.write_all(&reply(UNLINKED, sequence, status, &[], 0)).is_ok()
    }

    /// Answers the oldest transfer that waits with a part of a frame. `None` if none waits; false if the socket is closed.
    fn answer(&self, part: &[u8], last: bool) -> Option<bool> {
        let mut socket = self.socket();
        let (sequence, header) = {
            let mut camera = lock(&self.camera);
            (camera.waiting.pop_front()?, camera.payload_header(last))
        };
        let payload = [&header[..], part].concat();
        Some(
            socket
                .write_all(&reply(SUBMITTED, sequence, 0, &payload, payload.len() as u32))
                .is_ok(),
        )
    }

    /// Answers until the socket closes.
    fn serve(&self, mut reader: UnixStream) {
        let mut header = [0; 48];
        while reader.read_exact(&mut header).is_ok() {
            let word = |at: usize| {
                u32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]])
            };
            let (command, sequence, direction, endpoint) = (word(0), word(4), word(12), word(16));
            let answer = match command {
                SUBMIT => {
                    let length = word(24);
                    let mut data = vec![0; if direction == TO_HOST { 0 } else { length as usize }];
                    if reader.read_exact(&mut data).is_err() {
                        return;
                    }
                    if endpoint != 0 {
                        lock(&self.camera).waiting.push_back(sequence);
                        continue;
                    }
                    let mut setup = [0; 8];
                    setup.copy_from_slice(&header[40..48]);
                    match lock(&self.camera).request(setup, &data) {
                        Ok(mut data) if direction == TO_HOST => {
                            data.truncate(length as usize);
                            reply(SUBMITTED, sequence, 0, &data, data.len() as u32)
                        }
                        Ok(_) => reply(SUBMITTED, sequence, 0, &[], length),
                        Err(status) => reply(SUBMITTED, sequence, status, &[], 0),
                    }
                }
                UNLINK => {
                    if !self.unlink(sequence, word(20)) {
                        return;
                    }
                    continue;
                }
                _ => return,
            };
            if self.socket().write_all(&answer).is_err() {
                return;
            }
        }
    }

    /// Sends frames at the committed rate into the transfers that wait, until the socket closes.
    fn send_frames(&self) {
        let mut due = Instant::now();
        while self.open.load(Ordering::SeqCst) {
            let next = {
                let camera = lock(&self.camera);
                let ready = camera.fault != Fault::Stalled && !camera.waiting.is_empty();
                camera.committed().filter(|_| ready).map(|(picture, interval)| {
                    let whole = picture.data.len();
                    let (to, from) = match camera.fault {
                        Fault::Truncated => (whole / 2, whole),
                        Fault::Gap => (whole * 3 / 8, whole * 5 / 8),
                        _ => (whole, whole),
                    };
                    let data = [&picture.data[..to], &picture.data[from..]].concat();
                    (data, Duration::from_nanos(u64::from(interval) * 100))
                })
            };
            let Some((data, interval)) = next else {
                std::thread::sleep(Duration::from_millis(3));
                due = Instant::now();
                continue;
            };
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            due = due.max(Instant::now()) + interval;
            if !self.send_frame(&data) {
                return;
            }
            lock(&self.camera).frame_done();
        }
    }

    /// One frame, payload by payload. False if the socket is closed; a host that takes nothing for a second ends the frame early.
    fn send_frame(&self, data: &[u8]) -> bool {
        let chunk = MAX_PAYLOAD as usize - 2;
        let chunks = data.len().div_ceil(chunk);
        for (i, part) in data.chunks(chunk).enumerate() {
            let patience = Instant::now();
            let open = loop {
                if lock(&self.camera).fault == Fault::Stalled {
                    return true;
                }
                if let Some(open) = self.answer(part, i + 1 == chunks) {
                    break open;
                }
                if patience.elapsed() > Duration::from_secs(1) {
                    return self.open.load(Ordering::SeqCst);
                }
                std::thread::sleep(Duration::from_micros(300));
            };
            if !open {
                return false;
            }
        }
        true
    }
}
