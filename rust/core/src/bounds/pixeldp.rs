//! The bound of Lecuyer et al. 2019 (PixelDP): (ε, δ)-differential privacy with one composition too many, kept as the
//! baseline that the later bounds are compared with.
//!
//! Proposition 1: the vote stands if p1 > e^2ε p2 + (1 + e^ε)δ, where the mechanism is (ε, δ)-private within the radius.
//! With δ = 0, where it is ε(r)-private, that is ε = ½ ln(p1/p2).

use super::pure_dp::half_log_ratio;
use super::{Bound, Pairs};
use crate::Result;
use crate::mechanisms::profile::{Approximate, Profile};

/// The bound as the registry lists it.
pub(super) const BOUND: Bound = Bound {
    name: "pixeldp",
    label: "PixelDP",
    part: "epsilon or delta",
    holds: |profile| profile.pure.is_some() || profile.approximate.is_some(),
    settles: |_| false,
    beaten: |_| false,
    fill,
};

/// Steps of the golden section over ε.
const STEPS: usize = 50;

fn fill(profile: &Profile, pairs: &Pairs<'_>, radius: &mut [f64], _order: &mut [f64]) -> Result<()> {
    if let Some(part) = &profile.pure {
        pairs.within(part.as_ref(), half_log_ratio, radius)?;
    }
    let Some(curve) = &profile.approximate else { return Ok(()) };
    let mut best = vec![0.0; radius.len()];
    best_over_epsilon(curve.as_ref(), pairs, &mut best)?;
    for ((radius, best), (p1, p2)) in radius.iter_mut().zip(best).zip(pairs.each()) {
        if p1 > p2 {
            *radius = radius.max(curve.unit() * (best * (1.0 - 1e-13)));
        }
    }
    Ok(())
}

/// The best radius over (ε, δ) in the curve's unit: for each ε the largest δ that Proposition 1 allows is taken, and the
/// maximum over ε is found by golden section. Every ε gives a valid radius, so the search decides only how tight it is.
fn best_over_epsilon(curve: &dyn Approximate, pairs: &Pairs<'_>, best: &mut [f64]) -> Result<()> {
    let rows = best.len();
    let at = |epsilon: &[f64], radius: &mut [f64]| {
        let delta: Vec<f64> = pairs
            .each()
            .zip(epsilon)
            .map(|((p1, p2), &epsilon)| ((p1 - p2) - p2 * libm::expm1(2.0 * epsilon)) / (1.0 + libm::exp(epsilon)))
            .collect();
        curve.within(epsilon, &delta, radius)
    };
    let cut = 0.5 * (5.0_f64.sqrt() - 1.0);
    let mut low = vec![0.0; rows];
    let mut high: Vec<f64> =
        pairs.each().map(|(p1, p2)| if p1 > p2 { half_log_ratio(p1, p2).min(curve.highest()) } else { 0.0 }).collect();
    let lower = |low: f64, high: f64| high - cut * (high - low);
    let upper = |low: f64, high: f64| low + cut * (high - low);
    let mut left: Vec<f64> = low.iter().zip(&high).map(|(&low, &high)| lower(low, high)).collect();
    let mut right: Vec<f64> = low.iter().zip(&high).map(|(&low, &high)| upper(low, high)).collect();
    let (mut at_left, mut at_right) = (vec![0.0; rows], vec![0.0; rows]);
    at(&left, &mut at_left)?;
    at(&right, &mut at_right)?;
    let (mut next, mut at_next) = (vec![0.0; rows], vec![0.0; rows]);
    for _ in 0..STEPS {
        for i in 0..rows {
            if at_left[i] < at_right[i] {
                (low[i], left[i]) = (left[i], right[i]);
                next[i] = upper(low[i], high[i]);
            } else {
                (high[i], right[i]) = (right[i], left[i]);
                next[i] = lower(low[i], high[i]);
            }
        }
        at(&next, &mut at_next)?;
        for i in 0..rows {
            // The point that was kept lies on the other side of the new one.
            if at_left[i] < at_right[i] {
                (right[i], at_left[i], at_right[i]) = (next[i], at_right[i], at_next[i]);
            } else {
                (left[i], at_right[i], at_left[i]) = (next[i], at_left[i], at_next[i]);
            }
        }
    }
    // The highest ε is allowed, and often best, but no interior point of the search.
    next.copy_from_slice(&high);
    at(&next, &mut at_next)?;
    for i in 0..rows {
        let edge = if high[i] == curve.highest() { at_next[i] } else { 0.0 };
        best[i] = at_left[i].max(at_right[i]).max(edge);
    }
    Ok(())
}
