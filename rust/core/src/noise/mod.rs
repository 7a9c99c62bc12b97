//! Noise as a function: (mechanism, key, draw, coordinate) → number.
//!
//! A value depends on nothing else: not on the number of threads, on how a call is divided, on the instruction set, nor on
//! which other values are computed with it. Half precisions are the single-precision number, rounded; single and double
//! precision agree to within rounding.

mod element;
mod gaussian;
pub mod grid;
mod laplace;
mod linf;
mod real;
mod uncached;

use std::convert::Infallible;
use std::num::NonZeroUsize;

use fearless_simd::{Simd, dispatch};

pub use element::Element;
use real::{Bits, Real};
use uncached::Uncached;

use crate::stream::level::Level;
use crate::stream::{BLOCKS, GROUP, Key, MAX_DIM, coordinate_bits};
use crate::{Error, Mechanism, Result, threads};

/// Elements computed as one piece of parallel work.
const PIECE: usize = 1 << 16;

/// Where a single-precision law reads the low words too: below this value the high word alone is too coarse.
const DEEP: u32 = 1 << 16;

/// Coordinates whose values are computed together: two words of each block of a group.
const ROW: usize = 2 * BLOCKS;

/// How bits become values.
trait Law<R: Real> {
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
trait Tailed<R: Real> {
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
struct WithTail<L>(L);

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

/// One draw of a stream.
struct Draw<'a> {
    key: &'a Key,
    number: u64,
}

/// A group of a draw, of which at least the first `rows` rows are wanted.
struct Group<'a, S: Simd, B: Bits> {
    draw: &'a Draw<'a>,
    source: &'a B::Source<S>,
    index: u32,
    rows: usize,
}

/// The noise of one mechanism under one key: draws of `dim` coordinates each.
#[derive(Clone, Copy, Debug)]
pub struct Noise {
    mechanism: Mechanism,
    key: Key,
    dim: usize,
    level: Level,
    past_caches: bool,
}

/// The inputs that noise is added to: draw i goes to input i / `copies`.
#[derive(Clone, Copy, Debug)]
pub struct Inputs<'a, T> {
    /// The inputs, one after another, `dim` values each.
    pub values: &'a [T],
    /// Consecutive draws for each input.
    pub copies: usize,
}

impl Noise {
    /// The noise of `mechanism`, `dim` coordinates a draw, in numbers of type `T`.
    ///
    /// # Errors
    /// If `dim` is 0 or too large, if the noise cannot be represented in `T`, or if `RSMOOTH_SIMD` asks for an absent
    /// instruction set.
    pub fn new<T: Element>(mechanism: Mechanism, key: Key, dim: usize) -> Result<Self> {
        if dim == 0 || dim as u64 > MAX_DIM {
            let allowed = format!("between 1 and {MAX_DIM} coordinates a draw");
            return Err(Error::Argument { name: "shape", allowed, value: dim.to_string() });
        }
        let (name, parameter, reach) = match mechanism {
            // Lengths stop at √(2·65 ln 2), magnitudes at 65 ln 2; a Gamma variable passes this with probability e^−100.
            Mechanism::Gaussian { sigma } => ("sigma", sigma, 10.0),
            Mechanism::Laplace { scale } => ("scale", scale, 46.0),
            Mechanism::Exponential { sigma } => ("sigma", sigma, dim as f64 + 20.0 * (dim as f64).sqrt() + 200.0),
        };
        let largest = T::MAX / reach;
        if !(T::MIN_NORMAL..=largest).contains(&parameter) {
            let allowed =
                format!("between {:e} and {largest:e} for {} noise of {dim} coordinates", T::MIN_NORMAL, T::NAME);
            return Err(Error::Argument { name, allowed, value: parameter.to_string() });
        }
        Ok(Self { mechanism, key, dim, level: Level::in_use()?, past_caches: false })
    }

