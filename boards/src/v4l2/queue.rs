//! The driver's buffers: mapped, filled by the driver, one of them lent at a time.

use super::abi::{self, Mapping};
use super::device::Device;
use std::io;
use std::time::Duration;

/// A filled buffer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Filled {
    index: u32,
    /// Bytes of picture in it.
    pub(super) used: usize,
    /// Whether the driver says that the picture is damaged.
    pub(super) damaged: bool,
    /// The driver's count of frames.
    pub(super) sequence: u32,
    /// Of the monotonic clock in microseconds; 0 where the driver has another clock or none.
    pub(super) stamp: u64,
}

/// The buffers of one device. At most one is lent; all others are the driver's.
pub(super) struct Queue {
    /// Keep before `device`: mappings go first.
    mappings: Vec<Mapping>,
    pub(super) device: Device,
    lent: Option<Filled>,
    /// Buffers that the driver has, and how many of them were given back since the last look, so that they say nothing of a full queue.
    queued: usize,
    fresh: usize,
}

impl Queue {
    /// Maps `count` buffers, as many as the driver grants, and starts the stream.
    pub(super) fn start(device: Device, count: u32) -> io::Result<Queue> {
        let granted = abi::request_buffers(&device.file, count)?;
        let mut queue = Queue { mappings: Vec::new(), device, lent: None, queued: 0, fresh: 0 };
        if granted < 2 {
            return Err(io::Error::other("the driver grants fewer than two buffers"));
        }
        for index in 0..granted {
            queue.mappings.push(Mapping::new(&queue.device.file, index)?);
        }
        queue.stream()?;
        Ok(queue)
    }

    /// Hands all buffers to the driver and switches on. All must be ours.
    fn stream(&mut self) -> io::Result<()> {
        (self.lent, self.queued, self.fresh) = (None, 0, 0);
        for index in 0..self.mappings.len() as u32 {
            abi::queue(&self.device.file, index)?;
            self.queued += 1;
        }
        abi::stream(&self.device.file, true)
    }

    /// Stops and starts again: takes back all buffers, whoever has them.
    pub(super) fn restart(&mut self) -> io::Result<()> {
        self.lent = None;
        abi::stream(&self.device.file, false)?;
        self.stream()
    }

    /// Gives the lent buffer back to the driver.
    pub(super) fn give_back(&mut self) -> io::Result<()> {
        match self.lent.take() {
            Some(filled) => {
                self.fresh += 1;
                self.requeue(filled)
            }
            None => Ok(()),
        }
    }

    fn requeue(&mut self, filled: Filled) -> io::Result<()> {
        abi::queue(&self.device.file, filled.index)?;
        self.queued += 1;
        Ok(())
    }

    /// Waits for a frame for at most `wait`; `false` if none came.
    pub(super) fn poll(&self, wait: Duration) -> io::Result<bool> {
        abi::poll(&self.device.file, wait)
    }

    /// Takes the newest filled buffer and gives the older ones back. `full` says that the driver had no buffer left, so that newer frames than
    /// this may have been lost.
    pub(super) fn newest(&mut self) -> io::Result<Option<Newest>> {
        let (had, fresh) = (self.queued, std::mem::take(&mut self.fresh));
        let (mut newest, mut taken, mut damaged) = (None, 0, 0);
        loop {
            match abi::dequeue(&self.device.file) {
                Ok(b) => {
                    self.queued = self.queued.saturating_sub(1);
                    taken += 1;
                    let filled = filled(&b, self.mappings.len())?;
                    damaged += u64::from(filled.damaged);
                    if let Some(older) = newest.replace(filled) {
                        self.requeue(older)?;
                    }
                    if taken >= had {
                        break;
                    }
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                Err(e) => return Err(e),
            }
        }
        Ok(newest.map(|filled| Newest { filled, full: taken + fresh >= had, damaged }))
    }

    /// Lends a buffer that [`Queue::newest`] gave.
    pub(super) fn lend(&mut self, filled: Filled) {
        self.lent = Some(filled);
    }

    /// Gives back a buffer that [`Queue::newest`] gave.
    pub(super) fn pass_over(&mut self, filled: Filled) -> io::Result<()> {
        self.requeue(filled)
    }

    /// The picture in a buffer that the driver does not have.
    pub(super) fn bytes(&self, filled: &Filled) -> &[u8] {
        self.mappings[filled.index as usize].bytes(filled.used)
    }

    /// The lent picture.
    pub(super) fn lent(&self) -> Option<&[u8]> {
        self.lent.as_ref().map(|filled| self.bytes(filled))
    }
}

/// What [`Queue::newest`] found.
pub(super) struct Newest {
    pub(super) filled: Filled,
    pub(super) full: bool,
    /// Frames marked damaged among those taken, this one included.
    pub(super) damaged: u64,
}

impl Drop for Queue {
    /// Best effort: a device that is gone refuses everything, and closing it frees all the same.
    fn drop(&mut self) {
        let _ = abi::stream(&self.device.file, false);
        self.mappings.clear();
        let _ = abi::request_buffers(&self.device.file, 0);
    }
}

/// Checks what the driver answered.
fn filled(b: &v4l::v4l_sys::v4l2_buffer, buffers: usize) -> io::Result<Filled> {
    // V4L2_BUF_FLAG_ERROR; V4L2_BUF_FLAG_TIMESTAMP_MASK and _MONOTONIC
    const ERROR: u32 = 0x40;
    const CLOCK: u32 = 0xE000;
    const MONOTONIC: u32 = 0x2000;
    if b.index as usize >= buffers {
        return Err(io::Error::other("the driver answered with a buffer that does not exist"));
    }
    let (s, us) = (u64::try_from(b.timestamp.tv_sec), u64::try_from(b.timestamp.tv_usec));
    let stamp = match (s, us) {
        (Ok(s), Ok(us)) if b.flags & CLOCK == MONOTONIC => {
            s.saturating_mul(1_000_000).saturating_add(us)
        }
        _ => 0,
    };
    Ok(Filled {
        index: b.index,
        used: b.bytesused as usize,
        damaged: b.flags & ERROR != 0 || b.bytesused == 0,
        sequence: b.sequence,
        stamp,
    })
}
