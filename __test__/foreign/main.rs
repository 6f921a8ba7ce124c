//! A process that uses a database as claude-mem's hooks do, with a SQLite of its own and nothing of the engine.
//!
//! `<command> <database> [sql]`; what it finds goes to standard output as JSON, one value a line. Commands that
//! last go on until standard input is closed.

use std::{
    error::Error,
    io::{Read, Write, stdin, stdout},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use rusqlite::{Connection, TransactionBehavior, types::ValueRef};
use serde_json::{Map, Value, json};

/// What the hooks wait for a lock.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

type Outcome = Result<(), Box<dyn Error>>;

fn main() -> Outcome {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    match *arguments.as_slice() {
        ["execute", database, sql] => Ok(Connection::open(database)?.execute_batch(sql)?),
        ["query", database, sql] => query(database, sql),
        ["abandon", database, sql] => abandon(database, sql),
        ["hold", database] => hold(database),
        ["pin", database] => pin(database),
        ["write", database] => write(database),
        _ => Err("usage: execute|query|abandon <database> <sql>, hold|pin|write <database>".into()),
    }
}

/// Prints the rows as one array of objects.
fn query(database: &str, sql: &str) -> Outcome {
    let db = Connection::open(database)?;
    db.busy_timeout(BUSY_TIMEOUT)?;
    let mut statement = db.prepare(sql)?;
    let names: Vec<String> = statement.column_names().map(str::to_owned).collect();
    let rows = statement.query_map([], |row| {
        let cells = names.iter().enumerate().map(|(place, name)| Ok((name.clone(), value(row.get_ref(place)?))));
        cells.collect::<rusqlite::Result<Map<String, Value>>>()
    })?;
    print(&json!(rows.collect::<rusqlite::Result<Vec<_>>>()?))
}

fn value(cell: ValueRef<'_>) -> Value {
    match cell {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(integer) => json!(integer),
        ValueRef::Real(real) => json!(real),
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => json!(String::from_utf8_lossy(bytes)),
    }
}

/// Commits to the log and dies, with nothing moved into the file.
fn abandon(database: &str, sql: &str) -> Outcome {
    let db = Connection::open(database)?;
    db.execute_batch("PRAGMA journal_mode=WAL; PRAGMA wal_autocheckpoint=0")?;
    db.execute_batch(sql)?;
    print(&json!("abandoned"))?;
    std::process::abort()
}

/// Holds the write lock.
fn hold(database: &str) -> Outcome {
    let mut db = Connection::open(database)?;
    db.busy_timeout(BUSY_TIMEOUT)?;
    let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    print(&json!("held"))?;
    stdin().read_to_end(&mut Vec::new())?;
    Ok(transaction.rollback()?)
}

/// Reads the state of now for as long as it lives.
fn pin(database: &str) -> Outcome {
    let db = Connection::open(database)?;
    db.busy_timeout(BUSY_TIMEOUT)?;
    db.execute_batch("BEGIN; SELECT count(*) FROM sqlite_schema")?;
    print(&json!("pinned"))?;
    stdin().read_to_end(&mut Vec::new())?;
    Ok(db.execute_batch("COMMIT")?)
}

/// Writes as fast as it can, with a connection a write as hooks have; prints a line for the first write, and at
/// the end what became of all of them.
fn write(database: &str) -> Outcome {
    let stop = Arc::new(AtomicBool::new(false));
    let asked = Arc::clone(&stop);
    std::thread::spawn(move || {
        // However the reading ends, nobody wants more.
        drop(stdin().read_to_end(&mut Vec::new()));
        asked.store(true, Ordering::Relaxed);
    });
    let (mut written, mut errors, mut slowest) = (0_u64, Vec::new(), Duration::ZERO);
    let process = std::process::id();
    while !stop.load(Ordering::Relaxed) {
        let since = Instant::now();
        match write_as_a_hook(database, &format!("foreign-{process}-{written}")) {
            Ok(()) => written += 1,
            Err(error) => errors.push(error.to_string()),
        }
        slowest = slowest.max(since.elapsed());
        if written == 1 {
            print(&json!("writing"))?;
        }
    }
    print(&json!({ "written": written, "errors": errors, "slowestMs": slowest.as_secs_f64() * 1000.0 }))
}

fn write_as_a_hook(database: &str, session: &str) -> rusqlite::Result<()> {
    let mut db = Connection::open(database)?;
    db.busy_timeout(BUSY_TIMEOUT)?;
    db.execute_batch("PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA foreign_keys=ON")?;
    let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    transaction.execute(
        "INSERT INTO sdk_sessions(claude_session_id, sdk_session_id, project, started_at, started_at_epoch)
         VALUES (?1, ?1, 'foreign', '2026-01-01T00:00:00.000Z', 1767225600000)",
        [session],
    )?;
    transaction.execute(
        "INSERT INTO user_prompts(claude_session_id, prompt_number, prompt_text, created_at, created_at_epoch)
         VALUES (?1, 1, 'written by another process', '2026-01-01T00:00:00.000Z', 1767225600000)",
        [session],
    )?;
    transaction.commit()
}

fn print(value: &Value) -> Outcome {
    let mut out = stdout().lock();
    writeln!(out, "{value}")?;
    Ok(out.flush()?)
}