    /// The same noise, stored past the caches where the processor can: for outputs much larger than they are, in memory that
    /// has been written before (fresh pages come with their zeros in the cache, and then this is slower).
    #[must_use]
    pub fn past_caches(self) -> Self {
        Self { past_caches: true, ..self }
    }

    /// Fills `out` with the numbers from position `start` on, counted over draws and coordinates: position p is
    /// coordinate p mod `dim` of draw `first` + p / `dim`. With `inputs`, adds the noise to them.
    ///
    /// # Panics
    /// If the last draw's number does not fit 64 bits or `inputs` are too short.
    pub fn fill<T: Element>(
        &self,
        first: u64,
        start: usize,
        inputs: Option<Inputs<'_, T>>,
        out: &mut [T],
        threads: Option<NonZeroUsize>,
    ) {
        let Some(last) = (start + out.len()).checked_sub(1) else { return };
        assert!(first.checked_add((last / self.dim) as u64).is_some(), "draw numbers fit 64 bits");
        // Whole draws where several fit one piece, so that no group is computed twice.
        let piece = if self.dim <= PIECE { PIECE / self.dim * self.dim } else { PIECE };
        let Ok(()) = threads::for_each(threads, out.chunks_mut(piece).enumerate(), |(index, out)| {
            self.piece(first, start + index * piece, inputs, out);
            Ok::<(), Infallible>(())
        });
    }

    fn piece<T: Element>(&self, first: u64, start: usize, inputs: Option<Inputs<'_, T>>, out: &mut [T]) {
        match self.mechanism {
            Mechanism::Gaussian { sigma } => {
                self.piece_of(WithTail(gaussian::Normal { sigma }), first, start, inputs, out);
            }
            Mechanism::Laplace { scale } => {
                self.piece_of(WithTail(laplace::TwoSided { scale }), first, start, inputs, out);
            }
            Mechanism::Exponential { sigma } => {
                let draw = first.wrapping_add((start / self.dim) as u64);
                let radii = linf::Radii::new(self.level, &self.key, draw, self.dim, sigma);
                self.piece_of(linf::Cube { radii }, first, start, inputs, out);
            }
        }
    }

    fn piece_of<T: Element>(
        &self,
        law: impl Law<T::Real>,
        first: u64,
        start: usize,
        inputs: Option<Inputs<'_, T>>,
        out: &mut [T],
    ) {
        let uncached = self.past_caches.then(|| Uncached::new(self.level)).flatten();
        let (bits, values) = (Aligned([Default::default(); GROUP]), Aligned([T::Real::default(); GROUP]));
        let writer = Writer { law, uncached, bits, values };
        dispatch!(self.level.0, simd => self.piece_with(simd, writer, first, start, inputs, out));
    }

    #[inline(always)]
    fn piece_with<S: Simd, T: Element>(
        &self,
        simd: S,
        mut writer: Writer<T::Real, impl Law<T::Real>>,
        first: u64,
        start: usize,
        inputs: Option<Inputs<'_, T>>,
        mut out: &mut [T],
    ) {
        let dim = self.dim;
        let mut position = start;
        while !out.is_empty() {
            let (row, coordinate) = (position / dim, position % dim);
            let draw = Draw { key: &self.key, number: first.wrapping_add(row as u64) };
            // One by one, every draw costs a group of blocks; side by side, a group's worth for every coordinate.
            let together = BLOCKS.min(out.len() / dim);
            let draws = if together > dim { together } else { 1 };
            let (now, later) = out.split_at_mut(out.len().min(draws * dim - coordinate));
            if draws > 1 {
                let inputs = inputs.map(|inputs| {
                    let mut of_draws = [T::default(); GROUP];
                    for (row, of_draw) in (row..row + draws).zip(of_draws.chunks_exact_mut(dim)) {
                        of_draw.copy_from_slice(&inputs.values[row / inputs.copies * dim..][..dim]);
                    }
                    of_draws
                });
                let inputs = inputs.as_ref().map(|of_draws| &of_draws[coordinate..][..now.len()]);
                let noise = writer.short_draws(simd, &draw, dim);
                writer.put(simd, &noise, coordinate, inputs, now);
            } else {
                let inputs = inputs.map(|i| &i.values[row / i.copies * dim + coordinate..][..now.len()]);
                writer.draw(simd, &draw, coordinate, inputs, now);
            }
            position += now.len();
            out = later;
        }
    }
}

