//! Confidence bounds on a class's probability that hold after every draw at once: a mixture of bets, rounded
//! outward.
//!
//! # Theorem
//! Draws are independent and fall into the class with probability p; k_n of the first n did. Then, for [`anytime`]
//! at α,
//! - P(p ≥ lower(k_n, n) for every n ≥ 1) ≥ 1 − α,
//! - P(p ≤ upper(k_n, n) for every n ≥ 1) ≥ 1 − α, where upper(k, n) = 1 − lower(n − k, n).
//!
//! Each is one-sided. What holds for every n at once holds at whatever n one stops, for whatever reason: no rule
//! about when to look or to stop is part of the claim.
//!
//! *Bets.* Against "the probability is m" a gambler bets that the odds are s = e^λ times as high, λ > 0: a draw in
//! the class multiplies his wealth by s/(1 + (s − 1)m), any other by 1/(1 + (s − 1)m). He begins with 1 and has
//! g_λ(k, n, m) = s^k/(1 + (s − 1)m)ⁿ after n draws. If the probability is p, a draw multiplies that by (1 + (s −
//! 1)p)/(1 + (s − 1)m) in the mean: by 1 where p = m, by less where p < m.
//!
//! *Mixture.* W(k, n, m) = Σ w_j g_λⱼ(k, n, m), with constant weights whose sum is at most 1. W(k_n, n, p) is a
//! nonnegative supermartingale that begins with no more than 1, so that it ever reaches 1/α with probability at
//! most α (Ville 1939).
//!
//! *Bound.* Each g_λ decreases in m and increases in k, hence so does W, and {m : W(k, n, m) < 1/α} is an interval
//! (L, 1], or [0, 1], and then L = 0. While W(k_n, n, p) < 1/α, p is in it. L increases in k and in α. The second
//! claim is the first for the draws outside the class. ∎
//!
//! Grid and weights are constants: chosen with the data or with n, none of this would follow. The test of a single
//! m is W itself: [`crossed`] says that W(k, n, m) ≥ 1/α, whence p > m.
//! # Rounding
//! [`wealth`] is never above the true one. A bound is returned only where it was found to reach ln 1/α, so that neither
//! the iteration's convergence nor anything else about it matters to soundness. ln W is convex in m, hence Newton's
//! method arrives from the safe side; it ends where less than 2⁻⁴² of m or 1 − m is to be gained, or 2⁻⁴⁴ of wealth.
//! With fewer than ln 1/α votes W can be all but constant in m and the latter be more than 10⁻¹² of m.

use super::Side;
use super::wealth::{Form, SURE, UNIT, ln_wealth, wealth};

/// The bound after `n` draws of which `k` fell into the class, `k` ≤ `n`, 0 < `n` ≤ [`MAX_DRAWS`](super::MAX_DRAWS) and
/// 0 < `alpha` < 1.
pub fn anytime(k: u64, n: u64, alpha: f64, side: Side) -> f64 {
    let (hits, misses) = (k as f64, (n - k) as f64);
    let wanted = ln_inverse(alpha);
    match side {
        Side::Lower => solve(hits, misses, wanted).map_or(0.0, Root::p_down),
        Side::Upper => solve(misses, hits, wanted).map_or(1.0, Root::y_up),
    }
}

/// Whether W(k, n, m) ≥ 1/α, which at any time implies p > `m` at failure probability `alpha`.
pub fn crossed(k: u64, n: u64, m: f64, alpha: f64) -> bool {
    ln_wealth(k, n, m) >= ln_inverse(alpha)
}

/// The p, as large as can be found, at which the logarithm of the wealth reaches `wanted`.
fn solve(hits: f64, misses: f64, wanted: f64) -> Option<Root> {
    if hits == 0.0 {
        return None;
    }
    let (p, y) = guess(hits, misses, wanted);
    // Beyond ¾ a complement says too little of p, and its logarithm loses digits.
    let by_complement = |y| search(Form::of_complement(hits, misses), y, 0.75, wanted).map(Root::Complement);
    if y < 0.5
        && let Some(found) = by_complement(y)
    {
        return Some(found);
    }
    let p = search(Form::of_p(hits, misses), p, 1.0, wanted)?;
    // Nor does p say much of a small complement.
    let found = if p > 0.5 { by_complement(1.0 - p) } else { None };
    Some(found.unwrap_or(Root::Probability(p)))
}

/// Newton's method for where the wealth reaches `wanted`, from `start`, up to `highest`; `None` if it leads nowhere.
fn search(form: Form, start: f64, highest: f64, wanted: f64) -> Option<f64> {
    /// Reached only for an α below 1e-300.
    const STEPS: usize = 60;
    /// How much too far outward a step goes, relatively, and how much too much wealth it aims at: more than
    /// the noise of the evaluation.
    const NUDGE: f64 = 1.0 / (1_u64 << 45) as f64;
    const MORE: f64 = 64.0 * UNIT;
    /// What may be left to be gained.
    const CLOSE: f64 = 8.0 * NUDGE;
    let mut at = start;
    let mut safe = None;
    for _ in 0..STEPS {
        if !(at > f64::MIN_POSITIVE && at < highest) {
            break;
        }
        let (wealth, slope) = wealth(form, at);
        let step = (wanted + MORE - wealth) / slope;
        if wealth >= wanted {
            safe = Some(at);
            if step.abs() <= CLOSE * at || wealth <= wanted + 8.0 * MORE {
                break;
            }
        }
        let next = (at + step) * (1.0 + form.outward * NUDGE);
        at = if next > 0.0 { next } else { at / 16.0 };
    }
    safe
}

