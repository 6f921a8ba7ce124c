//! The graph by which near vectors are found without comparing all, and the walk through it.
//!
//! It is a hierarchy of neighbourhoods ("Efficient and robust approximate nearest neighbor search using Hierarchical
//! Navigable Small World graphs", Malkov and Yashunin, 2016). Usearch makes it ([`super::construction`]); searches do not
//! go through usearch, since they know more than it does: where the vectors of all neighbours of a node are, so that
//! the processor can fetch them while it compares the first. Among 200,000 vectors that is most of the time. A graph
//! never changes, so that nobody waits for anybody: what has come since is in the next one.

use std::{cell::RefCell, cmp::Reverse, collections::BinaryHeap};

use super::{
    blocks::{Blocks, Query},
    kernel,
    usearch_file::{self, About, CONNECTIVITY, corrupt},
};
use crate::{error::Result, settings::Expansion};

/// The end of a list of neighbours that is not full.
const END: u32 = u32::MAX;
/// In place of the first neighbour: the graph does not know this slot.
const UNKNOWN: u32 = u32::MAX - 1;

/// From so many places a search goes on to the level below. With one it may be led to where nothing near lies: of 200,000
/// vectors that were mixed from real ones, 64 looked at on the lowest level found 0.964 of the nearest ten from one place,
/// 0.978 from eight (`examples/vectors.rs`).
const STARTS: usize = 8;

/// A graph over some of the slots.
pub struct Graph {
    expansion: Expansion,
    about: About,
    nodes: usize,
    /// The lowest level, of every slot.
    base: Vec<Neighbours>,
    /// Those above, from the lowest up.
    above: Vec<Level>,
}

/// Neighbours on the lowest level: two lines of the processor's cache.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Neighbours([u32; 2 * CONNECTIVITY]);

impl Neighbours {
    const UNKNOWN: Self = {
        let mut neighbours = [END; 2 * CONNECTIVITY];
        neighbours[0] = UNKNOWN;
        Self(neighbours)
    };
}

/// A level above the lowest.
#[derive(Default)]
struct Level {
    /// In ascending order.
    slots: Vec<u32>,
    neighbours: Vec<[u32; CONNECTIVITY]>,
}

/// Who is whose neighbour on a level.
trait Neighbourhoods {
    /// The neighbours of a slot.
    fn of(&self, slot: u32) -> &[u32];

    /// Has the processor fetch them.
    fn prefetch(&self, slot: u32);
}

impl Neighbourhoods for [Neighbours] {
    #[inline]
    fn of(&self, slot: u32) -> &[u32] {
        until_end(&self[slot as usize].0)
    }

    #[inline]
    fn prefetch(&self, slot: u32) {
        if let Some(neighbours) = self.get(slot as usize) {
            kernel::prefetch(&neighbours.0);
        }
    }
}

impl Neighbourhoods for Level {
    fn of(&self, slot: u32) -> &[u32] {
        self.slots.binary_search(&slot).map_or(&[], |place| until_end(&self.neighbours[place]))
    }

    /// They are few, and remembered from the searches before.
    fn prefetch(&self, _: u32) {}
}

fn until_end(neighbours: &[u32]) -> &[u32] {
    let count = neighbours.iter().position(|&slot| slot >= UNKNOWN).unwrap_or(neighbours.len());
    &neighbours[..count]
}

/// Neighbours, up to as many as there is room for.
fn list<const N: usize>(neighbours: &[u32]) -> [u32; N] {
    let mut list = [END; N];
    list.iter_mut().zip(neighbours).for_each(|(place, &slot)| *place = slot);
    list
}

impl Graph {
    /// The graph that [`Self::save`] wrote, or usearch, over slots below `slots`.
    ///
    /// # Errors
    /// `ERR_CORRUPT` where the bytes are none.
    pub fn load(expansion: Expansion, bytes: &[u8], slots: usize) -> Result<Self> {
        let known = usearch_file::slots(bytes)?;
        let len = known.iter().max().map_or(0, |&slot| slot as usize + 1);
        if len > slots.min(UNKNOWN as usize) {
            return Err(corrupt("has slots that are not there"));
        }
        let mut base = vec![Neighbours::UNKNOWN; len];
        let mut above: Vec<Vec<(u32, [u32; CONNECTIVITY])>> = Vec::new();
        let mut twice = false;
        let about = usearch_file::read(bytes, |slot, level, neighbours| match level.checked_sub(1) {
            None => {
                let place = &mut base[slot as usize];
                twice |= place.0[0] != UNKNOWN;
                *place = Neighbours(list(neighbours));
            }
            Some(level) => {
                above.resize_with(above.len().max(level + 1), Vec::new);
                above[level].push((slot, list(neighbours)));
            }
        })?;
        if twice {
            return Err(corrupt("has a slot twice"));
        }
        let above = above
            .into_iter()
            .map(|mut level| {
                level.sort_unstable_by_key(|(slot, _)| *slot);
                let (slots, neighbours) = level.into_iter().unzip();
                Level { slots, neighbours }
            })
            .collect();
        Ok(Self { expansion, about, nodes: known.len(), base, above })
    }

