//! A law's values written to where they belong, in the type wanted, added to inputs or not.

use fearless_simd::Simd;

use super::element::Element;
use super::law::{Draw, Group, Law, ROW};
use super::real::{Bits, Real};
use super::uncached::Uncached;
use crate::stream::{BLOCKS, GROUP};

/// Aligned so that no vector register's store straddles two cache lines.
#[repr(align(64))]
pub(crate) struct Aligned<T>(pub T);

/// A law with working space.
pub(super) struct Writer<R: Real, L> {
    pub law: L,
    pub uncached: Option<Uncached>,
    pub bits: Aligned<[R::Bits; GROUP]>,
    pub values: Aligned<[R; GROUP]>,
}

impl<R: Real, L: Law<R>> Writer<R, L> {
    /// Writes the draw's coordinates from `first` on into `out`, added to `inputs` where given.
    #[inline(always)]
    pub fn draw<S: Simd, T: Element<Real = R>>(
        &mut self,
        simd: S,
        draw: &Draw<'_>,
        first: usize,
        inputs: Option<&[T]>,
        out: &mut [T],
    ) {
        let source = &R::Bits::source(simd, draw.key, draw.number);
        let mut done = 0;
        while done < out.len() {
            let within = (first + done) % GROUP;
            let range = done..out.len().min(done + GROUP - within);
            let index = ((first + done) / GROUP) as u32;
            let rows = (within + range.len()).div_ceil(ROW);
            let group = Group { draw, source, index, rows };
            done = range.end;
            let inputs = inputs.map(|inputs| &inputs[range.clone()]);
            let out = &mut out[range];
            // Noise alone, in its own precision, is computed where it belongs: a copy to unaligned memory costs 5 to 8 %.
            if inputs.is_none()
                && self.uncached.is_none()
                && let Some(out) = T::unconverted(out).and_then(|out| out.try_into().ok())
            {
                self.law.group(simd, &group, &mut self.bits.0, out);
            } else {
                self.law.group(simd, &group, &mut self.bits.0, &mut self.values.0);
                self.put(simd, &self.values, within, inputs, out);
            }
        }
    }

    /// The values of `draw` and the draws after it, `dim` each, one draw after another.
    #[inline(always)]
    pub fn short_draws<S: Simd>(&mut self, simd: S, draw: &Draw<'_>, dim: usize) -> Aligned<[R; GROUP]> {
        let mut in_order = Aligned([R::default(); GROUP]);
        for start in (0..dim).step_by(GROUP / ROW) {
            let rows = (dim - start).min(GROUP / ROW);
            let bits = &mut self.bits.0.as_chunks_mut().0[..rows];
            let values = &mut self.values.0.as_chunks_mut().0[..rows];
            self.law.side_by_side(simd, draw, start, bits, values);
            for (coordinate, values) in (start..).zip(values) {
                for (draw, value) in values[..BLOCKS].iter().enumerate() {
                    in_order.0[draw * dim + coordinate] = *value;
                }
            }
        }
        in_order
    }

    /// Writes `noise` from `within` on into `out`, added to `inputs` where given.
    #[inline(always)]
    pub fn put<S: Simd, T: Element<Real = R>>(
        &self,
        simd: S,
        noise: &Aligned<[R; GROUP]>,
        within: usize,
        inputs: Option<&[T]>,
        out: &mut [T],
    ) {
        if let Ok(out) = (&mut *out).try_into() {
            let inputs = inputs.and_then(|inputs| inputs.try_into().ok());
            if let Some(uncached) = &self.uncached {
                let mut whole = Aligned([T::default(); GROUP]);
                T::write(simd, &noise.0, inputs, &mut whole.0);
                uncached.copy(&whole, out);
            } else {
                T::write(simd, &noise.0, inputs, out);
            }
        } else if inputs.is_none()
            && let Some(out) = T::unconverted(out)
        {
            out.copy_from_slice(&noise.0[within..][..out.len()]);
        } else {
            let (mut padded, mut whole) = ([T::default(); GROUP], [T::default(); GROUP]);
            if let Some(inputs) = inputs {
                padded[within..][..inputs.len()].copy_from_slice(inputs);
            }
            T::write(simd, &noise.0, inputs.is_some().then_some(&padded), &mut whole);
            out.copy_from_slice(&whole[within..][..out.len()]);
        }
    }
}
