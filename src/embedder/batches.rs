//! Which texts go through a model together.

/// Tokens of a batch at most, padding counted; a longer text is a batch of its own. The weights of a layer are read
/// from beyond the second cache for each batch, so that few large ones take less time.
const TOKENS: usize = 512;
/// Pairs of tokens in one text at most, of all texts of a batch together: attention looks at each, and keeps a number
/// for it and each of its heads. Two texts of 256 tokens have as many.
const PAIRS: usize = 131_072;
/// What a batch costs beside its tokens, in tokens: some two hundred operators are started for each. From figures of
/// all-MiniLM-L6-v2 on one core, taken when batches were smaller: 1.8 ms a batch and 0.28 ms a token.
const START: usize = 6;

/// The places of texts of such `lengths`, in batches: those of about the same length together, and padded only as far
/// as that costs less than another batch would.
pub fn of(lengths: &[usize]) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..lengths.len()).collect();
    order.sort_by_key(|text| lengths[*text]);
    // For the first texts of `order`: what they cost at least, and where their last batch begins.
    let mut best = vec![(0, 0)];
    for end in 1..=order.len() {
        // The longest, to which all of its batch are padded.
        let length = lengths[order[end - 1]];
        let mut cheapest = (usize::MAX, end - 1);
        for start in (0..end).rev() {
            let texts = end - start;
            if texts > 1 && (texts * length > TOKENS || texts * length * length > PAIRS) {
                break;
            }
            let cost = best[start].0 + START + texts * length;
            if cost <= cheapest.0 {
                cheapest = (cost, start);
            }
        }
        best.push(cheapest);
    }
    let mut batches = Vec::new();
    let mut end = order.len();
    while end > 0 {
        let start = best[end].1;
        batches.push(order[start..end].to_vec());
        end = start;
    }
    batches.reverse();
    batches
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Tokens that are computed, padding and starts counted.
    fn cost(lengths: &[usize], batches: &[Vec<usize>]) -> usize {
        let longest = |batch: &Vec<usize>| batch.iter().map(|text| lengths[*text]).max().unwrap();
        batches.iter().map(|batch| START + batch.len() * longest(batch)).sum()
    }

    #[test]
    fn every_text_is_in_one_batch_and_batches_keep_within_bounds() {
        assert!(of(&[]).is_empty());
        let lengths: Vec<usize> = (0..1_000).map(|text| 2 + (text * 7_919) % 255).collect();
        let batches = of(&lengths);
        let mut texts = batches.concat();
        texts.sort_unstable();
        assert_eq!(texts, (0..1_000).collect::<Vec<_>>());
        for batch in &batches {
            let longest = batch.iter().map(|text| lengths[*text]).max().unwrap();
            assert!(batch.len() == 1 || batch.len() * longest <= TOKENS, "{} of {longest}", batch.len());
            assert!(batch.len() == 1 || batch.len() * longest * longest <= PAIRS, "{} of {longest}", batch.len());
        }
        let longest: Vec<usize> =
            batches.iter().map(|batch| batch.iter().map(|t| lengths[*t]).max().unwrap()).collect();
        assert!(longest.is_sorted(), "the short ones first");
    }

    #[test]
    fn texts_of_one_length_are_together_and_long_ones_alone() {
        assert_eq!(of(&[9, 3, 9, 3]), [vec![1, 3], vec![0, 2]]);
        assert_eq!(of(&[256, 256]), [[0, 1]]);
        assert_eq!(of(&[300, 300]), [[0], [1]]);
        assert_eq!(of(&[100_000]), [[0]]);
        assert_eq!(of(&[0, 0]), [[0, 1]]);
    }

    #[test]
    fn texts_are_padded_where_that_is_less_than_another_batch() {
        assert_eq!(of(&[10, 12]), [[0, 1]], "2 tokens of padding, where a batch costs 6");
        assert_eq!(of(&[10, 20]), [[0], [1]]);
        assert_eq!(of(&[10, 10, 10, 10, 12]), [vec![0, 1, 2, 3], vec![4]], "8 tokens of padding");
    }

    #[test]
    fn no_other_division_is_cheaper() {
        let lengths = [4, 5, 5, 9, 11, 11, 12, 30, 31, 90, 120, 121];
        let found = cost(&lengths, &of(&lengths));
        // All divisions of the sorted texts: a bit for each place between two of them.
        for cuts in 0_u32..1 << (lengths.len() - 1) {
            let mut batches = vec![vec![0]];
            for text in 1..lengths.len() {
                if cuts >> (text - 1) & 1 == 1 {
                    batches.push(Vec::new());
                }
                batches.last_mut().unwrap().push(text);
            }
            let allowed = batches.iter().all(|batch| {
                let longest = lengths[*batch.last().unwrap()];
                batch.len() == 1 || (batch.len() * longest <= TOKENS && batch.len() * longest * longest <= PAIRS)
            });
            assert!(!allowed || cost(&lengths, &batches) >= found, "{batches:?}");
        }
    }
}
