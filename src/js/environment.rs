//! What this module keeps for one JavaScript environment: the main thread's, or that of one
//! `worker_threads` thread.
//!
//! It is made when the environment first calls, found again through N-API's instance data, and lives until
//! Node has finished tearing the environment down.

use std::{
    cell::RefCell,
    collections::HashMap,
    ffi::c_void,
    panic::{AssertUnwindSafe, catch_unwind},
    ptr,
    rc::Rc,
    sync::{Arc, Weak},
};

use napi::{Env, bindgen_prelude::retain_current_module_for_unload_safety, sys};

use super::{
    completions::Completions,
    errors::from_napi,
    row_factory::RowFactories,
    values::{Reference, Scope, check},
};
use crate::error::{Code, Error, Result};

/// Something with threads of its own that must stop when the environment that opened it goes away.
pub trait Teardown: Send + Sync {
    /// Called on the JS thread while the environment is torn down: when a `worker_threads` thread ends, however it
    /// does, and when the main thread has nothing left to do. `process.exit` in the main thread tears nothing down:
    /// Node ends the process under the running threads, which is what durability before acknowledgement is for.
    ///
    /// Promises no longer settle. It may wait, with a bound: the thread or the process cannot end before.
    fn teardown(&self);
}

/// The functions of `JSON`, as they were when this environment first called.
struct Json {
    parse: Reference,
    stringify: Reference,
}

/// State of one environment. Only its JS thread ever holds a reference to it.
pub(super) struct Environment {
    completions: Completions,
    factories: RowFactories,
    json: RefCell<Option<Json>>,
    /// What scripts of this module have evaluated to, by the address of their source.
    scripts: RefCell<HashMap<usize, Rc<Reference>>>,
    teardowns: RefCell<Vec<Weak<dyn Teardown>>>,
}

impl Environment {
    /// The state of `env`, made where this is its first call.
    pub(super) fn of(env: &Env) -> Result<&Self> {
        let mut data = ptr::null_mut();
        // SAFETY: an `Env` is a live environment on its own thread.
        check(unsafe { sys::napi_get_instance_data(env.raw(), &raw mut data) }, "find this environment's state")?;
        // SAFETY: nothing else in this module sets instance data (napi-rs leaves the slot to its users), so it is
        // null or the box that `create` leaked; Node frees that after the last JavaScript call, which outlives
        // every borrow of `env`.
        match unsafe { data.cast::<Self>().as_ref() } {
            Some(environment) => Ok(environment),
            None => Self::create(env),
        }
    }

    fn create(env: &Env) -> Result<&Self> {
        // Node unloads an add-on once the last environment that loaded it is gone. Our threads can outlive a
        // `worker_threads` thread for a moment, and must not run in unmapped memory.
        retain_current_module_for_unload_safety();
        // SAFETY: `env` is alive on this thread, and the call that we serve has a handle scope.
        let scope = unsafe { Scope::new(env.raw()) };
        let json = scope.get_property(global(scope)?, "JSON")?;
        let function = |name| Reference::new(scope, scope.get_property(json, name)?);
        let json = Json { parse: function("parse")?, stringify: function("stringify")? };
        let environment = Box::into_raw(Box::new(Self {
            completions: Completions::new(env.raw()),
            factories: RowFactories::default(),
            json: RefCell::new(Some(json)),
            scripts: RefCell::default(),
            teardowns: RefCell::default(),
        }));
        // SAFETY: just leaked, so it lives until `free`; from here on only shared references are made.
        let shared = unsafe { &*environment };
        // From here on Node owns the box, also where a later step fails: such an environment stays closed and
        // answers every call with an error.
        // SAFETY: `free` matches the box's type.
        let owned = unsafe { sys::napi_set_instance_data(env.raw(), environment.cast(), Some(free), ptr::null_mut()) };
        if let Err(error) = check(owned, "keep this environment's state") {
            // SAFETY: Node did not take the box, and `shared` is not used again.
            drop(unsafe { Box::from_raw(environment) });
            return Err(error);
        }
        shared.completions.open(scope, shared)?;
        // Cleanup hooks run last-in first-out: this one before those with which Node frees the thread-safe
        // functions that `open` has made.
        // SAFETY: the hook runs once, before `free`.
        let hooked = unsafe { sys::napi_add_env_cleanup_hook(env.raw(), Some(close), environment.cast()) };
        check(hooked, "register a cleanup hook").inspect_err(|_| shared.completions.close())?;
        Ok(shared)
    }

