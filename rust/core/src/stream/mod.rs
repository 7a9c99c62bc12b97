//! The noise stream: (key, draw, coordinate) → random bits. Layout version 2.
//!
//! The bits are those of ChaCha8 in its original form (64-bit block counter, 64-bit stream id), so that any
//! implementation of the cipher can check them. Of the sixteen words of its input,
//!
//! | words | hold |
//! |---|---|
//! | 0–3 | the cipher's constants |
//! | 4–11 | the [`Key`] |
//! | 12 | the block's number, counted from 0 within its region |
//! | 13 | the [`Region`] |
//! | 14–15 | the number of the draw, low word first |
//!
//! **Coordinates.** Sixteen consecutive blocks make a group, which serves 256 consecutive coordinates. Coordinate i of
//! a draw owns word `(i mod 256) / 16` of block `16·(i / 256) + i mod 16`: word w of sixteen blocks computed side by side
//! *is* sixteen consecutive coordinates, so a vector register of any width is stored as it is, without a transposition.
//!
//! **Two words a coordinate.** The word of region [`Region::High`] is the high half of the coordinate's 64 bits, that of
//! [`Region::Low`] the low half. Double precision reads both. Single and half precision read the high word alone, except
//! where 32 bits are too few for the far tail of the law, so that every precision sees the same noise but for rounding.
//! Bits are always read as an odd integer (the lowest bit is set): 0 and 1 never occur as uniform numbers and the laws are
//! exactly symmetric.
//!
//! **Radius.** The random numbers that belong to the draw as a whole are in region [`Region::Radius`], eight words an
//! attempt of the Gamma sampler ([`crate::noise`]).

mod chacha;
pub mod level;

pub(crate) use chacha::{Blocks, block, store_side_by_side};

/// The version of this layout and of everything that turns its bits into noise. It changes whenever any value does.
pub const LAYOUT_VERSION: u32 = 2;

/// Coordinates served by one group of blocks.
pub const GROUP: usize = 256;

/// Blocks in a group.
pub const BLOCKS: usize = 16;

/// The most coordinates a draw may have: the block number is one word.
pub const MAX_DIM: u64 = 1 << 36;

/// The 256-bit key of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key(pub [u32; 8]);

/// What a block's words are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Region {
    /// The high words of the coordinates.
    High = 0,
    /// The low words of the coordinates.
    Low = 1,
    /// The random numbers of the draw as a whole.
    Radius = 2,
}

/// The two words of coordinate `coordinate` of draw `draw`, as one number.
pub fn coordinate_bits(key: &Key, draw: u64, coordinate: u64) -> u64 {
    let within = (coordinate % GROUP as u64) as usize;
    let number = (coordinate / GROUP as u64 * 16) as u32 + (within % 16) as u32;
    let word = |region| block(key, draw, region, number)[within / 16];
    u64::from(word(Region::High)) << 32 | u64::from(word(Region::Low))
}
