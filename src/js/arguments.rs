//! Decodes JavaScript values, with errors that name the argument, its value and what was expected.
//!
//! Rules for all: a missing argument is `undefined`; where something may be absent, `null` counts as absent
//! too. A number may come as a decimal string (query strings). Half of a surrogate pair in a string becomes
//! U+FFFD. Only an object's own enumerable properties count, so that nothing comes in through a prototype.

use std::{borrow::Cow, ops::RangeInclusive, ptr};

use napi::{Env, Unknown, ValueType, sys};

pub use super::fields::Fields;
use super::{
    environment::Environment,
    errors::{exception_text, raw_of},
    place::{Place, integer_from, show_number, show_text},
    suggestion::closest,
    values::{Scope, check, make},
};
use crate::error::{Error, Result};

/// The largest integer that JavaScript counts exactly: 2^53 − 1.
pub const MAX_SAFE_INTEGER: i64 = (1 << 53) - 1;

/// One JavaScript value and where it came from.
#[derive(Clone)]
pub struct Argument<'e> {
    pub(super) scope: Scope,
    pub(super) value: sys::napi_value,
    pub(super) place: Place,
    _env: std::marker::PhantomData<&'e ()>,
}

impl<'e> Argument<'e> {
    /// The argument called `name`.
    pub fn new(name: &'static str, value: &Unknown<'e>) -> Self {
        let (env, value) = raw_of(value);
        // SAFETY: an `Unknown` is a handle of the call that is being served, on its JS thread.
        let scope = unsafe { Scope::new(env) };
        Self { scope, value, place: Place::Argument(name), _env: std::marker::PhantomData }
    }

    pub(super) fn at(&self, value: sys::napi_value, place: Place) -> Self {
        Self { scope: self.scope, value, place, _env: std::marker::PhantomData }
    }

    pub(super) fn kind(&self) -> ValueType {
        let mut kind = 0;
        // SAFETY: the handle belongs to the scope.
        let status = unsafe { sys::napi_typeof(self.scope.env(), self.value, &raw mut kind) };
        if status == sys::Status::napi_ok { ValueType::from(kind) } else { ValueType::Unknown }
    }

    /// The value, or none where it is `undefined` or `null`.
    #[must_use]
    pub fn given(self) -> Option<Self> {
        match self.kind() {
            ValueType::Undefined | ValueType::Null => None,
            _ => Some(self),
        }
    }

    /// An error about this value: `expected` continues "must be …".
    #[must_use]
    pub fn expected(&self, expected: &str) -> Error {
        Error::invalid(format!("{} must be {expected}, got {}", self.place, self.shown()))
            .with("argument", self.place.name().to_owned())
    }

    /// The value in a few words. Never runs the caller's code.
    fn shown(&self) -> String {
        match self.kind() {
            ValueType::Undefined => "undefined".to_owned(),
            ValueType::Null => "null".to_owned(),
            ValueType::Boolean => self.raw_boolean().map_or("a boolean".to_owned(), |value| value.to_string()),
            ValueType::Number => self.raw_number().map_or("a number".to_owned(), show_number),
            ValueType::String => self.raw_string().map_or("a string".to_owned(), |text| show_text(&text)),
            ValueType::BigInt => "a bigint".to_owned(),
            ValueType::Symbol => "a symbol".to_owned(),
            ValueType::Function => "a function".to_owned(),
            _ if self.is_array() => "an array".to_owned(),
            _ => "an object".to_owned(),
        }
    }

    fn raw_boolean(&self) -> Result<bool> {
        let mut value = false;
        // SAFETY: the handle belongs to the scope.
        check(unsafe { sys::napi_get_value_bool(self.scope.env(), self.value, &raw mut value) }, "read a boolean")?;
        Ok(value)
    }

    fn raw_number(&self) -> Result<f64> {
        let mut value = 0.0;
        // SAFETY: the handle belongs to the scope.
        check(unsafe { sys::napi_get_value_double(self.scope.env(), self.value, &raw mut value) }, "read a number")?;
        Ok(value)
    }

    fn raw_string(&self) -> Result<String> {
        self.scope.read_string(self.value)
    }

    fn is_array(&self) -> bool {
        let mut is_array = false;
        // SAFETY: the handle belongs to the scope.
        unsafe { sys::napi_is_array(self.scope.env(), self.value, &raw mut is_array) };
        is_array
    }

