//! Reading a file into a memory: each row and message once, however often it is read.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    fs::File,
    io::BufReader,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use crossbeam_channel::Receiver;
use rusqlite::{Connection, OptionalExtension};
use serde_json::value::RawValue;

use super::{
    FORMAT, Kind, Progress, VERSION,
    copies::Counts,
    field::{self, Field},
    fingerprint::Fingerprint,
    lines::Lines,
    rows::{self, Columns, Renamed, Row, Stored},
};
use crate::{
    clock,
    db::{
        Database, Steps,
        connection::{naming, open_reader},
        layout::Layout,
    },
    error::{Code, Error, Result},
    fault,
    job::Control,
    memory::Memory,
    queue::{Arrival, Arrived},
    reply::Reply,
};

/// Rows that are gathered before they are stored, in so many steps as they take.
const ROWS: usize = 256;
/// Their bytes in the file.
const ROW_BYTES: usize = 1 << 20;
/// Messages on their way to the queue.
const MESSAGES: usize = 32;
/// Their bytes.
const MESSAGE_BYTES: usize = 1 << 20;

/// How a file is read.
#[derive(Debug, Clone)]
pub struct ImportOptions {
    /// The longest line that is read into memory, bytes.
    pub max_line_bytes: usize,
    /// How long each step waits for a lock.
    pub wait: Duration,
}

/// What became of the rows of a kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// New here.
    pub imported: u64,
    /// Here already.
    pub existing: u64,
}

/// What became of messages or dead letters.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Arrivals {
    /// New here.
    pub imported: u64,
    /// They wait here, or this memory has taken or given them away before.
    pub duplicate: u64,
    /// Dead letters beyond the bounds on their number or age.
    pub skipped: u64,
}

/// What an import did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Imported {
    /// Lines read, header and footer included.
    pub lines: u64,
    /// Sessions.
    pub sessions: Tally,
    /// Observations.
    pub observations: Tally,
    /// Summaries.
    pub summaries: Tally,
    /// Prompts.
    pub prompts: Tally,
    /// Waiting messages.
    pub messages: Arrivals,
    /// Dead letters; also messages whose session is nowhere.
    pub dead_letters: Arrivals,
    /// Columns of the file that this memory does not have, as `table.column`: their values were left out.
    pub ignored_columns: Vec<String>,
}

/// Reads the file at `path` into the memory. Where it fails, what came before the line that it names is imported;
/// reading the file again goes on from there, as nothing is imported twice.
///
/// # Errors
/// `ERR_INVALID_ARG` naming the line for what is no such file, no such line, or one beyond the limit;
/// `ERR_SCHEMA_UNSUPPORTED` for a file of a later version; `ERR_CORRUPT` for one that was cut off or lost lines;
/// `ERR_CONSTRAINT` for a row that the schema refuses; `ERR_QUEUE_FULL`, `ERR_BUSY`, `ERR_IO`, `ERR_DISK_FULL`,
/// `ERR_DISPOSED`.
pub fn import(
    memory: &Memory,
    path: &Path,
    options: &ImportOptions,
    control: &Control<'_, Progress>,
) -> Result<Imported> {
    memory.whole("importFrom()")?;
    let layout = Layout::new(memory.settings().data_dir.clone());
    let (source, total) = naming(path, || {
        let file = File::open(path)?;
        let total = file.metadata()?.len();
        Ok((BufReader::with_capacity(256 << 10, file), total))
    })?;
    let main = open_reader(&layout.database())?;
    let mut columns = BTreeMap::new();
    for kind in Kind::ALL {
        if let Some(table) = kind.table() {
            columns.insert(table, Columns::read(&main, table)?);
        }
    }
    let mut importer = Importer {
        memory,
        options,
        steps: Steps::new(memory.writer()?, "import-rows", options.wait),
        main,
        queue: open_reader(&layout.queue())?,
        columns,
        renamed: Arc::default(),
        rows: Vec::new(),
        row_bytes: 0,
        on_the_way: VecDeque::new(),
        bytes_on_the_way: 0,
        waiting: None,
        report: Imported::default(),
        ignored: BTreeSet::new(),
        counts: BTreeMap::new(),
    };
    naming(path, || importer.read(&mut Lines::new(source, options.max_line_bytes), total, control))?;
    importer.report.ignored_columns = importer.ignored.into_iter().collect();
    Ok(importer.report)
}

