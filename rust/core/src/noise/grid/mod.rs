//! Exact noise on a grid: (mechanism, grid, key, draw, coordinate) → integer, in steps of 1/grid.
//!
//! For the Gaussian and the Laplace mechanism the integer is Z = round(g·z), z the mechanism's real noise and g the grid; for the
//! Exponential it has P(Z) ∝ exp(−‖Z‖∞/(σg)). Added to an input X/g the sum (X + Z)/g is a function of X/g + z, or an exact
//! mechanism of its own, and its guarantees are theorems about numbers rather than about floats: docs/exact.md has the
//! proofs.
//!
//! What is exact is the law of the integers, to within [`GridNoise::total_variation`]. They are found from the 64 bits of their
//! coordinate by comparing integers. Floats do no more than guess where to look, so every instruction set gives the same
//! integers because there is nothing else that it could give.
//!
//! Bits are addressed as those of [`crate::noise::Noise`] are: the same key, draw and coordinate, high words from one
//! region and low words from another, read only where the high word does not decide. The low bit is not forced to 1 here.

mod cube;
#[cfg(target_arch = "x86_64")]
mod cubic;
mod fixed;
mod laws;
mod sums;
mod table;
pub(crate) mod thresholds;

use std::num::NonZeroUsize;
use std::sync::Arc;

use fearless_simd::{Simd, dispatch};

use super::Inputs;
use crate::stream::level::Level;
use crate::stream::{BLOCKS, Blocks, GROUP, Key, MAX_DIM, Region};
use crate::{Error, Mechanism, Result, threads};
pub(crate) use laws::Law;
pub use sums::{GridFloat, GridInput};

/// The version of everything that turns the stream's bits into integers. It changes whenever any integer does.
pub const GRID_LAYOUT_VERSION: u32 = 1;

/// The finest grid: integers up to here are exact in every type that computes with them.
pub const MAX_GRID: u32 = 1 << 24;

/// Coordinates that are handled together.
const ROW: usize = 32;

/// Rows whose bits are computed together: the stream's groups are cheaper in numbers, and a look-up's results have left for the
/// cache before they are read as vectors.
const BATCH: usize = 12 * GROUP / ROW;

/// Elements computed as one piece of parallel work.
const PIECE: usize = 1 << 16;

/// An integer type that noise can be written in.
pub trait Integer: Copy + Default + Send + Sync + 'static {
    /// The type's name in Python.
    const NAME: &'static str;
    /// The largest integer.
    const MAX: u32;

    /// `value`, which fits.
    fn from_i32(value: i32) -> Self;

    #[doc(hidden)]
    #[cfg(target_arch = "x86_64")]
    fn by_cubic(
        avx512: fearless_simd::Avx512,
        cubic: &cubic::Cubic,
        words: &[[u32; ROW]],
        out: &mut [[Self; ROW]],
        doubtful: &mut [u32],
    );
}

macro_rules! integer {
    ($integer:ident, $name:literal, $by_cubic:path) => {
        impl Integer for $integer {
            const NAME: &'static str = $name;
            const MAX: u32 = $integer::MAX as u32;

            #[inline(always)]
            fn from_i32(value: i32) -> Self {
                value as Self
            }

            #[cfg(target_arch = "x86_64")]
            fn by_cubic(
                avx512: fearless_simd::Avx512,
                cubic: &cubic::Cubic,
                words: &[[u32; ROW]],
                out: &mut [[Self; ROW]],
                doubtful: &mut [u32],
            ) {
                $by_cubic(avx512, cubic, words, out, doubtful);
            }
        }
    };
}

integer!(i16, "int16", cubic::narrow);
integer!(i32, "int32", cubic::wide);

/// The exact noise of one mechanism on one grid under one key: draws of `dim` coordinates each.
#[derive(Clone, Debug)]
pub struct GridNoise {
    law: Arc<Law>,
    grid: u32,
    key: Key,
    dim: usize,
    level: Level,
}

impl GridNoise {
    /// The noise of `mechanism` in steps of 1/`grid`, `dim` coordinates a draw.
    ///
    /// The tables of the law are made at the first use of a mechanism and grid, in up to 50 ms, and kept for the next.
    ///
    /// # Errors
    /// If `dim` is 0 or too large, if `grid` is not from 1 to [`MAX_GRID`], if the noise is too narrow or too wide in steps
    /// of the grid, or if `RSMOOTH_SIMD` asks for an absent instruction set.
    pub fn new(mechanism: Mechanism, grid: u32, key: Key, dim: usize) -> Result<Self> {
        if dim == 0 || dim as u64 > MAX_DIM {
            let allowed = format!("between 1 and {MAX_DIM} coordinates a draw");
            return Err(Error::argument("shape", allowed, dim));
        }
        if grid == 0 || grid > MAX_GRID {
            let allowed = format!("an integer from 1 to {MAX_GRID}");
            return Err(Error::argument("grid", allowed, grid));
        }
        Ok(Self { law: laws::law(mechanism, grid, dim as u64)?, grid, key, dim, level: Level::in_use()? })
    }

