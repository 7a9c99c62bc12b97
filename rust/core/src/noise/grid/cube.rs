//! The Exponential mechanism's integers: a half-width R for the draw, then coordinates uniform in −R..R.

use fearless_simd::{Simd, dispatch};

use super::thresholds::Radii;
use super::{BATCH, Integer, LowWord, ROW};
use crate::stream::level::Level;
use crate::stream::{BLOCKS, Key, Region, store_side_by_side};

/// The half-widths' law, and a guide to its thresholds.
pub struct Cube {
    radii: Radii,
    /// The number of thresholds up to i·2^`shift`, for each i.
    guide: Vec<u32>,
    shift: u32,
}

impl Cube {
    /// With half-widths of that law.
    pub fn new(radii: Radii) -> Self {
        let thresholds = &radii.thresholds;
        // Twice as many sections as thresholds, at least 2.
        let shift = 63 - (2 * thresholds.len() + 2).ilog2();
        let mut below = 0;
        let guide = (0..=u64::MAX >> shift)
            .map(|section| {
                while thresholds.get(below).is_some_and(|threshold| *threshold <= section << shift) {
                    below += 1;
                }
                below as u32
            })
            .chain([thresholds.len() as u32])
            .collect();
        Self { radii, guide, shift }
    }

    /// The largest half-width.
    pub fn largest(&self) -> usize {
        self.radii.first as usize + self.radii.thresholds.len()
    }

    /// The number of thresholds, and the error of each before rounding.
    pub fn thresholds(&self) -> (usize, f64) {
        (self.radii.thresholds.len(), self.radii.error)
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        size_of_val(&*self.radii.thresholds) + size_of_val(&*self.guide)
    }

    /// The half-width that 64 bits name: the first one and the number of thresholds that the bits have reached.
    pub fn radius(&self, bits: u64) -> u32 {
        let section = (bits >> self.shift) as usize;
        let (from, to) = (self.guide[section] as usize, self.guide[section + 1] as usize);
        let reached = from + self.radii.thresholds[from..to].partition_point(|threshold| *threshold <= bits);
        (self.radii.first + reached as u64) as u32
    }

    /// The half-widths of draw `first` and those after it: words 0 (high) and 1 of the draw's block 0 of [`Region::Radius`].
    pub fn radii(&self, level: Level, key: &Key, first: u64) -> [u32; BLOCKS] {
        let mut words = [[0; 2 * BLOCKS]];
        store_side_by_side(level.0, key, first, Region::Radius, 0, &mut words);
        std::array::from_fn(|draw| self.radius(u64::from(words[0][draw]) << 32 | u64::from(words[0][BLOCKS + draw])))
    }
}

/// The integers of coordinates with the high words `words`, uniform in −`radius`..`radius`: the upper half of the product of
/// the 64 bits and 2R + 1, less R.
///
/// The low word adds less than 2R + 1 to the product of the high word, so it is read only where that reaches the next integer.
pub fn integers<T: Integer>(
    level: Level,
    radius: u32,
    words: &[[u32; ROW]],
    low: &mut LowWord<'_>,
    out: &mut [[T; ROW]],
) {
    let mut near = [false; BATCH];
    dispatch!(level.0, simd => products(simd, radius, words, out, &mut near));
    for row in (0..words.len()).filter(|row| near[*row]) {
        settle(radius, row, &words[row], low, &mut out[row]);
    }
}

#[inline(always)]
fn products<S: Simd, T: Integer>(_simd: S, radius: u32, words: &[[u32; ROW]], out: &mut [[T; ROW]], near: &mut [bool]) {
    let count = 2 * radius + 1;
    for ((words, out), near) in words.iter().zip(out).zip(near) {
        let mut any = 0;
        for (out, word) in out.iter_mut().zip(words) {
            let product = u64::from(*word) * u64::from(count);
            any |= u32::from(is_near(product, count));
            *out = centred(product, radius);
        }
        *near = any != 0;
    }
}

#[cold]
fn settle<T: Integer>(radius: u32, row: usize, words: &[u32; ROW], low: &mut LowWord<'_>, out: &mut [T; ROW]) {
    let count = 2 * radius + 1;
    for (at, (out, word)) in out.iter_mut().zip(words).enumerate() {
        let product = u64::from(*word) * u64::from(count);
        if is_near(product, count) {
            let of_low = (u64::from(low(row * ROW + at)) * u64::from(count)) >> 32;
            *out = centred(product + of_low, radius);
        }
    }
}

/// Whether something below `count` can carry into the product's upper half.
#[inline(always)]
fn is_near(product: u64, count: u32) -> bool {
    product as u32 > count.wrapping_neg()
}

#[inline(always)]
fn centred<T: Integer>(product: u64, radius: u32) -> T {
    T::from_i32(((product >> 32) as u32).wrapping_sub(radius).cast_signed())
}
