//! Searching what is in memory.

use super::{Allowed, By, Hit, IdSet, blocks::Query, contents::Contents, graph::Graph, ranking::Ranking, slots::Slot};

/// To go to single vectors costs about so many times what going through all of them in their order does.
const SINGLE_COST: usize = 6;

/// Documents at the edge of those that the graph is asked for, beside a quarter of them.
const EDGE: usize = 8;

/// A search of the graph takes about as long as comparing so many single vectors, where everything is allowed.
const GRAPH_COST: usize = 3_000;

impl Contents {
    pub fn nearest(&self, query: &[f32], k: usize, by: By, allowed: Allowed<'_>) -> Vec<Hit> {
        let query = self.blocks.prepare(query);
        let mut ranking = Ranking::new(k, by);
        match allowed {
            Allowed::All => {
                if !self.search_graph(&query, &mut ranking, self.slots.live(), |_| true) {
                    self.scan(&query, &mut ranking, |_| true);
                }
            }
            Allowed::Groups(groups) => {
                let documents = groups.len().saturating_mul(self.documents_of_a_group());
                if self.is_selective(documents) {
                    for slot in groups.iter().flat_map(|group| self.slots.of_group(group)) {
                        self.compare(&query, slot, &mut ranking);
                    }
                } else {
                    self.search_set(&query, &mut ranking, documents, groups, |slot| self.slots.group(slot));
                }
            }
            Allowed::Documents(ids) => {
                if self.is_selective(ids.len()) {
                    for slot in ids.iter().filter_map(|id| self.slots.of_id(id)) {
                        self.compare(&query, slot, &mut ranking);
                    }
                } else {
                    self.search_set(&query, &mut ranking, ids.len(), ids, |slot| self.slots.id(slot));
                }
            }
        }
        ranking.finish()
    }

    pub fn best_of(&self, query: &[f32], groups: &[i64]) -> Vec<Option<Hit>> {
        /// Vectors that the processor is told of before they are compared.
        const AHEAD: usize = 8;
        let query = self.blocks.prepare(query);
        let (mut slots, mut ends) = (Vec::with_capacity(2 * groups.len()), Vec::with_capacity(groups.len()));
        for &group in groups {
            slots.extend(self.slots.of_group(group).map(|slot| (slot, f32::INFINITY)));
            ends.push(slots.len());
        }
        for place in 0..slots.len() {
            if let Some((coming, _)) = slots.get(place + AHEAD) {
                self.blocks.prefetch(*coming);
            }
            let (slot, least) = &mut slots[place];
            *least = self.least_distance(&query, *slot);
        }
        let mut start = 0;
        ends.into_iter()
            .map(|end| {
                let group = &slots[std::mem::replace(&mut start, end)..end];
                // Most documents of a group are told from the upper bits to be further than its nearest.
                let most = |&(slot, least): &(u32, f32)| least + 2.0 * self.blocks.slack(slot);
                let bound = group.iter().map(most).fold(f32::INFINITY, f32::min);
                let nearest =
                    group.iter().filter(|(_, least)| *least <= bound).map(|&(slot, _)| self.hit(&query, slot));
                nearest.min_by(|a, b| a.distance.total_cmp(&b.distance).then(a.id.cmp(&b.id))).map(Hit::bounded)
            })
            .collect()
    }

    fn documents_of_a_group(&self) -> usize {
        self.slots.live().div_ceil(self.slots.groups().max(1))
    }

    /// Whether going to so many documents one by one is quicker than anything else.
    fn is_selective(&self, documents: usize) -> bool {
        let all = self.slots.len();
        if documents.saturating_mul(SINGLE_COST) >= all {
            return false;
        }
        // The graph has to look at the more, the fewer of those that it comes by are allowed.
        self.graph.is_none() || documents.saturating_mul(documents) < all.saturating_mul(GRAPH_COST)
    }

