//! The Neyman–Pearson bound: the radius that the whole trade-off curve certifies.
//!
//! Let B_r(p) be the most that the probability of an event can become under a shift of size r if it was p: one minus the
//! least error of the second kind of a test at level p. After the shift the top class has at least 1 − B_r(1 − p1) and any
//! other at most B_r(p2), so the vote stands where B_r(1 − p1) + B_r(p2) < 1.
//!
//! For the normal law B_r(p) = Φ(Φ⁻¹(p) + r/σ), which gives r = σ/2·(Φ⁻¹(p1) − Φ⁻¹(p2)) (Cohen et al. 2019, Theorem 1).
//! For a density whose logarithm is 1/σ-Lipschitz in the norm of the shift, B_r(p) ≤ F(F⁻¹(p) + r/σ) with F the
//! standard Laplace law's distribution function, which gives r = σ/2·(ψ(p1) − ψ(p2)), ψ = F⁻¹: docs/radii.md proves it, and
//! that it is attained by the Exponential mechanism in ℓ∞ and the Laplace mechanism in ℓ1.

use super::{Bound, Pairs};
use crate::Result;
use crate::mechanisms::profile::Profile;

/// The bound as the registry lists it.
pub(super) const BOUND: Bound = Bound {
    name: "neyman-pearson",
    label: "Neyman–Pearson",
    part: "tradeoff",
    holds: |profile| profile.tradeoff.is_some(),
    settles: |profile| profile.tradeoff.as_ref().is_some_and(|curve| curve.settles()),
    beaten: |_| false,
    fill,
};

fn fill(profile: &Profile, pairs: &Pairs<'_>, radius: &mut [f64], _order: &mut [f64]) -> Result<()> {
    if let Some(curve) = &profile.tradeoff {
        curve.within(pairs.p1, pairs.p2, radius)?;
    }
    Ok(())
}
