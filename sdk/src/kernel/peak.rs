//! The roofline that benches and profiles compare with: the level's multiply instruction alone, on registers.

use super::level::CpuLevel;

/// Instructions per round: independent, so that only the multipliers limit them.
const UNROLL: u64 = 8;

/// Executes `rounds` rounds of the level's densest exact multiply and returns the products made; 0 for levels
/// without one.
///
/// # Safety
/// The CPU has the level.
pub(super) unsafe fn run(level: CpuLevel, rounds: u64) -> u64 {
    let per_instruction: u64 = match level {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the caller's promise.
        CpuLevel::Avx2 => unsafe { x86::madd(rounds) },
        #[cfg(target_arch = "aarch64")]
        // SAFETY: the caller's promise.
        CpuLevel::Neon => unsafe { arm::smull(rounds) },
        #[cfg(target_arch = "aarch64")]
        // SAFETY: the caller's promise.
        CpuLevel::DotProd => unsafe { arm::sdot(rounds) },
        #[cfg(target_arch = "aarch64")]
        // SAFETY: the caller's promise.
        CpuLevel::I8mm => unsafe { arm::smmla(rounds) },
        _ => 0,
    };
    rounds * UNROLL * per_instruction
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::asm;
    use std::arch::x86_64::*;

    #[target_feature(enable = "avx2")]
    pub(super) unsafe fn madd(rounds: u64) -> u64 {
        let x = _mm256_set1_epi16(3);
        for _ in 0..rounds {
            // SAFETY: eight multiplications from a register into clobbered registers.
            unsafe {
                asm!(
                    "vpmaddwd {a}, {x}, {x}", "vpmaddwd {b}, {x}, {x}", "vpmaddwd {c}, {x}, {x}",
                    "vpmaddwd {d}, {x}, {x}", "vpmaddwd {e}, {x}, {x}", "vpmaddwd {f}, {x}, {x}",
                    "vpmaddwd {g}, {x}, {x}", "vpmaddwd {h}, {x}, {x}",
                    x = in(ymm_reg) x, a = out(ymm_reg) _, b = out(ymm_reg) _, c = out(ymm_reg) _,
                    d = out(ymm_reg) _, e = out(ymm_reg) _, f = out(ymm_reg) _, g = out(ymm_reg) _,
                    h = out(ymm_reg) _, options(nomem, nostack, preserves_flags)
                );
            }
        }
        16
    }
}

#[cfg(target_arch = "aarch64")]
mod arm {
    use std::arch::aarch64::vdupq_n_s8;
    use std::arch::asm;

    macro_rules! rounds {
        ($name:ident, $feature:literal, $insn:literal, $to:literal, $from:literal, $products:literal) => {
            #[target_feature(enable = $feature)]
            pub(super) unsafe fn $name(rounds: u64) -> u64 {
                let x = vdupq_n_s8(3);
                for _ in 0..rounds {
                    // SAFETY: eight multiplications from a register into clobbered registers.
                    unsafe {
                        asm!(
                            concat!($insn, " v0.", $to, ", {x:v}.", $from, ", {x:v}.", $from),
                            concat!($insn, " v1.", $to, ", {x:v}.", $from, ", {x:v}.", $from),
                            concat!($insn, " v2.", $to, ", {x:v}.", $from, ", {x:v}.", $from),
                            concat!($insn, " v3.", $to, ", {x:v}.", $from, ", {x:v}.", $from),
                            concat!($insn, " v4.", $to, ", {x:v}.", $from, ", {x:v}.", $from),
                            concat!($insn, " v5.", $to, ", {x:v}.", $from, ", {x:v}.", $from),
                            concat!($insn, " v6.", $to, ", {x:v}.", $from, ", {x:v}.", $from),
                            concat!($insn, " v7.", $to, ", {x:v}.", $from, ", {x:v}.", $from),
                            x = in(vreg) x, out("v0") _, out("v1") _, out("v2") _, out("v3") _,
                            out("v4") _, out("v5") _, out("v6") _, out("v7") _,
                            options(nomem, nostack, preserves_flags)
                        );
                    }
                }
                $products
            }
        };
    }
    rounds!(smull, "neon", "smull", "8h", "8b", 8);
    rounds!(sdot, "neon,dotprod", "sdot", "4s", "16b", 16);
    rounds!(smmla, "neon,i8mm", "smmla", "4s", "16b", 32);
}
