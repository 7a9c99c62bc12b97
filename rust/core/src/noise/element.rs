//! The types noise is written in.

use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};

use super::real::Real;
use crate::stream::GROUP;

/// A number type that noise can be written in.
#[allow(private_bounds)]
pub trait Element: Copy + Default + Send + Sync + 'static {
    /// The precision that the noise is computed in.
    #[doc(hidden)]
    type Real: Real;

    /// The type's name in Python.
    const NAME: &'static str;
    /// The largest finite number.
    const MAX: f64;
    /// The smallest positive number of full precision.
    const MIN_NORMAL: f64;

    /// `out` as a whole group in the computing precision, where noise may be computed in place.
    #[doc(hidden)]
    fn as_group(_out: &mut [Self]) -> Option<&mut [Self::Real; GROUP]> {
        None
    }

    /// Writes `values` into `out`, rounding to nearest, ties to even. At most [`GROUP`] values.
    #[doc(hidden)]
    fn store(values: &[Self::Real], out: &mut [Self]);

    /// Writes `values` plus `inputs` into `out`: one sum in the computing precision, one rounding. At most [`GROUP`] values.
    #[doc(hidden)]
    fn store_sum(values: &[Self::Real], inputs: &[Self], out: &mut [Self]);
}

macro_rules! full {
    ($real:ident, $name:literal) => {
        impl Element for $real {
            type Real = $real;
            const NAME: &'static str = $name;
            const MAX: f64 = $real::MAX as f64;
            const MIN_NORMAL: f64 = $real::MIN_POSITIVE as f64;

            #[inline(always)]
            fn as_group(out: &mut [$real]) -> Option<&mut [$real; GROUP]> {
                out.try_into().ok()
            }

            #[inline(always)]
            fn store(values: &[$real], out: &mut [$real]) {
                out.copy_from_slice(values);
            }

            #[inline(always)]
            fn store_sum(values: &[$real], inputs: &[$real], out: &mut [$real]) {
                for ((out, value), input) in out.iter_mut().zip(values).zip(inputs) {
                    *out = input + value;
                }
            }
        }
    };
}

macro_rules! half {
    ($half:ident, $name:literal) => {
        impl Element for $half {
            type Real = f32;
            const NAME: &'static str = $name;
            const MAX: f64 = $half::MAX.to_f64_const();
            const MIN_NORMAL: f64 = $half::MIN_POSITIVE.to_f64_const();

            #[inline(always)]
            fn store(values: &[f32], out: &mut [$half]) {
                out.convert_from_f32_slice(values);
            }

            #[inline(always)]
            fn store_sum(values: &[f32], inputs: &[$half], out: &mut [$half]) {
                let mut sums = [0.0; GROUP];
                let sums = &mut sums[..values.len()];
                inputs.convert_to_f32_slice(sums);
                for (sum, value) in sums.iter_mut().zip(values) {
                    *sum += value;
                }
                out.convert_from_f32_slice(sums);
            }
        }
    };
}

full!(f32, "float32");
full!(f64, "float64");
half!(f16, "float16");
half!(bf16, "bfloat16");
