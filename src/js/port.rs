//! The side of the completions port that core threads hold: a queue of settlements, and what wakes the JS thread.

use std::{
    collections::VecDeque,
    ptr,
    sync::{
        Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::ThreadId,
    time::Instant,
};

use napi::sys;

use super::{
    answer::{Answer, Outcome},
    completions::{KEPT, Pending, Work},
    pace::Called,
};

/// Bytes from which an answer counts as large. Thousands of reads may wait: with a higher mark those just below it
/// would fill memory uncounted.
const LARGE: usize = 4 << 10;
/// Bytes of large answers that may be on their way at once; one is always let through, however large.
const LARGE_ANSWERS: usize = 64 << 20;

/// Half of a promise: what settles it. The other half is with JavaScript.
#[derive(Clone, Copy)]
pub(super) struct Deferred {
    pub(super) raw: sys::napi_deferred,
    pub(super) pending: Pending,
    /// Bytes that its answer holds on its way; 0 for a small one, which is not counted.
    pub(super) weight: usize,
    /// The call that it answers; none for a wait.
    pub(super) called: Option<Called>,
}

// SAFETY: a foreign thread only carries it; it is used on the JS thread alone.
unsafe impl Send for Deferred {}

pub(super) struct Settlement {
    pub(super) deferred: Deferred,
    pub(super) outcome: Outcome,
    /// When it came, whatever it then waited for.
    pub(super) answered: Instant,
}

/// The thread-safe functions of an open port.
#[derive(Clone, Copy)]
pub(super) struct Wakers {
    /// Drains the queue.
    pub(super) drain: sys::napi_threadsafe_function,
    /// Calls `drain`. Node runs a thread-safe function that is called from its own callback again in the same
    /// turn; by way of a second one it comes in a later turn.
    pub(super) next_turn: sys::napi_threadsafe_function,
}

// SAFETY: N-API lets any thread call a thread-safe function; the port's lock proves that it still exists.
unsafe impl Send for Wakers {}

pub(super) struct Queue {
    /// None before the port opens and after it has closed.
    pub(super) wakers: Option<Wakers>,
    pub(super) waiting: VecDeque<Settlement>,
    /// Whether the JS thread is awake: a call of `drain` or `next_turn` is under way, so that thousands of settlements
    /// need one.
    woken: bool,
    /// Bytes of large answers that wait or are being built.
    bytes: usize,
    /// Threads that wait for room.
    blocked: usize,
}

/// The side of the port that core threads hold.
pub(super) struct Port {
    queue: Mutex<Queue>,
    /// Whether something waits; changed under the lock, read without it.
    pub(super) filled: AtomicBool,
    /// Told when large answers have become JavaScript values, and when the port closes.
    room: Condvar,
    js_thread: ThreadId,
}

impl Port {
    /// A port that is not open yet, made on the JS thread.
    pub(super) fn new() -> Self {
        Self {
            queue: Mutex::new(Queue { wakers: None, waiting: VecDeque::new(), woken: false, bytes: 0, blocked: 0 }),
            filled: AtomicBool::new(false),
            room: Condvar::new(),
            js_thread: std::thread::current().id(),
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands a settlement to the JS thread.
    ///
    /// The race with the environment's teardown is resolved by the lock: whoever gets it first. Before `close`,
    /// the wakers exist and stay so until the lock is free again; after it, there is nobody to tell, and the
    /// settlement is dropped. Its deferred goes with the environment.
    ///
    /// A large answer waits here while others fill [`LARGE_ANSWERS`], and with it the thread that made it: so results
    /// wait in the database, not in memory. The JS thread, which makes the room, never waits.
    pub(super) fn settle(&self, mut settlement: Settlement) {
        let weight = settlement.outcome.as_ref().map_or(0, Answer::weight);
        settlement.deferred.weight = if weight < LARGE { 0 } else { weight };
        let mut queue = self.lock();
        if settlement.deferred.weight > 0 && std::thread::current().id() != self.js_thread {
            while queue.wakers.is_some() && queue.bytes > 0 && queue.bytes + weight > LARGE_ANSWERS {
                queue.blocked += 1;
                queue = self.room.wait(queue).unwrap_or_else(PoisonError::into_inner);
                queue.blocked -= 1;
            }
        }
        let Some(wakers) = queue.wakers else {
            drop(queue);
            // An answer may hold handles whose drop settles other promises: never under the lock.
            drop(settlement);
            return;
        };
        queue.bytes += settlement.deferred.weight;
        queue.waiting.push_back(settlement);
        self.filled.store(true, Ordering::Relaxed);
        if !queue.woken {
            // Refused only by a closing function, and `close` would have taken it away before that.
            queue.woken = wake(wakers.drain);
        }
    }

    /// A large answer has become a JavaScript value, or never will.
    pub(super) fn free(&self, deferred: Deferred) {
        if deferred.weight > 0 {
            let mut queue = self.lock();
            queue.bytes = queue.bytes.saturating_sub(deferred.weight);
            let blocked = queue.blocked > 0;
            drop(queue);
            // Waking nobody would be a system call for each answer.
            if blocked {
                self.room.notify_all();
            }
        }
    }

    /// Forgets the wakers, which are returned with what waited; whoever waits for room goes on.
    pub(super) fn close(&self) -> (Option<Wakers>, VecDeque<Settlement>) {
        let mut queue = self.lock();
        let wakers = queue.wakers.take();
        let waiting = std::mem::take(&mut queue.waiting);
        drop(queue);
        self.room.notify_all();
        (wakers, waiting)
    }

    /// Bytes of large answers on their way.
    #[cfg(feature = "fault-injection")]
    pub(super) fn bytes(&self) -> usize {
        self.lock().bytes
    }

    /// Keeps the JS thread awake, which calls this, until it asks to [rest](Self::rests).
    pub(super) fn stay_awake(&self) {
        let mut queue = self.lock();
        if let Some(wakers) = queue.wakers
            && !queue.woken
        {
            queue.woken = wake(wakers.drain);
        }
    }

    /// Whether the JS thread may sleep: nothing has come, and the next settlement wakes it again.
    pub(super) fn rests(&self) -> bool {
        let mut queue = self.lock();
        queue.woken = !queue.waiting.is_empty();
        !queue.woken
    }

    /// Moves what has come to `work`; false where nothing has. The JS thread stays awake.
    pub(super) fn take(&self, work: &mut VecDeque<Work>) -> bool {
        let mut queue = self.lock();
        if queue.waiting.is_empty() {
            self.filled.store(false, Ordering::Relaxed);
            return false;
        }
        work.extend(queue.waiting.drain(..).map(Work::Fresh));
        // A burst does not keep its memory.
        queue.waiting.shrink_to(KEPT);
        true
    }
}

/// Calls a waker; whether it was taken.
pub(super) fn wake(function: sys::napi_threadsafe_function) -> bool {
    // SAFETY: callers have got the function from an open port, whose lock they hold or on whose JS thread they
    // are; only the JS thread closes the port, under the lock.
    let status = unsafe {
        sys::napi_call_threadsafe_function(function, ptr::null_mut(), sys::ThreadsafeFunctionCallMode::nonblocking)
    };
    status == sys::Status::napi_ok
}
