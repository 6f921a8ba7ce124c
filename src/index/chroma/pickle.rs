//! A decoder of the few pickle opcodes that Chroma's writers emit. Data comes out of it and nothing else: no name
//! is looked up and nothing is called. Any other opcode ends the reading.
//!
//! Three shapes are enough: texts, whole numbers, and dictionaries of them, one within another once. An instance
//! of `PersistentData` (Chroma 0.x) counts as the dictionary that its BUILD would have been given.

use std::{io::Read, sync::Arc};

use super::limits;

/// Entries on the stack at once: a dictionary of all ids may be one single batch.
const STACK: usize = 2 * limits::DOCUMENTS + 64;
/// Remembered values: each text once.
const MEMO: usize = 2 * limits::DOCUMENTS + 64;
/// Entries of all dictionaries: two of ids and labels, one of ids and sequence numbers.
const ENTRIES: usize = 3 * limits::DOCUMENTS + 64;
/// Keys of a dictionary whose values are of different types.
const NAMES: usize = 64;
/// The one class that may be named.
const CLASS: (&str, &str) = ("chromadb.segment.impl.vector.local_persistent_hnsw", "PersistentData");

/// A decoded value.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    /// `None`.
    None,
    /// `True` or `False`.
    Bool(bool),
    /// A whole number of at most 64 bits.
    Integer(i64),
    /// A text.
    Text(Arc<str>),
    /// A dictionary.
    Dict(Dict),
}

/// A dictionary, in the order in which it was written. Large ones have one type of key and one of value.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Dict {
    Empty,
    Integers(Vec<(Arc<str>, i64)>),
    Texts(Vec<(i64, Arc<str>)>),
    Named(Vec<(Arc<str>, Value)>),
}

/// Where the decoding ended, and why.
#[derive(Debug)]
pub(super) struct Fault {
    /// Bytes read before it.
    pub at: u64,
    pub what: String,
}

type Decoded<T> = Result<T, Fault>;

/// Something on the stack.
enum Item {
    Mark,
    Value(Value),
    Class,
    EmptyTuple,
    /// An instance before BUILD.
    Instance,
}

/// What a memoised value was. Only texts are ever referred to again.
enum Memo {
    Text(Arc<str>),
    Other,
}

/// Decodes `length` bytes, which must be one pickled dictionary or one instance of `PersistentData`.
pub(super) fn decode(input: impl Read, length: u64) -> Decoded<Dict> {
    let mut decoder = Decoder { input, at: 0, length, stack: Vec::new(), memo: Vec::new(), entries: 0 };
    while decoder.step()? {}
    decoder.finish()
}

struct Decoder<R> {
    input: R,
    at: u64,
    length: u64,
    stack: Vec<Item>,
    memo: Vec<Memo>,
    entries: usize,
}

