//! Counters, leases, consumers and timers of every session, in native memory. Pure bookkeeping under one
//! mutex: nothing here touches a disk; what has to follow a change is left in [`Effects`].

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap, HashMap, HashSet},
    sync::atomic::Ordering,
    time::Instant,
};

use super::{
    consumer::{EndReason, Slot},
    effects::Effects,
    lease::{Lease, Phase},
    metrics::Metrics,
    pause,
    ready::Offers,
};
use crate::{sessions::Registry, settings::Settings, store::opening::SessionRow};

/// Deliveries stopped by `pause`.
#[derive(Debug, Clone)]
pub struct Pause {
    /// When it ends by itself: monotonic, and as wall clock for people.
    pub until: Option<(Instant, i64)>,
    pub reason: Option<Box<str>>,
    /// The `claude_session_id` of the session it is of, where it had a row: its number may be another's one day.
    pub owner: Option<Box<str>>,
}

impl Pause {
    /// Whether it is of another session than the one that has the number now; a session without a name is no other.
    pub fn is_of_another(&self, claude_session_id: &str) -> bool {
        !claude_session_id.is_empty() && self.owner.as_ref().is_some_and(|owner| **owner != *claude_session_id)
    }
}

/// What is known of one session.
#[derive(Debug, Default)]
pub struct Session {
    /// Messages accepted and not acknowledged: waiting, leased, or on the way into `queue.db`.
    pub depth: usize,
    /// Their bytes.
    pub bytes: usize,
    /// Those of `depth` that are in `queue.db`.
    pub durable: usize,
    /// When the oldest came, epoch ms.
    pub oldest_epoch: Option<i64>,
    /// Counted attempts of the oldest.
    pub attempts: u32,
    /// The backoff's end: monotonic, and as wall clock for people.
    pub not_before: Option<(Instant, i64)>,
    pub pause: Option<Pause>,
    pub lease: Option<Lease>,
    /// A lease that ran out: its commit is still taken while nobody has claimed since.
    pub lapsed: Option<Lease>,
    /// A claim is on the way through the queue's writer.
    pub claiming: bool,
    /// The attempt of a lapsed lease is being counted; nobody claims before.
    pub lapsing: bool,
    pub consumer: Option<Slot>,
    /// The earliest entry of the timer heap for this session.
    pub armed: Option<Instant>,
}

/// One entry of `queue.discover()`.
#[derive(Debug, Clone, PartialEq)]
pub struct Waiting {
    /// `sdk_sessions.id`.
    pub session_db_id: i64,
    /// Messages waiting or leased.
    pub depth: usize,
    /// Their bytes.
    pub bytes: usize,
    /// When the oldest came, epoch ms.
    pub oldest_epoch: Option<i64>,
    /// When a backoff ends, epoch ms; `None` where none runs.
    pub ready_at_epoch: Option<i64>,
    /// Counted attempts of the oldest message.
    pub attempts: u32,
    /// Whether the session, or all, are paused.
    pub paused: bool,
}

/// Acknowledged messages that still lie in `queue.db`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Unpurged {
    pub upto: i64,
    pub count: usize,
    pub bytes: usize,
}

/// Everything of the queue that lives in native memory.
pub struct State {
    /// Set by dispose: nothing is accepted any more.
    pub closed: bool,
    pub sessions: HashMap<i64, Session>,
    /// Sessions that are being deleted: nothing is taken or delivered for them.
    pub leaving: HashSet<i64>,
    /// Sum over all sessions.
    pub depth: usize,
    /// Sum over all sessions.
    pub bytes: usize,
    pub pause_all: Option<Pause>,
    pub registry: Registry,
    pub offers: Vec<Offers>,
    pub unpurged: BTreeMap<i64, Unpurged>,
    pub purging: bool,
    /// Pages of `queue.db` may have become free otherwise than by a purge: look once it is quiet.
    pub reclaimable: bool,
    /// A purge has failed; it rests until then.
    pub purge_after: Option<Instant>,
    /// When something was last enqueued or committed: purging waits for a quiet moment.
    pub active: Instant,
    pub metrics: Metrics,
    pub next_number: u64,
    timers: BinaryHeap<Reverse<(Instant, i64)>>,
}

