//! Numbers in [0, 1] with 127 binary digits, for thresholds whose error is counted.
//!
//! A value v stands as the integer v·2¹²⁷, one [`UNIT`] being 2⁻¹²⁷. Every operation rounds down.

/// One.
pub const ONE: u128 = 1 << 127;

/// The smallest difference, as a float.
pub const UNIT: f64 = 1.0 / ONE as f64;

/// a·b, less than one unit too small.
#[inline]
pub fn mul(a: u128, b: u128) -> u128 {
    let halves = |x: u128| (x >> 64, x & u128::from(u64::MAX));
    let ((a1, a0), (b1, b0)) = (halves(a), halves(b));
    let ((low, _), (left, left_low), (right, right_low)) = (halves(a0 * b0), halves(a1 * b0), halves(a0 * b1));
    let (carry, middle) = halves(low + left_low + right_low);
    (a1 * b1 + left + right + carry) << 1 | middle >> 63
}

/// `mul` of a signed number, towards 0.
#[inline]
pub fn mul_signed(a: i128, b: u128) -> i128 {
    let size = mul(a.unsigned_abs(), b).cast_signed();
    if a < 0 { -size } else { size }
}

/// a·2^`shift`/b, for `a` < `b` ≤ 2¹²⁷, rounded down to an integer.
pub fn divide(a: u128, b: u128, shift: u32) -> u128 {
    let (mut quotient, mut rest) = (0, a);
    for _ in 0..shift {
        rest <<= 1;
        quotient <<= 1;
        if rest >= b {
            rest -= b;
            quotient |= 1;
        }
    }
    quotient
}

/// e^−y for y ≤ 2⁻⁶: within 32 units, if y is within 2.
pub fn exp_minus_small(y: u128) -> u128 {
    let (mut sum, mut term, mut n) = (ONE, ONE, 0);
    while term > 0 {
        n += 1;
        term = mul(term, y) / n;
        sum = if n % 2 == 1 { sum - term } else { sum + term };
    }
    sum
}

/// The product of a scale and a grid, both exact: `numerator`/2^`shift`.
#[derive(Clone, Copy, Debug)]
pub struct Steps {
    numerator: u128,
    shift: u32,
}

impl Steps {
    /// `scale`·`grid`, for a normal `scale` below 2⁵².
    pub fn new(scale: f64, grid: u32) -> Self {
        let bits = scale.to_bits();
        let mantissa = bits & ((1 << 52) - 1) | 1 << 52;
        let shift = 1075 - (bits >> 52) as u32;
        Self { numerator: u128::from(mantissa) * u128::from(grid), shift }
    }

    /// Whether `scale`·`grid` ≤ ½, for a product of at least 2⁻⁶⁴.
    pub fn is_at_most_half(self) -> bool {
        self.numerator << 1 <= 1 << self.shift
    }

    /// 1/(`scale`·`grid`·`parts`) ≤ 1, less than one unit too small.
    pub fn reciprocal(self, parts: u64) -> u128 {
        divide(1, self.numerator * u128::from(parts), 127 + self.shift)
    }

    /// e^(−1/(`scale`·`grid`·`parts`)): within 33·max(1, 128/(`scale`·`grid`·`parts`)) units.
    ///
    /// The exponent is halved until it is below 2⁻⁶, and the result squared as often, each time doubling its error and adding
    /// a unit.
    pub fn exp_minus(self, parts: u64) -> u128 {
        let mut halvings = 0;
        // The exponent is at most 2⁻⁶ where numerator·parts·2^halvings ≥ 2^(shift + 6).
        while (self.numerator * u128::from(parts)) << halvings < 1 << (self.shift + 6) {
            halvings += 1;
        }
        let mut value = exp_minus_small(self.reciprocal(parts << halvings));
        for _ in 0..halvings {
            value = mul(value, value);
        }
        value
    }
}
