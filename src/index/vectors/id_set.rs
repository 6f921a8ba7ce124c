//! Sets of groups or documents, by which a search is narrowed.

/// A set of numbers that is quick to ask: a bitmap where they are close to one another, as row keys are, else sorted.
#[derive(Debug, Clone)]
pub struct IdSet(Form);

#[derive(Debug, Clone)]
enum Form {
    Sorted(Box<[i64]>),
    Bits { first: i64, bits: Box<[u64]>, len: usize },
}

impl IdSet {
    /// Whether `id` is in it.
    #[must_use]
    #[inline]
    pub fn contains(&self, id: i64) -> bool {
        match &self.0 {
            Form::Sorted(ids) => ids.binary_search(&id).is_ok(),
            Form::Bits { first, bits, .. } => {
                let distance = id.wrapping_sub(*first).cast_unsigned();
                usize::try_from(distance / 64)
                    .ok()
                    .and_then(|word| bits.get(word))
                    .is_some_and(|word| word >> (distance % 64) & 1 == 1)
            }
        }
    }

    /// Numbers in it.
    #[must_use]
    pub const fn len(&self) -> usize {
        match &self.0 {
            Form::Sorted(ids) => ids.len(),
            Form::Bits { len, .. } => *len,
        }
    }

    /// Whether it has none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All of them in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = i64> {
        let (sorted, bits) = match &self.0 {
            Form::Sorted(ids) => (Some(ids.iter().copied()), None),
            Form::Bits { first, bits, .. } => {
                let of_word = |(at, &word): (usize, &u64)| {
                    let base = first.wrapping_add((at as i64) * 64);
                    std::iter::successors(Some(word).filter(|&word| word != 0), |word| {
                        Some(word & (word - 1)).filter(|&word| word != 0)
                    })
                    .map(move |word| base.wrapping_add(i64::from(word.trailing_zeros())))
                };
                (None, Some(bits.iter().enumerate().flat_map(of_word)))
            }
        };
        sorted.into_iter().flatten().chain(bits.into_iter().flatten())
    }
}

impl From<Vec<i64>> for IdSet {
    /// Any order, any repetition; quickest where they come sorted.
    fn from(mut ids: Vec<i64>) -> Self {
        if !ids.is_sorted() {
            ids.sort_unstable();
        }
        ids.dedup();
        let (Some(&first), Some(&last)) = (ids.first(), ids.last()) else { return Self(Form::Sorted(Box::default())) };
        let span = last.wrapping_sub(first).cast_unsigned();
        // A bitmap of at most the memory of the list.
        if span / 64 >= ids.len() as u64 {
            return Self(Form::Sorted(ids.into_boxed_slice()));
        }
        let mut bits = vec![0_u64; (span / 64) as usize + 1].into_boxed_slice();
        for &id in &ids {
            let place = id.wrapping_sub(first).cast_unsigned() as usize;
            bits[place / 64] |= 1 << (place % 64);
        }
        Self(Form::Bits { first, bits, len: ids.len() })
    }
}

impl FromIterator<i64> for IdSet {
    fn from_iter<T: IntoIterator<Item = i64>>(ids: T) -> Self {
        ids.into_iter().collect::<Vec<_>>().into()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn is_bitmap(set: &IdSet) -> bool {
        matches!(set.0, Form::Bits { .. })
    }

    #[test]
    fn both_forms_hold_exactly_what_they_were_made_of() {
        for ids in [
            vec![],
            vec![5],
            vec![i64::MIN, i64::MAX],
            vec![7, 3, 3, 9, 5],
            (-300..300).step_by(7).collect(),
            (0..500).map(|number| number * 1_000_003).collect(),
            (i64::MAX - 100..=i64::MAX).collect(),
            (i64::MIN..i64::MIN + 70).collect(),
        ] {
            let set = IdSet::from(ids.clone());
            let model: BTreeSet<i64> = ids.iter().copied().collect();
            assert_eq!((set.len(), set.is_empty()), (model.len(), model.is_empty()));
            assert_eq!(set.iter().collect::<Vec<_>>(), model.iter().copied().collect::<Vec<_>>());
            let near = model.iter().flat_map(|&id| [id.wrapping_sub(1), id, id.wrapping_add(1), id.wrapping_add(64)]);
            for id in near.chain([0, i64::MIN, i64::MAX, -1]) {
                assert_eq!(set.contains(id), model.contains(&id), "{id} of {model:?}");
            }
        }
        assert!(is_bitmap(&(0..100).collect()));
        assert!(!is_bitmap(&vec![0, 1 << 40].into()));
    }
}
