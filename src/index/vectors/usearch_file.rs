//! The bytes that usearch 2 writes of an index, as far as graphs over slots go (see [`super::construction`]), read and
//! written without it.
//!
//! In this order, all numbers little-endian: how many nodes there are, and how many bytes each has in place of a vector
//! (32 bits each); these; a head of 64 bytes, which says of what kind they are; five numbers of 64 bits, of the nodes,
//! the neighbours of a node on the levels above the lowest and on the lowest, the highest level, and the node where
//! searches begin; the level of each node (16 bits); then each node: its key (64 bits), its level, and for each of its
//! levels from the lowest up how many neighbours it has (32 bits) and room for all that it may have (32 bits each).

use crate::error::{Code, Error, Result};

/// Neighbours of a node; twice as many on the lowest level. The library's default; others were not measured.
pub const CONNECTIVITY: usize = 16;

/// Bytes of what a node has in place of a vector: the number of its slot.
pub const WIDTH: usize = size_of::<u32>();

/// Bytes of a node in it, about: slot, level, key and level, twice the neighbours and their count; and for one in
/// `CONNECTIVITY` as many neighbours again.
pub const NODE_BYTES: usize = WIDTH + 2 + 10 + (8 * CONNECTIVITY + 4) + 8;

/// The head: what usearch says about itself and its numbers.
pub type Head = [u8; 64];

/// Its beginning, with the number of the format: usearch refuses those of another.
const MAGIC: &[u8; 9] = b"usearch\x02\x00";

/// Levels at most. Each has a sixteenth of the nodes of the one below.
const LEVELS: usize = 64;

/// What is said of all nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct About {
    pub head: Head,
    /// The slot where searches begin.
    pub entry: u32,
    /// The level that it is on.
    pub highest: usize,
}

/// The slots of a graph in such bytes, in the order of its nodes.
///
/// # Errors
/// `ERR_CORRUPT` where they are none of a graph over slots.
pub fn slots(bytes: &[u8]) -> Result<Vec<u32>> {
    Rest(bytes).slots()
}

/// Takes bytes apart: `visit` hears of each node's neighbours, by slots and by level, from the lowest level up. Whatever
/// the bytes are, a neighbour is a node that is on the level.
///
/// # Errors
/// `ERR_CORRUPT` where they are none of a graph over slots.
pub fn read(bytes: &[u8], mut visit: impl FnMut(u32, usize, &[u32])) -> Result<About> {
    let mut rest = Rest(bytes);
    let slots = rest.slots()?;
    let head: Head = rest.take()?;
    if !head.starts_with(MAGIC) {
        return Err(corrupt("is none, or of another version"));
    }
    let kind = (rest.u64()?, rest.u64()?, rest.u64()?);
    if kind != (slots.len(), CONNECTIVITY, 2 * CONNECTIVITY) {
        return Err(corrupt("has nodes of another kind"));
    }
    let (max_level, entry) = (rest.u64()?, rest.u64()?);
    if slots.is_empty() {
        return Ok(About { head, entry: 0, highest: 0 });
    }
    rest.holds(slots.len(), size_of::<u16>())?;
    let levels = slots.iter().map(|_| rest.u16()).collect::<Result<Vec<usize>>>()?;
    let is_on = |node: usize, level: usize| levels.get(node).is_some_and(|&highest| level <= highest);
    if max_level >= LEVELS || levels.iter().any(|&level| level > max_level) || !is_on(entry, max_level) {
        return Err(corrupt("begins nowhere"));
    }
    for (&slot, &highest) in slots.iter().zip(&levels) {
        if (rest.u64()?, rest.u16()?) != (slot as usize, highest) {
            return Err(corrupt("contradicts itself"));
        }
        for level in 0..=highest {
            let (most, count) = (most_on(level), rest.u32()? as usize);
            if count > most {
                return Err(corrupt("has too many neighbours somewhere"));
            }
            let mut neighbours = [0; 2 * CONNECTIVITY];
            for (place, neighbour) in neighbours[..most].iter_mut().enumerate() {
                let node = rest.u32()? as usize;
                if place < count {
                    *neighbour = match slots.get(node) {
                        Some(&slot) if is_on(node, level) => slot,
                        _ => return Err(corrupt("leads to nothing")),
                    };
                }
            }
            visit(slot, level, &neighbours[..count]);
        }
    }
    if rest.0.is_empty() {
        Ok(About { head, entry: slots[entry], highest: max_level })
    } else {
        Err(corrupt("is longer than it says"))
    }
}

