//! The camera's state: controls, the negotiated format, and the frames it sends.

use super::descriptors::{self, CAMERA_TERMINAL, CONTROL, PROCESSING_UNIT, STREAMING};
use super::{Coding, Picture, CLOCK_HZ, INTERVALS, MAX_PAYLOAD};
use std::collections::VecDeque;

/// What is wrong with the camera.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Fault {
    /// Nothing.
    #[default]
    None,
    /// It sends nothing.
    Stalled,
    /// Frames are cut in half.
    Truncated,
    /// The middle quarter of each frame is missing, its end is there.
    Gap,
    /// Every payload carries the UVC error bit.
    ErrorBit,
}

/// UVC request codes (table A-8).
const SET_CUR: u8 = 0x01;
const GET_CUR: u8 = 0x81;
const GET_MIN: u8 = 0x82;
const GET_MAX: u8 = 0x83;
const GET_RES: u8 = 0x84;
const GET_LEN: u8 = 0x85;
const GET_INFO: u8 = 0x86;
const GET_DEF: u8 = 0x87;

/// A request that the camera does not know: `-EPIPE`, a stalled endpoint.
pub(super) const STALL: i32 = -32;

/// The video probe and commit block (UVC 1.1 table 4-47).
pub(super) const PROBE_BYTES: usize = 34;
type Probe = [u8; PROBE_BYTES];

/// A number that the host may read and write.
struct Control {
    unit: u8,
    selector: u8,
    bytes: usize,
    value: i64,
    range: (i64, i64),
    /// What GET_RES answers: a step, or for bit maps the bits that exist.
    step: i64,
    default: i64,
}

impl Control {
    fn new(
        unit: u8,
        selector: u8,
        bytes: usize,
        range: (i64, i64),
        step: i64,
        default: i64,
    ) -> Self {
        Control { unit, selector, bytes, value: default, range, step, default }
    }

    fn request(&mut self, code: u8, data: &[u8]) -> Result<Vec<u8>, i32> {
        let value = match code {
            SET_CUR => {
                let mut bytes = [0; 8];
                let n = self.bytes.min(data.len());
                bytes[..n].copy_from_slice(&data[..n]);
                self.value = i64::from_le_bytes(bytes);
                return Ok(Vec::new());
            }
            GET_LEN => return Ok((self.bytes as u16).to_le_bytes().to_vec()),
            GET_INFO => return Ok(vec![3]),
            GET_CUR => self.value,
            GET_MIN => self.range.0,
            GET_MAX => self.range.1,
            GET_RES => self.step,
            GET_DEF => self.default,
            _ => return Err(STALL),
        };
        Ok(value.to_le_bytes()[..self.bytes].to_vec())
    }
}

/// The camera. Transfers that wait for a frame are in `waiting`, oldest first.
pub struct Camera {
    name: String,
    pictures: Vec<Picture>,
    codings: Vec<Coding>,
    controls: Vec<Control>,
    probe: Probe,
    commit: Probe,
    /// Toggles with every frame, so that the host sees where one ends.
    frame_id: u8,
    /// What is wrong at present.
    pub fault: Fault,
    /// Sequence numbers of the bulk transfers that the host has queued.
    pub(super) waiting: VecDeque<u32>,
}

impl Camera {
    /// A camera that shows `pictures`, at least one, under a product name.
    #[must_use]
    pub fn new(name: &str, pictures: Vec<Picture>) -> Self {
        let codings = descriptors::codings(&pictures);
        let (camera, unit) = (CAMERA_TERMINAL, PROCESSING_UNIT);
        Camera {
            name: name.to_owned(),
            codings,
            pictures,
            controls: vec![
                Control::new(camera, 2, 1, (2, 8), 0x09, 8), // auto exposure mode: manual (1) or aperture priority (8)
                Control::new(camera, 4, 4, (1, 5000), 1, 156), // exposure time, 100 us
                Control::new(unit, 2, 2, (-64, 64), 1, 0),   // brightness
                Control::new(unit, 4, 2, (0, 100), 1, 0),    // gain
                Control::new(unit, 5, 1, (0, 2), 1, 1),      // mains frequency
            ],
            probe: [0; PROBE_BYTES],
            commit: [0; PROBE_BYTES],
            frame_id: 0,
            fault: Fault::None,
            waiting: VecDeque::new(),
        }
    }

    /// Shows other pictures of the same codings and sizes, in the same order.
    pub fn show(&mut self, pictures: Vec<Picture>) {
        self.pictures = pictures;
    }

    /// The picture of the committed format, and the time between frames in 100 ns. None before the host has chosen.
    pub(super) fn committed(&self) -> Option<(&Picture, u32)> {
        (self.commit[2] != 0).then(|| (self.picture(&self.commit), interval(&self.commit)))
    }