    /// The graph as bytes that usearch reads, too.
    pub fn save(&self) -> Vec<u8> {
        let mut nodes: Vec<(u32, usize)> =
            (0_u32..).zip(&self.base).filter(|(_, known)| known.0[0] != UNKNOWN).map(|(slot, _)| (slot, 0)).collect();
        for (level, above) in (1_usize..).zip(&self.above) {
            for slot in &above.slots {
                if let Ok(place) = nodes.binary_search_by_key(slot, |(slot, _)| *slot) {
                    nodes[place].1 = level;
                }
            }
        }
        usearch_file::write(&self.about, &nodes, |slot, level| match level.checked_sub(1) {
            None => self.base.of(slot),
            Some(level) => self.above[level].of(slot),
        })
    }

    /// How much its making and its searches look at.
    pub const fn expansion(&self) -> Expansion {
        self.expansion
    }

    /// Slots that it knows.
    pub const fn len(&self) -> usize {
        self.nodes
    }

    /// Whether it knows a slot.
    pub fn knows(&self, slot: u32) -> bool {
        self.base.get(slot as usize).is_some_and(|neighbours| neighbours.0[0] != UNKNOWN)
    }

    /// Bytes in memory.
    pub fn bytes(&self) -> usize {
        fn of<T>(list: &Vec<T>) -> usize {
            list.capacity() * size_of::<T>()
        }
        of(&self.base) + self.above.iter().map(|level| of(&level.slots) + of(&level.neighbours)).sum::<usize>()
    }

    /// The same of one with so many nodes, about.
    pub const fn bytes_of(nodes: usize) -> usize {
        let above = (size_of::<u32>() + size_of::<[u32; CONNECTIVITY]>()) / (CONNECTIVITY - 1);
        nodes * (size_of::<Neighbours>() + above + 1)
    }

    /// The `count` nearest slots that `allows` lets through, by the upper bits of their vectors, nearest first; of more
    /// than that none, of fewer only where there are not more, or not enough of them are reached.
    pub fn search(&self, blocks: &Blocks, query: &Query, count: usize, allows: impl Fn(u32) -> bool) -> Vec<u32> {
        if self.nodes == 0 || count == 0 {
            return Vec::new();
        }
        let most = self.expansion.search_among(self.nodes).max(count);
        let (mut walk, slots) = (WALK.take(), self.base.len());
        let mut found = vec![Key::of(blocks, query, self.about.entry)];
        for level in self.above.iter().rev() {
            walk.begin(slots);
            found = walk.nearest(blocks, query, &found, STARTS, level, |_| true);
        }
        walk.begin(slots);
        found = walk.nearest(blocks, query, &found, most, &self.base[..], allows);
        WALK.set(walk);
        found.into_iter().take(count).map(Key::slot).collect()
    }
}

/// A slot behind its distance, so that keys are in the order of distances.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Key(u64);

impl Key {
    const FURTHEST: Self = Self(u64::MAX);

    #[inline]
    fn of(blocks: &Blocks, query: &Query, slot: u32) -> Self {
        // Between 1 and 3, and of numbers above 0 the bits are in their order.
        let distance = (2.0 - blocks.rough_cosine(query, slot)).max(0.0);
        Self((u64::from(distance.to_bits()) << 32) | u64::from(slot))
    }

    #[expect(clippy::cast_possible_truncation, reason = "the lower half")]
    const fn slot(self) -> u32 {
        self.0 as u32
    }
}

thread_local! {
    /// Kept from search to search: to allocate it anew takes longer than to clear it.
    static WALK: RefCell<Walk> = RefCell::default();
}

/// What a search keeps in mind.
#[derive(Default)]
struct Walk {
    seen: Slots,
    /// Neighbours of a node that are to be compared.
    unseen: Vec<u32>,
    /// What is to be looked at.
    next: BinaryHeap<Reverse<Key>>,
}

