//! What rows and messages are recognised by: FNV-1a with 128 bits, the same on every machine and in every version.
//! It tells what is equal from what is not; nobody gains anything by making two of them meet.

use rusqlite::types::ValueRef;

use crate::queue::Identity;

const OFFSET: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;

/// A fingerprint in the making.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint(u128);

impl Fingerprint {
    pub const fn new() -> Self {
        Self(OFFSET)
    }

    fn raw(mut self, bytes: &[u8]) -> Self {
        for byte in bytes {
            self.0 = (self.0 ^ u128::from(*byte)).wrapping_mul(PRIME);
        }
        self
    }

    /// With `bytes`, and how many they are: `ab` + `c` is not `a` + `bc`.
    pub fn bytes(self, bytes: &[u8]) -> Self {
        self.raw(&(bytes.len() as u64).to_le_bytes()).raw(bytes)
    }

    pub fn integer(self, value: i64) -> Self {
        self.raw(&value.to_le_bytes())
    }

    pub fn value(self, value: ValueRef<'_>) -> Self {
        match value {
            ValueRef::Null => self.raw(b"n"),
            ValueRef::Integer(value) => self.raw(b"i").integer(value),
            ValueRef::Real(value) => self.raw(b"r").raw(&value.to_bits().to_le_bytes()),
            ValueRef::Text(text) => self.raw(b"t").bytes(text),
            ValueRef::Blob(blob) => self.raw(b"b").bytes(blob),
        }
    }

    /// A message that waits.
    pub fn of_message(claude_session_id: &str, enqueued_at_epoch: i64, payload: &[u8]) -> Self {
        Self::new().bytes(b"message").bytes(claude_session_id.as_bytes()).integer(enqueued_at_epoch).bytes(payload)
    }

    /// A dead letter.
    pub fn of_dead_letter(claude_session_id: &str, enqueued_at_epoch: i64, dead_at_epoch: i64, payload: &[u8]) -> Self {
        Self::new()
            .bytes(b"dead letter")
            .bytes(claude_session_id.as_bytes())
            .integer(enqueued_at_epoch)
            .integer(dead_at_epoch)
            .bytes(payload)
    }

    /// Of the one with this number among equals.
    pub fn identity(self, copy: u32) -> Identity {
        self.integer(copy.into()).0.to_le_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_fnv_1a() {
        // A published test vector: files written by one version are known to the next.
        assert_eq!(Fingerprint::new().raw(b"foobar").0, 0x343e_1662_793c_64bf_6f0d_3597_ba44_6f18);
    }

    #[test]
    fn tells_values_apart() {
        let of = |values: &[ValueRef<'_>]| values.iter().fold(Fingerprint::new(), |print, value| print.value(*value));
        let different = [
            of(&[ValueRef::Null]),
            of(&[ValueRef::Text(b"")]),
            of(&[ValueRef::Blob(b"")]),
            of(&[ValueRef::Integer(0)]),
            of(&[ValueRef::Real(0.0)]),
            of(&[ValueRef::Text(b"a"), ValueRef::Text(b"bc")]),
            of(&[ValueRef::Text(b"ab"), ValueRef::Text(b"c")]),
        ];
        let unique: std::collections::HashSet<_> = different.into_iter().collect();
        assert_eq!(unique.len(), different.len());
        assert_ne!(Fingerprint::new().identity(0), Fingerprint::new().identity(1));
    }
}
