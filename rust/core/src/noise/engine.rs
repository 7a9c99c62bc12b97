//! The noise of a mechanism under a key, cut into pieces of parallel work.

use std::convert::Infallible;
use std::num::NonZeroUsize;

use fearless_simd::{Simd, dispatch};

use super::element::Element;
use super::law::{Draw, Law, Stream};
use super::uncached::Uncached;
use super::writer::{Aligned, Writer};
use crate::mechanisms::{Family, Visitor};
use crate::stream::level::Level;
use crate::stream::{BLOCKS, GROUP, Key, MAX_DIM};
use crate::{Error, Mechanism, Result, threads};

/// Elements computed as one piece of parallel work.
const PIECE: usize = 1 << 16;

/// The noise of one mechanism under one key: draws of `dim` coordinates each.
#[derive(Clone, Copy, Debug)]
pub struct Noise {
    mechanism: Mechanism,
    key: Key,
    dim: usize,
    level: Level,
    past_caches: bool,
}

/// A piece of work whose law is still to be found.
struct Piece<'a, T> {
    noise: &'a Noise,
    first: u64,
    start: usize,
    inputs: Option<Inputs<'a, T>>,
    out: &'a mut [T],
}

impl<T: Element> Visitor for Piece<'_, T> {
    fn visit(self, family: impl Family) {
        let Self { noise, first, start, inputs, out } = self;
        let draw = first.wrapping_add((start / noise.dim) as u64);
        let stream = Stream { level: noise.level, key: &noise.key, first: draw, dim: noise.dim };
        noise.piece_of(family.law(&stream), first, start, inputs, out);
    }
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
            return Err(Error::argument("shape", format!("between 1 and {MAX_DIM} coordinates a draw"), dim));
        }
        let parameter = mechanism.parameter();
        let largest = T::MAX / mechanism.reach(dim);
        if !(T::MIN_NORMAL..=largest).contains(&parameter) {
            let allowed =
                format!("between {:e} and {largest:e} for {} noise of {dim} coordinates", T::MIN_NORMAL, T::NAME);
            return Err(Error::argument(mechanism.parameter_name(), allowed, parameter));
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
        self.mechanism.visit(Piece { noise: self, first, start, inputs, out });
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

#[cfg(test)]
mod tests {
    use half::{bf16, f16};

    use super::*;
    use crate::stream::{coordinate_bits, level};

    const KEY: Key = Key([1, 2, 3, 4, 5, 6, 7, 8]);

    fn mechanisms() -> [Mechanism; 3] {
        [
            Mechanism::named("gaussian", 0.5).unwrap(),
            Mechanism::named("exponential", 0.01).unwrap(),
            Mechanism::named("laplace", 0.5).unwrap(),
        ]
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
        for (mechanism, sign) in
            [(Mechanism::named("gaussian", 1.0).unwrap(), 0), (Mechanism::named("laplace", 1.0).unwrap(), 1)]
        {
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
        let noise = Noise::new::<f64>(Mechanism::named("laplace", 0.1).unwrap(), KEY, 300).unwrap();
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
        assert!(Noise::new::<f16>(Mechanism::named("exponential", 1.0).unwrap(), KEY, 150_528).is_err());
        assert!(Noise::new::<f16>(Mechanism::named("gaussian", 1e-5).unwrap(), KEY, 1).is_err());
        assert!(Noise::new::<f32>(Mechanism::named("gaussian", 1.0).unwrap(), KEY, 0).is_err());
        assert!(Noise::new::<f64>(Mechanism::named("gaussian", 1e-5).unwrap(), KEY, 1).is_ok());
    }
}