impl Walk {
    fn begin(&mut self, slots: usize) {
        self.seen.clear(slots);
        self.next.clear();
    }

    /// The `most` nearest that are allowed, nearest first, on a level: from `starts` on, until what is still to be
    /// looked at is further than all of these.
    fn nearest(
        &mut self,
        blocks: &Blocks,
        query: &Query,
        starts: &[Key],
        most: usize,
        neighbourhoods: &(impl Neighbourhoods + ?Sized),
        allows: impl Fn(u32) -> bool,
    ) -> Vec<Key> {
        let Self { seen, unseen, next } = self;
        let mut found: BinaryHeap<Key> = BinaryHeap::with_capacity(most + 1);
        let mut furthest = Key::FURTHEST;
        for &start in starts {
            seen.insert(start.slot());
            next.push(Reverse(start));
            if allows(start.slot()) && found.len() < most {
                found.push(start);
            }
        }
        if found.len() == most {
            furthest = found.peek().copied().unwrap_or(Key::FURTHEST);
        }
        while let Some(Reverse(nearest)) = next.pop() {
            if nearest > furthest {
                break;
            }
            if let Some(Reverse(after)) = next.peek() {
                neighbourhoods.prefetch(after.slot());
            }
            // First all that is to be fetched, so that it comes while the first are compared.
            unseen.clear();
            for &slot in neighbourhoods.of(nearest.slot()) {
                if seen.insert(slot) {
                    blocks.prefetch(slot);
                    unseen.push(slot);
                }
            }
            for &slot in unseen.iter() {
                let key = Key::of(blocks, query, slot);
                if key >= furthest {
                    continue;
                }
                if next.peek().is_none_or(|Reverse(nearest)| key < *nearest) {
                    // It will be looked at next, unless one that is still to be compared is nearer.
                    neighbourhoods.prefetch(slot);
                }
                next.push(Reverse(key));
                if !allows(slot) {
                    continue;
                }
                if found.len() < most {
                    found.push(key);
                } else if let Some(mut last) = found.peek_mut() {
                    *last = key;
                }
                if found.len() == most {
                    furthest = found.peek().copied().unwrap_or(Key::FURTHEST);
                }
            }
        }
        found.into_sorted_vec()
    }
}

/// A set of slots, one bit each.
#[derive(Default)]
struct Slots(Vec<u64>);

impl Slots {
    fn clear(&mut self, slots: usize) {
        self.0.clear();
        self.0.resize(slots.div_ceil(64), 0);
    }

    /// Whether it was not there.
    #[inline]
    fn insert(&mut self, slot: u32) -> bool {
        let (word, bit) = (&mut self.0[slot as usize / 64], 1 << (slot % 64));
        let new = *word & bit == 0;
        *word |= bit;
        new
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{construction::Construction, testing::*},
        *,
    };
    use crate::{error::Code, settings::Precision};

    const EXPANSION: Expansion = Expansion { add: 128, search: Some(64) };

    fn graph_of(vectors: &[Vec<f32>], precision: Precision) -> (Blocks, Graph) {
        let mut blocks = Blocks::new(vectors[0].len(), precision);
        vectors.iter().for_each(|vector| blocks.push(vector));
        let construction = Construction::new(EXPANSION, vectors.len()).unwrap();
        (0..vectors.len()).for_each(|slot| construction.add(&blocks, slot as u32).unwrap());
        (blocks, construction.finish().unwrap())
    }

    #[test]
    fn what_it_finds_is_what_is_nearest_and_only_what_is_allowed() {
        let vectors = clustered(1_000, 64, 2);
        for precision in [Precision::I16, Precision::I8] {
            let (blocks, graph) = graph_of(&vectors, precision);
            let (mut found, mut wanted) = (0, 0);
            for query in clustered(50, 64, 2) {
                let query = blocks.prepare(&query);
                for allows in [|_| true, |slot: u32| slot.is_multiple_of(2)] {
                    let mut exact: Vec<(u32, f32)> = (0..1_000)
                        .filter(|&slot| allows(slot))
                        .map(|slot| (slot, 1.0 - blocks.cosine(&query, slot)))
                        .collect();
                    exact.sort_by(|a, b| a.1.total_cmp(&b.1));
                    let hits = graph.search(&blocks, &query, 10, allows);
                    assert_eq!(hits.len(), 10);
                    let rough = |slot: &u32| blocks.rough_cosine(&query, *slot);
                    assert!(hits.is_sorted_by(|a, b| rough(a) >= rough(b)) && hits.iter().all(|&slot| allows(slot)));
                    wanted += 10;
                    found += exact[..10].iter().filter(|(slot, _)| hits.contains(slot)).count();
                }
            }
            assert!(found * 100 >= wanted * 98, "{precision:?}: {found} of {wanted}");
        }
    }

