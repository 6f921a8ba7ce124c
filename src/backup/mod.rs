//! Backups of a data directory, and bringing them back.
//!
//! [`files`] is the table of what a backup consists of, [`manifest`] what it says of itself, [`copy`] how one is
//! made beside everybody who reads and writes, [`restore`] how one is put back.

pub mod copy;
pub mod files;
pub mod manifest;
pub mod restore;
#[cfg(test)]
mod tests;

use std::path::PathBuf;

use self::manifest::Manifest;
use crate::{
    db::layout::Layout,
    error::Result,
    job::{Job, Jobs},
    settings::Settings,
};

/// How far a backup or a restore is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// The file it is at, by its name in the backup.
    pub file: &'static str,
    /// Bytes of it that are done.
    pub done: u64,
    /// Bytes of it in all.
    pub total: u64,
}

/// Copies the files of a memory into `folder`, which is new or empty; see [`copy`]. It ends with the other `jobs`.
///
/// # Errors
/// `ERR_DISPOSED`, `ERR_IO` where no thread can be started.
pub fn start(jobs: &Jobs, settings: &Settings, folder: PathBuf) -> Result<Job<Progress, Manifest>> {
    let (layout, parts) = (Layout::new(settings.data_dir.clone()), settings.parts);
    jobs.start("backup", move |control| copy::run(&layout, parts, &folder, control))
}
