//! Where somebody waits for vectors that take a while, a model that is not in memory above all: one line with a thread of
//! its own, so that the threads that read files stay free for whoever needs no vector.
//!
//! A reader makes a vector itself where nothing has to be waited for ([`WaitingLine::here`]): on a model in memory that is
//! quicker than to change threads. It does so on all readers but one, which is left for those that need none.

use std::{
    collections::VecDeque,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use crate::{
    db::activity::Activity,
    error::{Code, Error, Result},
    reply::Reply,
};

/// As many may wait as reads may; beyond it `ERR_BUSY`.
const WAITING: usize = 10_000;

/// A line, and its thread while somebody waits.
pub struct WaitingLine {
    name: &'static str,
    shared: Arc<Shared>,
    activity: Arc<Activity>,
    /// Readers that may make vectors at a time.
    most_here: usize,
    here: AtomicUsize,
}

struct Shared {
    state: Mutex<State>,
    /// The thread has ended.
    ended: Condvar,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Task>,
    /// Refuses what the thread is at.
    running: Option<Refuse>,
    /// Whether a thread takes what waits. It ends under the lock with which it finds nothing.
    alive: bool,
    thread: Option<JoinHandle<()>>,
    closed: bool,
}

struct Task {
    run: Box<dyn FnOnce() + Send>,
    refuse: Refuse,
}

/// Answers whoever waits with an error, where they are not answered yet.
type Refuse = Box<dyn FnOnce(Error) + Send>;

impl WaitingLine {
    /// A line beside a pool of `readers`. Its thread starts when somebody waits, and ends when nobody does.
    #[must_use]
    pub fn new(name: &'static str, readers: usize, activity: Arc<Activity>) -> Self {
        Self {
            name,
            shared: Arc::new(Shared { state: Mutex::default(), ended: Condvar::new() }),
            activity,
            most_here: readers.saturating_sub(1).max(1),
            here: AtomicUsize::new(0),
        }
    }

    /// Makes something on this thread, a reader; `None` where that has to wait, as `make` says, or where so many readers
    /// are at it that none would be left.
    ///
    /// # Errors
    /// Those of `make`.
    pub fn here<T>(&self, make: impl FnOnce() -> Result<Option<T>>) -> Result<Option<T>> {
        if self.here.fetch_add(1, Ordering::Relaxed) >= self.most_here {
            self.here.fetch_sub(1, Ordering::Relaxed);
            return Ok(None);
        }
        // Counts this one out also where `make` panics.
        let _seat = Seat(&self.here);
        make()
    }

    /// Makes something on the line's thread for the operation `what`, once those before are done. `reply` is settled
    /// there; or here where it is refused: with `ERR_BUSY` where too many wait, with `ERR_DISPOSED` after [`Self::shut`].
    pub fn call<T: Send + 'static>(
        &self,
        what: &'static str,
        make: impl FnOnce() -> T + Send + 'static,
        reply: Reply<T>,
    ) {
        // Two may answer, the thread that has made it and whoever closes the line: the one that takes the reply out of
        // its place does, the other finds nothing.
        let place = Arc::new(Mutex::new(Some(reply)));
        let take = |place: &Mutex<Option<Reply<T>>>| place.lock().unwrap_or_else(PoisonError::into_inner).take();
        let of_thread = Arc::clone(&place);
        let (activity, since) = (Arc::clone(&self.activity), Instant::now());
        let run = Box::new(move || {
            let made = catch_unwind(AssertUnwindSafe(make)).map_err(|payload| Error::from_panic(what, &*payload));
            // The reader's own record has not this part of what the caller waits for.
            activity.record(what, since.elapsed());
            if let Some(reply) = take(&of_thread) {
                reply.settle(made);
            }
        });
        let refuse = Box::new(move |error| {
            if let Some(reply) = take(&place) {
                reply.settle(Err(error));
            }
        });
        if let Err((task, error)) = self.push(Task { run, refuse }) {
            (task.refuse)(error);
        }
    }

    fn push(&self, task: Task) -> std::result::Result<(), (Task, Error)> {
        let mut state = self.shared.lock();
        if state.closed {
            return Err((task, Error::disposed("memory")));
        }
        let count = state.waiting.len();
        if count >= WAITING {
            let message = format!("{count} searches wait for the model, the limit; await some of them first");
            return Err((task, Error::new(Code::Busy, message).with("limit", WAITING)));
        }
        // Under the lock: a thread that is about to end has either seen this task or is not alive any more.
        if !state.alive {
            let (shared, running) = (Arc::clone(&self.shared), self.activity.thread());
            let spawned = std::thread::Builder::new().name(self.name.into()).spawn(move || {
                shared.serve();
                drop(running);
            });
            match spawned {
                // The one before has ended, or is at its last instruction: nobody needs to join it.
                Ok(thread) => (state.thread, state.alive) = (Some(thread), true),
                Err(error) => return Err((task, error.into())),
            }
        }
        state.waiting.push_back(task);
        Ok(())
    }

    /// Who waits; what the thread is at is not counted.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.shared.lock().waiting.len()
    }

    /// Takes nothing any more, and answers all who wait with `ERR_DISPOSED`, also the one whose vector is being made.
    /// Waits for nothing. Twice without harm.
    pub fn shut(&self) {
        self.shared.shut();
    }

    /// Waits until the thread has ended, at most `bound`: a model that is being loaded is loaded to its end. After
    /// [`Self::shut`].
    pub fn join(&self, bound: Duration) {
        let deadline = Instant::now() + bound;
        let mut state = self.shared.lock();
        while state.alive {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            state = self.shared.ended.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        let thread = state.thread.take();
        drop(state);
        // It has only to return; its panics were caught inside.
        drop(thread.map(JoinHandle::join));
    }
}

