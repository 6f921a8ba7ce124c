//! What is asked for.

use crate::{
    index::document::{Kind, RowKey},
    store::{filters::Filters, order::OrderBy},
};

/// Rows of an answer, where the call says nothing.
pub const LIMIT: usize = 20;
/// Rows of an answer at most.
pub const MOST: usize = 1_000;
/// Rows that can be left out at most: who wants more reads the lists.
pub const FARTHEST: usize = 1_000_000;

/// What rows are found by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Words and meaning.
    Hybrid,
    /// Meaning.
    Semantic,
    /// Words.
    Keyword,
}

impl Mode {
    /// All there are, by what options and answers call them.
    pub const NAMES: [(&'static str, Self); 3] =
        [("hybrid", Self::Hybrid), ("semantic", Self::Semantic), ("keyword", Self::Keyword)];

    /// What answers call it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hybrid => "hybrid",
            Self::Semantic => "semantic",
            Self::Keyword => "keyword",
        }
    }
}

/// Kinds of row that are searched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Kinds(u8);

impl Kinds {
    /// The three in one ranking.
    pub const ALL: Self = Self(0b1110);

    /// These.
    #[must_use]
    pub fn of(kinds: &[Kind]) -> Self {
        Self(kinds.iter().fold(0, |bits, kind| bits | 1 << kind.code()))
    }

    /// Whether `kind` is one of them.
    #[must_use]
    pub fn has(self, kind: Kind) -> bool {
        self.0 & 1 << kind.code() != 0
    }

    /// Whether a row is of one of them.
    #[must_use]
    pub fn contain(self, key: RowKey) -> bool {
        self.0 & 1 << (key.0 & 3) != 0
    }

    pub(super) const fn bits(self) -> u8 {
        self.0
    }

    pub(super) fn codes(self) -> impl Iterator<Item = String> {
        Kind::ALL.into_iter().filter(move |kind| self.has(*kind)).map(|kind| kind.code().to_string())
    }
}

/// One search.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// What the user wrote.
    pub text: String,
    /// Kinds of row.
    pub kinds: Kinds,
    /// What they are found by.
    pub mode: Mode,
    /// Rows at most.
    pub limit: usize,
    /// Rows to leave out first.
    pub offset: usize,
    /// In which order.
    pub order_by: OrderBy,
    /// Which rows.
    pub filters: Filters,
    /// Whether each row comes with the reason that it is there.
    pub explain: bool,
}

impl Request {
    /// A hybrid search for `text` in rows of `kinds`.
    #[must_use]
    pub fn new(text: impl Into<String>, kinds: Kinds) -> Self {
        Self {
            text: text.into(),
            kinds,
            mode: Mode::Hybrid,
            limit: LIMIT,
            offset: 0,
            order_by: OrderBy::Relevance,
            filters: Filters::default(),
            explain: false,
        }
    }
}
