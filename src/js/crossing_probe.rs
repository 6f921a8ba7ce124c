//! A hidden class that lets the tests drive the crossing without a database; compiled only into the test build.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
    thread::JoinHandle,
    time::Duration,
};

use crossbeam_channel::{Receiver, Sender, unbounded};
use napi::{
    Env, Unknown,
    bindgen_prelude::{JsValue, This},
};
use napi_derive::napi;

use super::{
    answer::{Answer, object_answer},
    arguments::{Argument, MAX_SAFE_INTEGER},
    call::{Pending, Promised, immediate, part, promise},
    environment::{Teardown, watch},
};
use crate::{
    db::{Cell, Rows},
    error::{Code, Error, Result},
    reply::Reply,
};

type Job = Box<dyn FnOnce(&mut VecDeque<Reply<i64>>) + Send>;

/// What a handle of the public API has in its place: something with a thread.
struct Core {
    jobs: Mutex<Option<Sender<Job>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Core {
    fn start() -> Result<Arc<Self>> {
        let (sender, jobs) = unbounded::<Job>();
        let thread = std::thread::Builder::new().name("crossing-probe".to_owned()).spawn(move || serve(&jobs))?;
        Ok(Arc::new(Self { jobs: Mutex::new(Some(sender)), thread: Mutex::new(Some(thread)) }))
    }

    fn send(&self, job: impl FnOnce(&mut VecDeque<Reply<i64>>) + Send + 'static) {
        if let Some(jobs) = self.jobs.lock().unwrap_or_else(PoisonError::into_inner).as_ref() {
            // Refused only by a thread that has died; the job's reply then says so.
            drop(jobs.send(Box::new(job)));
        }
    }

    fn close(&self) {
        drop(self.jobs.lock().unwrap_or_else(PoisonError::into_inner).take());
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            drop(thread.join());
        }
    }
}

impl Teardown for Core {
    fn teardown(&self) {
        self.close();
    }
}

fn serve(jobs: &Receiver<Job>) {
    let mut held = VecDeque::new();
    for job in jobs {
        job(&mut held);
    }
    for waiting in held {
        waiting.settle(Err(Error::disposed("probe")));
    }
}

struct Told {
    id: i64,
    created_at_epoch: i64,
    note: Option<String>,
}
object_answer!(Told { id: "id", created_at_epoch: "createdAtEpoch", note: "note" });

/// Drives the crossing. Test build only.
#[napi]
pub struct CrossingProbe {
    core: Mutex<Option<Arc<Core>>>,
}

impl CrossingProbe {
    fn core(&self) -> Result<Arc<Core>> {
        let core = self.core.lock().unwrap_or_else(PoisonError::into_inner);
        core.as_ref().map(Arc::clone).ok_or_else(|| Error::disposed("probe"))
    }

    fn ask<'e, T: super::answer::IntoAnswer + Send + 'static>(
        &self,
        env: &'e Env,
        work: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> napi::Result<Promised<'e>> {
        promise(env, Pending::Operation, || {
            let core = self.core()?;
            Ok(move |reply: Reply<T>| core.send(move |_| reply.settle(work())))
        })
    }
}

#[napi]
impl CrossingProbe {
    /// Starts a thread. Where `detached`, nobody stops it when its environment is torn down, so that it goes on
    /// settling promises of an environment that has gone.
    #[napi(constructor, catch_unwind)]
    pub fn new(env: &Env, detached: Option<bool>) -> napi::Result<Self> {
        let core = Core::start().map_err(|error| super::errors::thrown(env, &error))?;
        if detached != Some(true) {
            let target: Arc<dyn Teardown> = core.clone();
            watch(env, &target)?;
        }
        Ok(Self { core: Mutex::new(Some(core)) })
    }

