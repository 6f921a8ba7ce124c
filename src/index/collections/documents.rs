//! What the caller hands over and gets back, and the bounds of it.

use std::{cmp::Ordering, collections::HashSet};

use rusqlite::types::Value as Bound;
use serde_json::{Map, Value};

use crate::{
    error::{Error, Result},
    index::vectors::vector,
};

/// Bytes of a collection's name at most.
pub const NAME_BYTES: usize = 512;
/// Bytes of a document's id at most.
pub const ID_BYTES: usize = 512;
/// Documents of one upsert, and ids of one call, at most.
pub const DOCUMENTS_A_CALL: usize = 10_000;
/// Bytes of a document's text at most.
pub const TEXT_BYTES: usize = 1 << 20;
/// Values of a document's metadata at most.
pub const METADATA_VALUES: usize = 256;
/// Bytes of a name of metadata at most.
pub const METADATA_NAME_BYTES: usize = 256;
/// Bytes of a document's metadata, as JSON, at most.
pub const METADATA_BYTES: usize = 64 << 10;
/// Numbers of a vector at most.
pub const DIMENSIONS: usize = 4_096;

/// One value of metadata.
#[derive(Debug, Clone, PartialEq)]
pub enum Scalar {
    /// `true` or `false`.
    Boolean(bool),
    /// A whole number.
    Integer(i64),
    /// Any other finite number.
    Real(f64),
    /// A string.
    Text(String),
}

impl Scalar {
    /// Every [`Scalar::rank`].
    pub const RANKS: [u8; 3] = [0, 1, 2];

    /// `metadata.type`: values of one rank are compared with each other.
    #[must_use]
    pub const fn rank(&self) -> u8 {
        match self {
            Self::Boolean(_) => 0,
            Self::Integer(_) | Self::Real(_) => 1,
            Self::Text(_) => 2,
        }
    }

    /// How it stands to another of its type; `None` where that is of another one.
    #[must_use]
    pub fn compared(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Boolean(one), Self::Boolean(other)) => Some(one.cmp(other)),
            (Self::Integer(one), Self::Integer(other)) => Some(one.cmp(other)),
            (Self::Real(one), Self::Real(other)) => one.partial_cmp(other),
            (Self::Integer(one), Self::Real(other)) => Some(whole_to_real(*one, *other)),
            (Self::Real(one), Self::Integer(other)) => Some(whole_to_real(*other, *one).reverse()),
            (Self::Text(one), Self::Text(other)) => Some(one.as_bytes().cmp(other.as_bytes())),
            _ => None,
        }
    }

    /// A number: whole ones as SQLite and JSON keep them.
    #[must_use]
    pub fn number(number: f64) -> Self {
        // Beyond 2^53 a double is a whole number that stands for its neighbours too.
        #[expect(clippy::cast_possible_truncation, reason = "whole, and within ±2^53")]
        if number.fract() == 0.0 && number.abs() <= 9_007_199_254_740_992.0 {
            Self::Integer(number as i64)
        } else {
            Self::Real(number)
        }
    }

    /// The JSON value; none for null, lists and objects.
    #[must_use]
    pub fn of_json(value: &Value) -> Option<Self> {
        match value {
            Value::Bool(value) => Some(Self::Boolean(*value)),
            Value::Number(number) => number.as_i64().map(Self::Integer).or_else(|| number.as_f64().map(Self::number)),
            Value::String(text) => Some(Self::Text(text.clone())),
            _ => None,
        }
    }

    fn to_json(&self) -> Value {
        match self {
            Self::Boolean(value) => (*value).into(),
            Self::Integer(value) => (*value).into(),
            Self::Real(value) => (*value).into(),
            Self::Text(text) => text.as_str().into(),
        }
    }
}

