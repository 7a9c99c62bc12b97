//! ChaCha8 in vectors of blocks.

use fearless_simd::{Fallback, Level, Simd, SimdBase, SimdInt, dispatch, u32x4};

use super::{BLOCKS, GROUP, Key, Region};

const CONSTANTS: [u32; 4] = [0x6170_7865, 0x3320_646e, 0x7962_2d32, 0x6b20_6574];

/// Independent quarter rounds, interleaved so that none waits for its own last result. A macro, because with indices that are
/// not literals the state would live in memory.
macro_rules! quarter_rounds {
    ($x:ident: $($a:literal $b:literal $c:literal $d:literal),+) => {
        $(add_mix_rotate(&mut $x, $a, $b, $d, 16);)+
        $(add_mix_rotate(&mut $x, $c, $d, $b, 12);)+
        $(add_mix_rotate(&mut $x, $a, $b, $d, 8);)+
        $(add_mix_rotate(&mut $x, $c, $d, $b, 7);)+
    };
}

macro_rules! double_round {
    ($x:ident) => {
        quarter_rounds!($x: 0 4 8 12, 1 5 9 13, 2 6 10 14, 3 7 11 15);
        quarter_rounds!($x: 0 5 10 15, 1 6 11 12, 2 7 8 13, 3 4 9 14);
    };
}

/// The blocks of one draw's region: all of the cipher's work that does not depend on the block's number.
pub struct Blocks<V> {
    initial: [V; 16],
    /// The state after the quarter rounds of the first round that the number does not enter.
    begun: [V; 16],
}

impl<V> Blocks<V> {
    /// Draw `draw` in every lane.
    #[inline(always)]
    pub fn new<S: Simd>(simd: S, key: &Key, draw: u64, region: Region) -> Self
    where
        V: SimdInt<S, Element = u32>,
    {
        Self::begin(simd, key, [draw as u32, (draw >> 32) as u32].map(|word| V::splat(simd, word)), region)
    }

    /// Draws `first`, `first` + 1, … in the lanes.
    #[inline(always)]
    pub fn of_draws<S: Simd>(simd: S, key: &Key, first: u64, region: Region) -> Self
    where
        V: SimdInt<S, Element = u32>,
    {
        let draw = |lane: usize| first.wrapping_add(lane as u64);
        let low = V::from_fn(simd, |lane| draw(lane) as u32);
        let high = V::from_fn(simd, |lane| (draw(lane) >> 32) as u32);
        Self::begin(simd, key, [low, high], region)
    }

    #[inline(always)]
    fn begin<S: Simd>(simd: S, key: &Key, draw: [V; 2], region: Region) -> Self
    where
        V: SimdInt<S, Element = u32>,
    {
        let mut initial = [V::splat(simd, 0); 16];
        for (word, value) in initial.iter_mut().zip(CONSTANTS.iter().chain(&key.0)) {
            *word = V::splat(simd, *value);
        }
        initial[13] = V::splat(simd, region as u32);
        [initial[14], initial[15]] = draw;
        let mut begun = initial;
        quarter_rounds!(begun: 1 5 9 13, 2 6 10 14, 3 7 11 15);
        Self { initial, begun }
    }

    /// One block per lane, of the numbers in `number`: element w of the result holds word w of each.
    #[inline(always)]
    pub fn words<S: Simd>(&self, number: V) -> [V; 16]
    where
        V: SimdInt<S, Element = u32>,
    {
        let mut x = self.begun;
        x[12] = number;
        quarter_rounds!(x: 0 4 8 12);
        quarter_rounds!(x: 0 5 10 15, 1 6 11 12, 2 7 8 13, 3 4 9 14);
        double_round!(x);
        double_round!(x);
        double_round!(x);
        for (word, initial) in x.iter_mut().zip(self.initial) {
            *word += initial;
        }
        x[12] += number;
        x
    }

    /// Hands the words of group `index` to `sink`, a vector at a time, each with the coordinate of its first lane.
    #[inline(always)]
    pub fn group<S: Simd>(&self, simd: S, index: u32, mut sink: impl FnMut(usize, V))
    where
        V: SimdInt<S, Element = u32>,
    {
        for first in (0..BLOCKS).step_by(V::LEN) {
            let number = V::from_fn(simd, |lane| (index as usize * BLOCKS + first + lane) as u32);
            for (word, vector) in self.words(number).into_iter().enumerate() {
                sink(word * BLOCKS + first, vector);
            }
        }
    }

    /// Writes the words of group `index` in the order of their coordinates.
    #[inline(always)]
    pub fn store_group<S: Simd>(&self, simd: S, index: u32, words: &mut [u32; GROUP])
    where
        V: SimdInt<S, Element = u32>,
    {
        self.group(simd, index, |at, vector| vector.store_slice(&mut words[at..][..V::LEN]));
    }
}

