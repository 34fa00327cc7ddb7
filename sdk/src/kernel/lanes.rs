//! Sixteen f32 values as a CPU level holds them, for the loops that the compiler does not vectorise well by itself.
//!
//! Every operation is lane by lane and rounds as IEEE 754 says, so all forms give the same bits.

use super::numeric::{larger, relu6, LANES};

/// Sixteen values.
///
/// # Safety
/// The functions may use instructions of the level whose [`super::isa::Isa`] names the type: the CPU must have them.
pub(super) unsafe trait Lanes: Copy {
    /// # Safety
    /// The CPU has the level; 16 values can be read.
    unsafe fn load(from: *const f32) -> Self;
    /// Converted to f32.
    ///
    /// # Safety
    /// The CPU has the level; 16 values can be read.
    unsafe fn load_i32(from: *const i32) -> Self;
    /// # Safety
    /// The CPU has the level; 16 values can be written.
    unsafe fn store(self, to: *mut f32);
    /// # Safety
    /// The CPU has the level.
    unsafe fn splat(value: f32) -> Self;
    /// # Safety
    /// The CPU has the level.
    unsafe fn scale(self, by: f32) -> Self;
    /// # Safety
    /// The CPU has the level.
    unsafe fn mul(self, by: Self) -> Self;
    /// # Safety
    /// The CPU has the level.
    unsafe fn add(self, other: Self) -> Self;
    /// `self * by + plus`, fused.
    ///
    /// # Safety
    /// The CPU has the level.
    unsafe fn mul_add(self, by: Self, plus: Self) -> Self;
    /// [`larger`] of `self` and `than`.
    ///
    /// # Safety
    /// The CPU has the level.
    unsafe fn larger(self, than: Self) -> Self;
    /// [`relu6`].
    ///
    /// # Safety
    /// The CPU has the level.
    unsafe fn relu6(self) -> Self;
}

/// Plain Rust.
#[derive(Clone, Copy)]
pub(super) struct Plain([f32; LANES]);

impl Plain {
    #[inline(always)]
    fn zip(self, other: Self, f: impl Fn(f32, f32) -> f32) -> Self {
        let mut to = self;
        for l in 0..LANES {
            to.0[l] = f(self.0[l], other.0[l]);
        }
        to
    }
}

// SAFETY: no special instructions.
unsafe impl Lanes for Plain {
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: the caller's promise.
        Plain(unsafe { from.cast::<[f32; LANES]>().read_unaligned() })
    }
    unsafe fn load_i32(from: *const i32) -> Self {
        // SAFETY: the caller's promise.
        Plain(unsafe { from.cast::<[i32; LANES]>().read_unaligned() }.map(|v| v as f32))
    }
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: the caller's promise.
        unsafe { to.cast::<[f32; LANES]>().write_unaligned(self.0) }
    }
    unsafe fn splat(value: f32) -> Self {
        Plain([value; LANES])
    }
    unsafe fn scale(self, by: f32) -> Self {
        Plain(self.0.map(|v| v * by))
    }
    unsafe fn mul(self, by: Self) -> Self {
        self.zip(by, |a, b| a * b)
    }
    unsafe fn add(self, other: Self) -> Self {
        self.zip(other, |a, b| a + b)
    }
    unsafe fn mul_add(self, by: Self, plus: Self) -> Self {
        let mut to = plus;
        for l in 0..LANES {
            to.0[l] = self.0[l].mul_add(by.0[l], plus.0[l]);
        }
        to
    }
    unsafe fn larger(self, than: Self) -> Self {
        self.zip(than, larger)
    }
    unsafe fn relu6(self) -> Self {
        Plain(self.0.map(relu6))
    }
}

