//! Looks at private copies of the files, each made from one read snapshot: comparing a full-text table with its
//! content takes SQLite's write lock, and would keep hooks waiting for as long as it takes.

use std::{fs, path::Path, time::Instant};

use rusqlite::Connection;

use super::{Finding, Report};
use crate::{
    backup::{copy::snapshot, files::FILES},
    clock,
    db::{
        connection::create_private,
        layout::Layout,
        schema::{
            shape::Shape,
            tables::TABLES,
            text_index::{Defects, matches_content, searchable},
        },
    },
    error::{Code, Error, Result},
    index::collections::{self, damage::Damage},
    job::Control,
    memory::Memory,
    parts::Part,
    queue::Audit,
    settings::Role,
};

/// Lines and ids of one finding at most.
const SHOWN: usize = 20;
/// What the directories with the copies are called, in `native/`.
const PREFIX: &str = "check-";

/// The columns that hold JSON arrays.
const JSON: [(&str, &[&str]); 2] = [
    ("observations", &["facts", "concepts", "files_read", "files_modified"]),
    ("session_summaries", &["files_read", "files_edited"]),
];
/// The tables of `queue.db`.
const QUEUE_TABLES: [&str; 10] = [
    "sessions",
    "known_messages",
    "messages",
    "leases",
    "attempts",
    "backoffs",
    "pauses",
    "dedupe_keys",
    "dead_letters",
    "meta",
];

const RESTORE: &str = "restore a backup: restore(folder, dataDir, { overwrite: true })";
const REPAIR: &str = "call memory.repair()";
const REOPEN: &str = "dispose this memory and open it again: what is missing is made then";

/// Checks all files of `memory`. Writers are not blocked; the copies need as much free space as the largest file. A
/// client does the same, with the copies in the system's temporary directory; the counters in the owner's memory it
/// cannot see.
///
/// # Errors
/// `ERR_DISK_FULL`, `ERR_IO`, `ERR_DISPOSED`. Damage is a finding, not an error.
pub fn run(memory: &Memory, control: &Control<'_, ()>) -> Result<Report> {
    let (since, checked_at_epoch) = (Instant::now(), clock::now_epoch());
    let layout = Layout::new(memory.settings().data_dir.clone());
    let owns = memory.settings().role == Role::Owner;
    let mut findings = Vec::new();
    for file in FILES.iter().filter(|file| memory.settings().parts.has(file.part)) {
        control.check()?;
        let path = (file.path)(&layout);
        // One is made with the first collection; a client may come before any of them is.
        if (file.part == Part::Vectors || !owns) && !path.try_exists()? {
            continue;
        }
        let shown = path.display().to_string();
        match on_copy(owns.then_some(&layout), &path, control, |db| {
            let mut found = Checked { db, file: &shown, findings: &mut findings };
            found.pages()?;
            match file.name {
                "queue.db" => found.has_tables(&QUEUE_TABLES).map(drop),
                "collections.db" => found.collections(),
                _ => found.shared_tables(),
            }
        }) {
            Err(error) if error.code == Code::Corrupt => {
                findings.push(finding("damaged", "error", &shown, error.message, RESTORE))
            }
            Err(error) if error.code == Code::Io && !path.exists() => {
                findings.push(finding("missing-file", "error", &shown, "the file is not there".into(), RESTORE));
            }
            other => other?,
        }
    }
    if owns && memory.settings().parts.has(Part::Queue) {
        queue(memory, &layout.queue().display().to_string(), &mut findings)?;
    }
    let ok = findings.iter().all(|finding| finding.severity != "error");
    let took_ms = u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX);
    Ok(Report { ok, checked_at_epoch, took_ms, findings })
}

fn finding(kind: &'static str, severity: &'static str, file: &str, message: String, remedy: &'static str) -> Finding {
    Finding { kind, severity, file: file.to_owned(), table: None, message, count: None, ids: Vec::new(), remedy }
}

