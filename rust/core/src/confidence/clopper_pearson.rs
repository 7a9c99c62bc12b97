//! Confidence bounds on a class's probability from its count: Clopper–Pearson, exact and rounded outward.
//!
//! Of n draws k fell into the class. The lower bound at failure probability α is the p with P(X ≥ k) = α for
//! X ~ Binomial(n, p), the upper bound the p with P(X ≤ k) = α; either misses the truth with probability at most α
//! (Clopper & Pearson 1934).
//!
//! # How it is solved
//! P(X ≥ k) is the incomplete beta function I_x(a, b) with a = k, b = n − k + 1, and every case is brought to
//! I_x(a, b) = τ ≤ ½ by swapping x with y = 1 − x. The unknown is δ = logit x − logit m, m = a/(a + b), from which x, y
//! and the deviations x/m − 1 and y/(1 − m) − 1 follow without cancellation. I_x is the product of
//! x^a y^b/B(a, b) = √(ab/2π(a + b))·exp(−f − Δ(a) − Δ(b) + Δ(a + b)), where f is the deviance and Δ Stirling's remainder
//! (the saddle-point form of Loader 2000: no ln Γ, nothing that grows with n), and the continued fraction of
//! DiDonato & Morris 1992 (equation 9), all of whose terms are positive here. As a function of δ, ln I is concave (the
//! logit of a beta variable has a log-concave density) with slope H = 1/fraction and curvature H(a − (a + b)x − H), so
//! Halley's iteration needs nothing more. The fraction converges in about (13/z)² steps or √n, whichever is smaller,
//! where z is τ's normal quantile.
//!
//! # Rounding
//! An error e in ln I moves the root by e/H. The terms of e are counted in [`solve`] along with the computation, each
//! with a constant above what its operations can lose, and the result is moved outward by that much.

use super::Side;
use crate::numeric::quantile::normal;

/// Half the distance from 1 to the next float: the largest relative error of one operation.
const UNIT: f64 = f64::EPSILON / 2.0;

/// The Clopper–Pearson bound for `k` of `n` draws, `k` ≤ `n`, 0 < `n` ≤ [`MAX_DRAWS`](super::MAX_DRAWS) and
/// 0 < `alpha` < 1.
pub fn clopper_pearson(k: u64, n: u64, alpha: f64, side: Side) -> f64 {
    let (hits, misses) = (k as f64, (n - k) as f64);
    match side {
        Side::Lower if k == 0 => 0.0,
        Side::Upper if k == n => 1.0,
        Side::Lower if alpha <= 0.5 => solve(hits, misses + 1.0, alpha).x_down(),
        Side::Lower => solve(misses + 1.0, hits, 1.0 - alpha).y_down(),
        Side::Upper if alpha <= 0.5 => solve(misses, hits + 1.0, alpha).y_up(),
        Side::Upper => solve(hits + 1.0, misses, 1.0 - alpha).x_up(),
    }
}

/// Where I_x(a, b) = τ: x, y = 1 − x, and by how much the logit may be wrong.
struct Root {
    x: f64,
    y: f64,
    slack: f64,
}

impl Root {
    /// The mapping from the logit to x and y: fewer than 8 roundings.
    const MAPPING: f64 = 8.0 * UNIT;

    fn x_down(&self) -> f64 {
        (self.x * (1.0 - self.y * self.slack - Self::MAPPING)).max(0.0)
    }

    fn x_up(&self) -> f64 {
        (self.x * (1.0 + self.y * self.slack + Self::MAPPING)).min(1.0)
    }

    fn y_down(&self) -> f64 {
        Self { x: self.y, y: self.x, slack: self.slack }.x_down()
    }

    fn y_up(&self) -> f64 {
        Self { x: self.y, y: self.x, slack: self.slack }.x_up()
    }
}