impl<R: Read> Decoder<R> {
    /// One opcode; false after STOP.
    fn step(&mut self) -> Decoded<bool> {
        let [opcode] = self.bytes()?;
        match opcode {
            // PROTO
            0x80 => {
                let [protocol] = self.bytes()?;
                if !(2..=5).contains(&protocol) {
                    return self.fault(format!("protocol {protocol}; 2 to 5 are known"));
                }
            }
            // FRAME: the frames' borders mean nothing to us.
            0x95 => {
                let frame = u64::from_le_bytes(self.bytes()?);
                if frame > self.length - self.at.min(self.length) {
                    return self.fault(format!("a frame of {frame} bytes goes beyond the end"));
                }
            }
            b'(' => self.push(Item::Mark)?,
            b'}' => self.push(Item::Value(Value::Dict(Dict::Empty)))?,
            b')' => self.push(Item::EmptyTuple)?,
            b'N' => self.push(Item::Value(Value::None))?,
            0x88 => self.push(Item::Value(Value::Bool(true)))?,
            0x89 => self.push(Item::Value(Value::Bool(false)))?,
            // BININT, BININT1, BININT2, LONG1
            b'J' => {
                let number = i32::from_le_bytes(self.bytes()?);
                self.integer(number.into())?;
            }
            b'K' => {
                let [number] = self.bytes()?;
                self.integer(number.into())?;
            }
            b'M' => {
                let number = u16::from_le_bytes(self.bytes()?);
                self.integer(number.into())?;
            }
            0x8a => self.long()?,
            // BINUNICODE, SHORT_BINUNICODE, BINUNICODE8
            b'X' => {
                let length = u32::from_le_bytes(self.bytes()?);
                self.text(length.into())?;
            }
            0x8c => {
                let [length] = self.bytes()?;
                self.text(length.into())?;
            }
            0x8d => {
                let length = u64::from_le_bytes(self.bytes()?);
                self.text(length)?;
            }
            // SETITEM, SETITEMS
            b's' => {
                let from = self.stack.len().checked_sub(2);
                self.set_items(from, from)?;
            }
            b'u' => {
                let mark = self.stack.iter().rposition(|item| matches!(item, Item::Mark));
                self.set_items(mark, mark.map(|mark| mark + 1))?;
            }
            // MEMOIZE, BINPUT, LONG_BINPUT
            0x94 => self.memoize(self.memo.len())?,
            b'q' => {
                let [index] = self.bytes()?;
                self.memoize(index.into())?;
            }
            b'r' => {
                let index = u32::from_le_bytes(self.bytes()?);
                self.memoize(index as usize)?;
            }
            // BINGET, LONG_BINGET
            b'h' => {
                let [index] = self.bytes()?;
                self.recall(index.into())?;
            }
            b'j' => {
                let index = u32::from_le_bytes(self.bytes()?);
                self.recall(index as usize)?;
            }
            // STACK_GLOBAL, NEWOBJ, BUILD
            0x93 => self.class()?,
            0x81 => match (self.stack.pop(), self.stack.pop()) {
                (Some(Item::EmptyTuple), Some(Item::Class)) => self.push(Item::Instance)?,
                _ => return self.fault("NEWOBJ of something else than the class and no arguments"),
            },
            b'b' => match (self.stack.pop(), self.stack.pop()) {
                (Some(Item::Value(state @ Value::Dict(_))), Some(Item::Instance)) => self.push(Item::Value(state))?,
                _ => return self.fault("BUILD of something else than an instance and a dictionary"),
            },
            b'.' => return Ok(false),
            other => return self.fault(format!("opcode 0x{other:02x}, which Chroma's writers do not use")),
        }
        Ok(true)
    }

    fn finish(mut self) -> Decoded<Dict> {
        if self.at != self.length {
            return self.fault(format!("{} bytes after its end", self.length.saturating_sub(self.at)));
        }
        match (self.stack.pop(), self.stack.is_empty()) {
            (Some(Item::Value(Value::Dict(dict))), true) => Ok(dict),
            _ => self.fault("it is not one dictionary"),
        }
    }

    fn fault<T>(&self, what: impl Into<String>) -> Decoded<T> {
        Err(Fault { at: self.at, what: what.into() })
    }

