//! The Rényi bound: S(p1, p2) = sup over α > 1 of −ln(1 − p1 − p2 + 2 M_{1−α}(p1, p2))/α.
//!
//! M_s is the power mean of exponent s. A mechanism whose draws under x and x + δ are at maximal relative Rényi
//! divergence D_MR < S(p1, p2), where the top class has probability at least p1 and every other at most p2, cannot
//! change its vote between x and x + δ (Li et al. 2019; Zheng et al., Theorem 3.2).
//!
//! # The maximiser
//! With u = α − 1, y = ½ ln(p1/p2), A = (p1 + p2)/2 and M = A·e^L,
//! L(u) = −ln cosh y − ln cosh(uy)/u, the objective is h(u) = −ln(1 − 2(A − M))/(1 + u). Its derivative has the sign of
//!
//! F(u) = (1 + u)·W·T + ln(1 − 2(A − M)),  T = −L' = (uy·tanh(uy) − ln cosh(uy))/u²,  W = 2M/(1 − 2(A − M)) ≤ 1,
//!
//! and F' = (1 + u)·W·(T' − (1 − W)T²). T' ≤ 0, because z ↦ 2z tanh z − 2 ln cosh z − z² sech² z vanishes at 0 and has
//! the derivative 2z² sech² z tanh z ≥ 0. So F decreases, h has exactly one maximum on u ≥ 0, and it is at u = 0 when
//! F(0) ≤ 0. That it lies in [0, ½] is checked, on the grid of `tests/data/make_renyi_sup.py`, not proven; every order
//! certifies, so a maximum elsewhere would cost tightness and never soundness.
//!
//! # Rounding
//! 2(A − M) = −2A·expm1(L), and the two terms of L have the same sign: nothing cancels. Where 2(A − M) > ½ the
//! logarithm's argument is taken as the sum (1 − p1 − p2) + 2M of nonnegative terms, the first of which is exact but
//! for one rounding as p1 > ½ there. Following the roundings through these steps gives a relative error of h(u), for
//! the order that is used, of some 40·2⁻⁵³ at worst (6.3·2⁻⁵³ is the largest seen, in 18,000 pairs spread over the
//! domain), and the result is lowered by [`MARGIN`], twice that. The error of u enters h squared.

use std::num::NonZeroUsize;

use fearless_simd::{Simd, dispatch};

use super::{Bound, Pairs};
use crate::Result;
use crate::mechanisms::profile::Profile;
use crate::numeric::elementary::{exp_and_exp_m1, ln_1p, ln_plus, ln_ratio};
use crate::stream::level::Level;

/// The bound as the registry lists it.
pub(super) const BOUND: Bound = Bound {
    name: "renyi",
    label: "Rényi",
    part: "mr",
    holds: |profile| profile.mr.is_some(),
    settles: |_| false,
    beaten: |_| false,
    fill: fill_radii,
};

/// By how much the result is lowered, relatively: 80·2⁻⁵³.
const MARGIN: f64 = 80.0 * (f64::EPSILON / 2.0);

/// From here on ln cosh y is y − ln 2 to the last bit.
const LARGE: f64 = 20.0;

/// The orders looked at are 1 + u for u from 0 to this.
const HIGHEST: f64 = 0.5;

/// A Newton step below this over 1 + y² is the last: convergence is quadratic with a constant that grows with y, and
/// the error that is left, squared again in the value, is below 10⁻¹⁴ of it.
const CLOSE: f64 = 1e-4;

/// Steps taken at most; the tests have seen 10 needed, and 3 is usual.
const STEPS: usize = 24;

/// Rows that are worked on together: a few vectors of any width.
const LANES: usize = 16;

/// A pair this small is scaled up by 2^800, where S is homogeneous, to keep clear of the subnormal numbers.
const TINY: f64 = 1e-270;
const SCALE: f64 = 6.668_014_432_879_854e240;

/// The supremum and where it is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sup {
    /// A value not above S(p1, p2), and below it by less than 10⁻¹³ of it.
    pub value: f64,
    /// The order α at which `value` is attained; 1 stands for the limit α → 1. NaN where `value` is 0 because p1 ≤ p2.
    pub order: f64,
}

