//! Texts that lie one behind the other in one piece of memory: a batch asks for its memory twice, not twice a message.

use std::{
    fmt,
    ops::{Deref, Range},
    sync::Arc,
};

/// A part of a text that others share. It keeps all of it.
#[derive(Clone)]
pub struct SharedText {
    all: Arc<String>,
    range: Range<usize>,
}

impl SharedText {
    /// The part `range` of `all`; an empty text where there is no such part.
    #[must_use]
    pub fn new(all: &Arc<String>, range: Range<usize>) -> Self {
        let range = if all.get(range.clone()).is_some() { range } else { 0..0 };
        Self { all: Arc::clone(all), range }
    }
}

impl Deref for SharedText {
    type Target = str;

    fn deref(&self) -> &str {
        &self.all[self.range.clone()]
    }
}

impl fmt::Debug for SharedText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_a_text_and_what_is_none_is_empty() {
        let all = Arc::new("né, two".to_owned());
        assert_eq!(&*SharedText::new(&all, 5..8), "two");
        assert_eq!(format!("{:?}", SharedText::new(&all, 0..3)), r#""né""#);
        for none in [0..2, 5..99, 9..12] {
            assert_eq!(&*SharedText::new(&all, none), "");
        }
    }
}
