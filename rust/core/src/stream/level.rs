//! The vector instruction sets, detected at run time. All give identical bits.

use std::sync::OnceLock;

use crate::{Error, Result};

/// The environment variable that forces an instruction set by its [`Level::name`].
pub const VARIABLE: &str = "RSMOOTH_SIMD";

/// An instruction set that this machine has.
#[derive(Clone, Copy, Debug)]
pub struct Level(pub(crate) fearless_simd::Level);

impl Level {
    /// The instruction set in use: the widest this machine has, or the one that [`VARIABLE`] asks for.
    ///
    /// The variable is read once. Asking for an unknown or absent instruction set is an error on every call.
    pub fn in_use() -> Result<Self> {
        static LEVEL: OnceLock<Result<Level>> = OnceLock::new();
        LEVEL
            .get_or_init(|| match std::env::var_os(VARIABLE) {
                None => Ok(Level(fearless_simd::Level::new())),
                Some(asked) => supported().find(|level| asked == level.name()).ok_or_else(|| {
                    let names = supported().map(Level::name).collect::<Vec<_>>().join(", ");
                    Error::argument(VARIABLE, format!("unset or one of {names}"), asked.to_string_lossy())
                }),
            })
            .clone()
    }

    /// Its name: `scalar`, `sse2`, `sse4.2`, `avx2`, `avx512` or `neon`.
    pub fn name(self) -> &'static str {
        match self.0 {
            #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
            fearless_simd::Level::Avx512(_) => "avx512",
            #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
            fearless_simd::Level::Avx2(_) => "avx2",
            #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
            fearless_simd::Level::Sse4_2(_) => "sse4.2",
            #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
            fearless_simd::Level::Sse2(_) => "sse2",
            #[cfg(target_arch = "aarch64")]
            fearless_simd::Level::Neon(_) => "neon",
            _ => "scalar",
        }
    }
}

/// Every instruction set that this machine has, narrowest first.
pub fn supported() -> impl Iterator<Item = Level> {
    let best = fearless_simd::Level::new();
    let scalar = Some(fearless_simd::Level::fallback());
    #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
    let vector = [
        best.as_sse2().map(fearless_simd::Level::Sse2),
        best.as_sse4_2().map(fearless_simd::Level::Sse4_2),
        best.as_avx2().map(fearless_simd::Level::Avx2),
        best.as_avx512().map(fearless_simd::Level::Avx512),
    ];
    #[cfg(not(any(target_arch = "x86", target_arch = "x86_64")))]
    let vector = [(!best.is_fallback()).then_some(best)];
    [scalar].into_iter().chain(vector).flatten().map(Level)
}

#[cfg(test)]
#[inline(always)]
fn by_level<S: fearless_simd::Simd>(
    simd: S,
    key: &super::Key,
    draw: u64,
    region: super::Region,
    index: u32,
    words: &mut [u32; 256],
) {
    super::Blocks::<S::u32s>::new(simd, key, draw, region).store_group(simd, index, words);
}

#[cfg(test)]
impl Level {
    pub(crate) fn group(self, key: &super::Key, draw: u64, region: super::Region, index: u32, words: &mut [u32; 256]) {
        fearless_simd::dispatch!(self.0, simd => by_level(simd, key, draw, region, index, words));
    }
}
