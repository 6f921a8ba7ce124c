//! Class `Batch`: messages in the hands of a consumer.

use std::{
    rc::Rc,
    sync::{Arc, Mutex, PoisonError},
};

use napi::{
    Env, Unknown,
    bindgen_prelude::{JsValue, This},
    sys,
};
use napi_derive::napi;

use super::{
    answer::{Answer, IntoAnswer, object_answer},
    arguments::{Argument, MAX_SAFE_INTEGER},
    call::{Pending, Promised, immediate, immediate_value, promise},
    environment::Environment,
    open_options::milliseconds,
    row_factory::RowFactory,
    store::{self, ObservationInput, StoredRow, SummaryInput},
    values::Scope,
};
use crate::{
    error::{Error, Result},
    queue::{self, Answer as Response, Committed, Delivered, Members, ReleaseOptions, Released, Value},
    reply::Reply,
};

/// The longest wait that a release may ask for, or an extension, ms.
const MONTH_MS: i64 = 31 * 86_400_000;

impl IntoAnswer for Committed {
    fn into_answer(self) -> Answer {
        Answer::object(
            &["observations", "summary", "depth"],
            [self.stored.observations.into_answer(), self.stored.summary.into_answer(), self.depth.into_answer()],
        )
    }
}

object_answer!(Released { depth: "depth", ready_at_epoch: "readyAtEpoch", dead_lettered: "deadLettered" });

/// What the agent made of a batch. All absent is normal: a model that had nothing to note is done, not failed.
#[napi(object, object_to_js = false)]
#[derive(Debug)]
pub struct CommitAnswer {
    /// Rows to store. Default none.
    pub observations: Option<Vec<ObservationInput>>,
    /// A summary to store. Default none.
    #[napi(ts_type = "SummaryInput | null")]
    pub summary: Option<SummaryInput>,
    /// The prompt that the rows belong to. Default: the batch's.
    #[napi(ts_type = "number | null")]
    pub prompt_number: Option<i64>,
    /// When rows were made that do not say so themselves, epoch ms. Default: now.
    pub created_at_epoch: Option<i64>,
    /// Sets the session's status to `completed` in the same transaction. Default false.
    pub complete_session: Option<bool>,
    /// The rows are stored elsewhere, by the caller: the commit only acknowledges. Takes no `observations`, `summary`
    /// or `completeSession` (`ERR_INVALID_ARG`). With the store open it is an empty commit. Default false.
    pub external: Option<bool>,
    /// How long to wait for a write lock that another process holds, ms. Default: `deadlineMs` of `openMemory`.
    pub deadline_ms: Option<f64>,
}

/// What a commit stored.
#[napi(object, object_from_js = false, use_nullable = true)]
#[derive(Debug)]
pub struct CommitResult {
    /// The stored observations, in the order they were given.
    pub observations: Vec<StoredRow>,
    /// The stored summary, or null.
    pub summary: Option<StoredRow>,
    /// Messages of the session waiting now.
    pub depth: u32,
}

/// How a batch goes back.
#[napi(object, object_to_js = false, js_name = "ReleaseOptions")]
#[derive(Debug)]
pub struct ReleaseCallOptions {
    /// Why, for people; kept with the attempt.
    pub error: Option<String>,
    /// How long the session waits, ms (0 to 31 days). Default: the backoff, exponential with jitter.
    pub delay_ms: Option<f64>,
    /// Whether this counts towards `maxAttempts`. Say false for what is not the messages' fault: a quota, a sign-in,
    /// an agent that could not be started. Default true.
    pub count_attempt: Option<bool>,
}

/// What a release did.
#[napi(object, object_from_js = false, use_nullable = true)]
#[derive(Debug)]
pub struct ReleaseResult {
    /// Messages of the session waiting now.
    pub depth: u32,
    /// When they come again, epoch ms; null for at once.
    pub ready_at_epoch: Option<i64>,
    /// Ids that became dead letters by it.
    pub dead_lettered: Vec<i64>,
}

