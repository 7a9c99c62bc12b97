//! `cargo bench --bench noise`: the samplers beside a fill of the same buffer with a constant.

use std::hint::black_box;
use std::num::NonZeroUsize;

use criterion::{Bencher, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use half::{bf16, f16};
use rsmooth_core::Mechanism;
use rsmooth_core::noise::grid::{GridNoise, Integer};
use rsmooth_core::noise::{Element, Inputs, Noise};
use rsmooth_core::stream::Key;

/// Bytes of output: larger than the caches.
const BYTES: usize = 96 << 20;

/// Draws whose output stays in the caches.
const DRAWS: usize = 4096;

fn element<T: Element>(c: &mut Criterion, mechanisms: &[Mechanism]) {
    for dim in [3072, 150_528] {
        let rows = BYTES / size_of::<T>() / dim;
        let mut out = vec![T::default(); rows * dim + 64];
        let line = out.as_ptr().align_offset(64);
        let out = &mut out[line..][..rows * dim];
        let mut group = c.benchmark_group(format!("{}/{dim}", T::NAME));
        group.throughput(Throughput::Bytes((rows * dim * size_of::<T>()) as u64)).sample_size(20);
        let mut first = 0;
        for threads in [1, 2] {
            for mechanism in mechanisms {
                let noise = Noise::new::<T>(*mechanism, Key([7; 8]), dim).unwrap().past_caches();
                group.bench_function(BenchmarkId::new(mechanism.name(), threads), |b| {
                    b.iter(|| {
                        first += rows as u64;
                        noise.fill(first, 0, None, black_box(&mut *out), NonZeroUsize::new(threads));
                    });
                });
            }
        }
        let noise = Noise::new::<T>(mechanisms[0], Key([7; 8]), dim).unwrap().past_caches();
        let input = vec![T::default(); dim];
        group.bench_function("perturb/2", |b| {
            b.iter(|| {
                first += rows as u64;
                let inputs = Some(Inputs { values: &input, copies: rows });
                noise.fill(first, 0, inputs, black_box(&mut *out), NonZeroUsize::new(2));
            });
        });
        group.bench_function("constant/1", |b| b.iter(|| black_box(&mut *out).fill(black_box(T::default()))));
        group.finish();
    }
}

fn small(c: &mut Criterion, mechanisms: &[Mechanism]) {
    for dim in [1, 8, 64, 196] {
        let mut out = vec![0f32; DRAWS * dim];
        let mut group = c.benchmark_group(format!("{DRAWS} draws/{dim}"));
        group.throughput(Throughput::Elements(DRAWS as u64));
        let mut first = 0;
        for mechanism in mechanisms {
            let noise = Noise::new::<f32>(*mechanism, Key([7; 8]), dim).unwrap();
            group.bench_function(mechanism.name(), |b| {
                b.iter(|| {
                    first += DRAWS as u64;
                    noise.fill(first, 0, None, black_box(&mut *out), NonZeroUsize::new(1));
                });
            });
        }
        group.finish();
    }
}

/// The exact noise beside float32 noise of the same law, one thread, in caches and beyond them. Steps of the grid are
/// the benchmark's parameter.
fn grid(c: &mut Criterion) {
    const DIM: usize = 3072;
    let steps = [1.0, 63.75, 500.0, 4080.0, 16320.0];
    let laws: [(&str, f64, &[f64]); 3] =
        [("gaussian", 0.25, &steps), ("laplace", 0.25, &steps), ("exponential", 0.01, &[0.25, 2.55, 108.8])];
    for (place, rows) in [("cached", 16), ("100 MB", 8192)] {
        let mut group = c.benchmark_group(format!("grid, {place}"));
        group.throughput(Throughput::Elements((rows * DIM) as u64)).sample_size(20);
        let mut floats = vec![0f32; rows * DIM + 16];
        let line = floats.as_ptr().align_offset(64);
        let floats = &mut floats[line..][..rows * DIM];
        for (law, parameter, steps) in laws {
            let noise = Noise::new::<f32>(Mechanism::named(law, parameter).unwrap(), Key([7; 8]), DIM).unwrap();
            let noise = if place == "cached" { noise } else { noise.past_caches() };
            let mut first = 0;
            group.bench_function(BenchmarkId::new(law, "float32"), |b| {
                b.iter(|| {
                    first += rows as u64;
                    noise.fill(first, 0, None, black_box(&mut *floats), NonZeroUsize::new(1));
                });
            });
            for steps in steps {
                let noise = GridNoise::new(Mechanism::named(law, *steps).unwrap(), 1, Key([7; 8]), DIM).unwrap();
                let id = BenchmarkId::new(law, steps);
                if noise.fits::<i16>() {
                    group.bench_function(id, |b| fill_grid::<i16>(b, &noise, rows * DIM, rows));
                } else {
                    group.bench_function(id, |b| fill_grid::<i32>(b, &noise, rows * DIM, rows));
                }
            }
        }
        group.finish();
    }
}

fn fill_grid<T: Integer>(b: &mut Bencher<'_>, noise: &GridNoise, length: usize, rows: usize) {
    let (mut out, mut first) = (vec![T::default(); length], 0);
    b.iter(|| {
        first += rows as u64;
        noise.fill(first, 0, black_box(&mut *out), NonZeroUsize::new(1)).unwrap();
    });
}

fn noise(c: &mut Criterion) {
    let parameters = [("exponential", 0.01), ("gaussian", 0.25), ("laplace", 0.25)];
    let all = parameters.map(|(name, parameter)| Mechanism::named(name, parameter).unwrap());
    grid(c);
    small(c, &all);
    element::<f32>(c, &all);
    element::<f64>(c, &all);
    element::<f16>(c, &all[..1]);
    element::<bf16>(c, &all[..1]);
}

criterion_group!(benches, noise);
criterion_main!(benches);
