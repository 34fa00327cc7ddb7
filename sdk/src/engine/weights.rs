//! Views into a pack's tensors, in the shapes that the operators use.

use crate::error::{Error, ErrorKind, Result};
use crate::pack::{DType, Pack, Precision};
use std::ops::Range;
use std::sync::Arc;

/// f32 values: in the mapped pack, or derived from it at load.
#[derive(Clone)]
pub(super) enum Values {
    Pack(Arc<Pack>, Range<usize>),
    Owned(Arc<[f32]>),
}

impl Values {
    /// The f32 tensor `name`, which must hold `len` values.
    pub(super) fn from_pack(pack: &Arc<Pack>, name: &str, len: usize) -> Result<Values> {
        Ok(Values::Pack(pack.clone(), range(pack, name, DType::F32, len * 4)?))
    }

    pub(super) fn as_slice(&self) -> &[f32] {
        match self {
            Values::Pack(pack, range) => bytemuck::cast_slice(pack.range(range)),
            Values::Owned(values) => values,
        }
    }
}

/// The matrix of a linear layer, `[n][k]`.
#[derive(Clone)]
pub(super) enum Matrix {
    F32(Values),
    Int8 { pack: Arc<Pack>, panels: Range<usize>, scales: Values },
}

/// A LayerNorm's factors and offsets.
#[derive(Clone)]
pub(super) struct Norm {
    pub(super) gamma: Values,
    pub(super) beta: Values,
}

/// The published networks' LayerNorm epsilon.
pub(super) const NORM_EPS: f32 = 1e-5;

impl Norm {
    pub(super) fn from_pack(pack: &Arc<Pack>, name: &str, len: usize) -> Result<Norm> {
        Ok(Norm {
            gamma: Values::from_pack(pack, &format!("{name}.weight"), len)?,
            beta: Values::from_pack(pack, &format!("{name}.bias"), len)?,
        })
    }

    pub(super) fn as_kernel(&self) -> crate::kernel::Norm<'_> {
        crate::kernel::Norm {
            gamma: self.gamma.as_slice(),
            beta: self.beta.as_slice(),
            eps: NORM_EPS,
        }
    }
}

/// A linear layer with all that is fused around it.
pub(super) struct LinearParams {
    pub(super) n: usize,
    pub(super) k: usize,
    pub(super) matrix: Matrix,
    pub(super) bias: Values,
    pub(super) norm: Option<Norm>,
    pub(super) relu6: bool,
    /// Added to every run's result, such as the position embedding.
    pub(super) constant: Option<Values>,
}

impl LinearParams {
    /// Layer `name`: `{name}.weight`, `{name}.scale` when int8, `{name}.bias` when `with_bias`.
    pub(super) fn from_pack(
        pack: &Arc<Pack>,
        name: &str,
        (n, k): (usize, usize),
        precision: Precision,
        with_bias: bool,
    ) -> Result<LinearParams> {
        let weight = format!("{name}.weight");
        let matrix = match precision {
            Precision::F32 => Matrix::F32(Values::from_pack(pack, &weight, n * k)?),
            Precision::Int8 => Matrix::Int8 {
                pack: pack.clone(),
                panels: range(pack, &weight, DType::I8Panels, crate::kernel::packed_len(n, k))?,
                scales: Values::from_pack(pack, &format!("{name}.scale"), n)?,
            },
        };
        let bias = if with_bias {
            Values::from_pack(pack, &format!("{name}.bias"), n)?
        } else {
            Values::Owned(vec![0.0; n].into())
        };
        Ok(LinearParams { n, k, matrix, bias, norm: None, relu6: false, constant: None })
    }
}

fn range(pack: &Pack, name: &str, dtype: DType, bytes: usize) -> Result<Range<usize>> {
    let section = pack.tensor(name, dtype)?;
    if section.byte_len() != bytes {
        log::error!(
            "tensor {name} has {} bytes, the manifest asks for {bytes}",
            section.byte_len()
        );
        return Err(Error::new(
            ErrorKind::DamagedPack,
            "a tensor does not have the size the manifest asks for",
        ));
    }
    Ok(section.range())
}