/// Aligned so that no vector register's store straddles two cache lines.
#[repr(align(64))]
struct Aligned<T>(T);

/// A law with working space.
struct Writer<R: Real, L> {
    law: L,
    uncached: Option<Uncached>,
    bits: Aligned<[R::Bits; GROUP]>,
    values: Aligned<[R; GROUP]>,
}

impl<R: Real, L: Law<R>> Writer<R, L> {
    /// Writes the draw's coordinates from `first` on into `out`, added to `inputs` where given.
    #[inline(always)]
    fn draw<S: Simd, T: Element<Real = R>>(
        &mut self,
        simd: S,
        draw: &Draw<'_>,
        first: usize,
        inputs: Option<&[T]>,
        out: &mut [T],
    ) {
        let source = &R::Bits::source(simd, draw.key, draw.number);
        let mut done = 0;
        while done < out.len() {
            let within = (first + done) % GROUP;
            let range = done..out.len().min(done + GROUP - within);
            let index = ((first + done) / GROUP) as u32;
            let rows = (within + range.len()).div_ceil(ROW);
            let group = Group { draw, source, index, rows };
            done = range.end;
            let inputs = inputs.map(|inputs| &inputs[range.clone()]);
            let out = &mut out[range];
            // Noise alone, in its own precision, is computed where it belongs: a copy to unaligned memory costs 5 to 8 %.
            if inputs.is_none()
                && self.uncached.is_none()
                && let Some(out) = T::unconverted(out).and_then(|out| out.try_into().ok())
            {
                self.law.group(simd, &group, &mut self.bits.0, out);
            } else {
                self.law.group(simd, &group, &mut self.bits.0, &mut self.values.0);
                self.put(simd, &self.values, within, inputs, out);
            }
        }
    }

    /// The values of `draw` and the draws after it, `dim` each, one draw after another.
    #[inline(always)]
    fn short_draws<S: Simd>(&mut self, simd: S, draw: &Draw<'_>, dim: usize) -> Aligned<[R; GROUP]> {
        let mut in_order = Aligned([R::default(); GROUP]);
        for start in (0..dim).step_by(GROUP / ROW) {
            let rows = (dim - start).min(GROUP / ROW);
            let bits = &mut self.bits.0.as_chunks_mut().0[..rows];
            let values = &mut self.values.0.as_chunks_mut().0[..rows];
            self.law.side_by_side(simd, draw, start, bits, values);
            for (coordinate, values) in (start..).zip(values) {
                for (draw, value) in values[..BLOCKS].iter().enumerate() {
                    in_order.0[draw * dim + coordinate] = *value;
                }
            }
        }
        in_order
    }

    /// Writes `noise` from `within` on into `out`, added to `inputs` where given.
    #[inline(always)]
    fn put<S: Simd, T: Element<Real = R>>(
        &self,
        simd: S,
        noise: &Aligned<[R; GROUP]>,
        within: usize,
        inputs: Option<&[T]>,
        out: &mut [T],
    ) {
        if let Ok(out) = (&mut *out).try_into() {
            let inputs = inputs.and_then(|inputs| inputs.try_into().ok());
            if let Some(uncached) = &self.uncached {
                let mut whole = Aligned([T::default(); GROUP]);
                T::write(simd, &noise.0, inputs, &mut whole.0);
                uncached.copy(&whole, out);
            } else {
                T::write(simd, &noise.0, inputs, out);
            }
        } else if inputs.is_none()
            && let Some(out) = T::unconverted(out)
        {
            out.copy_from_slice(&noise.0[within..][..out.len()]);
        } else {
            let (mut padded, mut whole) = ([T::default(); GROUP], [T::default(); GROUP]);
            if let Some(inputs) = inputs {
                padded[within..][..inputs.len()].copy_from_slice(inputs);
            }
            T::write(simd, &noise.0, inputs.is_some().then_some(&padded), &mut whole);
            out.copy_from_slice(&whole[within..][..out.len()]);
        }
    }
}