/// Writes the first two words of one block after another, from number `first_block` on, each for the draws `first_draw`,
/// `first_draw` + 1, … side by side: row r of `words` holds the first words of block `first_block` + r, then the second ones.
///
/// Not inlined, so that the laws share it.
#[inline(never)]
pub fn store_side_by_side(
    level: Level,
    key: &Key,
    first_draw: u64,
    region: Region,
    first_block: usize,
    words: &mut [[u32; 2 * BLOCKS]],
) {
    dispatch!(level, simd => side_by_side_with(simd, key, first_draw, region, first_block, words));
}

#[inline(always)]
fn side_by_side_with<S: Simd>(
    simd: S,
    key: &Key,
    first_draw: u64,
    region: Region,
    first_block: usize,
    words: &mut [[u32; 2 * BLOCKS]],
) {
    for lane in (0..BLOCKS).step_by(S::u32s::LEN) {
        let blocks = Blocks::<S::u32s>::of_draws(simd, key, first_draw.wrapping_add(lane as u64), region);
        for (number, words) in (first_block as u32..).zip(&mut *words) {
            let [first, second, ..] = blocks.words(S::u32s::splat(simd, number));
            first.store_slice(&mut words[lane..][..S::u32s::LEN]);
            second.store_slice(&mut words[BLOCKS + lane..][..S::u32s::LEN]);
        }
    }
}

/// Block `number` alone.
pub fn block(key: &Key, draw: u64, region: Region, number: u32) -> [u32; 16] {
    let simd = Fallback::new();
    let blocks = Blocks::<u32x4<_>>::new(simd, key, draw, region);
    blocks.words(u32x4::splat(simd, number)).map(|word| word[0])
}

/// x\[a\] += x\[b\]; x\[d\] = (x\[d\] ^ x\[a\]) rotated left.
#[inline(always)]
fn add_mix_rotate<S: Simd, V: SimdInt<S, Element = u32>>(x: &mut [V; 16], a: usize, b: usize, d: usize, by: u32) {
    x[a] += x[b];
    let mixed = x[d] ^ x[a];
    x[d] = (mixed << by) | (mixed >> (32 - by));
}

#[cfg(test)]
mod tests {
    use chacha20::ChaCha8Rng;
    use chacha20::rand_core::{Rng, SeedableRng};

    use super::*;
    use crate::stream::{coordinate_bits, level};

    /// The block according to the chacha20 crate, which shares no code with this module.
    fn independent(key: &Key, draw: u64, region: Region, number: u32) -> [u32; 16] {
        let mut seed = [0; 32];
        for (bytes, word) in seed.chunks_exact_mut(4).zip(key.0) {
            bytes.copy_from_slice(&word.to_le_bytes());
        }
        let mut rng = ChaCha8Rng::from_seed(seed);
        rng.set_stream(draw);
        rng.set_block_pos(u64::from(region as u32) << 32 | u64::from(number));
        std::array::from_fn(|_| rng.next_u32())
    }

    fn keys() -> impl Iterator<Item = (Key, u64)> {
        let pi =
            [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344, 0xa409_3822, 0x299f_31d0, 0x082e_fa98, 0xec4e_6c89];
        [([0; 8], 0), ([u32::MAX; 8], u64::MAX), (pi, 0x4528_21e6_38d0_1377)]
            .map(|(key, draw)| (Key(key), draw))
            .into_iter()
    }

    #[test]
    fn the_cipher_is_chacha8() {
        // First block of the ChaCha8 test vector TC1 (all zeros) of draft-strombergson-chacha-test-vectors-01.
        let tc1 = [0x2fef_003e, 0xd640_5f89, 0xe8b8_5b7f, 0xa1a5_091f];
        assert_eq!(block(&Key([0; 8]), 0, Region::High, 0)[..4], tc1);
    }

    #[test]
    fn blocks_are_those_of_an_independent_implementation() {
        for (key, draw) in keys() {
            for region in [Region::High, Region::Low, Region::Radius] {
                for number in [0, 1, 15, 16, 0xdead_beef, u32::MAX] {
                    assert_eq!(block(&key, draw, region, number), independent(&key, draw, region, number));
                }
            }
        }
    }

    #[test]
    fn groups_follow_the_documented_layout_at_every_level() {
        for level in level::supported() {
            for (key, draw) in keys() {
                for index in [0, 1, 587, (1 << 28) - 1] {
                    let mut high = [0; GROUP];
                    let mut low = [0; GROUP];
                    level.group(&key, draw, Region::High, index, &mut high);
                    level.group(&key, draw, Region::Low, index, &mut low);
                    for within in 0..GROUP {
                        let number = index * 16 + within as u32 % 16;
                        let expected = independent(&key, draw, Region::High, number)[within / 16];
                        assert_eq!(high[within], expected, "{level:?}, group {index}, coordinate {within}");
                        let bits = coordinate_bits(&key, draw, u64::from(index) * 256 + within as u64);
                        assert_eq!(bits, u64::from(high[within]) << 32 | u64::from(low[within]));
                    }
                }
            }
        }
    }
}