    /// `true` or `false`; also the strings `"true"` and `"false"`.
    ///
    /// # Errors
    /// `ERR_INVALID_ARG` for anything else.
    pub fn boolean(&self) -> Result<bool> {
        match self.kind() {
            ValueType::Boolean => self.raw_boolean(),
            ValueType::String => match &*self.raw_string()? {
                "true" => Ok(true),
                "false" => Ok(false),
                _ => Err(self.expected("true or false")),
            },
            _ => Err(self.expected("true or false")),
        }
    }

    /// A finite number.
    ///
    /// # Errors
    /// `ERR_INVALID_ARG` for anything else.
    pub fn number(&self) -> Result<f64> {
        self.any_number().filter(|number| number.is_finite()).ok_or_else(|| self.expected("a finite number"))
    }

    fn any_number(&self) -> Option<f64> {
        match self.kind() {
            ValueType::Number => self.raw_number().ok(),
            ValueType::String => decimal(&self.raw_string().ok()?),
            _ => None,
        }
    }

    /// An integer within `range`, counted in `unit` (`"ms"`, `"bytes"`, or nothing).
    ///
    /// # Errors
    /// `ERR_INVALID_ARG` naming the bounds for anything else.
    pub fn integer(&self, range: RangeInclusive<i64>, unit: &str) -> Result<i64> {
        #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "within ±2^53, whole")]
        let whole = self
            .any_number()
            .filter(|number| number.fract() == 0.0 && number.abs() <= MAX_SAFE_INTEGER as f64)
            .map(|number| number as i64);
        whole.filter(|number| range.contains(number)).ok_or_else(|| self.expected(&integer_from(&range, unit)))
    }

    /// The id of a row: an integer from 1.
    ///
    /// # Errors
    /// `ERR_INVALID_ARG` for anything else.
    pub fn id(&self) -> Result<i64> {
        self.integer(1..=MAX_SAFE_INTEGER, "")
    }

    /// A count or size within `range`, counted in `unit`.
    ///
    /// # Errors
    /// `ERR_INVALID_ARG` naming the bounds for anything else.
    pub fn size(&self, range: RangeInclusive<usize>, unit: &str) -> Result<usize> {
        let bound = |bound: usize| i64::try_from(bound).unwrap_or(MAX_SAFE_INTEGER).min(MAX_SAFE_INTEGER);
        let size = self.integer(bound(*range.start())..=bound(*range.end()), unit)?;
        usize::try_from(size).map_err(|_| self.expected("a smaller number"))
    }

    /// A string, possibly empty.
    ///
    /// # Errors
    /// `ERR_INVALID_ARG` for anything else.
    pub fn text(&self) -> Result<String> {
        if self.kind() == ValueType::String { self.raw_string() } else { Err(self.expected("a string")) }
    }

    /// A string with at least one character.
    ///
    /// # Errors
    /// `ERR_INVALID_ARG` for anything else.
    pub fn nonempty_text(&self) -> Result<String> {
        if self.kind() != ValueType::String {
            return Err(self.expected("a string"));
        }
        let text = self.raw_string()?;
        if text.is_empty() { Err(self.expected("a string that is not empty")) } else { Ok(text) }
    }

    /// The time of a `Date`, epoch ms (NaN for an invalid one); none for anything else.
    ///
    /// # Errors
    /// `ERR_INTERNAL` where N-API refuses.
    pub fn date(&self) -> Result<Option<f64>> {
        let (mut is_date, mut time) = (false, f64::NAN);
        // SAFETY: the handle belongs to the scope.
        check(unsafe { sys::napi_is_date(self.scope.env(), self.value, &raw mut is_date) }, "look for a Date")?;
        if !is_date {
            return Ok(None);
        }
        // SAFETY: as above.
        check(unsafe { sys::napi_get_date_value(self.scope.env(), self.value, &raw mut time) }, "read a Date")?;
        Ok(Some(time))
    }

