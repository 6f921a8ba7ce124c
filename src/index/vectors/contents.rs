//! What an index holds, and how it changes. All of it is behind one lock.

use std::sync::Arc;

use super::{Memory, blocks::Blocks, builder::Work, construction::Construction, graph::Graph, slots, slots::Slots};
use crate::{
    error::{Error, Result},
    settings::Precision,
};

/// A graph that this share of leads nowhere is built anew.
const DEAD_SHARE: usize = 8;

/// So many documents that the graph does not know are added to it, and one in so many of all; fewer are compared in
/// passing. The graph is copied for it: what that takes grows with the graph.
const WORTH_ADDING: usize = 256;

/// Everything that changes.
///
/// Without a graph the slots have no holes: what goes is replaced by the last. With one, or while one is being built,
/// a vector stays where it is and what it was for as long as the graph leads through it.
pub struct Contents {
    /// Whether the vectors are in memory.
    pub loaded: bool,
    pub slots: Slots,
    pub blocks: Blocks,
    pub graph: Option<Arc<Graph>>,
    /// Whether a graph is being built: of slots as they were when it was begun.
    pub building: bool,
    /// Bytes that it will have, about.
    pub under_construction: usize,
    /// Documents that came after the graph, and some that have gone again.
    pub recent: Vec<u32>,
    /// Why there is no graph though there should be one.
    pub failure: Option<Error>,
    /// From so many documents on there is a graph.
    threshold: usize,
    /// Bytes that all of it may have.
    budget: usize,
    /// So many documents were too many for a graph within the budget.
    too_many: usize,
}

impl Contents {
    pub fn new(dimensions: usize, precision: Precision, threshold: usize, budget: usize) -> Self {
        Self {
            loaded: true,
            slots: Slots::default(),
            blocks: Blocks::new(dimensions, precision),
            graph: None,
            building: false,
            under_construction: 0,
            recent: Vec::new(),
            failure: None,
            threshold,
            budget,
            too_many: usize::MAX,
        }
    }

    /// The same without anything in it.
    pub fn emptied(&self, precision: Precision) -> Self {
        let mut empty = Self::new(self.blocks.dimensions(), precision, self.threshold, self.budget);
        empty.loaded = self.loaded;
        empty
    }

    pub fn memory(&self) -> Memory {
        Memory {
            vectors: self.blocks.bytes(),
            graph: self.graph.as_ref().map_or(0, |graph| graph.bytes()) + self.under_construction,
            maps: self.slots.bytes() + self.recent.capacity() * size_of::<u32>(),
        }
    }

    /// Goes to 8 bits a number where that is needed to keep within the budget, then without a graph: to compare all that
    /// is in memory is quicker than to read a table. Answers whether it is kept.
    pub fn keep_within_budget(&mut self) -> bool {
        if self.memory().total() > self.budget {
            // The graph stays good: it knows slots, and it was built by the upper bits.
            self.blocks.shrink_to_i8();
        }
        if self.memory().total() > self.budget && self.is_graphed() {
            self.too_many = self.slots.live();
            self.compact();
        }
        self.memory().total() <= self.budget
    }

    /// Whether there would be room for a graph and its making, with 8 bits a number at least.
    fn has_room_for_graph(&self) -> bool {
        let (documents, memory) = (self.slots.live(), self.memory());
        let vectors = match self.blocks.precision() {
            Precision::I16 => memory.vectors / 2,
            Precision::I8 => memory.vectors,
        };
        // Built again with every document that comes it would be let go again with the next.
        documents < self.too_many - self.too_many / 8
            && vectors + memory.maps + Graph::bytes_of(documents) + Construction::bytes_of(documents) <= self.budget
    }

    pub fn put(&mut self, id: i64, group: i64, unit: &[f32]) -> Result<()> {
        if let Some(slot) = self.slots.of_id(id) {
            if !self.is_graphed() && self.slots.group(slot) == group {
                self.blocks.set(slot, unit);
                return Ok(());
            }
            self.remove(slot);
        }
        if self.slots.len() == slots::MAX {
            return Err(Error::invalid(format!("an index holds at most {} vectors", slots::MAX)));
        }
        let slot = self.slots.add(id, group);
        if (slot as usize) < self.blocks.len() {
            self.blocks.set(slot, unit);
        } else {
            self.blocks.push(unit);
        }
        if self.graph.is_some() {
            self.recent.push(slot);
        }
        Ok(())
    }

    pub fn remove(&mut self, slot: u32) {
        if self.is_graphed() {
            self.slots.kill(slot);
            return;
        }
        let last = self.slots.swap_remove(slot);
        if last != slot {
            self.blocks.copy(last, slot);
        }
        self.blocks.truncate(last as usize);
    }

    fn is_graphed(&self) -> bool {
        self.graph.is_some() || self.building
    }

    /// What there is to do in the background; where it is `postponed`, only what could not wait for long.
    pub fn work(&self, postponed: bool) -> Option<Work> {
        let live = self.slots.live();
        if !self.loaded || self.building || self.failure.is_some() {
            return None;
        }
        if self.graph.is_none() {
            let enough = if postponed { 2 * self.threshold } else { self.threshold };
            return (live >= enough && self.has_room_for_graph()).then_some(Work::Build);
        }
        if live < self.threshold / 2 || self.slots.holes() * 2 > self.slots.len() {
            return Some(Work::Compact);
        }
        if self.slots.dead() * DEAD_SHARE > self.slots.len() {
            return Some(Work::Build);
        }
        let enough = if postponed { self.threshold } else { self.worth_adding() };
        (self.slots.pending() >= enough).then_some(Work::Extend)
    }

    /// How many that the graph does not know are added to it.
    pub fn worth_adding(&self) -> usize {
        WORTH_ADDING.max(self.slots.live() / WORTH_ADDING).min(self.threshold)
    }

    /// Whether a snapshot of the graph would still be good when it is read: enough of it leads to documents.
    pub fn is_worth_keeping(&self, gone: usize) -> bool {
        gone * DEAD_SHARE <= self.slots.len()
    }

    /// Puts a graph in place.
    pub fn replace_graph(&mut self, graph: Graph) {
        self.building = false;
        self.under_construction = 0;
        self.slots.reindex(|slot| graph.knows(slot));
        self.recent = self.slots.all(slots::Slot::Pending).collect();
        self.graph = Some(Arc::new(graph));
    }

    /// Whether the graph is this one still.
    pub fn has_graph(&self, graph: &Arc<Graph>) -> bool {
        self.graph.as_ref().is_some_and(|present| Arc::ptr_eq(present, graph))
    }

    /// Puts one in place of the graph that knows `added`, too.
    pub fn extend_graph(&mut self, graph: Graph, added: &[u32]) {
        self.under_construction = 0;
        added.iter().for_each(|&slot| self.slots.index(slot));
        let slots = &self.slots;
        self.recent.retain(|&slot| slots.state(slot) == slots::Slot::Pending);
        self.graph = Some(Arc::new(graph));
    }

    /// No graph comes of what was being built. The one that there is stays.
    pub fn abandon_graph(&mut self) {
        self.building = false;
        self.under_construction = 0;
        if self.graph.is_none() {
            self.compact();
        }
    }

    /// Lets the graph go and closes all holes.
    pub fn compact(&mut self) {
        self.graph = None;
        self.building = false;
        self.under_construction = 0;
        self.recent = Vec::new();
        let blocks = &mut self.blocks;
        self.slots.compact(|from, to| blocks.copy(from, to));
        self.blocks.truncate(self.slots.len());
    }
}
