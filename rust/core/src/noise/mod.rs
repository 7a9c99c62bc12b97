//! Noise as a function: (mechanism, key, draw, coordinate) → number.
//!
//! A value depends on nothing else: not on the number of threads, on how a call is divided, on the instruction set, nor on
//! which other values are computed with it. Half precisions are the single-precision number, rounded; single and double
//! precision agree to within rounding.

mod element;
mod gaussian;
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
use crate::stream::{GROUP, Key, MAX_DIM, coordinate_bits};
use crate::{Error, Mechanism, Result, threads};

/// Elements computed as one piece of parallel work.
const PIECE: usize = 1 << 16;

/// Where a single-precision law reads the low words too: below this value the high word alone is too coarse.
const DEEP: u32 = 1 << 16;

/// How the bits of a group become values.
trait Law<R: Real> {
    /// Computes the values of group `index`; `bits` is working space.
    fn group<S: Simd>(
        &self,
        simd: S,
        draw: &Draw<'_>,
        source: &<R::Bits as Bits>::Source<S>,
        index: u32,
        bits: &mut [R::Bits; GROUP],
        values: &mut [R; GROUP],
    );
}

/// A law with tails. In single precision it reads the high words alone and redoes, from both words, the values that lie so
/// far out that 32 bits are too coarse.
trait Tailed<R: Real> {
    fn values(&self, bits: &[R::Bits; GROUP], values: &mut [R; GROUP]);

    /// How far from the tail the high word of the group's coordinate `at` puts its value; below [`DEEP`] it is redone.
    fn depth(at: usize, word: u32) -> u32;

    /// Computes the value of the group's coordinate `at`, and those that depend on it, from both words.
    fn redo(&self, at: usize, bits: impl Fn(usize) -> u64, values: &mut [R; GROUP]);

    #[cold]
    fn redo_deep(&self, draw: &Draw<'_>, index: u32, bits: &[R::Bits; GROUP], values: &mut [R; GROUP]) {
        let both = |at: usize| coordinate_bits(draw.key, draw.number, u64::from(index) * GROUP as u64 + at as u64);
        for at in (0..GROUP).filter(|at| Self::depth(*at, bits[*at].high()) < DEEP) {
            self.redo(at, both, values);
        }
    }
}

/// The [`Law`] of a [`Tailed`] one.
struct WithTail<L>(L);

impl<R: Real, L: Tailed<R>> Law<R> for WithTail<L> {
    #[inline(always)]
    fn group<S: Simd>(
        &self,
        simd: S,
        draw: &Draw<'_>,
        source: &<R::Bits as Bits>::Source<S>,
        index: u32,
        bits: &mut [R::Bits; GROUP],
        values: &mut [R; GROUP],
    ) {
        R::Bits::load(simd, source, index, bits);
        self.0.values(bits, values);
        if !R::Bits::BOTH_WORDS {
            let mut deepest = u32::MAX;
            for (at, bits) in bits.iter().enumerate() {
                deepest = deepest.min(L::depth(at, bits.high()));
            }
            if deepest < DEEP {
                self.0.redo_deep(draw, index, bits, values);
            }
        }
    }
}

