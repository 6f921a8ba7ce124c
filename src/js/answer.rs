//! What comes back: Rust values on their way to becoming JavaScript values.
//!
//! A core thread turns its result into an [`Answer`] (cheap moves, no N-API); the JS thread builds the value.

use std::sync::Arc;

use napi::{Env, bindgen_prelude::ToNapiValue};

use super::environment::{Teardown, watch};
use crate::{
    db::{Cell, Rows},
    error::Result,
};

/// Makes a handle on the JS thread.
pub type Make = Box<dyn FnOnce(&Env) -> napi::Result<napi::sys::napi_value> + Send>;

/// A JavaScript value to be.
pub enum Answer {
    /// `undefined`.
    Undefined,
    /// `null`.
    Null,
    /// A boolean.
    Boolean(bool),
    /// An integer; beyond ±2^53 JavaScript sees the nearest double.
    Integer(i64),
    /// A number.
    Number(f64),
    /// A string.
    Text(String),
    /// A string of the program itself, such as a state's name.
    Name(&'static str),
    /// JSON text that JavaScript gets parsed.
    Json(String),
    /// An array with one object a row, built in slices where there are many.
    Rows(Rows),
    /// The first row as an object, or `null` where there is none.
    Row(Rows),
    /// The first row as an object with more properties: their keys, and a value for each.
    RowWith(Rows, &'static [&'static str], Vec<Answer>),
    /// An array, built in slices where it is long.
    List(Vec<Answer>),
    /// An object: its keys, and a value for each.
    Object(&'static [&'static str], Vec<Answer>),
    /// Whatever the function makes on the JS thread, such as an instance of a class.
    Made(Make),
}

impl Answer {
    /// An instance of a `#[napi]` class.
    pub fn instance<T: ToNapiValue + Send + 'static>(instance: T) -> Self {
        // SAFETY: called on the JS thread with the environment that the handle will belong to.
        Self::Made(Box::new(move |env| unsafe { T::to_napi_value(env.raw(), instance) }))
    }

    /// An instance of a class whose `target` has threads: told when its environment goes away.
    pub fn watched<T: ToNapiValue + Send + 'static>(instance: T, target: Arc<dyn Teardown>) -> Self {
        Self::Made(Box::new(move |env| {
            watch(env, &target)?;
            // SAFETY: as in `instance`.
            unsafe { T::to_napi_value(env.raw(), instance) }
        }))
    }

    /// Bytes of text and rows that it holds: what waiting for the JS thread costs.
    pub fn weight(&self) -> usize {
        match self {
            Self::Text(text) | Self::Json(text) => text.len(),
            Self::Rows(rows) | Self::Row(rows) => rows.bytes(),
            Self::List(values) | Self::Object(_, values) => weight_of(values),
            Self::RowWith(rows, _, values) => rows.bytes() + weight_of(values),
            _ => 0,
        }
    }

    /// An object with `keys`, one value each.
    pub fn object<const N: usize>(keys: &'static [&'static str; N], values: [Self; N]) -> Self {
        Self::Object(keys, values.into())
    }
}

fn weight_of(values: &[Answer]) -> usize {
    size_of_val(values) + values.iter().map(Answer::weight).sum::<usize>()
}

impl std::fmt::Debug for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Answer")
    }
}

/// A result of the core that has a JavaScript form.
pub trait IntoAnswer {
    /// The JavaScript form. Runs on the thread that has the result: it moves, it does not copy.
    fn into_answer(self) -> Answer;
}

/// How a struct of the core becomes an object: `object_answer!(Stored { id: "id", created_at_epoch:
/// "createdAtEpoch" });`. Every field must be named.
#[macro_export]
macro_rules! object_answer {
    ($type:ty { $($field:ident : $key:literal),+ $(,)? }) => {
        impl $crate::js::answer::IntoAnswer for $type {
            fn into_answer(self) -> $crate::js::answer::Answer {
                let Self { $($field),+ } = self;
                $crate::js::answer::Answer::object(
                    &[$($key),+],
                    [$($crate::js::answer::IntoAnswer::into_answer($field)),+],
                )
            }
        }
    };
}
pub use object_answer;

macro_rules! into_answer {
    ($($type:ty => |$value:pat_param| $answer:expr;)+) => {$(
        impl IntoAnswer for $type {
            fn into_answer(self) -> Answer {
                let $value = self;
                $answer
            }
        }
    )+};
}

into_answer! {
    Answer => |answer| answer;
    () => |()| Answer::Undefined;
    bool => |value| Answer::Boolean(value);
    i64 => |value| Answer::Integer(value);
    i32 => |value| Answer::Integer(value.into());
    u32 => |value| Answer::Integer(value.into());
    u64 => |value| i64::try_from(value).map_or(Answer::Number(f64::MAX), Answer::Integer);
    usize => |value| i64::try_from(value).map_or(Answer::Number(f64::MAX), Answer::Integer);
    f64 => |value| Answer::Number(value);
    String => |text| Answer::Text(text);
    Box<str> => |text| Answer::Text(text.into());
    &'static str => |name| Answer::Name(name);
    Rows => |rows| Answer::Rows(rows);
    Cell => |cell| match cell {
        Cell::Null => Answer::Null,
        Cell::Integer(value) => Answer::Integer(value),
        Cell::Real(value) => Answer::Number(value),
        Cell::Text(text) => Answer::Text(text.into()),
    };
    serde_json::Value => |value| Answer::Json(value.to_string());
}

impl<T: IntoAnswer> IntoAnswer for Option<T> {
    fn into_answer(self) -> Answer {
        self.map_or(Answer::Null, T::into_answer)
    }
}

impl<T: IntoAnswer> IntoAnswer for Vec<T> {
    fn into_answer(self) -> Answer {
        Answer::List(self.into_iter().map(T::into_answer).collect())
    }
}

/// What crosses from a core thread to the JS thread.
pub(super) type Outcome = Result<Answer>;
