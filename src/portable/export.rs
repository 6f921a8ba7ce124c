//! Writing a memory to a file.

use std::{
    fs::{self, File},
    io::{BufWriter, Write},
    path::Path,
    time::Duration,
};

use rusqlite::{Connection, OptionalExtension, Row, params_from_iter};
use serde_json::{json, value::RawValue};

use super::{
    FORMAT, Kind, Progress, VERSION,
    copies::{self, Counts},
    field,
    fingerprint::Fingerprint,
    rows::Columns,
};
use crate::{
    clock,
    db::{
        Database,
        connection::{has_content, naming, open_reader},
        layout::Layout,
    },
    error::{Error, Result},
    fault,
    job::Control,
    memory::Memory,
    queue::{Identity, stand_in_storage},
    reply,
};

/// Lines between two looks at whether to go on.
const LOOK: u64 = 64;
/// Messages whose identities are remembered in one transaction.
const REMEMBERED: usize = 256;

/// What is exported.
#[derive(Debug, Clone, Default)]
pub struct ExportOptions {
    /// Only this project: its observations and summaries, its sessions with their prompts and messages, and the
    /// sessions that its rows belong to.
    pub project: Option<String>,
    /// How long remembering the exported messages waits for a lock.
    pub wait: Duration,
}

/// What was written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Exported {
    /// The file.
    pub path: String,
    /// Its size.
    pub bytes: u64,
    /// Its lines, header and footer included.
    pub lines: u64,
    /// Sessions.
    pub sessions: u64,
    /// Observations.
    pub observations: u64,
    /// Summaries.
    pub summaries: u64,
    /// Prompts.
    pub prompts: u64,
    /// Waiting messages, leased ones included.
    pub messages: u64,
    /// Dead letters.
    pub dead_letters: u64,
}

/// Writes everything to `path`, as it is at one moment. The file is there whole or not at all: it is written under
/// another name beside it, synced, and renamed; one that is there already is replaced.
///
/// # Errors
/// `ERR_IO`, `ERR_DISK_FULL`, `ERR_READ_ONLY` naming the path; `ERR_INVALID_ARG` where the path is one of the
/// memory's own files; `ERR_DISPOSED` where it was cancelled; `ERR_BUSY`, `ERR_CORRUPT`.
pub fn export(
    memory: &Memory,
    path: &Path,
    options: &ExportOptions,
    control: &Control<'_, Progress>,
) -> Result<Exported> {
    // Both files of it.
    memory.both_files()?;
    let layout = Layout::new(memory.settings().data_dir.clone());
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    naming(folder, || Ok(fs::create_dir_all(folder)?))?;
    refuse_own_files(&layout, folder, path)?;
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(".");
    // Mode 0600, and gone with this value unless it is kept.
    let file = naming(path, || Ok(tempfile::Builder::new().prefix(&name).suffix(".part").tempfile_in(folder)?))?;
    let queue = match snapshot(&layout.queue()) {
        // A client may come before anybody has enqueued.
        Err(_) if !has_content(&layout.queue())? => stand_in_storage()?,
        opened => opened?,
    };
    // Later than the queue's: a message that is acknowledged in between has its rows here, and is left out.
    let main = snapshot(&layout.database())?;
    // Where no owner has opened the file yet, nothing is acknowledged.
    let acknowledges = main.prepare("SELECT 1 FROM sqlite_schema WHERE name = 'native_ack'")?.exists([])?;
    let mut exporter = Exporter {
        acknowledges,
        queue,
        main,
        memory,
        options,
        control,
        out: Output { file: BufWriter::with_capacity(256 << 10, file.as_file()), path, line: Vec::new() },
        total: 0,
        lines: 0,
        counts: [0; Kind::ALL.len()],
    };
    let mut exported = exporter.run()?;
    drop(exporter);
    fault::point("exportTo:written");
    naming(path, || {
        file.as_file().sync_all()?;
        exported.bytes = file.as_file().metadata()?.len();
        file.persist(path).map_err(|error| error.error)?;
        sync_folder(folder)
    })?;
    Ok(exported)
}

/// The name is on the disk too.
fn sync_folder(folder: &Path) -> Result<()> {
    #[cfg(unix)]
    File::open(folder)?.sync_all()?;
    #[cfg(not(unix))]
    let _ = folder;
    Ok(())
}

/// Replacing the database by its export would be the end of both.
fn refuse_own_files(layout: &Layout, folder: &Path, path: &Path) -> Result<()> {
    let (Ok(folder), Ok(data)) = (folder.canonicalize(), layout.data_dir.canonicalize()) else { return Ok(()) };
    let own = path.file_name().is_none_or(|name| {
        let name = name.to_string_lossy();
        folder.starts_with(data.join("native")) || (folder == data && name.starts_with("claude-mem.db"))
    });
    if own {
        return Err(Error::invalid(format!(
            "{} is one of the memory's own files, or no file; choose another path for the export",
            path.display()
        ))
        .with("path", path.display().to_string()));
    }
    Ok(())
}

