//! What is known of a mechanism, in the form that bounds use: how far a shift of the input moves probabilities.

use crate::numeric::quantile::{half_laplace, half_normal};
use crate::{Error, Result};

/// The roundings of scale, square roots and conversion: fewer than 8.
pub(crate) const MARGIN: f64 = 8.0 * (f64::EPSILON / 2.0);

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

impl Norm {
    /// The norm of order `p`.
    pub fn of(p: f64) -> Result<Self> {
        match p {
            1.0 => Ok(Self::L1),
            2.0 => Ok(Self::L2),
            f64::INFINITY => Ok(Self::LInf),
            _ => Err(Error::argument("norm", "1, 2 or math.inf", p)),
        }
    }

    /// The value that belongs to this norm.
    pub(crate) fn pick<T>(self, one: T, two: T, infinity: T) -> T {
        match self {
            Self::L1 => one,
            Self::L2 => two,
            Self::LInf => infinity,
        }
    }
}

/// How a mechanism's law moves under shifts of one norm in one dimension. Each part holds for every shift of size at most
/// r, is optional, and grows with r.
#[derive(Default)]
pub struct Profile {
    /// D_MR(r), the maximal relative Rényi divergence: the supremum over α > 1 of D_α/α, in both directions.
    pub mr: Option<Box<dyn Part>>,
    /// ε(r) of pure differential privacy: probabilities change by factors within [e^−ε, e^ε].
    pub pure: Option<Box<dyn Part>>,
    /// δ(r, ε) of approximate differential privacy.
    pub approximate: Option<Box<dyn Approximate>>,
    /// The trade-off curve.
    pub tradeoff: Option<Box<dyn Tradeoff>>,
}

impl std::fmt::Debug for Profile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let parts = [
            ("mr", self.mr.is_some()),
            ("epsilon", self.pure.is_some()),
            ("delta", self.approximate.is_some()),
            ("tradeoff", self.tradeoff.is_some()),
        ];
        f.debug_set().entries(parts.iter().filter(|part| part.1).map(|part| part.0)).finish()
    }
}

/// A number that grows with the size of the shift.
pub trait Part: Send + Sync {
    /// Its value at each r.
    fn at(&self, r: &[f64], value: &mut [f64]) -> Result<()>;

    /// The largest r at which it is at most the budget, rounded down, for every budget of at least 0.
    fn within(&self, budget: &[f64], r: &mut [f64]) -> Result<()>;
}

/// The δ for which a mechanism is (ε, δ)-private within distance r.
pub trait Approximate: Send + Sync {
    /// δ at each r and ε.
    fn at(&self, r: &[f64], epsilon: &[f64], delta: &mut [f64]) -> Result<()>;

    /// The largest ε of which it says anything.
    fn highest(&self) -> f64;

    /// The largest r over [`Approximate::unit`] at which δ(r, ε) is at most `delta`, rounded down; 0 where `delta` ≤ 0.
    fn within(&self, epsilon: &[f64], delta: &[f64], r: &mut [f64]) -> Result<()>;

    /// What the radii that `within` gives are to be multiplied by, rounded down.
    fn unit(&self) -> f64;
}

/// B_r(p): the most that the probability p of an event can become under a shift of size r.
pub trait Tradeoff: Send + Sync {
    /// B_r(p) at each r and p.
    fn at(&self, r: &[f64], p: &[f64], most: &mut [f64]) -> Result<()>;

    /// The largest r with B_r(1 − p1) + B_r(p2) ≤ 1, rounded down, for valid pairs; 0 where p1 ≤ p2.
    fn within(&self, p1: &[f64], p2: &[f64], r: &mut [f64]) -> Result<()>;

    /// Whether no other part of the profile can certify more.
    fn settles(&self) -> bool;

    /// Whether it is known to be concave in p, as that of a pair of laws is.
    fn is_concave(&self) -> bool;
}

