//! One vector: checked, brought to unit length, and as it is stored.

use half::{f16, slice::HalfFloatSliceExt};

use crate::error::{Code, Error, Result};

/// Numbers in a vector at most.
pub const MAX_DIMENSIONS: usize = 65_536;

/// `values` at unit length.
///
/// # Errors
/// `ERR_INVALID_ARG`, naming the place and the value, where there are not exactly `dimensions` numbers, one is NaN or
/// infinite, or all are 0: such a vector is near to nothing, or to everything.
pub fn unit(values: &[f32], dimensions: usize) -> Result<Vec<f32>> {
    if values.len() != dimensions {
        return Err(Error::invalid(format!(
            "the vector has {} numbers, but those of this index have {dimensions}; use vectors of one model only",
            values.len()
        )));
    }
    if let Some(place) = values.iter().position(|value| !value.is_finite()) {
        return Err(Error::invalid(format!("vector[{place}] is {}; all numbers must be finite", values[place])));
    }
    // In 64 bits the square of the smallest and the largest 32-bit float are still numbers.
    let length = values.iter().map(|&value| f64::from(value) * f64::from(value)).sum::<f64>().sqrt();
    if length == 0.0 {
        return Err(Error::invalid(format!(
            "all {dimensions} numbers of the vector are 0, so that it has no direction; leave such a vector out"
        )));
    }
    #[expect(clippy::cast_possible_truncation, reason = "the result is at most 1")]
    Ok(values.iter().map(|&value| (f64::from(value) / length) as f32).collect())
}

/// The same as it is after it was stored: what is put from a caller and what is read from the table are equal.
pub(super) fn as_stored(mut unit: Vec<f32>) -> Vec<f32> {
    unit.iter_mut().for_each(|value| *value = f16::from_f32(*value).to_f32());
    unit
}

/// The stored form of a vector of unit length: IEEE binary16, little endian.
#[must_use]
pub fn to_blob(unit: &[f32]) -> Vec<u8> {
    unit.iter().flat_map(|&value| f16::from_f32(value).to_le_bytes()).collect()
}

/// The vector stored as `blob`, into `out`.
///
/// # Errors
/// `ERR_CORRUPT` where it is none of `out.len()` numbers.
pub fn read_blob(blob: &[u8], out: &mut [f32]) -> Result<()> {
    let (pairs, rest) = blob.as_chunks::<2>();
    if pairs.len() != out.len() || !rest.is_empty() {
        return Err(Error::new(
            Code::Corrupt,
            format!("a stored vector has {} bytes in place of {}; index again", blob.len(), out.len() * 2),
        ));
    }
    let mut numbers = [f16::ZERO; 256];
    for (pairs, out) in pairs.chunks(numbers.len()).zip(out.chunks_mut(numbers.len())) {
        let numbers = &mut numbers[..pairs.len()];
        for (number, pair) in numbers.iter_mut().zip(pairs) {
            *number = f16::from_le_bytes(*pair);
        }
        numbers.convert_to_f32_slice(out);
    }
    // Infinite and NaN have the exponent of all ones; their sum of squares is not finite either, and 0 has no direction.
    let squares: f32 = out.iter().map(|value| value * value).sum();
    if squares.is_finite() && squares > 0.0 {
        return Ok(());
    }
    Err(Error::new(Code::Corrupt, "a stored vector has numbers that are none, or only zeros; index again"))
}

/// The vector stored as `blob`.
///
/// # Errors
/// `ERR_CORRUPT` where it is none of `dimensions` numbers.
pub fn from_blob(blob: &[u8], dimensions: usize) -> Result<Vec<f32>> {
    let mut vector = vec![0.0; dimensions];
    read_blob(blob, &mut vector)?;
    Ok(vector)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vector_comes_to_unit_length_whatever_its_size() {
        for scale in [1.0, 1e-42, 1e-20, 1e30] {
            let unit = unit(&[3.0 * scale, 0.0, -4.0 * scale], 3).unwrap();
            assert!((unit[0] - 0.6).abs() < 1e-3 && (unit[2] + 0.8).abs() < 1e-3, "{scale}: {unit:?}");
        }
    }

    #[test]
    fn a_vector_without_a_direction_is_refused_and_named() {
        for (values, named) in [
            (&[1.0, 2.0][..], "2 numbers"),
            (&[1.0, f32::NAN, 0.0][..], "vector[1] is NaN"),
            (&[1.0, 0.0, f32::NEG_INFINITY][..], "vector[2] is -inf"),
            (&[0.0, -0.0, 0.0][..], "all 3 numbers"),
        ] {
            let error = unit(values, 3).unwrap_err();
            assert_eq!(error.code, Code::InvalidArg);
            assert!(error.message.contains(named), "{}", error.message);
        }
    }

    #[test]
    fn a_blob_gives_back_what_it_was_made_of() {
        let values: Vec<f32> = (0_u8..=200).map(|number| f32::from(number) - 77.5).collect();
        let unit = unit(&values, 201).unwrap();
        let back = from_blob(&to_blob(&unit), 201).unwrap();
        assert!(unit.iter().zip(&back).all(|(a, b)| (a - b).abs() <= a.abs() / 2_000.0 + 1e-7));
        assert_eq!(to_blob(&back), to_blob(&unit), "a second time changes nothing");
    }

    #[test]
    fn a_damaged_blob_is_told() {
        let nan = f16::NAN.to_le_bytes();
        for blob in [&[][..], &[0, 60][..], &[0, 60, 0][..], &[0, 60, nan[0], nan[1]][..], &[0; 4][..]] {
            assert_eq!(from_blob(blob, 2).unwrap_err().code, Code::Corrupt, "{blob:?}");
        }
    }
}