/// A connection that sees the file as it is now for as long as it lives.
fn snapshot(path: &Path) -> Result<Database> {
    let db = open_reader(path)?;
    naming(path, || {
        db.execute_batch("BEGIN")?;
        // The moment is that of the first read.
        db.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
        Ok(())
    })?;
    Ok(db)
}

struct Output<'a> {
    file: BufWriter<&'a File>,
    path: &'a Path,
    line: Vec<u8>,
}

impl Output<'_> {
    fn write_line(&mut self) -> Result<()> {
        self.line.push(b'\n');
        let (file, line) = (&mut self.file, &self.line);
        naming(self.path, || Ok(file.write_all(line)?))?;
        self.line.clear();
        self.line.shrink_to(4 << 20);
        Ok(())
    }
}

struct Exporter<'a> {
    memory: &'a Memory,
    options: &'a ExportOptions,
    control: &'a Control<'a, Progress>,
    queue: Database,
    main: Database,
    acknowledges: bool,
    out: Output<'a>,
    total: u64,
    lines: u64,
    counts: [u64; Kind::ALL.len()],
}

/// What a message has to do with the shared file.
struct Owner {
    /// The session's number where it is still that session's; else 0.
    session_id: i64,
    /// Its `claude_session_id`; empty only where the message has none and its number is nobody's.
    name: String,
    upto: i64,
    wanted: bool,
}

/// How a message or dead letter is written.
struct Look {
    /// As [`Owner::session_id`].
    session_id: i64,
    name: String,
    print: Fingerprint,
    /// Its number among equals.
    copy: u32,
}