    /// The largest |Z|.
    pub fn largest(&self) -> u32 {
        self.law.largest()
    }

    /// Whether every integer fits `T`.
    pub fn fits<T: Integer>(&self) -> bool {
        self.largest() <= T::MAX
    }

    /// The bytes of the law's tables.
    pub fn table_bytes(&self) -> usize {
        self.law.bytes()
    }

    /// At least the total variation distance of a whole draw from its law, if the stream's bits are uniform.
    pub fn total_variation(&self) -> f64 {
        self.law.total_variation(self.dim as f64)
    }

    /// Fills `out` with the integers from position `start` on, counted over draws and coordinates: position p is
    /// coordinate p mod `dim` of draw `first` + p / `dim`.
    ///
    /// # Errors
    /// If `T` cannot hold every integer.
    ///
    /// # Panics
    /// If the last draw's number does not fit 64 bits.
    pub fn fill<T: Integer>(
        &self,
        first: u64,
        start: usize,
        out: &mut [T],
        threads: Option<NonZeroUsize>,
    ) -> Result<()> {
        if !self.fits::<T>() {
            let allowed = format!("a type that holds integers up to {}", self.largest());
            return Err(Error::argument("dtype", allowed, T::NAME));
        }
        self.for_each_piece(first, start, out, threads, |mut at, out| self.write(&mut at, out));
        Ok(())
    }

    /// Fills `out` with (X + Z)/`grid` of `inputs` X, from position `start` on: the nearest number of type `T`, ties to even.
    ///
    /// # Errors
    /// If `T` cannot hold every sum that may occur, or if there are fewer inputs than draws ask for.
    ///
    /// # Panics
    /// If the last draw's number does not fit 64 bits.
    pub fn fill_sums<X: GridInput, T: GridFloat>(
        &self,
        first: u64,
        start: usize,
        inputs: Inputs<'_, X>,
        out: &mut [T],
        threads: Option<NonZeroUsize>,
    ) -> Result<()> {
        if inputs.copies == 0 {
            return Err(Error::argument("copies", "at least 1", 0));
        }
        let needed = (start + out.len()).div_ceil(self.dim).div_ceil(inputs.copies);
        if inputs.values.len() / self.dim < needed {
            let allowed = format!("{} values for each of {needed} inputs", self.dim);
            return Err(Error::argument("inputs", allowed, format!("{} values", inputs.values.len())));
        }
        let widest = inputs.values.iter().map(|x| x.to_i32().unsigned_abs()).max().unwrap_or(0);
        let reach = u64::from(widest) + u64::from(self.largest());
        if reach as f64 / f64::from(self.grid) > T::MAX {
            let allowed = format!("a type that holds numbers up to {reach}/{}", self.grid);
            return Err(Error::argument("dtype", allowed, T::NAME));
        }
        let quotients = sums::Quotients { level: self.level, grid: self.grid, reach };
        self.for_each_piece(first, start, out, threads, |mut at, mut out| {
            let mut integers = Aligned([0; BATCH * ROW]);
            while !out.is_empty() {
                let (row, coordinate) = (at.position / self.dim, at.position % self.dim);
                let count = out.len().min(self.dim - coordinate).min(BATCH * ROW - coordinate % GROUP);
                let (now, later) = out.split_at_mut(count);
                let integers = &mut integers.0[..count];
                self.write(&mut at, integers);
                let inputs = &inputs.values[row / inputs.copies * self.dim + coordinate..][..count];
                quotients.write(inputs, integers, now);
                out = later;
            }
        });
        Ok(())
    }

    /// Calls `work` on pieces of `out`, each with its place.
    fn for_each_piece<T: Send>(
        &self,
        first: u64,
        start: usize,
        out: &mut [T],
        threads: Option<NonZeroUsize>,
        work: impl Fn(Cursor, &mut [T]) + Sync,
    ) {
        let Some(last) = (start + out.len()).checked_sub(1) else { return };
        assert!(first.checked_add((last / self.dim) as u64).is_some(), "draw numbers fit 64 bits");
        // Whole draws where several fit one piece, so that no group is computed twice.
        let piece = if self.dim <= PIECE { PIECE / self.dim * self.dim } else { PIECE };
        let Ok(()) = threads::for_each(threads, out.chunks_mut(piece).enumerate(), |(index, out)| {
            work(Cursor { first, position: start + index * piece, radii: None, space: Box::default() }, out);
            Ok::<(), std::convert::Infallible>(())
        });
    }

