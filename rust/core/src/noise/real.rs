//! Uniform bits as numbers, in single and double precision.
//!
//! Every function is plain IEEE arithmetic without branches on the data: compiled for any instruction set, in any vector
//! width, it returns the same bits. Bits are read as an odd integer (the lowest bit is set), so a uniform number is never 0
//! or 1 and never favours a side. Coefficients come from make_coefficients.py.

#![allow(clippy::excessive_precision, reason = "coefficients stand as the script prints them")]

use fearless_simd::{Bytes, Simd, SimdBase, SimdInt};

use super::law::ROW;
use crate::stream::{Blocks, GROUP, Key, Region, store_side_by_side};

/// The uniform bits of a coordinate.
pub trait Bits: Copy + Default {
    /// Whether the low word is among them.
    const BOTH_WORDS: bool;

    /// What [`Self::load`] needs to know of a draw.
    type Source<S: Simd>;

    /// The source of draw `draw`'s bits.
    fn source<S: Simd>(simd: S, key: &Key, draw: u64) -> Self::Source<S>;

    /// The bits of group `index`.
    fn load<S: Simd>(simd: S, source: &Self::Source<S>, index: u32, bits: &mut [Self; GROUP]);

    /// The first bits of block after block, from number `first` on, each for draw `draw` and those after it: a row of `bits`
    /// holds the first coordinate that the block serves, of each draw, then the second.
    fn load_side_by_side<S: Simd>(simd: S, key: &Key, draw: u64, first: usize, bits: &mut [[Self; ROW]]);

    /// The high word.
    fn high(self) -> u32;
}

impl Bits for u32 {
    const BOTH_WORDS: bool = false;

    type Source<S: Simd> = Blocks<S::u32s>;

    #[inline(always)]
    fn source<S: Simd>(simd: S, key: &Key, draw: u64) -> Self::Source<S> {
        Blocks::new(simd, key, draw, Region::High)
    }

    #[inline(always)]
    fn load<S: Simd>(simd: S, source: &Self::Source<S>, index: u32, bits: &mut [u32; GROUP]) {
        source.store_group(simd, index, bits);
    }

    #[inline(always)]
    fn load_side_by_side<S: Simd>(simd: S, key: &Key, draw: u64, first: usize, bits: &mut [[u32; ROW]]) {
        store_side_by_side(simd.level(), key, draw, Region::High, first, bits);
    }

    #[inline(always)]
    fn high(self) -> u32 {
        self
    }
}

impl Bits for u64 {
    const BOTH_WORDS: bool = true;

    type Source<S: Simd> = [Blocks<S::u32s>; 2];

    #[inline(always)]
    fn source<S: Simd>(simd: S, key: &Key, draw: u64) -> Self::Source<S> {
        [Blocks::new(simd, key, draw, Region::High), Blocks::new(simd, key, draw, Region::Low)]
    }

    #[inline(always)]
    fn load<S: Simd>(simd: S, source: &Self::Source<S>, index: u32, bits: &mut [u64; GROUP]) {
        let (mut high, mut low) = ([0; GROUP], [0; GROUP]);
        source[0].store_group(simd, index, &mut high);
        source[1].store_group(simd, index, &mut low);
        join(&high, &low, bits);
    }

    #[inline(always)]
    fn load_side_by_side<S: Simd>(simd: S, key: &Key, draw: u64, first: usize, bits: &mut [[u64; ROW]]) {
        let [mut high, mut low] = [[[0; ROW]; GROUP / ROW]; 2];
        store_side_by_side(simd.level(), key, draw, Region::High, first, &mut high[..bits.len()]);
        store_side_by_side(simd.level(), key, draw, Region::Low, first, &mut low[..bits.len()]);
        join(high.as_flattened(), low.as_flattened(), bits.as_flattened_mut());
    }

    #[inline(always)]
    fn high(self) -> u32 {
        (self >> 32) as u32
    }
}

