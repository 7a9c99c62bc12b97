//! The Exponential mechanism: density ∝ exp(−‖z‖∞/σ).
//!
//! **Law.** z = R·u with R ~ Gamma(d + 1, σ) and u uniform in the cube [−1, 1]^d (Zheng et al., appendix B): given R, z is
//! uniform on a cube of half-width R, and ∫ (2R)^−d 1{‖z‖∞ ≤ R} R^d e^{−R/σ} dR ∝ e^{−‖z‖∞/σ}.
//!
//! **Profile.** The logarithm of the density is 1/σ-Lipschitz in ℓ∞, so that with s = r/σ the mechanism is s-private,
//! D_MR ≤ min(s, s²/2) (Theorem 5.1), and its trade-off curve is not above that of the Laplace law at distance s, which
//! shifts along the diagonal attain. Since ‖δ‖∞ ≤ ‖δ‖₂ ≤ ‖δ‖₁ all of it holds in every norm. On a grid of step 1/g every
//! shift counts 2σ ln cosh(1/2gσ) longer in the trade-off curve (docs/exact.md).

use fearless_simd::{Simd, SimdBase, dispatch};

use super::Family;
use super::profile::{Divergence, Linear, Norm, Profile, Standard, StandardLaw};
use crate::Result;
use crate::noise::grid;
use crate::noise::law::{Draw, Group, Law, ROW, Stream};
use crate::noise::real::{Bits, Real};
use crate::numeric::elementary::ln_plus;
use crate::stream::level::Level;
use crate::stream::{BLOCKS, Blocks, GROUP, Key, Region, block};

/// Density ∝ exp(−‖z‖∞/σ).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Exponential {
    sigma: f64,
}

impl Family for Exponential {
    const NAME: &str = "exponential";
    const PARAMETER: &str = "sigma";
    const JOINT: bool = true;

    fn new(sigma: f64) -> Self {
        Self { sigma }
    }

    fn parameter(self) -> f64 {
        self.sigma
    }

    fn law<'a, R: Real>(self, stream: &Stream<'a>) -> impl Law<R> + use<'a, R> {
        Cube { radii: Radii::new(stream.level, stream.key, stream.first, stream.dim, self.sigma) }
    }

    fn grid_law(self, grid: u32, dim: u64) -> Result<grid::Law> {
        grid::Law::cube(Self::PARAMETER, self.sigma, grid, dim)
    }

    /// A Gamma variable passes this with probability e^−100.
    fn reach(dim: usize) -> f64 {
        dim as f64 + 20.0 * (dim as f64).sqrt() + 200.0
    }

    fn profile(self, _norm: Norm, _dim: f64, grid: Option<u32>) -> Profile {
        let scale = self.sigma;
        let cost = grid.map_or(0.0, |grid| grid_cost(scale, f64::from(grid)));
        Profile {
            mr: Some(Box::new(Divergence { scale, linear: Some(1.0), square: 1.0 })),
            pure: Some(Box::new(Linear { scale })),
            tradeoff: Some(Box::new(StandardLaw { law: Standard::Laplace, scale, cost, settles: grid.is_none() })),
            ..Profile::default()
        }
    }

    fn unit_linf(dim: f64) -> f64 {
        dim
    }
}

/// 2σ ln cosh(1/2gσ), rounded up.
fn grid_cost(sigma: f64, grid: f64) -> f64 {
    let half_step = 0.5 / (grid * sigma);
    // ln cosh x = ½ ln(1 + sinh² x) is below x, which takes over where sinh overflows.
    let sinh = libm::sinh(half_step);
    2.0 * sigma * (0.5 * libm::log1p(sinh * sinh)).min(half_step) * (1.0 + 16.0 * f64::EPSILON)
}

/// Uniform in a cube whose half-width is the draw's own.
struct Cube<'a> {
    /// The half-widths.
    radii: Radii<'a>,
}

impl<R: Real> Law<R> for Cube<'_> {
    #[inline(always)]
    fn group<S: Simd>(
        &mut self,
        simd: S,
        group: &Group<'_, S, R::Bits>,
        bits: &mut [R::Bits; GROUP],
        values: &mut [R; GROUP],
    ) {
        let radius = R::from_f64(self.radii.of(group.draw.number));
        R::uniform_group(simd, group.source, group.index, radius, bits, values);
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
        let radii = self.radii.starting_at(draw.number).map(R::from_f64);
        for (bits, values) in bits.iter().zip(values) {
            for lane in 0..BLOCKS {
                values[lane] = R::uniform(bits[lane], radii[lane]);
            }
        }
    }
}

