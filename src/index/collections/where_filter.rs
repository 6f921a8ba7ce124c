//! `where` and `whereDocument`: conditions on metadata and texts, as users of Chroma know them.
//!
//! A value is a string, a number or a boolean, and equals only values of its own type; numbers compare as numbers,
//! strings by their bytes. What a document has no value for matches nothing but `$ne` and `$nin`.

use std::cmp::Ordering;

use rusqlite::types::Value as Bound;
use serde_json::{Map, Value};

use super::documents::{METADATA_NAME_BYTES, Metadata, Scalar};
use crate::error::{Error, Result};

/// How deep `$and` and `$or` may stand in each other.
const DEPTH: usize = 32;
/// Conditions of one filter at most.
const CONDITIONS: usize = 256;
/// Values of all `$in` and `$nin` of one filter at most.
const VALUES: usize = 10_000;

/// A condition on a document.
#[derive(Debug, Clone, PartialEq)]
pub enum Filter {
    /// Each of them.
    All(Vec<Filter>),
    /// One of them at least.
    Any(Vec<Filter>),
    /// A value of the metadata is one of these.
    OneOf {
        /// Its name.
        name: String,
        /// Those it may be.
        values: Vec<Scalar>,
    },
    /// It is none of these, or there is none.
    NoneOf {
        /// Its name.
        name: String,
        /// Those it may not be.
        values: Vec<Scalar>,
    },
    /// It stands so to another of its type.
    Compared {
        /// Its name.
        name: String,
        /// `<`, `<=`, `>` or `>=`.
        operator: &'static str,
        /// The other.
        value: Scalar,
    },
    /// The text has this in it.
    Contains(String),
    /// The text has it not, or there is no text.
    Lacks(String),
}

/// A condition in SQL, on a row of `documents d`.
#[derive(Debug, Default)]
pub struct Condition {
    /// `?1` is the collection.
    pub sql: String,
    /// `?1` and what follows.
    pub bound: Vec<Bound>,
}

impl Filter {
    /// Reads `where`.
    ///
    /// # Errors
    /// `ERR_INVALID_ARG` naming the place, what stands there, and what may.
    pub fn metadata(value: &Value) -> Result<Self> {
        Reader::default().metadata(value, "where", 0)
    }

    /// Reads `whereDocument`.
    ///
    /// # Errors
    /// As [`Filter::metadata`].
    pub fn text(value: &Value) -> Result<Self> {
        Reader::default().text(value, "whereDocument", 0)
    }

    /// This as SQL for the collection with this id.
    #[must_use]
    pub fn condition(&self, collection: i64) -> Condition {
        let mut made = Condition { sql: String::new(), bound: vec![collection.into()] };
        self.write(&mut made);
        made
    }

    /// Whether it holds for nothing but what the index of the metadata finds, so that no other documents need to be
    /// looked at.
    #[must_use]
    pub fn is_found_by_metadata(&self) -> bool {
        match self {
            Self::All(parts) => parts.iter().any(Self::is_found_by_metadata),
            Self::Any(parts) => parts.iter().all(Self::is_found_by_metadata),
            Self::OneOf { .. } | Self::Compared { .. } => true,
            Self::NoneOf { .. } | Self::Contains(_) | Self::Lacks(_) => false,
        }
    }

    /// `SELECT key …` where one value of the metadata decides, so that the index of the metadata has the whole answer;
    /// keys may come in any order, and more than once.
    #[must_use]
    pub fn by_one_value(&self, collection: i64) -> Option<Condition> {
        let mut made = Condition { sql: String::new(), bound: vec![collection.into()] };
        made.sql = match self {
            Self::OneOf { name, values } if !values.is_empty() => made.having(name, values),
            Self::Compared { name, operator, value } => made.compared(name, operator, value),
            _ => return None,
        };
        Some(made)
    }