/// The timer key of what concerns all sessions.
pub const ALL: i64 = 0;

impl State {
    pub fn new(settings: &Settings) -> Self {
        Self {
            closed: false,
            sessions: HashMap::new(),
            leaving: HashSet::new(),
            depth: 0,
            bytes: 0,
            pause_all: None,
            registry: Registry::new(settings.session_ttl, settings.max_sessions),
            offers: Vec::new(),
            unpurged: BTreeMap::new(),
            purging: false,
            reclaimable: false,
            purge_after: None,
            active: Instant::now(),
            metrics: Metrics::default(),
            next_number: 1,
            timers: BinaryHeap::new(),
        }
    }

    /// A number that nothing else of this memory has: tokens, consumer ids.
    pub fn number(&mut self) -> u64 {
        self.next_number += 1;
        self.next_number
    }

    pub fn session(&mut self, id: i64) -> &mut Session {
        self.sessions.entry(id).or_default()
    }

    /// Counts a message in, from the moment it is accepted.
    pub fn count_in(&mut self, id: i64, bytes: usize, epoch: i64) {
        self.depth += 1;
        self.bytes += bytes;
        self.active = Instant::now();
        let session = self.session(id);
        session.depth += 1;
        session.bytes += bytes;
        session.oldest_epoch.get_or_insert(epoch);
    }

