//! The files of a client: a hook, a search server, a command line beside the owner of the data directory, or where
//! there is none. It takes no owner lock, opens a file when it first needs it, and never changes a schema.
//!
//! - Reading where a file is missing, or has no tables yet, reads an empty memory; the file is looked for again
//!   before each read.
//! - The first write where there is no database creates one with 6.0.2's schema, as an owner would and under the
//!   owner's lock, so that two that begin at once, or a worker that starts meanwhile, make one file.
//! - `native/queue.db` is created by whoever enqueues first.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    db::{
        Budget, Database, Opened, Readers, Source, Writer,
        activity::Activity,
        connection,
        in_process::{self, Held},
        layout::Layout,
        owner::{self, OwnerLock},
        schema,
    },
    error::{Code, Error, Result},
    parts::Part,
    queue::{ClientQueue, OwnFile, Sessions, SharedSessions, open_storage, stand_in_storage, storage_is_ready},
    settings::Settings,
};

/// Between two looks at a file that somebody else is about to create.
const RETRY: Duration = Duration::from_millis(5);

/// What a client works with. Nothing is open yet but the hold on the database.
pub struct Parts {
    /// Readers and writer of `claude-mem.db`.
    pub store: Option<(Readers, Writer)>,
    /// The queue.
    pub queue: Option<ClientQueue>,
}

/// Where the files lie, and how they are opened.
struct Files {
    layout: Layout,
    settings: Arc<Settings>,
    /// Until the last connection to either file is closed.
    _held: (Option<Held>, Option<Held>),
}

/// Looks at the database, which is left as it is, and prepares the rest.
///
/// # Errors
/// `ERR_SCHEMA_UNSUPPORTED` for a database of a newer claude-mem, or an older one that nobody has brought up to
/// date; `ERR_CORRUPT`, `ERR_IO`.
pub fn open(settings: &Arc<Settings>, budget: &Arc<Budget>, activity: &Arc<Activity>) -> Result<Parts> {
    let layout = Layout::new(settings.data_dir.clone());
    let (with_store, with_queue) = (settings.parts.has(Part::Store), settings.parts.has(Part::Queue));
    // Without the store the database may be anything.
    let held = with_store.then(|| schema::check_as_client(&layout.database())).transpose()?;
    let queue = with_queue.then(|| in_process::hold(&layout.queue()));
    let files = Arc::new(Files { layout, settings: Arc::clone(settings), _held: (held, queue) });
    let writer = |name, source: fn(&Arc<Files>) -> Source| {
        let (budget, activity) = (Arc::clone(budget), Arc::clone(activity));
        if settings.read_only {
            Writer::refusing(name, read_only(), budget, activity)
        } else {
            Writer::on_demand(name, source(&files), settings.durability, budget, activity)
        }
    };
    let store = with_store.then(|| {
        let readers = (0..settings.readers.max(1)).map(|_| Files::database_reader(&files)).collect();
        let readers = Readers::on_demand("cm-reader", readers, Arc::clone(activity)).explaining(without_table);
        (readers, writer("cm-writer", Files::database_writer))
    });
    let queue = with_queue.then(|| {
        let readers = Readers::on_demand("cm-queue-reader", vec![Files::queue_reader(&files)], Arc::clone(activity));
        let sessions: Box<dyn Sessions> = if with_store {
            Box::new(SharedSessions::on_demand(Files::database_reader(&files)))
        } else {
            Box::new(OwnFile)
        };
        ClientQueue::new(Arc::clone(settings), writer("cm-queue", Files::queue_writer), readers, sessions)
    });
    Ok(Parts { store, queue })
}

/// What every write of a memory with `readOnly` is answered.
fn read_only() -> Error {
    Error::new(
        Code::ReadOnly,
        "this memory was opened with readOnly: true; open it without readOnly to write, or let the worker do it",
    )
}

