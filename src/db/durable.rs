//! Making changes of a directory last.

#[cfg(unix)]
use std::fs::File;
use std::path::Path;

use crate::error::Result;

/// Makes renames in `directory` last through a power cut.
///
/// # Errors
/// `ERR_IO`.
#[cfg(unix)]
pub fn sync_directory(directory: &Path) -> Result<()> {
    Ok(File::open(directory)?.sync_all()?)
}

/// Windows has no such call; its renames are journalled.
#[cfg(not(unix))]
#[expect(clippy::unnecessary_wraps, reason = "as on Unix")]
pub fn sync_directory(_: &Path) -> Result<()> {
    Ok(())
}
