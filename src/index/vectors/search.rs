//! Searching what is in memory.

use super::{Allowed, By, Contents, Hit, IdSet, blocks::Query, ranking::Ranking};

/// Going to single vectors costs about this many times what going through all of them in their order does.
const SINGLE_COST: usize = 3;

impl Contents {
    pub(super) fn nearest(&self, query: &[f32], k: usize, by: By, allowed: Allowed<'_>) -> Vec<Hit> {
        let query = self.blocks.prepare(query);
        let mut ranking = Ranking::new(k, by);
        match allowed {
            Allowed::All => self.scan(&query, &mut ranking, |_| true),
            Allowed::Groups(groups) => {
                let each = self.slots.live() / self.slots.groups().max(1) + 1;
                if self.is_selective(groups.len() * each) {
                    groups.iter().for_each(|group| {
                        self.slots.of_group(group).for_each(|slot| self.compare(&query, slot, &mut ranking));
                    });
                } else {
                    self.scan_set(&query, &mut ranking, groups, |slot| self.slots.group(slot));
                }
            }
            Allowed::Documents(ids) => {
                if self.is_selective(ids.len()) {
                    for slot in ids.iter().filter_map(|id| self.slots.of_id(id)) {
                        self.compare(&query, slot, &mut ranking);
                    }
                } else {
                    self.scan_set(&query, &mut ranking, ids, |slot| self.slots.id(slot));
                }
            }
        }
        ranking.finish()
    }

    pub(super) fn best_of(&self, query: &[f32], groups: &[i64]) -> Vec<Option<Hit>> {
        let query = self.blocks.prepare(query);
        groups
            .iter()
            .map(|&group| {
                let mut ranking = Ranking::new(1, By::Document);
                self.slots.of_group(group).for_each(|slot| self.compare(&query, slot, &mut ranking));
                ranking.finish().pop()
            })
            .collect()
    }

    /// Whether to go to so many documents one by one is quicker than to go through all.
    fn is_selective(&self, documents: usize) -> bool {
        documents.saturating_mul(SINGLE_COST) < self.slots.len()
    }

    /// Compares all that a set allows.
    fn scan_set(&self, query: &Query, ranking: &mut Ranking, set: &IdSet, key: impl Fn(u32) -> i64) {
        if set.is_bitmap() {
            self.scan(query, ranking, |slot| set.contains(key(slot)));
            return;
        }
        // To ask such a set costs more than a comparison: it is asked about those only that would be kept.
        for slot in self.live_slots() {
            let distance = 1.0 - self.blocks.cosine(query, slot);
            if ranking.wants(distance) && set.contains(key(slot)) {
                ranking.add(Hit { id: self.slots.id(slot), group: self.slots.group(slot), distance });
            }
        }
    }

    /// Compares all that `allows` lets through, in the order in which they lie in memory.
    fn scan(&self, query: &Query, ranking: &mut Ranking, allows: impl Fn(u32) -> bool) {
        for slot in self.live_slots().filter(|&slot| allows(slot)) {
            self.compare(query, slot, ranking);
        }
    }

    fn live_slots(&self) -> impl Iterator<Item = u32> {
        #[expect(clippy::cast_possible_truncation, reason = "at most slots::MAX")]
        let slots = 0..self.slots.len() as u32;
        slots.filter(|&slot| self.slots.is_live(slot))
    }

    #[inline]
    fn compare(&self, query: &Query, slot: u32, ranking: &mut Ranking) {
        let distance = 1.0 - self.blocks.cosine(query, slot);
        if ranking.wants(distance) {
            ranking.add(Hit { id: self.slots.id(slot), group: self.slots.group(slot), distance });
        }
    }
}