/// 6.0.2's hooks make no full-text tables of observations and summaries; its search server does, and so does an
/// owner.
fn without_table(error: Error) -> Error {
    if error.code != Code::Internal || !error.message.contains("no such table") {
        return error;
    }
    let message = format!(
        "{}: nobody has created it yet, and a client creates none; open the directory once as its owner (start the \
         worker, or openMemory without role)",
        error.message
    );
    Error { code: Code::SchemaUnsupported, message, ..error }
}

impl Files {
    fn database_reader(files: &Arc<Self>) -> Source {
        let files = Arc::clone(files);
        Source::on_demand(move |stand_in| {
            let path = files.layout.database();
            if connection::has_content(&path)? {
                let db = files.open_to_read(&path)?;
                // Without tables somebody is just creating it.
                if connection::naming(&path, || schema::suits_client(&db))? {
                    return Ok(Opened::File(db));
                }
            }
            Ok(Opened::StandIn(stand_in.map_or_else(schema::stand_in, Ok)?))
        })
    }

    fn queue_reader(files: &Arc<Self>) -> Source {
        let files = Arc::clone(files);
        Source::on_demand(move |stand_in| {
            let path = files.layout.queue();
            if connection::has_content(&path)? {
                let db = files.open_to_read(&path)?;
                if storage_is_ready(&db, &path)? {
                    return Ok(Opened::File(db));
                }
            }
            Ok(Opened::StandIn(stand_in.map_or_else(stand_in_storage, Ok)?))
        })
    }

    fn database_writer(files: &Arc<Self>) -> Source {
        let files = Arc::clone(files);
        Source::on_demand(move |_| files.open_or_create_database().map(Opened::File))
    }

    fn queue_writer(files: &Arc<Self>) -> Source {
        let files = Arc::clone(files);
        Source::on_demand(move |_| files.open_or_create_queue().map(Opened::File))
    }

    fn open_to_read(&self, path: &Path) -> Result<Database> {
        if self.settings.read_only { connection::open_read_only(path) } else { connection::open_reader(path) }
    }

    fn open_or_create_database(&self) -> Result<Database> {
        let path = self.layout.database();
        let deadline = Instant::now() + self.settings.deadline;
        loop {
            if let Some(db) = self.open_database(&path)? {
                return Ok(db);
            }
            // Nobody has made it. Whoever has the owner's lock may: this process, once it has it, or the one that
            // has it now and is about to.
            match OwnerLock::acquire(&self.layout, Duration::ZERO) {
                Ok(lock) => {
                    // Made by a hook of claude-mem's own meanwhile, it may be of any schema.
                    if let Some(db) = self.open_database(&path)? {
                        return Ok(db);
                    }
                    let db = schema::prepare(&path, self.settings.deadline)?;
                    drop(lock);
                    return Ok(db);
                }
                Err(error) if error.code == Code::Locked && Instant::now() < deadline => std::thread::sleep(RETRY),
                Err(error) => return Err(error),
            }
        }
    }

    /// The database, where there is one.
    fn open_database(&self, path: &Path) -> Result<Option<Database>> {
        if !connection::has_content(path)? {
            return Ok(None);
        }
        let db = connection::open_writer_waiting(path, "", self.settings.deadline)?;
        let suits = connection::naming(path, || schema::suits_client(&db))?;
        Ok(suits.then_some(db))
    }

    fn open_or_create_queue(&self) -> Result<Database> {
        let (native, path) = (self.layout.native(), self.layout.queue());
        connection::naming(&native, || owner::create_private_directory(&native))?;
        let deadline = Instant::now() + self.settings.deadline;
        loop {
            match open_storage(&path, self.settings.secure_delete) {
                // Switching a new file to its log takes a lock that SQLite does not always wait for.
                Err(error) if error.code == Code::Busy && Instant::now() < deadline => std::thread::sleep(RETRY),
                opened => return opened,
            }
        }
    }
}
