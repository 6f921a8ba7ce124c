//! Which document is in which slot, and which slots a group has.

use hashbrown::{HashTable, hash_table::Entry};

/// No slot: the end of a chain.
const NONE: u32 = u32::MAX;

/// Slots at most: the graph numbers its nodes with 32 bits, and a few numbers mean something else.
pub const MAX: usize = (1 << 31) - 1;

/// What a slot is to the searches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Slot {
    /// Nobody knows it: the next document may have it.
    Free,
    /// A document that the graph does not know yet: it is compared in any case.
    Pending,
    /// A document that the graph finds.
    Indexed,
    /// A document that was removed. The graph may still lead through its vector, so it stays until there is a new one.
    Dead,
}

/// The maps of an index: 25 bytes a slot, and two hash tables of slots, whose keys are in the slots themselves.
#[derive(Default)]
pub struct Slots {
    ids: Vec<i64>,
    groups: Vec<i64>,
    /// The chain of a group's slots, in no order.
    next: Vec<u32>,
    previous: Vec<u32>,
    states: Vec<Slot>,
    by_id: HashTable<u32>,
    /// The first slot of each group's chain.
    by_group: HashTable<u32>,
    free: Vec<u32>,
    pending: usize,
    dead: usize,
}

impl Slots {
    /// Slots there are, of any state.
    pub const fn len(&self) -> usize {
        self.ids.len()
    }

    /// Documents.
    pub fn live(&self) -> usize {
        self.by_id.len()
    }

    /// Groups that have documents.
    pub fn groups(&self) -> usize {
        self.by_group.len()
    }

    /// Documents that the graph does not know.
    pub const fn pending(&self) -> usize {
        self.pending
    }

    /// Slots that the graph leads through for nothing.
    pub const fn dead(&self) -> usize {
        self.dead
    }

    /// Slots without a document.
    pub fn holes(&self) -> usize {
        self.len() - self.live()
    }

    /// Bytes that are allocated.
    pub fn bytes(&self) -> usize {
        self.ids.capacity() * 8
            + self.groups.capacity() * 8
            + self.next.capacity() * 4
            + self.previous.capacity() * 4
            + self.states.capacity()
            + self.free.capacity() * 4
            + self.by_id.allocation_size()
            + self.by_group.allocation_size()
    }

    /// The document in a slot.
    #[inline]
    pub fn id(&self, slot: u32) -> i64 {
        self.ids[slot as usize]
    }

    /// The group of the document in a slot.
    #[inline]
    pub fn group(&self, slot: u32) -> i64 {
        self.groups[slot as usize]
    }

    /// What a slot is. One that is not there is free.
    #[inline]
    pub fn state(&self, slot: u32) -> Slot {
        self.states.get(slot as usize).copied().unwrap_or(Slot::Free)
    }

    /// Whether a slot has a document.
    #[inline]
    pub fn is_live(&self, slot: u32) -> bool {
        matches!(self.state(slot), Slot::Pending | Slot::Indexed)
    }

    /// The slot of a document.
    pub fn of_id(&self, id: i64) -> Option<u32> {
        self.by_id.find(hash(id), |&slot| self.ids[slot as usize] == id).copied()
    }

    /// The slots of a group.
    pub fn of_group(&self, group: i64) -> impl Iterator<Item = u32> {
        let first = self.by_group.find(hash(group), |&slot| self.groups[slot as usize] == group).copied();
        std::iter::successors(first, |&slot| Some(self.next[slot as usize]).filter(|&next| next != NONE))
    }

    /// All slots of a state.
    pub fn all(&self, state: Slot) -> impl Iterator<Item = u32> {
        (0_u32..).zip(&self.states).filter(move |&(_, &found)| found == state).map(|(slot, _)| slot)
    }

    /// A slot for a document that has none: a free one, else a new one at the end.
    pub fn add(&mut self, id: i64, group: i64) -> u32 {
        let slot = if let Some(slot) = self.free.pop() {
            slot
        } else {
            #[expect(clippy::cast_possible_truncation, reason = "the index holds at most MAX")]
            let slot = self.ids.len() as u32;
            push(&mut self.ids, id);
            push(&mut self.groups, group);
            push(&mut self.next, NONE);
            push(&mut self.previous, NONE);
            push(&mut self.states, Slot::Free);
            slot
        };
        self.ids[slot as usize] = id;
        self.groups[slot as usize] = group;
        self.link(slot);
        self.states[slot as usize] = Slot::Pending;
        self.pending += 1;
        slot
    }