/// S(p1, p2), rounded down, for `p1` and `p2` in [0, 1] with p1 + p2 ≤ 1 + 2⁻⁵².
///
/// 0 where p1 ≤ p2; ∞ where p1 = 1 and p2 = 0.
pub fn sup(p1: f64, p2: f64) -> Sup {
    let (mut value, mut order) = ([0.0], [0.0]);
    blocks(&[p1], &[p2], &mut value, &mut order);
    Sup { value: value[0], order: order[0] }
}

/// The radius at which D_MR reaches S, and S's order.
fn fill_radii(profile: &Profile, pairs: &Pairs<'_>, radius: &mut [f64], order: &mut [f64]) -> Result<()> {
    let mut sups = vec![0.0; radius.len()];
    fill(pairs.level, pairs.p1, pairs.p2, &mut sups, order);
    if let Some(part) = &profile.mr {
        part.within(&sups, radius)?;
    }
    Ok(())
}

/// [`sup`] of a block of valid pairs, by the instruction set `level`, which makes no difference to the result.
fn fill(level: Level, p1: &[f64], p2: &[f64], value: &mut [f64], order: &mut [f64]) {
    dispatch!(level.0, simd => simd.vectorize(
        #[inline(always)]
        || blocks(p1, p2, value, order)
    ));
}

#[inline(always)]
fn blocks(p1: &[f64], p2: &[f64], value: &mut [f64], order: &mut [f64]) {
    for (((p1, p2), value), order) in
        p1.chunks(LANES).zip(p2.chunks(LANES)).zip(value.chunks_mut(LANES)).zip(order.chunks_mut(LANES))
    {
        let (mut full1, mut full2) = ([0.0; LANES], [0.0; LANES]);
        full1[..p1.len()].copy_from_slice(p1);
        full2[..p2.len()].copy_from_slice(p2);
        let (mut values, mut orders) = ([0.0; LANES], [0.0; LANES]);
        lanes(&full1, &full2, &mut values, &mut orders);
        value.copy_from_slice(&values[..value.len()]);
        order.copy_from_slice(&orders[..order.len()]);
    }
}

/// [`sup`] of so many pairs that every loop is vector code.
#[inline(always)]
fn lanes(p1: &[f64; LANES], p2: &[f64; LANES], value: &mut [f64; LANES], order: &mut [f64; LANES]) {
    let zero = [0.0; LANES];
    let (mut sum, mut rest, mut y, mut ln_cosh_y) = (zero, zero, zero, zero);
    let (mut u, mut low, mut high) = (zero, zero, zero);
    for i in 0..LANES {
        let point;
        (point, u[i], low[i], high[i]) = Point::new(p1[i], p2[i]);
        Point { sum: sum[i], rest: rest[i], y: y[i], ln_cosh_y: ln_cosh_y[i] } = point;
    }
    let point = |i: usize| Point { sum: sum[i], rest: rest[i], y: y[i], ln_cosh_y: ln_cosh_y[i] };
    for _ in 0..STEPS {
        let mut far = 0;
        for i in 0..LANES {
            let (next, l, h) = point(i).step(u[i], low[i], high[i]);
            let close = (next - u[i]).abs() * (1.0 + y[i] * y[i]) <= CLOSE;
            far |= u64::from(!close);
            // A row that has arrived stays, so that no result depends on the rows beside it.
            (u[i], low[i], high[i]) = (next, if close { next } else { l }, if close { next } else { h });
        }
        if far == 0 {
            break;
        }
    }
    for i in 0..LANES {
        (value[i], order[i]) = point(i).result(u[i], p1[i], p2[i]);
    }
    if p2.contains(&0.0) {
        for i in 0..LANES {
            if p2[i] == 0.0 && p1[i] > 0.0 {
                // The supremum is the limit at order 1, −ln(1 − p1).
                (value[i], order[i]) = (-libm::log1p(-p1[i]) * (1.0 - MARGIN), 1.0);
            }
        }
    }
}

/// [`sup`] of every pair, in parallel; `order` may be left out.
pub fn sup_many(
    p1: &[f64],
    p2: &[f64],
    value: &mut [f64],
    order: Option<&mut [f64]>,
    threads: Option<NonZeroUsize>,
) -> Result<()> {
    let level = Level::in_use()?;
    super::map_pairs(p1, p2, value, order, threads, |p1, p2, value, order| {
        fill(level, p1, p2, value, order);
        Ok(())
    })
}

