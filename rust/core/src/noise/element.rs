//! The types noise is written in.

use fearless_simd::Simd;
use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};

use super::real::Real;
use super::writer::Aligned;
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

    /// `out` itself, if it holds numbers of the computing precision.
    #[doc(hidden)]
    fn unconverted(out: &mut [Self]) -> Option<&mut [Self::Real]>;

    /// Writes `noise` into `out`, added to `inputs` where given: one sum in the computing precision, one rounding to
    /// nearest, ties to even.
    #[doc(hidden)]
    fn write<S: Simd>(simd: S, noise: &[Self::Real; GROUP], inputs: Option<&[Self; GROUP]>, out: &mut [Self; GROUP]);
}

macro_rules! full {
    ($real:ident, $name:literal) => {
        impl Element for $real {
            type Real = $real;
            const NAME: &'static str = $name;
            const MAX: f64 = $real::MAX as f64;
            const MIN_NORMAL: f64 = $real::MIN_POSITIVE as f64;

            #[inline(always)]
            fn unconverted(out: &mut [$real]) -> Option<&mut [$real]> {
                Some(out)
            }

            #[inline(always)]
            fn write<S: Simd>(
                _simd: S,
                noise: &[$real; GROUP],
                inputs: Option<&[$real; GROUP]>,
                out: &mut [$real; GROUP],
            ) {
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
            fn unconverted(_out: &mut [$half]) -> Option<&mut [f32]> {
                None
            }

            #[inline(always)]
            fn write<S: Simd>(
                simd: S,
                noise: &[f32; GROUP],
                inputs: Option<&[$half; GROUP]>,
                out: &mut [$half; GROUP],
            ) {
                if let Some(inputs) = inputs {
                    let mut sums = Aligned([0.0; GROUP]);
                    $half::widen(simd, inputs, &mut sums.0);
                    for (sum, noise) in sums.0.iter_mut().zip(noise) {
                        *sum += *noise;
                    }
                    $half::narrow(simd, &sums.0, out);
                } else {
                    $half::narrow(simd, noise, out);
                }
            }
        }
    };
}

/// Half precision to and from single, a group at a time.
trait Half: Sized {
    fn widen<S: Simd>(simd: S, from: &[Self; GROUP], to: &mut [f32; GROUP]);
    fn narrow<S: Simd>(simd: S, from: &[f32; GROUP], to: &mut [Self; GROUP]);
}

impl Half for bf16 {
    #[inline(always)]
    fn widen<S: Simd>(_simd: S, from: &[Self; GROUP], to: &mut [f32; GROUP]) {
        from.convert_to_f32_slice(to);
    }

    #[inline(always)]
    fn narrow<S: Simd>(_simd: S, from: &[f32; GROUP], to: &mut [Self; GROUP]) {
        // The half crate's rounding distinguishes more cases, which vectors pay for one and all.
        for (to, from) in to.iter_mut().zip(from) {
            let bits = from.to_bits();
            let nearest = bits.wrapping_add(0x7fff + (bits >> 16 & 1));
            let quiet = bits | 0x0040_0000;
            *to = Self::from_bits((if from.is_nan() { quiet } else { nearest } >> 16) as u16);
        }
    }
}

#[cfg_attr(
    not(target_arch = "x86_64"),
    allow(unused_variables, reason = "only one level converts in a way of its own")
)]
impl Half for f16 {
    #[inline(always)]
    fn widen<S: Simd>(simd: S, from: &[Self; GROUP], to: &mut [f32; GROUP]) {
        #[cfg(target_arch = "x86_64")]
        if let Some(avx512) = simd.level().as_avx512() {
            return avx512::widen(avx512, from, to);
        }
        from.convert_to_f32_slice(to);
    }

    #[inline(always)]
    fn narrow<S: Simd>(simd: S, from: &[f32; GROUP], to: &mut [Self; GROUP]) {
        #[cfg(target_arch = "x86_64")]
        if let Some(avx512) = simd.level().as_avx512() {
            return avx512::narrow(avx512, from, to);
        }
        to.convert_from_f32_slice(from);
    }
}

/// The half crate converts eight numbers at a time, behind a test for the instruction.
#[cfg(target_arch = "x86_64")]
mod avx512 {
    use std::arch::x86_64::{_MM_FROUND_NO_EXC, _MM_FROUND_TO_NEAREST_INT, _mm512_cvtph_ps, _mm512_cvtps_ph};

    use fearless_simd::{SimdBase, SimdInto, f32x16, kernel, u16x16};
    use half::f16;
    use half::slice::HalfFloatSliceExt;

    use crate::stream::GROUP;

    kernel!(
        #[inline]
        pub fn widen(avx512: Avx512, from: &[f16; GROUP], to: &mut [f32; GROUP]) {
            for (from, to) in from.reinterpret_cast().as_chunks().0.iter().zip(to.as_chunks_mut::<16>().0) {
                let wide: f32x16<_> = _mm512_cvtph_ps(u16x16::load_array_ref(avx512, from).into()).simd_into(avx512);
                wide.store_slice(to);
            }
        }
    );

    kernel!(
        #[inline]
        pub fn narrow(avx512: Avx512, from: &[f32; GROUP], to: &mut [f16; GROUP]) {
            const NEAREST: i32 = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
            for (from, to) in from.as_chunks().0.iter().zip(to.reinterpret_cast_mut().as_chunks_mut::<16>().0) {
                let wide = f32x16::load_array_ref(avx512, from).into();
                let narrow: u16x16<_> = _mm512_cvtps_ph::<NEAREST>(wide).simd_into(avx512);
                narrow.store_slice(to);
            }
        }
    );
}

full!(f32, "float32");
full!(f64, "float64");
half!(f16, "float16");
half!(bf16, "bfloat16");

#[cfg(test)]
mod tests {
    use fearless_simd::dispatch;

    use super::*;
    use crate::stream::level;

    #[inline(always)]
    fn there_and_back<S: Simd, H: Half + Default + Copy>(simd: S, from: &[f32; GROUP]) -> ([H; GROUP], [f32; GROUP]) {
        let (mut halves, mut back) = ([H::default(); GROUP], [0.0; GROUP]);
        H::narrow(simd, from, &mut halves);
        H::widen(simd, &halves, &mut back);
        (halves, back)
    }

    #[test]
    fn halves_are_rounded_as_the_half_crate_rounds_them() {
        // Every exponent and both signs, with fractions at, below and above the ties.
        let fractions = [0, 1, 0xfff, 0x1000, 0x1001, 0x3000, 0x7fff, 0x8000, 0x8001, 0x1_8000, 0x40_0000, 0x7f_ffff];
        for fraction in fractions {
            for sign in [0, 1 << 31] {
                let from = std::array::from_fn(|exponent| f32::from_bits(sign | (exponent as u32) << 23 | fraction));
                for level in level::supported() {
                    let (halves, back) = dispatch!(level.0, simd => there_and_back::<_, f16>(simd, &from));
                    assert_eq!(halves.map(f16::to_bits), from.map(|x| f16::from_f32(x).to_bits()), "{level:?}");
                    assert_eq!(back.map(f32::to_bits), halves.map(|x| x.to_f32().to_bits()), "{level:?}");
                    let (halves, back) = dispatch!(level.0, simd => there_and_back::<_, bf16>(simd, &from));
                    assert_eq!(halves.map(bf16::to_bits), from.map(|x| bf16::from_f32(x).to_bits()), "{level:?}");
                    assert_eq!(back.map(f32::to_bits), halves.map(|x| x.to_f32().to_bits()), "{level:?}");
                }
            }
        }
    }
}
