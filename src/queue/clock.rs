//! The clock: leases, idle timeouts, backoffs, pauses and TTLs are deadlines in one heap, looked at by one
//! thread that works under the state's lock only and never touches a disk.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Weak},
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, RecvTimeoutError};

use super::{
    consumer::EndReason,
    effects::Effects,
    engine::Shared,
    lease::Phase,
    pause, reclaim,
    release::{self, ReleaseOptions},
    state::{ALL, State},
};
use crate::{clock, db::activity::Running, error::Result, fault, reply::Reply};

/// How often handles that were only garbage-collected are looked for, and acknowledged messages purged.
const SWEEP: Duration = Duration::from_secs(1);
/// How long the clock rests after a turn that panicked, so that one that always does cannot spin.
const REST: Duration = Duration::from_millis(50);

/// How often waits are compared with the wall clock. Deadlines stand still while a laptop sleeps (its agent slept as
/// well), but a pause until eight in the morning ends at eight.
const LOOK: Duration = Duration::from_secs(5);
/// How long the clock sleeps at most where there is nothing to look for.
const IDLE: Duration = Duration::from_secs(60);

/// Starts the clock's thread; it ends with the queue.
pub fn start(shared: &Arc<Shared>, wakes: Receiver<()>, running: Running) -> Result<()> {
    let weak = Arc::downgrade(shared);
    std::thread::Builder::new().name("cm-clock".into()).spawn(move || {
        run(&weak, &wakes);
        // It may have been the last to hold the queue.
        drop(running);
    })?;
    Ok(())
}

fn run(weak: &Weak<Shared>, wakes: &Receiver<()>) {
    let mut swept = Instant::now();
    loop {
        // Held only for a turn: the queue may go while the clock sleeps.
        let turned = {
            let Some(shared) = weak.upgrade() else { return };
            // Caught, or every lease and timeout of this memory would stand still, and nobody would be told.
            let turned = catch_unwind(AssertUnwindSafe(|| turn(&shared, &mut swept)));
            if turned.is_err() {
                // What was due is out of the heap and may not have been dealt with.
                drop(catch_unwind(AssertUnwindSafe(|| {
                    shared.with(|state, effects| {
                        state.metrics.clock_failures += 1;
                        state.arm_again(effects);
                    });
                })));
            }
            turned
        };
        match turned {
            Ok(None) => return,
            Ok(Some(wait)) => match wakes.recv_timeout(wait) {
                Ok(()) | Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            },
            Err(_) => std::thread::sleep(REST),
        }
    }
}

/// Does what is due; answers how long to sleep, or `None` where the queue has closed.
fn turn(shared: &Arc<Shared>, swept: &mut Instant) -> Option<Duration> {
    if shared.read(|state| state.closed) {
        return None;
    }
    let next = shared.with(tick);
    if swept.elapsed() >= SWEEP {
        *swept = Instant::now();
        shared.with(end_waits_by_wall_clock);
        shared.with(sweep);
        reclaim::start(shared);
    }
    let longest = shared.read(|state| match (state.has_to_sweep(), state.has_waits()) {
        (true, _) => SWEEP,
        (false, true) => LOOK,
        (false, false) => IDLE,
    });
    Some(next.map_or(longest, |next| next.saturating_duration_since(Instant::now())).min(longest))
}

/// Does what is due; when the next is.
fn tick(state: &mut State, effects: &mut Effects) -> Option<Instant> {
    let now = Instant::now();
    let (due, next) = state.due(now);
    if !due.is_empty() {
        fault::point("clock");
    }
    for id in due {
        if id == ALL {
            if state.pause_all.as_ref().is_some_and(|pause| pause.until.is_some_and(|(until, _)| until <= now)) {
                pause::lift(state, ALL, effects);
            }
        } else {
            expire(state, id, now, effects);
        }
    }
    next
}

fn expire(state: &mut State, id: i64, now: Instant, effects: &mut Effects) {
    if let Some(session) = state.sessions.get_mut(&id) {
        if session.pause.as_ref().is_some_and(|pause| pause.until.is_some_and(|(until, _)| until <= now)) {
            session.pause = None;
        }
        if session.not_before.is_some_and(|(until, _)| until <= now) {
            session.not_before = None;
        }
        if let Some(lease) = &mut session.lease
            && lease.phase == Phase::Leased
            && lease.deadline <= now
        {
            match lease.extension {
                // It ends with its handle, not with the clock.
                Some(extension) => lease.deadline = now + extension,
                None => lapse(state, id, effects),
            }
        }
    }
    if state.sessions.get(&id).is_some_and(|session| {
        // A claim on the way may be that of a large message: it takes a moment, and its consumer is not idle.
        !session.claiming
            && session.consumer.as_ref().and_then(super::consumer::Slot::idle_deadline).is_some_and(|idle| idle <= now)
    }) {
        state.end_consumer(id, EndReason::Idle, effects);
    }
    if state.registry.expires(id).is_some_and(|expires| expires <= now) {
        // Expiry forgets the session; its messages stay, and an open batch may still be committed.
        state.registry.remove(id);
        state.end_consumer(id, EndReason::Expired, effects);
    }
    state.follow_up(id, effects);
}

/// Ends pauses and backoffs whose time has come by the wall clock, before their deadline: the machine has slept, or its
/// clock was put right. The other way round the deadline ends them, so neither makes a wait longer.
fn end_waits_by_wall_clock(state: &mut State, effects: &mut Effects) {
    for id in state.end_waits(clock::now_epoch()) {
        if id == ALL {
            pause::lift(state, ALL, effects);
        } else {
            state.follow_up(id, effects);
        }
    }
}

/// A lease that runs out closes its consumer. Its commit is still taken while nobody has claimed since.
fn lapse(state: &mut State, id: i64, effects: &mut Effects) {
    // Nobody could be asked to finish what was paused: that counts no attempt.
    let paused = state.is_paused(id);
    let Some(session) = state.sessions.get_mut(&id) else { return };
    let Some(mut lease) = session.lease.take() else { return };
    let (token, ids, consumer) = (lease.token, lease.ids.clone(), lease.consumer);
    let count_attempt = !paused && !lease.counted;
    lease.counted |= count_attempt;
    session.lapsed = Some(lease);
    // Nobody claims before the attempt is counted: the backoff is set by the release that follows.
    session.lapsing = true;
    if session.consumer.as_ref().is_some_and(|slot| slot.id == consumer) {
        state.end_consumer(id, EndReason::Expired, effects);
    }
    effects.then_with(move |shared| {
        let after = Arc::clone(shared);
        release::write(
            shared,
            id,
            token,
            ids,
            ReleaseOptions { count_attempt, ..ReleaseOptions::lapsed() },
            Reply::new(move |_| {
                after.with(|state, effects| {
                    state.session(id).lapsing = false;
                    state.follow_up(id, effects);
                });
            }),
        );
    });
}

/// Ends what was only garbage-collected.
fn sweep(state: &mut State, effects: &mut Effects) {
    state.offers.retain(|offers| !offers.is_abandoned());
    for (id, token) in state.abandoned() {
        if let Some(token) = token {
            let options = ReleaseOptions { count_attempt: false, ..ReleaseOptions::default() };
            release::begin(state, effects, id, token, options, Reply::ignore());
        }
        if state
            .sessions
            .get(&id)
            .and_then(|session| session.consumer.as_ref())
            .is_some_and(super::consumer::Slot::is_abandoned)
        {
            state.end_consumer(id, EndReason::Disposed, effects);
        }
        state.follow_up(id, effects);
    }
}
