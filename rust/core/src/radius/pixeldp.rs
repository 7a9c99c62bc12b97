//! The bounds of Lecuyer et al. 2019 (PixelDP): (ε, δ)-differential privacy with one composition too many, kept as the
//! baseline that the later bounds are compared with.
//!
//! Proposition 1: the vote stands if p1 > e^2ε p2 + (1 + e^ε)δ. The Gaussian mechanism is (ε, δ)-DP within the ℓ2 radius
//! σε/√(2 ln(1.25/δ)) for ε ≤ 1 (Lemma 1); a mechanism with D_∞ ≤ r/scale is (ε, 0)-DP within scale·ε, so that
//! ε = ½ ln(p1/p2), which is [`half_log_ratio`](super::pure_dp::half_log_ratio).

use super::pure_dp::half_log_ratio;

/// The Gaussian mechanism's radius over σ: the best over (ε, δ), rounded down, for valid `p1` > `p2`.
///
/// For each ε the largest δ that Proposition 1 allows is taken; the maximum over ε is found by golden section. Every ε
/// gives a valid radius, so the search decides only how tight the result is.
pub fn gaussian(p1: f64, p2: f64) -> f64 {
    const STEPS: usize = 50;
    let radius = |epsilon: f64| {
        let delta = ((p1 - p2) - p2 * libm::expm1(2.0 * epsilon)) / (1.0 + libm::exp(epsilon));
        if delta > 0.0 { epsilon / (2.0 * libm::log(1.25 / delta)).sqrt() } else { 0.0 }
    };
    let cut = 0.5 * (5.0_f64.sqrt() - 1.0);
    let (mut low, mut high) = (0.0, half_log_ratio(p1, p2).min(1.0));
    let (mut left, mut right) = (high - cut * (high - low), low + cut * (high - low));
    let (mut at_left, mut at_right) = (radius(left), radius(right));
    for _ in 0..STEPS {
        if at_left < at_right {
            (low, left, at_left) = (left, right, at_right);
            right = low + cut * (high - low);
            at_right = radius(right);
        } else {
            (high, right, at_right) = (right, left, at_left);
            left = high - cut * (high - low);
            at_left = radius(left);
        }
    }
    // ε = 1 is allowed, and often best, but no interior point of the search.
    at_left.max(at_right).max(if high == 1.0 { radius(1.0) } else { 0.0 }) * (1.0 - 1e-13)
}
