//! Commits that come late: at, during and after the end of their lease.

use super::*;

/// The write lock of a file, as another process would hold it.
struct Held(Connection);

impl Held {
    fn of(bench: &Bench, file: &str) -> Self {
        let db = Connection::open(bench.folder.path().join(file)).unwrap();
        db.busy_timeout(Duration::from_secs(20)).unwrap();
        db.execute_batch("BEGIN IMMEDIATE").unwrap();
        Self(db)
    }

    fn release(self) {
        self.0.execute_batch("ROLLBACK").unwrap();
    }
}

fn observation(title: &str) -> ObservationInput {
    ObservationInput { kind: Some("discovery".into()), title: Some(title.into()), ..Default::default() }
}

fn commit_later(batch: &Batch, deadline: Duration) -> crossbeam_channel::Receiver<Result<Committed>> {
    let response = Response { observations: vec![observation("t")], ..Default::default() };
    let (reply, answer) = Reply::channel();
    batch.commit(Answer { response, deadline: Some(Instant::now() + deadline), external: false }, reply);
    answer
}

fn stored(bench: &Bench) -> i64 {
    bench.one("claude-mem.db", "SELECT count(*) FROM observations")
}

fn settled(answer: &crossbeam_channel::Receiver<Result<Committed>>) -> Result<Committed> {
    answer.recv_timeout(Duration::from_secs(20)).unwrap()
}

fn short_lease() -> ConsumeOptions {
    ConsumeOptions { lease: Duration::from_millis(80), ..quick() }
}

#[test]
fn a_lease_that_runs_out_while_its_commit_waits_for_a_lock_is_stored_once() {
    let bench = Bench::new();
    let memory = bench.open();
    let session = bench.session("a");
    put_all(&memory, session, 3);
    let consumer = memory.queue().unwrap().consume(session, short_lease()).unwrap();
    let batch = pull(&consumer).unwrap();
    let hook = Held::of(&bench, "claude-mem.db");
    let answer = commit_later(&batch, Duration::from_secs(20));
    // Three times the lease. What is being committed is nobody else's.
    std::thread::sleep(Duration::from_millis(250));
    assert!(answer.try_recv().is_err());
    assert_eq!(consumer.end_reason(), None);
    assert!(!memory.queue().unwrap().is_ready(session));
    hook.release();
    assert_eq!(settled(&answer).unwrap().depth, 0);
    assert_eq!(stored(&bench), 1);
    dispose(&memory);
    let memory = bench.open();
    assert_eq!(memory.queue().unwrap().depth(None), 0);
    assert_eq!(bench.one::<i64>("native/queue.db", "SELECT count(*) FROM attempts"), 0);
    dispose(&memory);
}

#[test]
fn a_late_commit_that_waits_for_a_lock_keeps_the_next_consumer_waiting() {
    let bench = Bench::new();
    let memory = bench.open();
    let session = bench.session("a");
    put_all(&memory, session, 2);
    let consumer = memory.queue().unwrap().consume(session, short_lease()).unwrap();
    let batch = pull(&consumer).unwrap();
    let hook = Held::of(&bench, "claude-mem.db");
    assert!(pull_end(&consumer, EndReason::Expired));
    let answer = commit_later(&batch, Duration::from_secs(20));
    let next = memory.queue().unwrap().consume(session, quick()).unwrap();
    let (reply, offered) = Reply::channel();
    next.next(reply);
    let pending = answer.try_recv();
    let early = offered.recv_timeout(Duration::from_millis(200));
    hook.release();
    // Whoever came first: the late commit, or the claim behind the backoff of 20 ms. Never both.
    match settled(&answer) {
        Ok(committed) => {
            assert!(pending.is_err() && early.is_err(), "nobody else was given what is being committed");
            assert_eq!(committed.depth, 0);
            put(&memory, session, "behind").unwrap();
            let batch = offered.recv_timeout(Duration::from_secs(5)).unwrap().unwrap().unwrap();
            assert_eq!((texts(&batch), batch.messages()[0].attempts), (vec!["behind".to_owned()], 0));
            commit(&batch, 0).unwrap();
        }
        Err(error) => {
            assert_eq!(error.code, Code::LeaseLost);
            let batch = match early {
                Ok(batch) => batch.unwrap().unwrap(),
                Err(_) => offered.recv_timeout(Duration::from_secs(5)).unwrap().unwrap().unwrap(),
            };
            commit(&batch, 1).unwrap();
        }
    }
    assert_eq!(stored(&bench), 1);
    dispose(&memory);
}