    /// The next bytes of a fixed number.
    fn bytes<const N: usize>(&mut self) -> Decoded<[u8; N]> {
        let mut bytes = [0; N];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    fn fill(&mut self, bytes: &mut [u8]) -> Decoded<()> {
        if let Err(error) = self.input.read_exact(bytes) {
            return self.fault(format!("it ends too early ({error})"));
        }
        self.at += bytes.len() as u64;
        Ok(())
    }

    fn push(&mut self, item: Item) -> Decoded<()> {
        if self.stack.len() >= STACK {
            return self.fault(format!("more than {STACK} values at once"));
        }
        self.stack.push(item);
        Ok(())
    }

    fn integer(&mut self, number: i64) -> Decoded<()> {
        self.push(Item::Value(Value::Integer(number)))
    }

    /// Two's complement, little-endian, of as many bytes as it says.
    fn long(&mut self) -> Decoded<()> {
        let [length] = self.bytes()?;
        if length > 8 {
            return self.fault(format!("a number of {length} bytes; the limit is 8"));
        }
        let mut number = [0; 8];
        let length = usize::from(length);
        self.fill(&mut number[..length])?;
        // The sign is the highest bit that was given.
        let unused = 8 * (8 - length as u32);
        self.integer(i64::from_le_bytes(number).checked_shl(unused).map_or(0, |number| number >> unused))
    }

    fn text(&mut self, length: u64) -> Decoded<()> {
        if length > limits::ID_BYTES as u64 {
            return self.fault(format!("a text of {length} bytes; the limit is {}", limits::ID_BYTES));
        }
        let mut buffer = [0; limits::ID_BYTES];
        let bytes = &mut buffer[..length as usize];
        self.fill(bytes)?;
        match std::str::from_utf8(bytes) {
            Ok(text) => self.push(Item::Value(Value::Text(text.into()))),
            Err(_) => self.fault("a text that is not UTF-8"),
        }
    }

    /// Moves what lies above `first` into the dictionary below `end`; the stack is cut off at `end`.
    fn set_items(&mut self, end: Option<usize>, first: Option<usize>) -> Decoded<()> {
        let (Some(end), Some(first)) = (end, first) else {
            return self.fault("a batch of entries that has no beginning");
        };
        let Some(Item::Value(Value::Dict(mut dict))) = end.checked_sub(1).map(|below| {
            // Put back below; the place must not move meanwhile.
            std::mem::replace(&mut self.stack[below], Item::Mark)
        }) else {
            return self.fault("entries for something that is not a dictionary");
        };
        if !(self.stack.len() - first).is_multiple_of(2) {
            return self.fault("a key without a value");
        }
        self.entries += (self.stack.len() - first) / 2;
        if self.entries > ENTRIES {
            return self.fault(format!("more than {ENTRIES} entries"));
        }
        let mut items = self.stack.drain(first..);
        let mut refused = None;
        while let (Some(key), Some(value)) = (items.next(), items.next()) {
            let (Item::Value(key), Item::Value(value)) = (key, value) else {
                refused = Some("an entry that is no plain value");
                break;
            };
            if let Err(what) = dict.insert(key, value) {
                refused = Some(what);
                break;
            }
        }
        drop(items);
        if let Some(what) = refused {
            return self.fault(what);
        }
        self.stack.truncate(end);
        self.stack[end - 1] = Item::Value(Value::Dict(dict));
        Ok(())
    }

    fn memoize(&mut self, index: usize) -> Decoded<()> {
        let memo = match self.stack.last() {
            Some(Item::Value(Value::Text(text))) => Memo::Text(Arc::clone(text)),
            Some(Item::Mark) | None => return self.fault("nothing to remember"),
            Some(_) => Memo::Other,
        };
        // Writers count upwards, so a gap is damage, and room is needed for no number that is merely claimed.
        if index > self.memo.len() || index >= MEMO {
            return self.fault(format!("remembered value {index} of {}", self.memo.len()));
        }
        if index == self.memo.len() {
            self.memo.push(memo);
        } else {
            self.memo[index] = memo;
        }
        Ok(())
    }

    fn recall(&mut self, index: usize) -> Decoded<()> {
        match self.memo.get(index) {
            Some(Memo::Text(text)) => {
                let text = Arc::clone(text);
                self.push(Item::Value(Value::Text(text)))
            }
            Some(Memo::Other) => self.fault(format!("remembered value {index} is not a text")),
            None => self.fault(format!("remembered value {index} of {}", self.memo.len())),
        }
    }

    fn class(&mut self) -> Decoded<()> {
        match (self.stack.pop(), self.stack.pop()) {
            (Some(Item::Value(Value::Text(name))), Some(Item::Value(Value::Text(module))))
                if (&*module, &*name) == CLASS =>
            {
                self.push(Item::Class)
            }
            _ => self.fault("a class that is not Chroma's PersistentData"),
        }
    }
}

impl Dict {
    /// The value of `name`.
    pub fn take(&mut self, name: &str) -> Option<Value> {
        match self {
            Self::Named(entries) => {
                let at = entries.iter().position(|(key, _)| &**key == name)?;
                Some(entries.swap_remove(at).1)
            }
            Self::Integers(entries) => {
                entries.iter().find(|(key, _)| &**key == name).map(|(_, number)| Value::Integer(*number))
            }
            Self::Empty | Self::Texts(_) => None,
        }
    }

    fn insert(&mut self, key: Value, value: Value) -> Result<(), &'static str> {
        if let Self::Empty = self {
            *self = match (&key, &value) {
                (Value::Text(_), Value::Integer(_)) => Self::Integers(Vec::new()),
                (Value::Integer(_), _) => Self::Texts(Vec::new()),
                _ => Self::Named(Vec::new()),
            };
        }
        match (&mut *self, key, value) {
            (Self::Integers(entries), Value::Text(key), Value::Integer(number)) => entries.push((key, number)),
            (Self::Texts(entries), Value::Integer(key), Value::Text(text)) => entries.push((key, text)),
            // Depth ends here: a dictionary within this one has no further ones in it.
            (Self::Named(_), _, Value::Dict(Self::Named(_))) => return Err("dictionaries nested too deeply"),
            (Self::Named(entries), Value::Text(key), value) if entries.len() < NAMES => entries.push((key, value)),
            // It began with a number, as an attribute, and goes on with something else.
            (Self::Integers(entries), key @ Value::Text(_), value) if entries.len() < NAMES => {
                let named = std::mem::take(entries);
                *self = Self::Named(named.into_iter().map(|(key, number)| (key, Value::Integer(number))).collect());
                return self.insert(key, value);
            }
            _ => return Err("a dictionary of other types than Chroma's"),
        }
        Ok(())
    }
}