/// A prefix of a session's queue, held under a lease: never across a change of `prompt_number`, ended by a message
/// that ends the batch. Commit it or release it; until then no other batch of the session is handed out.
#[napi]
pub struct Batch {
    /// None once disposed: the texts are freed.
    core: Mutex<Option<Arc<queue::Batch>>>,
    session_id: i64,
    prompt_number: Option<i64>,
    upto: i64,
}

impl Batch {
    pub(super) fn new(core: queue::Batch) -> Self {
        Self {
            session_id: core.session_id(),
            prompt_number: core.prompt_number(),
            upto: core.upto(),
            core: Mutex::new(Some(Arc::new(core))),
        }
    }

    fn core(&self) -> Result<Arc<queue::Batch>> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner).clone().ok_or_else(|| Error::disposed("batch"))
    }

    fn close(&self) {
        if let Some(core) = self.core.lock().unwrap_or_else(PoisonError::into_inner).take() {
            core.dispose();
        }
    }
}

#[napi]
impl Batch {
    /// Row id of its session.
    #[napi(getter, ts_return_type = "number", catch_unwind)]
    pub fn session_db_id<'e>(&self, env: &'e Env) -> napi::Result<Unknown<'e>> {
        immediate(env, || Ok(self.session_id))
    }

    /// The prompt that all its messages belong to; null where they name none.
    #[napi(getter, ts_return_type = "number | null", catch_unwind)]
    pub fn prompt_number<'e>(&self, env: &'e Env) -> napi::Result<Unknown<'e>> {
        immediate(env, || Ok(self.prompt_number))
    }

    /// The id of its last message: what a commit acknowledges.
    #[napi(getter, ts_return_type = "number", catch_unwind)]
    pub fn upto<'e>(&self, env: &'e Env) -> napi::Result<Unknown<'e>> {
        immediate(env, || Ok(self.upto))
    }

    /// The messages, oldest first: what was enqueued, with `id`, `attempts` (counted before this one) and
    /// `enqueuedAtEpoch` (ms). Texts of 32 KiB and more are read from native memory when their property is read, each
    /// time anew. Throws `ERR_DISPOSED` where it is first read after `dispose()`.
    #[napi(
        getter,
        ts_return_type = "({ id: number; attempts: number; enqueuedAtEpoch: number; type: string } & Record<string, any>)[]",
        catch_unwind
    )]
    pub fn messages<'e>(&self, env: &'e Env, this: This<'e>) -> napi::Result<Unknown<'e>> {
        immediate_value(env, |scope| messages(env, scope, this.raw(), self.core()?.messages()))
    }

    /// The text of a large field (32 KiB and more) of `messages[index]`; what its accessor calls. With `start` and
    /// `end` only that part, as `String.prototype.slice` counts it (from 0): nothing else is decoded, so that the
    /// beginning of a text of 50 MB costs no heap. A bound inside a surrogate pair moves before it. Throws
    /// `ERR_INVALID_ARG` where the field is no large text, `ERR_DISPOSED` after `dispose()`.
    #[napi(
        ts_args_type = "index: number, field: string, start?: number | null, end?: number | null",
        ts_return_type = "string",
        catch_unwind
    )]
    pub fn read_text<'e>(
        &self,
        env: &'e Env,
        index: Unknown<'e>,
        field: Unknown<'e>,
        start: Unknown<'e>,
        end: Unknown<'e>,
    ) -> napi::Result<Unknown<'e>> {
        immediate(env, || {
            let core = self.core()?;
            let message = message(&core, &index)?;
            let field = Argument::new("field", &field).text()?;
            let bound = |name, value: &Unknown<'e>| {
                Argument::new(name, value).given().map(|value| value.size(0..=usize::MAX, "")).transpose()
            };
            let units = bound("start", &start)?.unwrap_or(0)..bound("end", &end)?.unwrap_or(usize::MAX);
            let text = message.text(&field, units);
            let text = text.ok_or_else(|| Error::invalid(format!("'{field}' is no large text of this message")))?;
            Ok(Answer::Json(text))
        })
    }

    /// The JSON text of `messages[index]`, as UTF-8 outside of the JavaScript heap and not parsed: to be passed on, such
    /// as to a program's standard input. Its `id`, `attempts` and `enqueuedAtEpoch` are in it. Throws `ERR_DISPOSED`
    /// after `dispose()`.
    #[napi(ts_args_type = "index: number", ts_return_type = "Buffer", catch_unwind)]
    pub fn read_raw<'e>(&self, env: &'e Env, index: Unknown<'e>) -> napi::Result<Unknown<'e>> {
        immediate_value(env, |scope| {
            let core = self.core()?;
            let (open, own) = message(&core, &index)?.json();
            scope.buffer(&[open.as_bytes(), own.as_bytes()])
        })
    }

    /// Stores the answer and acknowledges the messages, both or neither, in one transaction: rows are stored exactly
    /// once. Rows go to the session's project, under its `sdk_session_id` (where that is NULL it becomes
    /// `claude_session_id`).
    ///
    /// Rejects with `ERR_LEASE_LOST` where the batch is no longer held (then nothing was stored), `ERR_BUSY` where a
    /// lock was not free in time, `ERR_CONSTRAINT`, `ERR_NOT_FOUND`; after those the batch is still held, and may be
    /// committed again or released. After the lease's end a commit is still taken while nobody has claimed since.
    ///
    /// In a memory with `parts: ['queue']` the caller stores its rows itself, first, under a key made of the messages'
    /// ids (or of `upto`), and then commits `{ external: true }`: whoever dies in between is handed the same messages
    /// again, and finds by the key that their rows are there. So its rows are stored at least once, and once where the
    /// key is unique. Rows given to such a commit reject with `ERR_NOT_OPEN`.
    #[napi(ts_args_type = "answer?: CommitAnswer | null", ts_return_type = "Promise<CommitResult>", catch_unwind)]
    pub fn commit<'e>(&self, env: &'e Env, answer: Unknown<'e>) -> napi::Result<Promised<'e>> {
        promise(env, Pending::Operation, || {
            let core = self.core()?;
            let given = Argument::new("answer", &answer).options(&[
                "observations",
                "summary",
                "promptNumber",
                "createdAtEpoch",
                "completeSession",
                "external",
                "deadlineMs",
            ])?;
            let deadline = given.read("deadlineMs", |value| milliseconds(value, 1..=600_000))?;
            let response = Response {
                response: crate::store::response::Response {
                    session_db_id: self.session_id,
                    observations: store::observations_of(&given)?,
                    summary: store::summary_of(&given)?,
                    prompt_number: given.read("promptNumber", |value| value.integer(0..=MAX_SAFE_INTEGER, ""))?,
                    created_at_epoch: given
                        .read("createdAtEpoch", |value| value.integer(0..=MAX_SAFE_INTEGER, "ms"))?,
                    complete_session: given.read("completeSession", |value| value.boolean())?.unwrap_or(false),
                },
                deadline: deadline.map(|wait| std::time::Instant::now() + wait),
                external: given.read("external", |value| value.boolean())?.unwrap_or(false),
            };
            Ok(move |reply: Reply<Committed>| core.commit(response, reply))
        })
    }

    /// Gives the messages back, for errors, aborts, quota, sign-in; they come again after the backoff. From the second
    /// attempt on the batch is halved, down to one message; only a batch of one becomes a dead letter by itself, after
    /// `maxAttempts`. Rejects with `ERR_LEASE_LOST` where the batch is no longer held.
    #[napi(ts_args_type = "options?: ReleaseOptions | null", ts_return_type = "Promise<ReleaseResult>", catch_unwind)]
    pub fn release<'e>(&self, env: &'e Env, options: Unknown<'e>) -> napi::Result<Promised<'e>> {
        promise(env, Pending::Operation, || {
            let core = self.core()?;
            let given = Argument::new("options", &options).options(&["error", "delayMs", "countAttempt"])?;
            let options = ReleaseOptions {
                error: given.read("error", |value| value.text())?,
                delay: given.read("delayMs", |value| milliseconds(value, 0..=MONTH_MS))?,
                count_attempt: given.read("countAttempt", |value| value.boolean())?.unwrap_or(true),
            };
            Ok(move |reply: Reply<Released>| core.release(options, reply))
        })
    }

    /// Sends messages of this batch to the dead letters; the rest stays open. Resolves how many went.
    #[napi(ts_args_type = "ids: number[], error?: string | null", ts_return_type = "Promise<number>", catch_unwind)]
    pub fn dead_letter<'e>(&self, env: &'e Env, ids: Unknown<'e>, error: Unknown<'e>) -> napi::Result<Promised<'e>> {
        promise(env, Pending::Operation, || {
            let core = self.core()?;
            let ids = Argument::new("ids", &ids).ids()?;
            let error = Argument::new("error", &error).given().map(|error| error.text()).transpose()?;
            Ok(move |reply: Reply<usize>| core.dead_letter(ids, error, reply))
        })
    }

    /// Puts the lease's end `ms` from now (1 ms to 31 days). Throws `ERR_LEASE_LOST` where the batch is no longer
    /// held.
    #[napi(ts_args_type = "ms: number", ts_return_type = "void", catch_unwind)]
    pub fn extend<'e>(&self, env: &'e Env, ms: Unknown<'e>) -> napi::Result<Unknown<'e>> {
        immediate(env, || self.core()?.extend(milliseconds(&Argument::new("ms", &ms), 1..=MONTH_MS)?))
    }

    /// Gives the messages back where they are still held, uncounted, with the first backoff, and frees their texts.
    /// Twice without harm.
    #[napi(ts_return_type = "void", catch_unwind)]
    pub fn dispose<'e>(&self, env: &'e Env) -> napi::Result<Unknown<'e>> {
        immediate(env, || {
            self.close();
            Ok(())
        })
    }

    /// As `dispose()`.
    #[napi(well_known_symbol = "dispose", ts_return_type = "void", catch_unwind)]
    pub fn symbol_dispose<'e>(&self, env: &'e Env) -> napi::Result<Unknown<'e>> {
        self.dispose(env)
    }

    /// As `dispose()`.
    #[napi(well_known_symbol = "asyncDispose", ts_return_type = "Promise<void>", catch_unwind)]
    pub fn symbol_async_dispose<'e>(&self, env: &'e Env) -> napi::Result<Promised<'e>> {
        promise(env, Pending::Operation, || {
            self.close();
            Ok(move |reply: Reply<()>| reply.settle(Ok(())))
        })
    }
}

