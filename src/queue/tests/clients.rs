//! Clients beside an owner: ids in the order of the commits, and every message counted and handed out once.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::settings::Role;

impl Bench {
    fn client(&self) -> Arc<Memory> {
        Memory::open_here(Settings { role: Role::Client, ..self.settings.clone() }).unwrap()
    }
}

/// Enqueues in whichever role.
fn send(memory: &Memory, session: i64, text: &str, key: Option<&str>) -> Result<Enqueued> {
    let payload = format!(r#"{{"type":"observation","n":"{text}","prompt_number":1}}"#);
    let options = EnqueueOptions { dedupe_key: key.map(Into::into), ..EnqueueOptions::default() };
    wait(|reply| memory.queues().unwrap().enqueue(session, payload, options, reply))
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let since = Instant::now();
    while !holds() {
        assert!(since.elapsed() < Duration::from_secs(60), "never: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn an_owner_goes_on_above_the_ids_of_a_client() {
    let bench = Bench::new();
    let owner = bench.open();
    let client = bench.client();
    let session = bench.session("a");
    let ids: Vec<i64> = (0..6)
        .map(|n| send(if n % 2 == 0 { &owner } else { &client }, session, &n.to_string(), None).unwrap().id)
        .collect();
    assert!(ids.is_sorted_by(|a, b| a < b), "{ids:?}");
    assert_eq!(owner.queue().unwrap().depth(Some(session)), 5, "the last one is a client's, and not noticed yet");
    let depth = wait(|reply| owner.queue().unwrap().poke(Some(session), reply)).unwrap();
    assert_eq!(depth, 6);
    let consumer = owner.queue().unwrap().consume(session, quick()).unwrap();
    let batch = pull(&consumer).unwrap();
    assert_eq!(texts(&batch), ["0", "1", "2", "3", "4", "5"]);
    assert_eq!(commit(&batch, 1).unwrap().depth, 0);
    // Beyond a watermark that a client's id has moved.
    send(&owner, session, "6", None).unwrap();
    assert_eq!(texts(&pull(&consumer).unwrap()), ["6"]);
    dispose(&client);
    dispose(&owner);
}

/// The race that the rule is for: the owner has ids of its block left, a client's message with a higher one is
/// committed first, and then the owner gives the next.
#[test]
fn a_watermark_of_a_client_s_message_swallows_nothing() {
    let bench = Bench::new();
    let owner = bench.open();
    let session = bench.session("a");
    send(&owner, session, "0", None).unwrap();
    let client = bench.client();
    send(&client, session, "1", None).unwrap();
    let consumer = owner.queue().unwrap().consume(session, quick()).unwrap();
    let batch = pull(&consumer).unwrap();
    assert_eq!(texts(&batch), ["0", "1"], "noticed by the claim's own transaction");
    commit(&batch, 0).unwrap();
    let next = send(&owner, session, "2", None).unwrap();
    assert!(next.id > batch.upto());
    assert_eq!(texts(&pull(&consumer).unwrap()), ["2"]);
    dispose(&client);
    dispose(&owner);
}

#[test]
fn without_a_poke_the_owner_finds_them_by_itself() {
    let bench = Bench::new();
    let owner = bench.open();
    let client = bench.client();
    let session = bench.session("a");
    let ready = owner.queue().unwrap().ready(None).unwrap();
    send(&client, session, "0", None).unwrap();
    until("counted", || owner.queue().unwrap().depth(Some(session)) == 1);
    assert_eq!(wait(|reply| ready.next(reply)).unwrap().unwrap().session_db_id, session);
    let consumer = owner.queue().unwrap().consume(session, quick()).unwrap();
    commit(&pull(&consumer).unwrap(), 0).unwrap();
    let (reply, waiting) = Reply::channel();
    consumer.next(reply);
    send(&client, session, "1", None).unwrap();
    let batch = waiting.recv_timeout(Duration::from_secs(30)).unwrap().unwrap().unwrap();
    assert_eq!(texts(&batch), ["1"], "a waiting consumer is woken");
    assert_eq!(owner.queue().unwrap().depth(None), 1, "counted once");
    dispose(&client);
    dispose(&owner);
    assert_eq!(bench.one::<i64>("native/queue.db", "SELECT count(*) FROM messages"), 2);
}

#[test]
fn ids_lie_above_both_files_also_without_an_owner() {
    let bench = Bench::new();
    let owner = bench.open();
    let session = bench.session("a");
    send(&owner, session, "0", None).unwrap();
    let consumer = owner.queue().unwrap().consume(session, quick()).unwrap();
    let batch = pull(&consumer).unwrap();
    commit(&batch, 0).unwrap();
    dispose(&owner);
    for file in ["queue.db", "queue.db-wal", "queue.db-shm"] {
        drop(std::fs::remove_file(bench.folder.path().join("native").join(file)));
    }
    let client = bench.client();
    let first = send(&client, session, "1", None).unwrap();
    assert!(first.id > batch.upto(), "the new file starts above the watermark");
    wait(|reply| client.queues().unwrap().discover(reply))
        .map(|list| assert_eq!((list.len(), list[0].depth), (1, 1)))
        .unwrap();
    dispose(&client);
    let owner = bench.open();
    let consumer = owner.queue().unwrap().consume(session, quick()).unwrap();
    assert_eq!(texts(&pull(&consumer).unwrap()), ["1"]);
    dispose(&owner);
}

#[test]
fn a_client_that_lives_on_sees_the_next_owner() {
    let bench = Bench::new();
    let client = bench.client();
    // Nothing is there yet, and nothing is made by reading.
    let missing = wait(|reply| client.queues().unwrap().discover(reply)).unwrap();
    assert!(missing.is_empty() && !bench.folder.path().join("claude-mem.db").exists());
    assert_eq!(send(&client, 1, "x", None).unwrap_err().code, Code::NotFound);
    let mut last = 0;
    let mut sent = 0;
    let mut session = 0;
    for round in 0..3 {
        let owner = bench.open();
        if round == 0 {
            session = bench.session("a");
        }
        for _ in 0..3 {
            for memory in [&client, &owner, &client] {
                let id = send(memory, session, &sent.to_string(), None).unwrap().id;
                assert!(id > last, "{id} after {last}");
                last = id;
                sent += 1;
            }
        }
        dispose(&owner);
        // And while nobody owns the directory.
        last = send(&client, session, &sent.to_string(), None).unwrap().id;
        sent += 1;
    }
    dispose(&client);
    let owner = bench.open();
    assert_eq!(owner.queue().unwrap().depth(Some(session)), sent);
    let consumer = owner.queue().unwrap().consume(session, quick()).unwrap();
    let mut seen = Vec::new();
    while seen.len() < sent {
        let batch = pull(&consumer).unwrap();
        seen.extend(texts(&batch));
        commit(&batch, 0).unwrap();
    }
    assert_eq!(seen, (0..sent).map(|n| n.to_string()).collect::<Vec<_>>());
    dispose(&owner);
}

#[test]
fn bounds_and_dedupe_keys_hold_for_clients() {
    let mut bench = Bench::new();
    bench.settings.bounds.session_messages = 3;
    bench.settings.bounds.message_bytes = 1_000;
    let owner = bench.open();
    let client = bench.client();
    let session = bench.session("a");
    let first = send(&client, session, "0", Some("k")).unwrap();
    assert_eq!((first.depth, first.duplicate), (1, None));
    let again = send(&owner, session, "0", Some("k")).unwrap();
    assert_eq!((again.id, again.duplicate), (first.id, Some(Duplicate::Waiting)));
    send(&owner, session, "1", None).unwrap();
    send(&client, session, "2", None).unwrap();
    let full = send(&client, session, "3", None).unwrap_err();
    assert_eq!(full.code, Code::QueueFull);
    assert!(full.details.contains(&("depth", crate::error::Detail::Number(3.0))), "{full:?}");
    wait(|reply| owner.queue().unwrap().poke(None, reply)).unwrap();
    assert_eq!(send(&owner, session, "3", None).unwrap_err().code, Code::QueueFull, "the owner counts them as well");
    assert_eq!(send(&client, session, &"x".repeat(1_000), None).unwrap_err().code, Code::QueueFull);
    let consumer = owner.queue().unwrap().consume(session, quick()).unwrap();
    commit(&pull(&consumer).unwrap(), 0).unwrap();
    let done = send(&client, session, "0", Some("k")).unwrap();
    assert_eq!((done.id, done.duplicate), (first.id, Some(Duplicate::Done)));
    // What is acknowledged counts no more.
    assert_eq!(send(&client, session, "3", None).unwrap().depth, 1);
    dispose(&client);
    dispose(&owner);
}

#[test]
fn bytes_are_summed_up_where_they_may_be_too_many() {
    let mut bench = Bench::new();
    bench.settings.bounds.total_bytes = 100_000;
    let owner = bench.open();
    let client = bench.client();
    let (a, b) = (bench.session("a"), bench.session("b"));
    let text = "x".repeat(30_000);
    for session in [a, b, a] {
        send(&client, session, &text, None).unwrap();
    }
    let full = send(&client, b, &text, None).unwrap_err();
    assert!(full.code == Code::QueueFull && full.message.contains("all sessions"), "{full}");
    dispose(&client);
    dispose(&owner);
}

/// Several clients and the owner at once: nothing twice, nothing lost, each sender's order kept.
#[test]
fn many_senders_at_once() {
    const CLIENTS: usize = 4;
    const EACH: usize = 150;
    let bench = Bench::new();
    let owner = bench.open();
    let session = bench.session("a");
    let senders: Vec<_> = (0..=CLIENTS)
        .map(|number| {
            let memory = if number == 0 { Arc::clone(&owner) } else { bench.client() };
            std::thread::spawn(move || {
                let ids: Vec<i64> =
                    (0..EACH).map(|n| send(&memory, session, &format!("{number}-{n}"), None).unwrap().id).collect();
                if number > 0 {
                    dispose(&memory);
                }
                assert!(ids.is_sorted_by(|a, b| a < b));
                ids
            })
        })
        .collect();
    let consumer = owner.queue().unwrap().consume(session, quick()).unwrap();
    let mut seen: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    let mut delivered = Vec::new();
    while delivered.len() < (CLIENTS + 1) * EACH {
        let batch = pull(&consumer).unwrap();
        delivered.extend(batch.messages().iter().map(|message| message.id));
        for text in texts(&batch) {
            let (sender, n) = text.split_once('-').unwrap();
            seen.entry(sender.parse().unwrap()).or_default().push(n.parse().unwrap());
        }
        commit(&batch, 0).unwrap();
    }
    let given: BTreeSet<i64> = senders.into_iter().flat_map(|sender| sender.join().unwrap()).collect();
    assert_eq!(given.len(), (CLIENTS + 1) * EACH, "no id twice");
    assert_eq!(delivered, given.into_iter().collect::<Vec<_>>(), "each once, in the order of their ids");
    for list in seen.values() {
        assert_eq!(*list, (0..EACH).collect::<Vec<_>>(), "each sender's order");
    }
    until("all counted out", || owner.queue().unwrap().depth(None) == 0);
    dispose(&owner);
}

#[test]
fn two_first_writes_at_once_make_one_database() {
    for _ in 0..10 {
        let bench = Bench::new();
        let makers: Vec<_> = (0..3)
            .map(|number| {
                let memory = bench.client();
                std::thread::spawn(move || {
                    let name = format!("s{number}");
                    let session: i64 = wait(|reply| {
                        memory.writer().unwrap().call(
                            "create",
                            memory.deadline(None),
                            move |db| crate::store::sessions::create(db, Some(&name), Some("p"), None, None),
                            reply,
                        );
                    })
                    .unwrap()
                    .unwrap();
                    let sent = send(&memory, session, "0", None).unwrap();
                    dispose(&memory);
                    (session, sent.id)
                })
            })
            .collect();
        let made: Vec<(i64, i64)> = makers.into_iter().map(|maker| maker.join().unwrap()).collect();
        assert_eq!(made.iter().map(|(session, _)| session).collect::<BTreeSet<_>>().len(), 3);
        assert_eq!(made.iter().map(|(_, id)| id).collect::<BTreeSet<_>>().len(), 3);
        let owner = bench.open();
        assert_eq!(owner.queue().unwrap().depth(None), 3);
        dispose(&owner);
    }
}

#[test]
fn read_only_reads_an_empty_memory_and_writes_nothing() {
    let bench = Bench::new();
    let open =
        || Memory::open_here(Settings { role: Role::Client, read_only: true, ..bench.settings.clone() }).unwrap();
    let memory = open();
    let count = |memory: &Memory| -> i64 {
        wait(|reply| {
            let read =
                |db: &Connection| Ok(db.query_row("SELECT count(*) FROM observations_fts", [], |row| row.get(0))?);
            memory.readers().unwrap().call("count", read, reply);
        })
        .unwrap()
    };
    assert_eq!(count(&memory), 0);
    assert!(wait(|reply| memory.queues().unwrap().discover(reply)).unwrap().is_empty());
    assert_eq!(send(&memory, 1, "x", None).unwrap_err().code, Code::ReadOnly);
    assert_eq!(std::fs::read_dir(bench.folder.path()).unwrap().count(), 0, "nothing was made");
    // As soon as the file is there, it is read.
    let owner = bench.open();
    let session = bench.session("a");
    send(&owner, session, "0", None).unwrap();
    assert_eq!(wait(|reply| memory.queues().unwrap().discover(reply)).unwrap()[0].depth, 1);
    dispose(&memory);
    dispose(&owner);
}
