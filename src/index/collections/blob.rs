//! Vectors as they are stored: IEEE binary16, little endian, of unit length.

use half::{
    f16,
    slice::{HalfBitsSliceExt, HalfFloatSliceExt},
};

use super::documents::unit;

/// The blob of a vector of any length but zero.
#[must_use]
pub fn encode(vector: &[f32]) -> Vec<u8> {
    unit(vector).into_iter().flat_map(|number| f16::from_f32(number).to_le_bytes()).collect()
}

/// The vector of a blob.
#[must_use]
pub fn decode(blob: &[u8]) -> Vec<f32> {
    let bits: Vec<u16> = blob.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect();
    bits.reinterpret_cast::<f16>().to_f32_vec()
}