/// Both words of each coordinate.
#[inline(always)]
fn join(high: &[u32], low: &[u32], bits: &mut [u64]) {
    for ((bits, high), low) in bits.iter_mut().zip(high).zip(low) {
        *bits = u64::from(*high) << 32 | u64::from(*low);
    }
}

/// A precision in which noise is computed.
pub trait Real: Copy + Default + PartialOrd + std::fmt::Debug + Send + Sync + 'static {
    /// The uniform bits that one number is made of: the high word of its coordinate, or both words.
    type Bits: Bits;

    /// `value` in this precision.
    fn from_f64(value: f64) -> Self;

    /// The least number of this precision that is not below `value`: scales are rounded up, so that noise is never narrower
    /// than what its certificates are computed for.
    fn not_below(value: f64) -> f64;

    /// −ln u for u uniform in (0, 1), with small relative error everywhere.
    fn minus_ln(bits: Self::Bits) -> Self;

    /// A uniform number in (−1, 1), scaled by `scale`.
    fn uniform(bits: Self::Bits, scale: Self) -> Self;

    /// Uniform numbers in (−1, 1), scaled by `scale`, for the coordinates of group `index`; `bits` is working space.
    #[inline(always)]
    fn uniform_group<S: Simd>(
        simd: S,
        source: &<Self::Bits as Bits>::Source<S>,
        index: u32,
        scale: Self,
        bits: &mut [Self::Bits; GROUP],
        values: &mut [Self; GROUP],
    ) {
        Self::Bits::load(simd, source, index, bits);
        for (value, bits) in values.iter_mut().zip(bits) {
            *value = Self::uniform(*bits, scale);
        }
    }

    /// √(−2 ln u)·`scale` with u uniform in (0, 1).
    fn rayleigh(bits: Self::Bits, scale: Self) -> Self;

    /// `scale`·(−ln u) with u uniform in (0, 1), under a random sign.
    fn two_sided_exponential(bits: Self::Bits, scale: Self) -> Self;

    /// Cosine and sine of a uniform angle, times `radius`.
    fn polar(bits: Self::Bits, radius: Self) -> (Self, Self);
}

/// Horner's rule, highest power first.
macro_rules! polynomial {
    ($x:expr, $first:expr $(, $next:expr)+) => {{
        let x = $x;
        let value = $first;
        $(let value = value.mul_add(x, $next);)+
        value
    }};
}