    /// One of a few names.
    ///
    /// # Errors
    /// `ERR_INVALID_ARG` listing them for anything else.
    pub fn one_of<T: Copy>(&self, names: &[(&'static str, T)]) -> Result<T> {
        let given = if self.kind() == ValueType::String { Some(self.raw_string()?) } else { None };
        if let Some(found) = given.as_deref().and_then(|given| names.iter().find(|(name, _)| *name == given)) {
            return Ok(found.1);
        }
        let known: Vec<&str> = names.iter().map(|(name, _)| *name).collect();
        let quoted: Vec<String> = known.iter().map(|name| format!("'{name}'")).collect();
        let mut error = self.expected(&quoted.join(" or "));
        if let Some(meant) = given.and_then(|given| closest(&given, &known)) {
            error.message.push_str(&format!("; did you mean '{meant}'?"));
        }
        Err(error)
    }

    /// The elements of an array.
    ///
    /// # Errors
    /// `ERR_INVALID_ARG` for anything else.
    pub fn array(&self) -> Result<Vec<Self>> {
        if !self.is_array() {
            return Err(self.expected("an array"));
        }
        let mut length = 0;
        // SAFETY: the handle belongs to the scope.
        let status = unsafe { sys::napi_get_array_length(self.scope.env(), self.value, &raw mut length) };
        check(status, "read an array's length")?;
        let mut elements = Vec::with_capacity(length.min(1 << 16) as usize);
        for index in 0..length {
            let place = self.place.element(index);
            let value = make!(self.scope, "read an array element", napi_get_element(self.value, index))
                .map_err(|error| self.unreadable(&place, error))?;
            elements.push(self.at(value, place));
        }
        Ok(elements)
    }

    /// An array of strings.
    ///
    /// # Errors
    /// `ERR_INVALID_ARG` for anything else.
    pub fn texts(&self) -> Result<Vec<String>> {
        self.array()?.iter().map(Self::text).collect()
    }

    /// An array of row ids.
    ///
    /// # Errors
    /// `ERR_INVALID_ARG` for anything else.
    pub fn ids(&self) -> Result<Vec<i64>> {
        self.array()?.iter().map(Self::id).collect()
    }

    /// One string, or an array of them.
    ///
    /// # Errors
    /// `ERR_INVALID_ARG` for anything else.
    pub fn one_or_many_texts(&self) -> Result<Vec<String>> {
        match self.kind() {
            ValueType::String => Ok(vec![self.raw_string()?]),
            _ if self.is_array() => self.texts(),
            _ => Err(self.expected("a string or an array of strings")),
        }
    }

    /// A copy of the bytes of a `Buffer` or `Uint8Array`.
    ///
    /// # Errors
    /// `ERR_INVALID_ARG` for anything else, memory of a `SharedArrayBuffer` included.
    pub fn bytes(&self) -> Result<Vec<u8>> {
        self.with_bytes(|bytes| Ok(bytes.to_vec()))
    }

    /// As [`Argument::bytes`], without a copy: `read` sees them where they lie, and must not run JavaScript.
    ///
    /// # Errors
    /// As [`Argument::bytes`], and those of `read`.
    pub fn with_bytes<T>(&self, read: impl FnOnce(&[u8]) -> Result<T>) -> Result<T> {
        let (mut kind, mut length, mut data) = (0, 0, ptr::null_mut());
        let (mut buffer, mut offset) = (ptr::null_mut(), 0);
        // SAFETY: the handle belongs to the scope; the call refuses what is no typed array.
        let status = unsafe {
            sys::napi_get_typedarray_info(
                self.scope.env(),
                self.value,
                &raw mut kind,
                &raw mut length,
                &raw mut data,
                &raw mut buffer,
                &raw mut offset,
            )
        };
        let octets = [sys::TypedarrayType::uint8_array, sys::TypedarrayType::uint8_clamped_array];
        if status != sys::Status::napi_ok || !octets.contains(&kind) {
            return Err(self.expected("a Buffer or a Uint8Array"));
        }
        let mut ours = false;
        // SAFETY: the handle came out of the call above.
        unsafe { sys::napi_is_arraybuffer(self.scope.env(), buffer, &raw mut ours) };
        if !ours {
            // Another thread may write to shared memory while it is copied.
            return Err(self.expected("a Buffer or a Uint8Array whose memory is not shared with other threads"));
        }
        if length == 0 || data.is_null() {
            return read(&[]);
        }
        // SAFETY: V8 has just said that `length` bytes lie there, and no JavaScript runs before `read` is done.
        read(unsafe { std::slice::from_raw_parts(data.cast::<u8>(), length) })
    }

    /// An object with its own enumerable properties.
    ///
    /// # Errors
    /// `ERR_INVALID_ARG` for anything else, arrays included.
    pub fn object(&self) -> Result<Fields<'e>> {
        self.read_fields(false)
    }

    /// An object that may have only the properties `known`; for an absent one there are none.
    ///
    /// # Errors
    /// `ERR_INVALID_ARG` for anything else, with a suggestion for a name that is not known.
    pub fn options(&self, known: &[&'static str]) -> Result<Fields<'e>> {
        if matches!(self.kind(), ValueType::Undefined | ValueType::Null) {
            return Ok(Fields { of: self.clone(), names: Vec::new(), options: true });
        }
        let fields = self.read_fields(true)?;
        for name in &fields.names {
            if known.contains(&name.as_str()) {
                continue;
            }
            let remedy: Cow<'_, str> = match closest(name, known) {
                Some(meant) => format!("did you mean {meant}?").into(),
                None if known.is_empty() => "there are none".into(),
                None => format!("known are {}", known.join(", ")).into(),
            };
            return Err(Error::invalid(format!("unknown option '{name}'; {remedy}")).with("argument", name.clone()));
        }
        Ok(fields)
    }

    fn read_fields(&self, options: bool) -> Result<Fields<'e>> {
        if self.kind() != ValueType::Object || self.is_array() {
            return Err(self.expected("an object"));
        }
        let filter = sys::KeyFilter::enumerable | sys::KeyFilter::skip_symbols;
        let names = make!(
            self.scope,
            "read an object's property names",
            napi_get_all_property_names(
                self.value,
                sys::KeyCollectionMode::own_only,
                filter,
                sys::KeyConversion::numbers_to_strings
            )
        )
        .map_err(|error| self.unreadable(&self.place, error))?;
        let names = self.at(names, self.place.clone()).names()?;
        Ok(Fields { of: self.clone(), names, options })
    }

    /// The elements of an array of strings that N-API has made: no error will name any of them.
    fn names(&self) -> Result<Vec<String>> {
        let mut length = 0;
        // SAFETY: the handle belongs to the scope.
        let status = unsafe { sys::napi_get_array_length(self.scope.env(), self.value, &raw mut length) };
        check(status, "read an array's length")?;
        (0..length)
            .map(|index| {
                let name = make!(self.scope, "read a property's name", napi_get_element(self.value, index))?;
                self.scope.read_string(name)
            })
            .collect()
    }

    /// `JSON.stringify` of the value, which must be an object.
    ///
    /// # Errors
    /// `ERR_INVALID_ARG` for anything else, and for what has no JSON (a cycle, a bigint, a `toJSON` that throws).
    pub fn json(&self) -> Result<String> {
        if self.kind() != ValueType::Object || self.is_array() {
            return Err(self.expected("an object"));
        }
        let env = Env::from_raw(self.scope.env());
        let environment = Environment::of(&env)?;
        let parts = environment
            .script(self.scope, PARTS)
            .and_then(|parts| self.scope.call(parts, &[self.value]))
            .map_err(|error| self.unwritable(error))?;
        let parts = self.at(parts, self.place.clone());
        match parts.kind() {
            ValueType::String => parts.raw_string(),
            ValueType::Object => self.scope.join_members(parts.value),
            // A `toJSON` that answers undefined.
            _ => Err(self.expected("an object that JSON.stringify can write")),
        }
    }

    /// `JSON.stringify` of whatever the value is; none for what it leaves out (a function, a symbol).
    ///
    /// # Errors
    /// `ERR_INVALID_ARG` for what has no JSON (a cycle, a bigint, a `toJSON` that throws).
    pub fn any_json(&self) -> Result<Option<String>> {
        let text = self.at(self.stringified()?, self.place.clone());
        if text.kind() == ValueType::String { text.raw_string().map(Some) } else { Ok(None) }
    }

    fn stringified(&self) -> Result<sys::napi_value> {
        self.stringify().map_err(|error| self.unwritable(error))
    }

    fn unwritable(&self, error: Error) -> Error {
        let text = self.scope.take_exception().and_then(|thrown| exception_text(self.scope, thrown));
        let reason = self.culprit().or(text).unwrap_or(error.message);
        Error::invalid(format!("{} cannot be written as JSON: {reason}", self.place))
            .with("argument", self.place.name().to_owned())
    }

    /// What stands in the way of `JSON.stringify`, with its path: a cycle or a bigint.
    fn culprit(&self) -> Option<String> {
        let find = self.scope.run_script(CULPRIT).and_then(|find| self.scope.call(find, &[self.value]));
        let found = find.map(|found| self.at(found, self.place.clone()));
        // Whatever the caller's own getters and toJSON have thrown this time.
        self.scope.take_exception();
        found.ok().filter(|found| found.kind() == ValueType::String)?.raw_string().ok()
    }

    fn stringify(&self) -> Result<sys::napi_value> {
        Environment::of(&Env::from_raw(self.scope.env()))?.stringify_json(self.scope, self.value)
    }

    /// A getter or a proxy has thrown.
    pub(super) fn unreadable(&self, place: &Place, error: Error) -> Error {
        let thrown = self.scope.take_exception().and_then(|thrown| exception_text(self.scope, thrown));
        let reason = thrown.unwrap_or(error.message);
        Error::invalid(format!("{place} cannot be read: {reason}")).with("argument", place.name().to_owned())
    }
}

/// `JSON.stringify` of an object, or what it is made of: JSON text of some members, then name and value of a long text,
/// and so on, JSON text last. Half of a surrogate pair is left to `JSON.stringify`, as is whatever is no plain object. A
/// getter is called once, as `JSON.stringify` does: it may answer differently the next time.
const PARTS: &str = "(() => {
  const LONG = 1024;
  const { stringify } = JSON;
  const { assign, create, getPrototypeOf, keys, prototype } = Object;
  const { isWellFormed } = String.prototype;
  const isWhole = isWellFormed ? Function.prototype.call.bind(isWellFormed) : () => false;
  const isLong = (value) => typeof value === 'string' && value.length >= LONG;
  return (message) => {
    const parent = getPrototypeOf(message);
    if ((parent !== prototype && parent !== null) || typeof message.toJSON === 'function') return stringify(message);
    const members = parent === null ? assign(create(null), message) : { ...message };
    const names = keys(members);
    let index = 0;
    while (index < names.length && !isLong(members[names[index]])) index += 1;
    if (index === names.length) return stringify(members);
    const parts = [];
    let others = create(null);
    for (const name of names) {
      const value = members[name];
      if (isLong(value) && isWhole(value) && isWhole(name)) {
        parts.push(stringify(others), name, value);
        others = create(null);
      } else {
        others[name] = value;
      }
    }
    parts.push(stringify(others));
    return parts;
  };
})()";

