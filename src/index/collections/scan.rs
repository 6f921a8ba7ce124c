//! Nearest neighbours by looking at every vector of the table: where they are too many for memory.

use std::{cmp::Ordering, collections::BinaryHeap};

use rusqlite::Connection;

use crate::{error::Result, index::vectors::vector};

/// A document and how far it is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Near {
    /// The document.
    pub key: i64,
    /// 1 − cosine.
    pub distance: f32,
}

impl Eq for Near {}

impl Ord for Near {
    /// The nearest first; of equally near ones the one that came first.
    fn cmp(&self, other: &Self) -> Ordering {
        self.distance.total_cmp(&other.distance).then(self.key.cmp(&other.key))
    }
}

impl PartialOrd for Near {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The `k` nearest to `query` in a collection, nearest first; of the documents `allowed` alone, where it is given.
///
/// # Errors
/// What SQLite answers.
pub fn nearest(
    db: &Connection,
    collection: i64,
    query: &[f32],
    k: usize,
    allowed: Option<&[i64]>,
) -> Result<Vec<Near>> {
    let mut best =
        Best { query: vector::unit(query, query.len())?, numbers: vec![0.0; query.len()], k, heap: BinaryHeap::new() };
    match allowed {
        Some(keys) => {
            let mut find = db.prepare_cached("SELECT vector FROM vectors WHERE key = ?1")?;
            for &key in keys {
                let mut rows = find.query([key])?;
                if let Some(row) = rows.next()? {
                    best.offer(key, row.get_ref(0)?.as_blob().unwrap_or_default());
                }
            }
        }
        None => {
            let mut all = db.prepare_cached(
                "SELECT d.key, v.vector FROM documents d INDEXED BY documents_written JOIN vectors v ON v.key = d.key
                 WHERE d.collection = ?1",
            )?;
            let mut rows = all.query([collection])?;
            while let Some(row) = rows.next()? {
                best.offer(row.get(0)?, row.get_ref(1)?.as_blob().unwrap_or_default());
            }
        }
    }
    Ok(best.heap.into_sorted_vec())
}

struct Best {
    query: Vec<f32>,
    k: usize,
    heap: BinaryHeap<Near>,
    numbers: Vec<f32>,
}

impl Best {
    fn offer(&mut self, key: i64, blob: &[u8]) {
        // One of another length is not comparable: the caller's own, from before the model changed.
        if blob.len() != self.query.len() * 2 || self.k == 0 {
            return;
        }
        if vector::read_blob(blob, &mut self.numbers).is_err() {
            // Damaged: a check finds it, the others are found all the same.
            return;
        }
        let near = Near { key, distance: distance(&self.query, &self.numbers) };
        if self.heap.len() < self.k {
            self.heap.push(near);
        } else if self.heap.peek().is_some_and(|farthest| near < *farthest) {
            self.heap.pop();
            self.heap.push(near);
        }
    }
}

/// 1 − cosine of a vector of unit length and one that 16 bits have rounded.
fn distance(query: &[f32], vector: &[f32]) -> f32 {
    // Eight sums at once, for the processor's lanes.
    let (mut dots, mut squares) = ([0.0_f32; 8], [0.0_f32; 8]);
    let (left, right) = (query.chunks_exact(8), vector.chunks_exact(8));
    let rest = left.remainder().iter().zip(right.remainder());
    let (mut dot, mut square) = rest.fold((0.0, 0.0), |(dot, square), (a, b)| (dot + a * b, square + b * b));
    for (left, right) in left.zip(right) {
        for lane in 0..8 {
            dots[lane] += left[lane] * right[lane];
            squares[lane] += right[lane] * right[lane];
        }
    }
    dot += dots.iter().sum::<f32>();
    square += squares.iter().sum::<f32>();
    (1.0 - dot / square.sqrt()).clamp(0.0, 2.0)
}
