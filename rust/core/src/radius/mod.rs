//! Radii: how far x may move before the classes' probabilities can change places.
//!
//! Every bound takes p1, a lower bound on the top class's probability, and p2, an upper bound on every other's, and gives
//! a radius R such that no δ with ‖δ‖ ≤ R changes the vote. All results are rounded down.

mod neyman_pearson;
mod pixeldp;
mod pure_dp;
mod renyi;

pub(crate) use neyman_pearson::quantile;
pub use renyi::{Sup, sup, sup_many};

use std::num::NonZeroUsize;

use crate::stream::level::Level;
use crate::{Error, Mechanism, Result, threads};

/// Rows handed to a thread at a time.
pub(crate) const BLOCK: usize = 1024;

/// The roundings of scale, square roots and conversion: fewer than 8.
const MARGIN: f64 = 8.0 * (f64::EPSILON / 2.0);

/// The norm in which a perturbation is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Norm {
    /// The sum of the coordinates' sizes.
    L1,
    /// The Euclidean norm.
    L2,
    /// The largest coordinate's size.
    LInf,
}

/// How p1 and p2 become a radius.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// The maximal relative Rényi divergence (Zheng et al., Theorem 3.2).
    Renyi,
    /// The Neyman–Pearson lemma (Cohen et al. 2019).
    NeymanPearson,
    /// Pure differential privacy.
    PureDp,
    /// PixelDP (Lecuyer et al. 2019).
    PixelDp,
}

/// A mechanism, a norm and a bound that holds for them.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    kind: Kind,
    level: Level,
    /// What the radius for scale 1 in the mechanism's own norm is multiplied by.
    factor: f64,
    /// The same for the radius √(2S) that the quadratic part of D_MR gives.
    quadratic: f64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    /// D_MR ≤ r²/2, so r = √(2S) (Theorem 4.1).
    GaussianRenyi,
    /// D_MR ≤ min(r, r²/2), so r = max(S, √(2S)) (Theorem 5.1).
    PureRenyi,
    NeymanPearson,
    PureDp,
    GaussianPixelDp,
    PurePixelDp,
}

impl Rule {
    /// The rule for `mechanism` in `norm` on inputs of `dim` coordinates under `bound`.
    ///
    /// A bound gives a radius in the mechanism's own norm: ℓ2 for Gaussian, ℓ∞ for Exponential, ℓ1 for Laplace. Since
    /// ‖δ‖∞ ≤ ‖δ‖₂ ≤ ‖δ‖₁, it is a radius in every norm further right as it stands; and ‖δ‖₂ ≤ √d ‖δ‖∞,
    /// ‖δ‖₁ ≤ √d ‖δ‖₂ and ‖δ‖₁ ≤ d ‖δ‖∞ carry it to the left.
    ///
    /// The Rényi bound does better for Laplace. A shift of one coordinate by δ is pure differential privacy with ε = |δ|/b,
    /// hence D_α ≤ α ε²/2 (Bun & Steinke 2016, Proposition 3.3), and over independent coordinates divergences add up:
    /// D_MR ≤ ‖δ‖₂²/2b², as for the Gaussian mechanism.
    pub fn new(mechanism: Mechanism, norm: Norm, dim: u64, bound: Bound) -> Result<Self> {
        if dim == 0 {
            return Err(Error::Argument { name: "dim", allowed: "an integer of at least 1".into(), value: "0".into() });
        }
        let refuse = |name: &str, allowed: &str, value: &str| {
            Err(Error::Argument {
                name: "bound",
                allowed: format!("{allowed} for the {name} mechanism"),
                value: format!("\"{value}\""),
            })
        };
        let pure = |name| match bound {
            Bound::Renyi => Ok(Kind::PureRenyi),
            Bound::PureDp => Ok(Kind::PureDp),
            Bound::PixelDp => Ok(Kind::PurePixelDp),
            Bound::NeymanPearson => refuse(name, "\"renyi\", \"pure-dp\" or \"pixeldp\"", "neyman-pearson"),
        };
        let dim = dim as f64;
        let (kind, scale, shrink, quadratic_shrink) = match mechanism {
            Mechanism::Gaussian { sigma } => {
                let kind = match bound {
                    Bound::Renyi => Kind::GaussianRenyi,
                    Bound::NeymanPearson => Kind::NeymanPearson,
                    Bound::PixelDp => Kind::GaussianPixelDp,
                    Bound::PureDp => refuse("gaussian", "\"renyi\", \"neyman-pearson\" or \"pixeldp\"", "pure-dp")?,
                };
                let shrink = if norm == Norm::LInf { dim.sqrt() } else { 1.0 };
                (kind, sigma, shrink, shrink)
            }
            Mechanism::Exponential { sigma } => (pure("exponential")?, sigma, 1.0, 1.0),
            Mechanism::Laplace { scale } => {
                let (shrink, quadratic_shrink) = match norm {
                    Norm::L1 => (1.0, 1.0),
                    Norm::L2 => (dim.sqrt(), 1.0),
                    Norm::LInf => (dim, dim.sqrt()),
                };
                (pure("laplace")?, scale, shrink, quadratic_shrink)
            }
        };
        let [factor, quadratic] = [shrink, quadratic_shrink].map(|shrink| scale / shrink * (1.0 - MARGIN));
        Ok(Self { kind, level: Level::in_use()?, factor, quadratic })
    }

