//! I/O errors that SQLite meets while it writes the log: see `fault::disk`.

use super::*;
use crate::fault::disk;

/// A page cache so small that a large command writes to the log before its COMMIT.
const SMALL_CACHE: &str = "PRAGMA cache_size = 4; PRAGMA cache_spill = 4";

fn log(bench: &Bench) -> Arc<disk::Log> {
    disk::log(&bench.folder.path().join("t.db")).expect("the writer's log is watched")
}

#[test]
fn an_io_error_in_the_middle_of_a_group_is_its_commands_alone() {
    let bench = Bench::with(8 << 20, SMALL_CACHE, None);
    let log = log(&bench);
    answer(&bench.insert("before")).unwrap();
    let lock = bench.lock();
    let first = bench.insert("first");
    let spills = bench.submit(move |db| {
        log.fail_writes(-1);
        let spilled = db.execute("INSERT INTO rows(name) VALUES (hex(zeroblob(400000)))", []);
        log.fail_writes(0);
        spilled?;
        Ok(())
    });
    let last = bench.insert("last");
    lock.release();
    let error = answer(&spills).unwrap_err();
    assert_eq!(error.code, Code::Io, "{error:?}");
    assert!(error.details.iter().any(|(name, _)| *name == "sqliteCode"));
    answer(&first).unwrap();
    answer(&last).unwrap();
    assert_eq!(bench.names(), ["before", "first", "last"]);
    bench.close();
}

#[test]
fn an_io_error_at_commit_is_nobodys_and_every_command_is_stored_once() {
    let bench = Bench::new();
    let log = log(&bench);
    let lock = bench.lock();
    let waiting: Vec<_> = ["a", "b", "c"].map(|name| bench.insert(name)).into();
    // Broken is only the group's own COMMIT.
    log.fail_writes(1);
    lock.release();
    for one in &waiting {
        answer(one).unwrap();
    }
    assert_eq!(bench.names(), ["a", "b", "c"]);
    assert_eq!(bench.commits(), 3, "each in a transaction of its own");
    // And of a command that is alone.
    log.fail_writes(1);
    answer(&bench.insert("d")).unwrap();
    assert_eq!(bench.names(), ["a", "b", "c", "d"]);
    bench.close();
}

#[test]
fn a_disk_that_stays_broken_tells_everybody_and_stores_nothing() {
    let bench = Bench::new();
    let log = log(&bench);
    let lock = bench.lock();
    let waiting: Vec<_> = ["a", "b", "c"].map(|name| bench.insert(name)).into();
    log.fail_writes(-1);
    lock.release();
    for one in &waiting {
        assert_eq!(code(one), Code::Io);
    }
    assert_eq!(code(&bench.insert("d")), Code::Io);
    assert_eq!(bench.names(), [""; 0]);
    log.fail_writes(0);
    answer(&bench.insert("e")).unwrap();
    assert_eq!(bench.names(), ["e"]);
    assert!(!bench.writer.has_failed());
    assert_eq!(bench.budget.used(), 0);
    bench.close();
}

#[test]
fn fsyncs_are_those_of_the_most_careful_command() {
    let bench = Bench::new();
    let log = log(&bench);
    let synced = |durability| {
        let before = log.syncs();
        wait(|reply| {
            let deadline = Instant::now() + SOON;
            let store = |db: &Connection| Ok(db.execute("INSERT INTO rows DEFAULT VALUES", [])?);
            bench.writer.submit(Call::new("test", deadline, store, reply).durability(durability));
        })
        .unwrap();
        log.syncs() - before
    };
    // The first transaction also writes the log's header.
    synced(Durability::Full);
    assert_eq!(synced(Durability::Normal), 0);
    assert_eq!(synced(Durability::Full), 1);
    assert_eq!(synced(Durability::Normal), 0);
    bench.close();
}