/// One draw of a stream.
struct Draw<'a> {
    key: &'a Key,
    number: u64,
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
        // Whole draws where several fit one piece, so that no group is computed twice.
        let piece = if self.dim <= PIECE { PIECE / self.dim * self.dim } else { PIECE };
        let Ok(()) = threads::for_each(threads, out.chunks_mut(piece).enumerate(), |(index, out)| {
            self.piece(first, start + index * piece, inputs, out);
            Ok::<(), Infallible>(())
        });
    }

    fn piece<T: Element>(&self, first: u64, start: usize, inputs: Option<Inputs<'_, T>>, mut out: &mut [T]) {
        let mut position = start;
        let mut radii = match self.mechanism {
            Mechanism::Exponential { sigma } => {
                let draw = first.wrapping_add((start / self.dim) as u64);
                Some(linf::Radii::new(self.level, &self.key, draw, self.dim, sigma))
            }
            _ => None,
        };
        let uncached = self.past_caches.then(|| Uncached::new(self.level)).flatten();
        let uncached = uncached.as_ref();
        while !out.is_empty() {
            let (draw, coordinate) = (position / self.dim, position % self.dim);
            let (now, later) = out.split_at_mut(out.len().min(self.dim - coordinate));
            let input = inputs.map(|i| &i.values[draw / i.copies * self.dim + coordinate..][..now.len()]);
            let number = first.checked_add(draw as u64).expect("draw numbers fit 64 bits");
            position += now.len();
            let draw = Draw { key: &self.key, number };
            match self.mechanism {
                Mechanism::Gaussian { sigma } => {
                    write(self.level, &WithTail(gaussian::Normal { sigma }), &draw, coordinate, input, now, uncached);
                }
                Mechanism::Laplace { scale } => {
                    write(self.level, &WithTail(laplace::TwoSided { scale }), &draw, coordinate, input, now, uncached);
                }
                Mechanism::Exponential { .. } => {
                    let radius = radii.as_mut().map_or(0.0, |radii| radii.of(number));
                    write(self.level, &linf::Cube { radius }, &draw, coordinate, input, now, uncached);
                }
            }
            out = later;
        }
    }
}

/// Aligned so that no vector register's store straddles two cache lines.
#[repr(align(64))]
struct Aligned<T>(T);

/// Writes the draw's coordinates from `first` on into `out`, added to `inputs` where given.
fn write<T: Element>(
    level: Level,
    law: &impl Law<T::Real>,
    draw: &Draw<'_>,
    first: usize,
    inputs: Option<&[T]>,
    out: &mut [T],
    uncached: Option<&Uncached>,
) {
    dispatch!(level.0, simd => write_with(simd, law, draw, first, inputs, out, uncached));
}

#[inline(always)]
fn write_with<S: Simd, T: Element>(
    simd: S,
    law: &impl Law<T::Real>,
    draw: &Draw<'_>,
    first: usize,
    inputs: Option<&[T]>,
    out: &mut [T],
    uncached: Option<&Uncached>,
) {
    let source = <T::Real as Real>::Bits::source(simd, draw.key, draw.number);
    let mut bits = Aligned([Default::default(); GROUP]);
    let mut values = Aligned([T::Real::default(); GROUP]);
    let (bits, values) = (&mut bits.0, &mut values.0);
    let mut done = 0;
    while done < out.len() {
        let within = (first + done) % GROUP;
        let range = done..out.len().min(done + GROUP - within);
        let index = ((first + done) / GROUP) as u32;
        done = range.end;
        // Noise alone, in its own precision, is computed where it belongs: a copy to unaligned memory costs 5 to 8 %.
        let alone = inputs.is_none() && uncached.is_none();
        let place = if alone { T::unconverted(&mut out[range.clone()]) } else { None };
        let placed = place.is_some();
        law.group(simd, draw, &source, index, bits, place.unwrap_or(values));
        if placed {
            continue;
        }
        let inputs = inputs.map(|inputs| &inputs[range.clone()]);
        let out = &mut out[range];
        if let Ok(out) = out.try_into() {
            let inputs = inputs.and_then(|inputs| inputs.try_into().ok());
            if let Some(uncached) = uncached {
                let mut whole = Aligned([T::default(); GROUP]);
                T::write(simd, values, inputs, &mut whole.0);
                uncached.copy(&whole, out);
            } else {
                T::write(simd, values, inputs, out);
            }
        } else {
            let (mut padded, mut whole) = ([T::default(); GROUP], [T::default(); GROUP]);
            if let Some(inputs) = inputs {
                padded[within..][..inputs.len()].copy_from_slice(inputs);
            }
            T::write(simd, values, inputs.is_some().then_some(&padded), &mut whole);
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
