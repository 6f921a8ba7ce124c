//! The graph by which near vectors are found without comparing all: usearch, over vectors that are not its own.
//!
//! What usearch keeps as the "vector" of a node is the number of a slot, four bytes; its metric looks the slot up in
//! [`Blocks`]. So every vector is in memory once, its precision can change under a graph, and what is read from a
//! file of usearch's is never an address.

use std::{
    cell::Cell,
    ptr,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
};

use usearch::{Index, IndexOptions, MetricKind, ScalarKind, VectorType};

use super::blocks::{Blocks, Query};
use crate::{
    error::{Code, Error, Result},
    settings::Expansion,
};

/// Neighbours of a node; twice as many on the lowest level. The library's default; others were not measured.
const CONNECTIVITY: usize = 16;

/// Bytes of a node, about: key and level, twice the neighbours and their count, a slot number; and for one in
/// `CONNECTIVITY` as many neighbours again.
pub const NODE_BYTES: usize = 10 + (8 * CONNECTIVITY + 4) + 8 + 8;

/// Bytes of what a node has in place of a vector.
const WIDTH: usize = size_of::<u32>();

/// The slot that stands for the vector that is searched for.
const QUERY: u32 = u32::MAX;

/// Distance to what is not there: further than anything is.
const NOWHERE: f32 = 4.0;

/// A graph over some of the slots.
pub struct Graph {
    index: Index,
    expansion: Expansion,
    /// Searches at the same time: each takes one of the working memories that usearch was told to have.
    searches: Searches,
}

impl Graph {
    /// An empty one with room for `capacity` slots.
    ///
    /// # Errors
    /// `ERR_INTERNAL` where there is no memory for it.
    pub fn new(expansion: Expansion, capacity: usize) -> Result<Self> {
        let mut graph = Self { index: empty(expansion)?, expansion, searches: Searches::new() };
        u8::change_metric(&mut graph.index, Box::new(distance)).map_err(failed)?;
        graph.reserve(capacity)?;
        Ok(graph)
    }

    /// The graph that [`Self::save`] wrote. The bytes must be exactly those: usearch checks nothing, so the caller
    /// verifies a checksum first.
    ///
    /// # Errors
    /// `ERR_CORRUPT` where they are not a graph of `nodes` slots.
    pub fn load(expansion: Expansion, bytes: &[u8], nodes: usize) -> Result<Self> {
        let corrupt = |what: String| Error::new(Code::Corrupt, format!("the vector snapshot's graph {what}"));
        let index = empty(expansion)?;
        index.load_from_buffer(bytes).map_err(|error| corrupt(format!("cannot be read: {error}")))?;
        // Loading takes over whatever the file says.
        if (index.dimensions(), index.scalar_kind(), index.multi()) != (WIDTH, ScalarKind::U8, false) {
            return Err(corrupt("is none of this engine".to_owned()));
        }
        if index.size() != nodes || index.connectivity() != CONNECTIVITY {
            return Err(corrupt(format!("has {} nodes in place of {nodes}", index.size())));
        }
        index.change_expansion_add(expansion.add);
        let mut graph = Self { index, expansion, searches: Searches::new() };
        u8::change_metric(&mut graph.index, Box::new(distance)).map_err(failed)?;
        graph.reserve(nodes)?;
        Ok(graph)
    }

    /// Makes room for `capacity` slots. It takes the graph for itself: usearch moves what searches would be reading.
    ///
    /// # Errors
    /// `ERR_INTERNAL` where there is no memory for it.
    pub fn reserve(&mut self, capacity: usize) -> Result<()> {
        // Loading forgets the working memories, so they are asked for each time; one is the builder's.
        self.index.reserve_capacity_and_threads(capacity.max(1), self.searches.most + 1).map_err(failed)?;
        // It does not say where it failed.
        if self.index.capacity() < capacity {
            return Err(failed(format!("no room for {capacity} slots")));
        }
        self.index.change_expansion_search(self.expansion.search_among(capacity));
        Ok(())
    }

    /// Slots that it has room for.
    pub fn capacity(&self) -> usize {
        self.index.capacity()
    }

    /// Slots that it knows.
    pub fn len(&self) -> usize {
        self.index.size()
    }

    /// Bytes in memory, about. What usearch says counts whole arenas, most of which it has not touched, and walks
    /// through all nodes to say more.
    pub fn bytes(&self) -> usize {
        Self::bytes_of(self.len(), self.index.capacity())
    }

    /// The same of one with so many nodes, and room for so many.
    pub const fn bytes_of(nodes: usize, capacity: usize) -> usize {
        // Beside the nodes: where each is, where its slot number is, and a hash table from keys to nodes.
        nodes * NODE_BYTES + capacity * 2 * size_of::<usize>() + (capacity * 4 / 3).next_power_of_two() * 16
    }

