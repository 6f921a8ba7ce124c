//! The SQLite side: which collections there are, and what of the one to be read lies where.

use std::path::Path;

use rusqlite::{
    Connection, OpenFlags, OptionalExtension,
    config::DbConfig,
    hooks::{AuthAction, AuthContext, Authorization},
    limits::Limit,
    types::ValueRef,
};
use serde_json::Value as Json;

use super::{
    corrupt, limits,
    snapshot::{self, Copied},
};
use crate::error::{Code, Error, Result};

/// Tables that are read, with the columns that must be there.
const TABLES: [(&str, &[&str]); 7] = [
    ("collections", &["id", "name", "dimension"]),
    ("collection_metadata", &["collection_id", "key", "str_value"]),
    ("segments", &["id", "type", "scope", "collection"]),
    ("max_seq_id", &["segment_id", "seq_id"]),
    ("embeddings", &["id", "segment_id", "embedding_id", "seq_id"]),
    ("embedding_metadata", &["id", "key", "string_value", "int_value", "float_value"]),
    ("embeddings_queue", &["seq_id", "operation", "topic", "id", "vector", "encoding"]),
];
/// The one kind of vector segment that leaves files.
const PERSISTED: &str = "urn:chroma:segment/vector/hnsw-local-persisted";
/// SQL functions that our own statements and the defaults of Chroma's columns call. A hostile schema can call no other.
const FUNCTIONS: [&str; 3] = ["octet_length", "substr", "CURRENT_TIMESTAMP"];

/// How the collection measures distances.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Space {
    /// Squared Euclidean distance; Chroma's default.
    L2,
    /// 1 − cosine. Vectors in the index are normalised, whatever was given.
    Cosine,
    /// 1 − inner product.
    InnerProduct,
}

/// Which Chroma has last opened the directory for writing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Writer {
    /// 0.x: Python, with hnswlib.
    V0,
    /// 1.x: Rust.
    V1,
}

/// A collection of the directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CollectionInfo {
    /// A UUID.
    pub id: String,
    /// Unique in its database only.
    pub name: String,
    /// The name of its database; Chroma's default is `default_database`.
    pub database: String,
    /// Components of its vectors, 1 to 65,536; none before the first document.
    pub dimension: Option<usize>,
}

/// What is needed to read one collection.
#[derive(Debug)]
pub(super) struct Chosen {
    pub collection: CollectionInfo,
    pub space: Space,
    pub vector_segment: Option<String>,
    pub metadata_segment: String,
    /// How much of the log the index files include; none before the first flush.
    pub vector_seq: Option<i64>,
}

/// The open database with its collections.
#[derive(Debug)]
pub(super) struct Catalog {
    pub db: Connection,
    /// `embedding_metadata.bool_value` came late.
    pub has_booleans: bool,
    pub collections: Vec<CollectionInfo>,
    pub writer: Writer,
}

impl Catalog {
    /// Opens a copied database.
    ///
    /// # Errors
    /// `ERR_CORRUPT` naming table or page; `ERR_IO`, `ERR_DISK_FULL`.
    pub fn open(database: &Copied) -> Result<Self> {
        let path = &database.original;
        let db = connect(database).map_err(|error| refused(path, "opening", error))?;
        let mut writer = Writer::V0;
        let mut has_booleans = false;
        for (table, needed) in TABLES {
            let columns = columns(&db, table).map_err(|error| refused(path, table, error))?;
            if columns.is_empty() {
                return Err(corrupt(path, table, "there is no such table, so it is not a Chroma database"));
            }
            if let Some(missing) = needed.iter().find(|name| columns.iter().all(|(column, _)| column != *name)) {
                return Err(corrupt(path, table, format!("it has no column {missing}")));
            }
            if table == "max_seq_id" && columns.iter().any(|(name, kind)| name == "seq_id" && kind == "INTEGER") {
                writer = Writer::V1;
            }
            has_booleans |= table == "embedding_metadata" && columns.iter().any(|(name, _)| name == "bool_value");
            check(&db, path, table)?;
        }
        let collections = collections(&db, path)?;
        Ok(Self { db, has_booleans, collections, writer })
    }

