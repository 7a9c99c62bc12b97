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

    /// Writes `noise` into `out`, added to `inputs` where given: one sum in the computing precision, one rounding to
    /// nearest, ties to even.
    #[doc(hidden)]
    fn write(noise: &[Self::Real; GROUP], inputs: Option<&[Self; GROUP]>, out: &mut [Self; GROUP]);
}

macro_rules! full {
    ($real:ident, $name:literal) => {
        impl Element for $real {
            type Real = $real;
            const NAME: &'static str = $name;
            const MAX: f64 = $real::MAX as f64;
            const MIN_NORMAL: f64 = $real::MIN_POSITIVE as f64;

            #[inline(always)]
            fn write(noise: &[$real; GROUP], inputs: Option<&[$real; GROUP]>, out: &mut [$real; GROUP]) {
                if let Some(inputs) = inputs {
                    for ((out, noise), input) in out.iter_mut().zip(noise).zip(inputs) {
                        *out = noise + input;
                    }
                } else {
                    out.copy_from_slice(noise);
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
            fn write(noise: &[f32; GROUP], inputs: Option<&[$half; GROUP]>, out: &mut [$half; GROUP]) {
                if let Some(inputs) = inputs {
                    let mut sums = [0.0; GROUP];
                    inputs.convert_to_f32_slice(&mut sums);
                    for (sum, noise) in sums.iter_mut().zip(noise) {
                        *sum += *noise;
                    }
                    out.convert_from_f32_slice(&sums);
                } else {
                    out.convert_from_f32_slice(noise);
                }
            }
        }
    };
}

full!(f32, "float32");
full!(f64, "float64");
half!(f16, "float16");
half!(bf16, "bfloat16");
