//! `manifest.json`: what a backup consists of. It is written last, so a folder with one holds a whole backup.

use std::{
    fs::{self, File},
    io::Read,
    path::{Path, PathBuf},
};

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::files::{self, DataFile};
use crate::{
    clock,
    db::connection::naming,
    error::{Code, Error, Result},
};

/// The manifest's name.
pub const MANIFEST: &str = "manifest.json";
/// The format that this engine writes.
pub const FORMAT: u64 = 1;
/// Bytes read at once where a file is hashed or copied.
pub const CHUNK: usize = 1 << 20;

/// What a backup says of itself.
#[derive(Debug, Clone, PartialEq)]
pub struct Manifest {
    /// When its first copy began, epoch ms.
    pub created_at_epoch: i64,
    /// The engine that made it.
    pub engine: String,
    /// Its files, in the order in which they were made.
    pub files: Vec<Entry>,
}

/// One file of a backup.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// Which file.
    pub file: &'static DataFile,
    /// Its length.
    pub bytes: u64,
    /// Its SHA-256, in lower-case hexadecimal.
    pub sha256: String,
    /// Rows of its tables, for people.
    pub rows: Vec<(String, i64)>,
}

impl PartialEq for DataFile {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Manifest {
    /// The JSON form.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let files = self.files.iter().map(|entry| {
            let rows: Map<String, Value> =
                entry.rows.iter().map(|(table, count)| (table.clone(), json!(count))).collect();
            json!({
                "name": entry.file.name,
                "place": entry.file.place,
                "bytes": entry.bytes,
                "sha256": entry.sha256,
                "rows": rows,
            })
        });
        json!({
            "format": FORMAT,
            "engine": self.engine,
            "createdAtEpoch": self.created_at_epoch,
            "createdAt": clock::iso8601(self.created_at_epoch),
            "files": files.collect::<Vec<_>>(),
        })
    }

    /// Reads the manifest of the backup in `folder`.
    ///
    /// # Errors
    /// `ERR_NOT_FOUND` where there is none, `ERR_CORRUPT` where it is damaged, `ERR_SCHEMA_UNSUPPORTED` where a later
    /// engine wrote it.
    pub fn read(folder: &Path) -> Result<Self> {
        let path = folder.join(MANIFEST);
        let text = match fs::read(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let message = format!(
                    "{} is not there: this folder holds no backup, or one that was not finished; give the folder that \
                     memory.backup() has written",
                    path.display()
                );
                return Err(Error::new(Code::NotFound, message).with("path", path.display().to_string()));
            }
            other => naming(&path, || Ok(other?))?,
        };
        naming(&path, || Self::parse(&serde_json::from_slice(&text).unwrap_or_default()))
    }

    fn parse(json: &Value) -> Result<Self> {
        let damaged = |what: &str| {
            Error::new(
                Code::Corrupt,
                format!("the manifest is damaged ({what}); nothing was changed: use another backup"),
            )
        };
        match json["format"].as_u64() {
            Some(FORMAT) => {}
            Some(later) => {
                return Err(Error::new(
                    Code::SchemaUnsupported,
                    format!(
                        "this backup has format {later}, this engine knows up to {FORMAT}; nothing was changed: install \
                         a newer claude-mem-native"
                    ),
                )
                .with("format", later));
            }
            None => return Err(damaged("it has no format")),
        }
        let entry = |entry: &Value| {
            // Where a file goes is decided by its name in our own table, never by what the manifest says.
            let file = files::named(entry["name"].as_str()?)?;
            let sha256 = entry["sha256"].as_str().filter(|digest| digest.len() == 64)?.to_owned();
            let rows = entry["rows"].as_object()?;
            let rows = rows.iter().map(|(table, count)| Some((table.clone(), count.as_i64()?)));
            Some(Entry { file, bytes: entry["bytes"].as_u64()?, sha256, rows: rows.collect::<Option<_>>()? })
        };
        let list =
            json["files"].as_array().filter(|list| !list.is_empty()).ok_or_else(|| damaged("it names no files"))?;
        let files: Option<Vec<Entry>> = list.iter().map(entry).collect();
        Ok(Self {
            created_at_epoch: json["createdAtEpoch"].as_i64().ok_or_else(|| damaged("it has no time"))?,
            engine: json["engine"].as_str().ok_or_else(|| damaged("it names no engine"))?.to_owned(),
            files: files.ok_or_else(|| damaged("one of its files is not described as it should be"))?,
        })
    }
}

impl Entry {
    /// Compares the file in `folder` with what the manifest says; `step` hears how many bytes are done.
    ///
    /// # Errors
    /// `ERR_CORRUPT` naming the file and both digests; what `step` answers.
    pub fn verify(&self, folder: &Path, step: impl FnMut(u64) -> Result<()>) -> Result<()> {
        let path = folder.join(self.file.name);
        let (bytes, sha256) = match digest(&path, step) {
            Err(error) if !path.exists() => return Err(self.damaged(&path, &format!("it is missing ({error})"))),
            other => other?,
        };
        self.compare(&path, bytes, &sha256)
    }

    /// Compares what was read from `path` with what the manifest says.
    ///
    /// # Errors
    /// `ERR_CORRUPT` naming the file and both digests.
    pub fn compare(&self, path: &Path, bytes: u64, sha256: &str) -> Result<()> {
        if bytes != self.bytes {
            return Err(self.damaged(path, &format!("it has {bytes} bytes instead of {}", self.bytes)));
        }
        if sha256 != self.sha256 {
            let message = format!("its SHA-256 is {sha256} instead of {}", self.sha256);
            return Err(self
                .damaged(path, &message)
                .with("expectedSha256", self.sha256.clone())
                .with("sha256", sha256.to_owned()));
        }
        Ok(())
    }

    fn damaged(&self, path: &Path, how: &str) -> Error {
        let message = format!(
            "{}: this file of the backup is damaged: {how}; nothing was changed: use another backup",
            path.display()
        );
        Error::new(Code::Corrupt, message)
            .with("path", path.display().to_string())
            .with("file", self.file.name.to_owned())
    }
}

/// Length and SHA-256 of a file; `step` hears how many bytes are done.
///
/// # Errors
/// `ERR_IO`; what `step` answers.
pub fn digest(path: &Path, mut step: impl FnMut(u64) -> Result<()>) -> Result<(u64, String)> {
    let mut hash = Hash::default();
    let mut file = naming(path, || Ok(File::open(path)?))?;
    let mut chunk = vec![0; CHUNK];
    loop {
        let read = naming(path, || Ok(file.read(&mut chunk)?))?;
        if read == 0 {
            return Ok(hash.finish());
        }
        hash.update(&chunk[..read]);
        step(hash.bytes)?;
    }
}

/// A SHA-256 in the making.
#[derive(Default)]
pub struct Hash {
    sha256: Sha256,
    /// Bytes so far.
    pub bytes: u64,
}

impl Hash {
    /// Takes more in.
    pub fn update(&mut self, bytes: &[u8]) {
        self.sha256.update(bytes);
        self.bytes += bytes.len() as u64;
    }

    /// Length and digest.
    #[must_use]
    pub fn finish(self) -> (u64, String) {
        (self.bytes, format!("{:x}", self.sha256.finalize()))
    }
}

/// `path` while it is being written; it gets its own name once it is whole and on the disk.
#[must_use]
pub fn partial(path: &Path) -> PathBuf {
    crate::db::layout::beside(path, ".partial")
}
