//! The hockey-stick bound (Dvijotham et al. 2020), information-limited: all that it uses of p1 and p2 is their difference.
//!
//! Let P be the law of the noisy input and Q that after the shift, and let q1, q2 be the top class's and another class's
//! probabilities under Q. The hockey-stick divergence H_γ(Q ‖ P) = ∫(q − γp)₊ is at least Q(φ) − γP(φ) for every test
//! φ: classes → [0, 1]. The test that is 0 on the top class, 1 on the other and ½ on the rest has P(φ) ≤ ½(1 − p1 + p2) and
//! Q(φ) = ½(1 − q1 + q2), which is at least ½ if the vote flips. So it does not flip where, for some γ > 0,
//!
//! ```text
//! H_γ < ½[1 − γ(1 − p1 + p2)].
//! ```
//!
//! For γ ≤ 1, where H_γ ≥ 1 − γ whatever the shift, ε_γ = H_γ − (1 − γ) turns this into ε_γ < ½[γ(1 + p1 − p2) − 1]. These
//! are the two forms in which the bound is usually written.
//!
//! **The best γ.** The largest probability that a test of level a can reach is B_r(a) = inf over γ of γa + H_γ. So some γ
//! does it exactly where B_r(½(1 − p1 + p2)) < ½, and the radius is the Neyman–Pearson radius of the pair
//! ½(1 + p1 − p2), ½(1 − p1 + p2): there is no search. For the normal law it is σΦ⁻¹(½(1 + p1 − p2)).
//!
//! **Against Neyman–Pearson**, which asks for B_r(1 − p1) + B_r(p2) < 1. A trade-off curve is concave, so that B_r at the
//! mean of 1 − p1 and p2 is at least the mean of the two: this bound is never above that one. They are equal where
//! p2 = 1 − p1, and where the curve is a straight line between, as uniform noise's is.

use super::{Bound, Pairs};
use crate::Result;
use crate::mechanisms::profile::Profile;

/// The bound as the registry lists it.
pub(super) const BOUND: Bound = Bound {
    name: "hockey-stick",
    label: "hockey-stick",
    part: "tradeoff",
    holds: |profile| profile.tradeoff.is_some(),
    settles: |_| false,
    beaten: |profile| profile.tradeoff.as_ref().is_some_and(|curve| curve.is_concave()),
    fill,
};

fn fill(profile: &Profile, pairs: &Pairs<'_>, radius: &mut [f64], _order: &mut [f64]) -> Result<()> {
    if let Some(curve) = &profile.tradeoff {
        let (p1, p2): (Vec<f64>, Vec<f64>) = pairs.each().map(|(p1, p2)| binary(p1, p2)).unzip();
        curve.within(&p1, &p2, radius)?;
    }
    Ok(())
}

/// The pair ½(1 + p1 − p2), ½(1 − p1 + p2), the first rounded down and the second up.
///
/// With p2 = 1 − p1, to within rounding, it is the pair itself.
fn binary(p1: f64, p2: f64) -> (f64, f64) {
    if p2 >= 1.0 - p1 {
        return (p1, p2);
    }
    // 1 − p1 is exact from ½ on, and rounded up below. Two roundings, of p1 − p2 and of the sum; halving has none.
    let miss = if p1 < 0.5 { (1.0 - p1).next_up() } else { 1.0 - p1 };
    let other = (0.5 * (miss + p2)).next_up();
    let top = (0.5 * (1.0 + (p1 - p2).next_down())).next_down();
    (top, other)
}