    /// Takes the document out of a slot that the graph may lead through.
    pub fn kill(&mut self, slot: u32) {
        self.unlink(slot);
        self.pending -= usize::from(self.state(slot) == Slot::Pending);
        self.states[slot as usize] = Slot::Dead;
        self.dead += 1;
    }

    /// Takes the document out of a slot where there is no graph, and moves the last one into it: what is scanned has
    /// no holes. Answers which slot that was.
    pub fn swap_remove(&mut self, slot: u32) -> u32 {
        self.unlink(slot);
        self.pending -= 1;
        #[expect(clippy::cast_possible_truncation, reason = "the index holds at most MAX")]
        let last = (self.len() - 1) as u32;
        if slot != last {
            self.move_to(last, slot);
        }
        self.ids.pop();
        self.groups.pop();
        self.next.pop();
        self.previous.pop();
        self.states.pop();
        last
    }

    /// The slot's document is one that the graph finds from now on; a dead one stays dead.
    pub fn index(&mut self, slot: u32) {
        if self.state(slot) == Slot::Pending {
            self.states[slot as usize] = Slot::Indexed;
            self.pending -= 1;
        }
    }

    /// A new graph, that knows exactly the slots of which `knows` says so: what it does not lead through is free.
    pub fn reindex(&mut self, knows: impl Fn(u32) -> bool) {
        self.free.clear();
        (self.pending, self.dead) = (0, 0);
        for (slot, state) in (0_u32..).zip(&mut self.states) {
            let live = matches!(state, Slot::Pending | Slot::Indexed);
            *state = match (live, knows(slot)) {
                (true, true) => Slot::Indexed,
                (true, false) => Slot::Pending,
                (false, true) => Slot::Dead,
                (false, false) => Slot::Free,
            };
            match state {
                Slot::Free => self.free.push(slot),
                Slot::Pending => self.pending += 1,
                Slot::Dead => self.dead += 1,
                Slot::Indexed => {}
            }
        }
    }

    /// Closes all holes, where there is no graph: `moved` hears from which slot to which each vector has to go.
    pub fn compact(&mut self, mut moved: impl FnMut(u32, u32)) {
        let mut to = 0_u32;
        let mut from = self.len();
        while (to as usize) < from {
            if self.is_live(to) {
                to += 1;
                continue;
            }
            #[expect(clippy::cast_possible_truncation, reason = "the index holds at most MAX")]
            let last = (from - 1) as u32;
            if self.is_live(last) {
                self.move_to(last, to);
                self.states[last as usize] = Slot::Free;
                moved(last, to);
            }
            from -= 1;
        }
        let len = self.live();
        self.ids.truncate(len);
        self.groups.truncate(len);
        self.next.truncate(len);
        self.previous.truncate(len);
        self.states.truncate(len);
        self.reindex(|_| false);
        self.ids.shrink_to_fit();
        self.groups.shrink_to_fit();
        self.next.shrink_to_fit();
        self.previous.shrink_to_fit();
        self.states.shrink_to_fit();
        self.free = Vec::new();
        let (ids, groups) = (&self.ids, &self.groups);
        self.by_id.shrink_to_fit(|&slot| hash(ids[slot as usize]));
        self.by_group.shrink_to_fit(|&slot| hash(groups[slot as usize]));
    }

    /// A slot for the graph to lead through that has no document.
    pub fn add_dead(&mut self) -> u32 {
        #[expect(clippy::cast_possible_truncation, reason = "the index holds at most MAX")]
        let slot = self.ids.len() as u32;
        push(&mut self.ids, 0);
        push(&mut self.groups, 0);
        push(&mut self.next, NONE);
        push(&mut self.previous, NONE);
        push(&mut self.states, Slot::Dead);
        self.dead += 1;
        slot
    }

    /// Puts a document into a dead slot that the graph knows.
    pub fn revive(&mut self, slot: u32, id: i64, group: i64) {
        debug_assert_eq!(self.state(slot), Slot::Dead);
        self.ids[slot as usize] = id;
        self.groups[slot as usize] = group;
        self.link(slot);
        self.states[slot as usize] = Slot::Indexed;
        self.dead -= 1;
    }

