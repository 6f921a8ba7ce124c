//! Dot products, each compiled for the instructions that every processor has and for those that most have, and chosen
//! at run time: one binary serves all.

use std::sync::LazyLock;

/// Sums that are kept side by side, so that additions need not wait for one another.
const LANES: usize = 32;

/// The functions of one instruction set.
#[derive(Clone, Copy)]
pub struct Kernels {
    arrange: fn(&[f32]) -> Vec<f32>,
    query_by_bf16: unsafe fn(&[f32], &[u16]) -> f32,
    bf16_by_bf16: unsafe fn(&[u16], &[u16]) -> f32,
    query_by_i8: unsafe fn(&[i16], &[i8]) -> i32,
    i8_by_i8: unsafe fn(&[i8], &[i8]) -> i32,
    /// Its name.
    #[cfg_attr(not(test), expect(dead_code, reason = "tests say which one failed"))]
    name: &'static str,
}

impl Kernels {
    /// The best that this processor has.
    pub fn of_this_processor() -> Self {
        static CHOSEN: LazyLock<Kernels> = LazyLock::new(|| {
            #[cfg(target_arch = "x86_64")]
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                return AVX2;
            }
            BASELINE
        });
        *CHOSEN
    }

    /// A 32-bit vector in the order that [`Self::query_by_bf16`] takes.
    pub fn arrange(&self, query: &[f32]) -> Vec<f32> {
        (self.arrange)(query)
    }

    /// A 32-bit vector, arranged, with a bf16 one.
    #[inline]
    pub fn query_by_bf16(&self, query: &[f32], vector: &[u16]) -> f32 {
        // SAFETY: `of_this_processor` chose the functions after it had found their instructions.
        unsafe { (self.query_by_bf16)(query, vector) }
    }

    /// Two bf16 vectors.
    #[inline]
    pub fn bf16_by_bf16(&self, one: &[u16], other: &[u16]) -> f32 {
        // SAFETY: as above.
        unsafe { (self.bf16_by_bf16)(one, other) }
    }

    /// A 16-bit integer vector with an 8-bit one. The caller keeps to numbers whose sum of products fits.
    #[inline]
    pub fn query_by_i8(&self, query: &[i16], vector: &[i8]) -> i32 {
        // SAFETY: as above.
        unsafe { (self.query_by_i8)(query, vector) }
    }

    /// Two 8-bit integer vectors.
    #[inline]
    pub fn i8_by_i8(&self, one: &[i8], other: &[i8]) -> i32 {
        // SAFETY: as above.
        unsafe { (self.i8_by_i8)(one, other) }
    }
}

/// The sum of `product` over two vectors. Where they differ in length the rest of the longer does not count.
macro_rules! sum_of_products {
    ($one:ident, $other:ident, $number:ty, $product:expr) => {{
        let (one, one_rest) = $one.as_chunks::<LANES>();
        let (other, other_rest) = $other.as_chunks::<LANES>();
        let mut sums = [<$number>::default(); LANES];
        for (one, other) in one.iter().zip(other) {
            for lane in 0..LANES {
                sums[lane] = $product(one[lane], other[lane], sums[lane]);
            }
        }
        let mut rest = <$number>::default();
        for (&one, &other) in one_rest.iter().zip(other_rest) {
            rest = $product(one, other, rest);
        }
        // By halves, so that this too is done for many lanes at once.
        let mut width = LANES / 2;
        while width > 0 {
            for lane in 0..width {
                sums[lane] += sums[lane + width];
            }
            width /= 2;
        }
        sums[0] + rest
    }};
}

#[inline(always)]
const fn of_bf16(bits: u16) -> f32 {
    f32::from_bits((bits as u32) << 16)
}

#[inline(always)]
fn fused<const FMA: bool>(one: f32, other: f32, sum: f32) -> f32 {
    // Without the instruction `mul_add` is a call of a library.
    if FMA { one.mul_add(other, sum) } else { one * other + sum }
}

#[inline(always)]
fn query_by_bf16<const FMA: bool>(query: &[f32], vector: &[u16]) -> f32 {
    sum_of_products!(query, vector, f32, |one, other, sum| fused::<FMA>(one, of_bf16(other), sum))
}

