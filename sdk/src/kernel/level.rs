//! Names and detection of CPU levels.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, ErrorKind, Result};

/// A set of CPU instructions that one version of the kernels uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CpuLevel {
    /// Portable Rust, any CPU: the definition that the others are compared with.
    Scalar,
    /// AArch64 with widening multiplies: Cortex-A53, A57, A72 (Pi 3, Pi 4, Jetson Nano).
    Neon,
    /// AArch64 with SDOT: Cortex-A55, A76, A78AE (Pi 5, Orin).
    DotProd,
    /// AArch64 with SDOT and SMMLA: Cortex-A510, A710, Neoverse V1 and later.
    I8mm,
    /// x86-64 with AVX2 and FMA.
    Avx2,
}

impl CpuLevel {
    /// Every level of every architecture.
    pub const ALL: [CpuLevel; 5] =
        [CpuLevel::Scalar, CpuLevel::Neon, CpuLevel::DotProd, CpuLevel::I8mm, CpuLevel::Avx2];

    /// The name that `KEYFACE_CPU` and board profiles use.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            CpuLevel::Scalar => "scalar",
            CpuLevel::Neon => "neon",
            CpuLevel::DotProd => "dotprod",
            CpuLevel::I8mm => "i8mm",
            CpuLevel::Avx2 => "avx2",
        }
    }

    /// Whether this CPU has the level.
    pub(super) fn is_available(self) -> bool {
        match self {
            CpuLevel::Scalar => true,
            #[cfg(target_arch = "x86_64")]
            CpuLevel::Avx2 => is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"),
            #[cfg(target_arch = "aarch64")]
            CpuLevel::Neon => std::arch::is_aarch64_feature_detected!("neon"),
            #[cfg(target_arch = "aarch64")]
            CpuLevel::DotProd => std::arch::is_aarch64_feature_detected!("dotprod"),
            #[cfg(target_arch = "aarch64")]
            CpuLevel::I8mm => {
                std::arch::is_aarch64_feature_detected!("dotprod")
                    && std::arch::is_aarch64_feature_detected!("i8mm")
            }
            _ => false,
        }
    }
}

impl fmt::Display for CpuLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for CpuLevel {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        CpuLevel::ALL
            .into_iter()
            .find(|level| level.name() == name)
            .ok_or(Error::new(ErrorKind::UnsupportedCpu, "unknown name of a CPU level"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_parse_back_and_others_are_errors() {
        for level in CpuLevel::ALL {
            assert_eq!(level.name().parse::<CpuLevel>().unwrap(), level);
        }
        for bad in ["", "AVX2", "avx512", "neon "] {
            assert_eq!(bad.parse::<CpuLevel>().unwrap_err().kind(), ErrorKind::UnsupportedCpu);
        }
    }
}