/// The message at an index.
fn message<'c>(core: &'c queue::Batch, index: &Unknown<'_>) -> Result<&'c Delivered> {
    let index = Argument::new("index", index).size(0..=core.messages().len().saturating_sub(1), "")?;
    core.messages().get(index).ok_or_else(|| Error::invalid("there is no such message"))
}

/// Makes `messages` an own property of the batch, so that it is built once and lives and dies with it: a native
/// reference would keep both alive for ever, as the accessors refer back to the batch.
const KEEP: &str =
    "((batch, messages) => Object.defineProperty(batch, 'messages', { value: messages, enumerable: true }))";

/// What the engine says of a message; it goes before fields of the same name.
const OWN: [&str; 3] = ["id", "attempts", "enqueuedAtEpoch"];

/// Gives a message its own fields, and an accessor for each large text.
const FINISH: &str = "((batch, message, index, id, attempts, enqueuedAtEpoch, ...large) => {
  for (const field of large) {
    Object.defineProperty(message, field, {
      get: () => batch.readText(index, field), enumerable: true, configurable: true,
    });
  }
  return Object.assign(message, { id, attempts, enqueuedAtEpoch });
})";

fn messages(env: &Env, scope: Scope, batch: sys::napi_value, messages: &[Delivered]) -> Result<sys::napi_value> {
    let environment = Environment::of(env)?;
    let keep = |array| scope.call(environment.script(scope, KEEP)?, &[batch, array]).map(|_| array);
    if messages.iter().all(|message| message.split.large.is_empty()) {
        if let Some(array) = of_members(environment, scope, messages)? {
            return keep(array);
        }
        return keep(environment.parse_json(scope, &json_of_all(messages))?);
    }
    let finish = environment.script(scope, FINISH)?;
    let array = scope.array(messages.len())?;
    for (index, message) in messages.iter().enumerate() {
        let split = &message.split;
        let object = environment.parse_json(scope, split.skeleton.as_deref().unwrap_or(&message.payload))?;
        let mut arguments = vec![
            batch,
            object,
            scope.integer(i64::try_from(index).unwrap_or(0))?,
            scope.integer(message.id)?,
            scope.integer(message.attempts.into())?,
            scope.integer(message.enqueued_at_epoch)?,
        ];
        for (field, _) in split.large.iter().filter(|(field, _)| !OWN.contains(&&**field)) {
            arguments.push(scope.string(field)?);
        }
        scope.set_element(array, index, scope.call(finish, &arguments)?)?;
    }
    keep(array)
}

