//! Magnitudes of independent coordinates by integer thresholds.
//!
//! Of a coordinate's 64 bits the highest is the sign and the others, v, give the magnitude |Z| = #{m ≥ 1 : v < T_m}.
//! The thresholds T_m = 2⁶³·P(|Z| ≥ m) descend, so a search would do. The table spares nearly all words the search.
//!
//! **The table.** Bits 32 to 62 of the coordinate, made odd and converted to a float, are its *key*. Nothing matters of the
//! key but that it never falls where the word rises, as conversion to a float does not whatever its rounding. The key's upper
//! bits name a bucket, the other `width` bits a place within it. The buckets are so narrow that a threshold has its bucket to
//! itself, at place θ, and the entry is
//!
//! ```text
//! (k + 1)·2^width + θ − 1,    k the number of thresholds in buckets above.
//! ```
//!
//! Entry less place, divided by 2^width, is the magnitude: k + 1 below θ, k above. The remainder is 2^width − 1 at θ itself,
//! and there alone: these words are *shared* and their thresholds are compared. Without a threshold θ is 0, which shares the words
//! of place 0 for no use. Small words have a bucket each, of place 0 only, where any number of thresholds may be.
//!
//! So no property of floating point enters: equal keys are compared as integers, different keys are ordered as the words are.

use fearless_simd::{Bytes, Simd, SimdBase, SimdCvtFloat, dispatch};

#[cfg(target_arch = "x86_64")]
use super::cubic::Cubic;
use super::{BATCH, Integer, LowWord, ROW, Space};
use crate::stream::level::Level;

/// The bits of 1.0, the smallest key before it is taken off.
const KEY_OF_1: u32 = 0x3f80_0000;

/// Mantissa bits in a bucket's name.
const NAMES: std::ops::RangeInclusive<u32> = 7..=18;

/// The magnitudes' law.
pub struct Magnitudes {
    /// T_1, T_2, …, none of them 0.
    thresholds: Vec<u64>,
    /// The entries, 32·2^`name` of them.
    entries: Vec<u32>,
    name: u32,
    #[cfg(target_arch = "x86_64")]
    cubic: Option<Box<Cubic>>,
}

impl Magnitudes {
    /// The table of `thresholds`, which descend; `magnitude` guesses the continuous magnitude from v/2⁶³.
    #[cfg_attr(not(target_arch = "x86_64"), allow(unused_variables, reason = "only one level guesses"))]
    pub fn new(thresholds: Vec<u64>, magnitude: impl Fn(f64) -> f64) -> Self {
        let places = |name: u32| {
            let width = 23 - name;
            thresholds.iter().map(move |threshold| {
                let key = key((*threshold >> 32) as u32);
                ((key >> width) as usize, key & ((1 << width) - 1))
            })
        };
        let alone = |name: &u32| {
            let pairs = places(*name).zip(places(*name).skip(1));
            pairs.into_iter().all(|((bucket, place), (next, next_place))| bucket != next || place + next_place == 0)
        };
        let name = NAMES.into_iter().find(alone).expect("thresholds of up to 65,536 steps are 2^-18 apart");
        let width = 23 - name;
        let mut entries = vec![0; 32 << name];
        let (mut above, mut places) = (0, places(name).peekable());
        for (bucket, entry) in entries.iter_mut().enumerate().rev() {
            let here = places.peek().filter(|(at, _)| *at == bucket).map_or(0, |(_, place)| *place);
            *entry = ((above + 1) << width) + here - 1;
            while places.next_if(|(at, _)| *at == bucket).is_some() {
                above += 1;
            }
        }
        #[cfg(target_arch = "x86_64")]
        let cubic = Level::in_use()
            .ok()
            .and_then(|level| level.0.as_avx512())
            .and_then(|avx512| Cubic::new(avx512, &thresholds, magnitude))
            .map(Box::new);
        Self {
            thresholds,
            entries,
            name,
            #[cfg(target_arch = "x86_64")]
            cubic,
        }
    }

    /// The number of thresholds, which is the largest magnitude.
    pub fn largest(&self) -> usize {
        self.thresholds.len()
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        size_of_val(&*self.thresholds) + size_of_val(&*self.entries)
    }

    /// The integers of the coordinates whose high words are the first `rows` rows of `space`.
    pub(super) fn integers<T: Integer>(
        &self,
        level: Level,
        rows: usize,
        space: &mut Space,
        low: &mut LowWord<'_>,
        out: &mut [[T; ROW]],
    ) {
        let words = &space.words.0[..rows];
        #[cfg(target_arch = "x86_64")]
        if let (Some(cubic), Some(avx512)) = (&self.cubic, level.0.as_avx512()) {
            let mut doubtful = [0; BATCH];
            T::by_cubic(avx512, cubic, words, out, &mut doubtful[..rows]);
            for (row, doubtful) in doubtful[..rows].iter().enumerate() {
                let mut doubtful = *doubtful;
                while doubtful > 0 {
                    let at = doubtful.trailing_zeros() as usize;
                    out[row][at] = self.integer(words[row][at], || low(row * ROW + at));
                    doubtful &= doubtful - 1;
                }
            }
            return;
        }
        let (keys, found) = (&mut space.keys.0[..rows], &mut space.found.0[..rows]);
        let mut shared = [false; BATCH];
        dispatch!(level.0, simd => keys_of(simd, words.as_flattened(), keys.as_flattened_mut()));
        self.look_up(keys.as_flattened(), found.as_flattened_mut());
        let width = 23 - self.name;
        dispatch!(level.0, simd => finish(simd, width, words, keys, found, out, &mut shared));
        for row in (0..rows).filter(|row| shared[*row]) {
            self.settle(row, &words[row], &keys[row], &found[row], low, &mut out[row]);
        }
    }

