//! The noise of the Laplace mechanism: independent coordinates of density exp(−|z|/b)/2b.
//!
//! The highest bit of a coordinate is its sign, the others give the magnitude by inversion.

use super::ROW;
use super::real::Real;

/// Independent two-sided exponential coordinates of scale `scale`.
pub struct TwoSided {
    pub scale: f64,
}

impl<R: Real> super::Tailed<R> for TwoSided {
    #[inline(always)]
    fn values(&self, bits: &[R::Bits; ROW], values: &mut [R; ROW]) {
        let scale = R::from_f64(self.scale);
        for (value, bits) in values.iter_mut().zip(bits) {
            *value = R::two_sided_exponential(*bits, scale);
        }
    }

    #[inline(always)]
    fn depth(_at: usize, word: u32) -> u32 {
        word << 1
    }

    fn redo(&self, at: usize, bits: impl Fn(usize) -> u64, values: &mut [R; ROW]) {
        values[at] = R::from_f64(f64::two_sided_exponential(bits(at), self.scale));
    }
}