#[cfg(test)]
mod tests {
    use half::{bf16, f16};

    use super::*;
    use crate::stream::level;

    const KEY: Key = Key([1, 2, 3, 4, 5, 6, 7, 8]);

    fn mechanisms() -> [Mechanism; 3] {
        [Mechanism::Gaussian { sigma: 0.5 }, Mechanism::Exponential { sigma: 0.01 }, Mechanism::Laplace { scale: 0.5 }]
    }

    fn draw<T: Element>(noise: &Noise, first: u64, rows: usize, threads: usize) -> Vec<T> {
        let mut out = vec![T::default(); rows * noise.dim];
        noise.fill(first, 0, None, &mut out, NonZeroUsize::new(threads));
        out
    }

    fn same_at_every_level<T: Element + PartialEq + std::fmt::Debug>() {
        for mechanism in mechanisms() {
            for dim in [1, 15, 16, 17, 300, 3072] {
                let mut noise = Noise::new::<T>(mechanism, KEY, dim).unwrap();
                // Enough values, once, that the tail is redone and a Gamma attempt fails.
                let rows = if dim == 300 { 700 } else { 3 };
                let mut levels = level::supported().map(|level| {
                    noise.level = level;
                    draw::<T>(&noise, u64::from(u32::MAX) - 3, rows, 1)
                });
                let scalar = levels.next().unwrap();
                assert!(levels.all(|values| values == scalar), "{mechanism:?}, {dim} coordinates");
            }
        }
    }

    #[test]
    fn values_are_the_same_at_every_level() {
        same_at_every_level::<f32>();
        same_at_every_level::<f64>();
        same_at_every_level::<f16>();
        same_at_every_level::<bf16>();
    }

    #[test]
    fn any_start_and_any_thread_count_continue_the_same_stream() {
        for mechanism in mechanisms() {
            for dim in [7, 700, PIECE + 5] {
                let noise = Noise::new::<f32>(mechanism, KEY, dim).unwrap();
                let rows = 3 * PIECE / dim + 2;
                let whole = draw::<f32>(&noise, 9, rows, 1);
                assert_eq!(whole, draw::<f32>(&noise, 9, rows, 3));
                for start in [1, 255, 256, 257, dim, whole.len() - 1] {
                    let mut part = vec![0.0; whole.len() - start];
                    noise.fill(9, start, None, &mut part, None);
                    assert_eq!(whole[start..], part);
                }
            }
        }
    }

