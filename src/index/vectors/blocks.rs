//! Vectors by slot, in blocks: growing copies at most one block, and no vector has an allocation of its own.

use super::kernel::Kernels;
use crate::settings::Precision;

/// Vectors in a block, as a power of two.
const SHIFT: u32 = 10;
const BLOCK: usize = 1 << SHIFT;

/// A vector of unit length, made ready to be compared with many.
pub struct Query {
    /// As the kernels take them.
    floats: Vec<f32>,
    ints: Vec<i16>,
    /// What one of `ints` is worth.
    unit: f32,
}

/// All vectors of an index. Slots are counted from 0.
pub struct Blocks {
    dimensions: usize,
    len: usize,
    kernels: Kernels,
    numbers: Numbers,
}

enum Numbers {
    Bf16(Vec<Vec<u16>>),
    /// Each number times its vector's scale.
    I8 {
        numbers: Vec<Vec<i8>>,
        scales: Vec<Vec<f32>>,
    },
}

impl Blocks {
    pub fn new(dimensions: usize, precision: Precision) -> Self {
        let numbers = match precision {
            Precision::Bf16 => Numbers::Bf16(Vec::new()),
            Precision::I8 => Numbers::I8 { numbers: Vec::new(), scales: Vec::new() },
        };
        Self { dimensions, len: 0, kernels: Kernels::of_this_processor(), numbers }
    }

    pub const fn len(&self) -> usize {
        self.len
    }

    pub const fn dimensions(&self) -> usize {
        self.dimensions
    }

    pub const fn precision(&self) -> Precision {
        match self.numbers {
            Numbers::Bf16(_) => Precision::Bf16,
            Numbers::I8 { .. } => Precision::I8,
        }
    }

    /// Bytes that are allocated.
    pub fn bytes(&self) -> usize {
        fn of<T>(blocks: &[Vec<T>]) -> usize {
            blocks.iter().map(|block| block.capacity() * size_of::<T>() + size_of::<Vec<T>>()).sum()
        }
        match &self.numbers {
            Numbers::Bf16(blocks) => of(blocks),
            Numbers::I8 { numbers, scales } => of(numbers) + of(scales),
        }
    }

    /// Puts `vector` into a new slot at the end.
    pub fn push(&mut self, vector: &[f32]) {
        debug_assert_eq!(vector.len(), self.dimensions);
        match &mut self.numbers {
            Numbers::Bf16(blocks) => {
                let block = open_block(blocks, self.dimensions);
                block.extend(vector.iter().map(|&value| to_bf16(value)));
            }
            Numbers::I8 { numbers, scales } => {
                let block = open_block(numbers, self.dimensions);
                let start = block.len();
                block.resize(start + self.dimensions, 0);
                let scale = to_i8(vector, &mut block[start..]);
                open_block(scales, 1).push(scale);
            }
        }
        self.len += 1;
    }

    /// Puts `vector` into a slot in place of what is there.
    pub fn set(&mut self, slot: u32, vector: &[f32]) {
        debug_assert_eq!(vector.len(), self.dimensions);
        let (block, start) = place(slot);
        let start = start * self.dimensions;
        match &mut self.numbers {
            Numbers::Bf16(blocks) => {
                for (number, &value) in blocks[block][start..].iter_mut().zip(vector) {
                    *number = to_bf16(value);
                }
            }
            Numbers::I8 { numbers, scales } => {
                let scale = to_i8(vector, &mut numbers[block][start..start + self.dimensions]);
                scales[block][place(slot).1] = scale;
            }
        }
    }