/// What the objective needs to know of p1 > p2 > 0.
#[derive(Clone, Copy, Default)]
struct Point {
    /// p1 + p2.
    sum: f64,
    /// 1 − p1 − p2, not below 0.
    rest: f64,
    /// y = ½ ln(p1/p2).
    y: f64,
    /// ln cosh y.
    ln_cosh_y: f64,
}

impl Point {
    #[inline(always)]
    fn new(p1: f64, p2: f64) -> (Self, f64, f64, f64) {
        // Any other pair goes through the arithmetic in the guise of this one, and its result is replaced.
        let regular = p1 > p2 && p2 > 0.0;
        let scale = if p1 < TINY { SCALE } else { 1.0 };
        let p1 = if regular { p1 * scale } else { 0.75 };
        let p2 = if regular { p2 * scale } else { 0.25 };
        let y = 0.5 * ln_ratio(p1, p2);
        // e^2y − 1 is (p1 − p2)/p2.
        let ln_cosh_y = if y < LARGE { ln_cosh((p1 - p2) / p2) } else { y - std::f64::consts::LN_2 };
        let point = Self { sum: p1 + p2, rest: ((1.0 - p1) - p2).max(0.0), y, ln_cosh_y };
        let (u, low, high) = point.start(p1, p2);
        (point, u, low, high)
    }

    /// Where to start, and the interval that holds the maximiser: [0, 0] where F(0) ≤ 0, which is known in closed form,
    /// else as [`Point::step`] wants it. The polynomial was fitted to random pairs (mean error 0.003).
    #[inline(always)]
    fn start(&self, p1: f64, p2: f64) -> (f64, f64, f64) {
        let (root1, root2) = (p1.sqrt(), p2.sqrt());
        let two_mean = 2.0 * root1 * root2;
        let difference = (p1 - p2) / (root1 + root2);
        let w = two_mean / (self.rest + two_mean);
        let square = self.y * self.y;
        let at_edge = 0.5 * w * square + ln_1p((-difference * difference).max(-0.999)) <= 0.0;
        let q = square / (3.0 + square);
        let guess = -0.439
            + w * (1.608 + w * (-1.176 + w * 0.508))
            + q * ((0.187 + w * (-1.047 + w * 0.71)) + q * ((0.662 - 0.394 * w) - q * 0.443));
        (
            if at_edge { 0.0 } else { guess.clamp(0.0, HIGHEST) },
            if at_edge { 0.0 } else { -1.0 },
            if at_edge { 0.0 } else { 1.0 },
        )
    }

    /// A Newton step on F from `u`, or a bisection where that leaves the interval between `low` and `high`, and the
    /// interval as F(u) shortens it. Before F is known at an end of [0, ½] the end is taken to lie beyond, so
    /// that a step out of [0, ½] is first cut off at the end itself.
    #[inline(always)]
    fn step(&self, u: f64, low: f64, high: f64) -> (f64, f64, f64) {
        let At { ln_cosh, tanh, ln_remainder, two_mean, remainder } = self.at(u);
        let z = u * self.y;
        // The series for small z, where the closed forms cancel.
        let small = z < 1e-3;
        let phi = if small { 0.5 - 0.25 * z * z } else { (z * tanh - ln_cosh) / (z * z) };
        let bend = if small { -0.5 * z * self.y } else { (1.0 - tanh * tanh - 2.0 * phi) / u };
        let square = self.y * self.y;
        let t = square * phi;
        let w = two_mean / remainder;
        let value = (1.0 + u) * w * t + ln_remainder;
        let slope = (1.0 + u) * w * (square * bend - (1.0 - w) * t * t);
        let low = if value > 0.0 { u } else { low };
        let high = if value > 0.0 { high } else { u };
        let newton = u - value / slope;
        let next = if newton >= low && newton <= high { newton } else { 0.5 * (low + high) };
        (next.clamp(0.0, HIGHEST), low, high)
    }