    /// Another one, made on the thread.
    #[napi(catch_unwind)]
    pub fn sibling<'e>(&self, env: &'e Env) -> napi::Result<Promised<'e>> {
        self.ask(env, || {
            let core = Core::start()?;
            let target: Arc<dyn Teardown> = core.clone();
            Ok(Answer::watched(Self { core: Mutex::new(Some(core)) }, target))
        })
    }

    /// JSON text as the value that it stands for.
    #[napi(catch_unwind)]
    pub fn json<'e>(&self, env: &'e Env, text: String) -> napi::Result<Promised<'e>> {
        self.ask(env, || Ok(Answer::Json(text)))
    }

    /// The integer that it is given.
    #[napi(catch_unwind)]
    pub fn echo<'e>(&self, env: &'e Env, value: Unknown<'e>) -> napi::Result<Promised<'e>> {
        promise(env, Pending::Operation, || {
            let value = Argument::new("value", &value).integer(-MAX_SAFE_INTEGER..=MAX_SAFE_INTEGER, "")?;
            let core = self.core()?;
            Ok(move |reply: Reply<i64>| core.send(move |_| reply.settle(Ok(value))))
        })
    }

    /// The integer that it is given, after `ms` on the thread.
    #[napi(catch_unwind)]
    pub fn slow<'e>(&self, env: &'e Env, value: u32, ms: u32) -> napi::Result<Promised<'e>> {
        self.ask(env, move || {
            std::thread::sleep(Duration::from_millis(ms.into()));
            Ok(value)
        })
    }

    /// What `put` brings next; a wait that does not hold the process, unless `keep_alive`.
    #[napi(catch_unwind)]
    pub fn hold<'e>(&self, env: &'e Env, keep_alive: Option<bool>) -> napi::Result<Promised<'e>> {
        promise(env, Pending::wait(keep_alive == Some(true)), || {
            let core = self.core()?;
            Ok(move |reply: Reply<i64>| core.send(move |held| held.push_back(reply)))
        })
    }

    /// Settles the oldest `hold`.
    #[napi(catch_unwind)]
    pub fn put<'e>(&self, env: &'e Env, value: i64) -> napi::Result<Unknown<'e>> {
        immediate(env, || {
            self.core()?.send(move |held| {
                if let Some(waiting) = held.pop_front() {
                    waiting.settle(Ok(value));
                }
            });
            Ok(())
        })
    }

    /// `count` rows with the given columns; each text is `column-row`, with `filler` characters more.
    #[napi(catch_unwind)]
    pub fn rows<'e>(&self, env: &'e Env, columns: Vec<String>, count: u32, filler: u32) -> napi::Result<Promised<'e>> {
        self.ask(env, move || Ok(rows(&columns, count, filler)))
    }

    /// Bytes of large answers on their way to this environment.
    #[napi(catch_unwind)]
    pub fn backlog<'e>(&self, env: &'e Env) -> napi::Result<Unknown<'e>> {
        immediate(env, || Ok(super::environment::Environment::of(env)?.completions().backlog()))
    }

    /// The first of `count` rows, or null.
    #[napi(catch_unwind)]
    pub fn row<'e>(&self, env: &'e Env, columns: Vec<String>, count: u32) -> napi::Result<Promised<'e>> {
        self.ask(env, move || Ok(Answer::Row(rows(&columns, count, 0))))
    }

    /// Nanoseconds that the JS thread spends on building these rows, the best of `rounds`.
    #[napi(catch_unwind)]
    pub fn time_rows<'e>(
        &self,
        env: &'e Env,
        columns: Vec<String>,
        count: u32,
        filler: u32,
        rounds: u32,
    ) -> napi::Result<Unknown<'e>> {
        // SAFETY: `env` is alive on this thread, and the call that we serve has a handle scope.
        let scope = unsafe { super::values::Scope::new(env.raw()) };
        immediate(env, || {
            let environment = super::environment::Environment::of(env)?;
            let rows = rows(&columns, count, filler);
            let mut best = u64::MAX;
            for _ in 0..rounds {
                let answer = Answer::Rows(rows.clone());
                let since = std::time::Instant::now();
                scope.nested(|scope| super::building::begin(scope, environment, answer, None).map(drop))??;
                best = best.min(u64::try_from(since.elapsed().as_nanos()).unwrap_or(u64::MAX));
            }
            Ok(best)
        })
    }

    /// Three kinds of rows in one object, as a timeline has them.
    #[napi(catch_unwind)]
    pub fn timeline<'e>(&self, env: &'e Env, count: u32) -> napi::Result<Promised<'e>> {
        self.ask(env, move || {
            let three = ["id", "title", "text"].map(str::to_owned);
            let kinds = [rows(&three, count, 0), rows(&three[..2], count, 0), rows(&three[..1], count, 0)];
            Ok(Answer::object(&["observations", "sessions", "prompts"], kinds.map(Answer::Rows)))
        })
    }

    /// `count` structs.
    #[napi(catch_unwind)]
    pub fn list<'e>(&self, env: &'e Env, count: u32) -> napi::Result<Promised<'e>> {
        self.ask(env, move || {
            let told = |id: u32| Told {
                id: id.into(),
                created_at_epoch: 1_700_000_000_000 + i64::from(id),
                note: (id % 2 == 1).then(|| format!("note {id}")),
            };
            Ok((0..count).map(told).collect::<Vec<_>>())
        })
    }

    /// One value of each kind.
    #[napi(catch_unwind)]
    pub fn kinds<'e>(&self, env: &'e Env) -> napi::Result<Unknown<'e>> {
        immediate(env, || {
            Ok(Answer::List(vec![
                Answer::Undefined,
                Answer::Null,
                Answer::Boolean(true),
                Answer::Integer(1 << 40),
                Answer::Number(0.5),
                Answer::Text("naïve 雪 😀".to_owned()),
                Answer::Name("idle"),
                Answer::Json(r#"{"__proto__":1,"a":[2]}"#.to_owned()),
                Answer::Row(rows(&["a".to_owned()], 1, 0)),
                Answer::Row(rows(&["a".to_owned()], 0, 0)),
            ]))
        })
    }

    /// The string that it is given.
    #[napi(catch_unwind)]
    pub fn text<'e>(&self, env: &'e Env, text: Unknown<'e>) -> napi::Result<Unknown<'e>> {
        immediate(env, || Argument::new("text", &text).text())
    }

    /// An error with figures.
    #[napi(catch_unwind)]
    pub fn fail<'e>(&self, env: &'e Env) -> napi::Result<Promised<'e>> {
        self.ask(env, || -> Result<()> {
            Err(Error::new(Code::QueueFull, "the queue is full").with("depth", 3_u32).with("limit", "three"))
        })
    }

    /// The same error, thrown.
    #[napi(catch_unwind)]
    pub fn fail_now<'e>(&self, env: &'e Env) -> napi::Result<Unknown<'e>> {
        immediate(env, || -> Result<()> { Err(Error::new(Code::Locked, "taken").with("pid", 7_u32)) })
    }

    /// Panics at the named point.
    #[napi(catch_unwind)]
    pub fn panic<'e>(&self, env: &'e Env, at: String) -> napi::Result<Promised<'e>> {
        match &*at {
            "glue" => inject("injected into the glue"),
            "prepare" => promise(env, Pending::Operation, || -> Result<fn(Reply<i64>)> { inject("injected") }),
            "start" => promise(env, Pending::Operation, || Ok(|_: Reply<i64>| inject("injected"))),
            "dropped" => promise(env, Pending::Operation, || Ok(|reply: Reply<i64>| drop(reply))),
            _ => self.ask(env, || Ok(Answer::Made(Box::new(|_| inject("injected into a conversion"))))),
        }
    }

    /// Panics in a call that answers at once.
    #[napi(catch_unwind)]
    pub fn panic_now<'e>(&self, env: &'e Env) -> napi::Result<Unknown<'e>> {
        immediate(env, || -> Result<()> { inject("injected") })
    }

    /// Decodes `value` as `form` and tells what it got.
    #[napi(catch_unwind)]
    pub fn decode<'e>(&self, env: &'e Env, form: String, value: Unknown<'e>) -> napi::Result<Unknown<'e>> {
        immediate(env, || decode(&form, &Argument::new("value", &value)))
    }

    /// Ends the thread. Twice without harm.
    #[napi(catch_unwind)]
    pub fn dispose<'e>(&self, env: &'e Env) -> napi::Result<Unknown<'e>> {
        immediate(env, || {
            let core = self.core.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(core) = core {
                core.close();
            }
            Ok(())
        })
    }

    /// A part, as `memory.store` is one.
    #[napi(getter, catch_unwind)]
    pub fn part<'e>(&self, env: &'e Env, this: This<'e>) -> napi::Result<Unknown<'e>> {
        part(env, &this, c"part", || Ok(Answer::instance(Self { core: Mutex::new(Some(self.core()?)) })))
    }

    /// The next that `put` brings, as an iterator answers.
    #[napi(catch_unwind)]
    pub fn next<'e>(&self, env: &'e Env) -> napi::Result<Promised<'e>> {
        promise(env, Pending::Operation, || {
            let core = self.core()?;
            Ok(move |reply: Reply<Answer>| {
                core.send(move |held| {
                    held.push_back(Reply::new(move |value: Result<i64>| {
                        reply.settle(Ok(match value {
                            Ok(value) => {
                                Answer::object(&["value", "done"], [Answer::Integer(value), Answer::Boolean(false)])
                            }
                            Err(_) => Answer::object(&["value", "done"], [Answer::Undefined, Answer::Boolean(true)]),
                        }));
                    }));
                });
            })
        })
    }

    /// Iterates over what `put` brings, until it is disposed.
    #[napi(well_known_symbol = "asyncIterator", catch_unwind)]
    pub fn iterate<'e>(&self, this: This<'e>) -> Unknown<'e> {
        this.object.to_unknown()
    }

    /// As `dispose`.
    #[napi(well_known_symbol = "dispose", catch_unwind)]
    pub fn dispose_symbol<'e>(&self, env: &'e Env) -> napi::Result<Unknown<'e>> {
        self.dispose(env)
    }
}