    /// Searches among many that a set allows.
    fn search_set(
        &self,
        query: &Query,
        ranking: &mut Ranking,
        documents: usize,
        set: &IdSet,
        key: impl Fn(u32) -> i64,
    ) {
        if self.search_graph(query, ranking, documents, |slot| set.contains(key(slot))) {
            return;
        }
        self.scan(query, ranking, |slot| set.contains(key(slot)));
    }

    /// Searches by the graph, and compares what it does not know yet. `documents` is how many are allowed, about.
    /// Answers false where there is no graph, or it would be slower than comparing all; nothing is ranked then.
    fn search_graph(
        &self,
        query: &Query,
        ranking: &mut Ranking,
        documents: usize,
        allows: impl Fn(u32) -> bool,
    ) -> bool {
        let Some(graph) = &self.graph else { return false };
        if self.slots.pending() > self.slots.live() / 4 {
            return false;
        }
        let mut count = ranking.first_wanted(self.documents_of_a_group());
        loop {
            // Its cost grows with what it has to find, and with what it has to look at in vain.
            if count.saturating_mul(16) > documents {
                return false;
            }
            // It ranks by the upper bits: of those at the edge the lower ones decide.
            count += count / 4 + EDGE;
            let found = self.found_by(graph, query, count, &allows);
            let mut candidates = ranking.emptied();
            let came = found.len();
            found.iter().for_each(|&slot| self.blocks.prefetch_lower(slot));
            for slot in found {
                candidates.add(self.hit(query, slot));
            }
            // Of what is nearer than the last of all found nothing is missing: so many groups are the nearest groups.
            if candidates.is_full() || came < count {
                if came < count && !candidates.is_full() {
                    // Not enough of what is allowed was reached; what there is, only a scan tells.
                    return false;
                }
                *ranking = candidates;
                break;
            }
            count = count.saturating_mul(2);
        }
        for &slot in self.recent.iter().filter(|&&slot| self.slots.state(slot) == Slot::Pending && allows(slot)) {
            self.compare(query, slot, ranking);
        }
        true
    }

    fn found_by(&self, graph: &Graph, query: &Query, count: usize, allows: impl Fn(u32) -> bool) -> Vec<u32> {
        graph.search(&self.blocks, query, count, |slot| self.slots.state(slot) == Slot::Indexed && allows(slot))
    }

    /// Compares all that `allows` lets through, in the order in which they lie in memory. Whether it does is asked about
    /// those only that would be kept.
    fn scan(&self, query: &Query, ranking: &mut Ranking, allows: impl Fn(u32) -> bool) {
        // By the most that each can be away: what is further than that of all that are kept is out, whatever its lower
        // bits say, and of the others there are few. To look at those costs a memory access each.
        let (mut bounds, mut candidates) = (ranking.emptied(), Vec::new());
        self.blocks.each_least_distance(query, |first, least| {
            for (slot, &least) in (first..).zip(least) {
                if bounds.wants(least) && self.slots.is_live(slot) && allows(slot) {
                    let most = least + 2.0 * self.blocks.slack(slot);
                    bounds.add(Hit { id: self.slots.id(slot), group: self.slots.group(slot), distance: most });
                    candidates.push((slot, least));
                }
            }
        });
        for (slot, least) in candidates {
            if bounds.wants(least) && ranking.wants(least) {
                ranking.add(self.hit(query, slot));
            }
        }
    }

    #[inline]
    fn compare(&self, query: &Query, slot: u32, ranking: &mut Ranking) {
        // Most are told from the upper bits to be too far, whatever the lower ones say.
        if ranking.wants(self.least_distance(query, slot)) {
            ranking.add(self.hit(query, slot));
        }
    }

    /// The least that the distance of a slot can be, whatever its lower bits say.
    #[inline]
    fn least_distance(&self, query: &Query, slot: u32) -> f32 {
        1.0 - self.blocks.rough_cosine(query, slot) - self.blocks.slack(slot)
    }

    fn hit(&self, query: &Query, slot: u32) -> Hit {
        let distance = 1.0 - self.blocks.cosine(query, slot);
        Hit { id: self.slots.id(slot), group: self.slots.group(slot), distance }
    }
}
