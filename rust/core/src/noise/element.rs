//! The types noise is written in.

use std::ops::Range;

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

    /// Writes the noise from coordinate `first` on into `out`, added to `inputs` where given: one sum in the computing
    /// precision, one rounding to nearest, ties to even. `noise` computes the values from a coordinate on.
    #[doc(hidden)]
    fn write(first: usize, inputs: Option<&[Self]>, out: &mut [Self], noise: impl FnMut(usize, &mut [Self::Real]));
}

/// Coordinates that stay in the fastest cache between being computed and being added or converted.
const BATCH: usize = 16 * GROUP;

/// Calls `visit` with consecutive ranges of a span of `length` coordinates from `first` on, cut at multiples of [`BATCH`].
fn batches(first: usize, length: usize, mut visit: impl FnMut(Range<usize>)) {
    let mut start = 0;
    while start < length {
        let end = length.min(start + BATCH - (first + start) % BATCH);
        visit(start..end);
        start = end;
    }
}

macro_rules! full {
    ($real:ident, $name:literal) => {
        impl Element for $real {
            type Real = $real;
            const NAME: &'static str = $name;
            const MAX: f64 = $real::MAX as f64;
            const MIN_NORMAL: f64 = $real::MIN_POSITIVE as f64;

            fn write(
                first: usize,
                inputs: Option<&[$real]>,
                out: &mut [$real],
                mut noise: impl FnMut(usize, &mut [$real]),
            ) {
                let Some(inputs) = inputs else { return noise(first, out) };
                batches(first, out.len(), |range| {
                    let out = &mut out[range.clone()];
                    noise(first + range.start, out);
                    for (out, input) in out.iter_mut().zip(&inputs[range]) {
                        *out += input;
                    }
                });
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

            fn write(
                first: usize,
                inputs: Option<&[$half]>,
                out: &mut [$half],
                mut noise: impl FnMut(usize, &mut [f32]),
            ) {
                let (mut values, mut widened) = ([0.0; BATCH], [0.0; BATCH]);
                batches(first, out.len(), |range| {
                    let values = &mut values[..range.len()];
                    noise(first + range.start, values);
                    if let Some(inputs) = inputs {
                        let widened = &mut widened[..range.len()];
                        inputs[range.clone()].convert_to_f32_slice(widened);
                        for (value, input) in values.iter_mut().zip(widened) {
                            *value += *input;
                        }
                    }
                    out[range].convert_from_f32_slice(values);
                });
            }
        }
    };
}

full!(f32, "float32");
full!(f64, "float64");
half!(f16, "float16");
half!(bf16, "bfloat16");
