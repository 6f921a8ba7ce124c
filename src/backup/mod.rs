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