/// In the data directory of an owner; beside one, in the system's temporary directory.
fn on_copy(
    own: Option<&Layout>,
    path: &Path,
    control: &Control<'_, ()>,
    look: impl FnOnce(&Connection) -> Result<()>,
) -> Result<()> {
    let directory = match own {
        Some(layout) => {
            // Those of a process that was killed; the owner alone comes here, once at a time.
            for entry in fs::read_dir(layout.native())?.flatten() {
                if entry.file_name().to_string_lossy().starts_with(PREFIX) {
                    drop(fs::remove_dir_all(entry.path()));
                }
            }
            tempfile::Builder::new().prefix(PREFIX).tempdir_in(layout.native())?
        }
        None => tempfile::Builder::new().prefix("claude-mem-native-check-").tempdir()?,
    };
    let to = directory.path().join("copy.db");
    create_private(&to)?;
    let db = snapshot(path, &to, || control.check(), |_, _| {})?;
    db.execute_batch("PRAGMA journal_mode=MEMORY")?;
    control.interruptibly(&db, look)
}

struct Checked<'a> {
    db: &'a Connection,
    file: &'a str,
    findings: &'a mut Vec<Finding>,
}

impl Checked<'_> {
    fn add(
        &mut self,
        kind: &'static str,
        severity: &'static str,
        table: Option<&str>,
        message: String,
        remedy: &'static str,
    ) -> &mut Finding {
        self.findings
            .push(Finding { table: table.map(str::to_owned), ..finding(kind, severity, self.file, message, remedy) });
        let last = self.findings.len() - 1;
        &mut self.findings[last]
    }

    fn pages(&mut self) -> Result<()> {
        let mut lines: Vec<String> = self
            .db
            .prepare("PRAGMA integrity_check(100)")?
            .query_map([], |row| row.get(0))?
            .collect::<rusqlite::Result<_>>()?;
        // Full-text tables have a finding of their own, with another remedy.
        lines.retain(|line| line != "ok" && !line.contains("FTS5"));
        if !lines.is_empty() {
            let more = lines.len().saturating_sub(SHOWN);
            lines.truncate(SHOWN);
            let more = if more > 0 { format!("; and {more} more") } else { String::new() };
            self.add("damaged", "error", None, format!("integrity_check: {}{more}", lines.join("; ")), RESTORE);
        }
        let mut orphans = std::collections::BTreeMap::<(String, String), (i64, Vec<i64>)>::new();
        let mut check = self.db.prepare("PRAGMA foreign_key_check")?;
        let mut rows = check.query([])?;
        while let Some(row) = rows.next()? {
            let entry = orphans.entry((row.get(0)?, row.get(2)?)).or_default();
            entry.0 += 1;
            if let Some(id) = row.get::<_, Option<i64>>(1)?.filter(|_| entry.1.len() < SHOWN) {
                entry.1.push(id);
            }
        }
        for ((table, parent), (count, ids)) in orphans {
            let message = format!("{count} rows of {table} refer to rows of {parent} that are not there");
            let found =
                self.add("orphans", "warning", Some(&table), message, "delete them, or restore what they refer to");
            (found.count, found.ids) = (Some(count), ids);
        }
        Ok(())
    }

    /// Answers whether all are there.
    fn has_tables(&mut self, tables: &[&str]) -> Result<bool> {
        let mut all = true;
        for &table in tables {
            let there: bool = self.db.query_row(
                "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = ?",
                [table],
                |row| row.get(0),
            )?;
            if !there {
                all = false;
                self.add("missing-table", "error", Some(table), format!("there is no table {table}"), RESTORE);
            }
        }
        Ok(all)
    }

    fn collections(&mut self) -> Result<()> {
        if !self.has_tables(&collections::format::TABLES)? {
            return Ok(());
        }
        for damage in collections::damage::find(self.db)? {
            let Damage { kind, table, message, count, keys, derived } = damage;
            let remedy = if derived { REPAIR } else { RESTORE };
            let found = self.add(kind, "error", Some(table), message, remedy);
            (found.count, found.ids) = (Some(count), keys);
        }
        Ok(())
    }

    fn shared_tables(&mut self) -> Result<()> {
        let shape = Shape::read(self.db)?;
        for table in TABLES {
            if !shape.has("table", table.name) {
                self.add(
                    "missing-table",
                    "error",
                    Some(table.name),
                    format!("there is no table {}", table.name),
                    RESTORE,
                );
            }
            for (index, _) in table.indexes {
                if shape.object(index).is_none() {
                    self.add(
                        "missing-index",
                        "warning",
                        Some(table.name),
                        format!("there is no index {index}"),
                        REOPEN,
                    );
                }
            }
        }
        for table in searchable().filter(|table| shape.has("table", table.name)) {
            let defects = Defects::of(table, &shape);
            let index = table.full_text();
            if defects.table {
                self.add(
                    "missing-text-index",
                    "error",
                    Some(&index),
                    format!("{index} is missing or lacks a column"),
                    REPAIR,
                );
            } else if !matches_content(self.db, table)? {
                let message = format!("{index} does not say what the rows of {} say", table.name);
                self.add("text-index-differs", "error", Some(&index), message, REPAIR);
            }
            for (names, what) in [(&defects.missing, "is missing"), (&defects.wrong, "is not that of 6.0.2")] {
                for name in names {
                    self.add(
                        "trigger",
                        "error",
                        Some(name),
                        format!("trigger {name} {what}: searches miss changes"),
                        REPAIR,
                    );
                }
            }
        }
        for (table, columns) in JSON {
            for column in columns.iter().filter(|column| shape.has_column(table, column)) {
                self.json(table, column)?;
            }
        }
        Ok(())
    }

    /// Text that is no JSON is legal: claude-mem's own readers take it as it is.
    fn json(&mut self, table: &str, column: &str) -> Result<()> {
        let is_not = format!("{column} IS NOT NULL AND {column} <> '' AND NOT json_valid({column})");
        let count: i64 =
            self.db.query_row(&format!("SELECT count(*) FROM {table} WHERE {is_not}"), [], |row| row.get(0))?;
        if count > 0 {
            let ids = self
                .db
                .prepare(&format!("SELECT id FROM {table} WHERE {is_not} ORDER BY id LIMIT {SHOWN}"))?
                .query_map([], |row| row.get(0))?
                .collect::<rusqlite::Result<_>>()?;
            let message = format!("{column} of {count} rows of {table} is text that is no JSON");
            let found = self.add("not-json", "info", Some(table), message, "nothing: such text is shown as it is");
            (found.count, found.ids) = (Some(count), ids);
        }
        Ok(())
    }
}

