//! The radius engine, one thread, without Python.

use std::hint::black_box;
use std::num::NonZeroUsize;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use rsmooth_core::Mechanism;
use rsmooth_core::bounds::{Rule, sup_many};
use rsmooth_core::confidence::{Side, clopper_pearson};
use rsmooth_core::mechanisms::profile::Norm;

const ROWS: usize = 100_000;

/// Pairs spread evenly over the domain by the golden ratio's multiples.
fn pairs() -> (Vec<f64>, Vec<f64>) {
    (1..=ROWS)
        .map(|i| {
            let a = (i as f64 * 0.618_033_988_749_895).fract();
            let b = (i as f64 * 0.754_877_666_246_693).fract();
            (a.max(b), a.min(b).min(1.0 - a.max(b)))
        })
        .unzip()
}

fn bench(c: &mut Criterion) {
    let (p1, p2) = pairs();
    let mut out = vec![0.0; ROWS];
    let one = NonZeroUsize::new(1);
    let mut group = c.benchmark_group("radius");
    group.throughput(Throughput::Elements(ROWS as u64));
    group.bench_function("renyi_sup", |b| b.iter(|| sup_many(black_box(&p1), &p2, &mut out, None, one)));
    for (mechanism, bound) in [
        ("gaussian", "neyman-pearson"),
        ("gaussian", "pixeldp"),
        ("laplace", "neyman-pearson"),
        ("laplace", "pure-dp"),
        ("laplace", "tightest"),
    ] {
        let profile = Mechanism::named(mechanism, 0.5).and_then(|mechanism| mechanism.profile(Norm::L2, 3072, None));
        let rule = profile.and_then(|profile| Rule::new(profile, bound, mechanism)).expect("a valid rule");
        let name = format!("{mechanism} {bound}");
        group.bench_function(name, |b| b.iter(|| rule.radius_many(black_box(&p1), &p2, &mut out, None, one)));
    }
    group.finish();

    let mut group = c.benchmark_group("clopper_pearson");
    for (n, alpha) in [(1000, 0.001), (100_000, 0.001), (1_000_000_000, 0.001), (100_000, 0.5)] {
        let mut k = 0;
        group.bench_function(format!("n = {n}, alpha = {alpha}"), |b| {
            b.iter(|| {
                k = (k + n / 7) % n;
                clopper_pearson(black_box(k), n, alpha, Side::Lower)
            });
        });
    }
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
