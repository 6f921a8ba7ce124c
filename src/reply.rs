//! The sending half of one answer. Core code settles replies without knowing who waits: a promise of the
//! N-API layer, or a thread of a Rust test.

use crate::error::{Error, Result};

type Settle<T> = Box<dyn FnOnce(Result<T>) + Send>;

/// Settles one answer, exactly once. Dropped unsettled it settles with `ERR_INTERNAL`: never silence.
#[must_use = "a reply that is dropped settles with ERR_INTERNAL"]
pub struct Reply<T>(Option<Settle<T>>);

impl<T> Reply<T> {
    /// A reply that calls `settle` with the answer, on whichever thread has it.
    pub fn new(settle: impl FnOnce(Result<T>) + Send + 'static) -> Self {
        Self(Some(Box::new(settle)))
    }

    /// A reply that nobody reads.
    pub fn ignore() -> Self {
        Self::new(|_| {})
    }

    /// Hands the answer over.
    pub fn settle(mut self, answer: Result<T>) {
        if let Some(settle) = self.0.take() {
            settle(answer);
        }
    }
}

impl<T: Send + 'static> Reply<T> {
    /// A reply and the receiver that gets its answer: how threads and tests wait.
    pub fn channel() -> (Self, crossbeam_channel::Receiver<Result<T>>) {
        let (sender, receiver) = crossbeam_channel::bounded(1);
        // The receiver may have gone; then nobody wants the answer.
        (Self::new(move |answer| drop(sender.send(answer))), receiver)
    }
}

/// Waits for an answer on this thread: `wait(|reply| writer.submit(…, reply))`.
///
/// # Errors
/// What the operation answers.
pub fn wait<T: Send + 'static>(start: impl FnOnce(Reply<T>)) -> Result<T> {
    let (reply, answer) = Reply::channel();
    start(reply);
    answer.recv().unwrap_or_else(|_| Err(Error::internal("the operation was dropped unanswered")))
}

impl<T> Drop for Reply<T> {
    fn drop(&mut self) {
        if let Some(settle) = self.0.take() {
            settle(Err(Error::internal("the operation was dropped unanswered; please report this")));
        }
    }
}

impl<T> std::fmt::Debug for Reply<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reply").field("settled", &self.0.is_none()).finish()
    }
}
