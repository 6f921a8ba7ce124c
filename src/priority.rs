//! How much the operating system prefers other threads to one of ours.

/// Of threads that work in the background and for nobody in particular: as a nice value, the lowest priority there is.
pub const LOWEST: i32 = 19;
/// Of threads that somebody waits for, but not the event loop. Where all cores are busy it goes first: with both writers
/// at work on two cores its delay while queues fill and drain was 5.0 ms at the 99th percentile without this, and 3.6
/// to 4.5 ms with it.
pub const BEHIND_THE_EVENT_LOOP: i32 = 5;

/// Lowers the priority of the thread that calls this. On Linux a nice value belongs to a thread; elsewhere it would be the
/// whole process that is lowered, so nothing is done.
pub fn lower_this_thread(nice: i32) {
    #[cfg(target_os = "linux")]
    {
        // A process that is nicer already stays so. Refused at worst, and then the thread is an ordinary one.
        if rustix::process::getpriority_process(None).is_ok_and(|now| now < nice) {
            let _refused = rustix::process::setpriority_process(None, nice);
        }
    }
    #[cfg(not(target_os = "linux"))]
    let _ = nice;
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn one_thread_is_lowered_never_raised_and_no_other() {
        let nice = || rustix::process::getpriority_process(None).unwrap();
        let before = nice();
        let lowered = std::thread::spawn(move || {
            [LOWEST, BEHIND_THE_EVENT_LOOP].map(|value| {
                lower_this_thread(value);
                nice()
            })
        });
        assert_eq!(lowered.join().unwrap(), [19, 19]);
        assert_eq!(nice(), before);
    }
}
