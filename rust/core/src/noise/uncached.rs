//! Stores past the caches, for outputs too large to stay there: a plain store reads its line from memory before it
//! overwrites it. AVX-512 only, where one instruction stores a line; narrower ones gain little.

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::{__m512i, _mm_sfence, _mm512_stream_si512};

use super::{Aligned, Element};
use crate::stream::GROUP;
use crate::stream::level::Level;

/// Leave to store past the caches. Dropping it makes what was stored visible to other threads.
#[cfg(target_arch = "x86_64")]
pub struct Uncached(fearless_simd::Avx512);

#[cfg(target_arch = "x86_64")]
impl Uncached {
    /// Where `level` has such stores.
    pub fn new(level: Level) -> Option<Self> {
        level.0.as_avx512().map(Self)
    }

    /// Copies `from` to `to`; through the caches if `to` does not begin with a line.
    #[inline(always)]
    pub fn copy<T: Element>(&self, from: &Aligned<[T; GROUP]>, to: &mut [T; GROUP]) {
        // SAFETY: numbers have no padding, and every pattern of bits is a number of T.
        let ((_, from_lines, _), (_, lines, _)) = unsafe { (from.0.align_to(), to.align_to_mut()) };
        if size_of_val(lines) == size_of::<[T; GROUP]>() {
            stream(self.0, from_lines, lines);
        } else {
            *to = from.0;
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

#[cfg(target_arch = "x86_64")]
fearless_simd::kernel!(
    #[inline]
    fn stream(avx512: Avx512, from: &[__m512i], to: &mut [__m512i]) {
        for (from, to) in from.iter().zip(to) {
            // SAFETY: `to` is a reference, so it is valid and aligned; dropping `Uncached` fences the store.
            unsafe { _mm512_stream_si512(to, *from) };
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