    /// Chooses the collection `name` of `database`; where that is not given, the only one, or Chroma's default.
    ///
    /// # Errors
    /// `ERR_NOT_FOUND` with the names there are; `ERR_INVALID_ARG` where several databases have it; `ERR_CORRUPT`.
    pub fn choose(&self, path: &Path, name: &str, database: Option<&str>) -> Result<Chosen> {
        let named: Vec<_> = self
            .collections
            .iter()
            .filter(|found| found.name == name && database.is_none_or(|wanted| wanted == found.database))
            .collect();
        let collection = match *named {
            [only] => only,
            [] => return Err(self.no_such(path, name)),
            _ => named.iter().find(|found| found.database == "default_database").ok_or_else(|| {
                let databases: Vec<_> = named.iter().take(10).map(|found| found.database.as_str()).collect();
                Error::invalid(format!(
                    "several databases have a collection {name:?}: {}; name one of them",
                    databases.join(", ")
                ))
            })?,
        };
        let place = "segments";
        let mut segments = self.segments(path, &collection.id)?;
        let mut of_scope = |scope: &str| {
            let found: Vec<_> = segments.extract_if(.., |segment| segment.1 == scope).collect();
            match <[_; 1]>::try_from(found) {
                Ok([segment]) => Ok(Some(segment)),
                Err(none) if none.is_empty() => Ok(None),
                Err(_) => Err(corrupt(path, place, format!("several segments of scope {scope}"))),
            }
        };
        let (metadata_segment, ..) =
            of_scope("METADATA")?.ok_or_else(|| corrupt(path, place, "no segment of scope METADATA"))?;
        let vector_segment = match of_scope("VECTOR")? {
            Some((id, _, kind)) if kind == PERSISTED => Some(id),
            Some((_, _, kind)) => return Err(corrupt(path, place, format!("a vector segment of type {kind:?}"))),
            None => None,
        };
        let vector_seq = match &vector_segment {
            Some(segment) => self.consumed(path, segment)?,
            None => None,
        };
        let space = self.space(path, &collection.id)?;
        Ok(Chosen { collection: collection.clone(), space, vector_segment, metadata_segment, vector_seq })
    }

    fn no_such(&self, path: &Path, name: &str) -> Error {
        let names: Vec<_> = self.collections.iter().take(10).map(|found| format!("{:?}", found.name)).collect();
        let there = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        Error::new(Code::NotFound, format!("{}: there is no collection {name:?}; there is {there}", path.display()))
            .with("path", path.display().to_string())
            .with("collection", name)
    }

    /// Id, scope and type.
    fn segments(&self, path: &Path, collection: &str) -> Result<Vec<(String, String, String)>> {
        let place = "segments";
        let read = || {
            let mut statement =
                self.db.prepare("SELECT id, scope, type FROM segments WHERE collection = ?1 LIMIT 16")?;
            let rows = statement.query_map([collection], |row| {
                Ok((short_text(row.get_ref(0)?), short_text(row.get_ref(1)?), short_text(row.get_ref(2)?)))
            })?;
            rows.collect::<rusqlite::Result<Vec<_>>>()
        };
        let rows = read().map_err(|error| refused(path, place, error))?;
        rows.into_iter()
            .map(|row| match row {
                (Some(id), Some(scope), Some(kind)) => Ok((id, scope, kind)),
                _ => Err(corrupt(path, place, "a segment that is not described by short texts")),
            })
            .collect()
    }

    fn consumed(&self, path: &Path, segment: &str) -> Result<Option<i64>> {
        let place = "max_seq_id";
        let found = self
            .db
            .query_row("SELECT seq_id FROM max_seq_id WHERE segment_id = ?1", [segment], |row| {
                Ok(sequence(row.get_ref(0)?))
            })
            .optional()
            .map_err(|error| refused(path, place, error))?;
        match found {
            Some(None) => Err(corrupt(path, place, "neither a number nor 8 bytes")),
            found => Ok(found.flatten()),
        }
    }