    /// Counts messages out: refused, acknowledged, dead or purged.
    pub fn count_out(&mut self, id: i64, count: usize, bytes: usize, durable: bool) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let (count, bytes) = (count.min(session.depth), bytes.min(session.bytes));
        session.depth -= count;
        session.bytes -= bytes;
        if durable {
            session.durable = session.durable.saturating_sub(count);
        }
        if session.depth == 0 {
            session.oldest_epoch = None;
            session.attempts = 0;
        }
        self.depth -= count;
        self.bytes -= bytes;
    }

    /// Corrects the bytes of a message that was counted in with `before` and is stored with `after`.
    pub fn resize(&mut self, id: i64, before: usize, after: usize) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        session.bytes = (session.bytes + after).saturating_sub(before);
        self.bytes = (self.bytes + after).saturating_sub(before);
    }

    /// Takes over what the queue's file says of a session's oldest message: when it came, counted attempts.
    pub fn set_head(&mut self, id: i64, head: Option<(i64, u32)>) {
        let Some(session) = self.sessions.get_mut(&id).filter(|session| session.depth > 0) else { return };
        session.attempts = head.map_or(0, |(_, attempts)| attempts);
        if let Some((epoch, _)) = head {
            session.oldest_epoch = Some(epoch);
        }
    }

    /// Makes a session active or refreshes it; the one that the cap sends away loses its consumer.
    pub fn activate(&mut self, id: i64, row: &SessionRow, prompt_number: Option<i64>, effects: &mut Effects) {
        if self.leaving.contains(&id) {
            return;
        }
        if let Some(evicted) = self.registry.activate(id, row, prompt_number) {
            self.end_consumer(evicted, EndReason::Expired, effects);
            self.follow_up(evicted, effects);
        }
        if let Some(session) = self.sessions.get_mut(&id)
            && session.pause.take_if(|pause| pause.is_of_another(&row.claude_session_id)).is_some()
        {
            pause::forget(id, row.claude_session_id.clone(), effects);
        }
    }

    pub fn is_paused(&self, id: i64) -> bool {
        self.pause_all.is_some() || self.sessions.get(&id).is_some_and(|session| session.pause.is_some())
    }

    /// Whether a claim would find something now.
    pub fn is_deliverable(&self, id: i64) -> bool {
        !self.closed
            && !self.is_paused(id)
            && !self.leaving.contains(&id)
            && self.sessions.get(&id).is_some_and(|session| {
                session.durable > 0
                    && session.lease.is_none()
                    && !session.claiming
                    && !session.lapsing
                    && session.not_before.is_none_or(|(until, _)| until <= Instant::now())
            })
    }

    /// Whether somebody should start a consumer for this session.
    pub fn is_ready(&self, id: i64) -> bool {
        self.is_deliverable(id) && self.sessions.get(&id).is_some_and(|session| session.consumer.is_none())
    }

    /// The lease with this token, running or lapsed.
    pub fn lease_mut(&mut self, id: i64, token: i64) -> Option<&mut Lease> {
        let session = self.sessions.get_mut(&id)?;
        session.lease.as_mut().filter(|lease| lease.token == token)
    }

    /// Ends the session's consumer, whoever waits for it.
    pub fn end_consumer(&mut self, id: i64, reason: EndReason, effects: &mut Effects) {
        let Some(slot) = self.sessions.get_mut(&id).and_then(|session| session.consumer.take()) else { return };
        slot.end(reason, effects);
    }

    /// Follows up on any change to a session: claims for a waiting consumer, or offers the session to
    /// `ready()`; arms its timer; forgets it where nothing is left of it.
    pub fn follow_up(&mut self, id: i64, effects: &mut Effects) {
        if self.closed {
            return;
        }
        if self.is_deliverable(id) {
            let waiting = self
                .sessions
                .get_mut(&id)
                .and_then(|session| session.consumer.as_ref().map(|slot| (slot.is_waiting(), slot.claim(id))));
            match waiting {
                Some((true, claim)) => {
                    self.session(id).claiming = true;
                    effects.claim(claim);
                }
                Some((false, _)) => {}
                None => Offers::offer(self, id, effects),
            }
        }
        let drained = self.registry.get(id).is_some_and(|info| info.draining)
            && self.sessions.get(&id).is_none_or(|session| session.depth == 0 && session.lease.is_none());
        if drained {
            self.end_consumer(id, EndReason::Deleted, effects);
            self.registry.remove(id);
        }
        self.arm(id, effects);
        let forget = self.registry.get(id).is_none()
            && self.sessions.get(&id).is_some_and(|session| {
                session.depth == 0
                    && session.lease.is_none()
                    && session.lapsed.is_none()
                    && !session.claiming
                    && !session.lapsing
                    && session.consumer.is_none()
                    && session.pause.is_none()
                    && session.not_before.is_none()
            });
        if forget {
            self.sessions.remove(&id);
        }
    }

    /// The next moment at which something of this session is due.
    fn next_deadline(&self, id: i64) -> Option<Instant> {
        let session = self.sessions.get(&id);
        let lease = session.and_then(|session| session.lease.as_ref()).filter(|lease| lease.phase == Phase::Leased);
        [
            lease.map(|lease| lease.deadline),
            // While a claim is on the way a consumer is not idle; where that finds nothing, its timer is armed again.
            session
                .filter(|session| !session.claiming)
                .and_then(|session| session.consumer.as_ref())
                .and_then(Slot::idle_deadline),
            // Also one that has just passed: whoever asked a moment ago found nothing deliverable.
            session.and_then(|session| session.not_before).map(|(until, _)| until),
            session.and_then(|session| session.pause.as_ref()?.until).map(|(until, _)| until),
            self.registry.expires(id),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// One re-armed slot a session: an entry that comes too early finds nothing due and arms the next.
    fn arm(&mut self, id: i64, effects: &mut Effects) {
        let Some(due) = self.next_deadline(id) else { return };
        let session = self.session(id);
        if session.armed.is_none_or(|armed| due < armed) {
            session.armed = Some(due);
            self.push_timer(due, id, effects);
        }
    }

    /// Makes the timers anew, from what the sessions say.
    pub fn arm_again(&mut self, effects: &mut Effects) {
        self.timers.clear();
        let mut ids: Vec<i64> = self.registry.list().iter().map(|info| info.session_db_id).collect();
        for (id, session) in &mut self.sessions {
            session.armed = None;
            ids.push(*id);
        }
        for id in ids {
            self.arm(id, effects);
        }
        if let Some((until, _)) = self.pause_all.as_ref().and_then(|pause| pause.until) {
            self.push_timer(until, ALL, effects);
        }
    }

    /// Wakes the clock at `due` for `id`.
    pub fn push_timer(&mut self, due: Instant, id: i64, effects: &mut Effects) {
        let first = self.timers.peek().is_none_or(|Reverse((next, _))| due < *next);
        self.timers.push(Reverse((due, id)));
        effects.wake_clock |= first;
    }

    /// The sessions whose timer is due, each once, and when the next one is.
    pub fn due(&mut self, now: Instant) -> (Vec<i64>, Option<Instant>) {
        let mut due = Vec::new();
        while let Some(Reverse((at, id))) = self.timers.peek().copied() {
            if at > now {
                return (due, Some(at));
            }
            self.timers.pop();
            if let Some(session) = self.sessions.get_mut(&id)
                && session.armed.is_some_and(|armed| armed <= at)
            {
                session.armed = None;
            }
            if !due.contains(&id) {
                due.push(id);
            }
        }
        (due, None)
    }

    /// Ends every pause and backoff whose time on the wall clock is not after `now`; whose they were.
    pub fn end_waits(&mut self, now: i64) -> Vec<i64> {
        let over = |(_, epoch): &mut (Instant, i64)| *epoch <= now;
        let paused_over = |pause: &mut Pause| pause.until.as_ref().is_some_and(|(_, epoch)| *epoch <= now);
        let mut ended = Vec::new();
        if self.pause_all.take_if(paused_over).is_some() {
            ended.push(ALL);
        }
        for (id, session) in &mut self.sessions {
            let (pause, wait) = (session.pause.take_if(paused_over), session.not_before.take_if(over));
            if pause.is_some() || wait.is_some() {
                ended.push(*id);
            }
        }
        ended
    }

    /// Whether a pause or a backoff has an end.
    pub fn has_waits(&self) -> bool {
        let ends = |pause: &Option<Pause>| pause.as_ref().is_some_and(|pause| pause.until.is_some());
        ends(&self.pause_all)
            || self.sessions.values().any(|session| session.not_before.is_some() || ends(&session.pause))
    }

    /// Whether there is anything that could be abandoned, or acknowledged messages to purge.
    pub fn has_to_sweep(&self) -> bool {
        !self.unpurged.is_empty()
            || self.reclaimable
            || !self.offers.is_empty()
            || self.sessions.values().any(|session| session.lease.is_some() || session.consumer.is_some())
    }

    /// Batches and consumers whose JavaScript handle was only garbage-collected.
    pub fn abandoned(&self) -> Vec<(i64, Option<i64>)> {
        self.sessions
            .iter()
            .filter_map(|(id, session)| {
                let lease = session
                    .lease
                    .as_ref()
                    .filter(|lease| lease.phase == Phase::Leased && lease.abandoned.load(Ordering::Relaxed));
                let consumer = session.consumer.as_ref().is_some_and(Slot::is_abandoned);
                (lease.is_some() || consumer).then(|| (*id, lease.map(|lease| lease.token)))
            })
            .collect()
    }

    /// Bytes that this bookkeeping holds, for health.
    pub fn native_bytes(&self) -> usize {
        self.sessions.capacity() * (size_of::<i64>() + size_of::<Session>())
            + self.timers.len() * size_of::<(Instant, i64)>()
            + self.registry.len() * 256
            + self.unpurged.len() * size_of::<(i64, Unpurged)>()
    }

    /// `queue.discover()`.
    pub fn waiting(&self) -> Vec<Waiting> {
        let now = Instant::now();
        let mut list: Vec<Waiting> = self
            .sessions
            .iter()
            .filter(|(_, session)| session.depth > 0)
            .map(|(id, session)| Waiting {
                session_db_id: *id,
                depth: session.depth,
                bytes: session.bytes,
                oldest_epoch: session.oldest_epoch,
                ready_at_epoch: session.not_before.filter(|(until, _)| *until > now).map(|(_, epoch)| epoch),
                attempts: session.attempts,
                paused: self.is_paused(*id),
            })
            .collect();
        list.sort_by_key(|entry| (entry.oldest_epoch, entry.session_db_id));
        list
    }
}