impl Exporter<'_> {
    fn run(&mut self) -> Result<Exported> {
        self.total = self.estimate()?;
        let header = json!({
            "kind": "header",
            "format": FORMAT,
            "version": VERSION,
            "engine": env!("CARGO_PKG_VERSION"),
            "created_at_epoch": clock::now_epoch(),
            "project": self.options.project,
        });
        self.other_line(&header)?;
        for kind in [Kind::Session, Kind::Observation, Kind::Summary, Kind::Prompt] {
            self.rows(kind)?;
        }
        self.messages()?;
        self.dead_letters()?;
        let counts: serde_json::Map<_, _> =
            Kind::ALL.into_iter().map(|kind| (kind.name().to_owned(), self.count(kind).into())).collect();
        let footer = json!({ "kind": "footer", "lines": self.lines + 1, "counts": counts });
        self.other_line(&footer)?;
        let (file, path) = (&mut self.out.file, self.out.path);
        naming(path, || Ok(file.flush()?))?;
        self.control.report(Progress { done: self.total, total: self.total });
        Ok(Exported {
            path: path.display().to_string(),
            bytes: 0,
            lines: self.lines,
            sessions: self.count(Kind::Session),
            observations: self.count(Kind::Observation),
            summaries: self.count(Kind::Summary),
            prompts: self.count(Kind::Prompt),
            messages: self.count(Kind::Message),
            dead_letters: self.count(Kind::DeadLetter),
        })
    }

    fn count(&self, kind: Kind) -> u64 {
        self.counts.get(kind as usize).copied().unwrap_or(0)
    }

    fn other_line(&mut self, value: &serde_json::Value) -> Result<()> {
        self.out.line.extend_from_slice(value.to_string().as_bytes());
        self.out.write_line()?;
        self.lines += 1;
        Ok(())
    }

    fn end_line(&mut self, kind: Kind) -> Result<()> {
        self.out.write_line()?;
        self.lines += 1;
        self.counts[kind as usize] += 1;
        if self.lines.is_multiple_of(LOOK) {
            self.control.check()?;
            self.control.report(Progress { done: self.lines.min(self.total), total: self.total });
        }
        Ok(())
    }

    /// Lines to come, about: acknowledged messages are counted too.
    fn estimate(&self) -> Result<u64> {
        let mut total = 2;
        for kind in [Kind::Session, Kind::Observation, Kind::Summary, Kind::Prompt] {
            let Some(table) = kind.table() else { continue };
            let (tests, values) = self.only(kind);
            let sql = format!("SELECT count(*) FROM {table} WHERE {tests}");
            total += self.main.query_row(&sql, params_from_iter(values), |row| row.get::<_, i64>(0))?.unsigned_abs();
        }
        let waiting = "SELECT (SELECT count(*) FROM messages) + (SELECT count(*) FROM dead_letters)";
        Ok(total + self.queue.query_row(waiting, [], |row| row.get::<_, i64>(0))?.unsigned_abs())
    }

    /// The condition that the project makes for rows of a kind, and its parameters.
    fn only(&self, kind: Kind) -> (&'static str, Option<String>) {
        let Some(project) = self.options.project.clone() else { return ("true", None) };
        let tests = match kind {
            Kind::Session => {
                "(project = ?1 OR sdk_session_id IN (SELECT sdk_session_id FROM observations WHERE project = ?1)
                  OR sdk_session_id IN (SELECT sdk_session_id FROM session_summaries WHERE project = ?1))"
            }
            Kind::Prompt => "claude_session_id IN (SELECT claude_session_id FROM sdk_sessions WHERE project = ?1)",
            _ => "project = ?1",
        };
        (tests, Some(project))
    }

    fn rows(&mut self, kind: Kind) -> Result<()> {
        let Some(table) = kind.table() else { return Ok(()) };
        let columns = Columns::read(&self.main, table)?;
        // A session's name is unique: none is a copy.
        let copies = if kind == Kind::Session { Default::default() } else { copies::of_rows(&self.main, &columns)? };
        let keys: Vec<String> =
            columns.names.iter().map(|name| serde_json::Value::from(name.as_str()).to_string()).collect();
        let (tests, values) = self.only(kind);
        let sql = format!("SELECT id, {} FROM {table} WHERE {tests} ORDER BY id", columns.list());
        // Apart from `self`, which writes while it is read. It reads the same moment.
        let main = std::mem::replace(&mut self.main, Connection::open_in_memory()?.into());
        let written = (|| {
            let mut statement = main.prepare(&sql)?;
            let mut rows = statement.query(params_from_iter(values))?;
            while let Some(row) = rows.next()? {
                let id: i64 = row.get(0)?;
                let line = &mut self.out.line;
                line.extend_from_slice(format!(r#"{{"kind":"{}","id":{id},"row":{{"#, kind.name()).as_bytes());
                for (index, key) in keys.iter().enumerate() {
                    if index > 0 {
                        line.push(b',');
                    }
                    line.extend_from_slice(key.as_bytes());
                    line.push(b':');
                    field::write(line, row.get_ref(index + 1)?);
                }
                line.push(b'}');
                write_copy(line, copies.get(&id).copied().unwrap_or(0));
                line.push(b'}');
                self.end_line(kind)?;
            }
            Ok(())
        })();
        self.main = main;
        written
    }

    fn owner(&self, session_id: i64, claude_session_id: &str) -> Result<Owner> {
        let upto = match self.acknowledges {
            false => 0,
            true => self
                .main
                .prepare_cached("SELECT upto FROM native_ack WHERE session_id = ?1")?
                .query_row([session_id], |row| row.get(0))
                .optional()?
                .unwrap_or(0),
        };
        let session = "SELECT id, project, claude_session_id FROM sdk_sessions WHERE";
        let found = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
        // What came while `claude-mem.db` was closed may name nobody and goes by its number, which is nothing elsewhere.
        let row: Option<(i64, String, String)> = if claude_session_id.is_empty() {
            self.main.prepare_cached(&format!("{session} id = ?1"))?.query_row([session_id], found)
        } else {
            self.main
                .prepare_cached(&format!("{session} claude_session_id = ?1"))?
                .query_row([claude_session_id], found)
        }
        .optional()?;
        let wanted = self.options.project.is_none()
            || row.as_ref().map(|(_, project, _)| project) == self.options.project.as_ref();
        let (session_id, name) = row.map_or_else(|| (0, claude_session_id.to_owned()), |(id, _, name)| (id, name));
        Ok(Owner { session_id, name, upto, wanted })
    }

    /// What waits, in the order in which it will be delivered.
    fn messages(&mut self) -> Result<()> {
        let sql = "SELECT m.id, m.session_id, m.claude_session_id, m.enqueued_at_epoch, m.payload,
                     json_object('type', m.type, 'prompt_number', m.prompt_number,
                       'ends_batch', m.ends_batch, 'enqueued_at_epoch', m.enqueued_at_epoch,
                       'attempts', coalesce(a.count, 0), 'error', a.error)
                   FROM messages AS m LEFT JOIN attempts AS a ON a.message_id = m.id ORDER BY m.session_id, m.id";
        let (mut session, mut counted, mut owner, mut counts) = (None, None, None, Counts::default());
        self.queued(sql, Kind::Message, |exporter, row| {
            let (id, session_id, name): (i64, i64, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
            let known = Some((session_id, name));
            if session != known {
                let found = exporter.owner(session_id, known.as_ref().map_or("", |(_, name)| name))?;
                // With and without a name, they are equals in one session.
                let whose = Some((session_id, found.name.clone()));
                if counted != whose {
                    counts = Counts::default();
                    counted = whose;
                }
                owner = Some(found);
                session = known;
            }
            let Some(owner) = owner.as_ref().filter(|owner| owner.wanted && id > owner.upto) else { return Ok(None) };
            let print = Fingerprint::of_message(&owner.name, row.get(3)?, text(row, 4)?);
            Ok(Some(Look { session_id: owner.session_id, name: owner.name.clone(), print, copy: counts.next(print) }))
        })
    }

    fn dead_letters(&mut self) -> Result<()> {
        let sql = "SELECT id, session_id, claude_session_id, enqueued_at_epoch, payload,
                     json_object('type', type, 'prompt_number', prompt_number,
                       'ends_batch', ends_batch, 'enqueued_at_epoch', enqueued_at_epoch,
                       'dead_at_epoch', dead_at_epoch, 'attempts', attempts, 'reason', reason, 'error', error),
                     dead_at_epoch
                   FROM dead_letters ORDER BY id";
        let mut counts = Counts::default();
        self.queued(sql, Kind::DeadLetter, |exporter, row| {
            let Owner { session_id, name, wanted, .. } = exporter.owner(row.get(1)?, &row.get::<_, String>(2)?)?;
            if !wanted {
                return Ok(None);
            }
            let print = Fingerprint::of_dead_letter(&name, row.get(3)?, row.get(6)?, text(row, 4)?);
            Ok(Some(Look { session_id, name, print, copy: counts.next(print) }))
        })
    }

    /// Writes rows of `queue.db` whose column 4 is the text and 5 the line's `row` but for the name; `look` says whose
    /// one is, or none where it is left out.
    fn queued(
        &mut self,
        sql: &str,
        kind: Kind,
        mut look: impl FnMut(&Self, &Row<'_>) -> Result<Option<Look>>,
    ) -> Result<()> {
        // As in `rows`.
        let queue = std::mem::replace(&mut self.queue, Connection::open_in_memory()?.into());
        let written = (|| {
            let mut remembered: Vec<(i64, Identity)> = Vec::new();
            let mut statement = queue.prepare(sql)?;
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                let Some(Look { session_id, name, print, copy }) = look(self, row)? else { continue };
                let line = &mut self.out.line;
                line.extend_from_slice(
                    format!(r#"{{"kind":"{}","row":{{"claude_session_id":"#, kind.name()).as_bytes(),
                );
                field::write(line, rusqlite::types::ValueRef::Text(name.as_bytes()));
                line.push(b',');
                line.extend_from_slice(text(row, 5)?.get(1..).unwrap_or_default());
                write_payload(line, text(row, 4)?);
                write_copy(line, copy);
                line.push(b'}');
                self.end_line(kind)?;
                remembered.push((session_id, print.identity(copy)));
                if remembered.len() == REMEMBERED {
                    self.remember(&mut remembered)?;
                }
            }
            self.remember(&mut remembered)
        })();
        self.queue = queue;
        written
    }

    /// What was given away is known when it comes back, also after it was delivered here.
    fn remember(&self, list: &mut Vec<(i64, Identity)>) -> Result<()> {
        // Whoever opened it only to read wants nothing written.
        if list.is_empty() || self.memory.settings().read_only {
            list.clear();
            return Ok(());
        }
        let (list, deadline) = (std::mem::take(list), self.memory.deadline(Some(self.options.wait)));
        let queue = self.memory.queues()?;
        reply::wait(|reply| queue.remember_identities(list, deadline, reply))
    }
}

/// The bytes of a text column.
fn text<'r>(row: &'r Row<'_>, column: usize) -> Result<&'r [u8]> {
    Ok(row.get_ref(column)?.as_bytes().unwrap_or_default())
}

fn write_copy(line: &mut Vec<u8>, copy: u32) {
    if copy > 0 {
        line.extend_from_slice(format!(r#","copy":{copy}"#).as_bytes());
    }
}

/// The text as it is where it is JSON on one line; else as a string.
fn write_payload(line: &mut Vec<u8>, payload: &[u8]) {
    let whole = std::str::from_utf8(payload).ok().filter(|text| {
        // A parser passes over blanks around a value.
        text.starts_with('{')
            && text.ends_with('}')
            && !text.contains(['\n', '\r'])
            && serde_json::from_str::<&RawValue>(text).is_ok()
    });
    if let Some(text) = whole {
        line.extend_from_slice(b",\"payload\":");
        line.extend_from_slice(text.as_bytes());
    } else {
        line.extend_from_slice(b",\"payload_text\":");
        let text = String::from_utf8_lossy(payload);
        field::write(line, rusqlite::types::ValueRef::Text(text.as_bytes()));
    }
}
