//! Builds JavaScript values out of answers, in slices where they are large.
//!
//! An answer's tree is built at once, its arrays stay open and are filled row by row until the slice's time is
//! up. What is not finished is kept alive by references and goes on in a later turn of the event loop. One
//! text cannot be sliced: a string or JSON text of many megabytes takes as long as V8 takes.

use std::{rc::Rc, time::Instant};

use napi::{Env, sys};

use super::{
    answer::Answer,
    environment::Environment,
    errors::from_napi,
    row_factory::RowFactory,
    values::{Reference, Scope},
};
use crate::{
    db::{Cell, Rows},
    error::Result,
};

/// Rows between two looks at the clock.
const ROWS_A_LOOK: usize = 8;
/// Bytes of text between two looks at the clock.
const BYTES_A_LOOK: usize = 64 << 10;

/// An answer after one slice.
pub(super) enum Built {
    /// The value is whole; the handle belongs to the scope of the slice.
    Whole(sys::napi_value),
    /// Time was up.
    Partly(Partial),
}

/// A value whose arrays are not full yet, between two slices.
pub(super) struct Partial {
    root: Reference,
    open: Vec<Open<Reference>>,
}

/// An array that is being filled. `H` is a handle within a slice, a reference between two.
struct Open<H> {
    array: H,
    next: usize,
    rest: Rest,
}

enum Rest {
    Rows { cells: std::vec::IntoIter<Cell>, factory: Rc<RowFactory>, width: usize },
    List(std::vec::IntoIter<Answer>),
}

/// Builds `answer` until it is whole or `deadline` has come. Without a deadline it is always whole.
pub(super) fn begin(
    scope: Scope,
    environment: &Environment,
    answer: Answer,
    deadline: Option<Instant>,
) -> Result<Built> {
    let mut slice = Slice { scope, environment, deadline, open: Vec::new() };
    let root = slice.value(answer)?;
    slice.fill(root)
}

impl Partial {
    /// Goes on in a later turn.
    pub(super) fn resume(self, scope: Scope, environment: &Environment, deadline: Instant) -> Result<Built> {
        let root = self.root.get(scope)?;
        let mut open = Vec::with_capacity(self.open.len());
        for Open { array, next, rest } in self.open {
            open.push(Open { array: array.get(scope)?, next, rest });
        }
        Slice { scope, environment, deadline: Some(deadline), open }.fill(root)
    }
}

struct Slice<'a> {
    scope: Scope,
    environment: &'a Environment,
    deadline: Option<Instant>,
    open: Vec<Open<sys::napi_value>>,
}

