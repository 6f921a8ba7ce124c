//! Dot products, each compiled for the instructions that every processor has and for those that most have, and chosen
//! at run time: one binary serves all.

use std::sync::LazyLock;

/// Sums that are kept side by side, so that additions need not wait for one another.
const LANES: usize = 32;

/// Bytes that the processor fetches at once.
#[cfg(target_arch = "x86_64")]
const LINE: usize = 64;

/// The functions of one instruction set.
#[derive(Clone, Copy)]
pub struct Kernels {
    query_by_i8: unsafe fn(&[i16], &[i8]) -> i32,
    query_by_each: unsafe fn(&[i16], &[i8], &mut Vec<i32>),
    i8_by_i8: unsafe fn(&[i8], &[i8]) -> i32,
    /// Its name.
    #[cfg_attr(not(test), expect(dead_code, reason = "tests say which one failed"))]
    name: &'static str,
}

impl Kernels {
    /// The best that this processor has.
    pub fn of_this_processor() -> Self {
        static CHOSEN: LazyLock<Kernels> = LazyLock::new(|| *Kernels::of_any_processor().last().unwrap_or(&BASELINE));
        *CHOSEN
    }

    /// All that this processor has, the best last.
    fn of_any_processor() -> Vec<Self> {
        let mut all = vec![BASELINE];
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx2") {
                all.push(AVX2);
            }
            if is_x86_feature_detected!("avx512bw") {
                all.push(AVX512);
            }
        }
        all
    }

    /// A 16-bit integer vector with an 8-bit one. The caller keeps to numbers whose sum of products fits.
    #[inline]
    pub fn query_by_i8(&self, query: &[i16], vector: &[i8]) -> i32 {
        // SAFETY: `of_any_processor` chose the functions after it had found their instructions.
        unsafe { (self.query_by_i8)(query, vector) }
    }

    /// The same with each of many that lie one behind the other, into `products`.
    pub fn query_by_each(&self, query: &[i16], vectors: &[i8], products: &mut Vec<i32>) {
        products.clear();
        // SAFETY: as above.
        unsafe { (self.query_by_each)(query, vectors, products) }
    }

    /// Two 8-bit integer vectors.
    #[inline]
    pub fn i8_by_i8(&self, one: &[i8], other: &[i8]) -> i32 {
        // SAFETY: as above.
        unsafe { (self.i8_by_i8)(one, other) }
    }
}

