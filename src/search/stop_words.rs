//! English words that say nothing about what is searched for.

/// Articles, pronouns, prepositions, auxiliaries, and what is left of contractions (`don't` is `don` and `t`). Sorted.
const STOP_WORDS: [&str; 127] = [
    "a", "about", "after", "again", "all", "am", "an", "and", "any", "are", "as", "at", "be", "because", "been",
    "before", "being", "both", "but", "by", "can", "could", "d", "did", "didn", "do", "does", "doesn", "doing", "don",
    "during", "each", "for", "from", "further", "had", "has", "have", "having", "he", "her", "here", "him", "his",
    "how", "i", "if", "in", "into", "is", "isn", "it", "its", "itself", "just", "ll", "m", "me", "more", "most", "my",
    "myself", "no", "nor", "not", "now", "of", "off", "on", "once", "only", "or", "other", "our", "ours", "out",
    "over", "own", "re", "s", "same", "shall", "she", "should", "so", "some", "such", "t", "than", "that", "the",
    "their", "theirs", "them", "then", "there", "these", "they", "this", "those", "through", "to", "too", "until",
    "up", "ve", "very", "was", "wasn", "we", "were", "weren", "what", "when", "where", "which", "while", "who", "whom",
    "why", "will", "with", "won", "would", "you", "your", "yours",
];

/// Whether `word`, in lower case, is one of them.
pub(super) fn is_stop_word(word: &str) -> bool {
    STOP_WORDS.binary_search(&word).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_sorted() {
        assert!(STOP_WORDS.is_sorted_by(|a, b| a < b), "a search by halves finds nothing otherwise");
        assert!(is_stop_word("where") && is_stop_word("a") && is_stop_word("yours"));
        assert!(!is_stop_word("token") && !is_stop_word(""));
    }
}