/// min(`linear`·s, `square`·s²/2) with s = r/`scale`.
pub(crate) struct Divergence {
    pub scale: f64,
    /// None: no such term.
    pub linear: Option<f64>,
    pub square: f64,
}

impl Part for Divergence {
    fn at(&self, r: &[f64], value: &mut [f64]) -> Result<()> {
        for (value, r) in value.iter_mut().zip(r) {
            let shift = r / self.scale;
            let quadratic = self.square * (shift * shift) / 2.0;
            *value = self.linear.map_or(quadratic, |linear| quadratic.min(linear * shift));
        }
        Ok(())
    }

    fn within(&self, budget: &[f64], r: &mut [f64]) -> Result<()> {
        let quadratic = self.scale / self.square.sqrt() * (1.0 - MARGIN);
        let factor = self.linear.map(|linear| self.scale / linear * (1.0 - MARGIN));
        for (r, budget) in r.iter_mut().zip(budget) {
            let root = quadratic * (2.0 * budget).sqrt();
            *r = factor.map_or(root, |factor| root.max(factor * budget));
        }
        Ok(())
    }
}

/// r/`scale`.
pub(crate) struct Linear {
    pub scale: f64,
}

impl Part for Linear {
    fn at(&self, r: &[f64], value: &mut [f64]) -> Result<()> {
        for (value, r) in value.iter_mut().zip(r) {
            *value = r / self.scale;
        }
        Ok(())
    }

    fn within(&self, budget: &[f64], r: &mut [f64]) -> Result<()> {
        let factor = self.scale * (1.0 - MARGIN);
        for (r, budget) in r.iter_mut().zip(budget) {
            *r = factor * budget;
        }
        Ok(())
    }
}

/// A law whose shifts have a known trade-off curve: B_r(p) = F(F⁻¹(p) + r/scale).
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Standard {
    Normal,
    Laplace,
}

impl Standard {
    /// F(F⁻¹(p) + shift).
    fn moved(self, p: f64, shift: f64) -> f64 {
        match self {
            Self::Normal => 0.5 * libm::erfc(-(crate::numeric::quantile::normal(p) + shift) / std::f64::consts::SQRT_2),
            // In the lower half p grows by the factor e^shift, in the upper half 1 − p shrinks by it.
            Self::Laplace => {
                let grown = p * libm::exp(shift);
                if p >= 0.5 {
                    1.0 - (1.0 - p) * libm::exp(-shift)
                } else if grown <= 0.5 {
                    grown
                } else {
                    1.0 - 0.25 * libm::exp(-shift) / p
                }
            }
        }
    }
}

/// The trade-off curve of a standard law.
pub(crate) struct StandardLaw {
    pub law: Standard,
    /// Its scale, in the norm of the shift.
    pub scale: f64,
    /// By how much every shift counts longer than it is.
    pub cost: f64,
    pub settles: bool,
}

impl Tradeoff for StandardLaw {
    fn at(&self, r: &[f64], p: &[f64], most: &mut [f64]) -> Result<()> {
        for ((most, r), p) in most.iter_mut().zip(r).zip(p) {
            *most = self.law.moved(*p, (r + self.cost) / self.scale);
        }
        Ok(())
    }

    fn within(&self, p1: &[f64], p2: &[f64], r: &mut [f64]) -> Result<()> {
        let factor = self.scale * (1.0 - MARGIN);
        let half_difference = match self.law {
            Standard::Normal => half_normal,
            Standard::Laplace => half_laplace,
        };
        for ((r, &p1), &p2) in r.iter_mut().zip(p1).zip(p2) {
            *r = if p1 > p2 { factor * half_difference(p1, p2) } else { 0.0 };
            if self.cost > 0.0 {
                *r = (*r - self.cost).max(0.0) * (1.0 - MARGIN);
            }
        }
        Ok(())
    }

    fn settles(&self) -> bool {
        self.settles
    }

    fn is_concave(&self) -> bool {
        true
    }
}
