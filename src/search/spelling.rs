//! Words that a mistyped one may stand for: those of the index that are one or two slips away from it.

use rusqlite::Connection;

use crate::error::Result;

/// Letters of a word that may be mistyped at least: shorter ones are too near to everything.
const SHORTEST: usize = 4;
/// From so many letters on there may be two slips.
const TWO_SLIPS: usize = 8;
/// Letters of a word at most: longer ones are data.
const LONGEST: usize = 40;
/// Words that one may stand for.
const ALTERNATIVES: usize = 3;

/// Endings that stemming takes away: the index has words without them.
const ENDINGS: [&str; 26] = [
    "s", "e", "es", "ed", "er", "ers", "ing", "ings", "ly", "y", "ies", "al", "ion", "ions", "ation", "ations", "ment",
    "ments", "ive", "able", "ible", "ity", "ness", "ance", "ence", "or",
];

/// Stems of the index nearest to `word`, the most frequent first: none for a word that is too short or has digits. The
/// first letter is taken to be right, as it nearly always is.
pub(super) fn similar(db: &Connection, word: &str) -> Result<Vec<String>> {
    let letters: Vec<char> = word.chars().collect();
    if !(SHORTEST..=LONGEST).contains(&letters.len()) || !letters.iter().all(|letter| letter.is_alphabetic()) {
        return Ok(Vec::new());
    }
    let slips = if letters.len() >= TWO_SLIPS { 2 } else { 1 };
    let from = letters[0].to_string();
    // Nothing that begins with the letter is above it.
    let to = format!("{from}\u{10ffff}");
    let mut statement = db.prepare_cached("SELECT term, doc FROM vocabulary WHERE term >= ?1 AND term < ?2")?;
    let mut rows = statement.query([from, to])?;
    let mut nearest: Vec<(usize, i64, String)> = Vec::new();
    while let Some(row) = rows.next()? {
        let Ok(stem) = row.get_ref(0)?.as_str() else { continue };
        let characters = stem.chars().count();
        if characters + 1 < SHORTEST || characters > letters.len() + slips {
            continue;
        }
        if let Some(distance) = distance(&letters, stem, slips) {
            nearest.push((distance, -row.get::<_, i64>(1)?, stem.to_owned()));
        }
    }
    nearest.sort_unstable();
    let best = nearest.first().map(|(distance, ..)| *distance);
    nearest.retain(|(distance, ..)| Some(*distance) == best);
    Ok(nearest.into_iter().take(ALTERNATIVES).map(|(.., stem)| stem).collect())
}

/// Slips between a word, with or without an ending, and a stem: letters missing, added, wrong, or two of them swapped;
/// `None` where there are more than `most`.
fn distance(word: &[char], stem: &str, most: usize) -> Option<usize> {
    let stem: Vec<char> = stem.chars().collect();
    // Rows of the matrix: prefixes of the word. Its last column has the distance of each prefix to the whole stem.
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=stem.len()).collect();
    let mut whole = Vec::with_capacity(word.len() + 1);
    whole.push(stem.len());
    for (i, &letter) in word.iter().enumerate() {
        let mut row = vec![i + 1; stem.len() + 1];
        for (j, &other) in stem.iter().enumerate() {
            let changed = last[j] + usize::from(letter != other);
            row[j + 1] = changed.min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && letter == stem[j - 1] && word[i - 1] == other {
                row[j + 1] = row[j + 1].min(before[j - 1] + 1);
            }
        }
        whole.push(row[stem.len()]);
        before = std::mem::replace(&mut last, row);
    }
    let ending_of = |at: usize| -> Option<usize> {
        let ending: String = word[at..].iter().collect();
        if ending.is_empty() || ENDINGS.contains(&&*ending) {
            return Some(0);
        }
        // An ending with its letters in another order: `migratoin`.
        let sorted = |text: &str| {
            let mut letters: Vec<char> = text.chars().collect();
            letters.sort_unstable();
            letters
        };
        let letters = sorted(&ending);
        ENDINGS.iter().any(|known| known.len() > 1 && sorted(known) == letters).then_some(1)
    };
    (SHORTEST - 1..=word.len())
        .filter_map(|at| (whole[at] <= most).then_some(()).and(ending_of(at)).map(|slip| whole[at] + slip))
        .filter(|distance| *distance <= most)
        .min()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slips(word: &str, stem: &str) -> Option<usize> {
        distance(&word.chars().collect::<Vec<_>>(), stem, 2)
    }

    #[test]
    fn slips_of_the_hand() {
        for (word, stem, expected) in [
            ("databse", "databas", Some(1)),
            ("recieve", "receiv", Some(1)),
            ("migratoin", "migrat", Some(1)),
            ("migrations", "migrat", Some(0)),
            ("tokne", "token", Some(1)),
            ("toen", "token", Some(1)),
            ("tokken", "token", Some(1)),
            ("cahe", "cach", Some(1)),
            ("authetnication", "authent", None),
            ("entirely", "other", None),
        ] {
            assert_eq!(slips(word, stem), expected, "{word} {stem}");
        }
    }
}