impl Slice<'_> {
    fn value(&mut self, answer: Answer) -> Result<sys::napi_value> {
        let scope = self.scope;
        match answer {
            Answer::Undefined => scope.undefined(),
            Answer::Null => scope.null(),
            Answer::Boolean(value) => scope.boolean(value),
            Answer::Integer(value) => scope.integer(value),
            Answer::Number(value) => scope.number(value),
            Answer::Text(text) => scope.string(&text),
            Answer::Name(name) => scope.string(name),
            Answer::Json(text) => self.environment.parse_json(scope, &text),
            Answer::Rows(rows) => self.rows(rows),
            Answer::Row(rows) => self.first_row(&rows),
            Answer::RowWith(rows, keys, values) => self.row_with(&rows, keys, values),
            Answer::List(items) => {
                let array = scope.array(items.len())?;
                self.leave_open(array, Rest::List(items.into_iter()));
                Ok(array)
            }
            Answer::Object(keys, values) => {
                let values = values.into_iter().map(|value| self.value(value)).collect::<Result<Vec<_>>>()?;
                let factory = self.environment.factories().get(scope, keys)?;
                scope.call(factory.function(scope)?, &values)
            }
            Answer::Made(make) => make(&Env::from_raw(scope.env())).map_err(|error| from_napi(&error)),
        }
    }

    fn rows(&mut self, rows: Rows) -> Result<sys::napi_value> {
        let array = self.scope.array(rows.len())?;
        if !rows.is_empty() {
            let factory = self.environment.factories().get(self.scope, &rows.columns)?;
            let width = rows.columns.len();
            self.leave_open(array, Rest::Rows { cells: rows.cells.into_iter(), factory, width });
        }
        Ok(array)
    }

    fn first_row(&self, rows: &Rows) -> Result<sys::napi_value> {
        let Some(row) = rows.iter().next() else { return self.scope.null() };
        let factory = self.environment.factories().get(self.scope, &rows.columns)?;
        let values = row.iter().map(|cell| cell_value(self.scope, cell)).collect::<Result<Vec<_>>>()?;
        self.scope.call(factory.function(self.scope)?, &values)
    }

    fn row_with(&mut self, rows: &Rows, more: &[&str], values: Vec<Answer>) -> Result<sys::napi_value> {
        let keys: Vec<&str> = rows.columns.iter().map(|column| &**column).chain(more.iter().copied()).collect();
        let mut members = Vec::with_capacity(keys.len());
        for cell in rows.iter().next().unwrap_or_default() {
            members.push(cell_value(self.scope, cell)?);
        }
        for value in values {
            members.push(self.value(value)?);
        }
        let factory = self.environment.factories().get(self.scope, &keys)?;
        self.scope.call(factory.function(self.scope)?, &members)
    }

    fn leave_open(&mut self, array: sys::napi_value, rest: Rest) {
        self.open.push(Open { array, next: 0, rest });
    }

    /// Fills the open arrays, in any order, until none is left or the time is up. Some progress is always
    /// made, so that an answer at the end of a full turn comes to its end too.
    fn fill(mut self, root: sys::napi_value) -> Result<Built> {
        while let Some(mut array) = self.open.pop() {
            let full = match &mut array.rest {
                Rest::Rows { cells, factory, width } => {
                    self.some_rows(array.array, &mut array.next, cells, factory, *width)?
                }
                Rest::List(items) => match items.next() {
                    Some(item) => {
                        let value = self.value(item)?;
                        self.scope.set_element(array.array, array.next, value)?;
                        array.next += 1;
                        items.len() == 0
                    }
                    None => true,
                },
            };
            if !full {
                self.open.push(array);
            }
            if !self.open.is_empty() && self.deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                return self.suspend(root);
            }
        }
        Ok(Built::Whole(root))
    }

    /// Adds a few rows; true where the array is full. Their handles go with a scope of their own.
    fn some_rows(
        &self,
        array: sys::napi_value,
        next: &mut usize,
        cells: &mut std::vec::IntoIter<Cell>,
        factory: &RowFactory,
        width: usize,
    ) -> Result<bool> {
        self.scope.nested(|scope| {
            let function = factory.function(scope)?;
            let mut values = Vec::with_capacity(width);
            let mut bytes = 0;
            for _ in 0..ROWS_A_LOOK {
                if cells.len() == 0 {
                    return Ok(true);
                }
                values.clear();
                for cell in cells.by_ref().take(width) {
                    if let Cell::Text(text) = &cell {
                        bytes += text.len();
                    }
                    values.push(cell_value(scope, &cell)?);
                }
                let row = scope.call(function, &values)?;
                scope.set_element(array, *next, row)?;
                *next += 1;
                if bytes >= BYTES_A_LOOK {
                    break;
                }
            }
            Ok(cells.len() == 0)
        })?
    }

    fn suspend(self, root: sys::napi_value) -> Result<Built> {
        let root = Reference::new(self.scope, root)?;
        let mut open = Vec::with_capacity(self.open.len());
        for Open { array, next, rest } in self.open {
            open.push(Open { array: Reference::new(self.scope, array)?, next, rest });
        }
        Ok(Built::Partly(Partial { root, open }))
    }
}

fn cell_value(scope: Scope, cell: &Cell) -> Result<sys::napi_value> {
    match cell {
        Cell::Null => scope.null(),
        Cell::Integer(value) => scope.integer(*value),
        Cell::Real(value) => scope.number(*value),
        Cell::Text(text) => scope.string(text),
    }
}
