//! Documents: the pieces of text that have a vector. Each is one field of one row, as claude-mem has always named
//! them in its vector store.

use std::{fmt, str::FromStr};

use crate::error::{Error, Result};

/// The kinds of row that documents are made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Table `observations`.
    Observation,
    /// Table `session_summaries`.
    Summary,
    /// Table `user_prompts`.
    Prompt,
}

impl Kind {
    /// All there are.
    pub const ALL: [Self; 3] = [Self::Observation, Self::Summary, Self::Prompt];

    /// What answers call it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Observation => "observation",
            Self::Summary => "summary",
            Self::Prompt => "prompt",
        }
    }

    /// How it is stored.
    #[must_use]
    pub const fn code(self) -> i64 {
        match self {
            Self::Observation => 1,
            Self::Summary => 2,
            Self::Prompt => 3,
        }
    }

    /// The kind stored as `code`.
    #[must_use]
    pub fn of_code(code: i64) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.code() == code)
    }

    const fn prefix(self) -> &'static str {
        match self {
            Self::Observation => "obs",
            Self::Summary => "summary",
            Self::Prompt => "prompt",
        }
    }
}

/// One row of one of the tables, as one number: the key of its line in `native/index.db`, and of its texts in the
/// text indexes there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RowKey(pub i64);

impl RowKey {
    /// The key of a row. Row numbers are positive and below 2⁶¹; SQLite gives no others by itself.
    #[must_use]
    pub const fn new(kind: Kind, row_id: i64) -> Self {
        Self((row_id << 2) | kind.code())
    }

    /// Its kind; `None` for a number that is no key.
    #[must_use]
    pub fn kind(self) -> Option<Kind> {
        Kind::of_code(self.0 & 3)
    }

    /// Its number in its table.
    #[must_use]
    pub const fn row_id(self) -> i64 {
        self.0 >> 2
    }
}

/// The fields that become documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Field {
    /// `observations.narrative`
    Narrative,
    /// `observations.text`
    Text,
    /// One element of `observations.facts`
    Fact,
    /// `session_summaries.request`
    Request,
    /// `session_summaries.investigated`
    Investigated,
    /// `session_summaries.learned`
    Learned,
    /// `session_summaries.completed`
    Completed,
    /// `session_summaries.next_steps`
    NextSteps,
    /// `session_summaries.notes`
    Notes,
    /// `user_prompts.prompt_text`
    Prompt,
}

impl Field {
    /// All there are.
    pub const ALL: [Self; 10] = [
        Self::Narrative,
        Self::Text,
        Self::Fact,
        Self::Request,
        Self::Investigated,
        Self::Learned,
        Self::Completed,
        Self::NextSteps,
        Self::Notes,
        Self::Prompt,
    ];

    /// What documents and answers call it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Narrative => "narrative",
            Self::Text => "text",
            Self::Fact => "fact",
            Self::Request => "request",
            Self::Investigated => "investigated",
            Self::Learned => "learned",
            Self::Completed => "completed",
            Self::NextSteps => "next_steps",
            Self::Notes => "notes",
            Self::Prompt => "prompt",
        }
    }

    /// Whose field it is.
    #[must_use]
    pub const fn kind(self) -> Kind {
        match self {
            Self::Narrative | Self::Text | Self::Fact => Kind::Observation,
            Self::Prompt => Kind::Prompt,
            _ => Kind::Summary,
        }
    }

    /// How it is stored: never given to another field.
    #[must_use]
    pub const fn code(self) -> i64 {
        match self {
            Self::Narrative => 1,
            Self::Text => 2,
            Self::Fact => 3,
            Self::Request => 4,
            Self::Investigated => 5,
            Self::Learned => 6,
            Self::Completed => 7,
            Self::NextSteps => 8,
            Self::Notes => 9,
            Self::Prompt => 10,
        }
    }

    /// The field stored as `code`.
    #[must_use]
    pub fn of_code(code: i64) -> Option<Self> {
        Self::ALL.into_iter().find(|field| field.code() == code)
    }
}