    /// The value at `u`, lowered, and the order; 0 and NaN where p1 ≤ p2.
    #[inline(always)]
    fn result(&self, u: f64, p1: f64, p2: f64) -> (f64, f64) {
        let value = self.objective(u) * (1.0 - MARGIN);
        // Leaving the scale rounds a subnormal result, so it is moved one step down.
        let value = if p1 < TINY { (value / SCALE - f64::from_bits(1)).max(0.0) } else { value };
        let some = p1 > p2;
        (if some { value } else { 0.0 }, if some { 1.0 + u } else { f64::NAN })
    }

    /// −ln(1 − 2(A − M))/(1 + u).
    #[inline(always)]
    fn objective(&self, u: f64) -> f64 {
        -self.at(u).ln_remainder / (1.0 + u)
    }

    #[inline(always)]
    fn at(&self, u: f64) -> At {
        let (_, grown) = exp_and_exp_m1(2.0 * u * self.y);
        let ln_cosh = ln_cosh(grown);
        let shrink = if u > 0.0 { ln_cosh / u } else { 0.0 };
        let l = -self.ln_cosh_y - shrink;
        let (e, e_m1) = exp_and_exp_m1(l.max(-708.0));
        let two_mean = self.sum * e;
        let gap = -self.sum * e_m1;
        let far = gap > 0.5;
        let near = 1.0 - gap;
        let remainder = if far { self.rest + two_mean } else { near };
        let lost = if far { 0.0 } else { (1.0 - near) - gap };
        let ln_remainder = ln_plus(remainder, lost / remainder);
        // With nothing else left, ln 2M is L itself, which keeps its accuracy where M is too small to be a number.
        let ln_remainder = if far && self.rest == 0.0 { l } else { ln_remainder };
        At { ln_cosh, tanh: grown / (grown + 2.0), ln_remainder, two_mean, remainder }
    }
}

/// The objective's ingredients at one u.
struct At {
    /// ln cosh(uy).
    ln_cosh: f64,
    /// tanh(uy).
    tanh: f64,
    /// ln(1 − 2(A − M)).
    ln_remainder: f64,
    /// 2M.
    two_mean: f64,
    /// 1 − 2(A − M).
    remainder: f64,
}

/// ln cosh z for z ≥ 0, given e^2z − 1.
#[inline(always)]
fn ln_cosh(grown: f64) -> f64 {
    0.5 * ln_1p(0.25 * grown * (grown / (1.0 + grown)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::stream::level::supported;

    fn plain(p1: f64, p2: f64, order: f64) -> f64 {
        let s = 1.0 - order;
        let mean = if s == 0.0 { (p1 * p2).sqrt() } else { ((p1.powf(s) + p2.powf(s)) / 2.0).powf(1.0 / s) };
        -(1.0 - p1 - p2 + 2.0 * mean).ln() / order
    }

    proptest! {
        #[test]
        fn no_order_gives_more_than_the_supremum(a in 0.001..0.999f64, b in 0.0001..0.999f64, order in 1.0..4.0f64) {
            let (p1, p2) = (a.max(b), a.min(b).min(1.0 - a.max(b)));
            prop_assume!(p1 > p2 + 1e-3);
            let Sup { value, order: best } = sup(p1, p2);
            prop_assert!(plain(p1, p2, order) <= value * (1.0 + 1e-8));
            prop_assert!((plain(p1, p2, best) / value - 1.0).abs() < 1e-8);
        }

        #[test]
        fn every_instruction_set_gives_the_same_bits(pairs in proptest::collection::vec((0.0..1.0f64, -20.0..0.0f64), 1..100)) {
            let p1: Vec<f64> = pairs.iter().map(|&(p1, _)| p1).collect();
            let p2: Vec<f64> = pairs.iter().map(|&(p1, gap)| (p1 * (1.0 - libm::exp10(gap))).min(1.0 - p1)).collect();
            let one: Vec<u64> = p1.iter().zip(&p2).map(|(&p1, &p2)| sup(p1, p2).value.to_bits()).collect();
            for level in supported() {
                let (mut value, mut order) = (vec![0.0; p1.len()], vec![0.0; p1.len()]);
                fill(level, &p1, &p2, &mut value, &mut order);
                prop_assert_eq!(value.into_iter().map(f64::to_bits).collect::<Vec<_>>(), one.clone());
            }
        }
    }
}
