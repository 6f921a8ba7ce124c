//! Vectors by slot, in blocks: growing copies at most one block, and no vector has an allocation of its own.
//!
//! A number has 16 bits, as a fraction of the largest of its vector, in two planes: the upper 8 bits of all numbers, and
//! the lower 8. The upper ones alone tell a cosine to within [`Blocks::slack`], so that a search reads half of the memory
//! and looks at the lower ones of those vectors only that can still be among the nearest; what it answers is what all
//! bits say. With [`Precision::I8`] there are only the upper ones.

use super::{
    kernel::{self, Kernels},
    lines::{Line, lines_of, numbers_in, numbers_of, packed},
};
use crate::settings::Precision;

/// Vectors in a block, as a power of two.
const SHIFT: u32 = 10;
const BLOCK: usize = 1 << SHIFT;

/// What one of the upper bits' units is worth in units of the lower ones.
const LOWER: i32 = 256;

/// A vector of unit length, made ready to be compared with many.
pub struct Query {
    /// With zeros behind, as the vectors have them.
    ints: Vec<i16>,
    /// What one of `ints` is worth.
    unit: f32,
}

/// All vectors of an index. Slots are counted from 0.
pub struct Blocks {
    dimensions: usize,
    /// That a vector takes in each plane.
    lines: usize,
    len: usize,
    kernels: Kernels,
    upper: Vec<Vec<Line>>,
    /// What a unit of `upper` is worth, of each vector.
    scales: Vec<Vec<f32>>,
    /// `None` where vectors are kept with 8 bits a number.
    lower: Option<Lower>,
}

/// What the upper bits leave.
#[derive(Default)]
struct Lower {
    numbers: Vec<Vec<Line>>,
    /// How long it is, of each vector.
    lengths: Vec<Vec<f32>>,
}

impl Blocks {
    pub fn new(dimensions: usize, precision: Precision) -> Self {
        let lower = match precision {
            Precision::I16 => Some(Lower::default()),
            Precision::I8 => None,
        };
        let kernels = Kernels::of_this_processor();
        let lines = lines_of(dimensions);
        Self { dimensions, lines, len: 0, kernels, upper: Vec::new(), scales: Vec::new(), lower }
    }

    pub const fn len(&self) -> usize {
        self.len
    }

    pub const fn dimensions(&self) -> usize {
        self.dimensions
    }

    pub const fn precision(&self) -> Precision {
        if self.lower.is_some() { Precision::I16 } else { Precision::I8 }
    }

    /// Bytes that are allocated.
    pub fn bytes(&self) -> usize {
        fn of<T>(blocks: &[Vec<T>]) -> usize {
            blocks.iter().map(|block| block.capacity() * size_of::<T>() + size_of::<Vec<T>>()).sum()
        }
        let lower = self.lower.as_ref().map_or(0, |lower| of(&lower.numbers) + of(&lower.lengths));
        of(&self.upper) + of(&self.scales) + lower
    }

    /// Puts `vector` into a new slot at the end.
    pub fn push(&mut self, vector: &[f32]) {
        debug_assert_eq!(vector.len(), self.dimensions);
        let (scale, lines) = (scale_of(vector), self.lines);
        open_block(&mut self.upper, lines).extend(packed(lines, fixed(vector, scale).map(upper)));
        open_block(&mut self.scales, 1).push(scale);
        if let Some(Lower { numbers, lengths }) = &mut self.lower {
            open_block(numbers, lines).extend(packed(lines, fixed(vector, scale).map(lower)));
            open_block(lengths, 1).push(length_of_rest(vector, scale));
        }
        self.len += 1;
    }