    /// Makes slot `to` equal to slot `from`.
    pub fn copy(&mut self, from: u32, to: u32) {
        fn between<T: Copy>(blocks: &mut [Vec<T>], width: usize, from: u32, to: u32) {
            let ((from_block, from), (to_block, to)) = (place(from), place(to));
            let (from, to) = (from * width, to * width);
            if from_block == to_block {
                blocks[from_block].copy_within(from..from + width, to);
            } else if let Ok([source, target]) = blocks.get_disjoint_mut([from_block, to_block]) {
                target[to..to + width].copy_from_slice(&source[from..from + width]);
            }
        }
        match &mut self.numbers {
            Numbers::Bf16(blocks) => between(blocks, self.dimensions, from, to),
            Numbers::I8 { numbers, scales } => {
                between(numbers, self.dimensions, from, to);
                between(scales, 1, from, to);
            }
        }
    }

    /// Lets all slots from `len` on go, with their memory.
    pub fn truncate(&mut self, len: usize) {
        fn to<T>(blocks: &mut Vec<Vec<T>>, width: usize, len: usize) {
            blocks.truncate(len.div_ceil(BLOCK));
            if let Some(last) = blocks.last_mut() {
                let kept = (len - 1) % BLOCK + 1;
                last.truncate(kept * width);
                if last.len() * 4 < last.capacity() {
                    last.shrink_to(last.len() * 2);
                }
            }
        }
        if len >= self.len {
            return;
        }
        match &mut self.numbers {
            Numbers::Bf16(blocks) => to(blocks, self.dimensions, len),
            Numbers::I8 { numbers, scales } => {
                to(numbers, self.dimensions, len);
                to(scales, 1, len);
            }
        }
        self.len = len;
    }

    /// Keeps all vectors with 8 bits a number from now on. One block at a time, so that little is there twice.
    pub fn shrink_to_i8(&mut self) {
        let Numbers::Bf16(blocks) = &mut self.numbers else { return };
        let blocks = std::mem::take(blocks);
        let mut smaller = Self::new(self.dimensions, Precision::I8);
        let mut vector = Vec::with_capacity(self.dimensions);
        for block in blocks {
            for numbers in block.chunks_exact(self.dimensions) {
                vector.clear();
                vector.extend(numbers.iter().map(|&bits| of_bf16(bits)));
                smaller.push(&vector);
            }
        }
        *self = smaller;
    }

    /// The vector of a slot, as exactly as it is kept.
    pub fn get(&self, slot: u32) -> Vec<f32> {
        let (block, index) = place(slot);
        match &self.numbers {
            Numbers::Bf16(blocks) => row(blocks, self.dimensions, slot).iter().map(|&bits| of_bf16(bits)).collect(),
            Numbers::I8 { numbers, scales } => {
                let scale = scales.get(block).and_then(|scales| scales.get(index)).copied().unwrap_or(0.0);
                row(numbers, self.dimensions, slot).iter().map(|&number| f32::from(number) * scale).collect()
            }
        }
    }

    /// What tells the vector of a slot, as it is kept, from another.
    pub fn fingerprint(&self, slot: u32) -> u64 {
        match &self.numbers {
            Numbers::Bf16(blocks) => {
                fingerprint(row(blocks, self.dimensions, slot).iter().map(|number| number.cast_signed().into()))
            }
            Numbers::I8 { numbers, scales } => fingerprint(
                std::iter::once(first(row(scales, 1, slot)).to_bits().cast_signed())
                    .chain(row(numbers, self.dimensions, slot).iter().map(|&number| number.into())),
            ),
        }
    }

    /// Makes a vector of unit length ready to be compared.
    pub fn prepare(&self, vector: &[f32]) -> Query {
        let mut query = Query { floats: self.kernels.arrange(vector), ints: Vec::new(), unit: 0.0 };
        if let Numbers::I8 { .. } = self.numbers {
            // More bits for the query cost nothing, as the processor multiplies 16 by 16 bits anyway; so many that the
            // sum of all products still fits into 32.
            let most = (i32::MAX as f32 / (127.0 * vector.len() as f32)).min(f32::from(i16::MAX)).floor();
            let largest = vector.iter().fold(f32::MIN_POSITIVE, |most, value| most.max(value.abs()));
            query.unit = largest / most;
            #[expect(clippy::cast_possible_truncation, reason = "at most `most` in size")]
            query.ints.extend(vector.iter().map(|value| (value / query.unit).round() as i16));
        }
        query
    }

