//! The one way by which anything comes back to an environment: a port that settles promises.
//!
//! Core threads put settlements into the port's queue; one thread-safe function an environment wakes the JS
//! thread, which drains the queue. A waker for each promise would cost 2 to 6 times as much, and 20 times the
//! memory while they wait.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    ffi::c_void,
    panic::{AssertUnwindSafe, Location, catch_unwind},
    ptr,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use napi::sys;

use super::{
    answer::IntoAnswer,
    building::{self, Built, Partial},
    call::with_exception,
    environment::{Environment, closing},
    errors::{caught, to_js},
    pace::{Called, Pace},
    port::{Deferred, Port, Settlement, Wakers, wake},
    values::{Scope, check},
};
use crate::{
    error::{Error, Result},
    reply::Reply,
};

/// How long one turn of the event loop may be busy with settling.
const TURN: Duration = Duration::from_millis(1);
/// How long until no more is settled in the turn, what then runs of the caller's code included. What that code puts off
/// to the same turn's end, by `setImmediate`, comes on top.
const SLICE: Duration = Duration::from_micros(400);
/// How long the caller's code may run after a chunk of settlements, about: it is not known before.
const CHUNK: Duration = Duration::from_micros(100);
/// Settlements in a chunk at most.
const CHUNK_MOST: usize = 64;

/// Places for settlements that an empty queue keeps.
pub(super) const KEPT: usize = 4_096;

/// Whether the process stays alive for a promise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pending {
    /// A read, a write: the process waits for it.
    Operation,
    /// A wait for something that may never come, such as a consumer's next batch: the process may end.
    Wait,
}

impl Pending {
    /// A wait that holds the process only where the caller's `keepAlive` says so.
    #[must_use]
    pub const fn wait(keep_alive: bool) -> Self {
        if keep_alive { Self::Operation } else { Self::Wait }
    }
}

/// What the JS thread has taken from the port and not finished.
pub(super) enum Work {
    Fresh(Settlement),
    Started(Deferred, Partial),
}

/// The side of the port that the JS thread holds.
pub(super) struct Completions {
    env: sys::napi_env,
    port: Arc<Port>,
    /// The port's, where the JS thread finds them without the lock.
    wakers: Cell<Option<Wakers>>,
    work: RefCell<VecDeque<Work>>,
    /// What keeps the process alive: unsettled promises of operations, and one for [`Completions::hold`].
    operations: Cell<usize>,
    holds: Cell<bool>,
    pace: Pace,
    /// When settling began in this turn of the event loop; none where it has not.
    begun: Cell<Option<Instant>>,
    /// When the last chunk was settled.
    paused: Cell<Option<Instant>>,
    /// Settlements in the next chunk.
    chunk: Cell<usize>,
}

impl Completions {
    pub(super) fn new(env: sys::napi_env) -> Self {
        Self {
            env,
            port: Arc::new(Port::new()),
            wakers: Cell::new(None),
            work: RefCell::default(),
            operations: Cell::new(0),
            holds: Cell::new(false),
            pace: Pace::new(),
            begun: Cell::new(None),
            paused: Cell::new(None),
            chunk: Cell::new(1),
        }
    }

    /// Makes the thread-safe functions. `environment` is their context and outlives them.
    pub(super) fn open(&self, scope: Scope, environment: &Environment) -> Result<()> {
        let context: *const Environment = environment;
        let drain = waker(scope, context, drain)?;
        let next_turn = waker(scope, context, next_turn).inspect_err(|_| abort(drain))?;
        let wakers = Some(Wakers { drain, next_turn });
        self.wakers.set(wakers);
        self.port.lock().wakers = wakers;
        Ok(())
    }

    /// Ends all settling, on the JS thread, by the environment's cleanup hook or where it could not be set up.
    pub(super) fn close(&self) {
        self.wakers.set(None);
        let (wakers, waiting) = self.port.close();
        // Nobody can call the functions any more: see `Port::settle`.
        if let Some(Wakers { drain, next_turn }) = wakers {
            abort(drain);
            abort(next_turn);
        }
        drop(waiting);
        // Partly built answers hold references, which are deleted while the environment is there.
        drop(self.work.take());
    }

    /// Bytes of large answers on their way.
    #[cfg(feature = "fault-injection")]
    pub(super) fn backlog(&self) -> usize {
        self.port.bytes()
    }

    /// A promise, and the deferred half that settles it.
    fn create(&self, scope: Scope, pending: Pending) -> Result<(Deferred, sys::napi_value)> {
        if self.wakers.get().is_none() {
            return Err(closing());
        }
        let (mut raw, mut promise) = (ptr::null_mut(), ptr::null_mut());
        // SAFETY: a scope is a live environment on its thread.
        let status = unsafe { sys::napi_create_promise(scope.env(), &raw mut raw, &raw mut promise) };
        check(status, "create a promise")?;
        if pending == Pending::Operation {
            self.one_more();
        }
        Ok((Deferred { raw, pending, weight: 0, called: None }, promise))
    }