    /// Each generation keeps it elsewhere.
    fn space(&self, path: &Path, collection: &str) -> Result<Space> {
        let from_json: [(&str, &[&str]); 4] = [
            ("schema_str", &["keys", "#embedding", "float_list", "vector_index", "config", "space"]),
            ("schema_str", &["defaults", "float_list", "vector_index", "config", "space"]),
            ("config_json_str", &["vector_index", "hnsw", "space"]),
            ("config_json_str", &["hnsw_configuration", "space"]),
        ];
        let place = "collections";
        let there = columns(&self.db, "collections").map_err(|error| refused(path, place, error))?;
        let mut found = None;
        for (column, keys) in from_json {
            if found.is_some() || there.iter().all(|(name, _)| name != column) {
                continue;
            }
            let json = self
                .db
                .query_row(&format!("SELECT {column} FROM collections WHERE id = ?1"), [collection], |row| {
                    Ok(text(row.get_ref(0)?).map(str::to_owned))
                })
                .map_err(|error| refused(path, place, error))?;
            let Some(json) = json else { continue };
            let json: Json = serde_json::from_str(&json)
                .map_err(|error| corrupt(path, place, format!("{column} is not JSON: {error}")))?;
            let value = keys.iter().try_fold(&json, |json, key| json.get(key));
            found = value.and_then(Json::as_str).map(str::to_owned);
        }
        if found.is_none() {
            let sql = "SELECT str_value FROM collection_metadata WHERE collection_id = ?1 AND key = 'hnsw:space'";
            found = self
                .db
                .query_row(sql, [collection], |row| Ok(short_text(row.get_ref(0)?)))
                .optional()
                .map_err(|error| refused(path, "collection_metadata", error))?
                .flatten();
        }
        match found.as_deref() {
            None | Some("l2") => Ok(Space::L2),
            Some("cosine") => Ok(Space::Cosine),
            Some("ip") => Ok(Space::InnerProduct),
            Some(other) => Err(corrupt(path, place, format!("a distance space {other:?}; l2, cosine, ip are known"))),
        }
    }
}

/// A connection to the copy that trusts nothing in it.
fn connect(database: &Copied) -> rusqlite::Result<Connection> {
    // Read-write, as it is ours alone: a journal beside it is rolled back, a log moved into it, and what others had
    // not committed is gone then. A file in WAL mode without its log opens as well.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut db = Connection::open_with_flags(&database.copy, flags)?;
    harden(&mut db)?;
    Ok(db)
}

fn harden(db: &mut Connection) -> rusqlite::Result<()> {
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false)?;
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_VIEW, false)?;
    db.set_limit(Limit::SQLITE_LIMIT_LENGTH, limits::VALUE_BYTES)?;
    db.set_limit(Limit::SQLITE_LIMIT_ATTACHED, 0)?;
    // A constraint may be any expression, and is evaluated by the check of a table.
    db.execute_batch(
        "PRAGMA query_only=ON; PRAGMA cell_size_check=ON; PRAGMA ignore_check_constraints=ON; PRAGMA mmap_size=0;
         PRAGMA temp_store=MEMORY; PRAGMA cache_size=-4096",
    )?;
    db.authorizer(Some(|context: AuthContext<'_>| match context.action {
        AuthAction::Select | AuthAction::Read { .. } | AuthAction::Pragma { .. } => Authorization::Allow,
        AuthAction::Function { function_name } if FUNCTIONS.contains(&function_name) => Authorization::Allow,
        _ => Authorization::Deny,
    }))
}

/// Names and declared types of a real table's stored columns; nothing for a view or a virtual table.
fn columns(db: &Connection, table: &str) -> rusqlite::Result<Vec<(String, String)>> {
    let sql = "SELECT 1 FROM sqlite_schema WHERE name = ?1 AND type = 'table' AND rootpage > 0";
    if db.query_row(sql, [table], |_| Ok(())).optional()?.is_none() {
        return Ok(Vec::new());
    }
    let mut statement = db.prepare(&format!("PRAGMA table_xinfo({table})"))?;
    let rows = statement.query_map([], |row| {
        let stored = row.get::<_, i64>("hidden")? == 0;
        Ok((stored, (row.get::<_, String>("name")?, row.get::<_, String>("type")?)))
    })?;
    rows.filter_map(|row| row.map(|(stored, column)| stored.then_some(column)).transpose()).collect()
}