/// Has the processor fetch numbers that will be read soon, where it can be told.
#[inline]
pub fn prefetch<T>(numbers: &[T]) {
    #[cfg(target_arch = "x86_64")]
    for line in numbers.chunks(LINE / size_of::<T>()) {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: every processor of this architecture has the instruction, and it reads nothing that the program sees.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(line.as_ptr().cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = numbers;
}

/// The sum of the products of two vectors of integers, two neighbours at a time: processors have an instruction for
/// just that, where both are of 16 bits.
#[inline(always)]
fn sum_of_pairs<One: Copy + Into<i16>, Other: Copy + Into<i16>>(one: &[One], other: &[Other]) -> i32 {
    let product = |one: One, other: Other| i32::from(one.into()) * i32::from(other.into());
    let (one, one_rest) = one.as_chunks::<{ 2 * LANES }>();
    let (other, other_rest) = other.as_chunks::<{ 2 * LANES }>();
    let mut sums = [0_i32; LANES];
    for (one, other) in one.iter().zip(other) {
        for lane in 0..LANES {
            let pair = product(one[2 * lane], other[2 * lane]) + product(one[2 * lane + 1], other[2 * lane + 1]);
            sums[lane] = sums[lane].wrapping_add(pair);
        }
    }
    let rest = one_rest.iter().zip(other_rest).fold(0_i32, |sum, (&one, &other)| sum.wrapping_add(product(one, other)));
    sums.iter().fold(rest, |sum, &lane| sum.wrapping_add(lane))
}

/// The product of `query` with each of `vectors`.
#[inline(always)]
fn with_each(query: &[i16], vectors: &[i8], products: &mut Vec<i32>, product: impl Fn(&[i16], &[i8]) -> i32) {
    products.extend(vectors.chunks_exact(query.len().max(1)).map(|vector| product(query, vector)));
}

const BASELINE: Kernels = Kernels {
    query_by_i8: sum_of_pairs::<i16, i8>,
    query_by_each: |query, vectors, products| with_each(query, vectors, products, sum_of_pairs::<i16, i8>),
    i8_by_i8: sum_of_pairs::<i8, i8>,
    name: "baseline",
};

#[cfg(target_arch = "x86_64")]
const AVX2: Kernels = Kernels {
    query_by_i8: avx2::query_by_i8,
    query_by_each: avx2::query_by_each,
    i8_by_i8: avx2::i8_by_i8,
    name: "avx2",
};

#[cfg(target_arch = "x86_64")]
const AVX512: Kernels = Kernels {
    query_by_i8: avx512::query_by_i8,
    query_by_each: avx512::query_by_each,
    i8_by_i8: avx512::i8_by_i8,
    name: "avx512",
};

/// Sixteen numbers at once. What remains at the end is left to the plain functions.
#[cfg(target_arch = "x86_64")]
mod avx2 {
    use std::arch::x86_64::*;

    const WIDTH: usize = 16;

    #[inline]
    #[target_feature(enable = "avx2")]
    fn of_i8(numbers: &[i8; WIDTH]) -> __m256i {
        // SAFETY: 16 bytes are read, which the array has; no alignment is asked for.
        _mm256_cvtepi8_epi16(unsafe { _mm_loadu_si128(numbers.as_ptr().cast()) })
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn of_i16(numbers: &[i16; WIDTH]) -> __m256i {
        // SAFETY: 32 bytes are read, which the array has; no alignment is asked for.
        unsafe { _mm256_loadu_si256(numbers.as_ptr().cast()) }
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn sum_of(sums: __m256i) -> i32 {
        let sum = _mm_add_epi32(_mm256_castsi256_si128(sums), _mm256_extracti128_si256::<1>(sums));
        let sum = _mm_add_epi32(sum, _mm_shuffle_epi32::<0b01_00_11_10>(sum));
        _mm_cvtsi128_si32(_mm_add_epi32(sum, _mm_shuffle_epi32::<0b10_11_00_01>(sum)))
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    pub fn query_by_i8(query: &[i16], vector: &[i8]) -> i32 {
        let ((ones, one_rest), (others, other_rest)) = (query.as_chunks::<WIDTH>(), vector.as_chunks::<WIDTH>());
        let mut sums = _mm256_setzero_si256();
        for (one, other) in ones.iter().zip(others) {
            sums = _mm256_add_epi32(sums, _mm256_madd_epi16(of_i16(one), of_i8(other)));
        }
        sum_of(sums).wrapping_add(super::sum_of_pairs(one_rest, other_rest))
    }

    #[target_feature(enable = "avx2")]
    pub fn query_by_each(query: &[i16], vectors: &[i8], products: &mut Vec<i32>) {
        super::with_each(query, vectors, products, |query, vector| query_by_i8(query, vector));
    }

    #[target_feature(enable = "avx2")]
    pub fn i8_by_i8(one: &[i8], other: &[i8]) -> i32 {
        let ((ones, one_rest), (others, other_rest)) = (one.as_chunks::<WIDTH>(), other.as_chunks::<WIDTH>());
        let mut sums = _mm256_setzero_si256();
        for (one, other) in ones.iter().zip(others) {
            sums = _mm256_add_epi32(sums, _mm256_madd_epi16(of_i8(one), of_i8(other)));
        }
        sum_of(sums).wrapping_add(super::sum_of_pairs(one_rest, other_rest))
    }
}

/// The same with thirty-two numbers at once.
#[cfg(target_arch = "x86_64")]
mod avx512 {
    use std::arch::x86_64::*;

    const WIDTH: usize = 32;

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw")]
    fn of_i8(numbers: &[i8; WIDTH]) -> __m512i {
        // SAFETY: 32 bytes are read, which the array has; no alignment is asked for.
        _mm512_cvtepi8_epi16(unsafe { _mm256_loadu_si256(numbers.as_ptr().cast()) })
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw")]
    fn of_i16(numbers: &[i16; WIDTH]) -> __m512i {
        // SAFETY: 64 bytes are read, which the array has; no alignment is asked for.
        unsafe { _mm512_loadu_si512(numbers.as_ptr().cast()) }
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw")]
    pub fn query_by_i8(query: &[i16], vector: &[i8]) -> i32 {
        let ((ones, one_rest), (others, other_rest)) = (query.as_chunks::<WIDTH>(), vector.as_chunks::<WIDTH>());
        let mut sums = _mm512_setzero_si512();
        for (one, other) in ones.iter().zip(others) {
            sums = _mm512_add_epi32(sums, _mm512_madd_epi16(of_i16(one), of_i8(other)));
        }
        _mm512_reduce_add_epi32(sums).wrapping_add(super::sum_of_pairs(one_rest, other_rest))
    }

    #[target_feature(enable = "avx512f,avx512bw")]
    pub fn query_by_each(query: &[i16], vectors: &[i8], products: &mut Vec<i32>) {
        super::with_each(query, vectors, products, |query, vector| query_by_i8(query, vector));
    }

    #[target_feature(enable = "avx512f,avx512bw")]
    pub fn i8_by_i8(one: &[i8], other: &[i8]) -> i32 {
        let ((ones, one_rest), (others, other_rest)) = (one.as_chunks::<WIDTH>(), other.as_chunks::<WIDTH>());
        let mut sums = _mm512_setzero_si512();
        for (one, other) in ones.iter().zip(others) {
            sums = _mm512_add_epi32(sums, _mm512_madd_epi16(of_i8(one), of_i8(other)));
        }
        _mm512_reduce_add_epi32(sums).wrapping_add(super::sum_of_pairs(one_rest, other_rest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers without a pattern in −1..1, the same at each run.
    fn numbers(count: usize, seed: u64) -> Vec<f32> {
        let mut state = seed;
        std::iter::repeat_with(|| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            ((state >> 40) as f32 / (1_u32 << 23) as f32) - 1.0
        })
        .take(count)
        .collect()
    }

    #[test]
    fn every_kernel_agrees_with_the_plain_sum_at_every_length() {
        for length in [0, 1, 2, 31, 32, 33, 63, 64, 65, 127, 384, 385, 768, 1_001] {
            let (one, other) = (numbers(length, 1), numbers(length, 2));
            let ints: Vec<i16> = one.iter().map(|value| (value * 32_767.0) as i16).collect();
            let bytes = |values: &[f32]| values.iter().map(|value| (value * 127.0) as i8).collect::<Vec<_>>();
            let (one_bytes, other_bytes) = (bytes(&one), bytes(&other));
            let by_i8: i32 =
                ints.iter().zip(&other_bytes).map(|(&one, &other)| i32::from(one) * i32::from(other)).sum();
            let i8s: i32 =
                one_bytes.iter().zip(&other_bytes).map(|(&one, &other)| i32::from(one) * i32::from(other)).sum();
            for kernels in Kernels::of_any_processor() {
                assert_eq!(kernels.query_by_i8(&ints, &other_bytes), by_i8, "{} {length}", kernels.name);
                assert_eq!(kernels.i8_by_i8(&one_bytes, &other_bytes), i8s, "{} {length}", kernels.name);
                let mut each = vec![7];
                kernels.query_by_each(&ints, &[&other_bytes[..], &one_bytes, &other_bytes].concat(), &mut each);
                let by_one = kernels.query_by_i8(&ints, &one_bytes);
                let wanted = if length == 0 { vec![] } else { vec![by_i8, by_one, by_i8] };
                assert_eq!(each, wanted, "{} {length}", kernels.name);
            }
        }
    }
}
