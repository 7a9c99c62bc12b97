//! Quantile functions of the standard normal and the standard Laplace law, and half their differences, which are what
//! the tight radii are made of.

// Wichura's coefficients are kept as printed.
#![allow(clippy::excessive_precision)]

use std::f64::consts::PI;

use super::elementary::ln_ratio;

/// The relative error of [`normal`] stays below this (8·2⁻⁵³; the tests have seen 4).
const QUANTILE_ERROR: f64 = 8.0 * (f64::EPSILON / 2.0);

/// ½(Φ⁻¹(p1) − Φ⁻¹(p2)), rounded down, for valid `p1` > `p2`; ∞ where p1 = 1 or p2 = 0.
///
/// The difference is known to a few ulp of its terms, which is nothing where p1 ≈ p2. There the midpoint rule takes
/// over: Φ⁻¹ has the derivative 1/φ(Φ⁻¹(p)), which is convex because φ∘Φ⁻¹ is concave, so the derivative at the
/// midpoint times p1 − p2 is a lower bound too, and a close one.
pub fn half_normal(p1: f64, p2: f64) -> f64 {
    let (top, other) = (normal(p1), normal(p2));
    if top.is_infinite() || other.is_infinite() {
        return f64::INFINITY;
    }
    let difference = (top - other) - QUANTILE_ERROR * (top.abs() + other.abs());
    let gap = p1 - p2;
    if gap >= 1e-4 * p2 {
        return 0.5 * difference.max(0.0) * (1.0 - f64::EPSILON);
    }
    let middle = normal(0.5 * p1 + 0.5 * p2);
    let midpoint = gap * (2.0 * PI).sqrt() * libm::exp(0.5 * middle * middle);
    // exp's argument, up to 360, carries the quantile's error into the midpoint rule.
    let midpoint = midpoint * (1.0 - (middle * middle + 2.0) * 2.0 * QUANTILE_ERROR);
    0.5 * difference.max(midpoint) * (1.0 - f64::EPSILON)
}

/// Above the rounding of [`half_laplace`]: each logarithm errs by less than 6 units, and one addition follows.
const LAPLACE_MARGIN: f64 = 16.0 * (f64::EPSILON / 2.0);

/// ½(ψ(p1) − ψ(p2)), rounded down, for valid `p1` > `p2`, where ψ is the quantile function of the standard Laplace law,
/// ln 2p up to ½ and −ln 2(1 − p) above; ∞ where p1 = 1 or p2 = 0.
///
/// On one side of ½ the difference is the logarithm of one ratio, and across it the sum of two logarithms of ratios above
/// 1, so nothing cancels: the relative error is the same however close p1 and p2 are.
pub fn half_laplace(p1: f64, p2: f64) -> f64 {
    if p1 == 1.0 || p2 == 0.0 {
        return f64::INFINITY;
    }
    let difference = if p1 <= 0.5 {
        ln_ratio(p1, p2)
    } else if p2 >= 0.5 {
        ln_ratio(1.0 - p2, 1.0 - p1)
    } else {
        // From ½ on 1 − p is exact.
        ln_ratio(0.5, p2) + ln_ratio(0.5, 1.0 - p1)
    };
    0.5 * difference * (1.0 - LAPLACE_MARGIN)
}

/// Φ⁻¹(p) for p in [0, 1] (Wichura 1988, algorithm AS 241, PPND16).
pub fn normal(p: f64) -> f64 {
    let q = p - 0.5;
    if q.abs() <= 0.425 {
        let r = 0.180_625 - q * q;
        return q * ratio(r, &CENTRE);
    }
    let tail = if q < 0.0 { p } else { 1.0 - p };
    if tail == 0.0 {
        return f64::INFINITY.copysign(q);
    }
    let r = (-libm::log(tail)).sqrt();
    let size = if r <= 5.0 { ratio(r - 1.6, &MIDDLE) } else { ratio(r - 5.0, &TAIL) };
    size.copysign(q)
}

/// A ratio of two polynomials: coefficients from the constant up, numerator first.
fn ratio(x: f64, [numerator, denominator]: &[[f64; 8]; 2]) -> f64 {
    let at = |c: &[f64; 8]| c.iter().rev().fold(0.0, |sum, c| sum * x + c);
    at(numerator) / at(denominator)
}

const CENTRE: [[f64; 8]; 2] = [
    [
        3.387_132_872_796_366_608,
        1.331_416_678_917_843_774_5e2,
        1.971_590_950_306_551_442_7e3,
        1.373_169_376_550_946_112_5e4,
        4.592_195_393_154_987_145_7e4,
        6.726_577_092_700_870_085_3e4,
        3.343_057_558_358_812_810_5e4,
        2.509_080_928_730_122_672_7e3,
    ],
    [
        1.0,
        4.231_333_070_160_091_125_2e1,
        6.871_870_074_920_579_083e2,
        5.394_196_021_424_751_107_7e3,
        2.121_379_430_158_659_586_7e4,
        3.930_789_580_009_271_061e4,
        2.872_908_573_572_194_267_4e4,
        5.226_495_278_852_545_925e3,
    ],
];

const MIDDLE: [[f64; 8]; 2] = [
    [
        1.423_437_110_749_683_577_34,
        4.630_337_846_156_545_295_9,
        5.769_497_221_460_691_405_5,
        3.647_848_324_763_204_605_04,
        1.270_458_252_452_368_382_58,
        2.417_807_251_774_506_117_7e-1,
        2.272_384_498_926_918_458_33e-2,
        7.745_450_142_783_414_076_4e-4,
    ],
    [
        1.0,
        2.053_191_626_637_758_821_87,
        1.676_384_830_183_803_849_4,
        6.897_673_349_851_000_045_5e-1,
        1.481_039_764_274_800_745_9e-1,
        1.519_866_656_361_645_719_66e-2,
        5.475_938_084_995_344_946e-4,
        1.050_750_071_644_416_843_24e-9,
    ],
];

const TAIL: [[f64; 8]; 2] = [
    [
        6.657_904_643_501_103_777_2,
        5.463_784_911_164_114_369_9,
        1.784_826_539_917_291_335_8,
        2.965_605_718_285_048_912_3e-1,
        2.653_218_952_657_612_309_3e-2,
        1.242_660_947_388_078_438_6e-3,
        2.711_555_568_743_487_578_15e-5,
        2.010_334_399_292_288_132_65e-7,
    ],
    [
        1.0,
        5.998_322_065_558_879_376_9e-1,
        1.369_298_809_227_358_053_1e-1,
        1.487_536_129_085_061_485_25e-2,
        7.868_691_311_456_132_591e-4,
        1.846_318_317_510_054_681_8e-5,
        1.421_511_758_316_445_888_7e-7,
        2.044_263_103_389_939_785_64e-15,
    ],
];
