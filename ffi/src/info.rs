//! Versions, build and CPU.

use crate::call::{call, Out};
use crate::status::{kf_status, ALL};
use keyface::kernel::{CpuLevel, Kernels};
use std::ffi::c_char;

/// Major version of this header. While it is 0, a change of the minor version may change the ABI, and with it the SONAME.
pub const KF_VERSION_MAJOR: u32 = 0;
/// Minor version of this header.
pub const KF_VERSION_MINOR: u32 = 1;
/// Patch version of this header.
pub const KF_VERSION_PATCH: u32 = 0;
/// Number in the SONAME: programs and libraries with the same number fit each other.
pub const KF_ABI_VERSION: u32 = 0;

/// Instructions that the kernels use. Results are the same bytes at every level.
#[repr(u32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum kf_cpu_level {
    /// Portable code.
    Scalar = 0,
    /// AArch64 with widening multiplies: Cortex-A53, A57, A72.
    Neon = 1,
    /// AArch64 with SDOT: Cortex-A55, A76, A78AE.
    Dotprod = 2,
    /// AArch64 with SDOT and SMMLA.
    I8mm = 3,
    /// x86-64 with AVX2 and FMA.
    Avx2 = 4,
}

/// What this library was built with, as bits of kf_build_info.features.
#[repr(u32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum kf_feature {
    /// Users' own ONNX models can be run.
    Onnx = 1,
    /// Cameras can be opened (kf_camera).
    Boards = 2,
}

/// What this library is.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct kf_build_info {
    /// Major version of the library that runs; compare with KF_VERSION_MAJOR.
    pub version_major: u32,
    /// Minor version.
    pub version_minor: u32,
    /// Patch version.
    pub version_patch: u32,
    /// ABI number; equals KF_ABI_VERSION of a header that fits.
    pub abi_version: u32,
    /// Version of alignment and pixel sampling. Templates made under another one do not match.
    pub preprocessing_version: u32,
    /// Bits of kf_feature.
    pub features: u32,
}

pub(crate) fn level(level: CpuLevel) -> kf_cpu_level {
    match level {
        CpuLevel::Scalar => kf_cpu_level::Scalar,
        CpuLevel::Neon => kf_cpu_level::Neon,
        CpuLevel::DotProd => kf_cpu_level::Dotprod,
        CpuLevel::I8mm => kf_cpu_level::I8mm,
        CpuLevel::Avx2 => kf_cpu_level::Avx2,
    }
}

/// Says which library runs.
///
/// - Ownership: `info` is the caller's.
/// - NULL: nothing may be NULL.
/// - Threads: any.
/// - Memory: allocates nothing.
/// - Blocks: no.
/// - Status: no other.
#[no_mangle]
pub unsafe extern "C" fn kf_get_build_info(info: *mut kf_build_info) -> kf_status {
    call("kf_get_build_info", || {
        // SAFETY: as the header asks.
        let info = unsafe { Out::new(info) }?;
        let onnx = if cfg!(feature = "onnx") { kf_feature::Onnx as u32 } else { 0 };
        let boards = if cfg!(feature = "boards") { kf_feature::Boards as u32 } else { 0 };
        info.write(kf_build_info {
            version_major: KF_VERSION_MAJOR,
            version_minor: KF_VERSION_MINOR,
            version_patch: KF_VERSION_PATCH,
            abi_version: KF_ABI_VERSION,
            preprocessing_version: keyface::PREPROCESSING_VERSION,
            features: onnx | boards,
        });
        Ok(())
    })
}

/// The best CPU level here, or the one that the environment variable KEYFACE_CPU lowers it to.
///
/// - Ownership: `level` is the caller's; it becomes a kf_cpu_level.
/// - NULL: nothing may be NULL.
/// - Threads: any.
/// - Memory: may allocate a little to read the environment.
/// - Blocks: no.
/// - Status: KF_STATUS_UNSUPPORTED_CPU.
#[no_mangle]
pub unsafe extern "C" fn kf_get_cpu_level(level: *mut u32) -> kf_status {
    call("kf_get_cpu_level", || {
        // SAFETY: as the header asks.
        let out = unsafe { Out::new(level) }?;
        out.write(self::level(Kernels::detect()?.level()) as u32);
        Ok(())
    })
}

/// The name of a CPU level, such as `neon`, as KEYFACE_CPU takes it.
///
/// - Ownership: the result lives for ever and ends with a NUL; do not free it.
/// - NULL: the result is never NULL; an unknown number gives `unknown`.
/// - Threads: any.
/// - Memory: allocates nothing.
/// - Blocks: no.
/// - Status: none.
#[no_mangle]
pub extern "C" fn kf_cpu_level_name(level: u32) -> *const c_char {
    let name = match level {
        0 => "scalar\0",
        1 => "neon\0",
        2 => "dotprod\0",
        3 => "i8mm\0",
        4 => "avx2\0",
        _ => "unknown\0",
    };
    name.as_ptr().cast()
}

/// A status in a few English words.
///
/// - Ownership: the result lives for ever and ends with a NUL; do not free it.
/// - NULL: the result is never NULL; an unknown number gives `unknown status`.
/// - Threads: any.
/// - Memory: allocates nothing.
/// - Blocks: no.
/// - Status: none.
#[no_mangle]
pub extern "C" fn kf_status_text(status: i32) -> *const c_char {
    let text = ALL.iter().find(|(s, _)| *s as i32 == status).map_or("unknown status\0", |(_, t)| t);
    text.as_ptr().cast()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::CStr;

    #[test]
    fn versions_are_the_crate_s() {
        let text = format!("{KF_VERSION_MAJOR}.{KF_VERSION_MINOR}.{KF_VERSION_PATCH}");
        assert_eq!(text, env!("CARGO_PKG_VERSION"));
        assert_eq!(text, keyface::VERSION);
    }

    #[test]
    fn levels_have_the_sdk_s_names() {
        for sdk in CpuLevel::ALL {
            // SAFETY: the function gives a NUL-terminated text.
            let name = unsafe { CStr::from_ptr(kf_cpu_level_name(level(sdk) as u32)) };
            assert_eq!(name.to_str(), Ok(sdk.name()));
        }
    }
}
