//! Reads a file line by line, each line in memory for itself and bounded.

use std::io::BufRead;

use crate::error::{Code, Error, Result};

/// A buffer that a long line has stretched beyond this is given back.
const KEPT: usize = 4 << 20;

/// The lines of a file.
pub struct Lines<R> {
    source: R,
    limit: usize,
    line: Vec<u8>,
    /// The number of the line last read, from 1.
    pub number: u64,
    /// Bytes read so far.
    pub bytes: u64,
    /// Whether the line last read ended with a line feed: the last one of a file that was cut off does not.
    pub ended: bool,
}

impl<R: BufRead> Lines<R> {
    /// Lines of at most `limit` bytes.
    pub fn new(source: R, limit: usize) -> Self {
        Self { source, limit, line: Vec::new(), number: 0, bytes: 0, ended: true }
    }

    /// The line last read, without its end.
    pub fn line(&self) -> &[u8] {
        &self.line
    }

    /// The next line without its end; none at the end of the file.
    ///
    /// # Errors
    /// `ERR_INVALID_ARG` for a line beyond the limit, `ERR_IO`.
    pub fn next(&mut self) -> Result<Option<&[u8]>> {
        self.line.clear();
        self.line.shrink_to(KEPT);
        loop {
            let chunk = match self.source.fill_buf() {
                Ok(chunk) => chunk,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error.into()),
            };
            if chunk.is_empty() {
                self.ended = false;
                if self.line.is_empty() {
                    return Ok(None);
                }
                self.number += 1;
                return Ok(Some(&self.line));
            }
            let end = chunk.iter().position(|byte| *byte == b'\n');
            let part = &chunk[..end.unwrap_or(chunk.len())];
            if self.line.len() + part.len() > self.limit {
                let number = self.number + 1;
                return Err(Error::new(
                    Code::InvalidArg,
                    format!(
                        "line {number} is longer than the limit of {} bytes; raise maxLineBytes if this is an export",
                        self.limit
                    ),
                )
                .with("line", number)
                .with("limit", self.limit));
            }
            self.line.extend_from_slice(part);
            let used = part.len() + usize::from(end.is_some());
            self.source.consume(used);
            self.bytes += used as u64;
            if end.is_some() {
                if self.line.last() == Some(&b'\r') {
                    self.line.pop();
                }
                self.ended = true;
                self.number += 1;
                return Ok(Some(&self.line));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_across_buffers() {
        let text = b"one\n\r\ntwo tw\r\nthree";
        for size in 1..=text.len() {
            let mut lines = Lines::new(std::io::BufReader::with_capacity(size, &text[..]), 7);
            let mut seen = Vec::new();
            while let Some(line) = lines.next().unwrap() {
                seen.push(String::from_utf8(line.to_vec()).unwrap());
            }
            assert_eq!(seen, ["one", "", "two tw", "three"], "{size}");
            assert_eq!((lines.number, lines.bytes, lines.ended), (4, text.len() as u64, false));
        }
    }

    #[test]
    fn a_line_beyond_the_limit() {
        let mut lines = Lines::new(&b"four\nfives\n"[..], 4);
        assert_eq!(lines.next().unwrap(), Some(&b"four"[..]));
        let error = lines.next().unwrap_err();
        assert!(error.message.contains("line 2 is longer than the limit of 4 bytes"), "{}", error.message);
    }
}
