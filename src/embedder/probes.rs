//! How a model is recognised: by the vectors that it makes of a few fixed texts. The same weights stored with
//! 32 or 8 bits agree on them to 0.9992 or better; another model does not.

use super::{DEFAULT_MODEL, Identity};

/// Never changed: indexes keep their vectors. `reference/make.py` has them too.
pub const TEXTS: [&str; 4] = [
    "The worker's queue survives a restart: messages are leased, not popped.",
    "fix: null pointer dereference in src/parser.c:120 when the input is empty",
    "How do I rotate the credentials of the production database?",
    "今天天气很好 · Grüße aus Köln · ¿dónde está la biblioteca?",
];

/// The least cosine at which two vectors of one text are of one model.
pub const AGREEMENT: f32 = 0.999;

/// What all-MiniLM-L6-v2 makes of [`TEXTS`] with 32-bit weights: little-endian floats, made by `reference/make.py`.
const DEFAULT_VECTORS: &[u8] = include_bytes!("../../assets/all-MiniLM-L6-v2/probes.f32");

/// What a model of this identity makes of [`TEXTS`], where that is built in.
#[must_use]
pub fn known(identity: &Identity) -> Option<Vec<Vec<f32>>> {
    let bytes = identity.dimensions * size_of::<f32>();
    if identity.name != DEFAULT_MODEL || bytes * TEXTS.len() != DEFAULT_VECTORS.len() {
        return None;
    }
    Some(from_bytes(DEFAULT_VECTORS))
}

/// What a model made of [`TEXTS`], as bytes: little-endian floats, one text's after the other's.
#[must_use]
pub fn to_bytes(made: &[Vec<f32>]) -> Vec<u8> {
    made.iter().flatten().flat_map(|number| number.to_le_bytes()).collect()
}

/// The vectors in such bytes; of bytes that are none, vectors that agree with no model's.
#[must_use]
pub fn from_bytes(bytes: &[u8]) -> Vec<Vec<f32>> {
    let length = (bytes.len() / TEXTS.len()).max(1);
    let numbers = |vector: &[u8]| vector.as_chunks().0.iter().map(|number| f32::from_le_bytes(*number)).collect();
    bytes.chunks_exact(length).map(numbers).collect()
}

/// Whether vectors of unit length that two models made of [`TEXTS`] come from the same one.
#[must_use]
pub fn same_model(ours: &[Vec<f32>], theirs: &[Vec<f32>]) -> bool {
    agreement(ours, theirs) >= AGREEMENT
}

/// The least cosine between the vectors of two models; -1 where they have no common form.
#[must_use]
pub fn agreement(ours: &[Vec<f32>], theirs: &[Vec<f32>]) -> f32 {
    if ours.is_empty() || ours.len() != theirs.len() || ours.iter().zip(theirs).any(|(a, b)| a.len() != b.len()) {
        return -1.0;
    }
    let cosine = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
    ours.iter().zip(theirs).map(|(a, b)| cosine(a, b)).fold(1.0, f32::min)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(name: &str, dimensions: usize) -> Identity {
        Identity { name: name.to_owned(), dimensions, pooling: "mean".to_owned(), max_tokens: 256 }
    }

    #[test]
    fn the_default_model_is_known_by_its_vectors() {
        let known = known(&identity(DEFAULT_MODEL, 384)).unwrap();
        assert!(same_model(&known, &known));
        let mut swapped = known.clone();
        swapped.swap(0, 1);
        assert!(!same_model(&known, &swapped));
        assert!(!same_model(&known, &known[1..]) && !same_model(&[], &[]));
        assert!(!same_model(&known, &known.iter().map(|vector| vector[1..].to_vec()).collect::<Vec<_>>()));
    }

    #[test]
    fn bytes_are_read_as_they_were_written() {
        let made = known(&identity(DEFAULT_MODEL, 384)).unwrap();
        assert_eq!(from_bytes(&to_bytes(&made)), made);
        assert_eq!(to_bytes(&made), DEFAULT_VECTORS);
        for bytes in [&[][..], &[0; 3], &DEFAULT_VECTORS[..100]] {
            assert!(!same_model(&from_bytes(bytes), &made), "{} bytes", bytes.len());
        }
    }

    #[test]
    fn of_others_nothing_is_known() {
        assert!(known(&identity("another", 384)).is_none());
        assert!(known(&identity(DEFAULT_MODEL, 768)).is_none());
    }
}