    fn one_more(&self) {
        let operations = self.operations.get();
        self.operations.set(operations + 1);
        if operations == 0
            && let Some(wakers) = self.wakers.get()
        {
            // SAFETY: the port is open, and this is the JS thread.
            unsafe { sys::napi_ref_threadsafe_function(self.env, wakers.drain) };
        }
    }

    fn one_less(&self) {
        let operations = self.operations.get().saturating_sub(1);
        self.operations.set(operations);
        if operations == 0
            && let Some(wakers) = self.wakers.get()
        {
            // SAFETY: the port is open, and this is the JS thread.
            unsafe { sys::napi_unref_threadsafe_function(self.env, wakers.drain) };
        }
    }

    /// Keeps the process alive until what is in the port has been delivered: a wait may end with the process, but one
    /// that is over, as `dispose()` ends it, must not be lost on its way to the code behind it.
    pub(super) fn hold(&self) {
        if self.port.filled.load(Ordering::Relaxed) && self.wakers.get().is_some() && !self.holds.replace(true) {
            self.one_more();
        }
    }

    /// A promise for a reply. Nothing can fail once `start` has the reply: before, there is no deferred that
    /// could be rejected with nobody holding its promise, and afterwards every path ends in the port. `place` tells
    /// the methods apart.
    pub(super) fn promise<T: IntoAnswer>(
        &self,
        scope: Scope,
        pending: Pending,
        place: &'static Location<'static>,
        start: impl FnOnce(Reply<T>),
    ) -> Result<sys::napi_value> {
        let (mut deferred, promise) = self.create(scope, pending)?;
        deferred.called = (pending == Pending::Operation).then(|| self.pace.called(place));
        let port = Arc::clone(&self.port);
        start(Reply::new(move |answer: Result<T>| {
            let answered = Instant::now();
            let outcome = caught("converting an answer", || Ok(answer?.into_answer()));
            port.settle(Settlement { deferred, outcome, answered });
        }));
        if deferred.called.is_some_and(Called::is_awaited) {
            self.port.stay_awake();
        }
        self.hold();
        Ok(promise)
    }

    /// A promise that is rejected already.
    pub(super) fn rejected(&self, scope: Scope, error: &Error) -> Result<sys::napi_value> {
        let (deferred, promise) = self.create(scope, Pending::Wait)?;
        reject(scope, deferred, error);
        Ok(promise)
    }

    fn settled(&self, deferred: Deferred) {
        self.port.free(deferred);
        if deferred.pending == Pending::Operation {
            self.one_less();
        }
    }

    /// Settles what waits for about [`SLICE`] a turn, and arranges for the rest to go on in a later one.
    ///
    /// The caller's code behind a promise runs once this returns. So it is settled in chunks: Node calls a thread-safe
    /// function that is woken in its own callback again in the same turn, up to a thousand times, and the time of all
    /// that adds up until `next_turn` has proven that a new turn has begun.
    ///
    /// The thread sleeps only after a turn in which nothing came: the caller's code often asks for more at once.
    ///
    /// JavaScript can run in here (a `then` that somebody has put on `Object.prototype`) and call this module:
    /// nothing is borrowed or locked while N-API is called.
    fn run_slice(&self, environment: &Environment) {
        let now = Instant::now();
        let begun = self.begun.get();
        if let (Some(_), Some(paused)) = (begun, self.paused.take()) {
            self.fit_chunk(now - paused);
        }
        if begun.is_some_and(|begun| now - begun >= SLICE) {
            return self.wake_next_turn();
        }
        // Where the last of it came to its end at the end of a turn, the hold is still to be given up below.
        let nothing = self.work.borrow().is_empty() && !self.port.filled.load(Ordering::Relaxed) && !self.holds.get();
        if nothing {
            if begun.is_some() || self.pace.awaits() {
                return self.wake_next_turn();
            }
            if self.port.rests() {
                return;
            }
        }
        let begun = begun.unwrap_or(now);
        self.begun.set(Some(begun));
        // An answer of some hundred rows is not cut for the shorter of the two.
        let (last, deadline) = (begun + SLICE, begun + TURN);
        // Some of it may take several turns.
        self.hold();
        self.port.take(&mut self.work.borrow_mut());
        let mut chunk = self.chunk.get();
        loop {
            let work = self.work.borrow_mut().pop_front();
            let Some(work) = work else {
                let mut work = self.work.borrow_mut();
                work.shrink_to(KEPT);
                if self.port.take(&mut work) {
                    continue;
                }
                drop(work);
                if self.holds.replace(false) {
                    self.one_less();
                }
                return self.wake_next_turn();
            };
            // Whoever gets a handle sets to work with it.
            let hands_over =
                matches!(&work, Work::Fresh(Settlement { outcome: Ok(answer), .. }) if answer.has_handle());
            // A large answer takes turns with what came after it.
            if let Some(unfinished) = self.run(environment, work, deadline) {
                self.work.borrow_mut().push_back(unfinished);
            }
            let now = Instant::now();
            if now >= last {
                // What is left, if only in the port, keeps its wake-up: nobody else needs to wake this thread.
                return self.wake_next_turn();
            }
            chunk -= 1;
            if hands_over || chunk == 0 {
                self.paused.set(Some(now));
                return self.wake_drain();
            }
        }
    }