    /// The two header bytes of a payload (UVC 1.1, 2.4.3.3).
    pub(super) fn payload_header(&self, last: bool) -> [u8; 2] {
        let error = if self.fault == Fault::ErrorBit { 0x40 } else { 0 };
        [2, 0x80 | error | if last { 2 } else { 0 } | self.frame_id]
    }

    pub(super) fn frame_done(&mut self) {
        self.frame_id ^= 1;
    }

    /// Answers a request on the control endpoint; `data` is what the host sent with it.
    pub(super) fn request(&mut self, setup: [u8; 8], data: &[u8]) -> Result<Vec<u8>, i32> {
        let [kind, code, value_low, selector, interface, unit, ..] = setup;
        if kind & 0x60 == 0 {
            return self.standard(code, selector, value_low);
        }
        match (interface, unit, selector) {
            (STREAMING, 0, 1 | 2) => self.negotiate(selector == 2, code, data),
            (CONTROL, 0, 2) => Ok(vec![6]), // the last request's error: invalid control
            (CONTROL, ..) => {
                match self.controls.iter_mut().find(|c| (c.unit, c.selector) == (unit, selector)) {
                    Some(control) => control.request(code, data),
                    None => Err(STALL),
                }
            }
            _ => Err(STALL),
        }
    }

    fn standard(&self, code: u8, kind: u8, index: u8) -> Result<Vec<u8>, i32> {
        match (code, kind) {
            (6, 1) => Ok(descriptors::DEVICE.to_vec()),
            (6, 2) => Ok(descriptors::configuration(&self.pictures)),
            (6, 3) => Ok(match index {
                0 => vec![4, 3, 0x09, 0x04],
                1 => descriptors::text("Keyface test"),
                2 => descriptors::text(&self.name),
                _ => descriptors::text("SIM0001"),
            }),
            (0, _) => Ok(vec![0, 0]),
            (8, _) => Ok(vec![1]),
            (10, _) => Ok(vec![0]),
            (1 | 3 | 9 | 11, _) => Ok(Vec::new()),
            _ => Err(STALL),
        }
    }

    fn negotiate(&mut self, commit: bool, code: u8, data: &[u8]) -> Result<Vec<u8>, i32> {
        match code {
            SET_CUR => {
                let mut asked = [0; PROBE_BYTES];
                let n = data.len().min(PROBE_BYTES);
                asked[..n].copy_from_slice(&data[..n]);
                let offered = self.offer(asked);
                if commit {
                    self.commit = offered;
                    self.frame_id = 0;
                } else {
                    self.probe = offered;
                }
                Ok(Vec::new())
            }
            GET_LEN => Ok(vec![PROBE_BYTES as u8, 0]),
            GET_INFO => Ok(vec![3]),
            GET_CUR if commit => Ok(self.commit.to_vec()),
            GET_CUR..=GET_RES | GET_DEF => Ok(self.offer(self.probe).to_vec()),
            _ => Err(STALL),
        }
    }

    /// The nearest that the camera can do to what was asked.
    fn offer(&self, mut probe: Probe) -> Probe {
        let sizes = |format: u8| {
            let coding = self.codings[usize::from(format) - 1];
            self.pictures.iter().filter(|p| p.coding == coding).count()
        };
        if !(1..=self.codings.len()).contains(&usize::from(probe[2])) {
            probe[2] = 1;
        }
        if !(1..=sizes(probe[2])).contains(&usize::from(probe[3])) {
            probe[3] = 1;
        }
        let picture = self.picture(&probe);
        let bytes = picture.coding.frame_bytes(picture.width, picture.height);
        let interval = interval(&probe);
        probe[4..8].copy_from_slice(&interval.to_le_bytes());
        probe[18..22].copy_from_slice(&bytes.to_le_bytes());
        probe[22..26].copy_from_slice(&MAX_PAYLOAD.to_le_bytes());
        probe[26..30].copy_from_slice(&CLOCK_HZ.to_le_bytes());
        probe[30..].copy_from_slice(&[3, 1, 1, 1]);
        probe
    }

    /// The picture of a block with valid numbers.
    fn picture(&self, probe: &Probe) -> &Picture {
        let coding = self.codings[usize::from(probe[2]) - 1];
        let mut sizes = self.pictures.iter().filter(|p| p.coding == coding);
        sizes.nth(usize::from(probe[3]) - 1).unwrap_or(&self.pictures[0])
    }
}

/// The offered frame interval next to the one in a block.
fn interval(probe: &Probe) -> u32 {
    let asked = u32::from_le_bytes([probe[4], probe[5], probe[6], probe[7]]);
    INTERVALS[usize::from(asked > (INTERVALS[0] + INTERVALS[1]) / 2)]
}