/// The half-widths R ~ Gamma(`dim` + 1, `sigma`) of the draws' cubes, in double precision.
///
/// Marsaglia and Tsang's method (ACM Trans. Math. Softw. 26, 2000), which needs a shape of at least 1. Attempt t reads
/// eight words of region [`Region::Radius`]: words 8(t mod 2) … of block t/2, of which two make the length and two the angle
/// of a normal number, two the uniform number of the acceptance test, and two are unused; of each two, the high word first.
struct Radii<'a> {
    key: &'a Key,
    level: Level,
    shape: f64,
    spread: f64,
    sigma: f64,
    /// The first of the draws in `known`.
    first: u64,
    known: [f64; BLOCKS],
}

impl<'a> Radii<'a> {
    /// Of draws of `dim` coordinates, asked for from draw `first` on.
    pub fn new(level: Level, key: &'a Key, first: u64, dim: usize, sigma: f64) -> Self {
        let shape = (dim as f64 + 1.0) - 1.0 / 3.0;
        let spread = 1.0 / (9.0 * shape).sqrt();
        let mut radii = Self { key, level, shape, spread, sigma, first, known: [0.0; BLOCKS] };
        radii.refill();
        radii
    }

    /// The half-width of draw `draw`.
    pub fn of(&mut self, draw: u64) -> f64 {
        let known = draw.wrapping_sub(self.first);
        if known < BLOCKS as u64 { self.known[known as usize] } else { self.starting_at(draw)[0] }
    }

    /// The half-widths of draw `draw` and those after it.
    pub fn starting_at(&mut self, draw: u64) -> &[f64; BLOCKS] {
        if draw != self.first {
            self.first = draw;
            self.refill();
        }
        &self.known
    }

    fn refill(&mut self) {
        let accepted = dispatch!(self.level.0, simd => self.first_attempts(simd));
        for lane in (0..BLOCKS).filter(|lane| !accepted[*lane]) {
            self.known[lane] = self.all_attempts(self.first.wrapping_add(lane as u64));
        }
    }

    /// The first attempt of every draw. Nearly all succeed.
    #[inline(always)]
    fn first_attempts<S: Simd>(&mut self, simd: S) -> [bool; BLOCKS] {
        let mut words = [[0; BLOCKS]; 16];
        for lane in (0..BLOCKS).step_by(S::u32s::LEN) {
            let first = self.first.wrapping_add(lane as u64);
            let blocks = Blocks::<S::u32s>::of_draws(simd, self.key, first, Region::Radius);
            let vectors = blocks.words(S::u32s::splat(simd, 0));
            for (words, vector) in words.iter_mut().zip(vectors) {
                vector.store_slice(&mut words[lane..][..S::u32s::LEN]);
            }
        }
        let mut accepted = [false; BLOCKS];
        for lane in 0..BLOCKS {
            let bits = |at: usize| u64::from(words[at][lane]) << 32 | u64::from(words[at + 1][lane]);
            (self.known[lane], accepted[lane]) = self.attempt(bits(0), bits(2), bits(4));
        }
        accepted
    }

    fn all_attempts(&self, draw: u64) -> f64 {
        for number in 0.. {
            let words = block(self.key, draw, Region::Radius, number);
            for attempt in words.as_chunks::<8>().0 {
                let bits = |at: usize| u64::from(attempt[at]) << 32 | u64::from(attempt[at + 1]);
                if let (radius, true) = self.attempt(bits(0), bits(2), bits(4)) {
                    return radius;
                }
            }
        }
        unreachable!("an attempt fails with probability below 0.05, and there are 2^33 of them")
    }

    #[inline(always)]
    fn attempt(&self, length: u64, angle: u64, test: u64) -> (f64, bool) {
        let normal = f64::polar(angle, f64::rayleigh(length, 1.0)).0;
        let root = 1.0 + self.spread * normal;
        let cube = root * root * root;
        let bound = 0.5 * normal * normal + self.shape * (1.0 - cube + ln_plus(cube, 0.0));
        // Where the root is not positive the logarithm means nothing, and the attempt fails.
        (self.shape * cube * self.sigma, (root > 0.0) & (-f64::minus_ln(test) < bound))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loss_of_crossing_one_half_is_rounded_up() {
        // From mpmath: 2σ ln cosh(1/(2σg)).
        for (sigma, grid, exact) in
            [(0.01, 255, 3.820_288_913_793_951e-4), (1.0 / 16.0, 1, 0.913_356_616_4), (1.0, 65536, 5.820_766e-11)]
        {
            let loss = grid_cost(sigma, f64::from(grid));
            assert!(loss >= exact * (1.0 - 1e-12) && loss < exact * (1.0 + 1e-6), "{loss:e}");
        }
    }
}