    /// Puts `vector` into a slot in place of what is there.
    pub fn set(&mut self, slot: u32, vector: &[f32]) {
        fn overwrite(lines: &mut [Line], with: impl Iterator<Item = Line>) {
            lines.iter_mut().zip(with).for_each(|(line, with)| *line = with);
        }
        debug_assert_eq!(vector.len(), self.dimensions);
        let (block, place) = place(slot);
        let (scale, lines) = (scale_of(vector), self.lines);
        let start = place * lines;
        overwrite(&mut self.upper[block][start..], packed(lines, fixed(vector, scale).map(upper)));
        self.scales[block][place] = scale;
        if let Some(Lower { numbers, lengths }) = &mut self.lower {
            overwrite(&mut numbers[block][start..], packed(lines, fixed(vector, scale).map(lower)));
            lengths[block][place] = length_of_rest(vector, scale);
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
        between(&mut self.upper, self.lines, from, to);
        between(&mut self.scales, 1, from, to);
        if let Some(Lower { numbers, lengths }) = &mut self.lower {
            between(numbers, self.lines, from, to);
            between(lengths, 1, from, to);
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
        to(&mut self.upper, self.lines, len);
        to(&mut self.scales, 1, len);
        if let Some(Lower { numbers, lengths }) = &mut self.lower {
            to(numbers, self.lines, len);
            to(lengths, 1, len);
        }
        self.len = len;
    }

    /// Keeps all vectors with 8 bits a number from now on.
    pub fn shrink_to_i8(&mut self) {
        self.lower = None;
    }

    /// The vector of a slot, as exactly as it is kept.
    pub fn get(&self, slot: u32) -> Vec<f32> {
        let unit = self.scale(slot) / LOWER as f32;
        let lower = self.lower(slot).iter().map(|&number| i32::from(number)).chain(std::iter::repeat(0));
        self.upper(slot)
            .iter()
            .zip(lower)
            .take(self.dimensions)
            .map(|(&upper, lower)| (i32::from(upper) * LOWER + lower) as f32 * unit)
            .collect()
    }

    /// What tells the vector of a slot from another, however many bits are kept of it.
    pub fn fingerprint(&self, slot: u32) -> u64 {
        let numbers = self.upper(slot).iter().take(self.dimensions).map(|&number| number.into());
        fingerprint(std::iter::once(self.scale(slot).to_bits().cast_signed()).chain(numbers))
    }

    /// Makes a vector of unit length ready to be compared.
    pub fn prepare(&self, vector: &[f32]) -> Query {
        // More bits for the query cost nothing, as the processor multiplies 16 by 16 bits anyway; so many that the sum of
        // all products still fits into 32.
        let most = (i32::MAX as f32 / (128.0 * vector.len() as f32)).min(f32::from(i16::MAX)).floor();
        let unit = largest_of(vector) / most;
        #[expect(clippy::cast_possible_truncation, reason = "at most `most` in size")]
        let mut ints: Vec<i16> = vector.iter().map(|value| (value / unit).round() as i16).collect();
        ints.resize(numbers_in(self.lines), 0);
        Query { ints, unit }
    }

    /// The cosine of a slot's vector and a query.
    pub fn cosine(&self, query: &Query, slot: u32) -> f32 {
        let product = |numbers| i64::from(self.kernels.query_by_i8(&query.ints, numbers));
        let sum = product(self.upper(slot)) * i64::from(LOWER) + product(self.lower(slot));
        sum as f32 * (query.unit / LOWER as f32 * self.scale(slot))
    }

    /// About that: at most [`Self::slack`] more or less.
    #[inline]
    pub fn rough_cosine(&self, query: &Query, slot: u32) -> f32 {
        let product = self.kernels.query_by_i8(&query.ints, self.upper(slot));
        product as f32 * (query.unit * self.scale(slot))
    }

    /// Has the processor fetch what [`Self::rough_cosine`] will read.
    #[inline]
    pub fn prefetch(&self, slot: u32) {
        kernel::prefetch(row(&self.upper, self.lines, slot));
        kernel::prefetch(row(&self.scales, 1, slot));
    }

    /// Has the processor fetch what [`Self::cosine`] reads beside that.
    pub fn prefetch_lower(&self, slot: u32) {
        if let Some(lower) = &self.lower {
            kernel::prefetch(row(&lower.numbers, self.lines, slot));
        }
    }

    /// What [`Self::rough_cosine`] may be wrong by: by Cauchy and Schwarz the product of what it leaves out with a query of
    /// unit length is at most as large as that is long.
    #[inline]
    pub fn slack(&self, slot: u32) -> f32 {
        self.lower.as_ref().map_or(0.0, |lower| slack_of(first(row(&lower.lengths, 1, slot))))
    }

    /// The least that the distances of slots can be, a block at a time: its first slot, and one number a slot. To look at
    /// many that lie one behind the other takes a fourth of the time of as many single ones.
    pub fn each_least_distance(&self, query: &Query, mut look: impl FnMut(u32, &[f32])) {
        let (mut products, mut least) = (Vec::with_capacity(BLOCK), Vec::with_capacity(BLOCK));
        for (block, (numbers, scales)) in self.upper.iter().zip(&self.scales).enumerate() {
            self.kernels.query_by_each(&query.ints, numbers_of(numbers), &mut products);
            least.clear();
            let rough = products.iter().zip(scales).map(|(&product, scale)| product as f32 * (query.unit * scale));
            least.extend(rough.map(|cosine| 1.0 - cosine));
            if let Some(lengths) = self.lower.as_ref().and_then(|lower| lower.lengths.get(block)) {
                least.iter_mut().zip(lengths).for_each(|(least, length)| *least -= slack_of(*length));
            }
            #[expect(clippy::cast_possible_truncation, reason = "slots have 32 bits")]
            look((block * BLOCK) as u32, &least);
        }
    }

    /// The cosine of two slots' vectors, about: of their upper bits.
    #[inline]
    pub fn rough_cosine_between(&self, one: u32, other: u32) -> f32 {
        let product = self.kernels.i8_by_i8(self.upper(one), self.upper(other));
        product as f32 * self.scale(one) * self.scale(other)
    }

    #[inline]
    fn upper(&self, slot: u32) -> &[i8] {
        numbers_of(row(&self.upper, self.lines, slot))
    }

    #[inline]
    fn lower(&self, slot: u32) -> &[i8] {
        self.lower.as_ref().map_or(&[], |lower| numbers_of(row(&lower.numbers, self.lines, slot)))
    }

    #[inline]
    fn scale(&self, slot: u32) -> f32 {
        first(row(&self.scales, 1, slot))
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

/// How long what the upper bits leave is.
fn length_of_rest(vector: &[f32], scale: f32) -> f32 {
    let squares: i64 = fixed(vector, scale).map(|number| i64::from(lower(number)).pow(2)).sum();
    (squares as f32).sqrt() * (scale / LOWER as f32)
}

/// That, and a little more, as the query is rounded, too, and sums of floats are.
#[inline]
fn slack_of(length: f32) -> f32 {
    length * 1.01 + 1e-6
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
fn first(number: &[f32]) -> f32 {
    number.first().copied().unwrap_or(0.0)
}

fn largest_of(vector: &[f32]) -> f32 {
    vector.iter().fold(f32::MIN_POSITIVE, |most, value| most.max(value.abs()))
}

/// What a unit of the upper bits is worth: so that they go from −127 to 127.
fn scale_of(vector: &[f32]) -> f32 {
    largest_of(vector) / 127.0
}

/// The numbers of a vector in units of the lower bits.
fn fixed(vector: &[f32], scale: f32) -> impl Iterator<Item = i32> {
    let unit = scale / LOWER as f32;
    #[expect(clippy::cast_possible_truncation, reason = "at most 127 times 256 in size")]
    vector.iter().map(move |value| (value / unit).round() as i32)
}

/// The upper bits, rounded: what they leave is half of their unit at most, to either side.
#[expect(clippy::cast_possible_truncation, reason = "at most 127 in size")]
const fn upper(fixed: i32) -> i8 {
    (fixed + LOWER / 2).div_euclid(LOWER) as i8
}

/// What they leave.
#[expect(clippy::cast_possible_truncation, reason = "from −128 to 127")]
const fn lower(fixed: i32) -> i8 {
    (fixed - upper(fixed) as i32 * LOWER) as i8
}

#[cfg(test)]
mod tests {
    use super::{super::testing::clustered, *};

    #[test]
    fn both_precisions_give_back_what_was_put_and_agree_on_cosines() {
        let vectors = clustered(BLOCK * 2 + 5, 96, 7);
        for (precision, tolerance) in [(Precision::I16, 0.000_01), (Precision::I8, 0.004)] {
            let mut blocks = Blocks::new(96, precision);
            vectors.iter().for_each(|vector| blocks.push(vector));
            let query = blocks.prepare(&vectors[3]);
            for slot in [0, 3, 1_023, 1_024, 2_047, 2_048, 2_052] {
                let vector = &vectors[slot as usize];
                let exact: f32 = vector.iter().zip(&vectors[3]).map(|(a, b)| a * b).sum();
                assert!((blocks.cosine(&query, slot) - exact).abs() < tolerance, "{precision:?} {slot}");
                let rough = blocks.rough_cosine(&query, slot);
                assert!((rough - blocks.cosine(&query, slot)).abs() <= blocks.slack(slot), "{precision:?} {slot}");
                assert!((blocks.rough_cosine_between(slot, 3) - exact).abs() < 0.008, "{precision:?} {slot}");
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
        let mut blocks = Blocks::new(384, Precision::I16);
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