struct Importer<'a> {
    memory: &'a Memory,
    options: &'a ImportOptions,
    steps: Steps<'a>,
    main: Database,
    queue: Database,
    columns: BTreeMap<&'static str, Columns>,
    renamed: Arc<Mutex<Renamed>>,
    rows: Vec<Row>,
    row_bytes: usize,
    on_the_way: VecDeque<OnTheWay>,
    bytes_on_the_way: usize,
    waiting: Option<Waiting>,
    report: Imported,
    ignored: BTreeSet<String>,
    /// Lines of each kind so far, for the footer.
    counts: BTreeMap<&'static str, u64>,
}

struct OnTheWay {
    line: u64,
    bytes: usize,
    dead: bool,
    answer: Receiver<Result<Arrived>>,
}

/// A session's messages that waited when its first line came.
struct Waiting {
    claude_session_id: String,
    session_id: Option<i64>,
    counts: Counts,
}

/// A line's fields.
type Line<'l> = BTreeMap<&'l str, &'l RawValue>;

/// What a step of rows did, and how it ended.
struct Step {
    stored: Vec<Stored>,
    failed: Option<Error>,
}

impl Importer<'_> {
    fn read(
        &mut self,
        lines: &mut Lines<impl std::io::BufRead>,
        total: u64,
        control: &Control<'_, Progress>,
    ) -> Result<()> {
        let outcome = self.read_lines(lines, total, control);
        // What has come before a line that fails is stored; its own failure would come first.
        let stored = self.flush_rows().and_then(|()| self.await_messages(0));
        stored.and(outcome)
    }

    fn read_lines(
        &mut self,
        lines: &mut Lines<impl std::io::BufRead>,
        total: u64,
        control: &Control<'_, Progress>,
    ) -> Result<()> {
        let (mut begun, mut footer) = (false, None);
        loop {
            if let Err(error) = control.check() {
                return Err(Error::new(
                    error.code,
                    format!("the import was disposed at line {}; what came before it is imported", lines.number + 1),
                ));
            }
            let before = lines.bytes;
            if lines.next()?.is_none() {
                break;
            }
            let (number, size) = (lines.number, usize::try_from(lines.bytes - before).unwrap_or(usize::MAX));
            let (ended, bytes) = (lines.ended, lines.line());
            if bytes.iter().all(u8::is_ascii_whitespace) {
                continue;
            }
            let text = std::str::from_utf8(bytes).map_err(|_| wrong(number, "is not UTF-8"))?;
            let fields: Line<'_> = serde_json::from_str(text).map_err(|error| {
                if ended {
                    wrong(number, &format!("is not the JSON text of an object: {error}"))
                } else {
                    cut_off(number, "ends in the middle of it")
                }
            })?;
            let kind = string(&fields, "kind").ok_or_else(|| wrong(number, "has no kind"))?;
            if footer.is_some() {
                return Err(wrong(number, "comes after the footer"));
            }
            match (&*kind, Kind::named(&kind)) {
                ("header", _) if !begun => check_header(&fields, number)?,
                (_, _) if !begun => {
                    return Err(wrong(number, &format!("is no header of {FORMAT}: this file is no export")));
                }
                ("footer", _) => footer = Some(self.check_footer(&fields, number)),
                (_, Some(kind)) => {
                    *self.counts.entry(kind.name()).or_default() += 1;
                    self.take(kind, &fields, number, size).map_err(|error| at(number, error))?;
                }
                (other, None) => return Err(wrong(number, &format!("has the kind '{other}', which is not known"))),
            }
            begun = true;
            self.report.lines = number;
            control.report(Progress { done: lines.bytes, total: total.max(lines.bytes) });
        }
        match footer {
            Some(checked) => checked,
            None if !begun => Err(cut_off(1, "is empty")),
            None => Err(cut_off(lines.number + 1, "has no footer")),
        }
    }

    /// The footer's counts are of what was read.
    fn check_footer(&self, fields: &Line<'_>, number: u64) -> Result<()> {
        let counts: BTreeMap<String, u64> = fields
            .get("counts")
            .and_then(|counts| serde_json::from_str(counts.get()).ok())
            .ok_or_else(|| wrong(number, "is a footer without counts"))?;
        for kind in Kind::ALL {
            let (said, read) =
                (counts.get(kind.name()).copied().unwrap_or(0), self.counts.get(kind.name()).copied().unwrap_or(0));
            if said != read {
                return Err(cut_off(
                    number,
                    &format!("has {read} lines of the kind '{}', its footer says {said}", kind.name()),
                ));
            }
        }
        Ok(())
    }

    fn take(&mut self, kind: Kind, fields: &Line<'_>, line: u64, size: usize) -> Result<()> {
        let row: BTreeMap<String, &RawValue> = fields
            .get("row")
            .and_then(|row| serde_json::from_str(row.get()).ok())
            .ok_or_else(|| Error::invalid("has no object 'row'"))?;
        let copy = match fields.get("copy") {
            None => 0,
            Some(copy) => serde_json::from_str(copy.get())
                .map_err(|_| Error::invalid("has a 'copy' that is no number of equal rows before it"))?,
        };
        let mut values = BTreeMap::new();
        for (name, value) in row {
            let value = field::parse(value).map_err(|why| Error::invalid(format!("column {name} {why}")))?;
            values.insert(name, value);
        }
        let Some(table) = kind.table() else {
            // Its session must be there.
            self.flush_rows()?;
            return self.message(kind, fields, &values, copy, line);
        };
        if let Some(columns) = self.columns.get(table) {
            values.retain(|name, _| {
                let known = columns.names.contains(name);
                if !known && name != "id" {
                    self.ignored.insert(format!("{table}.{name}"));
                }
                known
            });
        }
        self.row_bytes += size;
        self.rows.push(Row { kind, fields: values, copy, line });
        if self.rows.len() >= ROWS || self.row_bytes >= ROW_BYTES { self.flush_rows() } else { Ok(()) }
    }

    /// Stores what was gathered, in steps.
    fn flush_rows(&mut self) -> Result<()> {
        let rows = Arc::new(std::mem::take(&mut self.rows));
        self.row_bytes = 0;
        let mut next = 0;
        while next < rows.len() {
            let (mine, renamed) = (Arc::clone(&rows), Arc::clone(&self.renamed));
            let step = self.steps.run(move |db, until| store(db, &mine[next..], &renamed, until))?;
            fault::point("importFrom:step");
            for (row, stored) in rows[next..].iter().zip(&step.stored) {
                self.report.sessions.imported += u64::from(stored.made_session);
                let tally = match row.kind {
                    Kind::Session => &mut self.report.sessions,
                    Kind::Observation => &mut self.report.observations,
                    Kind::Summary => &mut self.report.summaries,
                    _ => &mut self.report.prompts,
                };
                *(if stored.imported { &mut tally.imported } else { &mut tally.existing }) += 1;
            }
            next += step.stored.len();
            if let (Some(error), Some(row)) = (step.failed, rows.get(next)) {
                return Err(at(row.line, error));
            }
        }
        Ok(())
    }

    fn message(
        &mut self,
        kind: Kind,
        fields: &Line<'_>,
        row: &BTreeMap<String, Field>,
        copy: u32,
        line: u64,
    ) -> Result<()> {
        let name = required(row, "claude_session_id")?;
        let payload = match (fields.get("payload"), string(fields, "payload_text")) {
            (Some(json), None) => json.get().to_owned(),
            (None, Some(text)) => text,
            _ => return Err(Error::invalid("must have one of 'payload' and 'payload_text'")),
        };
        let enqueued_at_epoch = integer(row, "enqueued_at_epoch")?;
        let died_at = if kind == Kind::DeadLetter { Some(integer(row, "dead_at_epoch")?) } else { None };
        let print = match died_at {
            None => Fingerprint::of_message(&name, enqueued_at_epoch, payload.as_bytes()),
            Some(died) => Fingerprint::of_dead_letter(&name, enqueued_at_epoch, died, payload.as_bytes()),
        };
        let waiting = self.waiting_of(&name)?;
        let session_id = waiting.session_id;
        let waits = kind == Kind::Message && waiting.counts.of(print) > copy;
        let dead = match (died_at, session_id) {
            (Some(died), _) => Some((required(row, "reason")?, died)),
            (None, Some(_)) => None,
            // Nobody can consume it, but it is not lost.
            (None, None) => Some(("session-gone".to_owned(), clock::now_epoch())),
        };
        let arrival = Arrival {
            session_db_id: session_id.unwrap_or(0),
            ends_batch: integer(row, "ends_batch")? != 0,
            attempts: u32::try_from(integer(row, "attempts").unwrap_or(0)).unwrap_or(0),
            error: required(row, "error").ok(),
            identity: print.identity(copy),
            claude_session_id: name,
            payload,
            enqueued_at_epoch,
            dead,
            waits,
        };
        let (bytes, is_dead) = (arrival.payload.len(), arrival.dead.is_some());
        self.await_messages(MESSAGE_BYTES.saturating_sub(bytes))?;
        let (reply, answer) = Reply::channel();
        self.memory.queue()?.import(arrival, Instant::now() + self.options.wait, reply);
        self.bytes_on_the_way += bytes;
        self.on_the_way.push_back(OnTheWay { line, bytes, dead: is_dead, answer });
        Ok(())
    }

    /// Waits until no more than `bytes` of messages are on their way, and few enough of them.
    fn await_messages(&mut self, bytes: usize) -> Result<()> {
        let mut first = Ok(());
        while self.bytes_on_the_way > bytes
            || self.on_the_way.len() >= MESSAGES
            || (bytes == 0 && !self.on_the_way.is_empty())
        {
            let Some(message) = self.on_the_way.pop_front() else { break };
            self.bytes_on_the_way -= message.bytes;
            let arrived =
                message.answer.recv().unwrap_or_else(|_| Err(Error::internal("a message was dropped unanswered")));
            let tally = if message.dead { &mut self.report.dead_letters } else { &mut self.report.messages };
            match arrived {
                Ok(Arrived::Imported) => tally.imported += 1,
                Ok(Arrived::Duplicate) => tally.duplicate += 1,
                Ok(Arrived::Skipped) => tally.skipped += 1,
                Err(error) => first = first.and(Err(at(message.line, error))),
            }
        }
        first
    }

    /// What waits in a session; lines of one session stand together.
    fn waiting_of(&mut self, claude_session_id: &str) -> Result<&Waiting> {
        if self.waiting.as_ref().is_none_or(|known| known.claude_session_id != claude_session_id) {
            let session: Option<(i64, i64)> = self
                .main
                .prepare_cached(
                    "SELECT s.id, coalesce(a.upto, 0) FROM sdk_sessions AS s LEFT JOIN native_ack AS a ON a.session_id = s.id
                     WHERE s.claude_session_id = ?1",
                )?
                .query_row([claude_session_id], |row| Ok((row.get(0)?, row.get(1)?)))
                .optional()?;
            let mut counts = Counts::default();
            if let Some((id, upto)) = session {
                let mut statement = self.queue.prepare_cached(
                    "SELECT enqueued_at_epoch, payload FROM messages WHERE session_id = ?1 AND id > ?2",
                )?;
                let mut rows = statement.query([id, upto])?;
                while let Some(row) = rows.next()? {
                    let payload = row.get_ref(1)?.as_bytes().unwrap_or_default();
                    counts.next(Fingerprint::of_message(claude_session_id, row.get(0)?, payload));
                }
            }
            self.waiting = Some(Waiting {
                claude_session_id: claude_session_id.to_owned(),
                session_id: session.map(|(id, _)| id),
                counts,
            });
        }
        self.waiting.as_ref().ok_or_else(|| Error::internal("a session that was looked up is not there"))
    }
}

