//! In which order rows are answered.

/// The option `orderBy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OrderBy {
    /// Best match first; newest first where nothing is matched.
    #[default]
    Relevance,
    /// Newest first.
    DateDesc,
    /// Oldest first.
    DateAsc,
}

impl OrderBy {
    /// What `orderBy` means; an unknown text is `date_desc`, as in 6.0.2.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        match text {
            "relevance" => Self::Relevance,
            "date_asc" => Self::DateAsc,
            _ => Self::DateDesc,
        }
    }

    /// The direction of the time where there is no relevance.
    pub(super) const fn direction(self) -> &'static str {
        match self {
            Self::DateAsc => "ASC",
            Self::Relevance | Self::DateDesc => "DESC",
        }
    }
}
