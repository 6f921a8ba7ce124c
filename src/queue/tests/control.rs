//! What a client looks at and changes beside an owner: waiting messages, pauses, dead letters.

use std::collections::BTreeSet;

use super::*;
use crate::settings::Role;

impl Bench {
    fn client_with(&self, change: impl FnOnce(&mut Settings)) -> Arc<Memory> {
        let mut settings = Settings { role: Role::Client, ..self.settings.clone() };
        change(&mut settings);
        Memory::open_here(settings).unwrap()
    }
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let since = Instant::now();
    while !holds() {
        assert!(since.elapsed() < Duration::from_secs(60), "never: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn looked(memory: &Memory, which: Peek) -> Vec<Peeked> {
    wait(|reply| memory.queues().unwrap().peek(which, reply)).unwrap()
}

fn all() -> Peek {
    Peek { limit: 100, preview_bytes: 200, ..Peek::default() }
}

/// A session with dead letters only, whose texts are `count` numbers.
fn bury(memory: &Memory, session: i64, count: usize) {
    put_all(memory, session, count);
    let options = ConsumeOptions { max_batch: count, ..quick() };
    let consumer = memory.queue().unwrap().consume(session, options).unwrap();
    let batch = pull(&consumer).unwrap();
    let ids: Vec<i64> = batch.messages().iter().map(|message| message.id).collect();
    wait(|reply| batch.dead_letter(ids, Some("no".into()), reply)).unwrap();
    consumer.dispose();
    until("nothing waits", || memory.queue().unwrap().depth(Some(session)) == 0);
}

#[test]
fn a_look_shows_what_waits_and_claims_nothing() {
    let bench = Bench::new();
    let owner = bench.open();
    let client = bench.client_with(|settings| settings.read_only = true);
    let (a, b) = (bench.session("a"), bench.session("b"));
    put_all(&owner, a, 3);
    put(&owner, b, "é".repeat(40_000).as_str()).unwrap();
    for memory in [&owner, &client] {
        let found = looked(memory, all());
        assert_eq!(found.iter().map(|each| each.session_db_id).collect::<Vec<_>>(), [a, a, a, b]);
        let first = &found[0];
        assert_eq!((first.project.as_deref(), first.claude_session_id.as_deref()), (Some("p"), Some("a")));
        assert_eq!((first.kind.as_deref(), first.prompt_number, first.attempts), (Some("observation"), Some(1), 0));
        assert_eq!(first.preview.len() as i64, first.bytes);
        assert!(!first.leased && first.error.is_none());
        // Cut between characters, and no more of it than was asked for.
        assert!((198..=200).contains(&found[3].preview.len()) && found[3].bytes > 80_000);
        assert!(found[3].preview.ends_with('é'));
        let of = |which: Peek| looked(memory, which).iter().map(|each| each.id).collect::<Vec<_>>();
        assert_eq!(of(Peek { session_id: Some(b), ..all() }), [found[3].id]);
        assert_eq!(of(Peek { after: found[1].id, limit: 1, ..all() }), [found[2].id]);
        assert_eq!(of(Peek { project: Some("p".into()), ..all() }).len(), 4);
        assert!(of(Peek { project: Some("another".into()), ..all() }).is_empty());
        assert_eq!(looked(memory, Peek { preview_bytes: 0, ..all() })[0].preview, "");
    }
    let consumer = owner.queue().unwrap().consume(a, ConsumeOptions { max_batch: 2, ..quick() }).unwrap();
    let batch = pull(&consumer).unwrap();
    let leased = |memory: &Memory| looked(memory, all()).iter().map(|each| each.leased).collect::<Vec<_>>();
    assert_eq!((leased(&owner), leased(&client)), (vec![true, true, false, false], vec![true, true, false, false]));
    commit(&batch, 0).unwrap();
    // Acknowledged, and perhaps not purged yet.
    assert_eq!((looked(&owner, all()).len(), looked(&client, all()).len()), (2, 2));
    release(&pull(&consumer).unwrap(), ReleaseOptions { error: Some("too hard".into()), ..ReleaseOptions::default() });
    let failed = &looked(&client, all())[0];
    assert_eq!((failed.attempts, failed.error.as_deref(), failed.leased), (1, Some("too hard"), false));
    dispose(&client);
    dispose(&owner);
}

#[test]
fn a_look_finds_what_lies_behind_many_others() {
    let bench = Bench::new();
    let owner = bench.open();
    let client = bench.client_with(|settings| settings.read_only = true);
    let (a, b) = (bench.session("a"), bench.session("b"));
    put(&owner, b, "first").unwrap();
    // More than are looked at in one go.
    put_all(&owner, a, 5_000);
    put(&owner, b, "last").unwrap();
    for memory in [&owner, &client] {
        assert_eq!(looked(memory, Peek { limit: 6_000, ..all() }).len(), 5_002);
        let found = looked(memory, Peek { session_id: Some(b), ..all() });
        assert_eq!(found.len(), 2);
        let behind = looked(memory, Peek { after: found[0].id, limit: 5_001, preview_bytes: 0, ..all() });
        assert!(behind.is_sorted_by_key(|each| each.id));
        assert_eq!((behind.len(), behind[5_000].session_db_id), (5_001, b));
    }
    dispose(&client);
    dispose(&owner);
}

#[test]
fn a_client_s_pause_and_resume_reach_the_owner() {
    let bench = Bench::new();
    let owner = bench.open();
    let client = bench.client_with(|_| {});
    let queues = || client.queues().unwrap();
    let (a, b) = (bench.session("a"), bench.session("b"));
    put(&owner, b, "0").unwrap();
    let consumer = owner.queue().unwrap().consume(a, quick()).unwrap();
    wait(|reply| queues().pause(Some(a), None, Some("by hand".into()), reply)).unwrap();
    // Nobody pokes: it is seen all the same, and the waiting consumer ends.
    assert!(pull_end(&consumer, EndReason::Paused));
    put(&owner, a, "0").unwrap();
    assert!(!owner.queue().unwrap().is_ready(a) && owner.queue().unwrap().is_ready(b));
    wait(|reply| queues().resume(Some(a), reply)).unwrap();
    until("resumed", || owner.queue().unwrap().is_ready(a));

    let later = crate::clock::now_epoch() + 3_600_000;
    wait(|reply| queues().pause(None, Some(later), None, reply)).unwrap();
    wait(|reply| owner.queue().unwrap().poke(None, reply)).unwrap();
    assert!(!owner.queue().unwrap().is_ready(a) && !owner.queue().unwrap().is_ready(b), "noticed with the poke");
    // The owner's own word counts as much, also after another change of a client's.
    wait(|reply| owner.queue().unwrap().resume(None, reply)).unwrap();
    wait(|reply| queues().pause(Some(a), None, None, reply)).unwrap();
    wait(|reply| owner.queue().unwrap().poke(None, reply)).unwrap();
    assert!(!owner.queue().unwrap().is_ready(a) && owner.queue().unwrap().is_ready(b));
    dispose(&owner);
    let owner = bench.open();
    assert!(!owner.queue().unwrap().is_ready(a) && owner.queue().unwrap().is_ready(b), "it survives a restart");
    dispose(&client);
    dispose(&owner);
}

#[test]
fn a_client_ends_dead_letters_and_the_owner_counts_them() {
    let bench = Bench::new();
    let owner = bench.open();
    let client = bench.client_with(|_| {});
    let queues = || client.queues().unwrap();
    let a = bench.session("a");
    bury(&owner, a, 4);
    let letters = wait(|reply| queues().dead_letters(None, 10, 0, reply)).unwrap();
    let ids: BTreeSet<i64> = letters.iter().map(|letter| letter.id).collect();
    assert_eq!((ids.len(), owner.queue().unwrap().figures(None).dead), (4, 4));
    let first = *ids.first().unwrap();

    let retried = wait(|reply| queues().retry_dead_letter(first, reply)).unwrap();
    assert!(retried.id > *ids.last().unwrap(), "under a new id");
    assert_eq!((retried.depth, retried.duplicate), (1, None));
    let error = wait(|reply| queues().retry_dead_letter(first, reply)).unwrap_err();
    assert_eq!(error.code, Code::NotFound);
    until("counted", || owner.queue().unwrap().depth(Some(a)) == 1);
    assert_eq!(owner.queue().unwrap().figures(None).dead, 3);
    let consumer = owner.queue().unwrap().consume(a, quick()).unwrap();
    let batch = pull(&consumer).unwrap();
    assert_eq!(texts(&batch), ["0"]);
    commit(&batch, 0).unwrap();
    // What the owner puts behind it has a higher id.
    assert!(put(&owner, a, "5").unwrap().id > retried.id);

    let filter = DeadLetterFilter { ids: Some(vec![*ids.last().unwrap()]), ..DeadLetterFilter::default() };
    assert_eq!(wait(|reply| queues().purge_dead_letters(filter, reply)).unwrap(), 1);
    until("counted", || owner.queue().unwrap().figures(None).dead == 2);
    assert_eq!(wait(|reply| queues().purge_dead_letters(DeadLetterFilter::default(), reply)).unwrap(), 2);
    until("counted", || owner.queue().unwrap().figures(None).dead == 0);
    let report = wait(|reply| crate::integrity::check(&owner, reply)).unwrap();
    assert_eq!(report.findings, []);
    dispose(&client);
    dispose(&owner);
}

#[test]
fn bounds_and_read_only_hold_for_what_a_client_changes() {
    let bench = Bench::new();
    let owner = bench.open();
    let a = bench.session("a");
    bury(&owner, a, 1);
    put(&owner, a, "0").unwrap();
    let letter = wait(|reply| owner.queues().unwrap().dead_letters(None, 1, 0, reply)).unwrap()[0].id;
    let full = bench.client_with(|settings| settings.bounds.session_messages = 1);
    let refused = wait(|reply| full.queues().unwrap().retry_dead_letter(letter, reply)).unwrap_err();
    assert_eq!(refused.code, Code::QueueFull);
    let reading = bench.client_with(|settings| settings.read_only = true);
    let queues = reading.queues().unwrap();
    let codes = [
        wait(|reply| queues.retry_dead_letter(letter, reply)).unwrap_err().code,
        wait(|reply| queues.purge_dead_letters(DeadLetterFilter::default(), reply)).unwrap_err().code,
        wait(|reply| queues.pause(None, None, None, reply)).unwrap_err().code,
        wait(|reply| queues.resume(None, reply)).unwrap_err().code,
    ];
    assert_eq!(codes, [Code::ReadOnly; 4]);
    assert!(wait(|reply| owner.queues().unwrap().dead_letter(letter, reply)).unwrap().is_some(), "nothing was lost");
    dispose(&reading);
    dispose(&full);
    let queues = full.queues().unwrap();
    assert_eq!(wait(|reply| queues.resume(None, reply)).unwrap_err().code, Code::Disposed);
    dispose(&owner);
}