    /// The room that one of so many slots is given: some for those to come.
    pub const fn room_for(slots: usize) -> usize {
        slots + slots / 8
    }

    /// Adds a slot, once. Searches may run; only one thread adds.
    ///
    /// # Errors
    /// `ERR_INTERNAL` where there is no room, or usearch refuses.
    pub fn add(&self, blocks: &Blocks, slot: u32) -> Result<()> {
        // usearch would not look before it writes.
        if self.index.size() >= self.index.capacity() {
            return Err(failed("not reserved"));
        }
        let _scope = Scope::enter(blocks, None);
        self.index.add(u64::from(slot), &slot.to_ne_bytes()).map_err(failed)
    }

    /// The `count` nearest slots that `allows` lets through, by the upper bits of their vectors, nearest first; of more
    /// than that none, of fewer only where there are not more, or not enough of them are reached.
    ///
    /// # Errors
    /// `ERR_INTERNAL` where usearch has no memory.
    pub fn search(
        &self,
        blocks: &Blocks,
        query: &Query,
        count: usize,
        allows: impl Fn(u32) -> bool,
    ) -> Result<Vec<u32>> {
        let allows = |key: u64| u32::try_from(key).is_ok_and(&allows);
        let _working_memory = self.searches.start();
        let _scope = Scope::enter(blocks, Some(query));
        let found = self.index.filtered_search(&QUERY.to_ne_bytes(), count, allows).map_err(failed)?;
        Ok(found.keys.iter().filter_map(|&key| u32::try_from(key).ok()).collect())
    }

    /// How many slots the graph in such bytes says that it knows.
    pub fn nodes_of(bytes: &[u8]) -> Option<usize> {
        // A matrix of what nodes have in place of vectors comes first: rows, columns, numbers.
        bytes.first_chunk::<4>().map(|rows| u32::from_le_bytes(*rows) as usize)
    }

    /// The graph as bytes. Nobody may add meanwhile.
    ///
    /// # Errors
    /// `ERR_INTERNAL` where usearch refuses.
    pub fn save(&self) -> Result<Vec<u8>> {
        let mut bytes = vec![0; self.index.serialized_length()];
        self.index.save_to_buffer(&mut bytes).map_err(failed)?;
        Ok(bytes)
    }
}

fn empty(expansion: Expansion) -> Result<Index> {
    Index::new(&IndexOptions {
        dimensions: WIDTH,
        // Replaced by `distance` before the first call; it has to be one that usearch knows.
        metric: MetricKind::IP,
        quantization: ScalarKind::U8,
        connectivity: CONNECTIVITY,
        expansion_add: expansion.add,
        expansion_search: expansion.search_among(0),
        multi: false,
    })
    .map_err(failed)
}

fn failed(error: impl std::fmt::Display) -> Error {
    Error::internal(format!("the vector graph: {error}"))
}

thread_local! {
    /// What the metric compares on this thread, for as long as a call into usearch lasts.
    static CURRENT: Cell<(*const Blocks, *const Query)> = const { Cell::new((ptr::null(), ptr::null())) };
}

/// Has the metric know vectors and query until it is dropped.
struct Scope<'a>(std::marker::PhantomData<&'a Blocks>);

impl<'a> Scope<'a> {
    fn enter(blocks: &'a Blocks, query: Option<&'a Query>) -> Self {
        CURRENT.set((blocks, query.map_or(ptr::null(), ptr::from_ref)));
        Self(std::marker::PhantomData)
    }
}

impl Drop for Scope<'_> {
    fn drop(&mut self) {
        CURRENT.set((ptr::null(), ptr::null()));
    }
}

/// The metric. It is called from C++ and must not panic: a slot that does not exist is far from everything.
fn distance(one: *const u8, other: *const u8) -> f32 {
    // SAFETY: usearch hands over the vectors of two nodes, or one and what it searches for: `WIDTH` bytes each, since
    // `load` refuses a file in which they are of another width.
    let (one, other) = unsafe { (one.cast::<u32>().read_unaligned(), other.cast::<u32>().read_unaligned()) };
    let (blocks, query) = CURRENT.get();
    // SAFETY: null outside of a call, else made of references that outlive the `Scope` of the call on this thread.
    let (Some(blocks), query) = (unsafe { (blocks.as_ref(), query.as_ref()) }) else { return NOWHERE };
    let cosine = match (one, other, query) {
        (QUERY, slot, Some(query)) | (slot, QUERY, Some(query)) => blocks.rough_cosine(query, slot),
        _ => blocks.rough_cosine_between(one, other),
    };
    1.0 - cosine
}

