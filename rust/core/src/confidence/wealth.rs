//! The wealth of a mixture of bets, never above the true one: what [`anytime`](super::anytime()) is made of.
//!
//! # The mixture
//! A bet is a factor on the odds, which treats a probability and its complement alike and leaves the best λ to
//! depend on little: it is about 4/√(np(1 − p)) at the bound. λ is 2^i or 1.5·2^i, from 2⁻²⁵ to 64; the weight of
//! the j-th of these half octaves is in proportion to 1/(9 + (j − j₀)²), most at λ = ½, where the decisions are
//! taken that cost most draws, and enough far out for n = 2⁵³. One more gambler, with λ = 700 and 1/32 of the
//! money, is all but sure of the class: unanimous votes have 1 − L ≤ (ln 1/α + ln 32)/n by him. `docs/anytime.md`
//! has what was measured.
//!
//! # Rounding
//! [`Form::evaluate`] returns ln W from below: each gambler's logarithm is lessened by a constant times the sizes
//! of its terms, which is more than they can have lost.

use std::num::NonZeroUsize;
use std::sync::LazyLock;

use fearless_simd::{Simd, dispatch};

use super::{check_counts, fill};
use crate::numeric::elementary::{exp_and_exp_m1, ln_1p, ln_plus};
use crate::stream::level::Level;
use crate::{Error, Result};

/// Half the distance from 1 to the next float: the largest relative error of one operation.
pub(super) const UNIT: f64 = f64::EPSILON / 2.0;

/// The number of gamblers.
const GAMBLERS: usize = 64;

/// The gambler λ = ½ in the order of the grid, whose weight is the largest.
const CENTRE: usize = 48;

/// The weight of the gambler who is sure.
pub(super) const SURE: f64 = 1.0 / 32.0;

/// The gamblers: λ exactly, the rest to within an ulp.
struct Gamblers {
    lambda: [f64; GAMBLERS],
    ln_weight: [f64; GAMBLERS],
    /// e^λ − 1.
    grow: [f64; GAMBLERS],
    /// e^−λ − 1.
    shrink: [f64; GAMBLERS],
}

static TABLE: LazyLock<Gamblers> = LazyLock::new(|| {
    let mut lambda = [700.0; GAMBLERS];
    let mut weight = [SURE; GAMBLERS];
    let mut power = libm::exp2(-25.0);
    for j in 0..GAMBLERS - 1 {
        lambda[j] = if j % 2 == 0 { power } else { 1.5 * power };
        power *= if j % 2 == 0 { 1.0 } else { 2.0 };
        let distance = j as f64 - CENTRE as f64;
        weight[j] = 1.0 / (9.0 + distance * distance);
    }
    // The weights' sum stays below 1, by more than the roundings here and in the logarithms.
    let share = (1.0 - SURE) * (1.0 - 256.0 * UNIT) / weight[..GAMBLERS - 1].iter().sum::<f64>();
    weight[..GAMBLERS - 1].iter_mut().for_each(|weight| *weight *= share);
    Gamblers {
        lambda,
        ln_weight: weight.map(libm::log),
        grow: lambda.map(libm::expm1),
        shrink: lambda.map(|lambda| libm::expm1(-lambda)),
    }
});

/// ln W(k, n, m) for `k` ≤ `n` ≤ [`MAX_DRAWS`](super::MAX_DRAWS) and 0 ≤ `m` ≤ 1: never above the true value.
pub fn ln_wealth(k: u64, n: u64, m: f64) -> f64 {
    let (hits, misses) = (k as f64, (n - k) as f64);
    // 1 − m is exact from ½ on.
    if m < 0.5 { wealth(Form::of_p(hits, misses), m).0 } else { wealth(Form::of_complement(hits, misses), 1.0 - m).0 }
}

/// [`ln_wealth`] of every triple, in parallel.
pub fn ln_wealth_many(k: &[i64], n: &[i64], m: &[f64], out: &mut [f64], threads: Option<NonZeroUsize>) -> Result<()> {
    check_counts(k, n, 0)?;
    if let Some(i) = m.iter().position(|m| !(0.0..=1.0).contains(m)) {
        return Err(Error::element("m", [i], "a number from 0 to 1", m[i]));
    }
    fill(out, threads, |i| ln_wealth(k[i].unsigned_abs(), n[i].unsigned_abs(), m[i]))
}

