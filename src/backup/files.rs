//! The files that cannot be derived from anything: what a backup consists of, in the order in which it is made.

use std::path::PathBuf;

use crate::{db::layout::Layout, parts::Part};

/// One file of a data directory.
#[derive(Debug)]
pub struct DataFile {
    /// Its name in a backup.
    pub name: &'static str,
    /// Where it lies in a data directory, as the manifest says it.
    pub place: &'static str,
    /// The part of a memory that it belongs to.
    pub part: Part,
    /// Where it lies in a data directory.
    pub path: fn(&Layout) -> PathBuf,
    /// The tables whose rows the manifest counts, for people.
    pub counted: &'static [&'static str],
}

/// All of them. A later file is one entry more.
///
/// The queue comes first. A message whose answer is stored between the two copies is then waiting in the copy of
/// `queue.db`, and below its session's watermark in the later copy of `claude-mem.db`: finished, as it is. The other
/// way round its answer would be missing while its lease says that it was given, or, once purged, the message would
/// be in neither copy. That a purge runs in between does no harm: it deletes only what is below a watermark, and the
/// copy of `claude-mem.db` is younger than every watermark that the copy of the queue can have been purged by.
pub static FILES: [DataFile; 3] = [
    DataFile {
        name: "queue.db",
        place: "native/queue.db",
        part: Part::Queue,
        path: Layout::queue,
        counted: &["messages", "dead_letters"],
    },
    // It refers to nothing in the others, nor they to it.
    DataFile {
        name: "collections.db",
        place: "native/collections.db",
        part: Part::Vectors,
        path: Layout::collections,
        counted: &["collections", "documents"],
    },
    DataFile {
        name: "claude-mem.db",
        place: "claude-mem.db",
        part: Part::Store,
        path: Layout::database,
        counted: &["sdk_sessions", "observations", "session_summaries", "user_prompts"],
    },
];

/// The one called `name`.
#[must_use]
pub fn named(name: &str) -> Option<&'static DataFile> {
    FILES.iter().find(|file| file.name == name)
}