#[test]
fn a_commit_that_gives_up_on_the_lock_after_its_lease_loses_to_whoever_claims() {
    let bench = Bench::new();
    let memory = bench.open();
    let session = bench.session("a");
    put_all(&memory, session, 2);
    let consumer = memory.queue().unwrap().consume(session, short_lease()).unwrap();
    let batch = pull(&consumer).unwrap();
    let hook = Held::of(&bench, "claude-mem.db");
    let answer = commit_later(&batch, Duration::from_millis(200));
    assert_eq!(settled(&answer).unwrap_err().code, Code::Busy);
    assert!(pull_end(&consumer, EndReason::Expired), "the lease runs out now");
    let other = memory.queue().unwrap().consume(session, quick()).unwrap();
    let again = pull(&other).unwrap();
    assert_eq!(again.messages()[0].attempts, 1);
    hook.release();
    assert_eq!(commit(&batch, 1).unwrap_err().code, Code::LeaseLost);
    commit(&again, 1).unwrap();
    assert_eq!(stored(&bench), 1, "what was rejected with ERR_BUSY never ran");
    dispose(&memory);
}

/// The lease ran out for the last time, but the answer was faster than the burial: it is stored, and not dead as well.
#[test]
fn a_message_is_never_stored_and_a_dead_letter() {
    let mut bench = Bench::new();
    bench.settings.retry.max_attempts = 1;
    let memory = bench.open();
    let session = bench.session("a");
    put_all(&memory, session, 1);
    let consumer = memory.queue().unwrap().consume(session, short_lease()).unwrap();
    let batch = pull(&consumer).unwrap();
    // Nothing of ours gets into queue.db now: the release of the lapsed lease waits.
    let other = Held::of(&bench, "native/queue.db");
    assert!(pull_end(&consumer, EndReason::Expired));
    assert_eq!(commit(&batch, 1).unwrap().depth, 0);
    other.release();
    // Behind the release in the same writer.
    put(&memory, session, "behind").unwrap();
    assert_eq!(stored(&bench), 1);
    assert_eq!(memory.queue().unwrap().figures(None).dead, 0);
    assert_eq!(bench.one::<i64>("native/queue.db", "SELECT count(*) FROM dead_letters"), 0);
    let next = pull(&memory.queue().unwrap().consume(session, quick()).unwrap()).unwrap();
    assert_eq!((texts(&next), next.messages()[0].attempts), (vec!["behind".to_owned()], 0));
    dispose(&memory);
}

#[test]
fn a_batch_that_is_handed_out_once_counts_one_attempt_however_often_it_fails() {
    let mut bench = Bench::new();
    bench.settings.retry.backoff_base = Duration::from_secs(60);
    bench.settings.retry.backoff_max = Duration::from_secs(60);
    let memory = bench.open();
    let session = bench.session("a");
    put_all(&memory, session, 1);
    let consumer = memory.queue().unwrap().consume(session, short_lease()).unwrap();
    let batch = pull(&consumer).unwrap();
    assert!(pull_end(&consumer, EndReason::Expired));
    for _ in 0..3 {
        let response = Response {
            observations: vec![ObservationInput { kind: Some("no such type".into()), ..Default::default() }],
            ..Default::default()
        };
        let refused = wait(|reply| batch.commit(Answer { response, deadline: None, external: false }, reply));
        assert_eq!(refused.unwrap_err().code, Code::Constraint);
        // It is taken back at once, and still taken.
        std::thread::sleep(Duration::from_millis(30));
    }
    assert_eq!(memory.queue().unwrap().discover()[0].attempts, 1);
    assert_eq!(bench.one::<i64>("native/queue.db", "SELECT count FROM attempts"), 1);
    commit(&batch, 1).unwrap();
    assert_eq!(stored(&bench), 1);
    dispose(&memory);
}