#[expect(clippy::panic, reason = "injecting a panic is what this is for")]
fn inject(place: &str) -> ! {
    panic!("{place}")
}

fn rows(columns: &[String], count: u32, filler: u32) -> Rows {
    let filler = "x".repeat(filler as usize);
    let cells = (0..count).flat_map(|row| {
        let filler = &filler;
        columns.iter().enumerate().map(move |(place, column)| match place {
            0 => Cell::Integer(row.into()),
            _ => Cell::Text(format!("{column}-{row}{filler}").into()),
        })
    });
    Rows { columns: columns.iter().map(|column| Box::from(column.as_str())).collect(), cells: cells.collect() }
}

fn decode(form: &str, value: &Argument<'_>) -> Result<Answer> {
    Ok(match form {
        "integer" => Answer::Integer(value.integer(1..=100, "ms")?),
        "id" => Answer::Integer(value.id()?),
        "size" => Answer::Integer(i64::try_from(value.size(1..=1 << 20, "bytes")?).unwrap_or(0)),
        "number" => Answer::Number(value.number()?),
        "boolean" => Answer::Boolean(value.boolean()?),
        "text" => Answer::Text(value.text()?),
        "nonempty" => Answer::Text(value.nonempty_text()?),
        "texts" => Answer::List(value.texts()?.into_iter().map(Answer::Text).collect()),
        "ids" => Answer::List(value.ids()?.into_iter().map(Answer::Integer).collect()),
        "oneOrMany" => Answer::List(value.one_or_many_texts()?.into_iter().map(Answer::Text).collect()),
        "bytes" => Answer::Integer(i64::try_from(value.bytes()?.len()).unwrap_or(0)),
        "oneOf" => Answer::Integer(value.one_of(&[("normal", 1), ("full", 2)])?),
        "json" => Answer::Text(value.json()?),
        "options" => {
            let options = value.options(&["lockWaitMs", "dataDir", "readers"])?;
            let wait = options.read("lockWaitMs", |value| value.integer(0..=1_000, "ms"))?;
            wait.map_or(Answer::Null, Answer::Integer)
        }
        "nested" => {
            let fields = value.object()?;
            let mut titles = Vec::new();
            for observation in fields.required("observations")?.array()? {
                titles.push(Answer::Text(observation.object()?.required("title")?.text()?));
            }
            Answer::List(titles)
        }
        other => return Err(Error::invalid(format!("no form '{other}'"))),
    })
}
