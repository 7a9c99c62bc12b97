//! Stores past the caches, for outputs too large to stay there: a plain store reads its line from memory before it
//! overwrites it. With AVX2 and AVX-512; narrower stores gain little.

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::{_mm_sfence, _mm256_load_si256, _mm256_stream_si256, _mm512_load_si512, _mm512_stream_si512};

use super::element::Element;
use super::writer::Aligned;
use crate::stream::GROUP;
use crate::stream::level::Level;

/// Leave to store past the caches. Dropping it makes what was stored visible to other threads.
#[cfg(target_arch = "x86_64")]
pub enum Uncached {
    /// Half a line at a time.
    Avx2(fearless_simd::Avx2),
    /// A line at a time.
    Avx512(fearless_simd::Avx512),
}

#[cfg(target_arch = "x86_64")]
impl Uncached {
    /// Where `level` has such stores.
    pub fn new(level: Level) -> Option<Self> {
        match level.0 {
            fearless_simd::Level::Avx512(avx512) => Some(Self::Avx512(avx512)),
            fearless_simd::Level::Avx2(avx2) => Some(Self::Avx2(avx2)),
            _ => None,
        }
    }

    /// Copies `from` to `to`; through the caches if `to` does not begin with a line.
    #[inline(always)]
    pub fn copy<T: Element>(&self, from: &Aligned<[T; GROUP]>, to: &mut [T; GROUP]) {
        // SAFETY: numbers have no padding, and every pattern of bits is a number of T and a line.
        let ((_, from_lines, _), (_, lines, _)) = unsafe { (from.0.align_to::<Line>(), to.align_to_mut()) };
        if size_of_val(lines) != size_of::<[T; GROUP]>() {
            *to = from.0;
            return;
        }
        match *self {
            Self::Avx2(avx2) => stream_halves(avx2, from_lines, lines),
            Self::Avx512(avx512) => stream(avx512, from_lines, lines),
        }
    }
}

#[cfg(target_arch = "x86_64")]
impl Drop for Uncached {
    fn drop(&mut self) {
        // SAFETY: every x86-64 processor has the instruction.
        unsafe { _mm_sfence() }
    }
}

/// What memory is written in.
#[cfg(target_arch = "x86_64")]
#[repr(align(64))]
struct Line([[u64; 4]; 2]);

#[cfg(target_arch = "x86_64")]
fearless_simd::kernel!(
    #[inline]
    fn stream(avx512: Avx512, from: &[Line], to: &mut [Line]) {
        for (from, to) in from.iter().zip(to) {
            // SAFETY: both are references to 64 bytes at a multiple of 64; dropping `Uncached` fences the store.
            unsafe { _mm512_stream_si512((&raw mut *to).cast(), _mm512_load_si512((&raw const *from).cast())) };
        }
    }
);

#[cfg(target_arch = "x86_64")]
fearless_simd::kernel!(
    #[inline]
    fn stream_halves(avx2: Avx2, from: &[Line], to: &mut [Line]) {
        for (from, to) in from.iter().zip(to) {
            for (from, to) in from.0.iter().zip(&mut to.0) {
                // SAFETY: both are references to 32 bytes at a multiple of 32; dropping `Uncached` fences the store.
                unsafe { _mm256_stream_si256((&raw mut *to).cast(), _mm256_load_si256((&raw const *from).cast())) };
            }
        }
    }
);

/// Never: other processors have no such stores.
#[cfg(not(target_arch = "x86_64"))]
pub struct Uncached(std::convert::Infallible);

#[cfg(not(target_arch = "x86_64"))]
impl Uncached {
    pub fn new(_level: Level) -> Option<Self> {
        None
    }

    pub fn copy<T: Element>(&self, _from: &Aligned<[T; GROUP]>, _to: &mut [T; GROUP]) {
        match self.0 {}
    }
}
