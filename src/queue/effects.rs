//! What follows a change of the state. The state's lock is never held while a command is submitted or a reply
//! is settled: either may come back for it.

use std::sync::Arc;

use super::{claim::Claim, engine::Shared};
use crate::db::Write;

/// What has to follow a change of the state, done after its lock is released.
#[derive(Default)]
pub struct Effects {
    commands: Vec<Command>,
    then: Vec<Then>,
    /// The clock's next deadline came nearer.
    pub wake_clock: bool,
}

type Then = Box<dyn FnOnce(&Arc<Shared>) + Send>;

enum Command {
    Queue(Box<dyn Write>),
    Claim(Claim),
}

impl Effects {
    /// Submits a command to the writer of `queue.db`.
    pub fn queue(&mut self, command: impl Write + 'static) {
        self.commands.push(Command::Queue(Box::new(command)));
    }

    /// Claims for a waiting consumer.
    pub fn claim(&mut self, claim: Claim) {
        self.commands.push(Command::Claim(claim));
    }

    /// Settles a reply, or whatever else must not happen under the lock.
    pub fn then(&mut self, what: impl FnOnce() + Send + 'static) {
        self.then.push(Box::new(move |_| what()));
    }

    /// As [`Effects::then`], for what submits commands of its own.
    pub fn then_with(&mut self, what: impl FnOnce(&Arc<Shared>) + Send + 'static) {
        self.then.push(Box::new(what));
    }

    pub(super) fn run(self, shared: &Arc<Shared>) {
        for command in self.commands {
            match command {
                Command::Queue(command) => shared.queue_writer().submit_boxed(command),
                Command::Claim(claim) => shared.queue_writer().submit(claim.bind(shared)),
            }
        }
        for what in self.then {
            what(shared);
        }
        if self.wake_clock {
            shared.wake_clock();
        }
    }
}
