//! The queue and the threads it works with.

use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::{
        Arc, Mutex, OnceLock, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use crossbeam_channel::Sender;
use rusqlite::Connection;

use super::{
    arrivals::{Arrivals, Watch},
    claim::Claim,
    clock,
    consumer::EndReason,
    control,
    directory::{Directory, Known, Told},
    effects::Effects,
    enqueue, erase,
    figures::Figures,
    lease::Phase,
    message_ids::MessageIds,
    ready::Offers,
    recovery,
    release::{self, ReleaseOptions},
    state::{State, Waiting},
    storage,
};
use crate::{
    db::{Budget, Call, Database, Durability, Follow, Write, Writer, activity::Activity},
    error::{Error, Result},
    reply::Reply,
    sessions::SessionInfo,
    settings::Settings,
    store::opening::SessionRow,
};

/// See [`Shared::bookkeeping_deadline`].
const BOOKKEEPING: Duration = Duration::from_secs(60);

/// See [`Follow::postponed_pages`]: a burst makes the log 64 MiB long at most, where nobody reads an older state of it.
/// 10,000 messages of 4.3 KB are 46 MiB.
const POSTPONED_PAGES: i64 = 12_000;

/// What every part of the queue works on.
pub struct Shared {
    /// Options.
    pub settings: Arc<Settings>,
    /// What is known of sessions, and where acknowledgements are kept.
    pub directory: Box<dyn Directory>,
    queue_writer: OnceLock<Writer>,
    watch: Mutex<Option<Watch>>,
    state: Mutex<State>,
    /// Sessions that the group now running has enqueued to.
    touched: Mutex<Vec<i64>>,
    /// Enqueues of the group now settling that are committed and not settled yet.
    committed: Mutex<Vec<enqueue::Committed>>,
    /// Where message ids come from.
    pub ids: MessageIds,
    /// Dedupe keys remembered since open.
    dedupe_keys: AtomicU64,
    clock: Sender<()>,
    me: Weak<Shared>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

impl Shared {
    /// Changes the state under its lock, then does what has to follow.
    pub fn with<R>(&self, change: impl FnOnce(&mut State, &mut Effects) -> R) -> R {
        let mut effects = Effects::default();
        let result = catch_unwind(AssertUnwindSafe(|| {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            change(&mut state, &mut effects)
        }));
        // Also after a panic: the state says that what was decided before it is on the way.
        if let Some(shared) = self.me.upgrade() {
            effects.run(&shared);
        }
        result.unwrap_or_else(|payload| resume_unwind(payload))
    }

    /// Reads the state.
    pub fn read<R>(&self, read: impl FnOnce(&State) -> R) -> R {
        read(&self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The writer of `queue.db`.
    pub fn queue_writer(&self) -> &Writer {
        // Set before the first handle exists; see `Queue::open`.
        #[expect(clippy::expect_used, reason = "set in the constructor, before anybody can call")]
        self.queue_writer.get().expect("the writer is started by open")
    }

    /// Has the clock look at its deadlines again.
    pub(super) fn wake_clock(&self) {
        // A full channel has a wake-up in it already.
        let _ = self.clock.try_send(());
    }

    /// When a call without a deadline of its own gives up on a lock.
    pub fn deadline(&self) -> Instant {
        Instant::now() + self.settings.deadline
    }

    /// When our own bookkeeping gives up on a lock; what it leaves undone is mended at the next open.
    pub fn bookkeeping_deadline() -> Instant {
        Instant::now() + BOOKKEEPING
    }

    /// Notes that the group now running has enqueued to a session.
    pub fn touch(&self, session_id: i64) {
        let mut touched = self.touched.lock().unwrap_or_else(PoisonError::into_inner);
        if !touched.contains(&session_id) {
            touched.push(session_id);
        }
    }

    /// Notes an enqueue that is committed, to be settled with the others of its group. It keeps this alive until then.
    pub fn note_committed(&self, enqueue: enqueue::Committed) {
        self.committed.lock().unwrap_or_else(PoisonError::into_inner).push(enqueue);
    }

    /// Notes that a message id was committed.
    pub fn confirm_id(&self, id: i64) {
        if let Some(floor) = self.ids.confirm(id) {
            self.directory.raise_id_floor(floor);
        }
    }

    /// Counts a dedupe key that is remembered; how many it makes since open.
    pub fn count_dedupe_key(&self) -> u64 {
        self.dedupe_keys.fetch_add(1, Ordering::Relaxed) + 1
    }
}

/// What each transaction of the queue's writer begins and ends with: messages of other processes are noticed, and
/// claims of waiting consumers written in the enqueue's own transaction.
struct ClaimsInTransaction {
    shared: Weak<Shared>,
    arrivals: Arrivals,
    _guard: Arc<dyn Any + Send + Sync>,
}

impl Follow for ClaimsInTransaction {
    fn begun(&mut self, db: &Connection) -> Result<()> {
        match self.shared.upgrade() {
            Some(shared) => {
                shared.directory.look_again();
                self.arrivals.notice(&shared, db)
            }
            None => Ok(()),
        }
    }

    fn follow_ups(&mut self) -> Vec<Box<dyn Write>> {
        let Some(shared) = self.shared.upgrade() else { return Vec::new() };
        let touched = std::mem::take(&mut *shared.touched.lock().unwrap_or_else(PoisonError::into_inner));
        if touched.is_empty() {
            return Vec::new();
        }
        let claims: Vec<Claim> = shared.with(|state, _| {
            touched
                .into_iter()
                .filter_map(|id| {
                    // The messages of this group are not counted as durable yet; a claim behind them sees them.
                    let free = !state.closed && !state.is_paused(id);
                    let session = state.sessions.get_mut(&id)?;
                    let waits = session.consumer.as_ref()?.is_waiting();
                    let due = session.not_before.is_none_or(|(until, _)| until <= Instant::now());
                    if !(free && waits && due && session.lease.is_none() && !session.claiming && !session.lapsing) {
                        return None;
                    }
                    session.claiming = true;
                    session.consumer.as_ref().map(|slot| slot.claim(id))
                })
                .collect()
        });
        claims.into_iter().map(|claim| Box::new(claim.bind(&shared)) as Box<dyn Write>).collect()
    }

    fn postponed_pages(&self) -> i64 {
        POSTPONED_PAGES
    }

    fn settle_together(&mut self) {
        let Some(shared) = self.shared.upgrade() else { return };
        let committed = std::mem::take(&mut *shared.committed.lock().unwrap_or_else(PoisonError::into_inner));
        enqueue::settle(&shared, committed);
    }
}

/// The durable queues of one memory.
#[derive(Debug, Clone)]
pub struct Queue {
    shared: Arc<Shared>,
}

/// What a queue is opened with.
pub struct Parts {
    /// Options.
    pub settings: Arc<Settings>,
    /// The write connection of `queue.db`.
    pub queue_db: Database,
    /// A read-only connection to `queue.db`, by which messages of other processes are seen.
    pub watched: Database,
    /// What is known of sessions, and where acknowledgements are kept.
    pub directory: Box<dyn Directory>,
    /// Bytes in flight, shared with the main writer.
    pub budget: Arc<Budget>,
    /// Slowest operations, shared.
    pub activity: Arc<Activity>,
    /// Dropped when the writer's thread has ended: the owner lock.
    pub guard: Arc<dyn Any + Send + Sync>,
}

impl Queue {
    /// Recovers what a predecessor left and starts the writer and the clock.
    ///
    /// # Errors
    /// `ERR_CORRUPT`, `ERR_IO`, `ERR_BUSY`.
    pub fn open(parts: Parts) -> Result<Self> {
        let Parts { settings, mut queue_db, watched, directory, budget, activity, guard } = parts;
        let mut state = State::new(&settings);
        let mut effects = Effects::default();
        // Before everything is read: what changes meanwhile is read once more.
        let changes = control::changes(&queue_db)?;
        let next_id = recovery::recover(&mut queue_db, &*directory, &settings, &mut state, &mut effects)?;
        let (wake, wakes) = crossbeam_channel::bounded(1);
        let shared = Arc::new_cyclic(|me| Shared {
            settings: Arc::clone(&settings),
            directory,
            queue_writer: OnceLock::new(),
            watch: Mutex::default(),
            state: Mutex::new(state),
            touched: Mutex::default(),
            committed: Mutex::default(),
            ids: MessageIds::starting_at(next_id),
            dedupe_keys: AtomicU64::new(0),
            clock: wake,
            me: Weak::clone(me),
        });
        let follow = Box::new(ClaimsInTransaction {
            shared: Arc::downgrade(&shared),
            arrivals: Arrivals::default(),
            _guard: guard,
        });
        let (clock, watch) = (activity.thread(), activity.thread());
        let writer = Writer::start("cm-queue", queue_db, settings.durability, budget, activity, Some(follow))?;
        shared.queue_writer.set(writer).map_err(|_| Error::internal("the queue's writer was started twice"))?;
        effects.run(&shared);
        clock::start(&shared, wakes, clock)?;
        *shared.watch.lock().unwrap_or_else(PoisonError::into_inner) =
            Some(Watch::start(&shared, watched, changes, watch)?);
        Ok(Self { shared })
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// The writer of `queue.db`, for health.
    #[must_use]
    pub fn writer(&self) -> &Writer {
        self.shared.queue_writer()
    }

    /// Messages waiting or leased: of one session, or in all.
    #[must_use]
    pub fn depth(&self, session_id: Option<i64>) -> usize {
        self.shared.read(|state| match session_id {
            Some(id) => state.sessions.get(&id).map_or(0, |session| session.depth),
            None => state.depth,
        })
    }

    /// Their payload bytes.
    #[must_use]
    pub fn bytes(&self, session_id: Option<i64>) -> usize {
        self.shared.read(|state| match session_id {
            Some(id) => state.sessions.get(&id).map_or(0, |session| session.bytes),
            None => state.bytes,
        })
    }

    /// Whether anything waits or is leased: in one session, or in any.
    #[must_use]
    pub fn is_busy(&self, session_id: Option<i64>) -> bool {
        self.depth(session_id) > 0
    }

    /// Whether a session has deliverable messages and no consumer.
    #[must_use]
    pub fn is_ready(&self, session_id: i64) -> bool {
        self.shared.read(|state| state.is_ready(session_id))
    }

    /// Whether a session has a live consumer.
    #[must_use]
    pub fn has_consumer(&self, session_id: i64) -> bool {
        self.shared.read(|state| state.sessions.get(&session_id).is_some_and(|session| session.consumer.is_some()))
    }

    /// Every session with waiting messages, the one with the oldest first.
    #[must_use]
    pub fn discover(&self) -> Vec<Waiting> {
        self.shared.read(State::waiting)
    }

    /// Makes a session active, or refreshes it. A live consumer is left alone.
    ///
    /// # Errors
    /// `ERR_DISPOSED`.
    pub fn activate_session(
        &self,
        session_id: i64,
        row: &SessionRow,
        prompt_number: Option<i64>,
    ) -> Result<SessionInfo> {
        self.shared.with(|state, effects| {
            if state.closed {
                return Err(Error::disposed("memory"));
            }
            erase::check(state, session_id)?;
            state.activate(session_id, row, prompt_number, effects);
            state.follow_up(session_id, effects);
            state
                .registry
                .get(session_id)
                .cloned()
                .ok_or_else(|| Error::internal("a session just activated is not active"))
        })
    }

    /// Makes a session active by what the caller tells of it; for a queue on its own.
    pub fn introduce_session(
        &self,
        session_id: i64,
        claude_session_id: Option<String>,
        project: Option<String>,
        prompt_number: Option<i64>,
        reply: Reply<SessionInfo>,
    ) {
        let (lookup, queue) = (Arc::clone(&self.shared), self.clone());
        on_queue(
            &self.shared,
            "initializeSession",
            Durability::Normal,
            move |db| {
                let told = Told { claude_session_id: claude_session_id.as_deref(), project: project.as_deref() };
                lookup.directory.enter(db, session_id, told, lookup.ids.newest())
            },
            Reply::new(move |known: Result<Known>| {
                reply.settle(known.and_then(|known| queue.activate_session(session_id, &known.row, prompt_number)));
            }),
        );
    }

    /// An active session.
    #[must_use]
    pub fn session(&self, session_id: i64) -> Option<SessionInfo> {
        self.shared.read(|state| state.registry.get(session_id).cloned())
    }

    /// All active sessions.
    #[must_use]
    pub fn sessions(&self) -> Vec<SessionInfo> {
        self.shared.read(|state| state.registry.list())
    }

    /// How many sessions are active.
    #[must_use]
    pub fn session_count(&self) -> usize {
        self.shared.read(|state| state.registry.len())
    }

    /// Figures for health.
    #[must_use]
    pub fn figures(&self, session_id: Option<i64>) -> Figures {
        self.shared.read(|state| Figures::new(state, session_id))
    }

    /// Ends every consumer, releases every open batch uncounted, and refuses what comes later.
    pub fn dispose(&self) {
        self.shared.with(|state, effects| {
            if state.closed {
                return;
            }
            state.closed = true;
            let ids: Vec<i64> = state.sessions.keys().copied().collect();
            for id in ids {
                state.end_consumer(id, EndReason::Disposed, effects);
                let token = state
                    .sessions
                    .get(&id)
                    .and_then(|session| session.lease.as_ref())
                    .filter(|lease| lease.phase == Phase::Leased)
                    .map(|lease| lease.token);
                if let Some(token) = token {
                    release::begin(state, effects, id, token, ReleaseOptions::graceful(), Reply::ignore());
                }
            }
            for mut offers in std::mem::take(&mut state.offers) {
                offers.end(effects);
            }
            state.registry.clear();
            effects.wake_clock = true;
        });
    }

    /// Lets the writer of `queue.db` finish and closes it; after [`Queue::dispose`] and after the main
    /// writer, whose last commits still clear their leases here.
    pub fn close(&self, bound: Duration) {
        // Every commit has settled. A lease that is left was claimed while this memory went: a graceful end counts
        // no attempt. Behind every claim that is still queued.
        on_queue(&self.shared, "void-leases", Durability::Normal, storage::clear_leases, Reply::ignore());
        let watch = self.shared.watch.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(watch) = watch {
            watch.close(bound);
        }
        self.shared.queue_writer().close(bound);
        self.shared.directory.close();
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // Nothing to join: the writer's channel disconnects with it, and the clock holds only a weak reference.
        let _ = self.clock.try_send(());
        // Where every handle was only garbage-collected, somebody may still await what one of them promised.
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        let consumers = state.sessions.values_mut().filter_map(|session| session.consumer.as_mut()?.take_waiter());
        for reply in consumers {
            reply.settle(Ok(None));
        }
        for reply in state.offers.drain(..).filter_map(Offers::into_waiter) {
            reply.settle(Ok(None));
        }
    }
}

/// Submits a closure to the writer of `queue.db`.
pub fn on_queue<T: Send + 'static>(
    shared: &Shared,
    name: &'static str,
    durability: Durability,
    run: impl FnMut(&Connection) -> Result<T> + Send + 'static,
    reply: Reply<T>,
) {
    shared.queue_writer().submit(Call::new(name, shared.deadline(), run, reply).durability(durability));
}
