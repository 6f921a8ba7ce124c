//! Threads that the operating system prefers every other one to.

use rten::ThreadPool;

/// A pool of `threads` threads of the lowest priority. Where priorities are not known they are ordinary ones.
pub fn pool(threads: usize) -> ThreadPool {
    // A thread inherits its priority from the one that starts it, so that one is lowered, and ends.
    let starter = std::thread::Builder::new().name("cm-low".into()).spawn(move || {
        lower_this_thread();
        ThreadPool::with_num_threads(threads)
    });
    match starter.map(std::thread::JoinHandle::join) {
        Ok(Ok(pool)) => pool,
        _ => ThreadPool::with_num_threads(threads),
    }
}

/// On Linux a nice value belongs to a thread; elsewhere it would be the whole process that is lowered.
#[cfg(target_os = "linux")]
fn lower_this_thread() {
    // Refused at worst, and then the thread is an ordinary one: batches still give way to queries.
    let _refused = rustix::process::setpriority_process(None, 19);
}

#[cfg(not(target_os = "linux"))]
fn lower_this_thread() {}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    #[test]
    fn the_threads_of_the_pool_are_nice_and_this_one_is_not() {
        let nice = || rustix::process::getpriority_process(None).unwrap();
        let before = nice();
        assert_eq!(super::pool(2).run(nice), 19);
        assert_eq!(nice(), before);
    }
}
