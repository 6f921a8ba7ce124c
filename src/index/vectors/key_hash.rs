//! Hashes for maps by row key. Keys are row ids that SQLite gave out: nobody can choose them so that they collide, and a
//! search looks thousands of them up.

use std::{
    collections::HashMap,
    hash::{BuildHasherDefault, Hasher},
};

/// A map by row key.
pub type KeyMap<V> = HashMap<i64, V, BuildHasherDefault<KeyHasher>>;

/// Of one number.
#[derive(Debug, Default)]
pub struct KeyHasher(u64);

impl Hasher for KeyHasher {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u64(&mut self, number: u64) {
        // The map takes its place from the lowest bits and compares the highest: a multiplication spreads a number over
        // the upper half, and the fold brings that down.
        let product = (self.0 ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = product ^ (product >> 32);
    }

    fn write_i64(&mut self, number: i64) {
        self.write_u64(number.cast_unsigned());
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::HashSet, hash::Hash};

    use super::*;

    fn hash(key: i64) -> u64 {
        let mut hasher = KeyHasher::default();
        key.hash(&mut hasher);
        hasher.finish()
    }

    #[test]
    fn keys_that_follow_each_other_are_spread() {
        for step in [1, 4, 1 << 20, 1 << 32] {
            let low: HashSet<u64> = (0..1_024).map(|key| hash(key * step) % 4_096).collect();
            let high: HashSet<u64> = (0..1_024).map(|key| hash(key * step) >> 57).collect();
            assert!(low.len() > 800 && high.len() > 100, "{step}: {} and {}", low.len(), high.len());
        }
    }

    #[test]
    fn a_map_finds_what_was_put() {
        let map: KeyMap<i64> = (-500..500).map(|key| (key * 4, key)).collect();
        assert_eq!((map.len(), map[&-2_000], map.get(&1)), (1_000, -500, None));
    }
}
