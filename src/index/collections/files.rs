//! `native/collections.db` opened: by whoever reads it when it is first needed, by its owner when there is something
//! in it, or when something is first stored.

use std::{
    any::Any,
    sync::{Arc, Mutex},
};

use rusqlite::Connection;

use super::{format, graph_file::GraphFiles, reading};
use crate::{
    db::{
        Budget, Holding, Opened, Readers, Source, Writer,
        activity::Activity,
        connection,
        in_process::{self, Held},
        layout::Layout,
    },
    error::{Code, Error, Result},
    settings::{Role, Settings},
};

/// Page cache of a read connection, KiB. Reading a collection goes through all pages once, and the vectors by which
/// candidates are ranked again lie anywhere: the system's cache serves both.
const CACHE_KIB: i64 = 1 << 10;

/// The threads of the file; they start when they are first needed.
pub struct Files {
    pub writer: Writer,
    pub readers: Readers,
    /// Whether an owner has found vectors that are to be made: they are owed, or of another model than `identity`.
    pub behind: bool,
    /// Until the last connection is closed.
    pub held: Mutex<Option<Held>>,
}

impl Files {
    /// Looks at the file. An owner brings one that is there up to date; none is made.
    ///
    /// # Errors
    /// `ERR_SCHEMA_UNSUPPORTED` where a later engine wrote it, `ERR_CORRUPT`, `ERR_IO`, `ERR_BUSY`.
    pub fn open(
        settings: &Arc<Settings>,
        identity: &str,
        budget: &Arc<Budget>,
        activity: &Arc<Activity>,
        guard: Option<Arc<dyn Any + Send + Sync>>,
    ) -> Result<Self> {
        const WRITER: &str = "cm-collections";
        let path = Layout::new(settings.data_dir.clone()).collections();
        let held = in_process::hold(&path);
        let (budget, of_writer) = (Arc::clone(budget), Arc::clone(activity));
        let mut behind = false;
        let writer = if settings.role == Role::Owner {
            let secure_delete = settings.secure_delete;
            if connection::has_content(&path)? {
                let db = format::open(&path, secure_delete)?;
                behind = connection::naming(&path, || is_behind(&db, identity))?;
                connection::naming(&path, || GraphFiles::new(settings).tidy(Some(&db)))?;
            } else {
                GraphFiles::new(settings).tidy(None)?;
            }
            // Closed again: a connection is only ever closed on a thread that may wait for the disk.
            let source = Source::on_demand(move |_| format::open(&path, secure_delete).map(Opened::File));
            let writer = Writer::on_demand(WRITER, source, settings.durability, budget, of_writer);
            match guard {
                Some(guard) => writer.followed_by(Box::new(Holding(guard))),
                None => writer,
            }
        } else {
            Writer::refusing(WRITER, only_the_owner(), budget, of_writer)
        };
        let sources = (0..settings.readers.max(1)).map(|_| reader(settings)).collect();
        let readers = Readers::on_demand("cm-collect-read", sources, Arc::clone(activity));
        Ok(Self { writer, readers, behind, held: Mutex::new(Some(held)) })
    }
}

/// A connection that reads; a database in memory stands in for a file that is not there yet.
pub fn reader(settings: &Arc<Settings>) -> Source {
    let settings = Arc::clone(settings);
    let path = Layout::new(settings.data_dir.clone()).collections();
    Source::on_demand(move |stand_in| {
        if connection::has_content(&path)? {
            let db =
                if settings.read_only { connection::open_read_only(&path) } else { connection::open_reader(&path) }?;
            db.execute_batch(&format!("PRAGMA cache_size=-{CACHE_KIB}"))?;
            // Without tables somebody is just creating it.
            if format::is_ready(&db, &path)? {
                return Ok(Opened::File(db));
            }
        }
        Ok(Opened::StandIn(stand_in.map_or_else(format::stand_in, Ok)?))
    })
}

fn is_behind(db: &Connection, identity: &str) -> Result<bool> {
    let owes = db.prepare("SELECT 1 FROM documents WHERE owed = 1 LIMIT 1")?.exists([])?;
    Ok(owes || reading::all(db)?.iter().any(|info| info.space.model().is_some_and(|model| model != identity)))
}

/// What a client's write is answered.
pub fn only_the_owner() -> Error {
    Error::new(
        Code::NotOpen,
        "this memory is a client, and only the owner of the data directory writes to collections: let the worker do it, \
         or open the memory without role",
    )
    .with("role", "client")
}