/// Counts searches: one more than usearch has working memories for would fail, so it waits.
struct Searches {
    most: usize,
    running: Mutex<usize>,
    ended: Condvar,
}

impl Searches {
    fn new() -> Self {
        let most = std::thread::available_parallelism().map_or(4, |cores| cores.get() + 2).min(64);
        Self { most, running: Mutex::new(0), ended: Condvar::new() }
    }

    fn start(&self) -> Running<'_> {
        let mut running =
            self.ended.wait_while(self.lock(), |running| *running >= self.most).unwrap_or_else(PoisonError::into_inner);
        *running += 1;
        Running(self)
    }

    fn lock(&self) -> MutexGuard<'_, usize> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Running<'a>(&'a Searches);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        *self.0.lock() -= 1;
        self.0.ended.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::{super::testing::*, *};
    use crate::settings::Precision;

    const EXPANSION: Expansion = Expansion { add: 128, search: Some(64) };

    fn graph_of(vectors: &[Vec<f32>], precision: Precision) -> (Blocks, Graph) {
        let mut blocks = Blocks::new(vectors[0].len(), precision);
        vectors.iter().for_each(|vector| blocks.push(vector));
        let graph = Graph::new(EXPANSION, vectors.len()).unwrap();
        (0..vectors.len()).for_each(|slot| graph.add(&blocks, slot as u32).unwrap());
        (blocks, graph)
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
                    let hits = graph.search(&blocks, &query, 10, allows).unwrap();
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
    fn nothing_is_added_beyond_its_room_and_reserving_more_makes_room() {
        let vectors = clustered(500, 16, 2);
        let mut blocks = Blocks::new(16, Precision::I16);
        vectors.iter().for_each(|vector| blocks.push(vector));
        let mut graph = Graph::new(EXPANSION, 10).unwrap();
        for slot in 0..500 {
            if graph.len() == graph.capacity() {
                assert_eq!(graph.add(&blocks, slot).unwrap_err().code, Code::Internal);
                let room = graph.capacity() + 100;
                graph.reserve(room).unwrap();
            }
            graph.add(&blocks, slot).unwrap();
        }
        assert!(graph.add(&blocks, 7).is_err(), "a slot is added once");
        let query = blocks.prepare(&vectors[321]);
        assert_eq!(graph.search(&blocks, &query, 1, |_| true).unwrap()[0], 321);
        assert!(graph.search(&blocks, &query, 1, |_| false).unwrap().is_empty());
    }

    #[test]
    fn a_loaded_graph_answers_as_the_saved_one_and_goes_on() {
        let vectors = clustered(2_000, 32, 4);
        let (blocks, graph) = graph_of(&vectors[..1_900], Precision::I16);
        let bytes = graph.save().unwrap();
        let mut loaded = Graph::load(EXPANSION, &bytes, 1_900).unwrap();
        for vector in &vectors[..50] {
            let query = blocks.prepare(vector);
            assert_eq!(
                graph.search(&blocks, &query, 10, |_| true).unwrap(),
                loaded.search(&blocks, &query, 10, |_| true).unwrap()
            );
        }
        let mut blocks = blocks;
        vectors[1_900..].iter().for_each(|vector| blocks.push(vector));
        loaded.reserve(2_000).unwrap();
        (1_900..2_000).for_each(|slot| loaded.add(&blocks, slot).unwrap());
        let query = blocks.prepare(&vectors[1_950]);
        assert_eq!(loaded.search(&blocks, &query, 1, |_| true).unwrap()[0], 1_950);
        for (bytes, nodes) in [(&bytes[..], 1_899), (&[][..], 0), (&bytes[..40], 1_900), (b"nonsense", 1)] {
            assert_eq!(Graph::load(EXPANSION, bytes, nodes).err().unwrap().code, Code::Corrupt);
        }
    }

    #[test]
    fn more_searches_than_working_memories_wait_for_one_another() {
        let vectors = clustered(1_000, 32, 4);
        let (blocks, graph) = graph_of(&vectors, Precision::I8);
        std::thread::scope(|scope| {
            for thread in 0..graph.searches.most * 3 {
                let (blocks, graph, vectors) = (&blocks, &graph, &vectors);
                scope.spawn(move || {
                    for slot in 0..100 {
                        let query = blocks.prepare(&vectors[(slot + thread) % 1_000]);
                        assert_eq!(graph.search(blocks, &query, 5, |_| true).unwrap().len(), 5);
                    }
                });
            }
        });
        assert_eq!(*graph.searches.lock(), 0);
    }
}