/// Puts bytes together, of nodes by their slots and highest levels. `neighbours` tells those of a slot on a level, all
/// of them among `nodes`.
pub fn write<'a>(about: &About, nodes: &[(u32, usize)], neighbours: impl Fn(u32, usize) -> &'a [u32]) -> Vec<u8> {
    let mut number = vec![0_u32; nodes.iter().max().map_or(0, |(slot, _)| *slot as usize + 1)];
    for (node, (slot, _)) in (0_u32..).zip(nodes) {
        number[*slot as usize] = node;
    }
    let mut bytes = Vec::with_capacity(nodes.len() * (NODE_BYTES + 1));
    let count = u32::try_from(nodes.len()).unwrap_or(u32::MAX);
    bytes.extend(count.to_le_bytes());
    bytes.extend((WIDTH as u32).to_le_bytes());
    nodes.iter().for_each(|(slot, _)| bytes.extend(slot.to_le_bytes()));
    bytes.extend(about.head);
    let entry = number.get(about.entry as usize).copied().unwrap_or(0) as usize;
    for number in [nodes.len(), CONNECTIVITY, 2 * CONNECTIVITY, about.highest, entry] {
        bytes.extend((number as u64).to_le_bytes());
    }
    let level_bytes = |level: usize| u16::try_from(level).unwrap_or(u16::MAX).to_le_bytes();
    nodes.iter().for_each(|(_, highest)| bytes.extend(level_bytes(*highest)));
    for &(slot, highest) in nodes {
        bytes.extend(u64::from(slot).to_le_bytes());
        bytes.extend(level_bytes(highest));
        for level in 0..=highest {
            let neighbours = neighbours(slot, level);
            bytes.extend((neighbours.len() as u32).to_le_bytes());
            neighbours.iter().for_each(|&slot| bytes.extend(number[slot as usize].to_le_bytes()));
            bytes.resize(bytes.len() + (most_on(level) - neighbours.len()) * size_of::<u32>(), 0);
        }
    }
    bytes
}

/// Neighbours that a node may have on a level.
const fn most_on(level: usize) -> usize {
    if level == 0 { 2 * CONNECTIVITY } else { CONNECTIVITY }
}

/// What is still to be read.
struct Rest<'a>(&'a [u8]);

impl Rest<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk::<N>().ok_or_else(|| corrupt("ends early"))?;
        self.0 = rest;
        Ok(*taken)
    }

    fn u16(&mut self) -> Result<usize> {
        self.take().map(|bytes| usize::from(u16::from_le_bytes(bytes)))
    }

    fn u32(&mut self) -> Result<u32> {
        self.take().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<usize> {
        usize::try_from(u64::from_le_bytes(self.take()?)).map_err(|_| corrupt("has a number without sense"))
    }

    fn slots(&mut self) -> Result<Vec<u32>> {
        let nodes = self.u32()? as usize;
        if self.u32()? as usize != WIDTH {
            return Err(corrupt("is none of this engine"));
        }
        self.holds(nodes, WIDTH)?;
        (0..nodes).map(|_| self.u32()).collect()
    }

    /// Nothing is allocated for what a file only claims to have.
    fn holds(&self, count: usize, bytes: usize) -> Result<()> {
        match count.checked_mul(bytes) {
            Some(wanted) if wanted <= self.0.len() => Ok(()),
            _ => Err(corrupt("ends early")),
        }
    }
}

/// What is wrong with a graph's bytes.
pub fn corrupt(what: &str) -> Error {
    Error::new(Code::Corrupt, format!("the vector snapshot's graph {what}"))
}
