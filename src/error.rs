//! Errors as data: a short documented list of codes, a message that names the value, the limit and the
//! remedy, and the figures as properties of their own.

use std::fmt;

/// The result of everything in this crate that can fail.
pub type Result<T> = std::result::Result<T, Error>;

/// What `error.code` can be in JavaScript.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Code {
    /// The handle, or a parent of it, was disposed.
    Disposed,
    /// An argument or option has the wrong type, name or range.
    InvalidArg,
    /// The session, message or row that was named does not exist.
    NotFound,
    /// A bound of the queue would be exceeded; nothing was stored.
    QueueFull,
    /// The batch's lease is over and somebody else has claimed its messages, or they were purged.
    LeaseLost,
    /// A lock or a budget was not free before the deadline; nothing was stored.
    Busy,
    /// Another process or handle owns the data directory, or the session has a live consumer.
    Locked,
    /// The database was made by a claude-mem that this engine does not know.
    SchemaUnsupported,
    /// The file is damaged or is no SQLite database.
    Corrupt,
    /// The disk is full.
    DiskFull,
    /// The operating system refused a read, a write or an open.
    Io,
    /// The file, its directory or the handle may only be read; nothing was stored.
    ReadOnly,
    /// This memory was opened without the part, or in a role, that the call needs.
    NotOpen,
    /// Texts cannot be embedded: there is no model file, it cannot be used, or the caller hands vectors over.
    NoModel,
    /// The model, or vectors from elsewhere, are not of the model that was configured.
    ModelMismatch,
    /// A constraint of the schema (CHECK, NOT NULL, FOREIGN KEY, UNIQUE) refused the row.
    Constraint,
    /// A fault of this module: a panic, or a state that must not occur.
    Internal,
}

impl Code {
    /// The text of `error.code`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Disposed => "ERR_DISPOSED",
            Self::InvalidArg => "ERR_INVALID_ARG",
            Self::NotFound => "ERR_NOT_FOUND",
            Self::QueueFull => "ERR_QUEUE_FULL",
            Self::LeaseLost => "ERR_LEASE_LOST",
            Self::Busy => "ERR_BUSY",
            Self::Locked => "ERR_LOCKED",
            Self::SchemaUnsupported => "ERR_SCHEMA_UNSUPPORTED",
            Self::Corrupt => "ERR_CORRUPT",
            Self::DiskFull => "ERR_DISK_FULL",
            Self::Io => "ERR_IO",
            Self::ReadOnly => "ERR_READ_ONLY",
            Self::NotOpen => "ERR_NOT_OPEN",
            Self::NoModel => "ERR_NO_MODEL",
            Self::ModelMismatch => "ERR_MODEL_MISMATCH",
            Self::Constraint => "ERR_CONSTRAINT",
            Self::Internal => "ERR_INTERNAL",
        }
    }
}

/// A figure or a name that an error carries as a property of its own.
#[derive(Debug, Clone, PartialEq)]
pub enum Detail {
    /// A count, a size in bytes or a time in milliseconds.
    Number(f64),
    /// A name, a path or a remedy.
    Text(String),
}

impl From<&str> for Detail {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Detail {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

macro_rules! number_details {
    ($($number:ty),*) => {$(
        impl From<$number> for Detail {
            fn from(number: $number) -> Self {
                Self::Number(number as f64)
            }
        }
    )*};
}
number_details!(i64, u64, u32, usize);

/// One failure: a code, a sentence, and figures.
#[derive(Debug, Clone, PartialEq)]
pub struct Error {
    /// What kind of failure; `error.code` in JavaScript.
    pub code: Code,
    /// One sentence that names the value, the limit and the remedy.
    pub message: String,
    /// Figures that become properties of the JavaScript error.
    pub details: Vec<(&'static str, Detail)>,
}

impl Error {
    /// An error with a code and a sentence.
    #[must_use]
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), details: Vec::new() }
    }

    /// The same error with one more figure.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<Detail>) -> Self {
        self.details.push((name, value.into()));
        self
    }

    /// The handle named `what` was disposed.
    #[must_use]
    pub fn disposed(what: &str) -> Self {
        Self::new(Code::Disposed, format!("this {what} is disposed; open a new one"))
    }

    /// An argument that is not of its form.
    #[must_use]
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(Code::InvalidArg, message)
    }

    /// A fault of this module.
    #[must_use]
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(Code::Internal, message)
    }

    /// What a caught panic becomes.
    #[must_use]
    pub fn from_panic(operation: &str, payload: &(dyn std::any::Any + Send)) -> Self {
        let text = payload
            .downcast_ref::<&str>()
            .map(|text| (*text).to_owned())
            .or_else(|| payload.downcast_ref::<String>().cloned())
            .unwrap_or_else(|| "no message".to_owned());
        Self::internal(format!("{operation} panicked: {text}; please report this"))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code.as_str(), self.message)
    }
}

impl std::error::Error for Error {}

impl From<rusqlite::Error> for Error {
    fn from(error: rusqlite::Error) -> Self {
        use rusqlite::ErrorCode as Sqlite;
        let Some(failure) = error.sqlite_error() else {
            return match error {
                rusqlite::Error::QueryReturnedNoRows => Self::new(Code::NotFound, "no such row"),
                other => Self::internal(format!("SQLite binding: {other}")),
            };
        };
        let (code, remedy) = match failure.code {
            Sqlite::DatabaseBusy | Sqlite::DatabaseLocked => {
                (Code::Busy, "; another process holds the write lock: try again or raise deadlineMs")
            }
            Sqlite::DatabaseCorrupt | Sqlite::NotADatabase => {
                (Code::Corrupt, "; restore the file from a backup or move it away")
            }
            Sqlite::DiskFull => (Code::DiskFull, "; free some space and try again"),
            Sqlite::ReadOnly => {
                (Code::ReadOnly, "; make the file and its directory writable, or open the memory with readOnly")
            }
            Sqlite::PermissionDenied | Sqlite::CannotOpen => {
                (Code::Io, "; check that the file and its directory exist and are writable")
            }
            Sqlite::SystemIoFailure => (Code::Io, "; check the disk"),
            Sqlite::ConstraintViolation => (Code::Constraint, ""),
            Sqlite::TooBig => (Code::InvalidArg, "; the value is larger than SQLite stores (1,000,000,000 bytes)"),
            _ => (Code::Internal, ""),
        };
        Self::new(code, format!("{error}{remedy}")).with("sqliteCode", i64::from(failure.extended_code))
    }
}

impl From<std::io::Error> for Error {
    fn from(error: std::io::Error) -> Self {
        let code = match error.kind() {
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => Code::DiskFull,
            std::io::ErrorKind::ReadOnlyFilesystem => Code::ReadOnly,
            _ => Code::Io,
        };
        Self::new(code, error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_constraint_keeps_its_extended_code() {
        let db = rusqlite::Connection::open_in_memory().unwrap();
        db.execute_batch("CREATE TABLE t(x NOT NULL)").unwrap();
        let error = Error::from(db.execute("INSERT INTO t VALUES (NULL)", []).unwrap_err());
        assert_eq!(error.code, Code::Constraint);
        assert_eq!(error.details, [("sqliteCode", Detail::Number(1299.0))]);
        assert!(error.message.contains("t.x"), "{}", error.message);
    }
}