/// The queue's figures, and its rows against each other.
fn queue(memory: &Memory, file: &str, findings: &mut Vec<Finding>) -> Result<()> {
    match memory.queue().and_then(|queue| queue.audit(false)) {
        Ok(None) => findings.push(finding(
            "busy",
            "info",
            file,
            "the queue was never quiet: its counters were not compared".into(),
            "check again later",
        )),
        Ok(Some(audit)) => audited(&audit, file, findings),
        // What is wrong with the file itself was found above.
        Err(Error { code: Code::Corrupt | Code::Io, .. }) => {}
        Err(error) => return Err(error),
    }
    Ok(())
}

fn audited(audit: &Audit, file: &str, findings: &mut Vec<Finding>) {
    findings.extend(audit.counters.iter().take(SHOWN).map(|difference| {
        let message = format!(
            "session {} counts {} messages ({} bytes), and has {} ({} bytes)",
            difference.session_db_id,
            difference.counted.0,
            difference.counted.1,
            difference.stored.0,
            difference.stored.1
        );
        Finding { ids: vec![difference.session_db_id], ..finding("queue-counters", "error", file, message, REPAIR) }
    }));
    if let Some((counted, stored)) = audit.dead_letters {
        let message = format!("health counts {counted} dead letters, and there are {stored}");
        let table = Some("dead_letters".to_owned());
        findings.push(Finding { table, ..finding("dead-letter-counter", "error", file, message, REPAIR) });
    }
    for (kind, table, ids, what) in [
        ("stray-leases", "leases", &audit.leases, "leases are held by nobody: the next open would count an attempt"),
        ("stray-attempts", "attempts", &audit.attempts, "counts of attempts are of messages that are not there"),
    ] {
        if !ids.is_empty() {
            findings.push(Finding {
                table: Some(table.to_owned()),
                count: i64::try_from(ids.len()).ok(),
                ids: ids.iter().take(SHOWN).copied().collect(),
                ..finding(kind, "warning", file, format!("{} {what}", ids.len()), REPAIR)
            });
        }
    }
}
