//! Whether there is room to write files anew: looked at before the first one is touched.

use std::{
    io,
    path::{Path, PathBuf},
};

use crate::error::{Code, Error, Result};

/// What the largest file needs. They are done one after the other, and each gives back what it has taken.
#[derive(Debug, Default)]
pub struct Need {
    /// Where the file lies, and the bytes of its content.
    largest: Option<(PathBuf, u64)>,
}

impl Need {
    /// One more file, whose content has so many bytes.
    pub fn add(&mut self, file: &Path, bytes: u64) {
        if bytes > self.largest.as_ref().map_or(0, |(_, most)| *most) {
            self.largest = Some((file.to_owned(), bytes));
        }
    }

    /// Compares with what is free; `free` tells that of a directory.
    ///
    /// # Errors
    /// `ERR_DISK_FULL` with `neededBytes`, `freeBytes` and `path`, the directory that has too little; `ERR_IO` where the
    /// disk cannot be asked.
    pub fn check(&self, free: &dyn Fn(&Path) -> io::Result<u64>) -> Result<()> {
        let Some((file, bytes)) = &self.largest else { return Ok(()) };
        let beside = file.parent().unwrap_or(Path::new("."));
        let temporary = temporary_directory();
        // The log beside the file takes the content once; the temporary copy takes it once more, perhaps of another disk.
        let places = if same_disk(beside, &temporary) {
            vec![(beside, bytes * 2)]
        } else {
            vec![(beside, *bytes), (&*temporary, *bytes)]
        };
        for (place, needed) in places {
            let free = free(place)?;
            if free < needed {
                return Err(Error::new(
                    Code::DiskFull,
                    format!(
                        "writing {} anew needs {needed} free bytes in {}, and there are {free}; nothing was changed: free \
                         some space, or set SQLITE_TMPDIR to a directory of a larger disk, and try again",
                        file.display(),
                        place.display()
                    ),
                )
                .with("neededBytes", needed)
                .with("freeBytes", free)
                .with("path", place.display().to_string()));
            }
        }
        Ok(())
    }
}

/// Where SQLite puts its temporary files.
fn temporary_directory() -> PathBuf {
    #[cfg(unix)]
    {
        let named = ["SQLITE_TMPDIR", "TMPDIR"].into_iter().filter_map(std::env::var_os).map(PathBuf::from);
        let usual = ["/var/tmp", "/usr/tmp", "/tmp"].into_iter().map(PathBuf::from);
        named.chain(usual).find(|place| place.is_dir()).unwrap_or_else(|| PathBuf::from("."))
    }
    #[cfg(not(unix))]
    {
        std::env::temp_dir()
    }
}

/// Whether two directories share their free space; so it is taken to be where that cannot be told.
fn same_disk(one: &Path, other: &Path) -> bool {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        let disk = |place: &Path| std::fs::metadata(place).map(|directory| directory.dev());
        match (disk(one), disk(other)) {
            (Ok(one), Ok(other)) => one == other,
            _ => true,
        }
    }
    #[cfg(not(unix))]
    {
        let _ = (one, other);
        true
    }
}