/// A bound at which the wealth was found to suffice: p, or 1 − p where that is less.
#[derive(Clone, Copy)]
enum Root {
    Probability(f64),
    Complement(f64),
}

impl Root {
    fn p_down(self) -> f64 {
        match self {
            Self::Probability(p) => p,
            Self::Complement(y) => one_minus_down(y),
        }
    }

    fn y_up(self) -> f64 {
        match self {
            Self::Probability(p) => one_minus_up(p),
            Self::Complement(y) => y,
        }
    }
}

/// 1 − x for 0 < x < 1, rounded down.
fn one_minus_down(x: f64) -> f64 {
    let rounded = 1.0 - x;
    // What was lost is exact: `rounded` is at least ½, or x is and nothing was.
    if 1.0 - rounded < x { rounded.next_down() } else { rounded }
}

/// 1 − x for 0 < x < 1, rounded up.
fn one_minus_up(x: f64) -> f64 {
    let rounded = 1.0 - x;
    if 1.0 - rounded > x { rounded.next_up() } else { rounded }
}

/// ln 1/α, rounded up.
fn ln_inverse(alpha: f64) -> f64 {
    (-libm::log(alpha) * (1.0 + 4.0 * UNIT)).next_up()
}

/// A first p and 1 − p, from the one bet that would have done best and what the mixture costs beside it.
fn guess(hits: f64, misses: f64, wanted: f64) -> (f64, f64) {
    let n = hits + misses;
    if misses == 0.0 {
        let ln_p = -(wanted - libm::log(SURE)) / n;
        return (libm::exp(ln_p), -libm::expm1(ln_p));
    }
    // n KL(k/n, p) is to be that much: where it is a parabola (Wilson's interval) ...
    let mut surprise = wanted + 2.0;
    let root = (2.0 * surprise * (hits / n * misses + 0.5 * surprise)).sqrt();
    let mut y = (misses + surprise + root) / (n + 2.0 * surprise);
    let mut p = hits / (hits + surprise + root) * (hits / n);
    if hits < surprise {
        // ... or where k ln(k/np) − k + np is.
        let mean = hits * libm::exp(-1.0 - surprise / hits);
        p = hits / n * libm::exp(-1.0 - (surprise - mean) / hits);
        y = 1.0 - p;
    }
    // Two steps of Newton's method, where the divergence has enough digits left.
    if n < 1e12 {
        for _ in 0..2 {
            let lambda = libm::log(hits / p * (y / misses));
            let octaves = 2.0 * libm::log2(lambda.max(1e-9)) + 2.0;
            surprise = wanted + libm::log((9.0 + octaves * octaves) / 5.0).max(0.0);
            let divergence = hits * libm::log(hits / (n * p)) + misses * libm::log(misses / (n * y));
            let step = (surprise - divergence) / (misses / y - hits / p);
            let (next_p, next_y) = (p - step, y + step);
            if !(next_p > 0.0 && next_y > 0.0) {
                break;
            }
            (p, y) = (next_p, next_y);
        }
    }
    (p, y)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::confidence::MAX_DRAWS;
    use crate::confidence::wealth::tests::{count, draws, share};

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(10_000))]

        #[test]
        fn bounds_increase_with_count_and_alpha(n in draws(), share in share(), log in -12.0..-0.01f64) {
            let (k, alpha) = (count(share, n), libm::exp10(log));
            for side in [Side::Lower, Side::Upper] {
                prop_assert!(anytime(k, n, alpha, side) <= anytime(k + 1, n, alpha, side));
            }
            let lower = anytime(k, n, alpha, Side::Lower);
            prop_assert!(anytime(k, n, alpha / 2.0, Side::Lower) <= lower);
            prop_assert!(lower <= k as f64 / n as f64);
            prop_assert!(anytime(k, n, alpha, Side::Upper) >= k as f64 / n as f64);
        }

        #[test]
        fn wealth_reaches_its_mark_at_the_bound_alone(n in draws(), share in share(), log in -12.0..-0.01f64) {
            // With fewer votes wealth can be all but constant in p.
            let (k, alpha) = ((count(share, n) + 1).max(n.min(12)), libm::exp10(log));
            let lower = anytime(k, n, alpha, Side::Lower);
            // A p close to 1 is no float, but its complement is.
            let y = anytime(n - k, n, alpha, Side::Upper);
            let (hits, misses) = (k as f64, (n - k) as f64);
            let (form, at, further) = if lower < 0.5 {
                (Form::of_p(hits, misses), lower, lower * (1.0 + 1e-11))
            } else {
                (Form::of_complement(hits, misses), y, y * (1.0 - 1e-11))
            };
            prop_assert!(wealth(form, at).0 >= ln_inverse(alpha));
            prop_assert!(wealth(form, further).0 < ln_inverse(alpha));
        }
    }

    #[test]
    fn nothing_is_claimed_of_a_class_without_votes() {
        for n in [1, 1000, MAX_DRAWS] {
            assert_eq!(anytime(0, n, 0.5, Side::Lower), 0.0);
            assert_eq!(anytime(n, n, 0.5, Side::Upper), 1.0);
        }
    }

    #[test]
    fn the_smallest_alphas_give_bounds() {
        for k in [1, 2, 1000] {
            for alpha in [f64::MIN_POSITIVE, 5e-324, 1.0 - UNIT] {
                let lower = anytime(k, 1000, alpha, Side::Lower);
                assert!((0.0..k as f64 / 1000.0).contains(&lower), "{lower}");
            }
        }
    }
}