    #[test]
    fn one_of_nothing_finds_nothing_and_nothing_allowed_is_nothing_found() {
        let (blocks, graph) = graph_of(&clustered(300, 16, 2), Precision::I16);
        let query = blocks.prepare(&clustered(1, 16, 2)[0]);
        assert!(graph.search(&blocks, &query, 5, |_| false).is_empty());
        assert!(graph.search(&blocks, &query, 0, |_| true).is_empty());
        assert_eq!(graph.search(&blocks, &query, 500, |_| true).len(), 300);
        let empty = Construction::new(EXPANSION, 0).unwrap().finish().unwrap();
        assert!(empty.search(&blocks, &query, 5, |_| true).is_empty());
        assert_eq!((empty.len(), empty.knows(0)), (0, false));
    }

    #[test]
    fn a_loaded_graph_answers_as_the_saved_one_and_goes_on() {
        let vectors = clustered(2_000, 32, 4);
        let (mut blocks, graph) = graph_of(&vectors[..1_900], Precision::I16);
        let bytes = graph.save();
        let loaded = Graph::load(EXPANSION, &bytes, 1_900).unwrap();
        for vector in &vectors[..50] {
            let query = blocks.prepare(vector);
            let found = graph.search(&blocks, &query, 10, |_| true);
            assert_eq!(found, loaded.search(&blocks, &query, 10, |_| true));
        }
        assert_eq!(loaded.save(), bytes);
        vectors[1_900..].iter().for_each(|vector| blocks.push(vector));
        let construction = Construction::resume(&loaded, 2_000).unwrap();
        (1_900..2_000).for_each(|slot| construction.add(&blocks, slot).unwrap());
        let longer = construction.finish().unwrap();
        let query = blocks.prepare(&vectors[1_950]);
        assert_eq!(longer.search(&blocks, &query, 1, |_| true)[0], 1_950);
        assert!(longer.knows(1_950) && !graph.knows(1_950) && graph.knows(0));
    }

    #[test]
    fn slots_that_it_does_not_know_are_no_part_of_it() {
        let vectors = clustered(600, 16, 2);
        let mut blocks = Blocks::new(16, Precision::I16);
        vectors.iter().for_each(|vector| blocks.push(vector));
        let construction = Construction::new(EXPANSION, 200).unwrap();
        (0..600).filter(|slot| slot % 3 == 1).for_each(|slot| construction.add(&blocks, slot).unwrap());
        let graph = construction.finish().unwrap();
        let graph = Graph::load(EXPANSION, &graph.save(), 600).unwrap();
        let query = blocks.prepare(&vectors[0]);
        let mut found = graph.search(&blocks, &query, 600, |_| true);
        found.sort_unstable();
        assert_eq!(found, (0..600).filter(|slot| slot % 3 == 1).collect::<Vec<_>>());
        assert!((0..700).all(|slot| graph.knows(slot) == (slot < 600 && slot % 3 == 1)));
    }

    #[test]
    fn damaged_bytes_are_refused_or_a_graph_that_can_be_walked() {
        let (blocks, graph) = graph_of(&clustered(400, 16, 2), Precision::I16);
        let (bytes, query) = (graph.save(), blocks.prepare(&clustered(1, 16, 2)[0]));
        assert_eq!(Graph::load(EXPANSION, &bytes, 399).err().unwrap().code, Code::Corrupt);
        for length in (0..bytes.len()).step_by(97) {
            assert_eq!(Graph::load(EXPANSION, &bytes[..length], 400).err().unwrap().code, Code::Corrupt);
        }
        assert!(Graph::load(EXPANSION, &[&bytes[..], &[0]].concat(), 400).is_err());
        let mut refused = 0;
        for place in (0..bytes.len()).step_by(3) {
            let mut damaged = bytes.clone();
            damaged[place] ^= 1 << (place % 8);
            match Graph::load(EXPANSION, &damaged, 400) {
                Ok(graph) => assert!(graph.search(&blocks, &query, 10, |_| true).len() <= 10),
                Err(error) => {
                    assert_eq!(error.code, Code::Corrupt);
                    refused += 1;
                }
            }
        }
        assert!(refused > 1_000, "{refused}");
    }
}