macro_rules! real {
    ($real:ident, $bits:ident, $signed:ident, sin: [$($sin:expr),+], cos: [$($cos:expr),+] $(, $own:item)?) => {
        impl Real for $real {
            type Bits = $bits;

            #[inline(always)]
            fn from_f64(value: f64) -> Self {
                value as $real
            }

            fn not_below(value: f64) -> f64 {
                let nearest = value as $real;
                if f64::from(nearest) < value { f64::from(nearest.next_up()) } else { f64::from(nearest) }
            }

            #[inline(always)]
            fn minus_ln(bits: $bits) -> $real {
                const FRACTION: u32 = $real::MANTISSA_DIGITS - 1;
                const ROOT_HALF: $bits = std::$real::consts::FRAC_1_SQRT_2.to_bits();
                let bits = bits | 1;
                // bits = m·2^k with m in [√½, √2).
                let number = bits as $real;
                let k = number.to_bits().wrapping_sub(ROOT_HALF) >> FRACTION;
                let m = $real::from_bits(number.to_bits().wrapping_sub(k << FRACTION));
                // Near u = 1 the distance from 1 is exact where m − 1 has lost its digits to rounding.
                let below_one = bits.wrapping_neg() as $real / (1u128 << $bits::BITS) as $real;
                let t = if k == $bits::BITS as $bits { -below_one } else { m - 1.0 };
                let octaves = ($bits::BITS as $bits).wrapping_sub(k) as $signed as $real;
                octaves.mul_add(std::$real::consts::LN_2, -Ln1p::ln_1p(t))
            }

            #[inline(always)]
            fn uniform(bits: $bits, scale: $real) -> $real {
                // Two products: scale / 2^31 could leave the range of normal numbers.
                ((bits | 1) as $signed as $real / (1u64 << ($bits::BITS - 1)) as $real) * scale
            }

            $($own)?

            #[inline(always)]
            fn rayleigh(bits: $bits, scale: $real) -> $real {
                (2.0 * $real::minus_ln(bits)).sqrt() * scale
            }

            #[inline(always)]
            fn two_sided_exponential(bits: $bits, scale: $real) -> $real {
                let sign = bits & (1 << ($bits::BITS - 1));
                $real::from_bits(($real::minus_ln(bits << 1) * scale).to_bits() | sign)
            }

            #[inline(always)]
            fn polar(bits: $bits, radius: $real) -> ($real, $real) {
                const EIGHTH: $bits = 1 << ($bits::BITS - 3);
                let bits = bits | 1;
                // The angle is a quarter turn times `quarter`, plus the remainder x·π/4 with −1 < x < 1.
                let quarter = bits.wrapping_add(EIGHTH) >> ($bits::BITS - 2);
                let rest = bits.wrapping_sub(quarter << ($bits::BITS - 2)) as $signed;
                let x = rest as $real / EIGHTH as $real;
                let square = x * x;
                let sin = x * polynomial!(square, $($sin),+);
                let cos = polynomial!(square, $($cos),+);
                let (cos, sin) = if quarter & 1 == 0 { (cos, sin) } else { (sin, cos) };
                let cos_sign = (quarter.wrapping_add(1) >> 1 & 1) << ($bits::BITS - 1);
                let sin_sign = (quarter >> 1) << ($bits::BITS - 1);
                (
                    $real::from_bits(cos.to_bits() ^ cos_sign) * radius,
                    $real::from_bits(sin.to_bits() ^ sin_sign) * radius,
                )
            }
        }
    };
}

real!(
    f32, u32, i32,
    sin: [-3.595_429_07e-5f32, 0.002_490_006_8, -0.080_745_434_7, 0.785_398_161],
    cos: [3.529_797_13e-6f32, -0.000_325_938_586, 0.015_854_325_2, -0.308_425_135, 1.0],
    // Straight from the cipher's registers: the conversion is so cheap that a detour through memory would show.
    #[inline(always)]
    fn uniform_group<S: Simd>(
        simd: S,
        source: &Blocks<S::u32s>,
        index: u32,
        scale: f32,
        _bits: &mut [u32; GROUP],
        values: &mut [f32; GROUP],
    ) {
        let unit = S::f32s::splat(simd, 1.0 / (1u64 << 31) as f32);
        let scale = S::f32s::splat(simd, scale);
        source.group(simd, index, |at, words| {
            let odd: S::i32s = (words | 1).bitcast();
            let value = odd.to_float::<S::f32s>() * unit * scale;
            value.store_slice(&mut values[at..][..S::f32s::LEN]);
        });
    }
);

real!(
    f64, u64, i64,
    sin: [
        6.877_360_573_166_325_6e-12f64, -1.757_150_074_698_393_4e-9, 3.133_616_225_433_416_2e-7,
        -3.657_620_415_891_387_5e-5, 0.002_490_394_570_188_843_8, -0.080_745_512_188_280_54, std::f64::consts::FRAC_PI_4
    ],
    cos: [
        -3.858_189_007_341_667_7e-13f64, 1.150_051_202_821_734_1e-10, -2.461_136_403_365_259_6e-8,
        3.590_860_446_027_952e-6, -0.000_325_991_886_926_737_64, 0.015_854_344_243_815_42, -0.308_425_137_534_042_45, 1.0
    ]
);

/// ln(1 + t) for √½ − 1 ≤ t ≤ √2 − 1.
trait Ln1p {
    fn ln_1p(self) -> Self;
}

