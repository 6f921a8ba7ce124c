//! Where the files of a data directory lie.

use std::path::{Path, PathBuf};

/// What the copy made before our first change of a database adds to its name.
pub const PRE_NATIVE: &str = ".pre-native";

/// The paths of one data directory.
#[derive(Debug, Clone)]
pub struct Layout {
    /// The data directory itself.
    pub data_dir: PathBuf,
}

impl Layout {
    /// The layout of `data_dir`.
    #[must_use]
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        Self { data_dir: data_dir.into() }
    }

    /// `claude-mem.db`: shared with the hooks.
    #[must_use]
    pub fn database(&self) -> PathBuf {
        self.data_dir.join("claude-mem.db")
    }

    /// `claude-mem.db.pre-native`: the database as it was before our first change of its schema.
    #[must_use]
    pub fn pre_native(&self) -> PathBuf {
        beside(&self.database(), PRE_NATIVE)
    }

    /// `native/`: ours alone, mode 0700.
    #[must_use]
    pub fn native(&self) -> PathBuf {
        self.data_dir.join("native")
    }

    /// `native/queue.db`.
    #[must_use]
    pub fn queue(&self) -> PathBuf {
        self.native().join("queue.db")
    }

    /// `native/index.db`: documents, vectors and text indexes, derived from the tables.
    #[must_use]
    pub fn index(&self) -> PathBuf {
        self.native().join("index.db")
    }

    /// `native/collections.db`: the caller's own documents.
    #[must_use]
    pub fn collections(&self) -> PathBuf {
        self.native().join("collections.db")
    }

    /// `native/owner.lock`: the OS file lock of the one owner.
    #[must_use]
    pub fn owner_lock(&self) -> PathBuf {
        self.native().join("owner.lock")
    }

    /// `native/owner.json`: who that is, for messages.
    #[must_use]
    pub fn owner_note(&self) -> PathBuf {
        self.native().join("owner.json")
    }
}

/// `path` with `suffix` appended to its file name: `-wal`, `-shm`, `.pre-native`.
#[must_use]
pub fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}
