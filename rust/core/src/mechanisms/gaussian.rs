//! The Gaussian mechanism: independent N(0, σ²) coordinates.
//!
//! **Law.** Two coordinates at a time by Box and Muller's transform: coordinates 32k + l and 32k + 16 + l of a group,
//! 0 ≤ l < 16, are a pair; the bits of the first give the length, those of the second the angle; the first is the cosine,
//! the second the sine.
//!
//! **Profile.** In ℓ2, with s = r/σ: D_MR = s²/2 (Zheng et al., Theorem 4.1), the trade-off curve is that of the normal
//! law at distance s, and [`Lemma1`] is the (ε, δ) curve of Lecuyer et al. Since ‖δ‖₂ ≤ ‖δ‖₁ all of it holds in ℓ1, and as
//! ‖δ‖₂ ≤ √d‖δ‖∞ it holds in ℓ∞ with √d s (Theorem 5.3).

use super::Family;
use super::profile::{Approximate, Divergence, MARGIN, Norm, Profile, Standard, StandardLaw};
use crate::Result;
use crate::noise::grid;
use crate::noise::law::{Law, ROW, Stream, Tailed, WithTail};
use crate::noise::real::Real;
use crate::numeric::quadrature;
use crate::numeric::quantile::normal;
use crate::stream::BLOCKS;

/// Independent N(0, σ²) coordinates.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Gaussian {
    sigma: f64,
}

impl Family for Gaussian {
    const NAME: &str = "gaussian";
    const PARAMETER: &str = "sigma";

    fn new(sigma: f64) -> Self {
        Self { sigma }
    }

    fn parameter(self) -> f64 {
        self.sigma
    }

    fn law<'a, R: Real>(self, _stream: &Stream<'a>) -> impl Law<R> + use<'a, R> {
        WithTail(Normal { sigma: R::not_below(self.sigma) })
    }

    fn grid_law(self, grid: u32, _dim: u64) -> Result<grid::Law> {
        grid::Law::independent(Self::PARAMETER, self.sigma, grid, grid::thresholds::gaussian, |tail| {
            -normal(0.5 * tail)
        })
    }

    /// Lengths stop at √(2·65 ln 2).
    fn reach(_dim: usize) -> f64 {
        10.0
    }

    fn profile(self, norm: Norm, dim: f64, _grid: Option<u32>) -> Profile {
        let square = norm.pick(1.0, 1.0, dim);
        let scale = self.sigma / square.sqrt();
        Profile {
            mr: Some(Box::new(Divergence { scale: self.sigma, linear: None, square })),
            approximate: Some(Box::new(Lemma1 { scale })),
            tradeoff: Some(Box::new(StandardLaw { law: Standard::Normal, scale, cost: 0.0, settles: true })),
            ..Profile::default()
        }
    }

    /// ∫₀^∞ 1 − (2Φ(t) − 1)^d dt. The integrand falls from 1 to 0 around √(2 ln d), within some 1/√(ln d), and is below
    /// 1e-17 beyond the end taken here.
    fn unit_linf(dim: f64) -> f64 {
        let end = (2.0 * libm::log(dim)).sqrt() + 9.0;
        quadrature::integral(0.0, end, 32, |t| match libm::erfc(t / std::f64::consts::SQRT_2) {
            1.0 => 1.0,
            tail => -libm::expm1(dim * libm::log1p(-tail)),
        })
    }
}

/// The Gaussian mechanism is (ε, δ)-private within the ℓ2 radius σε/√(2 ln(1.25/δ)), for ε ≤ 1 (Lecuyer et al. 2019,
/// Lemma 1, after Dwork and Roth 2014).
struct Lemma1 {
    /// σ, in the norm of the shift.
    scale: f64,
}

impl Approximate for Lemma1 {
    fn at(&self, r: &[f64], epsilon: &[f64], delta: &mut [f64]) -> Result<()> {
        for ((delta, r), epsilon) in delta.iter_mut().zip(r).zip(epsilon) {
            let ratio = self.scale * epsilon / r;
            let claimed = 1.25 * libm::exp(-0.5 * ratio * ratio);
            *delta = if *r == 0.0 {
                0.0
            } else if *epsilon <= self.highest() {
                claimed.min(1.0)
            } else {
                1.0
            };
        }
        Ok(())
    }

    fn highest(&self) -> f64 {
        1.0
    }

    fn within(&self, epsilon: &[f64], delta: &[f64], r: &mut [f64]) -> Result<()> {
        for ((r, epsilon), delta) in r.iter_mut().zip(epsilon).zip(delta) {
            *r = if *delta > 0.0 { epsilon / (2.0 * libm::log(1.25 / delta)).sqrt() } else { 0.0 };
        }
        Ok(())
    }

    fn unit(&self) -> f64 {
        self.scale * (1.0 - MARGIN)
    }
}

/// Independent normal coordinates of standard deviation `sigma`.
struct Normal {
    sigma: f64,
}

impl<R: Real> Tailed<R> for Normal {
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