    /// Whether it asks for the text of a document.
    #[must_use]
    pub fn reads_text(&self) -> bool {
        match self {
            Self::All(parts) | Self::Any(parts) => parts.iter().any(Self::reads_text),
            Self::Contains(_) | Self::Lacks(_) => true,
            Self::OneOf { .. } | Self::NoneOf { .. } | Self::Compared { .. } => false,
        }
    }

    /// Whether it holds for a document with this metadata and this text: as [`Self::condition`] says.
    #[must_use]
    pub fn holds_for(&self, metadata: &Metadata, text: Option<&str>) -> bool {
        let value = |name: &str| metadata.values().find(|(known, _)| *known == name).map(|(_, value)| value);
        let is_one_of = |name: &str, values: &[Scalar]| {
            value(name).is_some_and(|value| values.iter().any(|other| value.compared(other) == Some(Ordering::Equal)))
        };
        match self {
            Self::All(parts) => parts.iter().all(|part| part.holds_for(metadata, text)),
            Self::Any(parts) => parts.iter().any(|part| part.holds_for(metadata, text)),
            Self::OneOf { name, values } => is_one_of(name, values),
            Self::NoneOf { name, values } => !is_one_of(name, values),
            Self::Compared { name, operator, value: other } => {
                value(name).and_then(|value| value.compared(other)).is_some_and(|order| match *operator {
                    "<" => order.is_lt(),
                    "<=" => order.is_le(),
                    ">" => order.is_gt(),
                    _ => order.is_ge(),
                })
            }
            Self::Contains(part) => text.is_some_and(|text| text.contains(part)),
            Self::Lacks(part) => !text.is_some_and(|text| text.contains(part)),
        }
    }

    fn write(&self, to: &mut Condition) {
        match self {
            Self::All(parts) => to.join(parts, " AND "),
            Self::Any(parts) => to.join(parts, " OR "),
            Self::OneOf { name, values } => to.one_of("IN", name, values),
            Self::NoneOf { name, values } => to.one_of("NOT IN", name, values),
            Self::Compared { name, operator, value } => {
                let found = to.compared(name, operator, value);
                to.sql.push_str(&format!("d.key IN ({found})"));
            }
            Self::Contains(part) => {
                let part = to.bind(part.clone());
                to.sql.push_str(&format!("coalesce(instr(d.text, {part}), 0) > 0"));
            }
            Self::Lacks(part) => {
                let part = to.bind(part.clone());
                to.sql.push_str(&format!("coalesce(instr(d.text, {part}), 0) = 0"));
            }
        }
    }
}

impl Condition {
    /// Binds a value; answers its place.
    fn bind(&mut self, value: impl Into<Bound>) -> String {
        self.bound.push(value.into());
        format!("?{}", self.bound.len())
    }

    fn join(&mut self, parts: &[Filter], between: &str) {
        for (number, part) in parts.iter().enumerate() {
            self.sql.push_str(if number == 0 { "(" } else { between });
            part.write(self);
        }
        self.sql.push(')');
    }

    fn one_of(&mut self, is: &str, name: &str, values: &[Scalar]) {
        // SQLite allows an empty list: nothing is in it.
        let found = if values.is_empty() { String::new() } else { self.having(name, values) };
        self.sql.push_str(&format!("d.key {is} ({found})"));
    }

    /// `SELECT key …` of the documents whose value is one of these. Every type has a range of the index to itself.
    fn having(&mut self, name: &str, values: &[Scalar]) -> String {
        let name = self.bind(name.to_owned());
        let mut found = Vec::new();
        for rank in Scalar::RANKS {
            let of_rank: Vec<String> =
                values.iter().filter(|value| value.rank() == rank).map(|value| self.bind(value.clone())).collect();
            if !of_rank.is_empty() {
                let values = of_rank.join(", ");
                found.push(format!(
                    "SELECT key FROM metadata WHERE collection = ?1 AND name = {name} AND type = {rank} AND value IN \
                     ({values})"
                ));
            }
        }
        found.join(" UNION ALL ")
    }

