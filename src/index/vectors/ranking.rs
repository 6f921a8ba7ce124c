//! The k best of many: documents, or groups each once.

use std::collections::{BTreeSet, BinaryHeap};

use super::{By, Hit, key_hash::KeyMap};

/// Documents of a group that are expected among the nearest, at most. A row has some four, but not all of them are near; a
/// search that turns out to need more takes less time for both attempts than one that begins with all of them.
const OF_A_GROUP: usize = 2;

/// Collects hits and keeps the k nearest. Of equal distance the lower id is first, so that an order is the same each
/// time.
pub struct Ranking {
    k: usize,
    kept: Kept,
    /// From here on nothing is kept; infinite until there are k.
    worst: f32,
}

enum Kept {
    Documents(BinaryHeap<Entry>),
    Groups { ranked: BTreeSet<Entry>, best: KeyMap<Entry> },
}

/// A hit in the order of ranking.
#[derive(Clone, Copy, PartialEq)]
struct Entry(Hit);

impl Eq for Entry {}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.distance.total_cmp(&other.0.distance).then(self.0.id.cmp(&other.0.id))
    }
}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ranking {
    pub fn new(k: usize, by: By) -> Self {
        let kept = match by {
            By::Document => Kept::Documents(BinaryHeap::new()),
            By::Group => Kept::Groups { ranked: BTreeSet::new(), best: KeyMap::default() },
        };
        Self { k, kept, worst: if k == 0 { f32::NEG_INFINITY } else { f32::INFINITY } }
    }

    /// Whether a hit at that distance could be among the k.
    #[inline]
    pub fn wants(&self, distance: f32) -> bool {
        distance <= self.worst
    }

    /// One more hit.
    pub fn add(&mut self, hit: Hit) {
        if !self.wants(hit.distance) {
            return;
        }
        let entry = Entry(hit);
        match &mut self.kept {
            Kept::Documents(heap) => {
                if heap.len() < self.k {
                    heap.push(entry);
                } else if let Some(mut worst) = heap.peek_mut()
                    && entry < *worst
                {
                    *worst = entry;
                }
                if heap.len() == self.k {
                    self.worst = heap.peek().map_or(self.worst, |worst| worst.0.distance);
                }
            }
            Kept::Groups { ranked, best } => {
                match best.get(&hit.group) {
                    Some(known) if *known <= entry => return,
                    Some(known) => {
                        ranked.remove(known);
                    }
                    None => {}
                }
                best.insert(hit.group, entry);
                ranked.insert(entry);
                if ranked.len() > self.k
                    && let Some(out) = ranked.pop_last()
                {
                    best.remove(&out.0.group);
                }
                if ranked.len() == self.k {
                    self.worst = ranked.last().map_or(self.worst, |worst| worst.0.distance);
                }
            }
        }
    }

    /// A new one of the same kind.
    pub fn emptied(&self) -> Self {
        Self::new(self.k, if matches!(self.kept, Kept::Documents(_)) { By::Document } else { By::Group })
    }

    /// How many of the nearest documents it takes to have as many as it keeps, to begin with: of a group more than one may
    /// be among them.
    pub fn first_wanted(&self, documents_of_a_group: usize) -> usize {
        let of_each = if matches!(self.kept, Kept::Documents(_)) { 1 } else { documents_of_a_group.min(OF_A_GROUP) };
        self.k.saturating_mul(of_each)
    }

    /// Whether there are as many as it keeps.
    pub fn is_full(&self) -> bool {
        self.len() == self.k
    }

    /// How many there are.
    fn len(&self) -> usize {
        match &self.kept {
            Kept::Documents(heap) => heap.len(),
            Kept::Groups { ranked, .. } => ranked.len(),
        }
    }

    /// The hits, nearest first.
    pub fn finish(self) -> Vec<Hit> {
        let entries = match self.kept {
            Kept::Documents(heap) => heap.into_sorted_vec(),
            Kept::Groups { ranked, .. } => ranked.into_iter().collect(),
        };
        entries.into_iter().map(|Entry(hit)| hit.bounded()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_k_best_are_those_of_a_sort() {
        let mut state = 9_u64;
        let hits: Vec<Hit> = (0..500)
            .map(|id| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                // Few distances, so that many are equal.
                Hit { id, group: id % 37, distance: ((state >> 40) % 50) as f32 / 50.0 }
            })
            .collect();
        let mut sorted = hits.clone();
        sorted.sort_by(|a, b| a.distance.total_cmp(&b.distance).then(a.id.cmp(&b.id)));
        let mut once = sorted.clone();
        let mut seen = std::collections::HashSet::new();
        once.retain(|hit| seen.insert(hit.group));
        for k in [0, 1, 2, 36, 37, 38, 499, 500, 600] {
            for (by, wanted) in [(By::Document, &sorted), (By::Group, &once)] {
                let mut ranking = Ranking::new(k, by);
                hits.iter().for_each(|&hit| ranking.add(hit));
                assert_eq!(ranking.len(), k.min(wanted.len()));
                assert_eq!(ranking.finish(), wanted[..k.min(wanted.len())], "{k} {by:?}");
            }
        }
    }
}