    /// Enters a slot into the maps by its id and group.
    fn link(&mut self, slot: u32) {
        let (id, group) = (self.ids[slot as usize], self.groups[slot as usize]);
        let (ids, groups) = (&self.ids, &self.groups);
        self.by_id.insert_unique(hash(id), slot, |&slot| hash(ids[slot as usize]));
        self.previous[slot as usize] = NONE;
        match self.by_group.entry(
            hash(group),
            |&first| groups[first as usize] == group,
            |&first| hash(groups[first as usize]),
        ) {
            Entry::Occupied(mut first) => {
                self.previous[*first.get() as usize] = slot;
                self.next[slot as usize] = std::mem::replace(first.get_mut(), slot);
            }
            Entry::Vacant(place) => {
                self.next[slot as usize] = NONE;
                place.insert(slot);
            }
        }
    }

    fn unlink(&mut self, slot: u32) {
        if let Ok(known) = self.by_id.find_entry(hash(self.ids[slot as usize]), |&known| known == slot) {
            known.remove();
        }
        let (previous, next) = (self.previous[slot as usize], self.next[slot as usize]);
        if next != NONE {
            self.previous[next as usize] = previous;
        }
        if previous != NONE {
            self.next[previous as usize] = next;
            return;
        }
        if let Ok(mut first) = self.by_group.find_entry(hash(self.groups[slot as usize]), |&first| first == slot) {
            if next == NONE {
                first.remove();
            } else {
                *first.get_mut() = next;
            }
        }
    }

    /// Moves what is in slot `from` to slot `to`, of which the maps know nothing.
    fn move_to(&mut self, from: u32, to: u32) {
        self.unlink(from);
        self.ids[to as usize] = self.ids[from as usize];
        self.groups[to as usize] = self.groups[from as usize];
        self.states[to as usize] = self.states[from as usize];
        self.link(to);
    }
}

/// Appends, growing by an eighth only: memory is counted here.
fn push<T>(list: &mut Vec<T>, value: T) {
    if list.len() == list.capacity() {
        list.reserve_exact((list.len() / 8).max(64));
    }
    list.push(value);
}

/// Spreads keys that are mostly small and next to one another. They are the engine's own numbers.
#[inline]
const fn hash(key: i64) -> u64 {
    let mixed = (key.cast_unsigned() ^ (key.cast_unsigned() >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed ^ (mixed >> 29)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// A number below `most` that looks random.
    fn next(state: &mut u64, most: u64) -> u64 {
        *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (*state >> 33) % most
    }

    fn check(slots: &Slots, model: &BTreeMap<i64, i64>) {
        assert_eq!(slots.live(), model.len());
        let mut groups: BTreeMap<i64, Vec<i64>> = BTreeMap::new();
        for (&id, &group) in model {
            let slot = slots.of_id(id).unwrap();
            assert_eq!((slots.id(slot), slots.group(slot), slots.is_live(slot)), (id, group, true));
            groups.entry(group).or_default().push(id);
        }
        assert_eq!(slots.groups(), groups.len());
        for (group, ids) in groups {
            let mut found: Vec<i64> = slots.of_group(group).map(|slot| slots.id(slot)).collect();
            found.sort_unstable();
            assert_eq!(found, ids, "group {group}");
        }
        assert_eq!(slots.all(Slot::Pending).count(), slots.pending());
        assert_eq!(slots.all(Slot::Dead).count(), slots.dead());
        assert_eq!(slots.all(Slot::Pending).count() + slots.all(Slot::Indexed).count(), model.len());
    }

    #[test]
    fn maps_agree_with_a_model_through_any_course_of_events() {
        for graphed in [false, true] {
            let (mut slots, mut model, mut state) = (Slots::default(), BTreeMap::new(), 42);
            for step in 0..6_000 {
                let id = next(&mut state, 300).cast_signed() - 20;
                match (next(&mut state, 2), slots.of_id(id)) {
                    (0, None) => {
                        let group = next(&mut state, 40).cast_signed();
                        slots.add(id, group);
                        model.insert(id, group);
                    }
                    (1, Some(slot)) => {
                        if graphed {
                            slots.kill(slot);
                        } else {
                            slots.swap_remove(slot);
                            assert_eq!(slots.holes(), 0);
                        }
                        model.remove(&id);
                    }
                    _ => {}
                }
                if graphed && step % 500 == 0 {
                    slots.reindex(|slot| slot % 3 == 0);
                }
                if graphed && step % 1_700 == 1_699 {
                    slots.compact(|from, to| assert!(from > to));
                    assert_eq!(slots.holes(), 0);
                }
                if step % 50 == 0 {
                    check(&slots, &model);
                }
            }
            check(&slots, &model);
        }
    }
}