impl Drop for WaitingLine {
    fn drop(&mut self) {
        // Not joined: the last one to let go of the line may be its own thread.
        self.shared.shut();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn serve(&self) {
        loop {
            let mut state = self.lock();
            // Dropped without the lock: whatever hangs on it may come back to this line.
            let before = state.running.take();
            let Some(Task { run, refuse }) = state.waiting.pop_front() else {
                state.alive = false;
                self.ended.notify_all();
                drop(state);
                return drop(before);
            };
            state.running = Some(refuse);
            drop(state);
            drop(before);
            // A reply that panics is a fault of its own; the thread goes on.
            drop(catch_unwind(AssertUnwindSafe(run)));
        }
    }

    fn shut(&self) {
        let mut state = self.lock();
        state.closed = true;
        let running = state.running.take();
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        for refuse in running.into_iter().chain(waiting.into_iter().map(|task| task.refuse)) {
            refuse(Error::disposed("memory"));
        }
    }
}

/// A reader that makes a vector.
struct Seat<'a>(&'a AtomicUsize);

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use crossbeam_channel::{Receiver, bounded, unbounded};

    use super::*;

    const SOON: Duration = Duration::from_secs(60);

    fn line(readers: usize) -> WaitingLine {
        WaitingLine::new("cm-test-line", readers, Arc::default())
    }

    fn ask(line: &WaitingLine, make: impl FnOnce() -> u32 + Send + 'static) -> Receiver<Result<u32>> {
        let (reply, answer) = Reply::channel();
        line.call("test", make, reply);
        answer
    }

    /// Keeps the thread busy until the answer is sent to, or dropped.
    fn held(line: &WaitingLine) -> (crossbeam_channel::Sender<()>, Receiver<Result<u32>>) {
        let ((begun, begins), (go, gone)) = (bounded(1), unbounded());
        let answer = ask(line, move || {
            begun.send(()).unwrap();
            // Sent to, or let go.
            let _ = gone.recv();
            0
        });
        begins.recv_timeout(SOON).unwrap();
        (go, answer)
    }

    #[test]
    fn all_are_answered_in_turn_and_the_thread_ends_when_nobody_waits() {
        let activity = Arc::new(Activity::default());
        let line = WaitingLine::new("cm-test-line", 2, Arc::clone(&activity));
        for _ in 0..20 {
            let answers: Vec<_> = (0..20).map(|number| ask(&line, move || number)).collect();
            for (number, answer) in (0..).zip(answers) {
                assert_eq!(answer.recv_timeout(SOON).unwrap(), Ok(number));
            }
        }
        assert!(activity.wait_until_ended(Instant::now() + SOON), "it idles");
        let failed = ask(&line, || panic!("on purpose")).recv_timeout(SOON).unwrap().unwrap_err();
        assert_eq!(failed.code, Code::Internal);
        assert_eq!(ask(&line, || 7).recv_timeout(SOON).unwrap(), Ok(7), "a panic costs only itself");
        line.shut();
        line.join(SOON);
        assert!(activity.wait_until_ended(Instant::now() + SOON));
    }

    #[test]
    fn more_than_the_limit_are_refused() {
        let line = line(2);
        let (go, first) = held(&line);
        let waiting: Vec<_> = (0..WAITING).map(|_| ask(&line, || 1)).collect();
        let refused = ask(&line, || 2).recv_timeout(SOON).unwrap().unwrap_err();
        assert_eq!(refused.code, Code::Busy);
        assert!(refused.message.contains("10000 searches wait for the model"), "{refused}");
        drop(go);
        assert_eq!(first.recv_timeout(SOON).unwrap(), Ok(0));
        assert!(waiting.iter().all(|answer| answer.recv_timeout(SOON).unwrap() == Ok(1)));
    }

    #[test]
    fn a_line_that_is_shut_answers_all_who_wait_and_the_one_at_work() {
        let line = line(2);
        let (go, first) = held(&line);
        let waiting: Vec<_> = (0..5).map(|_| ask(&line, || 1)).collect();
        line.shut();
        line.shut();
        for answer in waiting.iter().chain([&first]) {
            assert_eq!(answer.recv_timeout(SOON).unwrap().unwrap_err().code, Code::Disposed);
        }
        // What is at work is not waited for beyond the bound.
        line.join(Duration::from_millis(1));
        assert_eq!(ask(&line, || 2).recv_timeout(SOON).unwrap().unwrap_err().code, Code::Disposed);
        drop(go);
        line.join(SOON);
        assert!(!line.shared.lock().alive);
    }

    #[test]
    fn one_reader_is_left_for_others() {
        for (readers, most) in [(0, 1), (1, 1), (2, 1), (4, 3)] {
            let line = line(readers);
            let seats = |line: &WaitingLine| {
                fn next(line: &WaitingLine, taken: usize) -> usize {
                    line.here(|| Ok(Some(next(line, taken + 1)))).unwrap().unwrap_or(taken)
                }
                next(line, 0)
            };
            assert_eq!(seats(&line), most);
            line.here::<()>(|| Err(Error::internal("on purpose"))).unwrap_err();
            drop(catch_unwind(AssertUnwindSafe(|| line.here::<()>(|| panic!("on purpose")))));
            assert_eq!(seats(&line), most, "whatever became of those before");
        }
    }
}
