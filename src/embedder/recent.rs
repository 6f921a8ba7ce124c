//! Vectors of recent queries, bounded in bytes; the one asked for longest ago goes first.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

/// What a text costs beside itself and its vector: two map entries and two reference counts.
const ENTRY_BYTES: usize = 160;

/// The vectors of recent queries.
pub struct Recent {
    limit: usize,
    bytes: usize,
    /// Counts questions, so that each has a place in the order.
    clock: u64,
    by_text: HashMap<Arc<str>, (u64, Arc<[f32]>)>,
    by_age: BTreeMap<u64, Arc<str>>,
}

impl Recent {
    /// Remembers up to `limit` bytes; none with 0.
    pub fn new(limit: usize) -> Self {
        Self { limit, bytes: 0, clock: 0, by_text: HashMap::new(), by_age: BTreeMap::new() }
    }

    /// The vector of a text that was asked for lately.
    pub fn get(&mut self, text: &str) -> Option<Arc<[f32]>> {
        let (age, vector) = self.by_text.get_mut(text)?;
        let key = self.by_age.remove(age)?;
        self.clock += 1;
        *age = self.clock;
        self.by_age.insert(self.clock, key);
        Some(Arc::clone(vector))
    }

    /// Remembers a vector, and forgets as many as it takes.
    pub fn put(&mut self, text: &str, vector: &Arc<[f32]>) {
        let cost = cost(text, vector);
        // A text that would drive many others out is not worth it.
        if cost > self.limit / 4 || self.get(text).is_some() {
            return;
        }
        while self.bytes + cost > self.limit {
            let Some((_, oldest)) = self.by_age.pop_first() else { break };
            if let Some((_, forgotten)) = self.by_text.remove(&oldest) {
                self.bytes -= self::cost(&oldest, &forgotten);
            }
        }
        let key: Arc<str> = text.into();
        self.clock += 1;
        self.by_age.insert(self.clock, Arc::clone(&key));
        self.by_text.insert(key, (self.clock, Arc::clone(vector)));
        self.bytes += cost;
    }

    /// Bytes that it holds.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

fn cost(text: &str, vector: &[f32]) -> usize {
    text.len() + size_of_val(vector) + ENTRY_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vector(of: f32) -> Arc<[f32]> {
        vec![of; 10].into()
    }

    #[test]
    fn the_one_asked_for_longest_ago_goes_first() {
        let one = cost("a", &vector(0.0));
        let mut recent = Recent::new(4 * one);
        for (text, of) in [("a", 1.0), ("b", 2.0), ("c", 3.0), ("d", 4.0)] {
            recent.put(text, &vector(of));
        }
        assert_eq!(recent.bytes(), 4 * one);
        assert_eq!(recent.get("a").unwrap()[0], 1.0);
        recent.put("e", &vector(5.0));
        assert_eq!(recent.bytes(), 4 * one);
        assert!(recent.get("b").is_none());
        for text in ["a", "c", "d", "e"] {
            assert!(recent.get(text).is_some(), "{text}");
        }
    }

    #[test]
    fn a_huge_text_drives_nobody_out() {
        let mut recent = Recent::new(4_000);
        recent.put("a", &vector(1.0));
        recent.put(&"x".repeat(2_000), &vector(2.0));
        assert!(recent.get("a").is_some());
        assert!(recent.get(&"x".repeat(2_000)).is_none());
        for number in 0..1_000 {
            recent.put(&number.to_string(), &vector(0.0));
        }
        assert!(recent.bytes() <= 4_000 && recent.by_age.len() == recent.by_text.len());
    }

    #[test]
    fn without_bytes_nothing_is_remembered() {
        let mut recent = Recent::new(0);
        recent.put("a", &vector(1.0));
        assert!(recent.get("a").is_none());
        assert_eq!(recent.bytes(), 0);
    }
}
