//! Inputs plus noise, as floats.

use fearless_simd::{Simd, dispatch};
use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};

use super::ROW;
use crate::stream::level::Level;

/// Integers up to here are exact in single precision.
const EXACT: u64 = 1 << 24;

/// An integer type of inputs, which count steps of the grid.
pub trait GridInput: Copy + Send + Sync + 'static {
    /// The integer.
    fn to_i32(self) -> i32;
}

impl GridInput for u8 {
    #[inline(always)]
    fn to_i32(self) -> i32 {
        i32::from(self)
    }
}

impl GridInput for i32 {
    #[inline(always)]
    fn to_i32(self) -> i32 {
        self
    }
}

/// A float type that sums are written in.
pub trait GridFloat: Copy + Default + Send + Sync + 'static {
    /// The type's name in Python.
    const NAME: &'static str;
    /// The largest finite number.
    const MAX: f64;

    /// Writes the sums over `grid`, each sum below 2²⁴ in size. As many as there are: a loop over rows of them would be made to
    /// gather and scatter.
    #[doc(hidden)]
    fn narrow(sums: &[i32], grid: u32, out: &mut [Self]);

    /// Writes the sums over `grid`, each sum an integer below 2³³ in size.
    #[doc(hidden)]
    fn wide(sums: &[f64; ROW], grid: u32, out: &mut [Self; ROW]);
}

impl GridFloat for f64 {
    const NAME: &'static str = "float64";
    const MAX: f64 = Self::MAX;

    #[inline(always)]
    fn narrow(sums: &[i32], grid: u32, out: &mut [f64]) {
        for (out, sum) in out.iter_mut().zip(sums) {
            *out = f64::from(*sum) / f64::from(grid);
        }
    }

    #[inline(always)]
    fn wide(sums: &[f64; ROW], grid: u32, out: &mut [f64; ROW]) {
        for (out, sum) in out.iter_mut().zip(sums) {
            *out = sum / f64::from(grid);
        }
    }
}

impl GridFloat for f32 {
    const NAME: &'static str = "float32";
    const MAX: f64 = f32::MAX as f64;

    #[inline(always)]
    fn narrow(sums: &[i32], grid: u32, out: &mut [f32]) {
        for (out, sum) in out.iter_mut().zip(sums) {
            *out = *sum as f32 / grid as f32;
        }
    }

    /// Rounded twice and still to the nearest: a quotient of denominator g ≤ 2²⁴ that is not itself halfway between two floats,
    /// M·2^e with M < 2²⁵, differs from it by 1/(gM) > 2⁻⁴⁹ of it or more, so the first rounding does not make it so.
    #[inline(always)]
    fn wide(sums: &[f64; ROW], grid: u32, out: &mut [f32; ROW]) {
        for (out, sum) in out.iter_mut().zip(sums) {
            *out = (sum / f64::from(grid)) as f32;
        }
    }
}

/// The quotients in single precision, rounded to odd: exact, or the neighbour with an odd last bit. To round that to the nearest
/// half-precision number is to round the quotient itself (Boldo & Melquiond 2008).
#[inline(always)]
fn to_odd(sums: &[f64; ROW], grid: u32) -> [f32; ROW] {
    const LOST: u64 = (1 << 29) - 1;
    std::array::from_fn(|at| {
        // A quotient that single precision holds is exact here, and others keep off what it holds, as above.
        let bits = (sums[at] / f64::from(grid)).to_bits();
        let sticky = u64::from(bits & LOST != 0) << 29;
        f64::from_bits(bits & !LOST | sticky) as f32
    })
}

impl GridFloat for f16 {
    const NAME: &'static str = "float16";
    const MAX: f64 = f16::MAX.to_f64_const();

    #[inline(always)]
    fn narrow(sums: &[i32], grid: u32, out: &mut [f16]) {
        by_rows(sums, out, |sums, out| Self::wide(&sums.map(f64::from), grid, out));
    }

    #[inline(always)]
    fn wide(sums: &[f64; ROW], grid: u32, out: &mut [f16; ROW]) {
        out.convert_from_f32_slice(&to_odd(sums, grid));
    }
}

impl GridFloat for bf16 {
    const NAME: &'static str = "bfloat16";
    const MAX: f64 = bf16::MAX.to_f64_const();

    #[inline(always)]
    fn narrow(sums: &[i32], grid: u32, out: &mut [bf16]) {
        by_rows(sums, out, |sums, out| Self::wide(&sums.map(f64::from), grid, out));
    }

    #[inline(always)]
    fn wide(sums: &[f64; ROW], grid: u32, out: &mut [bf16; ROW]) {
        for (out, odd) in out.iter_mut().zip(to_odd(sums, grid)) {
            let bits = odd.to_bits();
            *out = bf16::from_bits(((bits + 0x7fff + ((bits >> 16) & 1)) >> 16) as u16);
        }
    }
}

/// How sums become floats.
pub struct Quotients {
    /// The instruction set.
    pub level: Level,
    /// What the sums are divided by.
    pub grid: u32,
    /// No sum is larger.
    pub reach: u64,
}

/// Calls `write` on whole rows, the last of which is padded.
#[inline(always)]
fn by_rows<S: Copy + Default, T: Copy + Default>(sums: &[S], out: &mut [T], write: impl Fn(&[S; ROW], &mut [T; ROW])) {
    let (sums, sums_rest) = sums.as_chunks::<ROW>();
    let (out, out_rest) = out.as_chunks_mut::<ROW>();
    for (sums, out) in sums.iter().zip(out) {
        write(sums, out);
    }
    if !out_rest.is_empty() {
        let (mut padded, mut row) = ([S::default(); ROW], [T::default(); ROW]);
        padded[..sums_rest.len()].copy_from_slice(sums_rest);
        write(&padded, &mut row);
        out_rest.copy_from_slice(&row[..out_rest.len()]);
    }
}

impl Quotients {
    /// Writes (`inputs` + `noise`)/grid; changes `noise`.
    pub fn write<X: GridInput, T: GridFloat>(&self, inputs: &[X], noise: &mut [i32], out: &mut [T]) {
        dispatch!(self.level.0, simd => self.write_with(simd, inputs, noise, out));
    }

    #[inline(always)]
    fn write_with<S: Simd, X: GridInput, T: GridFloat>(
        &self,
        _simd: S,
        inputs: &[X],
        noise: &mut [i32],
        out: &mut [T],
    ) {
        if self.reach < EXACT {
            for (sum, input) in noise.iter_mut().zip(inputs) {
                *sum += input.to_i32();
            }
            T::narrow(noise, self.grid, out);
            return;
        }
        for ((inputs, noise), out) in inputs.chunks(ROW).zip(noise.chunks(ROW)).zip(out.chunks_mut(ROW)) {
            let mut sums = [0.0; ROW];
            for ((sum, input), noise) in sums.iter_mut().zip(inputs).zip(noise) {
                *sum = f64::from(input.to_i32()) + f64::from(*noise);
            }
            by_rows(&sums[..out.len()], out, |sums, out| T::wide(sums, self.grid, out));
        }
    }
}
