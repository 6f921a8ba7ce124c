//! Building and mending the graph in the background, on a thread that is there only while there is something to do.
//!
//! It never holds the lock for longer than one vector takes, or the swap of a finished graph. Whatever it has not
//! come to yet is compared exactly by the searches, so that no answer waits for it or lacks anything.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::JoinHandle,
};

use super::{Shared, construction::Construction, slots::Slot};
use crate::error::{Error, Result};

/// A graph learns at once at most one in so many of what it knows, so that not much is lost where it is stopped.
const SHARE: usize = 8;

/// What there is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// A graph of all documents, in place of the one there is, or the first.
    Build,
    /// The graph learns the documents that have come since.
    Extend,
    /// Most slots are empty: they are closed up, without a graph.
    Compact,
}

/// The thread.
#[derive(Default)]
pub struct Builder {
    thread: Mutex<Option<JoinHandle<()>>>,
    running: Mutex<bool>,
    stopped: AtomicBool,
    /// How many have it wait.
    postponers: AtomicUsize,
}

/// Has building wait for as long as this exists: while a backlog is embedded, whose model takes memory, too, and is
/// what the processor is for. What comes meanwhile is compared. Not all of it waits: no search compares many more
/// than [`THRESHOLD`](super::THRESHOLD) documents for it.
pub struct Postponed(Arc<Shared>);

impl Drop for Postponed {
    fn drop(&mut self) {
        self.0.builder.postponers.fetch_sub(1, Ordering::AcqRel);
        self.0.build_in_background();
    }
}

impl Builder {
    /// Whether the thread is at work.
    #[cfg(test)]
    pub fn is_running(&self) -> bool {
        *lock(&self.running)
    }

    /// Ends the thread, whatever it is at, and waits for it.
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::Release);
        let thread = lock(&self.thread).take();
        if let Some(thread) = thread {
            // It catches what goes wrong in it.
            let _ = thread.join();
        }
    }

    /// Whether a [`Postponed`] exists.
    pub fn is_postponed(&self) -> bool {
        self.postponers.load(Ordering::Acquire) > 0
    }

    fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Acquire)
    }
}

impl Shared {
    /// See [`Postponed`].
    pub(super) fn postpone_building(self: &Arc<Self>) -> Postponed {
        self.builder.postponers.fetch_add(1, Ordering::AcqRel);
        Postponed(Arc::clone(self))
    }

    /// What there is to do at present.
    pub(super) fn work(&self) -> Option<Work> {
        self.read().work(self.builder.is_postponed())
    }

    /// Starts the thread where there is something to do. To be called after every change, without the lock.
    pub(super) fn build_in_background(self: &Arc<Self>) {
        if self.builder.is_stopped() || self.work().is_none() {
            return;
        }
        // Whether it runs is decided under this lock on both sides: what was changed before this call is either seen
        // by the thread's last look or has a new one started.
        let mut running = lock(&self.builder.running);
        if *running {
            return;
        }
        let shared = Arc::clone(self);
        let spawned = std::thread::Builder::new().name("cm-graph".into()).spawn(move || shared.work_until_done());
        // Where no thread can be had answers stay exact; the next change tries again.
        if let Ok(thread) = spawned {
            *running = true;
            // The one before has had its last look, and waits for nothing any more.
            if let Some(ended) = lock(&self.builder.thread).replace(thread) {
                let _ = ended.join();
            }
        }
    }

    fn work_until_done(&self) {
        loop {
            let work = {
                let mut running = lock(&self.builder.running);
                let work = self.work().filter(|_| !self.builder.is_stopped());
                *running = work.is_some();
                work
            };
            let Some(work) = work else { return };
            let worked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| match work {
                Work::Build => self.build(),
                Work::Extend => self.extend(),
                Work::Compact => {
                    self.write().compact();
                    Ok(())
                }
            }))
            .unwrap_or_else(|payload| Err(Error::from_panic("building the vector graph", &*payload)));
            if let Err(error) = worked {
                let mut contents = self.write();
                contents.compact();
                contents.failure = Some(error);
            }
            // A copy of the graph, and what usearch had: while much is taken in, they would add up.
            crate::allocator::give_pages_back();
        }
    }

    /// Builds a graph of all documents there are, beside the one that is in use, and swaps it in.
    fn build(&self) -> Result<()> {
        let targets = {
            let mut contents = self.write();
            // From here on no slot gets another vector, so that what is known of a slot stays true.
            contents.building = true;
            let mut targets: Vec<u32> = contents.slots.all(Slot::Indexed).collect();
            targets.extend(contents.slots.all(Slot::Pending));
            contents.under_construction = Construction::bytes_of(targets.len());
            targets
        };
        let graph = Construction::new(self.settings.expansion, targets.len())?;
        for slot in targets {
            if self.builder.is_stopped() {
                self.write().abandon_graph();
                return Ok(());
            }
            let contents = self.read();
            if !contents.building {
                // All was taken away, or replaced.
                return Ok(());
            }
            if contents.slots.is_live(slot) {
                graph.add(&contents.blocks, slot)?;
            }
        }
        let graph = graph.finish()?;
        let mut contents = self.write();
        if contents.building {
            contents.replace_graph(graph);
            if !contents.keep_within_budget() {
                self.give_up_memory(&mut contents);
            }
        }
        Ok(())
    }

    /// Makes a graph that knows what has come since, too, and swaps it in.
    fn extend(&self) -> Result<()> {
        let (graph, batch) = {
            let contents = &mut *self.write();
            let Some(graph) = &contents.graph else { return Ok(()) };
            let most = (graph.len() / SHARE).max(contents.worth_adding());
            let pending = contents.recent.iter().copied().filter(|&slot| contents.slots.state(slot) == Slot::Pending);
            let batch: Vec<u32> = pending.take(most).collect();
            let graph = Arc::clone(graph);
            contents.under_construction = Construction::bytes_of(graph.len() + batch.len());
            // There was room when it was built, and has been more since.
            if !contents.keep_within_budget() {
                self.give_up_memory(contents);
            }
            if !contents.has_graph(&graph) {
                return Ok(());
            }
            (graph, batch)
        };
        let construction = Construction::resume(&graph, graph.len() + batch.len())?;
        let mut added = Vec::with_capacity(batch.len());
        for slot in batch {
            // What there is so far is worth keeping.
            if self.builder.is_stopped() {
                break;
            }
            let contents = self.read();
            // What a slot is stays true for as long as the graph is this one.
            if !contents.has_graph(&graph) {
                return Ok(());
            }
            if contents.slots.state(slot) == Slot::Pending {
                construction.add(&contents.blocks, slot)?;
                added.push(slot);
            }
        }
        let extended = construction.finish()?;
        let mut contents = self.write();
        if contents.has_graph(&graph) {
            contents.extend_graph(extended, &added);
            if !contents.keep_within_budget() {
                self.give_up_memory(&mut contents);
            }
        }
        Ok(())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
