//! The bound of pure differential privacy, for mechanisms with D_∞ ≤ ε(r) in both directions.
//!
//! Within distance r every event's probability changes by a factor in [e^−ε, e^ε], and so does its complement's. The top
//! class therefore keeps at least max(1 − e^ε(1 − p1), e^−ε p1) and any other gets at most min(e^ε p2, 1 − e^−ε(1 − p2)).
//! Setting each of the four pairs equal gives the four values of ε of which [`epsilon`] is the largest; with p2 = 1 − p1 it
//! is ln(1/(2(1 − p1))) of Teng et al. 2020 and Yang et al. 2020 or better.

use libm::log1p;

use super::{Bound, Pairs};
use crate::Result;
use crate::mechanisms::profile::Profile;
use crate::numeric::elementary::ln_ratio;

/// The bound as the registry lists it.
pub(super) const BOUND: Bound = Bound {
    name: "pure-dp",
    label: "pure DP",
    part: "epsilon",
    holds: |profile| profile.pure.is_some(),
    settles: |_| false,
    beaten: |_| false,
    fill,
};

/// Above the rounding of every formula here and in the modules beside this one: libm's functions err by less than
/// 1 ulp, and at most six roundings precede them.
const MARGIN: f64 = 16.0 * (f64::EPSILON / 2.0);

fn fill(profile: &Profile, pairs: &Pairs<'_>, radius: &mut [f64], _order: &mut [f64]) -> Result<()> {
    if let Some(part) = &profile.pure {
        pairs.within(part.as_ref(), epsilon, radius)?;
    }
    Ok(())
}

/// The largest ε at which the top class stays on top, rounded down, for valid `p1` > `p2`.
///
/// ∞ where p2 = 0 or p1 = 1: a factor e^ε leaves an impossible event impossible.
fn epsilon(p1: f64, p2: f64) -> f64 {
    if p2 == 0.0 || p1 == 1.0 {
        return f64::INFINITY;
    }
    let gap = p1 - p2;
    let miss = 1.0 - p1;
    let flip = if gap > 0.5 { -libm::log(miss + p2) } else { -log1p(-gap) };
    let up = 0.5 * log1p(gap / miss);
    let drift = log1p(gap);
    (1.0 - MARGIN) * flip.max(half_log_ratio(p1, p2)).max(up).max(drift)
}

/// ½ ln(p1/p2), rounded down, for `p1` > `p2`; ∞ where p2 = 0.
pub(super) fn half_log_ratio(p1: f64, p2: f64) -> f64 {
    if p2 == 0.0 { f64::INFINITY } else { (1.0 - MARGIN) * 0.5 * ln_ratio(p1, p2) }
}