/// Solves I_x(a, b) = `tail` for integers `a`, `b` ≥ 1 and 0 < `tail` ≤ ½.
fn solve(a: f64, b: f64, tail: f64) -> Root {
    /// Never reached: ten steps are the most that the tests have seen.
    const STEPS: usize = 100;
    let ln_tail = libm::log(tail);
    if b == 1.0 {
        // I_x(a, 1) = x^a.
        let ln_x = ln_tail / a;
        let slack = 4.0 * UNIT * ln_x / libm::expm1(ln_x);
        return Root { x: libm::exp(ln_x), y: -libm::expm1(ln_x), slack };
    }
    let (mean, co_mean) = (a / (a + b), b / (a + b));
    let ln_peak = 0.5 * libm::log(a * co_mean / (2.0 * std::f64::consts::PI))
        - (stirling_remainder(a) + stirling_remainder(b) - stirling_remainder(a + b));
    // x = m + 1/2(a + b) is above the median, and the fraction's terms are positive up to x = m + 1/(a + b).
    let highest = libm::log1p(0.5 / (a * (co_mean - 0.5 / (a + b))));
    let mut delta = guess(a, b, tail).min(highest);
    for _ in 0..STEPS {
        let (power, grown) = (libm::exp(delta), libm::expm1(delta));
        let ratio = 1.0 / (co_mean + mean * power);
        let (x_shift, y_shift) = (co_mean * grown * ratio, -mean * grown * ratio);
        let (x, y) = (mean * power * ratio, co_mean * ratio);
        let ln_ratio = if y_shift < 1.0 { libm::log1p(y_shift) } else { libm::log(ratio) };
        let (x_part, x_error) = minus_ln(x_shift, delta + ln_ratio, delta.abs() + ln_ratio.abs());
        let (y_part, y_error) = minus_ln(y_shift, ln_ratio, ln_ratio.abs());
        let deviance = a * x_part + b * y_part;
        let pull = -a * x_shift;
        let (hazard, terms) = reciprocal_fraction(a, b, x, y, pull);
        let residual = (ln_peak - deviance - libm::log(hazard)) - ln_tail;
        let newton = -residual / hazard;
        // 1 − g·g″/2g′², kept away from 0, where Newton's own step is the better one.
        let bend = (1.0 + 0.5 * newton * (pull - hazard)).max(0.5);
        let step = newton / bend;
        delta = (delta + step).min(highest);
        if (step * hazard).abs() < 1e-5 {
            // The iteration converges cubically: what is left is below 1e-15.
            let terms_error = a * x_error + b * y_error + 4.0 * terms;
            let error = 64.0 + 2.0 * (ln_peak.abs() + ln_tail.abs()) + terms_error;
            let power = libm::exp(delta);
            let ratio = 1.0 / (co_mean + mean * power);
            let slack = UNIT * (error / hazard + 4.0 * delta.abs());
            return Root { x: mean * power * ratio, y: co_mean * ratio, slack };
        }
    }
    // The trivial bounds are sound.
    Root { x: 0.5, y: 0.5, slack: 2.0 }
}

/// A first δ (Abramowitz & Stegun 26.5.22).
fn guess(a: f64, b: f64, tail: f64) -> f64 {
    let z = -normal(tail);
    let (u, v) = (1.0 / (2.0 * a - 1.0), 1.0 / (2.0 * b - 1.0));
    let h = 2.0 / (u + v);
    let lambda = (z * z - 3.0) / 6.0;
    let w = z * (h + lambda).sqrt() / h - (v - u) * (lambda + 5.0 / 6.0 - 2.0 / (3.0 * h));
    -2.0 * w
}

/// H = x^a y^b/(B(a, b) I_x(a, b)) by the continued fraction, and the number of its terms that were used.
///
/// `pull` is a − (a + b)x, above −1. Evaluated by Lentz's method; every term is positive, so that each step's
/// rounding stays its own and the relative error is below 4 units a term.
fn reciprocal_fraction(a: f64, b: f64, x: f64, y: f64, pull: f64) -> (f64, f64) {
    let mut value = a / (a + 1.0) * (pull + 1.0);
    let mut c = value;
    let mut d = 0.0;
    let mut n = 1.0;
    // The fraction ends by itself at n = b.
    while n < b {
        let inverse = 1.0 / (a + 2.0 * n - 1.0);
        let scaled = n * (b - n) * x * inverse;
        let numerator = (a + n - 1.0) * (a + b + n - 1.0) * inverse * x * scaled;
        let denominator = n + scaled + (a + n) / (a + 2.0 * n + 1.0) * (pull + 1.0 + n * (1.0 + y));
        c = denominator + numerator / c;
        d = 1.0 / (denominator + numerator * d);
        let change = c * d;
        value *= change;
        if (change - 1.0).abs() <= 2.0 * UNIT {
            break;
        }
        n += 1.0;
    }
    (value, n)
}