    /// `SELECT key …` of the documents whose value stands so to another.
    fn compared(&mut self, name: &str, operator: &str, value: &Scalar) -> String {
        let (name, rank, value) = (self.bind(name.to_owned()), value.rank(), self.bind(value.clone()));
        format!(
            "SELECT key FROM metadata WHERE collection = ?1 AND name = {name} AND type = {rank} AND value {operator} \
             {value}"
        )
    }
}

/// Counts what it has read.
#[derive(Default)]
struct Reader {
    conditions: usize,
    values: usize,
}

impl Reader {
    fn metadata(&mut self, value: &Value, place: &str, depth: usize) -> Result<Filter> {
        let mut parts = Vec::new();
        for (name, value) in object(value, place, depth)? {
            let place = member(place, name);
            match name.as_str() {
                "$and" => parts.push(Filter::All(self.list(value, &place, depth, Self::metadata)?)),
                "$or" => parts.push(Filter::Any(self.list(value, &place, depth, Self::metadata)?)),
                operator if operator.starts_with('$') => {
                    return Err(unknown(&place, operator, "$and, $or, and the names of metadata"));
                }
                _ if name.is_empty() || name.len() > METADATA_NAME_BYTES => {
                    return Err(invalid(
                        &place,
                        &format!("a name of metadata has 1 to {METADATA_NAME_BYTES} bytes, this one {}", name.len()),
                    ));
                }
                _ => self.field(name, value, &place, depth + 1, &mut parts)?,
            }
        }
        Ok(one_or_all(parts))
    }

    /// `{field: value}` or `{field: {$operator: value}}`.
    fn field(&mut self, name: &str, value: &Value, place: &str, depth: usize, parts: &mut Vec<Filter>) -> Result<()> {
        if !value.is_object() {
            self.count(place)?;
            parts.push(Filter::OneOf { name: name.to_owned(), values: vec![scalar(value, place)?] });
            return Ok(());
        }
        for (operator, value) in object(value, place, depth)? {
            let place = member(place, operator);
            self.count(&place)?;
            let name = name.to_owned();
            parts.push(match operator.as_str() {
                "$eq" => Filter::OneOf { name, values: vec![scalar(value, &place)?] },
                "$ne" => Filter::NoneOf { name, values: vec![scalar(value, &place)?] },
                "$in" => Filter::OneOf { name, values: self.scalars(value, &place)? },
                "$nin" => Filter::NoneOf { name, values: self.scalars(value, &place)? },
                "$gt" => Filter::Compared { name, operator: ">", value: ordered(value, &place)? },
                "$gte" => Filter::Compared { name, operator: ">=", value: ordered(value, &place)? },
                "$lt" => Filter::Compared { name, operator: "<", value: ordered(value, &place)? },
                "$lte" => Filter::Compared { name, operator: "<=", value: ordered(value, &place)? },
                _ => return Err(unknown(&place, operator, "$eq, $ne, $gt, $gte, $lt, $lte, $in, $nin")),
            });
        }
        Ok(())
    }

    fn text(&mut self, value: &Value, place: &str, depth: usize) -> Result<Filter> {
        let mut parts = Vec::new();
        for (operator, value) in object(value, place, depth)? {
            let place = member(place, operator);
            let contained = |value: &Value| match value.as_str() {
                Some(text) if !text.is_empty() => Ok(text.to_owned()),
                _ => Err(invalid(&place, &format!("must be a string that is not empty, got {}", shown(value)))),
            };
            match operator.as_str() {
                "$and" => parts.push(Filter::All(self.list(value, &place, depth, Self::text)?)),
                "$or" => parts.push(Filter::Any(self.list(value, &place, depth, Self::text)?)),
                "$contains" => {
                    self.count(&place)?;
                    parts.push(Filter::Contains(contained(value)?));
                }
                "$not_contains" => {
                    self.count(&place)?;
                    parts.push(Filter::Lacks(contained(value)?));
                }
                _ => return Err(unknown(&place, operator, "$contains, $not_contains, $and, $or")),
            }
        }
        Ok(one_or_all(parts))
    }

