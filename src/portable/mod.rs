//! A memory as one text file: JSON Lines, written and read line by line, so that its size is nobody's memory.
//!
//! [`field`] is how a value of a row is written; [`fingerprint`] what rows and messages are recognised by;
//! [`copies`] numbers those that are equal; [`lines`] reads a file; [`export`] and [`import`] do the work, on the
//! thread that calls them: not for the JS thread.
//!
//! # The format
//! ```text
//! {"kind":"header","format":"claude-mem-native-export","version":1,"engine":"0.1.0","created_at_epoch":…,"project":null}
//! {"kind":"session","id":1,"row":{"claude_session_id":"…", …}}
//! {"kind":"observation","id":1,"row":{…}}
//! {"kind":"summary", …}   {"kind":"prompt", …}
//! {"kind":"message","row":{"claude_session_id":"…","enqueued_at_epoch":…,"ends_batch":0,"attempts":0,"error":null},"payload":{…}}
//! {"kind":"dead_letter","row":{…,"reason":"rejected","dead_at_epoch":…},"payload":{…}}
//! {"kind":"footer","lines":…,"counts":{"session":…, …}}
//! ```
//! A `row` has the columns of its table, all but the id, with the values that SQLite has: text is exactly the
//! column's text, also where it should be JSON and is not. `id` is for people; numbers differ between memories.
//! `copy` counts equal rows before it: it is absent where there is none. What JSON cannot say is
//! `{"text":"<hex>"}` (text that is no UTF-8), `{"blob":"<hex>"}` and `{"real":"inf"}`. A message's JSON text is
//! taken over as it is; one with line breaks stands as a string, `payload_text`.

mod copies;
mod export;
mod field;
mod fingerprint;
mod import;
mod lines;
mod rows;
#[cfg(test)]
mod tests;

pub use export::{ExportOptions, Exported, export};
pub use import::{Arrivals, ImportOptions, Imported, Tally, import};

/// How far an export or import is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Lines written, or bytes read.
    pub done: u64,
    /// Of how many, about.
    pub total: u64,
}

/// What the header calls the format.
const FORMAT: &str = "claude-mem-native-export";
/// The version that is written; higher ones are refused.
const VERSION: i64 = 1;

/// The kinds of line between header and footer, and the table of those that are rows of `claude-mem.db`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    Session,
    Observation,
    Summary,
    Prompt,
    Message,
    DeadLetter,
}

impl Kind {
    const ALL: [Self; 6] =
        [Self::Session, Self::Observation, Self::Summary, Self::Prompt, Self::Message, Self::DeadLetter];

    const fn name(self) -> &'static str {
        match self {
            Self::Session => "session",
            Self::Observation => "observation",
            Self::Summary => "summary",
            Self::Prompt => "prompt",
            Self::Message => "message",
            Self::DeadLetter => "dead_letter",
        }
    }

    fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// Its table in `claude-mem.db`; of a message none.
    const fn table(self) -> Option<&'static str> {
        match self {
            Self::Session => Some("sdk_sessions"),
            Self::Observation => Some("observations"),
            Self::Summary => Some("session_summaries"),
            Self::Prompt => Some("user_prompts"),
            Self::Message | Self::DeadLetter => None,
        }
    }
}