/// One step: rows until it is time to stop, one at least. A row that fails ends it; those before it are kept.
fn store(db: &Connection, rows: &[Row], renamed: &Mutex<Renamed>, until: Instant) -> Result<Step> {
    let mut step = Step { stored: Vec::new(), failed: None };
    let mut renamed = renamed.lock().unwrap_or_else(PoisonError::into_inner);
    for row in rows {
        let Some(table) = row.kind.table() else { continue };
        match rows::store(db, table, row, &renamed) {
            Ok(stored) => {
                if let Some((from, to)) = stored.renamed.clone() {
                    renamed.insert(from, to);
                }
                step.stored.push(stored);
            }
            // A full disk may have taken the whole transaction along.
            Err(error) if db.is_autocommit() => return Err(error),
            Err(error) => {
                step.failed = Some(error);
                break;
            }
        }
        if Instant::now() >= until {
            break;
        }
    }
    Ok(step)
}

fn check_header(fields: &Line<'_>, number: u64) -> Result<()> {
    if string(fields, "format").as_deref() != Some(FORMAT) {
        return Err(wrong(number, &format!("is no header of {FORMAT}: this file is no export")));
    }
    let version = fields.get("version").and_then(|version| serde_json::from_str::<i64>(version.get()).ok());
    match version {
        Some(1..=VERSION) => Ok(()),
        Some(later) => Err(Error::new(
            Code::SchemaUnsupported,
            format!(
                "line {number} says that the file has version {later}, this engine knows up to {VERSION}; install a newer \
                 claude-mem-native"
            ),
        )
        .with("line", number)
        .with("format", later)),
        None => Err(wrong(number, "is a header without a version")),
    }
}

