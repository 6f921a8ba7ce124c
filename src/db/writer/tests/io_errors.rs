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

/// Whatever write or fsync of a COMMIT fails, its second run sees nothing of the first, and nor does another
/// connection: a command that counts, deletes or imports needs not know that it has run before. SQLite writes the
/// header of the log's index last, once nothing can fail any more, and takes everything from it for as long as a
/// connection is open; only after the death of all of them is the log itself read.
#[test]
fn a_second_run_sees_nothing_of_the_first() {
    let bench = Bench::new();
    let log = log(&bench);
    let other = Connection::open(bench.folder.path().join("t.db")).unwrap();
    let count = |db: &Connection, name: &str| {
        db.query_row("SELECT count(*) FROM rows WHERE name LIKE ?1 || '%'", [name], |row| row.get::<_, i64>(0))
    };
    for passing in 0.. {
        let name = format!("{passing}-");
        let (tell, runs) = crossbeam_channel::unbounded();
        let (mine, looks) = (name.clone(), Connection::open(bench.folder.path().join("t.db")).unwrap());
        log.fail_one_behind(passing);
        let stored = wait(|reply| {
            let run = move |db: &Connection| {
                tell.send((count(db, &mine)?, count(&looks, &mine)?)).unwrap();
                // Several pages.
                for row in 0..3 {
                    db.execute("INSERT INTO rows(name) VALUES (?1 || ?2 || hex(zeroblob(4000)))", (&mine, row))?;
                }
                Ok(())
            };
            bench.writer.submit(Call::new("test", Instant::now() + SOON, run, reply).durability(Durability::Full));
        });
        stored.unwrap();
        let met = log.end_countdown();
        let runs: Vec<_> = runs.try_iter().collect();
        assert_eq!(runs, vec![(0, 0); if met { 2 } else { 1 }], "behind {passing} writes and fsyncs");
        assert_eq!(count(&other, &name).unwrap(), 3);
        if !met {
            assert!(passing > 8, "a COMMIT writes more than {passing} times");
            break;
        }
    }
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