impl Ln1p for f32 {
    #[inline(always)]
    fn ln_1p(self) -> f32 {
        let quotient = polynomial!(
            self,
            -0.076_736_415f32,
            0.127_226_728,
            -0.131_275_557,
            0.142_048_56,
            -0.166_266_456,
            0.200_012_345,
            -0.250_007_812,
            0.333_333_3,
            -0.499_999_976
        );
        (self * self).mul_add(quotient, self)
    }
}

impl Ln1p for f64 {
    #[inline(always)]
    fn ln_1p(self) -> f64 {
        // ln(1 + t) = 2 artanh(s) with s = t/(2 + t).
        let s = self / (2.0 + self);
        let square = s * s;
        let series = polynomial!(
            square,
            0.130_866_261_478_401_02f64,
            0.132_687_731_386_568_85,
            0.153_862_397_028_146_58,
            0.181_817_956_401_329_06,
            0.222_222_223_917_139_17,
            0.285_714_285_708_036_12,
            0.400_000_000_000_008_77,
            0.666_666_666_666_666_66
        );
        (s * square).mul_add(series, 2.0 * s)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The odd number's −ln by the standard library, through the nearer end of (0, 1).
    fn expected_minus_ln(bits: u64) -> f64 {
        let odd = bits | 1;
        let (below, above) = (odd as f64 / 2f64.powi(64), odd.wrapping_neg() as f64 / 2f64.powi(64));
        if below < 0.75 { -below.ln() } else { -(-above).ln_1p() }
    }

    fn assert_close(actual: f64, expected: f64, relative: f64) {
        assert!((actual - expected).abs() <= relative * expected.abs(), "{actual:e} is not {expected:e}");
    }

    proptest! {
        #[test]
        fn logarithms_keep_their_digits(bits: u64, shift in 0u32..64, invert: bool) {
            // Every order of magnitude of u and of 1 − u.
            let bits = if invert { !(bits >> shift) } else { bits >> shift };
            assert_close(f64::minus_ln(bits), expected_minus_ln(bits), 1e-15);
            let high = (bits >> 32) as u32;
            assert_close(f32::minus_ln(high).into(), expected_minus_ln(u64::from(high | 1) << 32), 3e-7);
        }

        #[test]
        fn angles_are_uniform_turns(bits: u64) {
            let angle = std::f64::consts::TAU * ((bits | 1) as i64 as f64 / 2f64.powi(64));
            let (cos, sin) = f64::polar(bits, 1.0);
            // The angle that they are compared with is rounded three times, τ with it.
            let close = 5e-16 + 1.5 * f64::EPSILON * angle.abs();
            prop_assert!((cos - angle.cos()).abs() < close && (sin - angle.sin()).abs() < close);
            let (cos, sin) = f32::polar((bits >> 32) as u32, 1.0);
            prop_assert!((f64::from(cos) - angle.cos()).abs() < 2e-7 && (f64::from(sin) - angle.sin()).abs() < 2e-7);
        }

        #[test]
        fn laws_are_exactly_symmetric(bits: u32, scale in 0.1f32..10.0) {
            // Negating every odd number maps the uniform law to itself; so does flipping the highest bit for Laplace.
            prop_assert_eq!(f32::uniform(!bits | 1, scale), -f32::uniform((!bits | 1).wrapping_neg(), scale));
            let flipped = bits ^ 1 << 31;
            prop_assert_eq!(f32::two_sided_exponential(bits, scale), -f32::two_sided_exponential(flipped, scale));
        }
    }

    #[test]
    fn the_extremes_are_finite_and_never_zero() {
        for bits in [0, 1, u64::MAX, 1 << 63, u64::MAX >> 1] {
            let number = f64::minus_ln(bits);
            assert!(number > 0.0 && number < 44.5);
            assert!(f32::minus_ln((bits >> 32) as u32) > 0.0);
            assert!(f64::uniform(bits, 1.0).abs() <= 1.0 && f64::uniform(bits, 1.0) != 0.0);
        }
    }
}
