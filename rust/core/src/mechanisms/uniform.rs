//! The Uniform mechanism: independent coordinates, uniform in [−λ, λ] (Yang et al. 2020).
//!
//! **Law.** The bits of a coordinate, read as a signed odd integer, times λ.
//!
//! **Profile.** The density is (2λ)^−d on a cube, and 0 outside. Let ρ be the share of the cube that a shift by δ leaves
//! covered, ρ = ∏(1 − |δᵢ|/2λ)₊. The likelihood ratio is 1 on the overlap and 0 or ∞ elsewhere: a test of level p has a
//! power of at most p + (1 − ρ), and attains it where p ≤ ρ. So only the trade-off curve is there: no factor e^ε bounds
//! ratios, and every Rényi divergence is infinite.
//!
//! The vote stands where (1 − p1 + 1 − ρ) + (p2 + 1 − ρ) < 1, that is 1 − ρ < ½(p1 − p2), whence ρ > ½. With u = |δ|/2λ, the
//! least ρ of all shifts of one norm is
//!
//! - in ℓ1, 1 − s where Σuᵢ = s ≤ 1, for ∏(1 − uᵢ) ≥ 1 − Σuᵢ: shifts of one coordinate are worst;
//! - in ℓ∞, (1 − s)^d where all uᵢ ≤ s: shifts along the diagonal are worst;
//! - in ℓ2, (1 − s/√d)^d where Σuᵢ² = s² and s ≤ ½: with vᵢ = uᵢ² the sum Σ ln(1 − √vᵢ) is to be made least, ln(1 − √v) is
//!   convex while √v ≤ ½, and so it is least where all vᵢ are alike, along the diagonal again. For s > ½ nothing is said,
//!   and no certificate asks: ρ > ½ means s < √d(1 − 2^−1/d) ≤ ½.
//!
//! On a grid nothing changes: rounding x + z to it is a map of the noisy input.

use fearless_simd::Simd;

use super::Family;
use super::profile::{MARGIN, Norm, Profile, Tradeoff};
use crate::Result;
use crate::noise::grid;
use crate::noise::law::{Draw, Group, Law, ROW, Stream};
use crate::noise::real::{Bits, Real};
use crate::stream::GROUP;

/// Independent coordinates, uniform in [−λ, λ].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Uniform {
    half_width: f64,
}

impl Family for Uniform {
    const NAME: &str = "uniform";
    const PARAMETER: &str = "half_width";

    fn new(half_width: f64) -> Self {
        Self { half_width }
    }

    fn parameter(self) -> f64 {
        self.half_width
    }

    fn law<'a, R: Real>(self, _stream: &Stream<'a>) -> impl Law<R> + use<'a, R> {
        Interval { half_width: R::from_f64(R::not_below(self.half_width)) }
    }

    fn grid_law(self, grid: u32, _dim: u64) -> Result<grid::Law> {
        grid::Law::independent(Self::PARAMETER, self.half_width, grid, grid::thresholds::uniform, |tail| 1.0 - tail)
    }

    fn reach(_dim: usize) -> f64 {
        1.0
    }

    fn profile(self, norm: Norm, dim: f64, _grid: Option<u32>) -> Profile {
        Profile { tradeoff: Some(Box::new(Overlap { half_width: self.half_width, norm, dim })), ..Profile::default() }
    }

    /// The largest of d uniform numbers.
    fn unit_linf(dim: f64) -> f64 {
        dim / (dim + 1.0)
    }
}

/// The trade-off curve min(1, p + 1 − ρ).
struct Overlap {
    half_width: f64,
    norm: Norm,
    dim: f64,
}

impl Overlap {
    /// How many coordinates the worst shift of norm s moves, and s over the distance that it moves each by.
    fn worst(&self) -> (f64, f64) {
        self.norm.pick((1.0, 1.0), (self.dim, self.dim.sqrt()), (self.dim, 1.0))
    }
}

impl Tradeoff for Overlap {
    fn at(&self, r: &[f64], p: &[f64], most: &mut [f64]) -> Result<()> {
        let (moved, spread) = self.worst();
        for ((most, r), p) in most.iter_mut().zip(r).zip(p) {
            let shift = 0.5 * (r / self.half_width);
            let unknown = self.norm == Norm::L2 && shift > 0.5;
            let lost = if unknown { 1.0 } else { -libm::expm1(moved * libm::log1p(-(shift / spread).min(1.0))) };
            *most = (p + lost).min(1.0);
        }
        Ok(())
    }

    /// 1 − ρ ≤ ½(p1 − p2), solved for the shift.
    fn within(&self, p1: &[f64], p2: &[f64], r: &mut [f64]) -> Result<()> {
        let (moved, spread) = self.worst();
        let unit = 2.0 * spread * (1.0 - 2.0 * MARGIN);
        for ((r, &p1), &p2) in r.iter_mut().zip(p1).zip(p2) {
            let each = -libm::expm1(libm::log1p(-0.5 * (p1 - p2)) / moved);
            *r = if p1 > p2 { self.half_width * (unit * each) } else { 0.0 };
        }
        Ok(())
    }

    /// Every curve is that of one shift, which some classifier meets.
    fn settles(&self) -> bool {
        true
    }

    fn is_concave(&self) -> bool {
        true
    }
}

/// Uniform in an interval about 0.
struct Interval<R> {
    half_width: R,
}

impl<R: Real> Law<R> for Interval<R> {
    #[inline(always)]
    fn group<S: Simd>(
        &mut self,
        simd: S,
        group: &Group<'_, S, R::Bits>,
        bits: &mut [R::Bits; GROUP],
        values: &mut [R; GROUP],
    ) {
        R::uniform_group(simd, group.source, group.index, self.half_width, bits, values);
    }

    #[inline(always)]
    fn side_by_side<S: Simd>(
        &mut self,
        simd: S,
        draw: &Draw<'_>,
        first: usize,
        bits: &mut [[R::Bits; ROW]],
        values: &mut [[R; ROW]],
    ) {
        R::Bits::load_side_by_side(simd, draw.key, draw.number, first, bits);
        for (bits, values) in bits.iter().zip(values) {
            for (value, bits) in values.iter_mut().zip(bits) {
                *value = R::uniform(*bits, self.half_width);
            }
        }
    }
}