    /// The cosine of a slot's vector and a query.
    #[inline]
    pub fn cosine(&self, query: &Query, slot: u32) -> f32 {
        match &self.numbers {
            Numbers::Bf16(blocks) => self.kernels.query_by_bf16(&query.floats, row(blocks, self.dimensions, slot)),
            Numbers::I8 { numbers, scales } => {
                let product = self.kernels.query_by_i8(&query.ints, row(numbers, self.dimensions, slot));
                product as f32 * query.unit * first(row(scales, 1, slot))
            }
        }
    }

    /// The cosine of two slots' vectors.
    #[inline]
    pub fn cosine_between(&self, one: u32, other: u32) -> f32 {
        match &self.numbers {
            Numbers::Bf16(blocks) => {
                self.kernels.bf16_by_bf16(row(blocks, self.dimensions, one), row(blocks, self.dimensions, other))
            }
            Numbers::I8 { numbers, scales } => {
                let product =
                    self.kernels.i8_by_i8(row(numbers, self.dimensions, one), row(numbers, self.dimensions, other));
                product as f32 * first(row(scales, 1, one)) * first(row(scales, 1, other))
            }
        }
    }
}

#[inline]
const fn place(slot: u32) -> (usize, usize) {
    ((slot >> SHIFT) as usize, (slot as usize) & (BLOCK - 1))
}

/// The numbers of a slot; none for a slot that is not there. It must not panic: the graph's own code calls it.
#[inline]
fn row<T>(blocks: &[Vec<T>], width: usize, slot: u32) -> &[T] {
    let (block, index) = place(slot);
    blocks.get(block).and_then(|block| block.get(index * width..(index + 1) * width)).unwrap_or(&[])
}

/// Equal sequences have equal fingerprints, others differ but once in 2⁶⁴. It is not meant to withstand somebody who
/// wants two to be equal.
fn fingerprint(numbers: impl Iterator<Item = i32>) -> u64 {
    const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
    numbers.fold(ODD, |state, number| {
        let mixed = (state ^ u64::from(number.cast_unsigned())).wrapping_mul(ODD);
        mixed ^ (mixed >> 32)
    })
}

#[inline]
fn first(scale: &[f32]) -> f32 {
    scale.first().copied().unwrap_or(0.0)
}

/// The block with room for one more vector.
fn open_block<T>(blocks: &mut Vec<Vec<T>>, width: usize) -> &mut Vec<T> {
    if blocks.last().is_none_or(|block| block.len() == BLOCK * width) {
        blocks.push(Vec::new());
    }
    let first = blocks.len() == 1;
    let last = blocks.len() - 1;
    let block = &mut blocks[last];
    if block.capacity() < block.len() + width {
        // The first grows, so that a small index is small; any other is whole at once.
        let wanted = if first { (block.len() * 2).max(16 * width).min(BLOCK * width) } else { BLOCK * width };
        block.reserve_exact(wanted - block.len());
    }
    block
}

#[inline]
const fn of_bf16(bits: u16) -> f32 {
    f32::from_bits((bits as u32) << 16)
}

/// To the nearest, ties to even. The value is finite and at most 1.
#[inline]
const fn to_bf16(value: f32) -> u16 {
    let bits = value.to_bits();
    ((bits + 0x7fff + ((bits >> 16) & 1)) >> 16) as u16
}

/// Writes `vector` with 8 bits a number and returns what one of them is worth.
fn to_i8(vector: &[f32], numbers: &mut [i8]) -> f32 {
    let largest = vector.iter().fold(f32::MIN_POSITIVE, |most, value| most.max(value.abs()));
    for (number, value) in numbers.iter_mut().zip(vector) {
        #[expect(clippy::cast_possible_truncation, reason = "at most 127 in size")]
        let rounded = (value / largest * 127.0).round() as i8;
        *number = rounded;
    }
    largest / 127.0
}

