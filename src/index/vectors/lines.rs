//! Numbers of 8 bits in whole lines of the processor's cache: a vector of 384 is six of them, where it would lie across
//! seven if it began anywhere, and each that is fetched in vain is one that another vector waits for.

/// Bytes in a line.
const LINE: usize = 64;

/// What the processor fetches at once. Behind the last number of a vector there are zeros, which add nothing to a product.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
pub struct Line([i8; LINE]);

/// Lines that so many numbers take.
pub const fn lines_of(numbers: usize) -> usize {
    numbers.div_ceil(LINE)
}

/// Numbers in so many lines.
pub const fn numbers_in(lines: usize) -> usize {
    lines * LINE
}

/// So many lines of these numbers, then of zeros.
pub fn packed(lines: usize, mut numbers: impl Iterator<Item = i8>) -> impl Iterator<Item = Line> {
    (0..lines).map(move |_| {
        let mut line = [0; LINE];
        line.iter_mut().zip(numbers.by_ref()).for_each(|(place, number)| *place = number);
        Line(line)
    })
}

/// The numbers of lines that lie one behind the other.
#[inline]
pub const fn numbers_of(lines: &[Line]) -> &[i8] {
    // SAFETY: `Line` is `repr(C)` and has nothing but 64 numbers of one byte, as many as its alignment: so many lines are
    // 64 times as many numbers without a gap, and the slice borrows them as long.
    unsafe { std::slice::from_raw_parts(lines.as_ptr().cast(), lines.len() * LINE) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_packed_is_there_in_its_order_with_zeros_behind() {
        for count in [0, 1, 63, 64, 65, 384, 385] {
            let numbers: Vec<i8> = (0..count).map(|number| (number % 100 + 1) as i8).collect();
            let lines: Vec<Line> = packed(lines_of(count), numbers.iter().copied()).collect();
            assert_eq!(lines.len(), count.div_ceil(64));
            assert!(lines.as_ptr().addr().is_multiple_of(64));
            let (there, behind) = numbers_of(&lines).split_at(count);
            assert_eq!(there, numbers);
            assert!(behind.len() < 64 && behind.iter().all(|&number| number == 0));
        }
    }
}
