//! The integer thresholds of the laws. docs/exact.md proves the errors stated here.

use super::fixed::{ONE, Steps, UNIT, divide, exp_minus_small, mul, mul_signed};

/// The most thresholds that a draw's radius may have.
pub const MAX_RADII: usize = 1 << 21;

/// 1/√2π.
const DENSITY: u128 = 0x3310_8a67_a86c_a11a_1f96_78a0_1757_1c60;

/// The magnitudes' thresholds are off by at most this much more than rounding to a multiple of 2⁻⁶³.
pub const TAIL_ERROR: f64 = 1.0 / (1u128 << 82) as f64;

/// T_m = 2⁶³·P(|Z| ≥ m), rounded, for m = 1, 2, … as long as it is not 0, where Z = round(`grid`·z), z ~ N(0, `sigma`²).
///
/// The error before rounding is at most 2⁶³·[`TAIL_ERROR`].
pub fn gaussian(sigma: f64, grid: u32) -> Vec<u64> {
    let steps = sigma * f64::from(grid);
    // The line is cut into cells of width h ≤ ⅛σ around the multiples of h, an odd number of them to a grid step, so that a
    // step's ends are ends of cells.
    let parts = (8.0 / steps).ceil() as u64 | 1;
    let width = Steps::new(sigma, grid).reciprocal(parts);
    let count = (10.5 * steps * parts as f64).ceil() as usize;
    let cells = gaussian_cells(width, count);

    let parts = parts as usize;
    let (mut thresholds, mut tail) = (Vec::new(), 0);
    for (k, cell) in cells.into_iter().enumerate().rev() {
        tail += cell;
        // Cell k is the first of magnitude m = (k + parts/2)/parts.
        if (k + parts / 2).is_multiple_of(parts) && k > 0 {
            thresholds.push(round(2 * tail, 64));
        }
    }
    descending(thresholds)
}

/// Integrals of the normal density over the cells of width h around 0, h, …, `count`·h.
///
/// With φ⁽ⁿ⁾ the density's derivatives at the middle x and a_n = φ⁽ⁿ⁾·(h/2)ⁿ/n!, Taylor's series integrates to
/// h·Σ a_2j/(2j + 1), and φ⁽ⁿ⁺¹⁾ = −xφ⁽ⁿ⁾ − nφ⁽ⁿ⁻¹⁾ gives a_(n+1) = −(a_n·xh/2 + a_(n−1)·h²/4)/(n + 1).
fn gaussian_cells(width: u128, count: usize) -> Vec<u128> {
    let square = mul(width, width);
    // Terms until the remainder, 8.6·(h²/8)^J/((2J + 1)·J!) in all, is below 2⁻⁹⁰.
    let (eighth, mut terms, mut remainder) = (square as f64 * UNIT / 8.0, 0, 8.6);
    while remainder / (2 * terms + 1) as f64 > 1.0 / (1u128 << 90) as f64 {
        terms += 1;
        remainder *= eighth / terms as f64;
    }
    let coefficients: Vec<[u128; 3]> =
        (1..2 * terms as u128).map(|n| [square / (2 * n), square / (4 * n), ONE / (n + 1)]).collect();

    let (fall, mut ratio, mut density) = (exp_minus_small(square), exp_minus_small(square / 2), DENSITY);
    (0..=count as u128)
        .map(|k| {
            let (mut before, mut now, mut sum) = (0, density.cast_signed(), density.cast_signed());
            for (n, [first, second, weight]) in (1..).zip(&coefficients) {
                (before, now) = (now, -mul_signed(now, k * first) - mul_signed(before, *second));
                if n % 2 == 0 {
                    sum += mul_signed(now, *weight);
                }
            }
            density = mul(density, ratio);
            ratio = mul(ratio, fall);
            mul(sum.max(0).cast_unsigned(), width)
        })
        .collect()
}

/// T_m = 2⁶³·P(|Z| ≥ m), rounded, for m = 1, 2, … as long as it is not 0, where Z = round(`grid`·z) and z has the density
/// exp(−|z|/b)/2b, b = `scale`.
///
/// The error before rounding is at most 2⁶³·[`TAIL_ERROR`].
pub fn laplace(scale: f64, grid: u32) -> Vec<u64> {
    let steps = Steps::new(scale, grid);
    let (mut tail, ratio) = (steps.exp_minus(2), steps.exp_minus(1));
    let thresholds = std::iter::from_fn(|| {
        let threshold = round(tail, 64);
        tail = mul(tail, ratio);
        (threshold > 0).then_some(threshold)
    });
    thresholds.collect()
}

