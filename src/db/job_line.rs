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
    /// Threads that have worked and only hand their answers over: they look into the line right after.
    returning: usize,
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
                returning: 0,
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
        // Who looks or returns need not be told, and cannot miss it: before it sleeps it takes the lock and finds the job.
        // Whoever gets an answer may ask again before the thread that gave it has come back, on a single core nearly
        // always; to wake another then would have two connections take turns, each with half of what it needs in mind.
        let awake = usize::from(state.looking) + state.returning;
        let wake = if state.jobs.len() > awake { state.asleep.pop() } else { None };
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
        Place { line: Arc::clone(self), lookout: Lookout::new(), woken: Arc::default(), returning: false }
    }
}

/// Where a thread takes its jobs.
pub struct Place<J> {
    line: Arc<JobLine<J>>,
    lookout: Lookout,
    /// Wakes this thread.
    woken: Arc<Condvar>,
    /// Whether it is counted among those that return.
    returning: bool,
}

impl<J> Place<J> {
    /// Does each job as it comes, until the line is closed and empty: `run` works, and what it returns hands the answer
    /// over. That takes no time to speak of, and never waits for another job of this line, which might not be begun before.
    pub fn serve<H: FnOnce()>(&mut self, mut run: impl FnMut(J) -> H) {
        while let Some(job) = self.next() {
            let hand_over = run(job);
            self.lookout.worked();
            self.line.lock().returning += 1;
            self.returning = true;
            hand_over();
        }
    }

    fn next(&mut self) -> Option<J> {
        let line = &*self.line;
        let mut state = line.lock();
        state.returning -= usize::from(std::mem::take(&mut self.returning));
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
        state.returning -= usize::from(self.returning);
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

    fn all_sleep<J>(line: &JobLine<J>, threads: usize) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while line.lock().asleep.len() < threads {
            assert!(Instant::now() < deadline, "a thread never sleeps");
            thread::sleep(Duration::from_millis(1));
        }
    }

    #[test]
    fn every_job_is_done_once_however_the_threads_wait() {
        let line = Arc::new(JobLine::new());
        let (done, results) = mpsc::channel();
        let threads: Vec<_> = (0..3)
            .map(|_| {
                let (mut place, done) = (line.place(), done.clone());
                thread::spawn(move || {
                    place.serve(|job: u32| {
                        let done = done.clone();
                        move || done.send(job).unwrap()
                    });
                })
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
                thread::spawn(move || {
                    place.serve(|_: ()| {
                        let done = done.clone();
                        move || done.send(thread).unwrap()
                    });
                })
            })
            .collect();
        let served: std::collections::HashSet<i32> = (0..50)
            .map(|_| {
                all_sleep(&line, 3);
                line.push(()).unwrap();
                results.recv_timeout(Duration::from_secs(60)).unwrap()
            })
            .collect();
        assert_eq!(served.len(), 1, "{served:?}");
        line.close();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    }

    #[test]
    fn a_thread_that_hands_its_answer_over_takes_what_is_asked_meanwhile() {
        let line = Arc::new(JobLine::new());
        let (served, order) = mpsc::channel();
        let threads: Vec<_> = (0..3)
            .map(|thread| {
                let (mut place, line, served) = (line.place(), Arc::clone(&line), served.clone());
                thread::spawn(move || {
                    place.serve(|left: u32| {
                        let (line, served) = (Arc::clone(&line), served.clone());
                        move || {
                            served.send(thread).unwrap();
                            match left {
                                0 => line.close(),
                                left => line.push(left - 1).unwrap(),
                            }
                            // Nobody who was woken would come later than this.
                            thread::sleep(Duration::from_millis(1));
                        }
                    });
                })
            })
            .collect();
        drop(served);
        all_sleep(&line, 3);
        line.push(50_u32).unwrap();
        let by: Vec<i32> = order.iter().collect();
        assert_eq!(by.len(), 51);
        assert!(by.iter().all(|thread| *thread == by[0]), "{by:?}");
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!(line.lock().returning, 0);
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