    pub(super) fn completions(&self) -> &Completions {
        &self.completions
    }

    pub(super) fn factories(&self) -> &RowFactories {
        &self.factories
    }

    pub(super) fn parse_json(&self, scope: Scope, text: &str) -> Result<sys::napi_value> {
        let parse = self.of_json(scope, |json| &json.parse)?;
        let text = scope.string(text)?;
        scope.call(parse, &[text])
    }

    pub(super) fn stringify_json(&self, scope: Scope, value: sys::napi_value) -> Result<sys::napi_value> {
        scope.call(self.of_json(scope, |json| &json.stringify)?, &[value])
    }

    fn of_json(&self, scope: Scope, which: impl FnOnce(&Json) -> &Reference) -> Result<sys::napi_value> {
        // Nothing is borrowed while JavaScript runs.
        self.json.borrow().as_ref().map_or_else(|| Err(closing()), |json| which(json).get(scope))
    }

    /// The function that `source` evaluates to, which is done once.
    pub(super) fn script(&self, scope: Scope, source: &'static str) -> Result<sys::napi_value> {
        let address = source.as_ptr().addr();
        let known = self.scripts.borrow().get(&address).cloned();
        if let Some(known) = known {
            return known.get(scope);
        }
        let function = scope.run_script(source)?;
        self.scripts.borrow_mut().insert(address, Rc::new(Reference::new(scope, function)?));
        Ok(function)
    }

    /// Has `target` told when this environment is torn down, for as long as somebody else keeps it.
    pub(super) fn watch(&self, target: &Arc<dyn Teardown>) {
        let mut teardowns = self.teardowns.borrow_mut();
        teardowns.retain(|known| known.strong_count() > 0);
        teardowns.push(Arc::downgrade(target));
    }

    fn close(&self) {
        self.completions.close();
        // References are deleted here, while the environment is still there to delete them from.
        self.factories.clear();
        drop((self.json.take(), self.scripts.take()));
        let targets = self.teardowns.take();
        // Last in, first out: a memory is told to end before its threads are waited for.
        for target in targets.iter().rev().filter_map(Weak::upgrade) {
            target.teardown();
        }
    }
}

/// Has `target` told when the environment is torn down; see [`Teardown`].
///
/// # Errors
/// Where the environment is being torn down already.
pub fn watch(env: &Env, target: &Arc<dyn Teardown>) -> napi::Result<()> {
    Environment::of(env)
        .map(|environment| environment.watch(target))
        .map_err(|error| super::errors::thrown(env, &error))
}

/// What a call answers whose environment is being torn down.
pub(super) fn closing() -> Error {
    Error::new(Code::Disposed, "this JavaScript environment is being torn down; nothing can be promised to it any more")
}

fn global(scope: Scope) -> Result<sys::napi_value> {
    Env::from_raw(scope.env())
        .get_global()
        .map(|global| napi::bindgen_prelude::JsValue::raw(&global))
        .map_err(|error| from_napi(&error))
}

unsafe extern "C" fn close(environment: *mut c_void) {
    // SAFETY: registered with the leaked box, which `free` takes back only after all cleanup hooks.
    let environment = unsafe { &*environment.cast::<Environment>() };
    // A panic must not unwind into Node; what it was about is going away anyway.
    drop(catch_unwind(AssertUnwindSafe(|| environment.close())));
}

unsafe extern "C" fn free(_env: sys::napi_env, environment: *mut c_void, _hint: *mut c_void) {
    // SAFETY: the box that `create` gave to Node, which calls this once, after the last JavaScript and after it
    // has closed the thread-safe functions whose context it is.
    let environment = unsafe { Box::from_raw(environment.cast::<Environment>()) };
    drop(catch_unwind(AssertUnwindSafe(|| drop(environment))));
}
