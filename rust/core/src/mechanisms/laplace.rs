//! The Laplace mechanism: independent coordinates of density exp(−|z|/b)/2b.
//!
//! **Law.** The highest bit of a coordinate is its sign, the others give the magnitude by inversion.
//!
//! **Profile.** The logarithm of the density is 1/b-Lipschitz in ℓ1, so that with s = ‖δ‖₁/b the mechanism is s-private and
//! its trade-off curve is not above that of the Laplace law at distance s, which a shift of one coordinate attains.
//! D_MR ≤ min(s, s²/2) (Zheng et al., Theorem 5.1). Since ‖δ‖₁ ≤ √d‖δ‖₂ and ‖δ‖₁ ≤ d‖δ‖∞ this carries over to the other
//! norms, where D_MR is known better: a shift of one coordinate by δ is |δ|/b-private, hence D_α ≤ α ε²/2 (Bun & Steinke
//! 2016, Proposition 3.3), and over independent coordinates divergences add up to ‖δ‖₂²/2b².

use super::Family;
use super::profile::{Divergence, Linear, Norm, Profile, Standard, StandardLaw};
use crate::Result;
use crate::noise::grid;
use crate::noise::law::{Law, ROW, Stream, Tailed, WithTail};
use crate::noise::real::Real;

/// Independent coordinates of density exp(−|z|/b)/2b.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Laplace {
    scale: f64,
}

impl Family for Laplace {
    const NAME: &str = "laplace";
    const PARAMETER: &str = "scale";

    fn new(scale: f64) -> Self {
        Self { scale }
    }

    fn parameter(self) -> f64 {
        self.scale
    }

    fn law<'a, R: Real>(self, _stream: &Stream<'a>) -> impl Law<R> + use<'a, R> {
        WithTail(TwoSided { scale: R::not_below(self.scale) })
    }

    fn grid_law(self, grid: u32, _dim: u64) -> Result<grid::Law> {
        grid::Law::independent(Self::PARAMETER, self.scale, grid, grid::thresholds::laplace, |tail| -libm::log(tail))
    }

    /// Magnitudes stop at 65 ln 2.
    fn reach(_dim: usize) -> f64 {
        46.0
    }

    fn profile(self, norm: Norm, dim: f64, _grid: Option<u32>) -> Profile {
        let linear = norm.pick(1.0, dim.sqrt(), dim);
        let scale = self.scale / linear;
        let settles = norm == Norm::L1;
        Profile {
            mr: Some(Box::new(Divergence {
                scale: self.scale,
                linear: Some(linear),
                square: norm.pick(1.0, 1.0, dim),
            })),
            pure: Some(Box::new(Linear { scale })),
            tradeoff: Some(Box::new(StandardLaw { law: Standard::Laplace, scale, cost: 0.0, settles })),
            ..Profile::default()
        }
    }

    /// The d-th harmonic number.
    fn unit_linf(dim: f64) -> f64 {
        const EULER: f64 = 0.577_215_664_901_532_9;
        if dim <= 256.0 {
            // From the smallest up, so that the roundings stay small.
            return (1..=dim as u32).rev().map(|i| 1.0 / f64::from(i)).sum();
        }
        let square = dim * dim;
        libm::log(dim) + EULER + 1.0 / (2.0 * dim) - 1.0 / (12.0 * square) + 1.0 / (120.0 * square * square)
    }
}

/// Independent two-sided exponential coordinates of scale `scale`.
struct TwoSided {
    scale: f64,
}

impl<R: Real> Tailed<R> for TwoSided {
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