/// t − ln(1 + t), where `ln` is ln(1 + t), computed from terms of size `ln_size`; and a bound on its error in units.
fn minus_ln(t: f64, ln: f64, ln_size: f64) -> (f64, f64) {
    if t.abs() >= 0.4 {
        return (t - ln, 4.0 * (t.abs() + ln_size));
    }
    // With s = t/(2 + t) it is s·t − 2(s³/3 + s⁵/5 + …), from which nothing cancels.
    let s = t / (2.0 + t);
    let square = s * s;
    // s² ≤ 1/16, so what is cut off is below 2⁻⁵⁷ of the first term.
    let series = (0..14).rev().fold(0.0, |sum, i| sum * square + 1.0 / f64::from(2 * i + 3));
    let value = s * t - 2.0 * s * square * series;
    (value, 8.0 * value)
}

/// Δ(a) = ln Γ(a) − (a − ½) ln a + a − ½ ln 2π for an integer `a` ≥ 1.
fn stirling_remainder(a: f64) -> f64 {
    const SMALL: [f64; 15] = [
        0.08106146679532726,
        0.0413406959554093,
        0.02767792568499834,
        0.020790672103765093,
        0.016644691189821193,
        0.013876128823070748,
        0.01189670994589177,
        0.010411265261972096,
        0.009255462182712733,
        0.00833056343336287,
        0.007573675487951841,
        0.00694284010720953,
        0.006408994188004207,
        0.0059513701127588475,
        0.005554733551962801,
    ];
    if a < 16.0 {
        return SMALL[a as usize - 1];
    }
    let r = 1.0 / (a * a);
    let series = 1.0 / 12.0
        - r * (1.0 / 360.0 - r * (1.0 / 1260.0 - r * (1.0 / 1680.0 - r * (1.0 / 1188.0 - r * (691.0 / 360_360.0)))));
    series / a
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::confidence::MAX_DRAWS;

    /// P(X ≥ k), summed from the most likely count outwards, where nothing underflows.
    fn tail(k: u64, n: u64, p: f64) -> f64 {
        let mode = ((n + 1) as f64 * p).min(n as f64) as u64;
        let odds = p / (1.0 - p);
        let mut mass = vec![0.0; n as usize + 1];
        mass[mode as usize] = 1.0;
        for j in mode..n {
            mass[j as usize + 1] = mass[j as usize] * (n - j) as f64 / (j + 1) as f64 * odds;
        }
        for j in (0..mode).rev() {
            mass[j as usize] = mass[j as usize + 1] * (j + 1) as f64 / (n - j) as f64 / odds;
        }
        mass[k as usize..].iter().sum::<f64>() / mass.iter().sum::<f64>()
    }

    proptest! {
        #[test]
        fn the_bound_solves_the_tail_equation(n in 1..200u64, share in 0.0..1.0f64, alpha in 0.001..0.999f64) {
            let k = 1 + (share * (n - 1) as f64) as u64;
            let lower = clopper_pearson(k, n, alpha, Side::Lower);
            prop_assert!((tail(k, n, lower) - alpha).abs() < 1e-9);
            let upper = clopper_pearson(n - k, n, alpha, Side::Upper);
            prop_assert!((lower + upper - 1.0).abs() < 1e-13);
        }

        #[test]
        fn bounds_increase_with_the_count_and_decrease_with_confidence(n in 2..=MAX_DRAWS, share in 0.0..1.0f64, log in -12.0..-0.31f64) {
            let k = ((share * n as f64) as u64).min(n - 1);
            let alpha = libm::exp10(log);
            for side in [Side::Lower, Side::Upper] {
                prop_assert!(clopper_pearson(k, n, alpha, side) <= clopper_pearson(k + 1, n, alpha, side));
            }
            prop_assert!(clopper_pearson(k, n, alpha / 2.0, Side::Lower) <= clopper_pearson(k, n, alpha, Side::Lower));
            prop_assert!(clopper_pearson(k, n, alpha, Side::Lower) <= k as f64 / n as f64);
            prop_assert!(clopper_pearson(k, n, alpha, Side::Upper) >= k as f64 / n as f64);
        }
    }
}
