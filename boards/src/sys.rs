//! The few system calls that neither std nor the crate `v4l` offers safely.

#![allow(unsafe_code)]

/// Microseconds of the kernel's monotonic clock, which cameras stamp their frames with. Never 0.
#[must_use]
pub fn monotonic_us() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a live timespec; the call writes nothing else.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut time) };
    let (s, ns) =
        (u64::try_from(time.tv_sec).unwrap_or(0), u64::try_from(time.tv_nsec).unwrap_or(0));
    (s * 1_000_000 + ns / 1000).max(1)
}

/// Bytes of a memory page: 4096, or 16384 as on a Raspberry Pi 5, or 65536.
#[must_use]
pub fn page_size() -> u64 {
    // SAFETY: the call takes a number and touches no memory of ours.
    u64::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(0)
}

/// Ends every process of the group that `leader` leads; no error if there is none left.
///
/// `leader` must be a child of this process that has not been waited for, so that its number is still its own.
pub(crate) fn kill_group(leader: u32) {
    if let Some(group) = i32::try_from(leader).ok().filter(|&id| id > 1) {
        // SAFETY: the call takes numbers and touches no memory of ours. The group is a child's own (never 0, 1 or -1).
        unsafe { libc::kill(-group, libc::SIGKILL) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_have_a_size_that_processors_have() {
        assert!([4096, 16_384, 65_536].contains(&page_size()));
    }

    #[test]
    fn the_clock_goes_forward_in_microseconds() {
        let before = monotonic_us();
        std::thread::sleep(std::time::Duration::from_millis(2));
        let passed = monotonic_us() - before;
        assert!((2_000..60_000_000).contains(&passed), "{passed} us in about 2 ms");
    }
}
