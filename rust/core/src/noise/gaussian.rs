//! The noise of the Gaussian mechanism: independent N(0, σ²) coordinates, two at a time by Box and Muller's transform.
//!
//! Coordinates 32k + l and 32k + 16 + l of a group, 0 ≤ l < 16, are a pair: the bits of the first give the length, those of
//! the second the angle; the first is the cosine, the second the sine.

use super::ROW;
use super::real::Real;
use crate::stream::BLOCKS;

/// Independent normal coordinates of standard deviation `sigma`.
pub struct Normal {
    pub sigma: f64,
}

impl<R: Real> super::Tailed<R> for Normal {
    #[inline(always)]
    fn values(&self, bits: &[R::Bits; ROW], values: &mut [R; ROW]) {
        let sigma = R::from_f64(self.sigma);
        let (first, second) = values.split_at_mut(BLOCKS);
        for lane in 0..BLOCKS {
            let length = R::rayleigh(bits[lane], sigma);
            (first[lane], second[lane]) = R::polar(bits[lane + BLOCKS], length);
        }
    }

    #[inline(always)]
    fn depth(at: usize, word: u32) -> u32 {
        if at < BLOCKS { word } else { u32::MAX }
    }

    fn redo(&self, at: usize, bits: impl Fn(usize) -> u64, values: &mut [R; ROW]) {
        let (first, second) = f64::polar(bits(at + BLOCKS), f64::rayleigh(bits(at), self.sigma));
        (values[at], values[at + BLOCKS]) = (R::from_f64(first), R::from_f64(second));
    }
}