/// Without a loss, which there would be if a large whole number were made a real one.
fn whole_to_real(whole: i64, real: f64) -> Ordering {
    const BEYOND: f64 = 9_223_372_036_854_775_808.0;
    if real >= BEYOND {
        Ordering::Less
    } else if real < -BEYOND {
        Ordering::Greater
    } else {
        #[expect(clippy::cast_possible_truncation, reason = "between the bounds")]
        let below = real.floor() as i64;
        whole.cmp(&below).then(if real.fract() == 0.0 { Ordering::Equal } else { Ordering::Less })
    }
}

impl From<Scalar> for Bound {
    fn from(value: Scalar) -> Self {
        match value {
            Scalar::Boolean(value) => Self::Integer(value.into()),
            Scalar::Integer(value) => Self::Integer(value),
            Scalar::Real(value) => Self::Real(value),
            Scalar::Text(text) => Self::Text(text),
        }
    }
}

/// Metadata: names with values, or with null.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Metadata(pub Vec<(String, Option<Scalar>)>);

impl Metadata {
    /// What [`Metadata::to_json`] has written; what is of another form is left out.
    #[must_use]
    pub fn of_json(text: &str) -> Self {
        let object: Map<String, Value> = serde_json::from_str(text).unwrap_or_default();
        Self(object.into_iter().map(|(name, value)| (name, Scalar::of_json(&value))).collect())
    }

    /// The JSON text that is stored.
    #[must_use]
    pub fn to_json(&self) -> String {
        let object: Map<String, Value> = self
            .0
            .iter()
            .map(|(name, value)| (name.clone(), value.as_ref().map_or(Value::Null, Scalar::to_json)))
            .collect();
        Value::Object(object).to_string()
    }

    /// The values by which the document is found.
    pub fn values(&self) -> impl Iterator<Item = (&str, &Scalar)> {
        self.0.iter().filter_map(|(name, value)| Some((name.as_str(), value.as_ref()?)))
    }
}

/// A document that is handed over.
#[derive(Debug, Clone, Default)]
pub struct NewDocument {
    /// By which its owner knows it.
    pub id: String,
    /// What is embedded, where no vector is handed over.
    pub text: Option<String>,
    /// By which it is filtered.
    pub metadata: Option<Metadata>,
    /// The caller's own vector, of any length but zero.
    pub vector: Option<Vec<f32>>,
}

impl NewDocument {
    /// Bytes of it, for the budget.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let metadata = self.metadata.as_ref().map_or(0, |metadata| {
            let value = |value: &Option<Scalar>| if let Some(Scalar::Text(text)) = value { text.len() } else { 8 };
            metadata.0.iter().map(|(name, scalar)| name.len() + value(scalar)).sum()
        });
        self.id.len()
            + self.text.as_ref().map_or(0, String::len)
            + metadata
            + self.vector.as_ref().map_or(0, |vector| vector.len() * 4)
    }
}

/// Checks what needs no look at the collection.
///
/// # Errors
/// `ERR_INVALID_ARG` naming the document, the value, the limit and the remedy.
pub fn check(documents: &[NewDocument]) -> Result<()> {
    check_count(documents.len())?;
    let mut ids = HashSet::with_capacity(documents.len());
    for (number, document) in documents.iter().enumerate() {
        let refused = |field: &str, what: String| {
            let place = format!("documents[{number}].{field}");
            Err(Error::invalid(format!("'{place}' {what}")).with("argument", place))
        };
        if let Err(error) = check_id(&document.id) {
            return refused("id", error);
        }
        if !ids.insert(document.id.as_str()) {
            return refused(
                "id",
                format!("is '{}', as that of an earlier document of this call; ids are unique", document.id),
            );
        }
        match &document.text {
            Some(text) if text.len() > TEXT_BYTES => {
                return refused(
                    "text",
                    format!("has {} bytes, the limit is {TEXT_BYTES}; split it into several documents", text.len()),
                );
            }
            None if document.vector.is_none() => {
                return refused("text", "is missing, and there is no vector either: give one of them".to_owned());
            }
            _ => {}
        }
        if let Some(Err(error)) = document.metadata.as_ref().map(check_metadata) {
            return refused("metadata", error);
        }
        if let Some(Err(error)) = document.vector.as_deref().map(check_vector) {
            return refused("vector", error);
        }
    }
    Ok(())
}