    /// The caller's code took so long after a chunk.
    fn fit_chunk(&self, took: Duration) {
        let chunk = self.chunk.get();
        if took < CHUNK / 2 {
            self.chunk.set((chunk * 2).min(CHUNK_MOST));
        } else if took > CHUNK {
            self.chunk.set((chunk / 2).max(1));
        }
    }

    fn wake_drain(&self) {
        if let Some(wakers) = self.wakers.get() {
            wake(wakers.drain);
        }
    }

    fn wake_next_turn(&self) {
        if let Some(wakers) = self.wakers.get() {
            wake(wakers.next_turn);
        }
    }

    /// One settlement, or one more slice of it, in a handle scope of its own.
    fn run(&self, environment: &Environment, work: Work, deadline: Instant) -> Option<Work> {
        // SAFETY: the callback that we serve runs on the JS thread of a live environment, in a handle scope.
        let outer = unsafe { Scope::new(self.env) };
        let deferred = match &work {
            Work::Fresh(Settlement { deferred, answered, .. }) => {
                if let Some(called) = deferred.called {
                    self.pace.settled(called, *answered);
                }
                *deferred
            }
            Work::Started(deferred, _) => *deferred,
        };
        let unfinished = outer.nested(|scope| {
            let built = caught("converting an answer", || match work {
                Work::Fresh(settlement) => building::begin(scope, environment, settlement.outcome?, Some(deadline)),
                Work::Started(_, partial) => partial.resume(scope, environment, deadline),
            });
            match built {
                Ok(Built::Partly(partial)) => return Some(Work::Started(deferred, partial)),
                // SAFETY: the deferred is used once, here or below; it came from this environment.
                Ok(Built::Whole(value)) => unsafe {
                    sys::napi_resolve_deferred(self.env, deferred.raw, value);
                },
                Err(error) => reject(scope, deferred, &error),
            }
            None
        });
        // An environment that is being terminated refuses even handle scopes; then nobody waits for the promise.
        let unfinished = unfinished.unwrap_or_default();
        if unfinished.is_none() {
            self.settled(deferred);
        }
        unfinished
    }
}

fn reject(scope: Scope, deferred: Deferred, error: &Error) {
    let object = to_js(scope, &with_exception(scope, error.clone()));
    // Fails only where the environment is being terminated.
    if let Ok(object) = object {
        // SAFETY: the deferred is used once; it came from this environment.
        unsafe { sys::napi_reject_deferred(scope.env(), deferred.raw, object) };
    }
}

type WakerCallback =
    unsafe extern "C" fn(env: sys::napi_env, function: sys::napi_value, context: *mut c_void, data: *mut c_void);

/// A thread-safe function that does not keep the process alive.
fn waker(scope: Scope, context: *const Environment, callback: WakerCallback) -> Result<sys::napi_threadsafe_function> {
    let name = scope.string("claude-mem-native")?;
    let mut function = ptr::null_mut();
    // SAFETY: a scope is a live environment on its thread; the context is read on the JS thread only, and lives
    // until Node has finished with the function.
    let status = unsafe {
        sys::napi_create_threadsafe_function(
            scope.env(),
            ptr::null_mut(),
            ptr::null_mut(),
            name,
            0,
            1,
            ptr::null_mut(),
            None,
            context.cast_mut().cast(),
            Some(callback),
            &raw mut function,
        )
    };
    check(status, "create a thread-safe function")?;
    // SAFETY: as above.
    unsafe { sys::napi_unref_threadsafe_function(scope.env(), function) };
    Ok(function)
}

fn abort(function: sys::napi_threadsafe_function) {
    // SAFETY: called once a function, by the JS thread, after the port has forgotten it.
    unsafe { sys::napi_release_threadsafe_function(function, sys::ThreadsafeFunctionReleaseMode::abort) };
}

unsafe extern "C" fn drain(env: sys::napi_env, _: sys::napi_value, context: *mut c_void, _: *mut c_void) {
    // Null where Node empties the function's queue in teardown.
    if env.is_null() {
        return;
    }
    // SAFETY: the context of a function that Node still calls with an environment; see `Environment::free`.
    let environment = unsafe { &*context.cast::<Environment>() };
    // Every conversion is caught on its own; this keeps whatever else might panic out of Node.
    let completions = environment.completions();
    if catch_unwind(AssertUnwindSafe(|| completions.run_slice(environment))).is_err() {
        // Its wake-up is spent, and what is left in the queue must not be forgotten.
        completions.wake_next_turn();
    }
}

unsafe extern "C" fn next_turn(env: sys::napi_env, _: sys::napi_value, context: *mut c_void, _: *mut c_void) {
    if env.is_null() {
        return;
    }
    // SAFETY: as in `drain`.
    let environment = unsafe { &*context.cast::<Environment>() };
    let completions = environment.completions();
    completions.begun.set(None);
    completions.wake_drain();
}
