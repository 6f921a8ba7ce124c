//! Building a graph: usearch, over vectors that are not its own.
//!
//! What usearch keeps as the "vector" of a node is the number of a slot, four bytes; its metric looks the slot up in
//! [`Blocks`]. So every vector is in memory once, its precision can change under a graph, and what is read from a
//! file of usearch's is never an address.
//!
//! Usearch is here for as long as something is added. Searches go through the [`Graph`] that comes of it.

use std::{cell::Cell, ptr};

use usearch::{Index, IndexOptions, MetricKind, ScalarKind, VectorType};

use super::{
    blocks::Blocks,
    graph::Graph,
    usearch_file::{CONNECTIVITY, NODE_BYTES, WIDTH},
};
use crate::{
    error::{Error, Result},
    settings::Expansion,
};

/// Distance to what is not there: further than anything is.
const NOWHERE: f32 = 4.0;

/// A graph that is being made. One thread adds.
pub struct Construction {
    index: Index,
    expansion: Expansion,
}

impl Construction {
    /// An empty one with room for `capacity` slots.
    ///
    /// # Errors
    /// `ERR_INTERNAL` where there is no memory for it.
    pub fn new(expansion: Expansion, capacity: usize) -> Result<Self> {
        let index = Index::new(&IndexOptions {
            dimensions: WIDTH,
            // Replaced by `distance` before the first call; it has to be one that usearch knows.
            metric: MetricKind::IP,
            quantization: ScalarKind::U8,
            connectivity: CONNECTIVITY,
            expansion_add: expansion.add,
            expansion_search: expansion.search_among(capacity),
            multi: false,
        })
        .map_err(failed)?;
        let mut construction = Self { index, expansion };
        construction.prepare(capacity)?;
        Ok(construction)
    }

    /// One that goes on from a graph, with room for `capacity` slots.
    ///
    /// # Errors
    /// `ERR_INTERNAL` where there is no memory for it.
    pub fn resume(graph: &Graph, capacity: usize) -> Result<Self> {
        let expansion = graph.expansion();
        let mut construction = Self::new(expansion, 0)?;
        if graph.len() > 0 {
            construction.index.load_from_buffer(&graph.save()).map_err(failed)?;
            construction.index.change_expansion_add(expansion.add);
        }
        construction.prepare(capacity)?;
        Ok(construction)
    }

    /// Tells usearch what it forgets when it loads: metric, room, and the working memory of the one thread.
    fn prepare(&mut self, capacity: usize) -> Result<()> {
        u8::change_metric(&mut self.index, Box::new(distance)).map_err(failed)?;
        self.index.reserve_capacity_and_threads(capacity.max(1), 1).map_err(failed)?;
        // It does not say where it failed.
        if self.index.capacity() < capacity {
            return Err(failed(format!("no room for {capacity} slots")));
        }
        Ok(())
    }

    /// Bytes in memory at most until it is finished, about, the finished graph apart: what usearch has (beside the
    /// nodes where each is, where its slot number is, and a hash table from keys to nodes), and what it hands over.
    pub const fn bytes_of(nodes: usize) -> usize {
        nodes * (2 * NODE_BYTES + 2 * size_of::<usize>()) + (nodes * 4 / 3).next_power_of_two() * 16
    }

    /// Adds a slot, once.
    ///
    /// # Errors
    /// `ERR_INTERNAL` where there is no room, or usearch refuses.
    pub fn add(&self, blocks: &Blocks, slot: u32) -> Result<()> {
        // usearch would not look before it writes.
        if self.index.size() >= self.index.capacity() {
            return Err(failed("not reserved"));
        }
        let _scope = Scope::enter(blocks);
        self.index.add(u64::from(slot), &slot.to_ne_bytes()).map_err(failed)
    }

    /// The graph of all that was added.
    ///
    /// # Errors
    /// `ERR_INTERNAL` where usearch refuses.
    pub fn finish(self) -> Result<Graph> {
        let mut bytes = vec![0; self.index.serialized_length()];
        self.index.save_to_buffer(&mut bytes).map_err(failed)?;
        let expansion = self.expansion;
        drop(self);
        Graph::load(expansion, &bytes, usize::MAX).map_err(failed)
    }
}

fn failed(error: impl std::fmt::Display) -> Error {
    Error::internal(format!("the vector graph: {error}"))
}

thread_local! {
    /// What the metric compares on this thread, for as long as a call into usearch lasts.
    static CURRENT: Cell<*const Blocks> = const { Cell::new(ptr::null()) };
}

/// Has the metric know vectors until it is dropped.
struct Scope<'a>(std::marker::PhantomData<&'a Blocks>);

impl<'a> Scope<'a> {
    fn enter(blocks: &'a Blocks) -> Self {
        CURRENT.set(blocks);
        Self(std::marker::PhantomData)
    }
}

impl Drop for Scope<'_> {
    fn drop(&mut self) {
        CURRENT.set(ptr::null());
    }
}

/// The metric. It is called from C++ and must not panic: a slot that does not exist is far from everything.
fn distance(one: *const u8, other: *const u8) -> f32 {
    // SAFETY: usearch hands over the vectors of two nodes, or of one and of what is added: `WIDTH` bytes each, as the
    // index was made with that, and `Graph::save` writes no other.
    let (one, other) = unsafe { (one.cast::<u32>().read_unaligned(), other.cast::<u32>().read_unaligned()) };
    // SAFETY: null outside of a call, else made of a reference that outlives the `Scope` of the call on this thread.
    let Some(blocks) = (unsafe { CURRENT.get().as_ref() }) else { return NOWHERE };
    1.0 - blocks.rough_cosine_between(one, other)
}

#[cfg(test)]
mod tests {
    use super::{super::testing::*, *};
    use crate::{error::Code, settings::Precision};

    const EXPANSION: Expansion = Expansion { add: 128, search: Some(64) };

    #[test]
    fn nothing_is_added_beyond_its_room_or_twice_and_what_was_finished_goes_on() {
        let vectors = clustered(500, 16, 2);
        let mut blocks = Blocks::new(16, Precision::I16);
        vectors.iter().for_each(|vector| blocks.push(vector));
        let mut construction = Construction::new(EXPANSION, 0).unwrap();
        let mut room = construction.index.capacity();
        for slot in 0..500 {
            if slot as usize == room {
                assert_eq!(construction.add(&blocks, slot).unwrap_err().code, Code::Internal);
                construction = Construction::resume(&construction.finish().unwrap(), room + 100).unwrap();
                room = construction.index.capacity();
            }
            construction.add(&blocks, slot).unwrap();
        }
        assert!(construction.add(&blocks, 7).is_err(), "a slot is added once");
        let graph = construction.finish().unwrap();
        assert_eq!(graph.len(), 500);
        let found = vectors
            .iter()
            .zip(0_u32..)
            .filter(|(vector, slot)| graph.search(&blocks, &blocks.prepare(vector), 1, |_| true).first() == Some(slot));
        assert!(found.count() > 490);
    }
}