    /// Writes the integers from `at` on, and moves it.
    fn write<T: Integer>(&self, at: &mut Cursor, mut out: &mut [T]) {
        while !out.is_empty() {
            let draw = at.first.wrapping_add((at.position / self.dim) as u64);
            let coordinate = at.position % self.dim;
            let (now, later) = out.split_at_mut(out.len().min(self.dim - coordinate));
            let radius = match &*self.law {
                Law::Independent(_) => 0,
                Law::Cube(cube) => at.radius(draw, || cube.radii(self.level, &self.key, draw)),
            };
            self.write_draw(draw, radius, coordinate, &mut at.space, now);
            at.position += now.len();
            out = later;
        }
    }

    /// Writes the draw's integers from coordinate `first` on.
    fn write_draw<T: Integer>(&self, draw: u64, radius: u32, first: usize, space: &mut Space, mut out: &mut [T]) {
        let mut coordinate = first;
        while !out.is_empty() {
            let (index, within) = ((coordinate / GROUP) as u32, coordinate % GROUP);
            // Whole rows are computed where they belong, others beside.
            let direct = within == 0 && out.len() >= ROW;
            let count = if direct { out.len().min(BATCH * ROW) / ROW * ROW } else { out.len().min(GROUP - within) };
            let (now, later) = out.split_at_mut(count);
            let rows = (within + count).div_ceil(ROW);
            let words = &mut space.words.0[..rows.next_multiple_of(GROUP / ROW)];
            cipher(self.level, &self.key, draw, Region::High, index, words.as_flattened_mut().as_chunks_mut().0);
            let mut known = None;
            let low = &mut |at: usize| self.low_word(draw, index + (at / GROUP) as u32, at % GROUP, &mut known);
            if direct {
                self.integers(radius, rows, space, low, now.as_chunks_mut().0);
            } else {
                let mut whole = [[T::default(); ROW]; GROUP / ROW];
                self.integers(radius, rows, space, low, &mut whole[..rows]);
                now.copy_from_slice(&whole.as_flattened()[within..][..count]);
            }
            coordinate += count;
            out = later;
        }
    }

    /// Low word `within` of a group; `known` keeps the group that was computed last.
    fn low_word(&self, draw: u64, index: u32, within: usize, known: &mut Option<(u32, [u32; GROUP])>) -> u32 {
        if known.is_none_or(|(known, _)| known != index) {
            let mut words = [[0; GROUP]];
            cipher(self.level, &self.key, draw, Region::Low, index, &mut words);
            *known = Some((index, words[0]));
        }
        known.expect("computed above").1[within]
    }

    #[inline]
    fn integers<T: Integer>(
        &self,
        radius: u32,
        rows: usize,
        space: &mut Space,
        low: &mut LowWord<'_>,
        out: &mut [[T; ROW]],
    ) {
        match &*self.law {
            Law::Independent(magnitudes) => magnitudes.integers(self.level, rows, space, low, out),
            Law::Cube(_) => cube::integers(self.level, radius, &space.words.0[..rows], low, out),
        }
    }
}

/// A place in the stream's draws, with working space.
struct Cursor {
    first: u64,
    position: usize,
    /// The half-widths of sixteen draws, the first of which has that number.
    radii: Option<(u64, [u32; BLOCKS])>,
    space: Box<Space>,
}

impl Cursor {
    /// The half-width of draw `draw`; `compute` gives those from there on.
    fn radius(&mut self, draw: u64, compute: impl FnOnce() -> [u32; BLOCKS]) -> u32 {
        match self.radii {
            Some((first, radii)) if draw.wrapping_sub(first) < BLOCKS as u64 => {
                radii[draw.wrapping_sub(first) as usize]
            }
            _ => self.radii.insert((draw, compute())).1[0],
        }
    }
}

/// Aligned so that no vector register's load or store straddles two cache lines.
#[repr(align(64))]
struct Aligned<T>(T);

/// Rows of one batch.
type Rows = Aligned<[[u32; ROW]; BATCH]>;

/// Working space for a batch.
struct Space {
    /// High words.
    words: Rows,
    /// What a law makes of them.
    keys: Rows,
    /// What it finds by it.
    found: Rows,
}

impl Default for Space {
    fn default() -> Self {
        let rows = || Aligned([[0; ROW]; BATCH]);
        Self { words: rows(), keys: rows(), found: rows() }
    }
}

/// The low word of a batch's coordinate.
type LowWord<'a> = dyn FnMut(usize) -> u32 + 'a;

/// The words of the draw's groups from `first` on. Not inlined, so that the laws share it.
#[inline(never)]
fn cipher(level: Level, key: &Key, draw: u64, region: Region, first: u32, words: &mut [[u32; GROUP]]) {
    dispatch!(level.0, simd => cipher_with(simd, key, draw, region, first, words));
}

#[inline(always)]
fn cipher_with<S: Simd>(simd: S, key: &Key, draw: u64, region: Region, first: u32, words: &mut [[u32; GROUP]]) {
    let blocks = Blocks::<S::u32s>::new(simd, key, draw, region);
    for (index, words) in (first..).zip(words) {
        blocks.store_group(simd, index, words);
    }
}

#[cfg(test)]
mod tests;
