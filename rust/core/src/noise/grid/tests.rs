//! Tests of the exact noise as a whole, and of its laws against independent numbers.

use half::{bf16, f16};

use super::cube::Cube;
use super::table::Magnitudes;
use super::*;
use crate::stream::{coordinate_bits, level};

const KEY: Key = Key([1, 2, 3, 4, 5, 6, 7, 8]);

fn gaussian(sigma: f64) -> Mechanism {
    Mechanism::named("gaussian", sigma).unwrap()
}

fn laplace(scale: f64) -> Mechanism {
    Mechanism::named("laplace", scale).unwrap()
}

fn exponential(sigma: f64) -> Mechanism {
    Mechanism::named("exponential", sigma).unwrap()
}

fn mechanisms() -> [Mechanism; 5] {
    [gaussian(0.25), laplace(0.5), exponential(0.01), gaussian(1.0 / 3000.0), exponential(0.0007)]
}

fn noise(mechanism: Mechanism, dim: usize) -> GridNoise {
    GridNoise::new(mechanism, 255, KEY, dim).unwrap()
}

fn draw(noise: &GridNoise, first: u64, rows: usize, threads: usize) -> Vec<i32> {
    let mut out = vec![0; rows * noise.dim];
    noise.fill(first, 0, &mut out, NonZeroUsize::new(threads)).unwrap();
    out
}

/// Rows of a law in tests/data/grid_thresholds.csv: scale, grid, coordinates, number and threshold.
fn table(law: &str) -> impl Iterator<Item = (f64, u32, u64, u64, u64)> {
    let file = include_str!("../../../../../tests/data/grid_thresholds.csv");
    let rows = file.lines().filter_map(move |line| line.strip_prefix(law)?.strip_prefix(','));
    rows.map(|row| {
        let fields: Vec<&str> = row.split(',').collect();
        let integer = |at: usize| fields[at].parse().unwrap();
        (fields[0].parse().unwrap(), integer(1) as u32, integer(2), integer(3), integer(4))
    })
}

fn agree_with_mpmath(law: &str, compute: impl Fn(f64, u32) -> Vec<u64>) {
    let (mut of, mut computed, mut checked) = ((0.0, 0), Vec::new(), 0);
    for (scale, grid, _, m, threshold) in table(law) {
        if of != (scale, grid) {
            assert_eq!(checked, computed.len(), "the last threshold is the table's");
            (of, computed) = ((scale, grid), compute(scale, grid));
        }
        assert_eq!(computed[m as usize - 1], threshold, "{law}, {of:?}, {m}");
        checked = m as usize;
    }
    assert_eq!(checked, computed.len());
    assert!(checked > 0);
}

#[test]
fn thresholds_are_those_of_mpmath() {
    agree_with_mpmath("gaussian", thresholds::gaussian);
    agree_with_mpmath("laplace", thresholds::laplace);
    let (mut of, mut computed, mut last) = ((0.0, 0, 0), None, 0);
    for (sigma, grid, dim, m, threshold) in table("exponential") {
        if of != (sigma, grid, dim) {
            of = (sigma, grid, dim);
            computed = Some(thresholds::radii(sigma, grid, dim));
            assert_eq!(computed.as_ref().unwrap().first, m, "the first threshold is the table's");
        }
        let radii = computed.as_ref().unwrap();
        assert_eq!(radii.thresholds[(m - radii.first) as usize], threshold, "{of:?}, {m}");
        last = m - radii.first + 1;
    }
    assert_eq!(last, computed.unwrap().thresholds.len() as u64);
}

/// The integer of 64 bits by the definition.
fn by_definition(thresholds: &[u64], bits: u64) -> i32 {
    let magnitude = thresholds.iter().filter(|threshold| bits << 1 >> 1 < **threshold).count() as i32;
    if bits >> 63 == 1 { -magnitude } else { magnitude }
}

/// The integers of any bits.
fn integers(magnitudes: &Magnitudes, level: level::Level, bits: &[u64]) -> Vec<i32> {
    let mut space = Space::default();
    let mut all = Vec::new();
    for bits in bits.chunks(ROW) {
        let mut out = [[0; ROW]];
        for (word, bits) in space.words.0[0].iter_mut().zip(bits) {
            *word = (bits >> 32) as u32;
        }
        magnitudes.integers(level, 1, &mut space, &mut |at| bits[at] as u32, &mut out);
        all.extend_from_slice(&out[0][..bits.len()]);
    }
    all
}

/// Thresholds, with the continuous magnitude as a guess and with one that is no use.
type Guess = Box<dyn Fn(f64) -> f64>;

