//! A line of jobs for a few threads, of which one looks for more after its work while the others sleep.
//!
//! Of those that sleep the one that worked last is woken: what its connection remembers is still in the caches, and
//! with few jobs the others' never fill.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

use super::lookout::Lookout;

/// Jobs on their way to the threads that share the line.
pub struct JobLine<J> {
    state: Mutex<State<J>>,
    /// Jobs in the line: changed under the lock, looked at without it.
    waiting: AtomicUsize,
}

struct State<J> {
    /// With the time when each came.
    jobs: VecDeque<(J, Instant)>,
    threads: usize,
    /// What wakes those that sleep, the one that went to sleep last at the end.
    asleep: Vec<Arc<Condvar>>,
    /// Whether a thread looks for a job. One at a time: the others sleep.
    looking: bool,
    closed: bool,
}

impl<J> Default for JobLine<J> {
    fn default() -> Self {
        Self::new()
    }
}

impl<J> JobLine<J> {
    /// An empty line without threads.
    #[must_use]
    pub fn new() -> Self {
        Self {
            state: Mutex::new(State {
                jobs: VecDeque::new(),
                threads: 0,
                asleep: Vec::new(),
                looking: false,
                closed: false,
            }),
            waiting: AtomicUsize::new(0),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State<J>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a job at the end.
    ///
    /// # Errors
    /// The job, where the line is closed or every thread has died.
    pub fn push(&self, job: J) -> Result<(), J> {
        let mut state = self.lock();
        if state.closed || state.threads == 0 {
            return Err(job);
        }
        state.jobs.push_back((job, Instant::now()));
        self.waiting.store(state.jobs.len(), Ordering::Relaxed);
        // Who looks need not be told, and cannot miss it: before it sleeps it takes the lock and finds the job.
        let wake = if state.jobs.len() > usize::from(state.looking) { state.asleep.pop() } else { None };
        drop(state);
        if let Some(sleeper) = wake {
            sleeper.notify_one();
        }
        Ok(())
    }

    /// Ends the threads once they have done what is in the line. Twice without harm.
    pub fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        state.asleep.drain(..).for_each(|sleeper| sleeper.notify_one());
    }

    /// A place for one more thread, made before the thread is.
    #[must_use]
    pub fn place(self: &Arc<Self>) -> Place<J> {
        self.lock().threads += 1;
        Place { line: Arc::clone(self), lookout: Lookout::new(), woken: Arc::default() }
    }
}

/// Where a thread takes its jobs.
pub struct Place<J> {
    line: Arc<JobLine<J>>,
    lookout: Lookout,
    /// Wakes this thread.
    woken: Arc<Condvar>,
}

impl<J> Place<J> {
    /// Does each job as it comes, until the line is closed and empty.
    pub fn serve(&mut self, mut run: impl FnMut(J)) {
        while let Some(job) = self.next() {
            run(job);
            self.lookout.worked();
        }
    }

    fn next(&mut self) -> Option<J> {
        let line = &*self.line;
        let mut state = line.lock();
        loop {
            if let Some((job, came)) = state.jobs.pop_front() {
                line.waiting.store(state.jobs.len(), Ordering::Relaxed);
                drop(state);
                self.lookout.came(came);
                return Some(job);
            }
            if state.closed {
                return None;
            }
            if self.lookout.looks() && !state.looking {
                state.looking = true;
                drop(state);
                self.lookout.look(|| line.waiting.load(Ordering::Relaxed) > 0);
                state = line.lock();
                state.looking = false;
            } else {
                state.asleep.push(Arc::clone(&self.woken));
                state = self.woken.wait(state).unwrap_or_else(PoisonError::into_inner);
                // Still there where nobody has woken it.
                state.asleep.retain(|sleeper| !Arc::ptr_eq(sleeper, &self.woken));
            }
        }
    }
}

impl<J> Drop for Place<J> {
    fn drop(&mut self) {
        let mut state = self.line.lock();
        state.threads -= 1;
        // Where threads have died nobody would do these: their replies say so, and not under the lock.
        let left = if state.threads == 0 { std::mem::take(&mut state.jobs) } else { VecDeque::new() };
        drop(state);
        drop(left);
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::mpsc, thread, time::Duration};

    use super::*;

    #[test]
    fn every_job_is_done_once_however_the_threads_wait() {
        let line = Arc::new(JobLine::new());
        let (done, results) = mpsc::channel();
        let threads: Vec<_> = (0..3)
            .map(|_| {
                let (mut place, done) = (line.place(), done.clone());
                thread::spawn(move || place.serve(|job: u32| done.send(job).unwrap()))
            })
            .collect();
        let mut got = Vec::new();
        for job in 0..2_000 {
            line.push(job).unwrap();
            // In turn: at once, while a thread looks, and after all have gone to sleep.
            match job % 50 {
                0 => thread::sleep(Duration::from_micros(200)),
                1..10 => got.push(results.recv_timeout(Duration::from_secs(60)).unwrap()),
                _ => {}
            }
        }
        line.close();
        line.close();
        assert_eq!(line.push(0), Err(0));
        for thread in threads {
            thread.join().unwrap();
        }
        drop(done);
        got.extend(results);
        got.sort_unstable();
        assert_eq!(got, (0..2_000).collect::<Vec<_>>());
    }

    #[test]
    fn the_thread_that_worked_last_is_woken() {
        let line = Arc::new(JobLine::new());
        let (done, results) = mpsc::channel();
        let threads: Vec<_> = (0..3)
            .map(|thread| {
                let (mut place, done) = (line.place(), done.clone());
                thread::spawn(move || place.serve(|_: ()| done.send(thread).unwrap()))
            })
            .collect();
        let all_sleep = || {
            let deadline = Instant::now() + Duration::from_secs(60);
            while line.lock().asleep.len() < 3 {
                assert!(Instant::now() < deadline, "a thread never sleeps");
                thread::sleep(Duration::from_millis(1));
            }
        };
        let served: std::collections::HashSet<i32> = (0..50)
            .map(|_| {
                all_sleep();
                line.push(()).unwrap();
                results.recv_timeout(Duration::from_secs(60)).unwrap()
            })
            .collect();
        assert_eq!(served.len(), 1, "{served:?}");
        line.close();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    }

    #[test]
    fn jobs_of_threads_that_died_are_dropped_and_later_ones_come_back() {
        struct Job(mpsc::Sender<&'static str>);
        impl Drop for Job {
            fn drop(&mut self) {
                self.0.send("dropped").unwrap();
            }
        }
        let line = Arc::new(JobLine::new());
        let (told, tale) = mpsc::channel();
        let place = line.place();
        assert!(line.push(Job(told.clone())).is_ok());
        drop(place);
        assert_eq!(tale.recv_timeout(Duration::from_secs(60)), Ok("dropped"));
        assert!(line.push(Job(told)).is_err());
    }
}