/// [`Form::evaluate`] on this machine's vectors, all of which give the same bits.
pub(super) fn wealth(form: Form, at: f64) -> (f64, f64) {
    let level = Level::in_use().map_or_else(|_| fearless_simd::Level::fallback(), |level| level.0);
    dispatch!(level, simd => simd.vectorize(#[inline(always)] || form.evaluate(at)))
}

/// The wealth as a function of x = m or x = 1 − m: e^(aλ)/(1 + cx)ⁿ for each gambler, in which nothing cancels where
/// x is small.
#[derive(Clone, Copy)]
pub(super) struct Form {
    table: &'static Gamblers,
    rate: &'static [f64; GAMBLERS],
    exponent: f64,
    draws: f64,
    /// In which direction of x wealth grows.
    pub(super) outward: f64,
}

impl Form {
    /// In x = m: s^k/(1 + (s − 1)x)ⁿ.
    pub(super) fn of_p(hits: f64, misses: f64) -> Self {
        let table = &*TABLE;
        Self { table, rate: &table.grow, exponent: hits, draws: hits + misses, outward: -1.0 }
    }

    /// In x = 1 − m: s^−(n − k)/(1 − (1 − 1/s)x)ⁿ.
    pub(super) fn of_complement(hits: f64, misses: f64) -> Self {
        let table = &*TABLE;
        Self { table, rate: &table.shrink, exponent: -misses, draws: hits + misses, outward: 1.0 }
    }

    /// ln W at `x`, never above the true value, and about its derivative. `x` is at most 1, below ¾ where it is 1 − m.
    ///
    /// In units of half an ulp: aλ has one rounding, λ none. cx is off by 3 (c by 2, the product by 1), of which
    /// ln(1 + cx) makes at most 6.5 of its own size where cx > −¾; it adds 4, and the product with n adds 1. The four
    /// sums up to the result round by 1 each, of no more than the sizes of their parts. That is 16 of a 20. Absolutely
    /// there are the weights' logarithms (40), e^x (6, and 24 for its argument's rounding), the sum of 64 terms (63) and
    /// its logarithm (20): 153 of a 512.
    #[inline(always)]
    fn evaluate(&self, x: f64) -> (f64, f64) {
        const RELATIVE: f64 = 20.0 * UNIT;
        const ABSOLUTE: f64 = 512.0 * UNIT;
        const LANES: usize = 8;
        let table = self.table;
        let mut ln = [0.0; GAMBLERS];
        let gamblers = table.lambda.iter().zip(&table.ln_weight).zip(self.rate);
        for (ln, ((lambda, ln_weight), rate)) in ln.iter_mut().zip(gamblers) {
            let odds = self.exponent * lambda;
            let norm = self.draws * ln_1p(rate * x);
            *ln = ln_weight + odds - norm - RELATIVE * (odds.abs() + norm.abs());
        }
        let mut highest = [f64::NEG_INFINITY; LANES];
        for part in ln.chunks_exact(LANES) {
            for (highest, &ln) in highest.iter_mut().zip(part) {
                *highest = if ln > *highest { ln } else { *highest };
            }
        }
        let highest = highest.into_iter().fold(f64::NEG_INFINITY, f64::max);
        let (mut sum, mut slope) = ([0.0; LANES], [0.0; LANES]);
        for (ln, rate) in ln.chunks_exact(LANES).zip(self.rate.chunks_exact(LANES)) {
            for lane in 0..LANES {
                // Terms of e⁻⁷⁰⁰ instead of less change nothing that counts.
                let below = ln[lane] - highest;
                let term = exp_and_exp_m1(if below > -700.0 { below } else { -700.0 }).0;
                sum[lane] += term;
                slope[lane] += term * (rate[lane] / (1.0 + rate[lane] * x));
            }
        }
        let sum: f64 = sum.into_iter().sum();
        let slope: f64 = slope.into_iter().sum();
        (highest + ln_plus(sum, 0.0) - ABSOLUTE, -self.draws * slope / sum)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    pub fn count(share: f64, n: u64) -> u64 {
        ((share * n as f64) as u64).min(n - 1)
    }

    /// From the edges to the centre: 0 and 1 are approached to within 1e-15.
    pub fn share() -> impl Strategy<Value = f64> {
        (0.0..1.0f64, 0.0..15.0f64, any::<bool>())
            .prop_map(|(u, log, high)| if high { 1.0 - u * libm::exp10(-log) } else { u * libm::exp10(-log) })
    }

    pub fn draws() -> impl Strategy<Value = u64> {
        (0.0..53.0f64).prop_map(|log| libm::exp2(log) as u64)
    }

    #[test]
    fn the_money_is_no_more_than_there_is() {
        let total: f64 = TABLE.ln_weight.iter().map(|&ln| libm::exp(ln)).sum();
        assert!(total < 1.0 && total > 1.0 - 1e-12, "{total}");
        assert_eq!(TABLE.lambda[CENTRE], 0.5);
        assert_eq!(TABLE.lambda[GAMBLERS - 2..], [64.0, 700.0]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(10_000))]

        #[test]
        fn wealth_increases_with_the_count_and_decreases_with_the_threshold(
            n in draws(), share in share(), m in share(), apart in 0.0..1.0f64,
        ) {
            let k = count(share, n);
            let higher = m + (1.0 - m) * apart;
            let (low, high) = (ln_wealth(k, n, m), ln_wealth(k, n, higher));
            let rounding = 1e-12 * (1.0 + low.abs() + n as f64);
            prop_assert!(high <= low + rounding);
            prop_assert!(ln_wealth(k, n, m) <= ln_wealth(k + 1, n, m) + rounding);
        }

        #[test]
        fn one_more_draw_gains_nothing_in_the_mean(n in 0..100_000u64, share in share(), m in share()) {
            let k = (share * n as f64) as u64;
            let now = ln_wealth(k, n, m);
            let [hit, miss] = [k + 1, k].map(|k| ln_wealth(k, n + 1, m));
            let mean = m * libm::exp(hit - now) + (1.0 - m) * libm::exp(miss - now);
            prop_assert!((mean - 1.0).abs() < 1e-8, "{mean}");
        }
    }
}
