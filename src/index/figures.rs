//! How the index does.

use super::{indexer::Progress, table::Counts};
use crate::{embedder::Identity, error::Error};

/// How the index does, as its thread last said.
#[derive(Debug, Clone)]
pub struct Figures {
    /// How much there is.
    pub counts: Counts,
    /// How embedding goes.
    pub progress: Progress,
    /// Vectors made since open.
    pub embedded: u64,
    /// Documents that went since open.
    pub removed: u64,
    /// How often the file was made anew since open, the first time included.
    pub remade: u64,
    /// Bytes of the file and its log.
    pub file_bytes: u64,
    /// When the tables were last looked at, epoch ms.
    pub last_feed_epoch: Option<i64>,
    /// Why the last attempt failed; `None` where it did not.
    pub error: Option<Error>,
    /// What was last wrong with the file, so that it was made anew.
    pub last_doubt: Option<String>,
    /// The model that the stored vectors are of, where that is not the one in use.
    pub other_model: Option<Identity>,
}

impl Default for Figures {
    fn default() -> Self {
        Self {
            counts: Counts::default(),
            progress: Progress::Idle,
            embedded: 0,
            removed: 0,
            remade: 0,
            file_bytes: 0,
            last_feed_epoch: None,
            error: None,
            last_doubt: None,
            other_model: None,
        }
    }
}