/// The name of a document: `obs_17_narrative`, `obs_17_fact_0`, `summary_3_next_steps`, `prompt_9`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DocumentId {
    /// The row's number in its table.
    pub row_id: i64,
    /// Which of its fields.
    pub field: Field,
    /// Which fact, from 0; 0 for every other field.
    pub part: u32,
}

impl DocumentId {
    /// The row that it is a field of.
    #[must_use]
    pub const fn row(self) -> RowKey {
        RowKey::new(self.field.kind(), self.row_id)
    }
}

impl fmt::Display for DocumentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (prefix, row_id) = (self.field.kind().prefix(), self.row_id);
        match self.field {
            Field::Prompt => write!(f, "{prefix}_{row_id}"),
            Field::Fact => write!(f, "{prefix}_{row_id}_fact_{}", self.part),
            field => write!(f, "{prefix}_{row_id}_{}", field.name()),
        }
    }
}

impl FromStr for DocumentId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        parse(text).filter(|id| id.to_string() == text).ok_or_else(|| {
            let shown: String = text.chars().take(80).collect();
            Error::invalid(format!(
                "'{shown}' names no document; names are obs_<id>_narrative, obs_<id>_text, obs_<id>_fact_<n>, \
                 summary_<id>_<request|investigated|learned|completed|next_steps|notes> and prompt_<id>"
            ))
        })
    }
}

fn parse(text: &str) -> Option<DocumentId> {
    let (prefix, rest) = text.split_once('_')?;
    let kind = Kind::ALL.into_iter().find(|kind| kind.prefix() == prefix)?;
    let (number, field) = rest.split_once('_').unwrap_or((rest, ""));
    let row_id = number.parse().ok().filter(|id| (1..1 << 61).contains(id))?;
    let named = |name: &str| Field::ALL.into_iter().find(|field| field.kind() == kind && field.name() == name);
    let (field, part) = match (kind, field.strip_prefix("fact_")) {
        (Kind::Prompt, None) if field.is_empty() => (Field::Prompt, 0),
        (Kind::Observation, Some(part)) => (Field::Fact, part.parse().ok()?),
        (Kind::Observation | Kind::Summary, None) => (named(field)?, 0),
        _ => return None,
    };
    Some(DocumentId { row_id, field, part })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        for text in [
            "obs_1_narrative",
            "obs_22_text",
            "obs_333_fact_0",
            "obs_333_fact_17",
            "summary_4_request",
            "summary_4_next_steps",
            "prompt_5",
        ] {
            let id: DocumentId = text.parse().unwrap();
            assert_eq!(id.to_string(), text);
            assert_eq!((id.row().kind(), id.row().row_id()), (Some(id.field.kind()), id.row_id));
        }
        for text in [
            "",
            "obs",
            "obs_",
            "obs_1",
            "obs_1_",
            "obs_0_text",
            "obs_-1_text",
            "obs_+1_text",
            "obs_01_text",
            "obs_1_fact",
            "obs_1_fact_",
            "obs_1_fact_01",
            "obs_1_request",
            "summary_1_narrative",
            "summary_1_fact_0",
            "prompt_1_prompt",
            "prompt_9999999999999999999",
            "user_1",
        ] {
            assert!(text.parse::<DocumentId>().is_err(), "{text}");
        }
    }

    #[test]
    fn codes_are_those_of_one_kind_or_field_only() {
        for kind in Kind::ALL {
            assert_eq!(Kind::of_code(kind.code()), Some(kind));
            assert_eq!(RowKey::new(kind, (1 << 61) - 1).row_id(), (1 << 61) - 1);
        }
        for field in Field::ALL {
            assert_eq!(Field::of_code(field.code()), Some(field));
        }
        assert_eq!(RowKey(4).kind(), None);
    }
}
