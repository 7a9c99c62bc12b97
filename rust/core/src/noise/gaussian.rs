//! The noise of the Gaussian mechanism: independent N(0, σ²) coordinates, two at a time by Box and Muller's transform.
//!
//! Coordinates 32k + l and 32k + 16 + l of a group, 0 ≤ l < 16, are a pair: the bits of the first give the length, those of
//! the second the angle; the first is the cosine, the second the sine.

use super::real::Real;

/// Independent normal coordinates of standard deviation `sigma`.
pub struct Normal {
    pub sigma: f64,
}

impl<R: Real> super::Tailed<R> for Normal {
    #[inline(always)]
    fn values(&self, bits: &[R::Bits; 256], values: &mut [R; 256]) {
        let sigma = R::from_f64(self.sigma);
        for (bits, values) in bits.as_chunks::<32>().0.iter().zip(values.as_chunks_mut::<32>().0) {
            let (first, second) = values.split_at_mut(16);
            for lane in 0..16 {
                let length = R::rayleigh(bits[lane], sigma);
                (first[lane], second[lane]) = R::polar(bits[lane + 16], length);
            }
        }
    }

    #[inline(always)]
    fn depth(at: usize, word: u32) -> u32 {
        if at % 32 < 16 { word } else { u32::MAX }
    }

    fn redo(&self, at: usize, bits: impl Fn(usize) -> u64, values: &mut [R; 256]) {
        let (first, second) = f64::polar(bits(at + 16), f64::rayleigh(bits(at), self.sigma));
        (values[at], values[at + 16]) = (R::from_f64(first), R::from_f64(second));
    }
}
