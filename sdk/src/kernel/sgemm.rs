//! The f32 reference path's matrix product.

/// `out[m][n] = x[m][k] * w[n][k]^T`, all row-major. Fast, but not bit-identical between CPUs.
///
/// # Panics
/// When a length does not fit its shape.
pub fn sgemm(m: usize, k: usize, n: usize, x: &[f32], w: &[f32], out: &mut [f32]) {
    assert!(
        x.len() == m * k && w.len() == n * k && out.len() == m * n,
        "matrices do not fit their shapes"
    );
    let (ks, ns) = (k as isize, n as isize);
    // SAFETY: the three matrices have the asserted lengths, which the strides stay within; `out` is exclusive.
    unsafe {
        matrixmultiply::sgemm(
            m,
            k,
            n,
            1.0,
            x.as_ptr(),
            ks,
            1,
            w.as_ptr(),
            1,
            ks,
            0.0,
            out.as_mut_ptr(),
            ns,
            1,
        );
    }
}