fn laws() -> Vec<(Vec<u64>, Guess)> {
    let mut laws: Vec<(Vec<u64>, Guess)> = Vec::new();
    for steps in [0.0625, 0.25, 1.0, 7.3, 63.75, 1000.0] {
        laws.push((
            thresholds::gaussian(steps, 1),
            Box::new(move |tail| 0.5 - steps * crate::numeric::quantile::normal(0.5 * tail)),
        ));
        laws.push((thresholds::laplace(steps, 1), Box::new(move |tail| 0.5 - steps * libm::log(tail))));
        laws.push((thresholds::laplace(steps, 1), Box::new(|_| 0.0)));
    }
    laws
}

#[test]
fn magnitudes_count_the_thresholds_above_the_bits() {
    for (thresholds, guess) in laws() {
        let magnitudes = Magnitudes::new(thresholds.clone(), guess);
        // On both sides of thresholds, and of their high words.
        let ends = |t: &u64| [*t, *t - 1, *t >> 32 << 32, (*t >> 32 << 32).wrapping_sub(1), *t | 0xffff_ffff];
        let near = thresholds.iter().step_by(thresholds.len() / 500 + 1).flat_map(ends);
        let tail = thresholds.iter().rev().take(50).flat_map(ends);
        let spread = (0..20_000u64).map(|i| i.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let bits: Vec<u64> =
            near.chain(tail).flat_map(|t| [t << 1 >> 1, t | 1 << 63]).chain(spread).chain([0, u64::MAX]).collect();
        let expected: Vec<i32> = bits.iter().map(|bits| by_definition(&thresholds, *bits)).collect();
        for level in level::supported() {
            assert_eq!(integers(&magnitudes, level, &bits), expected, "{level:?}, {} thresholds", thresholds.len());
        }
    }
}

/// The law at words of 16 bits: thresholds are multiples of 2⁴⁸, so that the upper 16 bits decide, and all of them are tried.
#[test]
fn every_16_bit_word_gives_the_law_of_its_thresholds() {
    for (thresholds, _) in laws() {
        let mut rounded: Vec<u64> = thresholds.iter().map(|t| (t + (1 << 47)) >> 48 << 48).filter(|t| *t > 0).collect();
        rounded.dedup();
        let magnitudes = Magnitudes::new(rounded.clone(), |_| 0.0);
        let bits: Vec<u64> =
            (0..1u64 << 16).map(|word| word << 48 | (word.wrapping_mul(0x9e37_79b9_7f4a) & 0xffff_ffff_ffff)).collect();
        let values = integers(&magnitudes, level::Level::in_use().unwrap(), &bits);
        for (m, threshold) in (1..).zip(&rounded) {
            for sign in [1, -1] {
                let reached = values.iter().filter(|value| **value * sign >= m).count() as u64;
                assert_eq!(reached, threshold >> 48, "{m} of {}", rounded.len());
            }
        }
    }
}

#[test]
fn cubes_are_cut_into_equal_shares_of_the_64_bits() {
    for radius in [0, 1, 2, 3, 100, 30_000, 5_000_000, (1 << 31) - 1] {
        let count = 2 * u128::from(radius) + 1;
        let share = |k: u128| (k << 64).div_ceil(count);
        let step = (count / 1000).max(1) as usize;
        let ends: Vec<(u64, i64)> = (1..count)
            .step_by(step)
            .chain([count / 2, count - 1])
            .filter(|k| *k > 0)
            .flat_map(|k| [(share(k) as u64 - 1, k as i64 - 1), (share(k) as u64, k as i64)])
            .chain([(0, 0), (u64::MAX, count as i64 - 1)])
            .collect();
        for level in level::supported() {
            for ends in ends.chunks(ROW) {
                let mut words = [[0; ROW]];
                for (word, (bits, _)) in words[0].iter_mut().zip(ends) {
                    *word = (bits >> 32) as u32;
                }
                let mut out = [[0i32; ROW]];
                cube::integers(level, radius, &words, &mut |at| ends.get(at).map_or(0, |end| end.0 as u32), &mut out);
                for (value, (bits, k)) in out[0].iter().zip(ends) {
                    assert_eq!(i64::from(*value), k - i64::from(radius), "{level:?}, {bits:x} at {radius}");
                }
            }
        }
    }
}

#[test]
fn half_widths_count_the_thresholds_that_the_bits_reach() {
    for (sigma, dim) in [(0.0625, 1), (1.0, 1), (0.5, 7), (3.0, 3072), (40.0, 3072)] {
        let law = thresholds::radii(sigma, 1, dim);
        let (first, thresholds) = (law.first, law.thresholds.clone());
        let cube = Cube::new(law);
        let near = thresholds.iter().step_by(thresholds.len() / 300 + 1).flat_map(|t| [*t - 1, *t]);
        for bits in near.chain((0..1000).map(|i: u64| i << 54)).chain([0, u64::MAX]) {
            let reached = thresholds.iter().filter(|threshold| **threshold <= bits).count() as u64;
            assert_eq!(u64::from(cube.radius(bits)), first + reached, "{sigma}, {dim}, {bits:x}");
        }
    }
}

#[test]
fn bits_are_those_of_the_draw_and_the_coordinate() {
    let thresholds = thresholds::gaussian(0.25, 255);
    let gaussian = noise(mechanisms()[0], 700);
    for (row, values) in draw(&gaussian, 5, 3, 1).chunks(700).enumerate() {
        for (coordinate, value) in values.iter().enumerate() {
            let bits = coordinate_bits(&KEY, 5 + row as u64, coordinate as u64);
            assert_eq!(*value, by_definition(&thresholds, bits));
        }
    }
    // Of the wider cubes one coordinate in 6,000 needs its low word.
    for sigma in [0.01, 4.0] {
        cube_bits_are_those_of_the_draw_and_the_coordinate(sigma);
    }
}

fn cube_bits_are_those_of_the_draw_and_the_coordinate(sigma: f64) {
    let exponential = noise(exponential(sigma), 700);
    let cube = Cube::new(thresholds::radii(sigma, 255, 700));
    for (row, values) in draw(&exponential, 5, 60, 1).chunks(700).enumerate() {
        let words = crate::stream::block(&KEY, 5 + row as u64, Region::Radius, 0);
        let radius = cube.radius(u64::from(words[0]) << 32 | u64::from(words[1]));
        for (coordinate, value) in values.iter().enumerate() {
            let bits = u128::from(coordinate_bits(&KEY, 5 + row as u64, coordinate as u64));
            let uniform = ((bits * (2 * u128::from(radius) + 1)) >> 64) as i64;
            assert_eq!(i64::from(*value), uniform - i64::from(radius));
        }
    }
}

#[test]
fn integers_are_the_same_at_every_level() {
    for mechanism in mechanisms() {
        for dim in [1, 15, 32, 300, 3072] {
            let mut noise = noise(mechanism, dim);
            // Enough values, once, that low words are read.
            let rows = if dim == 300 { 3000 } else { 3 };
            let mut levels = level::supported().map(|level| {
                noise.level = level;
                draw(&noise, u64::from(u32::MAX) - 3, rows, 1)
            });
            let scalar = levels.next().unwrap();
            assert!(levels.all(|values| values == scalar), "{mechanism:?}, {dim} coordinates");
        }
    }
}

#[test]
fn any_start_and_any_thread_count_continue_the_same_stream() {
    for mechanism in mechanisms() {
        for dim in [7, 700, PIECE + 5] {
            let noise = noise(mechanism, dim);
            let rows = 3 * PIECE / dim + 2;
            let whole = draw(&noise, 9, rows, 1);
            assert_eq!(whole, draw(&noise, 9, rows, 3));
            for start in [1, 31, 32, 255, 256, 257, dim, whole.len() - 1] {
                let mut part = vec![0; whole.len() - start];
                noise.fill(9, start, &mut part, None).unwrap();
                assert_eq!(whole[start..], part);
            }
        }
    }
}

#[test]
fn narrow_integers_are_the_same_or_refused() {
    for mechanism in mechanisms() {
        let noise = noise(mechanism, 1000);
        let mut narrow = vec![0i16; 3000];
        assert_eq!(noise.fill(3, 0, &mut narrow, None).is_ok(), noise.fits::<i16>());
        if noise.fits::<i16>() {
            assert!(draw(&noise, 3, 3, 1).iter().zip(narrow).all(|(wide, narrow)| *wide == i32::from(narrow)));
        }
    }
    assert!(!noise(gaussian(20.0), 1).fits::<i16>());
}

#[test]
fn sums_are_the_nearest_floats_of_their_quotients() {
    // Below 2²⁴ and beyond, with a grid that divides nothing.
    for (sigma, grid, input) in [(0.25, 255, 200), (0.001, 16_777_213, 1_000_000), (0.001, 16_777_213, 2_000_000_000)] {
        let noise = GridNoise::new(gaussian(sigma), grid, KEY, 300).unwrap();
        let inputs: Vec<i32> = (0..600).map(|i| input - i).collect();
        let inputs = Inputs { values: &inputs, copies: 2 };
        let integers = draw(&noise, 7, 4, 1);
        let sum = |at: usize| i64::from(inputs.values[at / 600 * 300 + at % 300]) + i64::from(integers[at]);
        for level in level::supported() {
            let noise = GridNoise { level, ..noise.clone() };
            let (mut double, mut single) = (vec![0f64; 1100], vec![0f32; 1100]);
            let (mut half, mut brain) = (vec![f16::ZERO; 1100], vec![bf16::ZERO; 1100]);
            noise.fill_sums(7, 100, inputs, &mut double, None).unwrap();
            noise.fill_sums(7, 100, inputs, &mut single, None).unwrap();
            noise.fill_sums(7, 100, inputs, &mut half, None).unwrap();
            noise.fill_sums(7, 100, inputs, &mut brain, None).unwrap();
            for at in 0..1100 {
                let n = sum(at + 100);
                assert_eq!(double[at], n as f64 / f64::from(grid));
                // The half crate's conversion of doubles forgets their last bits, so neighbours tell.
                let nearest = |value: f64, others: [f64; 2]| {
                    let error = |value: f64| (value * 2f64.powi(60)) as i128 * i128::from(grid) - (i128::from(n) << 60);
                    n == 0 && value == 0.0 || others.iter().all(|other| error(*other).abs() >= error(value).abs())
                };
                let near = single[at];
                assert!(nearest(near.into(), [near.next_up().into(), near.next_down().into()]));
                let (bits, value) = (half[at].to_bits(), |bits| f16::from_bits(bits).to_f64());
                assert!(nearest(value(bits), [value(bits.wrapping_sub(1)), value(bits + 1)]));
                let (bits, value) = (brain[at].to_bits(), |bits| bf16::from_bits(bits).to_f64());
                assert!(nearest(value(bits), [value(bits.wrapping_sub(1)), value(bits + 1)]));
            }
        }
    }
    let wide = GridNoise::new(gaussian(60_000.0), 1, KEY, 3).unwrap();
    let inputs = Inputs { values: &[0u8; 3], copies: 1 };
    assert!(wide.fill_sums(0, 0, inputs, &mut [f16::ZERO; 3], None).is_err());
    assert!(wide.fill_sums(0, 0, inputs, &mut [bf16::ZERO; 3], None).is_ok());
}

#[test]
fn what_the_tables_cannot_hold_is_refused() {
    let made = |mechanism, grid, dim| GridNoise::new(mechanism, grid, KEY, dim);
    assert!(made(gaussian(0.25), 0, 1).is_err());
    assert!(made(gaussian(0.25), MAX_GRID + 1, 1).is_err());
    assert!(made(gaussian(0.25), 255, 0).is_err());
    assert!(made(gaussian(0.0624), 1, 1).is_err());
    assert!(made(gaussian(65_537.0), 1, 1).is_err());
    assert!(made(laplace(65_536.0), 1, 1).is_ok());
    assert!(made(exponential(2000.0), 1, 3072).is_err());
    assert!(made(exponential(1.0), 1, MAX_DIM as usize).is_err());
    let widest = made(exponential(1490.0), 1, 3072).unwrap();
    assert!(widest.law.bytes() < 64 << 20);
}

#[test]
fn thresholds_of_uniform_noise_are_those_of_fractions() {
    // (half-width, count, first, middle, last), by rational arithmetic on a grid of 255.
    for (half_width, count, first, middle, last) in [
        (0.3, 76, 9_163_088_559_489_711_912, 4_581_544_279_744_855_785, 120_566_954_730_127_451),
        (0.002, 1, 180_850_432_095_191_871, 180_850_432_095_191_871, 180_850_432_095_191_871),
        (100.1, 25_525, 9_223_191_367_092_442_949, 4_611_776_353_308_554_072, 361_339_524_665_194),
    ] {
        let found = thresholds::uniform(half_width, 255);
        assert_eq!((found.len(), found[0], found[count / 2], found[count - 1]), (count, first, middle, last));
    }
    assert!(thresholds::uniform(1.0, 1).len() == 1 && thresholds::uniform(0.5, 1).is_empty());
}

#[test]
fn laws_are_made_once() {
    let first = noise(mechanisms()[0], 10);
    assert!(Arc::ptr_eq(&first.law, &noise(mechanisms()[0], 20).law));
    assert!(!Arc::ptr_eq(&first.law, &noise(mechanisms()[1], 20).law));
}

#[test]
fn total_variation_counts_thresholds_and_coordinates() {
    let gaussian = noise(gaussian(0.25), 3072);
    assert_eq!(gaussian.largest(), 584);
    let expected = 3072.0 * 585.0 * 2f64.powi(-64);
    assert!((expected..expected * 1.0001).contains(&gaussian.total_variation()));
    let cube = noise(exponential(0.0007), 3072);
    let expected = 3072.0 * (2.0 * f64::from(cube.largest()) + 1.0) * 2f64.powi(-66);
    assert!((expected..expected * 1.1).contains(&cube.total_variation()));
}