/// Looks at every page of the table, so that damage shows before the first document rather than after many.
fn check(db: &Connection, path: &Path, table: &str) -> Result<()> {
    let found: String = db
        .query_row(&format!("PRAGMA quick_check({table})"), [], |row| row.get(0))
        .map_err(|error| refused(path, table, error))?;
    if found == "ok" { Ok(()) } else { Err(corrupt(path, table, found.lines().next().unwrap_or_default())) }
}

fn collections(db: &Connection, path: &Path) -> Result<Vec<CollectionInfo>> {
    let place = "collections";
    let columns_of = |table| columns(db, table).map_err(|error| refused(path, table, error));
    // Before databases came, there was one.
    let databases = columns_of("databases")?;
    let with_databases = columns_of(place)?.iter().any(|(name, _)| name == "database_id")
        && ["id", "name"].iter().all(|needed| databases.iter().any(|(name, _)| name == needed));
    let sql = if with_databases {
        "SELECT c.id, c.name, c.dimension, d.name FROM collections c LEFT JOIN databases d ON d.id = c.database_id"
    } else {
        "SELECT id, name, dimension, 'default_database' FROM collections"
    };
    let read = || {
        let mut statement = db.prepare(sql)?;
        let rows = statement.query_map([], |row| {
            let dimension = match row.get_ref(2)? {
                ValueRef::Null => Some(None),
                ValueRef::Integer(size) => {
                    usize::try_from(size).ok().filter(|size| (1..=limits::DIMENSION).contains(size)).map(Some)
                }
                _ => None,
            };
            Ok((short_text(row.get_ref(0)?), short_text(row.get_ref(1)?), dimension, short_text(row.get_ref(3)?)))
        })?;
        rows.take(limits::COLLECTIONS).collect::<rusqlite::Result<Vec<_>>>()
    };
    let rows = read().map_err(|error| refused(path, place, error))?;
    rows.into_iter()
        .map(|row| match row {
            (Some(id), Some(name), Some(dimension), database) if snapshot::is_uuid(&id) => {
                Ok(CollectionInfo { id, name, database: database.unwrap_or_default(), dimension })
            }
            (_, _, None, _) => {
                Err(corrupt(path, place, format!("a dimension that is not within 1 and {}", limits::DIMENSION)))
            }
            _ => Err(corrupt(path, place, "a collection whose id is not a UUID, or whose name is no short text")),
        })
        .collect()
}

/// A whole number (1.x), or eight bytes with the highest first (0.x).
pub(super) fn sequence(value: ValueRef<'_>) -> Option<i64> {
    match value {
        ValueRef::Integer(number) => Some(number),
        ValueRef::Blob(bytes) => i64::try_from(u64::from_be_bytes(bytes.try_into().ok()?)).ok(),
        _ => None,
    }
    .filter(|number| *number >= 0)
}

/// A text that is UTF-8.
pub(super) fn text(value: ValueRef<'_>) -> Option<&str> {
    match value {
        ValueRef::Text(bytes) => std::str::from_utf8(bytes).ok(),
        _ => None,
    }
}

/// A text that is UTF-8 and no longer than an id may be.
fn short_text(value: ValueRef<'_>) -> Option<String> {
    text(value).filter(|text| text.len() <= limits::ID_BYTES).map(str::to_owned)
}

/// What SQLite refused: the system's fault where it is that, else the file's.
pub(super) fn refused(path: &Path, place: &str, error: rusqlite::Error) -> Error {
    let what = error.to_string();
    let error = Error::from(error);
    match error.code {
        Code::Io | Code::DiskFull | Code::Busy => {
            let message = format!("{}: {}", path.display(), error.message);
            Error { message, ..error }.with("path", path.display().to_string())
        }
        _ => corrupt(path, place, what),
    }
}
