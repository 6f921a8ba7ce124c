//! Bytes to a vector, and whether it can be one of the model's.

use super::report::LeftOut;

/// How far the squared length may be from 1. A vector normalised in single precision is within some 3e-7.
const TOLERANCE: f64 = 1e-5;

/// `bytes` as little-endian single-precision floats; an incomplete last one is dropped.
pub(super) fn decode(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks().0.iter().map(|chunk| f32::from_le_bytes(*chunk)).collect()
}

/// Why the vector cannot be used, if so.
pub(super) fn fault(vector: &[f32], unit_length: bool) -> Option<LeftOut> {
    if vector.iter().any(|component| !component.is_finite()) {
        return Some(LeftOut::NotFinite);
    }
    let square: f64 = vector.iter().map(|component| f64::from(*component).powi(2)).sum();
    if square == 0.0 {
        return Some(LeftOut::Zero);
    }
    (unit_length && (square - 1.0).abs() > TOLERANCE).then_some(LeftOut::NotUnitLength)
}
