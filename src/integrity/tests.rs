//! Findings in `queue.db`, without Node.

use rusqlite::Connection;

use super::*;
use crate::{
    queue::{ConsumeOptions, EnqueueOptions},
    reply::wait,
    settings::Settings,
};

fn kinds(report: &Report) -> Vec<&str> {
    report.findings.iter().map(|finding| finding.kind).collect()
}

#[test]
fn strays_of_the_queue_are_found_and_go() {
    let folder = tempfile::tempdir().unwrap();
    let memory = Memory::open_here(Settings::new(folder.path())).unwrap();
    let shared = Connection::open(folder.path().join("claude-mem.db")).unwrap();
    shared
        .execute_batch(
            "INSERT INTO sdk_sessions(claude_session_id, sdk_session_id, project, started_at, started_at_epoch, status)
               VALUES ('a', 'a', 'p', '', 1, 'active')",
        )
        .unwrap();
    let queue = memory.queue().unwrap();
    let put = || wait(|reply| queue.enqueue(1, "{}".into(), EnqueueOptions::default(), reply)).unwrap().id;
    let (first, second) = (put(), put());
    let consumer = queue.consume(1, ConsumeOptions { max_batch: 1, ..ConsumeOptions::default() }).unwrap();
    let batch = wait(|reply| consumer.next(reply)).unwrap().unwrap();
    // Held, and with nothing left in it: that is no finding.
    wait(|reply| batch.dead_letter(vec![first], None, reply)).unwrap();
    let report = wait(|reply| check(&memory, reply)).unwrap();
    assert_eq!(report.findings, []);

    let file = Connection::open(folder.path().join("native/queue.db")).unwrap();
    file.execute_batch(&format!(
        "INSERT INTO leases VALUES (77, 1, 2, 3);
         INSERT INTO attempts VALUES (5, 1, 2, NULL), ({second}, 1, 1, NULL);
         DELETE FROM dead_letters"
    ))
    .unwrap();
    let report = wait(|reply| check(&memory, reply)).unwrap();
    assert!(!report.ok);
    assert_eq!(kinds(&report), ["dead-letter-counter", "stray-leases", "stray-attempts"]);
    assert_eq!(report.findings[1].ids, [77]);
    assert_eq!((report.findings[2].count, &*report.findings[2].ids), (Some(1), &[5][..]));

    let repaired = wait(|reply| repair(&memory, reply)).unwrap();
    let tables: Vec<&str> = repaired.actions.iter().map(|action| &*action.table).collect();
    assert_eq!(tables, ["queue", "leases", "attempts"]);
    assert_eq!(repaired.report.findings, []);
    assert_eq!(queue.figures(None).dead, 0);
    let left: (i64, i64) = file
        .query_row("SELECT (SELECT count(*) FROM leases), (SELECT group_concat(message_id) FROM attempts)", [], |row| {
            Ok((row.get(0)?, row.get::<_, String>(1)?.parse().unwrap()))
        })
        .unwrap();
    assert_eq!(left, (1, second), "what is held, and the attempts of what waits, stay");
    wait(|reply| batch.commit(crate::queue::Answer::default(), reply)).unwrap();
    wait(|reply| memory.dispose(reply)).unwrap();
}
