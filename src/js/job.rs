//! What long work hands out at once: `for await` over its progress, `await` for its result.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use napi::{
    Env, Unknown,
    bindgen_prelude::{JsValue, This, ToNapiValue},
};
use napi_derive::napi;

use super::{
    answer::{Answer, IntoAnswer},
    call::{Pending, Promised, immediate_value, promise},
    consumer::{step, stepping},
    environment::{Teardown, watch},
    errors::raw_of,
    values::make,
};
use crate::{
    error::Result,
    job::{self, Cancellable},
    reply::Reply,
};

/// How long an environment that goes away waits for what is being written.
const TEARDOWN: Duration = Duration::from_secs(2);

/// A job of the core, whatever it reports and results in.
trait Running: Cancellable {
    fn next(&self, reply: Reply<Answer>);
    fn look_away(&self);
    fn result(&self, reply: Reply<Answer>);
    fn ended(&self, reply: Reply<()>);
}

impl<P, R> Running for job::Job<P, R>
where
    P: IntoAnswer + Send + 'static,
    R: IntoAnswer + Clone + Send + 'static,
{
    fn next(&self, reply: Reply<Answer>) {
        job::Job::next(self, stepping(reply, IntoAnswer::into_answer));
    }
    fn look_away(&self) {
        job::Job::look_away(self);
    }
    fn result(&self, reply: Reply<Answer>) {
        job::Job::result(self, Reply::new(move |found: Result<R>| reply.settle(found.map(IntoAnswer::into_answer))));
    }
    fn ended(&self, reply: Reply<()>) {
        job::Job::ended(self, reply);
    }
}

/// An environment that goes away cancels its jobs.
struct Guard(Arc<dyn Running>);

impl Teardown for Guard {
    fn teardown(&self) {
        self.0.cancel();
        self.0.wait_until(Instant::now() + TEARDOWN);
    }
}

/// What a `Job` is an instance of; see the interface of that name. It is handed out by what starts long work, such
/// as `memory.backup()`.
#[napi]
pub struct JobHandle {
    core: Arc<dyn Running>,
}

impl JobHandle {
    /// The handle of a job that was started: `immediate(env, || Ok(JobHandle::answer(memory.backup(folder)?)))`. The
    /// process stays alive until the job has ended, whether or not anybody looks at it.
    pub fn answer<P, R>(core: job::Job<P, R>) -> Answer
    where
        P: IntoAnswer + Send + 'static,
        R: IntoAnswer + Clone + Send + 'static,
    {
        let core: Arc<dyn Running> = Arc::new(core);
        Answer::Made(Box::new(move |env| {
            let ended = Arc::clone(&core);
            // Nobody holds this promise, and it never rejects: it is what keeps the process alive.
            promise(env, Pending::Operation, || Ok(move |reply: Reply<()>| ended.ended(reply)))?;
            let guard: Arc<dyn Teardown> = Arc::new(Guard(Arc::clone(&core)));
            watch(env, &guard)?;
            // A handle that is only garbage-collected leaves its job to end by itself.
            core.ended(Reply::new(move |_: Result<()>| drop(guard)));
            // SAFETY: called on the JS thread with the environment that the handle will belong to.
            unsafe { Self::to_napi_value(env.raw(), Self { core }) }
        }))
    }
}

#[napi]
impl JobHandle {
    /// See `Job.result`.
    #[napi(getter, skip_typescript, catch_unwind)]
    pub fn result<'e>(&self, env: &'e Env, this: This<'e>) -> napi::Result<Unknown<'e>> {
        let core = Arc::clone(&self.core);
        let made = promise(env, Pending::Operation, || Ok(move |reply: Reply<Answer>| core.result(reply)))?;
        immediate_value(env, |scope| {
            // One promise a handle: the getter is found on the prototype once, then this property is there.
            scope.define_member(this.object.raw(), c"result", made.raw())?;
            Ok(made.raw())
        })
    }

    /// See `Job.then`.
    #[napi(skip_typescript, catch_unwind)]
    pub fn then<'e>(
        &self,
        env: &'e Env,
        this: This<'e>,
        fulfilled: Unknown<'e>,
        rejected: Unknown<'e>,
    ) -> napi::Result<Unknown<'e>> {
        immediate_value(env, |scope| {
            let result = scope.get_property(this.object.raw(), "result")?;
            let then = scope.get_property(result, "then")?;
            let handlers = [raw_of(&fulfilled).1, raw_of(&rejected).1];
            make!(scope, "wait for a job", napi_call_function(result, then, handlers.len(), handlers.as_ptr()))
        })
    }

    /// See `Job.next`.
    #[napi(skip_typescript, catch_unwind)]
    pub fn next<'e>(&self, env: &'e Env) -> napi::Result<Promised<'e>> {
        promise(env, Pending::Operation, || {
            let core = Arc::clone(&self.core);
            Ok(move |reply: Reply<Answer>| core.next(reply))
        })
    }

    /// See `Job.return`.
    #[napi(js_name = "return", skip_typescript, catch_unwind)]
    pub fn finish<'e>(&self, env: &'e Env) -> napi::Result<Promised<'e>> {
        promise(env, Pending::Operation, || {
            self.core.look_away();
            Ok(move |reply: Reply<Answer>| reply.settle(Ok(step(None))))
        })
    }

    /// See `Job.dispose`.
    #[napi(skip_typescript, catch_unwind)]
    pub fn dispose<'e>(&self, env: &'e Env) -> napi::Result<Promised<'e>> {
        promise(env, Pending::Operation, || {
            let core = Arc::clone(&self.core);
            core.cancel();
            Ok(move |reply: Reply<()>| core.ended(reply))
        })
    }

    /// As `dispose()`.
    #[napi(well_known_symbol = "asyncDispose", skip_typescript, catch_unwind)]
    pub fn symbol_async_dispose<'e>(&self, env: &'e Env) -> napi::Result<Promised<'e>> {
        self.dispose(env)
    }

    /// This job.
    #[napi(well_known_symbol = "asyncIterator", skip_typescript, catch_unwind)]
    pub fn symbol_async_iterator<'e>(&self, this: This<'e>) -> This<'e> {
        this
    }
}