#[inline(always)]
fn bf16_by_bf16<const FMA: bool>(one: &[u16], other: &[u16]) -> f32 {
    sum_of_products!(one, other, f32, |one, other, sum| fused::<FMA>(of_bf16(one), of_bf16(other), sum))
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

const BASELINE: Kernels = {
    // Part of what every 64-bit ARM processor has.
    const FMA: bool = cfg!(target_arch = "aarch64");
    Kernels {
        arrange: <[f32]>::to_vec,
        query_by_bf16: query_by_bf16::<FMA>,
        bf16_by_bf16: bf16_by_bf16::<FMA>,
        query_by_i8: sum_of_pairs::<i16, i8>,
        i8_by_i8: sum_of_pairs::<i8, i8>,
        name: "baseline",
    }
};

#[cfg(target_arch = "x86_64")]
const AVX2: Kernels = Kernels {
    arrange: avx2::arrange,
    query_by_bf16: avx2::query_by_bf16,
    bf16_by_bf16: avx2::bf16_by_bf16,
    query_by_i8: avx2::query_by_i8,
    i8_by_i8: avx2::i8_by_i8,
    name: "avx2",
};

/// Eight or sixteen numbers at once. What remains at the end is left to the plain functions.
#[cfg(target_arch = "x86_64")]
mod avx2 {
    use std::arch::x86_64::*;

    /// bf16 numbers that are taken at once: two registers of them.
    const CHUNK: usize = 32;
    /// Those in one register.
    const REGISTER: usize = 16;

    /// Sixteen bf16 numbers as floats: the first, the third and so on, and those between. A float is a bf16 number and
    /// 16 more bits, so that each half of 32 bits is one with a single instruction; in the order in which they lie it
    /// would be twice as many.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    fn wide(numbers: &[u16; REGISTER]) -> (__m256, __m256) {
        // SAFETY: 32 bytes are read, which the array has; no alignment is asked for.
        let bits = unsafe { _mm256_loadu_si256(numbers.as_ptr().cast()) };
        let (even, odd) = (_mm256_slli_epi32::<16>(bits), _mm256_and_si256(bits, _mm256_set1_epi32(-0x1_0000)));
        (_mm256_castsi256_ps(even), _mm256_castsi256_ps(odd))
    }

    /// In the order of [`wide`]; what remains after whole chunks is left as it is.
    pub fn arrange(query: &[f32]) -> Vec<f32> {
        let (chunks, rest) = query.as_chunks::<CHUNK>();
        let registers = chunks.iter().flat_map(|chunk| chunk.as_chunks::<REGISTER>().0);
        let arranged = registers.flat_map(|numbers| {
            let (even, odd) = (numbers.iter().step_by(2), numbers.iter().skip(1).step_by(2));
            even.chain(odd)
        });
        arranged.chain(rest).copied().collect()
    }

    #[inline]
    #[target_feature(enable = "avx2,fma")]
    fn floats(numbers: &[f32; 8]) -> __m256 {
        // SAFETY: 32 bytes are read, which the array has; no alignment is asked for.
        unsafe { _mm256_loadu_ps(numbers.as_ptr()) }
    }

    /// Sixteen 8-bit integers as 16-bit ones.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    fn wide_integers(numbers: &[i8; 16]) -> __m256i {
        // SAFETY: 16 bytes are read, which the array has; no alignment is asked for.
        _mm256_cvtepi8_epi16(unsafe { _mm_loadu_si128(numbers.as_ptr().cast()) })
    }

    #[inline]
    #[target_feature(enable = "avx2,fma")]
    fn integers(numbers: &[i16; 16]) -> __m256i {
        // SAFETY: 32 bytes are read, which the array has; no alignment is asked for.
        unsafe { _mm256_loadu_si256(numbers.as_ptr().cast()) }
    }

    #[inline]
    #[target_feature(enable = "avx2,fma")]
    fn sum_of_floats(sums: [__m256; 4]) -> f32 {
        let sum = _mm256_add_ps(_mm256_add_ps(sums[0], sums[1]), _mm256_add_ps(sums[2], sums[3]));
        let sum = _mm_add_ps(_mm256_castps256_ps128(sum), _mm256_extractf128_ps::<1>(sum));
        let sum = _mm_add_ps(sum, _mm_movehl_ps(sum, sum));
        _mm_cvtss_f32(_mm_add_ss(sum, _mm_shuffle_ps::<1>(sum, sum)))
    }

    #[inline]
    #[target_feature(enable = "avx2,fma")]
    fn sum_of_integers(sums: [__m256i; 2]) -> i32 {
        let sum = _mm256_add_epi32(sums[0], sums[1]);
        let sum = _mm_add_epi32(_mm256_castsi256_si128(sum), _mm256_extracti128_si256::<1>(sum));
        let sum = _mm_add_epi32(sum, _mm_shuffle_epi32::<0b01_00_11_10>(sum));
        _mm_cvtsi128_si32(_mm_add_epi32(sum, _mm_shuffle_epi32::<0b10_11_00_01>(sum)))
    }

    #[target_feature(enable = "avx2,fma")]
    pub fn query_by_bf16(query: &[f32], vector: &[u16]) -> f32 {
        let ((ones, one_rest), (others, other_rest)) = (query.as_chunks::<CHUNK>(), vector.as_chunks::<CHUNK>());
        let mut sums = [_mm256_setzero_ps(); 4];
        for (one, other) in ones.iter().zip(others) {
            let (one, other) = (one.as_chunks::<8>().0, other.as_chunks::<REGISTER>().0);
            for half in 0..2 {
                let (even, odd) = wide(&other[half]);
                sums[2 * half] = _mm256_fmadd_ps(floats(&one[2 * half]), even, sums[2 * half]);
                sums[2 * half + 1] = _mm256_fmadd_ps(floats(&one[2 * half + 1]), odd, sums[2 * half + 1]);
            }
        }
        sum_of_floats(sums) + super::query_by_bf16::<true>(one_rest, other_rest)
    }

    #[target_feature(enable = "avx2,fma")]
    pub fn bf16_by_bf16(one: &[u16], other: &[u16]) -> f32 {
        let ((ones, one_rest), (others, other_rest)) = (one.as_chunks::<CHUNK>(), other.as_chunks::<CHUNK>());
        let mut sums = [_mm256_setzero_ps(); 4];
        for (one, other) in ones.iter().zip(others) {
            let (one, other) = (one.as_chunks::<REGISTER>().0, other.as_chunks::<REGISTER>().0);
            for half in 0..2 {
                let ((one_even, one_odd), (other_even, other_odd)) = (wide(&one[half]), wide(&other[half]));
                sums[2 * half] = _mm256_fmadd_ps(one_even, other_even, sums[2 * half]);
                sums[2 * half + 1] = _mm256_fmadd_ps(one_odd, other_odd, sums[2 * half + 1]);
            }
        }
        sum_of_floats(sums) + super::bf16_by_bf16::<true>(one_rest, other_rest)
    }

    #[target_feature(enable = "avx2,fma")]
    pub fn query_by_i8(query: &[i16], vector: &[i8]) -> i32 {
        let ((ones, one_rest), (others, other_rest)) = (query.as_chunks::<16>(), vector.as_chunks::<16>());
        let mut sums = [_mm256_setzero_si256(); 2];
        for (place, (one, other)) in ones.iter().zip(others).enumerate() {
            let products = _mm256_madd_epi16(integers(one), wide_integers(other));
            sums[place % 2] = _mm256_add_epi32(sums[place % 2], products);
        }
        sum_of_integers(sums).wrapping_add(super::sum_of_pairs(one_rest, other_rest))
    }

    #[target_feature(enable = "avx2,fma")]
    pub fn i8_by_i8(one: &[i8], other: &[i8]) -> i32 {
        let ((ones, one_rest), (others, other_rest)) = (one.as_chunks::<16>(), other.as_chunks::<16>());
        let mut sums = [_mm256_setzero_si256(); 2];
        for (place, (one, other)) in ones.iter().zip(others).enumerate() {
            let products = _mm256_madd_epi16(wide_integers(one), wide_integers(other));
            sums[place % 2] = _mm256_add_epi32(sums[place % 2], products);
        }
        sum_of_integers(sums).wrapping_add(super::sum_of_pairs(one_rest, other_rest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> Vec<Kernels> {
        let mut all = vec![BASELINE];
        let chosen = Kernels::of_this_processor();
        if chosen.name != BASELINE.name {
            all.push(chosen);
        }
        all
    }

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
            let bits = |values: &[f32]| values.iter().map(|value| (value.to_bits() >> 16) as u16).collect::<Vec<_>>();
            let (one_bits, other_bits) = (bits(&one), bits(&other));
            let ints: Vec<i16> = one.iter().map(|value| (value * 32_767.0) as i16).collect();
            let bytes = |values: &[f32]| values.iter().map(|value| (value * 127.0) as i8).collect::<Vec<_>>();
            let (one_bytes, other_bytes) = (bytes(&one), bytes(&other));
            let plain = |one: &mut dyn Iterator<Item = f64>, other: &mut dyn Iterator<Item = f64>| {
                one.zip(other).map(|(one, other)| one * other).sum::<f64>()
            };
            let wide = |bits: &[u16]| bits.iter().map(|&bits| f64::from(of_bf16(bits))).collect::<Vec<_>>();
            let by_bf16 = plain(&mut one.iter().map(|&value| value.into()), &mut wide(&other_bits).into_iter());
            let bf16s = plain(&mut wide(&one_bits).into_iter(), &mut wide(&other_bits).into_iter());
            let by_i8: i32 =
                ints.iter().zip(&other_bytes).map(|(&one, &other)| i32::from(one) * i32::from(other)).sum();
            let i8s: i32 =
                one_bytes.iter().zip(&other_bytes).map(|(&one, &other)| i32::from(one) * i32::from(other)).sum();
            for kernels in all() {
                let near = |got: f32, wanted: f64| (f64::from(got) - wanted).abs() < 1e-4 * (length + 1) as f64;
                assert!(
                    near(kernels.query_by_bf16(&kernels.arrange(&one), &other_bits), by_bf16),
                    "{} {length}",
                    kernels.name
                );
                assert!(near(kernels.bf16_by_bf16(&one_bits, &other_bits), bf16s), "{} {length}", kernels.name);
                assert_eq!(kernels.query_by_i8(&ints, &other_bytes), by_i8, "{} {length}", kernels.name);
                assert_eq!(kernels.i8_by_i8(&one_bytes, &other_bytes), i8s, "{} {length}", kernels.name);
            }
        }
    }
}