fn wrong(line: u64, what: &str) -> Error {
    Error::invalid(format!("line {line} {what}; what came before it is imported")).with("line", line)
}

fn cut_off(line: u64, what: &str) -> Error {
    Error::new(
        Code::Corrupt,
        format!(
            "line {line}: the file {what}: it was cut off or has lost lines; what it has is imported, importing a whole \
             copy goes on from there"
        ),
    )
    .with("line", line)
}

/// The error of a line.
fn at(line: u64, error: Error) -> Error {
    if error.details.iter().any(|(name, _)| *name == "line") {
        return error;
    }
    Error { message: format!("line {line}: {}", error.message), ..error }.with("line", line)
}

fn string(fields: &Line<'_>, name: &str) -> Option<String> {
    fields.get(name).and_then(|value| serde_json::from_str(value.get()).ok())
}

fn required(row: &BTreeMap<String, Field>, name: &str) -> Result<String> {
    match row.get(name) {
        Some(Field::Text(text)) => Ok(String::from_utf8_lossy(text).into_owned()),
        _ => Err(Error::invalid(format!("{name} must be a string"))),
    }
}

fn integer(row: &BTreeMap<String, Field>, name: &str) -> Result<i64> {
    match row.get(name) {
        Some(Field::Integer(value)) => Ok(*value),
        _ => Err(Error::invalid(format!("{name} must be an integer"))),
    }
}
