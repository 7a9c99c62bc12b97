//! What a law of noise does: it turns bits into values, a group of coordinates or a row of draws at a time.

use fearless_simd::Simd;

use super::real::{Bits, Real};
use crate::stream::level::Level;
use crate::stream::{BLOCKS, GROUP, Key, coordinate_bits};

/// Where a single-precision law reads the low words too: below this value the high word alone is too coarse.
const DEEP: u32 = 1 << 16;

/// Coordinates whose values are computed together: two words of each block of a group.
pub(crate) const ROW: usize = 2 * BLOCKS;

/// How bits become values.
pub(crate) trait Law<R: Real> {
    /// Computes the values of a group; `bits` is working space.
    fn group<S: Simd>(
        &mut self,
        simd: S,
        group: &Group<'_, S, R::Bits>,
        bits: &mut [R::Bits; GROUP],
        values: &mut [R; GROUP],
    );

    /// Computes `draw` and the draws after it side by side: the first half of row r holds coordinate `first` + r of each;
    /// `bits` is working space.
    fn side_by_side<S: Simd>(
        &mut self,
        simd: S,
        draw: &Draw<'_>,
        first: usize,
        bits: &mut [[R::Bits; ROW]],
        values: &mut [[R; ROW]],
    );
}

/// A law with tails. In single precision it reads the high words alone and redoes, from both words, the values that lie so
/// far out that 32 bits are too coarse.
pub(crate) trait Tailed<R: Real> {
    /// Computes the values of a row.
    fn values(&self, bits: &[R::Bits; ROW], values: &mut [R; ROW]);

    /// How far from the tail the high word of the row's coordinate `at` puts its value; below [`DEEP`] it is redone.
    fn depth(at: usize, word: u32) -> u32;

    /// Computes the value of the row's coordinate `at`, and those that depend on it, from both words.
    fn redo(&self, at: usize, bits: impl Fn(usize) -> u64, values: &mut [R; ROW]);

    /// Computes the values of rows; `both` gives both words of coordinate `at` of row `row`.
    #[inline(always)]
    fn rows(&self, bits: &[[R::Bits; ROW]], values: &mut [[R; ROW]], both: impl Fn(usize, usize) -> u64) {
        let mut deepest = u32::MAX;
        for (bits, values) in bits.iter().zip(&mut *values) {
            self.values(bits, values);
            for (at, bits) in bits.iter().enumerate() {
                deepest = deepest.min(Self::depth(at, bits.high()));
            }
        }
        if !R::Bits::BOTH_WORDS && deepest < DEEP {
            self.redo_deep(bits, values, both);
        }
    }

    #[cold]
    fn redo_deep(&self, bits: &[[R::Bits; ROW]], values: &mut [[R; ROW]], both: impl Fn(usize, usize) -> u64) {
        for (row, (bits, values)) in bits.iter().zip(values).enumerate() {
            for at in (0..ROW).filter(|at| Self::depth(*at, bits[*at].high()) < DEEP) {
                self.redo(at, |at| both(row, at), values);
            }
        }
    }
}

/// The [`Law`] of a [`Tailed`] one.
pub(crate) struct WithTail<L>(pub L);

impl<R: Real, L: Tailed<R>> Law<R> for WithTail<L> {
    #[inline(always)]
    fn group<S: Simd>(
        &mut self,
        simd: S,
        group: &Group<'_, S, R::Bits>,
        bits: &mut [R::Bits; GROUP],
        values: &mut [R; GROUP],
    ) {
        let Group { draw, source, index, rows } = *group;
        R::Bits::load(simd, source, index, bits);
        let start = u64::from(index) * GROUP as u64;
        let both = |row: usize, at: usize| coordinate_bits(draw.key, draw.number, start + (row * ROW + at) as u64);
        self.0.rows(&bits.as_chunks().0[..rows], &mut values.as_chunks_mut().0[..rows], both);
    }

    #[inline(always)]
    fn side_by_side<S: Simd>(
        &mut self,
        simd: S,
        draw: &Draw<'_>,
        first: usize,
        bits: &mut [[R::Bits; ROW]],
        values: &mut [[R; ROW]],
    ) {
        R::Bits::load_side_by_side(simd, draw.key, draw.number, first, bits);
        let both = |row: usize, at: usize| {
            let number = draw.number.wrapping_add((at % BLOCKS) as u64);
            coordinate_bits(draw.key, number, (first + row + at / BLOCKS * BLOCKS) as u64)
        };
        self.0.rows(bits, values, both);
    }
}

/// Where a law finds its bits.
pub(crate) struct Stream<'a> {
    pub level: Level,
    pub key: &'a Key,
    /// Number of the first draw that is wanted.
    pub first: u64,
    /// Coordinates of a draw.
    pub dim: usize,
}

/// One draw of a stream.
pub(crate) struct Draw<'a> {
    pub key: &'a Key,
    pub number: u64,
}

/// A group of a draw, of which at least the first `rows` rows are wanted.
pub(crate) struct Group<'a, S: Simd, B: Bits> {
    pub draw: &'a Draw<'a>,
    pub source: &'a B::Source<S>,
    pub index: u32,
    pub rows: usize,
}
