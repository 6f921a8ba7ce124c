//! JavaScript functions that make one object of a fixed list of keys, compiled once a list and environment.
//!
//! A row of 15 columns through such a function costs half of what JSON text costs and a quarter of what
//! setting properties one by one costs, and all rows of a list share one hidden class.

use std::{
    cell::RefCell,
    collections::HashMap,
    fmt::Write as _,
    hash::{DefaultHasher, Hasher},
    rc::Rc,
    sync::Arc,
};

use napi::sys;

use super::values::{Reference, Scope};
use crate::{db::Columns, error::Result};

/// Key lists remembered at most. The statements of this module have some fifty; the bound is for column lists
/// that a foreign database brings in.
const REMEMBERED: usize = 512;

/// One compiled function: values in, object out.
pub(super) struct RowFactory {
    keys: Box<[Box<str>]>,
    function: Reference,
}

impl RowFactory {
    fn compile<K: AsRef<str>>(scope: Scope, keys: &[K]) -> Result<Self> {
        let function = scope.run_script(&source(keys))?;
        Ok(Self {
            keys: keys.iter().map(|key| Box::from(key.as_ref())).collect(),
            function: Reference::new(scope, function)?,
        })
    }

    fn makes<K: AsRef<str>>(&self, keys: &[K]) -> bool {
        self.keys.len() == keys.len() && self.keys.iter().zip(keys).all(|(mine, other)| **mine == *other.as_ref())
    }

    /// The function, for [`Scope::call`] with one value a key.
    pub(super) fn function(&self, scope: Scope) -> Result<sys::napi_value> {
        self.function.get(scope)
    }
}

/// The compiled functions of one environment.
#[derive(Default)]
pub(super) struct RowFactories {
    by_keys: RefCell<HashMap<u64, Vec<Rc<RowFactory>>>>,
    /// By the address of a list of column names, which is kept, so that no other list gets its address.
    by_address: RefCell<HashMap<usize, (Columns, Rc<RowFactory>)>>,
}

impl RowFactories {
    /// As [`RowFactories::get`], without a look at the names of a list that was here before.
    pub(super) fn of_columns(&self, scope: Scope, columns: &Columns) -> Result<Rc<RowFactory>> {
        let address = Arc::as_ptr(columns).cast::<()>().addr();
        if let Some((_, known)) = self.by_address.borrow().get(&address) {
            return Ok(Rc::clone(known));
        }
        let factory = self.get(scope, columns)?;
        let mut remembered = self.by_address.borrow_mut();
        if remembered.len() >= REMEMBERED {
            remembered.clear();
        }
        remembered.insert(address, (Arc::clone(columns), Rc::clone(&factory)));
        Ok(factory)
    }

    /// As [`RowFactories::get`], for lists that a caller's data brings in: where too many are remembered, none is made.
    pub(super) fn get_if_room<K: AsRef<str>>(&self, scope: Scope, keys: &[K]) -> Result<Option<Rc<RowFactory>>> {
        let (known, hash) = self.known(keys);
        match known {
            Some(known) => Ok(Some(known)),
            None if self.by_keys.borrow().len() >= REMEMBERED / 2 => Ok(None),
            None => self.make(scope, keys, hash).map(Some),
        }
    }

    /// The function that makes objects with `keys`.
    pub(super) fn get<K: AsRef<str>>(&self, scope: Scope, keys: &[K]) -> Result<Rc<RowFactory>> {
        let (known, hash) = self.known(keys);
        known.map_or_else(|| self.make(scope, keys, hash), Ok)
    }

    /// What is remembered of a list, and its hash.
    fn known<K: AsRef<str>>(&self, keys: &[K]) -> (Option<Rc<RowFactory>>, u64) {
        let mut hasher = DefaultHasher::new();
        for key in keys {
            hasher.write(key.as_ref().as_bytes());
            hasher.write_u8(0xff);
        }
        let hash = hasher.finish();
        let known = self.by_keys.borrow().get(&hash).and_then(|same| same.iter().find(|one| one.makes(keys)).cloned());
        (known, hash)
    }

    fn make<K: AsRef<str>>(&self, scope: Scope, keys: &[K], hash: u64) -> Result<Rc<RowFactory>> {
        // Nothing is borrowed while JavaScript compiles.
        let made = Rc::new(RowFactory::compile(scope, keys)?);
        let mut remembered = self.by_keys.borrow_mut();
        if remembered.len() >= REMEMBERED {
            remembered.clear();
        }
        remembered.entry(hash).or_default().push(Rc::clone(&made));
        Ok(made)
    }

    /// Forgets all of them, while their environment is still alive.
    pub(super) fn clear(&self) {
        self.by_address.borrow_mut().clear();
        self.by_keys.borrow_mut().clear();
    }
}

/// `(function(v0,v1){return{"id":v0,"title":v1}})`.
///
/// Keys are JSON strings, so no name can become code. In an object literal `"__proto__": v` would set the
/// prototype; as a computed key it is an ordinary property, and every other name is one anyway.
fn source<K: AsRef<str>>(keys: &[K]) -> String {
    let mut parameters = String::new();
    let mut members = String::new();
    for (place, key) in keys.iter().enumerate() {
        let comma = if place == 0 { "" } else { "," };
        let key = serde_json::Value::from(key.as_ref());
        // Writing to a String cannot fail.
        let _ = write!(parameters, "{comma}v{place}");
        let _ = if key == "__proto__" {
            write!(members, "{comma}[{key}]:v{place}")
        } else {
            write!(members, "{comma}{key}:v{place}")
        };
    }
    format!("(function({parameters}){{\"use strict\";return{{{members}}}}})")
}

#[cfg(test)]
mod tests {
    use super::source;

    #[test]
    fn names_never_become_code() {
        assert_eq!(source(&["id", "a\"b"]), r#"(function(v0,v1){"use strict";return{"id":v0,"a\"b":v1}})"#);
        assert_eq!(source(&["__proto__"]), r#"(function(v0){"use strict";return{["__proto__"]:v0}})"#);
        assert_eq!(source::<&str>(&[]), r#"(function(){"use strict";return{}})"#);
    }
}
