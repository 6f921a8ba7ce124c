//! Vectors from JavaScript and to it.

use std::{ptr, slice};

use napi::{ValueType, bindgen_prelude::Float32Array, sys};

use super::{answer::Answer, arguments::Argument};
use crate::error::Result;

impl Argument<'_> {
    /// A copy of the numbers of a `Float32Array`, or of an array of numbers.
    ///
    /// # Errors
    /// `ERR_INVALID_ARG` for anything else, memory of a `SharedArrayBuffer` included.
    pub fn floats(&self) -> Result<Vec<f32>> {
        const EXPECTED: &str = "a Float32Array or an array of numbers";
        if let Ok(elements) = self.array() {
            #[expect(clippy::cast_possible_truncation, reason = "what is too large becomes infinite, and is refused")]
            let number = |element: &Self| match element.kind() {
                ValueType::Number => element.number().map(|number| number as f32),
                _ => Err(element.expected("a finite number")),
            };
            return elements.iter().map(number).collect();
        }
        let (mut kind, mut length, mut data) = (0, 0, ptr::null_mut());
        let (mut buffer, mut offset) = (ptr::null_mut(), 0);
        let env = self.scope.env();
        // SAFETY: the handle belongs to the scope; the call refuses what is no typed array.
        let status = unsafe {
            sys::napi_get_typedarray_info(
                env,
                self.value,
                &raw mut kind,
                &raw mut length,
                &raw mut data,
                &raw mut buffer,
                &raw mut offset,
            )
        };
        if status != sys::Status::napi_ok || kind != sys::TypedarrayType::float32_array {
            return Err(self.expected(EXPECTED));
        }
        let mut ours = false;
        // SAFETY: the handle came out of the call above.
        unsafe { sys::napi_is_arraybuffer(env, buffer, &raw mut ours) };
        if !ours {
            // Another thread may write to shared memory while it is copied.
            return Err(self.expected("a Float32Array whose memory is not shared with other threads"));
        }
        if length == 0 || data.is_null() {
            return Ok(Vec::new());
        }
        // SAFETY: V8 has just said that `length` numbers lie there, and no JavaScript runs before they are copied. As
        // bytes they need not be aligned.
        let bytes = unsafe { slice::from_raw_parts(data.cast::<u8>(), length * size_of::<f32>()) };
        let (numbers, _) = bytes.as_chunks::<4>();
        Ok(numbers.iter().map(|number| f32::from_ne_bytes(*number)).collect())
    }
}

/// A `Float32Array` with these numbers, or null.
pub(super) fn floats_answer(numbers: Option<Vec<f32>>) -> Answer {
    numbers.map_or(Answer::Null, |numbers| Answer::instance(Float32Array::new(numbers)))
}