/// T_m = 2⁶³·P(|Z| ≥ m), rounded, for m = 1, 2, … as long as it is not 0, where Z = round(`grid`·z) and z is uniform in
/// [−λ, λ], λ = `half_width`.
///
/// The error before rounding is at most 2⁶³·[`TAIL_ERROR`].
pub fn uniform(half_width: f64, grid: u32) -> Vec<u64> {
    let steps = Steps::new(half_width, grid);
    if steps.is_at_most_half() {
        return Vec::new();
    }
    let half_step = steps.reciprocal(2);
    let sizes = (1u128..).step_by(2).map(|odd| ONE.saturating_sub(odd.saturating_mul(half_step)));
    sizes.map(|tail| round(tail, 64)).take_while(|threshold| *threshold > 0).collect()
}

/// The law of the half-width of a draw's cube, P(R) ∝ (2R + 1)^dim·e^(−R/(σg)).
pub struct Radii {
    /// The smallest half-width.
    pub first: u64,
    /// 2⁶⁴·P(R ≤ `first` + i), rounded, ascending.
    pub thresholds: Vec<u64>,
    /// The thresholds are off by at most this much more than rounding to a multiple of 2⁻⁶⁴.
    pub error: f64,
}

/// The half-widths for draws of `dim` coordinates and `sigma`·`grid` grid steps.
pub fn radii(sigma: f64, grid: u32, dim: u64) -> Radii {
    // w(R + 1)/w(R) = base^dim with base = e^(−1/(σg·dim))·(2R + 3)/(2R + 1). From the mode on, base is at most 1; before it,
    // its inverse is.
    let fall = Steps::new(sigma, grid).exp_minus(dim);
    let base = |radius: u64| fall.saturating_add(2 * fall / u128::from(2 * radius + 1));
    let mut mode = (dim as f64 * sigma * f64::from(grid)) as u64;
    while base(mode) > ONE {
        mode += 1;
    }
    while mode > 0 && base(mode - 1) <= ONE {
        mode -= 1;
    }

    // Until what is left out is below 2⁻⁹⁰ of w(mode).
    let finished = |weight: u128, ratio: u128| weight <= (ONE - ratio) >> 90;
    let mut weights = vec![ONE];
    let mut weight = ONE;
    for radius in mode.. {
        let ratio = power(base(radius), dim);
        weight = mul(weight, ratio);
        if finished(weight, ratio) {
            break;
        }
        weights.push(weight);
    }
    let mut below = Vec::new();
    if mode > 0 {
        // A quarter of the inverse, which is at most 3.
        let rise = divide(1 << 125, fall, 127);
        weight = ONE;
        for radius in (1..=mode).rev() {
            let ratio = power((rise - 2 * rise / u128::from(2 * radius + 1)) << 2, dim);
            weight = mul(weight, ratio);
            if finished(weight, ratio) {
                break;
            }
            below.push(weight);
        }
    }

    let first = mode - below.len() as u64;
    let mut sum = 0;
    let sums: Vec<u128> = below
        .into_iter()
        .rev()
        .chain(weights)
        .map(|weight| {
            sum += weight >> 21;
            sum
        })
        .collect();
    let shift = sum.leading_zeros() - 1;
    let inverse = divide(1 << 125, sum << shift, 127);
    let count = sums.len() as f64;
    let thresholds: Vec<u64> = sums.iter().map(|sum| round(mul(sum << shift, inverse), 61)).collect();
    // A threshold of 0, or of 2⁶⁴, which wraps to 0, decides nothing.
    let low = thresholds.iter().take_while(|threshold| **threshold == 0).count();
    let thresholds: Vec<u64> = thresholds[low..].iter().copied().take_while(|threshold| *threshold > 0).collect();
    let per_weight = 4.0 * (310.0 * (dim as f64).max(2048.0) + count + (1 << 21) as f64);
    let error = count * per_weight * UNIT + 1.0 / (1u128 << 86) as f64;
    Radii { first: first + low as u64, thresholds, error }
}

/// base^exponent, for a base of at most 1.
fn power(mut base: u128, mut exponent: u64) -> u128 {
    base = base.min(ONE);
    let mut result = ONE;
    while exponent > 0 {
        if exponent % 2 == 1 {
            result = mul(result, base);
        }
        base = mul(base, base);
        exponent /= 2;
    }
    result
}

/// `value`/2^`digits` to the nearest integer.
fn round(value: u128, digits: u32) -> u64 {
    ((value + (1 << (digits - 1))) >> digits) as u64
}

/// From the outermost one inwards, without zeros, turned round.
fn descending(mut thresholds: Vec<u64>) -> Vec<u64> {
    thresholds.reverse();
    thresholds.truncate(thresholds.partition_point(|threshold| *threshold > 0));
    thresholds
}