/// The messages out of their members, one compiled function a list of names; `None` where one of them has to be parsed.
fn of_members(environment: &Environment, scope: Scope, messages: &[Delivered]) -> Result<Option<sys::napi_value>> {
    let array = scope.array(messages.len())?;
    // Most messages of a batch have the same members as the one before.
    let mut last: Option<(&Members, Rc<RowFactory>)> = None;
    for (index, message) in messages.iter().enumerate() {
        let Some(members) = &message.split.members else { return Ok(None) };
        let same_names =
            |other: &Members| other.len() == members.len() && other.iter().zip(members).all(|((a, _), (b, _))| a == b);
        let own = || OWN.into_iter().filter(|own| members.iter().all(|(name, _)| **name != **own));
        let factory = match last.take().filter(|(other, _)| same_names(other)) {
            Some((_, factory)) => factory,
            None => {
                let names: Vec<&str> = members.iter().map(|(name, _)| &**name).chain(own()).collect();
                let Some(factory) = environment.factories().get_if_room(scope, &names)? else { return Ok(None) };
                factory
            }
        };
        // The handles of a message go with a scope of their own.
        scope.nested(|scope| {
            let mut values = Vec::with_capacity(members.len() + OWN.len());
            for (name, value) in members {
                values.push(match own_value(scope, message, name) {
                    Some(own) => own?,
                    None => member_value(environment, scope, message, value)?,
                });
            }
            for name in own() {
                values.extend(own_value(scope, message, name).transpose()?);
            }
            let object = scope.call(factory.function(scope)?, &values)?;
            scope.set_element(array, index, object)
        })??;
        last = Some((members, factory));
    }
    Ok(Some(array))
}