    /// The integer of one word.
    #[inline]
    fn integer<T: Integer>(&self, word: u32, low: impl FnOnce() -> u32) -> T {
        let width = 23 - self.name;
        let (key, mask) = (key(word), (1 << width) - 1);
        let difference = self.entries[(key >> width) as usize] - (key & mask);
        let known = difference >> width;
        let shared = difference & mask == mask;
        signed(if shared { self.magnitude(known as usize, word << 1 >> 1, low) as u32 } else { known }, word)
    }

    /// The keys' entries.
    fn look_up(&self, keys: &[u32], found: &mut [u32]) {
        macro_rules! with_name {
            ($($name:literal)+) => {
                match self.name {
                    $($name => entries_of::<$name, { 32 << $name }>(self.entries.as_slice().try_into().expect("32·2^name entries"), keys, found),)+
                    _ => unreachable!("a name of 7 to 18 bits"),
                }
            };
        }
        with_name!(7 8 9 10 11 12 13 14 15 16 17 18);
    }

    /// Compares the shared words of a row with the thresholds.
    #[cold]
    fn settle<T: Integer>(
        &self,
        row: usize,
        words: &[u32; ROW],
        keys: &[u32; ROW],
        found: &[u32; ROW],
        low: &mut LowWord<'_>,
        out: &mut [T; ROW],
    ) {
        let width = 23 - self.name;
        let mask = (1 << width) - 1;
        for at in 0..ROW {
            let difference = found[at] - (keys[at] & mask);
            if difference & mask == mask {
                let high = words[at] << 1 >> 1;
                let magnitude = self.magnitude((difference >> width) as usize, high, || low(row * ROW + at));
                out[at] = signed(magnitude as u32, words[at]);
            }
        }
    }

    /// The number of thresholds above the 63 bits whose upper 31 are `high`, of which `known` are known to be.
    #[inline]
    fn magnitude(&self, known: usize, high: u32, low: impl FnOnce() -> u32) -> usize {
        let above = |bits: u64| {
            let rest = &self.thresholds[known..];
            // Nearly always the first one tells.
            if rest.first().is_none_or(|first| *first <= bits) {
                known
            } else {
                known + rest.partition_point(|t| *t > bits)
            }
        };
        let bits = u64::from(high) << 32;
        let (least, most) = (above(bits | u64::from(u32::MAX)), above(bits));
        if least == most { least } else { above(bits | u64::from(low())) }
    }
}

/// The key of a word, whose sign is ignored.
#[inline(always)]
fn key(word: u32) -> u32 {
    ((word & 0x7fff_ffff | 1).cast_signed() as f32).to_bits() - KEY_OF_1
}

/// In vectors by name: left to itself the compiler takes a word at a time.
#[inline(always)]
fn keys_of<S: Simd>(simd: S, words: &[u32], keys: &mut [u32]) {
    for (words, keys) in words.chunks_exact(S::u32s::LEN).zip(keys.chunks_exact_mut(S::u32s::LEN)) {
        let odd = S::u32s::from_slice(simd, words) & 0x7fff_ffff | 1;
        let number = S::f32s::float_from(odd.bitcast::<S::i32s>());
        (number.bitcast::<S::u32s>() - KEY_OF_1).store_slice(keys);
    }
}

/// Not inlined: beside vector code the compiler takes the vectors apart for it.
#[inline(never)]
fn entries_of<const NAME: u32, const LENGTH: usize>(entries: &[u32; LENGTH], keys: &[u32], found: &mut [u32]) {
    for (found, key) in found.iter_mut().zip(keys) {
        *found = entries[(key >> (23 - NAME)) as usize % LENGTH];
    }
}

#[inline(always)]
fn finish<S: Simd, T: Integer>(
    _simd: S,
    width: u32,
    words: &[[u32; ROW]],
    keys: &[[u32; ROW]],
    found: &[[u32; ROW]],
    out: &mut [[T; ROW]],
    shared: &mut [bool],
) {
    let mask = (1 << width) - 1;
    for ((((words, keys), found), out), shared) in words.iter().zip(keys).zip(found).zip(out).zip(shared) {
        let mut any = 0;
        for at in 0..ROW {
            let difference = found[at].wrapping_sub(keys[at] & mask);
            any |= u32::from(difference & mask == mask);
            out[at] = signed(difference >> width, words[at]);
        }
        *shared = any != 0;
    }
}

/// A magnitude under the sign of `word`.
#[inline(always)]
fn signed<T: Integer>(magnitude: u32, word: u32) -> T {
    let sign = word.cast_signed() >> 31;
    T::from_i32((magnitude.cast_signed() ^ sign) - sign)
}