/// Checks how many documents come in one call.
///
/// # Errors
/// `ERR_INVALID_ARG`.
pub fn check_count(count: usize) -> Result<()> {
    if count > DOCUMENTS_A_CALL { Err(too_many("documents", count)) } else { Ok(()) }
}

/// Checks the ids that are asked for.
///
/// # Errors
/// `ERR_INVALID_ARG`.
pub fn check_ids(ids: &[String]) -> Result<()> {
    if ids.len() > DOCUMENTS_A_CALL {
        return Err(too_many("ids", ids.len()));
    }
    for (number, id) in ids.iter().enumerate() {
        if let Err(what) = check_id(id) {
            let place = format!("ids[{number}]");
            return Err(Error::invalid(format!("'{place}' {what}")).with("argument", place));
        }
    }
    Ok(())
}

/// Checks a collection's name.
///
/// # Errors
/// `ERR_INVALID_ARG`.
pub fn check_name(name: &str) -> Result<()> {
    if (1..=NAME_BYTES).contains(&name.len()) {
        return Ok(());
    }
    let message = format!("argument 'name' has {} bytes; the name of a collection has 1 to {NAME_BYTES}", name.len());
    Err(Error::invalid(message).with("argument", "name").with("limit", NAME_BYTES))
}

fn too_many(what: &'static str, count: usize) -> Error {
    Error::invalid(format!("{count} {what} in one call, the limit is {DOCUMENTS_A_CALL}; use several calls"))
        .with("argument", what)
        .with("limit", DOCUMENTS_A_CALL)
}

fn check_id(id: &str) -> std::result::Result<(), String> {
    if (1..=ID_BYTES).contains(&id.len()) {
        Ok(())
    } else {
        Err(format!("has {} bytes; an id has 1 to {ID_BYTES}", id.len()))
    }
}

fn check_metadata(metadata: &Metadata) -> std::result::Result<(), String> {
    let values = &metadata.0;
    if values.len() > METADATA_VALUES {
        return Err(format!("has {} values, the limit is {METADATA_VALUES}", values.len()));
    }
    for (name, _) in values {
        if name.is_empty() || name.len() > METADATA_NAME_BYTES {
            return Err(format!("has a name of {} bytes; a name has 1 to {METADATA_NAME_BYTES}", name.len()));
        }
        if name.starts_with('$') {
            return Err(format!("has the name '{name}'; names that begin with $ are operators of filters"));
        }
    }
    let bytes = metadata.to_json().len();
    if bytes > METADATA_BYTES {
        return Err(format!(
            "has {bytes} bytes of JSON, the limit is {METADATA_BYTES}; put what is not filtered by into the text"
        ));
    }
    Ok(())
}

fn check_vector(values: &[f32]) -> std::result::Result<(), String> {
    if values.is_empty() || values.len() > DIMENSIONS {
        return Err(format!("has {} numbers; a vector has 1 to {DIMENSIONS}", values.len()));
    }
    vector::unit(values, values.len()).map(drop).map_err(|error| format!("cannot be compared: {}", error.message))
}

/// Checks the vector of a query.
///
/// # Errors
/// `ERR_INVALID_ARG`.
pub fn check_query(vector: &[f32]) -> Result<()> {
    check_vector(vector).map_err(|what| Error::invalid(format!("option 'vector' {what}")).with("argument", "vector"))
}

/// A document as it is read.
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    /// By which its owner knows it.
    pub id: String,
    /// Its text, where it has one and it was asked for.
    pub text: Option<String>,
    /// Its metadata as JSON, likewise.
    pub metadata: Option<String>,
    /// Its vector, likewise; none while it is owed.
    pub vector: Option<Vec<f32>>,
}

/// What of a document is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Include {
    /// Its text.
    pub text: bool,
    /// Its metadata.
    pub metadata: bool,
    /// Its vector.
    pub vector: bool,
}