    /// The radius at which D_MR reaches `sup`.
    fn of_sup(&self, sup: f64) -> f64 {
        let quadratic = self.quadratic * (2.0 * sup).sqrt();
        if self.kind == Kind::PureRenyi { quadratic.max(self.factor * sup) } else { quadratic }
    }

    /// The instruction set that the radii are computed with.
    pub(crate) fn level(&self) -> Level {
        self.level
    }

    /// The radius and order of every pair that [`check`] accepts, in parallel; 0 where p1 ≤ p2, and a NaN order where the
    /// bound has none. `order` may be left out.
    pub fn radius_many(
        &self,
        p1: &[f64],
        p2: &[f64],
        radius: &mut [f64],
        order: Option<&mut [f64]>,
        threads: Option<NonZeroUsize>,
    ) -> Result<()> {
        map_pairs(p1, p2, radius, order, threads, |p1, p2, radius, order| self.fill(p1, p2, radius, order))
    }

    /// [`Rule::radius_many`] for a block of valid pairs.
    pub(crate) fn fill(&self, p1: &[f64], p2: &[f64], radius: &mut [f64], order: &mut [f64]) {
        let each = |unit: fn(f64, f64) -> f64, radius: &mut [f64], order: &mut [f64]| {
            for ((radius, order), (&p1, &p2)) in radius.iter_mut().zip(order).zip(p1.iter().zip(p2)) {
                *radius = if p1 > p2 { self.factor * unit(p1, p2) } else { 0.0 };
                *order = f64::NAN;
            }
        };
        match self.kind {
            Kind::GaussianRenyi | Kind::PureRenyi => {
                renyi::fill(self.level, p1, p2, radius, order);
                for radius in radius {
                    *radius = self.of_sup(*radius);
                }
            }
            Kind::NeymanPearson => each(neyman_pearson::half_difference, radius, order),
            Kind::PureDp => each(pure_dp::epsilon, radius, order),
            Kind::GaussianPixelDp => each(pixeldp::gaussian, radius, order),
            Kind::PurePixelDp => each(pure_dp::half_log_ratio, radius, order),
        }
    }
}

/// Refuses a pair of which p1 or p2 is no probability, or whose sum is above 1.
///
/// The sum may exceed 1 by 2⁻⁵², which is what rounding p2 = 1 − p1 can do. Each bound remains sound there: it gives no
/// more than for the pair (p1, 1 − p1).
#[inline]
pub fn check(p1: f64, p2: f64, index: usize) -> Result<()> {
    let unit = 0.0..=1.0;
    if unit.contains(&p1) && unit.contains(&p2) && p1 + p2 <= 1.0 + f64::EPSILON {
        Ok(())
    } else {
        Err(refusal(p1, p2, index))
    }
}

#[cold]
fn refusal(p1: f64, p2: f64, index: usize) -> Error {
    let unit = 0.0..=1.0;
    let (name, allowed, value) = if !unit.contains(&p1) {
        ("p1", "a probability from 0 to 1".into(), p1)
    } else if !unit.contains(&p2) {
        ("p2", "a probability from 0 to 1".into(), p2)
    } else {
        ("p2", format!("at most 1 - p1, and p1 is {p1} there"), p2)
    };
    Error::Element { name, index: index.to_string(), allowed, value: value.to_string() }
}

/// Applies `fill` to blocks of valid pairs; the first invalid pair is the error, and the outputs are then unspecified.
fn map_pairs(
    p1: &[f64],
    p2: &[f64],
    first: &mut [f64],
    second: Option<&mut [f64]>,
    threads: Option<NonZeroUsize>,
    fill: impl Fn(&[f64], &[f64], &mut [f64], &mut [f64]) + Sync,
) -> Result<()> {
    let seconds = second.as_ref().map_or(p1.len(), |second| second.len());
    for length in [p2.len(), first.len(), seconds] {
        if length != p1.len() {
            let allowed = format!("as long as p1, {}", p1.len());
            return Err(Error::Argument { name: "p2 and every output", allowed, value: length.to_string() });
        }
    }
    let block = |start: usize, first: &mut [f64], second: &mut [f64]| {
        let range = start..start + first.len();
        let (p1, p2) = (&p1[range.clone()], &p2[range]);
        for (i, (&p1, &p2)) in p1.iter().zip(p2).enumerate() {
            check(p1, p2, start + i)?;
        }
        fill(p1, p2, first, second);
        Ok(())
    };
    let firsts = first.chunks_mut(BLOCK).enumerate();
    match second {
        Some(second) => threads::for_each(threads, firsts.zip(second.chunks_mut(BLOCK)), |((i, first), second)| {
            block(i * BLOCK, first, second)
        }),
        None => threads::for_each(threads, firsts, |(i, first)| {
            let length = first.len();
            block(i * BLOCK, first, &mut [0.0; BLOCK][..length])
        }),
    }
}