#[cfg(test)]
mod tests {
    use super::{super::testing::clustered, *};

    #[test]
    fn both_precisions_give_back_what_was_put_and_agree_on_cosines() {
        let vectors = clustered(BLOCK * 2 + 5, 96, 7);
        for (precision, tolerance) in [(Precision::Bf16, 0.002), (Precision::I8, 0.004)] {
            let mut blocks = Blocks::new(96, precision);
            vectors.iter().for_each(|vector| blocks.push(vector));
            let query = blocks.prepare(&vectors[3]);
            for slot in [0, 3, 1_023, 1_024, 2_047, 2_048, 2_052] {
                let vector = &vectors[slot as usize];
                let exact: f32 = vector.iter().zip(&vectors[3]).map(|(a, b)| a * b).sum();
                assert!((blocks.cosine(&query, slot) - exact).abs() < tolerance, "{precision:?} {slot}");
                assert!((blocks.cosine_between(slot, 3) - exact).abs() < 2.0 * tolerance, "{precision:?} {slot}");
                assert!(blocks.get(slot).iter().zip(vector).all(|(a, b)| (a - b).abs() < tolerance));
            }
            blocks.copy(2_050, 1);
            assert_eq!(blocks.get(1), blocks.get(2_050), "across blocks");
            blocks.copy(5, 6);
            assert_eq!(blocks.get(6), blocks.get(5), "in one block");
            blocks.set(7, &vectors[9]);
            assert_eq!(blocks.get(7), blocks.get(9));
            let fingerprints: std::collections::HashSet<u64> =
                (8..2_000).map(|slot| blocks.fingerprint(slot)).collect();
            assert_eq!(fingerprints.len(), 1_992);
            assert_eq!(blocks.fingerprint(7), blocks.fingerprint(9));
            blocks.truncate(1_024);
            blocks.push(&vectors[9]);
            assert_eq!((blocks.len(), blocks.get(1_024)), (1_025, blocks.get(9)));
            assert!(blocks.get(1_025).is_empty(), "a slot that is not there has nothing");
            assert!(blocks.cosine(&query, 1_025).abs() < f32::EPSILON);
            blocks.truncate(0);
            assert_eq!(blocks.bytes(), 0);
        }
    }

    #[test]
    fn a_small_index_is_small_and_eight_bits_are_half_of_it() {
        let vectors = clustered(3_000, 384, 1);
        let mut blocks = Blocks::new(384, Precision::Bf16);
        blocks.push(&vectors[0]);
        assert!(blocks.bytes() < 16_384, "{}", blocks.bytes());
        vectors[1..].iter().for_each(|vector| blocks.push(vector));
        let before = blocks.bytes();
        let first = blocks.get(2_999);
        blocks.shrink_to_i8();
        assert!(blocks.bytes() < before / 2 + 32_768, "{} of {before}", blocks.bytes());
        assert_eq!((blocks.len(), blocks.precision()), (3_000, Precision::I8));
        assert!(blocks.get(2_999).iter().zip(&first).all(|(a, b)| (a - b).abs() < 0.002));
    }

    #[test]
    fn integers_never_overflow_however_long_the_vector() {
        for dimensions in [1, 384, 4_096, 65_536] {
            let value = 1.0 / (dimensions as f32).sqrt();
            let mut blocks = Blocks::new(dimensions, Precision::I8);
            blocks.push(&vec![-value; dimensions]);
            let query = blocks.prepare(&vec![value; dimensions]);
            let cosine = blocks.cosine(&query, 0);
            assert!((cosine + 1.0).abs() < 0.01, "{dimensions}: {cosine}");
        }
    }
}
