//! Where roles, parts and long work meet: a client with or without `claude-mem.db`, beside an owner that erases,
//! imports, purges.

use super::{
    super::{
        audit::Audit,
        incoming::{Destination, Incoming},
        message_ids, open_storage,
    },
    *,
};
use crate::{
    deletion,
    job::Job,
    parts::{Part, Parts},
    portable,
    settings::Role,
    store::date_range::Bound,
};

const SOON: Duration = Duration::from_secs(30);

impl Bench {
    fn a(&self, role: Role, parts: &[Part]) -> Arc<Memory> {
        Memory::open_here(Settings { role, parts: Parts::of(parts), ..self.settings.clone() }).unwrap()
    }
}

fn client(bench: &Bench) -> Arc<Memory> {
    bench.a(Role::Client, &Part::ALL)
}

/// A client that does not look at `claude-mem.db`.
fn hook(bench: &Bench) -> Arc<Memory> {
    bench.a(Role::Client, &[Part::Queue])
}

fn send(memory: &Memory, session: i64, text: &str, key: Option<&str>, name: Option<&str>) -> Result<Enqueued> {
    let payload = format!(r#"{{"type":"observation","n":"{text}","prompt_number":1}}"#);
    let options = EnqueueOptions {
        dedupe_key: key.map(Into::into),
        claude_session_id: name.map(Into::into),
        ..EnqueueOptions::default()
    };
    wait(|reply| memory.queues().unwrap().enqueue(session, payload, options, reply))
}

/// Counters and rows say the same.
#[track_caller]
fn no_drift(memory: &Memory) {
    assert_eq!(memory.queue().unwrap().audit(false).unwrap(), Some(Audit::default()));
}

fn export(memory: &Arc<Memory>, path: &std::path::Path, project: Option<&str>) -> portable::Exported {
    let (mine, path) = (Arc::clone(memory), path.to_owned());
    let options = portable::ExportOptions { project: project.map(Into::into), wait: SOON };
    let job: Job<portable::Progress, _> =
        memory.jobs().start("export", move |control| portable::export(&mine, &path, &options, control)).unwrap();
    wait(|reply| job.result(reply)).unwrap()
}

fn import(memory: &Arc<Memory>, path: &std::path::Path) -> Result<portable::Imported> {
    let (mine, path) = (Arc::clone(memory), path.to_owned());
    let options = portable::ImportOptions { max_line_bytes: 1 << 20, wait: SOON };
    let job: Job<portable::Progress, _> =
        memory.jobs().start("import", move |control| portable::import(&mine, &path, &options, control)).unwrap();
    wait(|reply| job.result(reply))
}

/// A client's transaction is rolled back, and before it runs again somebody else is given its id.
#[test]
fn an_id_that_another_process_took_after_a_rollback_is_not_ones_own() {
    let bench = Bench::new();
    let path = bench.folder.path().join("queue.db");
    let (one, other) = (open_storage(&path, false).unwrap(), open_storage(&path, false).unwrap());
    let message = |text: &str| {
        Incoming::new(
            1,
            format!(r#"{{"n":"{text}"}}"#).into_bytes(),
            Shape::default(),
            EnqueueOptions { dedupe_key: Some(text.into()), ..EnqueueOptions::default() },
        )
    };
    let run = |db: &Connection, message: &mut Incoming, end: &str| {
        db.execute_batch("BEGIN IMMEDIATE").unwrap();
        let to = Destination { db, sessions: &OwnFile, bounds: &bench.settings.bounds, newest: 0 };
        let outcome = message.store(&to, |_| message_ids::take_as_client(db, 0), |_| false).unwrap();
        db.execute_batch(end).unwrap();
        assert_eq!(outcome.duplicate, None);
        outcome.id
    };
    let mut mine = message("mine");
    let first = run(&one, &mut mine, "ROLLBACK");
    let theirs = run(&other, &mut message("theirs"), "COMMIT");
    assert_eq!(theirs, first, "the race");
    let again = run(&one, &mut mine, "COMMIT");
    assert!(again > theirs, "stored under an id of its own");
    // Where the first run is in the file all the same, it is found, and is no duplicate of itself.
    assert_eq!(run(&one, &mut mine, "COMMIT"), again);
    let rows: i64 = one.query_row("SELECT count(*) FROM messages", [], |row| row.get(0)).unwrap();
    assert_eq!(rows, 2);
}

/// The owner takes leave of a session that nothing waits for; a client knows nothing of it.
#[test]
fn what_a_client_enqueues_while_retention_takes_its_session_is_not_lost() {
    let bench = Bench::new();
    let owner = bench.open();
    let (client, session) = (client(&bench), bench.session("a"));
    // Acknowledged, not purged yet: done when its row goes, and not to be counted as waiting then.
    send(&owner, session, "done", Some("old"), None).unwrap();
    let consumer = owner.queue().unwrap().consume(session, quick()).unwrap();
    commit(&pull(&consumer).unwrap(), 0).unwrap();
    consumer.dispose();
    wait(|reply| owner.queue().unwrap().delete_session(session, false, false, reply)).unwrap();
    bench.sql("claude-mem.db", "UPDATE sdk_sessions SET status = 'completed', completed_at_epoch = 2");
    let lock = Connection::open(bench.folder.path().join("claude-mem.db")).unwrap();
    lock.execute_batch("BEGIN IMMEDIATE").unwrap();
    let mine = Arc::clone(&owner);
    let retention =
        std::thread::spawn(move || deletion::retention(&mine, None, Bound::Epoch(1_000.0), SOON).unwrap().sessions);
    let since = Instant::now();
    while !owner.queue().unwrap().shared().read(|state| state.leaving.contains(&session)) {
        assert!(since.elapsed() < SOON, "the session never leaves");
        std::thread::sleep(Duration::from_millis(2));
    }
    let late = send(&client, session, "late", Some("new"), None).unwrap();
    assert_eq!(send(&owner, session, "x", None, None).unwrap_err().code, Code::NotFound);
    lock.execute_batch("ROLLBACK").unwrap();
    assert_eq!(retention.join().unwrap(), 1);
    wait(|reply| owner.queue().unwrap().poke(None, reply)).unwrap();
    no_drift(&owner);
    assert_eq!(owner.queue().unwrap().depth(Some(session)), 1);
    let keys = "SELECT count(*) FROM dedupe_keys";
    assert_eq!(bench.one::<i64>("native/queue.db", keys), 1, "only what went");
    // Whoever looks after the session finds that it is gone; the message is kept.
    let consumer = owner.queue().unwrap().consume(session, quick()).unwrap();
    let (reply, _answer) = Reply::channel();
    consumer.next(reply);
    let since = Instant::now();
    let dead = loop {
        let dead = wait(|reply| owner.queue().unwrap().dead_letters(None, 10, 0, reply)).unwrap();
        if !dead.is_empty() {
            break dead;
        }
        assert!(since.elapsed() < SOON, "it never becomes a dead letter");
        std::thread::sleep(Duration::from_millis(5));
    };
    assert_eq!((dead.len(), dead[0].id, &*dead[0].reason), (1, late.id, "session-gone"));
    no_drift(&owner);
    dispose(&client);
    dispose(&owner);
}

#[test]
fn dedupe_keys_are_one_whether_or_not_the_session_has_a_name() {
    let bench = Bench::new();
    let owner = bench.open();
    let (with, without) = (client(&bench), hook(&bench));
    let (a, b) = (bench.session("a"), bench.session("b"));
    for (first, second) in
        [(&owner, &without), (&without, &owner), (&with, &without), (&without, &with), (&owner, &with), (&with, &owner)]
    {
        let key = format!("{first:p}\u{1f}{second:p}");
        let id = send(first, a, "x", Some(&key), None).unwrap().id;
        let again = send(second, a, "x", Some(&key), None).unwrap();
        assert_eq!((again.id, again.duplicate), (id, Some(Duplicate::Waiting)));
        // Another session's key is another one.
        assert_eq!(send(second, b, "x", Some(&key), None).unwrap().duplicate, None);
    }
    // A part of another key is none.
    assert_eq!(send(&owner, a, "x", Some("whole/part"), None).unwrap().duplicate, None);
    assert_eq!(send(&without, a, "x", Some("part"), None).unwrap().duplicate, None);
    // A name that is told later finds what was used without one; another session under the number does not find the
    // first one's.
    let told = |key, name| send(&without, 77, "x", Some(key), name).unwrap().duplicate;
    assert_eq!(told("early", None), None);
    assert_eq!(told("early", Some("n")), Some(Duplicate::Waiting));
    assert_eq!(told("named", Some("n")), None);
    assert_eq!(told("named", Some("other")), None);
    for memory in [with, without, owner] {
        dispose(&memory);
    }
}

/// Clients that do not look at `claude-mem.db` beside an owner that has both files, then one that has the queue alone,
/// then both again.
#[test]
fn a_queue_alone_client_beside_any_owner() {
    let bench = Bench::new();
    let owner = bench.open();
    let session = bench.session("a");
    let (hook, other) = (hook(&bench), client(&bench));
    let mut ids = Vec::new();
    let mut seen = Vec::new();
    let mut owner = Some(owner);
    for (round, parts) in [&Part::ALL[..], &[Part::Queue], &Part::ALL, &[Part::Queue]].into_iter().enumerate() {
        let memory = owner.take().unwrap_or_else(|| bench.a(Role::Owner, parts));
        for (n, sender) in [&hook, &memory, &other, &hook].into_iter().enumerate() {
            ids.push(send(sender, session, &format!("{round}{n}"), None, None).unwrap().id);
        }
        let consumer = memory.queue().unwrap().consume(session, ConsumeOptions { max_batch: 3, ..quick() }).unwrap();
        let batch = pull(&consumer).unwrap();
        seen.extend(texts(&batch));
        // The hook knows the owner's watermark only as far as its file tells, never less than what is delivered again.
        commit(&batch, 0).unwrap();
        no_drift(&memory);
        dispose(&memory);
        ids.push(send(&hook, session, &format!("{round}-"), None, None).unwrap().id);
    }
    let memory = bench.open();
    let consumer = memory.queue().unwrap().consume(session, quick()).unwrap();
    while memory.queue().unwrap().depth(Some(session)) > 0 {
        let batch = pull(&consumer).unwrap();
        seen.extend(texts(&batch));
        commit(&batch, 0).unwrap();
    }
    assert!(ids.is_sorted_by(|a, b| a < b), "{ids:?}");
    let sent: Vec<String> =
        (0..4).flat_map(|round| (0..4).map(move |n| format!("{round}{n}")).chain([format!("{round}-")])).collect();
    assert_eq!(seen, sent, "each once, in order");
    for memory in [hook, other, memory] {
        dispose(&memory);
    }
}

/// An owner that has the queue alone begins far above what its file says; a client that knows the other file does not.
#[test]
fn an_owner_notices_a_client_whose_ids_lie_closer() {
    let bench = Bench::new();
    let owner = bench.open();
    let session = bench.session("a");
    dispose(&owner);
    let owner = bench.a(Role::Owner, &[Part::Queue]);
    let client = client(&bench);
    let first = send(&client, session, "0", None, None).unwrap().id;
    assert_eq!(wait(|reply| owner.queue().unwrap().poke(None, reply)).unwrap(), 1);
    let second = send(&owner, session, "1", None, None).unwrap().id;
    assert!(second > first && send(&client, session, "2", None, None).unwrap().id > second);
    no_drift(&owner);
    assert_eq!(owner.queue().unwrap().depth(Some(session)), 3);
    for memory in [client, owner] {
        dispose(&memory);
    }
}

/// A message without a name goes by its session's number, which means nothing in another memory.
#[test]
fn messages_without_a_name_are_exported_with_their_session_s() {
    let (from, to) = (Bench::new(), Bench::new());
    let owner = from.open();
    let session = from.session("a");
    let hook = hook(&from);
    for (sender, text) in [(&owner, "0"), (&hook, "1"), (&owner, "2"), (&hook, "3")] {
        send(sender, session, text, None, None).unwrap();
    }
    // Equal ones, with and without a name: told apart by their number.
    let path = from.folder.path().join("export.jsonl");
    from.sql(
        "native/queue.db",
        "UPDATE messages SET payload = '{\"n\":\"=\"}', enqueued_at_epoch = 5 WHERE id % 2 = 0",
    );
    let equal: i64 = from.one("native/queue.db", "SELECT count(*) FROM messages WHERE payload = '{\"n\":\"=\"}'");
    assert_eq!(export(&owner, &path, Some("p")).messages, 4);
    assert_eq!(export(&owner, &path, Some("other")).messages, 0);
    assert_eq!(export(&owner, &path, None).messages, 4);
    let target = to.open();
    to.session("before");
    let imported = import(&target, &path).unwrap();
    assert_eq!((imported.messages.imported, imported.dead_letters.imported), (4, 0));
    assert_eq!(import(&target, &path).unwrap().messages.duplicate, 4);
    assert_eq!(import(&owner, &path).unwrap().messages.duplicate, 4);
    let session = to.one::<i64>("claude-mem.db", "SELECT id FROM sdk_sessions WHERE claude_session_id = 'a'");
    assert_eq!(target.queue().unwrap().depth(Some(session)), 4);
    assert_eq!(
        to.one::<i64>("native/queue.db", "SELECT count(*) FROM messages WHERE payload = '{\"n\":\"=\"}'"),
        equal
    );
    no_drift(&owner);
    no_drift(&target);
    for memory in [owner, hook, target] {
        dispose(&memory);
    }
}

#[test]
fn a_pause_without_a_name_is_kept_and_one_with_another_name_goes() {
    let bench = Bench::new();
    let owner = bench.a(Role::Owner, &[Part::Queue]);
    let pause = |memory: &Memory, id| {
        wait(|reply| memory.queue().unwrap().pause(Some(id), None, Some("r".into()), reply)).unwrap();
    };
    send(&owner, 1, "0", None, None).unwrap();
    send(&owner, 2, "0", None, Some("n")).unwrap();
    pause(&owner, 1);
    pause(&owner, 2);
    // A name that is told later is no other session's.
    send(&owner, 1, "1", None, Some("m")).unwrap();
    let paused = |memory: &Memory| -> Vec<bool> {
        let mut list = memory.queue().unwrap().discover();
        list.sort_by_key(|entry| entry.session_db_id);
        list.iter().map(|entry| entry.paused).collect()
    };
    assert_eq!(paused(&owner), [true, true]);
    dispose(&owner);
    // A client says under which name the number is used now; the next owner believes it.
    let hook = hook(&bench);
    send(&hook, 2, "1", None, Some("another")).unwrap();
    dispose(&hook);
    let owner = bench.a(Role::Owner, &[Part::Queue]);
    assert_eq!(paused(&owner), [true, false]);
    no_drift(&owner);
    dispose(&owner);
}

/// Everything that changes counters, while clients enqueue.
#[test]
fn counters_never_drift() {
    const STEPS: usize = 250;
    let mut bench = Bench::new();
    bench.settings.retry.max_attempts = 2;
    let mut owner = bench.open();
    let path = bench.folder.path().join("export.jsonl");
    let mut session_number = 0;
    let mut new_session = || {
        session_number += 1;
        bench.session(&format!("s{session_number}"))
    };
    let mut sessions: Vec<i64> = (0..3).map(|_| new_session()).collect();
    for id in &sessions {
        put_all(&owner, *id, 5);
    }
    export(&owner, &path, None);
    let clients = [client(&bench), hook(&bench)];
    let mut random = 0x2545_F491_4F6C_DD1D_u64;
    let mut next = move |below: usize| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        usize::try_from(random >> 33).unwrap() % below
    };
    for step in 0..STEPS {
        let id = sessions[next(sessions.len())];
        let key = format!("k{}", next(20));
        let key = (next(3) == 0).then_some(&*key);
        let text = step.to_string();
        match next(20) {
            0..=4 => drop(send(&clients[0], id, &text, key, None)),
            5..=8 => drop(send(&clients[1], id, &text, key, None)),
            9..=12 => drop(send(&owner, id, &text, key, None)),
            13 | 14 => {
                let queue = owner.queue().unwrap();
                let paused = queue.discover().iter().any(|entry| entry.session_db_id == id && entry.paused);
                if queue.depth(Some(id)) > 0 && !paused {
                    let consumer = queue.consume(id, quick()).unwrap();
                    if let Some(batch) = pull(&consumer) {
                        match next(3) {
                            0 => drop(release(&batch, ReleaseOptions::default())),
                            1 => {
                                let first = batch.messages()[0].id;
                                drop(wait(|reply| batch.dead_letter(vec![first], None, reply)));
                                drop(commit(&batch, 1));
                            }
                            _ => drop(commit(&batch, 1)),
                        }
                    }
                    consumer.dispose();
                }
            }
            15 => drop(wait(|reply| owner.queue().unwrap().purge(id, reply))),
            16 => drop(import(&owner, &path)),
            17 => {
                let dead = wait(|reply| owner.queue().unwrap().dead_letters(None, 1, 0, reply)).unwrap();
                if let Some(letter) = dead.first() {
                    drop(wait(|reply| owner.queue().unwrap().retry_dead_letter(letter.id, reply)));
                }
            }
            18 if next(4) == 0 => {
                deletion::delete_project(&owner, "p", SOON).unwrap();
                sessions = (0..3).map(|_| new_session()).collect();
            }
            19 if next(4) == 0 => {
                wait(|reply| owner.queue().unwrap().poke(None, reply)).unwrap();
                let before = owner.queue().unwrap().depth(None);
                dispose(&owner);
                owner = bench.open();
                assert_eq!(owner.queue().unwrap().depth(None), before, "step {step}");
            }
            _ => {}
        }
        if step % 25 == 0 {
            assert_eq!(owner.queue().unwrap().audit(false).unwrap(), Some(Audit::default()), "step {step}");
        }
    }
    no_drift(&owner);
    let report = wait(|reply| crate::integrity::check(&owner, reply)).unwrap();
    assert!(report.findings.is_empty(), "{report:?}");
    for memory in clients {
        dispose(&memory);
    }
    dispose(&owner);
}