/// Runs `JSON.stringify` again with a replacer that remembers where it is; the last place is where it stopped.
const CULPRIT: &str = "((message) => {
  const path = [];
  const shown = (length) => path.slice(1, length).reduce((text, { key, holder }) =>
    text + (Array.isArray(holder) ? `[${key}]` : /^[\\p{ID_Start}$_][\\p{ID_Continue}$]*$/u.test(key)
      ? `.${key}` : `[${JSON.stringify(key)}]`), 'it');
  let found;
  try {
    JSON.stringify(message, function (key, value) {
      while (path.length > 0 && path[path.length - 1].value !== this) path.pop();
      path.push({ key, holder: this, value });
      if (typeof value === 'bigint') found = `${shown(path.length)} is a bigint`;
      if (typeof value === 'object' && value !== null) {
        const above = path.findIndex((entry, place) => place < path.length - 1 && entry.value === value);
        if (above >= 0) found = `${shown(path.length)} refers back to ${shown(above + 1)}, which is circular`;
      }
      if (found !== undefined) throw new TypeError(found);
      return value;
    });
  } catch {}
  return found;
})";

/// A plain decimal number: no exponent, no hexadecimal, no blanks.
fn decimal(text: &str) -> Option<f64> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let plain = digits.starts_with(|first: char| first.is_ascii_digit())
        && digits.chars().all(|letter| letter.is_ascii_digit() || letter == '.');
    if plain { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::decimal;

    #[test]
    fn numeric_strings_are_plain_decimals() {
        assert_eq!(decimal("12"), Some(12.0));
        assert_eq!(decimal("-0.5"), Some(-0.5));
        for text in ["", " 1", "1e3", "0x10", "1.2.3", "-", ".5", "inf", "NaN", "+1"] {
            assert_eq!(decimal(text), None, "{text}");
        }
    }
}