/// What the engine says under a name of [`OWN`].
fn own_value(scope: Scope, message: &Delivered, name: &str) -> Option<Result<sys::napi_value>> {
    let own = [message.id, message.attempts.into(), message.enqueued_at_epoch];
    OWN.iter().zip(own).find(|(own, _)| **own == name).map(|(_, value)| scope.integer(value))
}

fn member_value(environment: &Environment, scope: Scope, of: &Delivered, value: &Value) -> Result<sys::napi_value> {
    match value {
        Value::Plain(range) => scope.string(&of.payload[range.clone()]),
        Value::Text(range) => scope.string(&of.unescaped[range.clone()]),
        Value::Json(range) => match &of.payload[range.clone()] {
            "null" => scope.null(),
            "true" => scope.boolean(true),
            "false" => scope.boolean(false),
            // Of up to 15 digits every integer is exact; "-0" is none.
            text if text.len() <= 15 && text != "-0" => match text.parse() {
                Ok(integer) => scope.integer(integer),
                Err(_) => environment.parse_json(scope, text),
            },
            text => environment.parse_json(scope, text),
        },
    }
}

/// The messages as one JSON text: to be parsed at once costs half of what one after the other does.
fn json_of_all(messages: &[Delivered]) -> String {
    let mut text = String::with_capacity(messages.iter().map(|message| message.payload.len() + 96).sum());
    for message in messages {
        let (open, own) = message.json();
        text.push(if text.is_empty() { '[' } else { ',' });
        text.push_str(open);
        text.push_str(&own);
    }
    text.push_str(if text.is_empty() { "[]" } else { "]" });
    text
}