    /// What `$and` and `$or` take.
    fn list(
        &mut self,
        value: &Value,
        place: &str,
        depth: usize,
        read: fn(&mut Self, &Value, &str, usize) -> Result<Filter>,
    ) -> Result<Vec<Filter>> {
        let list = value.as_array().filter(|list| !list.is_empty()).ok_or_else(|| {
            invalid(place, &format!("must be an array of one condition at least, got {}", shown(value)))
        })?;
        list.iter()
            .enumerate()
            .map(|(number, value)| read(self, value, &format!("{place}[{number}]"), depth + 1))
            .collect()
    }

    fn scalars(&mut self, value: &Value, place: &str) -> Result<Vec<Scalar>> {
        let list =
            value.as_array().ok_or_else(|| invalid(place, &format!("must be an array, got {}", shown(value))))?;
        self.values += list.len();
        if self.values > VALUES {
            let count = self.values;
            return Err(invalid(
                place,
                &format!("the lists of this filter have {count} values, the limit is {VALUES}; ask in several calls"),
            ));
        }
        list.iter().enumerate().map(|(number, value)| scalar(value, &format!("{place}[{number}]"))).collect()
    }

    fn count(&mut self, place: &str) -> Result<()> {
        self.conditions += 1;
        if self.conditions > CONDITIONS {
            return Err(invalid(
                place,
                &format!(
                    "this filter has more than {CONDITIONS} conditions, the limit; use $in for many values of one name"
                ),
            ));
        }
        Ok(())
    }
}

fn one_or_all(mut parts: Vec<Filter>) -> Filter {
    match parts.pop() {
        Some(only) if parts.is_empty() => only,
        last => {
            parts.extend(last);
            Filter::All(parts)
        }
    }
}

fn object<'a>(value: &'a Value, place: &str, depth: usize) -> Result<&'a Map<String, Value>> {
    if depth > DEPTH {
        return Err(invalid(place, &format!("conditions stand deeper than {DEPTH} in each other, the limit")));
    }
    value.as_object().filter(|object| !object.is_empty()).ok_or_else(|| {
        invalid(
            place,
            &format!(
                "must be an object with one condition at least, got {}; leave it out to match everything",
                shown(value)
            ),
        )
    })
}

fn scalar(value: &Value, place: &str) -> Result<Scalar> {
    Scalar::of_json(value)
        .ok_or_else(|| invalid(place, &format!("must be a string, a finite number or a boolean, got {}", shown(value))))
}

fn ordered(value: &Value, place: &str) -> Result<Scalar> {
    match scalar(value, place)? {
        Scalar::Boolean(_) => {
            Err(invalid(place, &format!("must be a number or a string, got {value}: booleans have no order")))
        }
        ordered => Ok(ordered),
    }
}

fn member(place: &str, name: &str) -> String {
    let plain = !name.is_empty()
        && name.chars().all(|letter| letter.is_alphanumeric() || "_$".contains(letter))
        && !name.starts_with(|first: char| first.is_ascii_digit());
    if plain { format!("{place}.{name}") } else { format!("{place}[{}]", Value::from(name)) }
}

fn unknown(place: &str, operator: &str, known: &str) -> Error {
    invalid(place, &format!("unknown operator '{operator}'; known here are {known}"))
}

fn invalid(place: &str, what: &str) -> Error {
    // A place is made of the caller's names, which may be long.
    let place: String = place.chars().take(200).collect();
    Error::invalid(format!("'{place}': {what}")).with("argument", place)
}

fn shown(value: &Value) -> String {
    match value {
        Value::Null => "null (or a value that JSON has none for)".to_owned(),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
        Value::String(text) => format!("'{}'", text.chars().take(60).collect::<String>()),
        Value::Array(list) if list.is_empty() => "an empty array".to_owned(),
        Value::Array(_) => "an array".to_owned(),
        Value::Object(object) if object.is_empty() => "{}".to_owned(),
        Value::Object(_) => "an object".to_owned(),
    }
}

#[cfg(test)]
mod tests;
