//! Magnitudes by polynomials in registers, with AVX-512: faster than a table, and right for the same reason.
//!
//! A cubic for each quarter octave of the upper 26 of a coordinate's 63 bits guesses the magnitude as a real number.
//! Where that is as near to an integer as any wrong guess is, or where the bits lie below the eight octaves that have a
//! cubic, the guess is in doubt and the table decides. How near that is is found by trying *every* input, all 2²⁶ of
//! them, when the law is made, with the instructions that will be used. So nothing needs to be known of the polynomials'
//! error, or of the processor's floats.

use std::arch::x86_64::{
    __m512, __m512i, _CMP_LE_OQ, _MM_FROUND_NO_EXC, _MM_FROUND_TO_NEAREST_INT, _MM_FROUND_TO_ZERO, _mm512_abs_ps,
    _mm512_add_epi32, _mm512_and_si512, _mm512_castps_si512, _mm512_castsi512_ps, _mm512_cmp_ps_mask,
    _mm512_cmple_epi32_mask, _mm512_cmpneq_epi32_mask, _mm512_cvt_roundepi32_ps, _mm512_cvtepi32_epi16,
    _mm512_cvttps_epi32, _mm512_fmadd_ps, _mm512_mask_max_ps, _mm512_mask_sub_epi32, _mm512_movepi32_mask,
    _mm512_permutex2var_ps, _mm512_reduce_max_ps, _mm512_reduce_ps, _mm512_set1_epi32, _mm512_set1_ps,
    _mm512_setzero_ps, _mm512_setzero_si512, _mm512_slli_epi32, _mm512_srli_epi32, _mm512_sub_ps,
    _mm512_ternarylogic_epi32, _mm512_testn_epi32_mask,
};

use fearless_simd::{Avx512, SimdBase, SimdInto, f32x16, i16x16, i32x16, kernel, u32x16};

use super::ROW;

/// Pieces: four to each of eight octaves.
const PIECES: usize = 32;

/// The largest doubt with which the cubics are worth their time.
const WORTH: f32 = 0.02;

/// The cubics of a law.
pub struct Cubic {
    /// Coefficients of degree 0 to 3 in (the piece's fraction of its octave's mantissa) − 1/8.
    coefficients: [[f32; PIECES]; 4],
    /// Guesses within this of an integer are in doubt.
    doubt: f32,
}

impl Cubic {
    /// The cubics through `magnitude`, a function of v/2⁶³ for the thresholds T_m ≤ v; `None` where they are of little use.
    pub fn new(avx512: Avx512, thresholds: &[u64], magnitude: impl Fn(f64) -> f64) -> Option<Self> {
        let mut coefficients = [[0.0; PIECES]; 4];
        for octave in 23..31u32 {
            for quarter in 0..4u32 {
                let piece = ((127 + octave) * 4 + quarter) as usize % PIECES;
                let cubic = through(|offset| {
                    let mantissa = 1.125 + 0.25 * f64::from(quarter) + offset;
                    magnitude(mantissa / f64::from(1u32 << (31 - octave)))
                });
                for (degree, value) in cubic.into_iter().enumerate() {
                    coefficients[degree][piece] = value as f32;
                }
            }
        }
        // No guess is then NaN, which is neither near an integer nor far from it.
        if !coefficients.as_flattened().iter().all(|value| value.abs() < 1e9) {
            return None;
        }
        let mut cubic = Self { coefficients, doubt: 0.0 };
        // Inputs between thresholds, magnitude after magnitude, and those that a threshold divides.
        let mut end = 1 << 26;
        for (m, threshold) in (0..).zip(thresholds.iter().chain([&0])) {
            let divided = (*threshold >> 37) as i32;
            let first = divided.max((1 << 18) - 1);
            cubic.doubt = cubic.doubt.max(worst(avx512, &cubic, first + 1, end, m));
            if divided < 1 << 18 {
                break;
            }
            cubic.doubt = cubic.doubt.max(worst(avx512, &cubic, divided, divided + 1, -1));
            end = divided;
        }
        (cubic.doubt <= WORTH).then_some(cubic)
    }
}

/// The cubic through a function's values at Chebyshev's points of [−⅛, ⅛].
fn through(function: impl Fn(f64) -> f64) -> [f64; 4] {
    // Newton's divided differences, then powers.
    let nodes: [f64; 4] = std::array::from_fn(|i| 0.125 * libm::cos((2 * i + 1) as f64 * std::f64::consts::PI / 8.0));
    let mut differences = nodes.map(function);
    for order in 1..4 {
        for i in (order..4).rev() {
            differences[i] = (differences[i] - differences[i - 1]) / (nodes[i] - nodes[i - order]);
        }
    }
    let mut powers = [0.0; 4];
    for i in (0..4).rev() {
        // powers·(x − node) + difference.
        for degree in (1..4).rev() {
            powers[degree] = powers[degree - 1] - powers[degree] * nodes[i];
        }
        powers[0] = differences[i] - powers[0] * nodes[i];
    }
    powers
}

