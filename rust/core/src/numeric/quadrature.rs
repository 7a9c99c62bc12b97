//! Integrals of smooth functions.

use std::f64::consts::PI;

/// Points of Gauss and Legendre's rule.
const POINTS: usize = 64;

/// The integral of `f` from `start` to `end`, by Gauss and Legendre's rule of 64 points on each of `panels` equal parts.
pub fn integral(start: f64, end: f64, panels: u32, f: impl Fn(f64) -> f64) -> f64 {
    let half = 0.5 * (end - start) / f64::from(panels);
    let rule: Vec<(f64, f64)> = (0..POINTS).map(node).collect();
    (0..panels)
        .map(|panel| {
            let middle = start + half * f64::from(2 * panel + 1);
            rule.iter().map(|(x, weight)| weight * f(middle + half * x)).sum::<f64>() * half
        })
        .sum()
}

/// Node `i` and its weight, by Newton's method on the Legendre polynomial.
fn node(i: usize) -> (f64, f64) {
    let n = POINTS as f64;
    let mut x = libm::cos(PI * (i as f64 + 0.75) / (n + 0.5));
    let mut slope = 1.0;
    // Five steps are enough from here; convergence is quadratic.
    for _ in 0..8 {
        let (mut before, mut value) = (1.0, x);
        for k in 2..=POINTS {
            let k = k as f64;
            (before, value) = (value, ((2.0 * k - 1.0) * x * value - (k - 1.0) * before) / k);
        }
        slope = n * (x * value - before) / (x * x - 1.0);
        x -= value / slope;
    }
    (x, 2.0 / ((1.0 - x * x) * slope * slope))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn smooth_functions_are_integrated_to_the_last_digits() {
        assert!((integral(0.0, 1.0, 1, |x| x.powi(100)) - 1.0 / 101.0).abs() < 1e-16);
        assert!((integral(-3.0, 5.0, 4, f64::exp) / (5f64.exp() - (-3f64).exp()) - 1.0).abs() < 1e-14);
    }
}
