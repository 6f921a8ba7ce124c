//! The parts of a memory: each can be left closed, and is then not even looked at.

use crate::error::{Code, Error};

/// One part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// `claude-mem.db`: the tables and the lists made of them.
    Store,
    /// `native/queue.db`: the queues and the session registry.
    Queue,
    /// `native/index.db`, derived from the tables, and `native/collections.db`, the caller's own documents.
    Vectors,
}

impl Part {
    /// All there are.
    pub const ALL: [Self; 3] = [Self::Store, Self::Queue, Self::Vectors];

    /// What the option `parts` calls it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Store => "store",
            Self::Queue => "queue",
            Self::Vectors => "vectors",
        }
    }
}

/// Which parts a memory is opened with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parts([bool; Part::ALL.len()]);

impl Parts {
    /// Those that the caller names.
    #[must_use]
    pub fn of(named: &[Part]) -> Self {
        Self(Part::ALL.map(|part| named.contains(&part)))
    }

    /// Whether `part` is one of them.
    #[must_use]
    pub fn has(self, part: Part) -> bool {
        self.iter().any(|one| one == part)
    }

    /// The error of a call that needs `part`, which is not one of them.
    #[must_use]
    pub fn not_open(self, part: Part) -> Error {
        let wanted = Self::of(&self.iter().chain([part]).collect::<Vec<_>>());
        Error::new(
            Code::NotOpen,
            format!(
                "this memory was opened with parts: {self}, without '{}', which this call needs; open it with parts: {wanted}",
                part.name()
            ),
        )
        .with("part", part.name())
    }

    fn iter(self) -> impl Iterator<Item = Part> {
        Part::ALL.into_iter().zip(self.0).filter_map(|(part, open)| open.then_some(part))
    }
}

impl Default for Parts {
    fn default() -> Self {
        Self::of(&Part::ALL)
    }
}

impl std::fmt::Display for Parts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<String> = self.iter().map(|part| format!("'{}'", part.name())).collect();
        write!(f, "[{}]", names.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_names_the_part_and_how_to_open_it() {
        let error = Parts::of(&[Part::Queue]).not_open(Part::Store);
        assert_eq!(error.code, Code::NotOpen);
        assert!(error.message.contains("parts: ['queue'], without 'store'"), "{}", error.message);
        assert!(error.message.ends_with("open it with parts: ['store', 'queue']"), "{}", error.message);
        assert!(Part::ALL.into_iter().all(|part| Parts::default().has(part)));
    }
}