/// The cubics in registers.
macro_rules! load {
    ($avx512:ident, $cubic:ident) => {
        $cubic.coefficients.map(|row| {
            let (low, high) = row.split_at(PIECES / 2);
            [low, high].map(|half| -> __m512 { f32x16::from_slice($avx512, half).into() })
        })
    };
}

/// The guesses for sixteen words, as real numbers. Rounding towards 0 keeps the largest words in their octave. The sign and the low 5 bits of a word are ignored.
macro_rules! guess {
    ($coefficients:ident, $words:expr) => {{
        let upper = _mm512_cvt_roundepi32_ps::<{ _MM_FROUND_TO_ZERO | _MM_FROUND_NO_EXC }>(_mm512_and_si512(
            $words,
            _mm512_set1_epi32(0x7fff_ffe0),
        ));
        let bits = _mm512_castps_si512(upper);
        let piece = _mm512_srli_epi32::<21>(bits);
        // (bits & fraction) | 1.0
        let fraction =
            _mm512_ternarylogic_epi32::<0xf8>(_mm512_set1_epi32(0x3f80_0000), bits, _mm512_set1_epi32(0x001f_ffff));
        let x = _mm512_sub_ps(_mm512_castsi512_ps(fraction), _mm512_set1_ps(1.125));
        let [constant, linear, square, cube] =
            $coefficients.map(|[low, high]| _mm512_permutex2var_ps(low, piece, high));
        _mm512_fmadd_ps(_mm512_fmadd_ps(_mm512_fmadd_ps(cube, x, square), x, linear), x, constant)
    }};
}

/// The distance to the nearest integer.
macro_rules! distance {
    ($guess:expr) => {
        _mm512_abs_ps(_mm512_reduce_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>($guess))
    };
}

kernel!(
    /// The largest distance to an integer of the guesses other than `magnitude` for the upper bits `first` ≤ v/2³⁷ < `end`.
    fn worst(avx512: Avx512, cubic: &Cubic, first: i32, end: i32, magnitude: i32) -> f32 {
        let coefficients = load!(avx512, cubic);
        let lanes: __m512i = i32x16::from_fn(avx512, |lane| lane as i32).into();
        let mut worst = _mm512_setzero_ps();
        let mut at = first;
        while at < end {
            let upper = _mm512_add_epi32(_mm512_set1_epi32(at), lanes);
            let guess = guess!(coefficients, _mm512_slli_epi32::<5>(upper));
            let wrong = _mm512_cmpneq_epi32_mask(_mm512_cvttps_epi32(guess), _mm512_set1_epi32(magnitude))
                & _mm512_cmple_epi32_mask(upper, _mm512_set1_epi32(end - 1));
            worst = _mm512_mask_max_ps(worst, wrong, worst, distance!(guess));
            at += 16;
        }
        _mm512_reduce_max_ps(worst)
    }
);

macro_rules! integers {
    ($name:ident, $integer:ident, $vector:ident, $narrow:expr) => {
        kernel!(
            /// The integers of `words`, and for each row the bits of those in doubt.
            pub fn $name(
                avx512: Avx512,
                cubic: &Cubic,
                words: &[[u32; ROW]],
                out: &mut [[$integer; ROW]],
                doubtful: &mut [u32],
            ) {
                let coefficients = load!(avx512, cubic);
                let doubt = _mm512_set1_ps(cubic.doubt);
                for ((words, out), doubtful) in words.iter().zip(out).zip(doubtful) {
                    *doubtful = 0;
                    let halves = words.as_chunks::<16>().0.iter().zip(out.as_chunks_mut::<16>().0);
                    for (half, (words, out)) in halves.enumerate() {
                        let words: __m512i = u32x16::load_array_ref(avx512, words).into();
                        let guess = guess!(coefficients, words);
                        let near = _mm512_cmp_ps_mask::<_CMP_LE_OQ>(distance!(guess), doubt);
                        let deep = _mm512_testn_epi32_mask(words, _mm512_set1_epi32(0x7f80_0000));
                        let size = _mm512_cvttps_epi32(guess);
                        let value =
                            _mm512_mask_sub_epi32(size, _mm512_movepi32_mask(words), _mm512_setzero_si512(), size);
                        let value: $vector<_> = $narrow(value).simd_into(avx512);
                        value.store_slice(out);
                        *doubtful |= u32::from(near | deep) << (16 * half);
                    }
                }
            }
        );
    };
}

integers!(narrow, i16, i16x16, |value| _mm512_cvtepi32_epi16(value));
integers!(wide, i32, i32x16, |value: __m512i| value);
