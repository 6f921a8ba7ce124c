//! Reads the properties of an object or of options.

use napi::ValueType;

use super::arguments::Argument;
use crate::error::{Error, Result};

/// The own enumerable properties of an object.
pub struct Fields<'e> {
    pub(super) of: Argument<'e>,
    pub(super) names: Vec<String>,
    pub(super) options: bool,
}

impl<'e> Fields<'e> {
    /// The names, in the object's order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(String::as_str)
    }

    /// The property `key`, or none where it is missing, `undefined` or `null`.
    ///
    /// # Errors
    /// `ERR_INVALID_ARG` where its getter throws.
    pub fn get(&self, key: &str) -> Result<Option<Argument<'e>>> {
        Ok(self.property(key)?.and_then(Argument::given))
    }

    /// The property `key`, `null` included, or none where it is missing or `undefined`.
    ///
    /// # Errors
    /// `ERR_INVALID_ARG` where its getter throws.
    pub fn property(&self, key: &str) -> Result<Option<Argument<'e>>> {
        if !self.names.iter().any(|name| name == key) {
            return Ok(None);
        }
        let place = self.of.place.member(key, self.options);
        let value =
            self.of.scope.get_property(self.of.value, key).map_err(|error| self.of.unreadable(&place, error))?;
        let property = self.of.at(value, place);
        Ok((property.kind() != ValueType::Undefined).then_some(property))
    }

    /// The property `key`.
    ///
    /// # Errors
    /// `ERR_INVALID_ARG` where it is missing, `undefined` or `null`.
    pub fn required(&self, key: &str) -> Result<Argument<'e>> {
        self.get(key)?.ok_or_else(|| {
            let place = self.of.place.member(key, self.options);
            Error::invalid(format!("{place} is missing")).with("argument", place.name().to_owned())
        })
    }

    /// The property `key` decoded, or none.
    ///
    /// # Errors
    /// Those of `decode`.
    pub fn read<T>(&self, key: &str, decode: impl FnOnce(&Argument<'e>) -> Result<T>) -> Result<Option<T>> {
        self.get(key)?.as_ref().map(decode).transpose()
    }
}