/// Writes an implementation over an array of vectors: `each` applies an expression to every vector.
#[allow(unused_macros)]
macro_rules! vector_lanes {
    ($name:ident, $vector:ty, $count:literal, $width:literal, $feature:literal,
     $load:expr, $load_i32:expr, $store:expr, $splat:expr, $mul:expr, $add:expr, $fused:expr, $larger:expr, $relu6:expr) => {
        /// Sixteen values in vector registers.
        #[derive(Clone, Copy)]
        pub(in super::super) struct $name([$vector; $count]);

        // SAFETY: needs no more than the feature of the functions.
        unsafe impl super::Lanes for $name {
            #[inline]
            #[target_feature(enable = $feature)]
            unsafe fn load(from: *const f32) -> Self {
                let mut to = [$splat(0.0); $count];
                for (i, v) in to.iter_mut().enumerate() {
                    // SAFETY: the caller's promise.
                    *v = unsafe { $load(from.add(i * $width)) };
                }
                $name(to)
            }
            #[inline]
            #[target_feature(enable = $feature)]
            unsafe fn load_i32(from: *const i32) -> Self {
                let mut to = [$splat(0.0); $count];
                for (i, v) in to.iter_mut().enumerate() {
                    // SAFETY: the caller's promise.
                    *v = unsafe { $load_i32(from.add(i * $width)) };
                }
                $name(to)
            }
            #[inline]
            #[target_feature(enable = $feature)]
            unsafe fn store(self, to: *mut f32) {
                for (i, v) in self.0.into_iter().enumerate() {
                    // SAFETY: the caller's promise.
                    unsafe { $store(to.add(i * $width), v) }
                }
            }
            #[inline]
            #[target_feature(enable = $feature)]
            unsafe fn splat(value: f32) -> Self {
                $name([$splat(value); $count])
            }
            #[inline]
            #[target_feature(enable = $feature)]
            unsafe fn scale(self, by: f32) -> Self {
                let by = $splat(by);
                let mut to = self;
                for i in 0..$count {
                    to.0[i] = $mul(self.0[i], by);
                }
                to
            }
            #[inline]
            #[target_feature(enable = $feature)]
            unsafe fn mul(self, by: Self) -> Self {
                let mut to = self;
                for i in 0..$count {
                    to.0[i] = $mul(self.0[i], by.0[i]);
                }
                to
            }
            #[inline]
            #[target_feature(enable = $feature)]
            unsafe fn add(self, other: Self) -> Self {
                let mut to = self;
                for i in 0..$count {
                    to.0[i] = $add(self.0[i], other.0[i]);
                }
                to
            }
            #[inline]
            #[target_feature(enable = $feature)]
            unsafe fn mul_add(self, by: Self, plus: Self) -> Self {
                let mut to = self;
                for i in 0..$count {
                    to.0[i] = $fused(self.0[i], by.0[i], plus.0[i]);
                }
                to
            }
            #[inline]
            #[target_feature(enable = $feature)]
            unsafe fn larger(self, than: Self) -> Self {
                let mut to = self;
                for i in 0..$count {
                    to.0[i] = $larger(self.0[i], than.0[i]);
                }
                to
            }
            #[inline]
            #[target_feature(enable = $feature)]
            unsafe fn relu6(self) -> Self {
                let mut to = self;
                for i in 0..$count {
                    to.0[i] = $relu6(self.0[i]);
                }
                to
            }
        }
    };
}

#[cfg(target_arch = "x86_64")]
pub(super) mod x86 {
    use std::arch::x86_64::*;

    vector_lanes!(
        Ymm,
        __m256,
        2,
        8,
        "avx2,fma",
        |p| _mm256_loadu_ps(p),
        |p: *const i32| _mm256_cvtepi32_ps(_mm256_loadu_si256(p.cast())),
        |p, v| _mm256_storeu_ps(p, v),
        |v| _mm256_set1_ps(v),
        |a, b| _mm256_mul_ps(a, b),
        |a, b| _mm256_add_ps(a, b),
        |a, b, c| _mm256_fmadd_ps(a, b, c),
        // MAXPS and MINPS return the second operand when one is NaN.
        |a, b| _mm256_max_ps(a, b),
        |v| _mm256_max_ps(_mm256_setzero_ps(), _mm256_min_ps(_mm256_set1_ps(6.0), v))
    );
}

#[cfg(target_arch = "aarch64")]
pub(super) mod arm {
    use std::arch::aarch64::*;

    vector_lanes!(
        Neon4,
        float32x4_t,
        4,
        4,
        "neon",
        |p| vld1q_f32(p),
        |p| vcvtq_f32_s32(vld1q_s32(p)),
        |p, v| vst1q_f32(p, v),
        |v| vdupq_n_f32(v),
        |a, b| vmulq_f32(a, b),
        |a, b| vaddq_f32(a, b),
        |a, b, c| vfmaq_f32(c, a, b),
        // FMAXNM returns the number when one operand is NaN.
        |a, b| vmaxnmq_f32(a, b),
        // FMIN keeps a NaN; FMAX would turn -0 into 0, unlike MAXPS.
        |v| {
            let v = vminq_f32(vdupq_n_f32(6.0), v);
            vreinterpretq_f32_u32(vbicq_u32(vreinterpretq_u32_f32(v), vcltzq_f32(v)))
        }
    );
}