    fn same_side_by_side<T: Element + PartialEq + std::fmt::Debug>() {
        const ROWS: usize = 37;
        let first = u64::from(u32::MAX) - 3;
        for mechanism in mechanisms() {
            for dim in 1..=BLOCKS {
                let mut noise = Noise::new::<T>(mechanism, KEY, dim).unwrap();
                let inputs = draw::<T>(&noise, 0, ROWS.div_ceil(3), 1);
                let inputs = Some(Inputs { values: &inputs, copies: 3 });
                for level in level::supported() {
                    noise.level = level;
                    for inputs in [None, inputs] {
                        let mut alone = vec![T::default(); ROWS * dim];
                        for (row, out) in alone.chunks_exact_mut(dim).enumerate() {
                            noise.fill(first, row * dim, inputs, out, None);
                        }
                        for start in [0, 1, dim / 2, dim + 1] {
                            let mut beside = vec![T::default(); ROWS * dim - start];
                            noise.fill(first, start, inputs, &mut beside, None);
                            assert_eq!(beside, alone[start..], "{mechanism:?}, {level:?}, {dim} coordinates");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn draws_side_by_side_are_those_one_by_one() {
        same_side_by_side::<f32>();
        same_side_by_side::<f64>();
        same_side_by_side::<f16>();
        same_side_by_side::<bf16>();
    }

    #[test]
    fn tails_are_resolved_side_by_side_too() {
        // Bits that lie in the tail are zeros at the top, apart from the sign.
        for (mechanism, sign) in [(Mechanism::Gaussian { sigma: 1.0 }, 0), (Mechanism::Laplace { scale: 1.0 }, 1)] {
            let mut noise = Noise::new::<f32>(mechanism, KEY, 5).unwrap();
            let (mut alone, mut deep) = (vec![0f32; 150_000], 0);
            for (position, out) in (0..).step_by(5).zip(alone.chunks_exact_mut(5)) {
                noise.fill(0, position, None, out, None);
                let bits = |coordinate| coordinate_bits(&KEY, position as u64 / 5, coordinate) << sign;
                deep += (0..5).filter(|coordinate| bits(*coordinate) < 1 << 48).count();
            }
            assert!(deep > 0);
            for level in level::supported() {
                noise.level = level;
                assert_eq!(draw::<f32>(&noise, 0, 30_000, 1), alone, "{mechanism:?}, {level:?}");
            }
        }
    }

    #[test]
    fn inputs_are_added_once() {
        let inputs: Vec<f64> = (0..600).map(f64::from).collect();
        let noise = Noise::new::<f64>(Mechanism::Laplace { scale: 0.1 }, KEY, 300).unwrap();
        let plain = draw::<f64>(&noise, 0, 10, 1);
        let mut sums = vec![0.0; 3000];
        noise.fill(0, 0, Some(Inputs { values: &inputs, copies: 5 }), &mut sums, None);
        for (i, (sum, z)) in sums.iter().zip(plain).enumerate() {
            assert_eq!(*sum, inputs[i / 1500 * 300 + i % 300] + z);
        }
    }

    fn same_past_the_caches<T: Element + PartialEq + std::fmt::Debug>() {
        let inputs = draw::<T>(&Noise::new::<T>(mechanisms()[0], KEY, 1000).unwrap(), 0, 1, 1);
        for mechanism in mechanisms() {
            let mut noise = Noise::new::<T>(mechanism, KEY, 1000).unwrap();
            for level in level::supported() {
                noise.level = level;
                for inputs in [None, Some(Inputs { values: &inputs, copies: 3 })] {
                    let [mut through, mut past] = [vec![T::default(); 3064], vec![T::default(); 3064]];
                    // Some of these starts are the start of a line.
                    for start in 0..64 {
                        noise.fill(5, 0, inputs, &mut through[start..][..3000], None);
                        noise.past_caches().fill(5, 0, inputs, &mut past[start..][..3000], None);
                        assert_eq!(through, past, "{mechanism:?}, {level:?}, start {start}");
                    }
                }
            }
        }
    }

    #[test]
    fn stores_past_the_caches_store_the_same() {
        same_past_the_caches::<f32>();
        same_past_the_caches::<f64>();
        same_past_the_caches::<f16>();
        same_past_the_caches::<bf16>();
    }

    #[test]
    fn noise_that_the_type_cannot_hold_is_refused() {
        assert!(Noise::new::<f16>(Mechanism::Exponential { sigma: 1.0 }, KEY, 150_528).is_err());
        assert!(Noise::new::<f16>(Mechanism::Gaussian { sigma: 1e-5 }, KEY, 1).is_err());
        assert!(Noise::new::<f32>(Mechanism::Gaussian { sigma: 1.0 }, KEY, 0).is_err());
        assert!(Noise::new::<f64>(Mechanism::Gaussian { sigma: 1e-5 }, KEY, 1).is_ok());
    }
}
