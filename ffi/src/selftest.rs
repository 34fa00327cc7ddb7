//! The test card: what is wrong with a camera path.

use crate::call::{call, Buffer, Out};
use crate::frame::{kf_frame, lent};
use crate::status::kf_status;
use keyface::testcard;

/// What is wrong with a frame of the test card, as bits that never change their meaning.
#[repr(u32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum kf_fault {
    /// Red and blue are swapped: RGB was taken for BGR.
    RedBlueSwapped = 1,
    /// U and V are swapped: NV12 was taken for NV21.
    UvSwapped = 2,
    /// Rows are read at the wrong distance: the stride is not the one of the buffer.
    StrideIgnored = 4,
    /// Mirrored left to right.
    Mirrored = 8,
    /// Turned by a quarter, a half or three quarters.
    Rotated = 16,
    /// Washed out: limited-range luma was taken for full range.
    LimitedAsFull = 32,
    /// Crushed: full-range luma was taken for limited range.
    FullAsLimited = 64,
    /// This is not the card, or something else is wrong with it.
    NotTheCard = 128,
}

/// The test card of `width` x `height` pixels (64..=16384 a side): 8-bit red, green, blue without padding. Feed it in place of
/// the sensor's picture, or film it filling the view.
///
/// - Ownership: `rgb`, `capacity` bytes, is the caller's.
/// - NULL: `rgb` may be NULL if `capacity` is 0.
/// - Threads: any.
/// - Memory: allocates the picture, frees it.
/// - Blocks: no.
/// - Status: KF_STATUS_CAPACITY_EXCEEDED.
#[no_mangle]
pub unsafe extern "C" fn kf_test_card(
    width: u32,
    height: u32,
    rgb: *mut u8,
    capacity: usize,
    count: *mut usize,
) -> kf_status {
    call("kf_test_card", || {
        // SAFETY: as the header asks.
        let out = unsafe { Buffer::new(rgb, capacity, count) }?;
        out.write(&testcard::render(width as usize, height as usize)?)
    })
}

/// Compares a frame, as your camera path hands it over, with the test card, and names what is wrong: `faults` becomes bits
/// of kf_fault, 0 if the card arrived as it should. Faults may combine.
///
/// - Ownership: `frame` is lent for the call; `faults` is the caller's.
/// - NULL: nothing may be NULL.
/// - Threads: any.
/// - Memory: allocates some kilobytes, frees them.
/// - Blocks: some milliseconds.
/// - Status: KF_STATUS_INVALID_FRAME; KF_STATUS_INVALID_ARGUMENT for a side below 64.
#[no_mangle]
pub unsafe extern "C" fn kf_selftest_frame(frame: *const kf_frame, faults: *mut u32) -> kf_status {
    call("kf_selftest_frame", || {
        // SAFETY: as the header asks.
        let (frame, out) = unsafe { (lent(frame)?, Out::new(faults)?) };
        out.write(testcard::inspect(&frame)?.bits());
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_the_sdk_s_bits() {
        let ours = [
            kf_fault::RedBlueSwapped,
            kf_fault::UvSwapped,
            kf_fault::StrideIgnored,
            kf_fault::Mirrored,
            kf_fault::Rotated,
            kf_fault::LimitedAsFull,
            kf_fault::FullAsLimited,
            kf_fault::NotTheCard,
        ];
        assert_eq!(testcard::Faults::ALL.map(|(f, _)| f.bits()), ours.map(|f| f as u32));
    }
}
