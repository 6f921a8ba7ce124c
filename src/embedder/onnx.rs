//! Whether a file is a whole ONNX file: each of its messages ends where the one around it says. The runtime takes
//! lengths at their word and asks for as many bytes, which on a damaged file can be more than there are; then
//! nobody could catch the end of the process.

use std::{
    fs::File,
    io::{self, BufReader, Read},
    path::Path,
};

use sha2::{Digest, Sha256};

use super::table;

/// Graphs within graphs; a model for texts has none.
const DEEPEST: usize = 32;

/// A file by its size and SHA-256. One of just this size with other bytes is a damaged copy.
type Known = (u64, &'static str);
/// The file that `npm run model` makes and puts in place.
pub const MADE: Known = (24_506_513, "cf738316ea21b9eb71f99c7954e58baded0ab0daf47fe97e0be36e98469eb600");
/// The one that it is made of, and that takes its place where it cannot be made.
pub const PUBLISHED: Known = (22_928_619, "8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6");

/// A message of the format, as far as other messages lie in it.
#[derive(Clone, Copy)]
enum Message {
    Model,
    Graph,
    Node,
    Attribute,
    Tensor,
    Value,
    Type,
    TensorType,
    SequenceType,
    Shape,
    /// Numbers and texts only.
    Flat,
}

impl Message {
    /// What lies in one of its fields, by the number that `onnx.proto` gives it.
    fn field(self, number: u64) -> Option<Self> {
        Some(match (self, number) {
            (Self::Model, 7) => Self::Graph,
            (Self::Model, 8 | 14) | (Self::Tensor, 13) | (Self::Shape, 1) => Self::Flat,
            (Self::Graph, 1) => Self::Node,
            (Self::Graph, 5) => Self::Tensor,
            (Self::Graph, 11..=13) => Self::Value,
            (Self::Node, 5) => Self::Attribute,
            (Self::Attribute, 5 | 10) => Self::Tensor,
            (Self::Attribute, 6 | 11) => Self::Graph,
            (Self::Value, 2) => Self::Type,
            (Self::Type, 1) => Self::TensorType,
            (Self::Type, 4) => Self::SequenceType,
            (Self::TensorType, 2) => Self::Shape,
            (Self::SequenceType, 1) => Self::Type,
            _ => return None,
        })
    }
}

/// Reads the structure of a file, not its weights; but for the known files, which are read as a whole and answered, to
/// be loaded from memory as it is better for that.
///
/// # Errors
/// The reason for people.
pub fn check(file: &Path) -> Result<Option<Vec<u8>>, String> {
    let failed = |error: io::Error| error.to_string();
    let open = File::open(file).map_err(failed)?;
    let bytes = open.metadata().map_err(failed)?.len();
    if let Some((_, wanted)) = [MADE, PUBLISHED].iter().find(|(size, _)| *size == bytes) {
        return known(open, wanted).map(Some);
    }
    let mut walk = Walk { file: BufReader::new(open), at: 0 };
    walk.message(Message::Model, bytes, 0).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData => {
            format!("it is damaged or no ONNX file (at byte {} of {bytes})", walk.at)
        }
        _ => error.to_string(),
    })?;
    Ok(None)
}

fn known(mut file: File, wanted: &str) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    let hash = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    if hash != wanted {
        return Err(format!("it is damaged: its SHA-256 is {hash}, not {wanted}"));
    }
    // Where nothing is changed, the file is loaded as it is: in the one that is made, rows are taken first already.
    table::take_rows_first(&mut bytes);
    Ok(bytes)
}

struct Walk<R> {
    file: BufReader<R>,
    at: u64,
}

impl<R: Read + io::Seek> Walk<R> {
    fn message(&mut self, message: Message, end: u64, depth: usize) -> io::Result<()> {
        if depth > DEEPEST {
            return Err(io::ErrorKind::InvalidData.into());
        }
        while self.at < end {
            let key = self.number()?;
            let length = match key & 7 {
                0 => {
                    self.number()?;
                    continue;
                }
                1 => 8,
                2 => self.number()?,
                5 => 4,
                _ => return Err(io::ErrorKind::InvalidData.into()),
            };
            let until = self.at.checked_add(length).filter(|until| *until <= end).ok_or(io::ErrorKind::InvalidData)?;
            match message.field(key >> 3).filter(|_| key & 7 == 2) {
                Some(inner) => self.message(inner, until, depth + 1)?,
                None => {
                    let skip = i64::try_from(length).map_err(|_| io::ErrorKind::InvalidData)?;
                    self.file.seek_relative(skip)?;
                    self.at = until;
                }
            }
        }
        if self.at == end { Ok(()) } else { Err(io::ErrorKind::InvalidData.into()) }
    }

    /// A number of 7 bits a byte.
    fn number(&mut self) -> io::Result<u64> {
        let mut number = 0;
        for place in 0..10 {
            let mut byte = [0];
            self.file.read_exact(&mut byte)?;
            self.at += 1;
            number |= u64::from(byte[0] & 0x7f) << (7 * place);
            if byte[0] & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(io::ErrorKind::InvalidData.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(bytes: &[u8]) -> Result<Option<Vec<u8>>, String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        check(file.path())
    }

    #[test]
    fn whole_files_pass_and_parts_do_not() {
        for whole in [include_bytes!("reference/small.onnx").as_slice(), include_bytes!("reference/other.onnx")] {
            assert_eq!(verdict(whole), Ok(None));
            // A model without its last fields is a whole file too: those that matter end with a graph.
            let cut = (1..whole.len()).filter(|end| verdict(&whole[..*end]).is_ok()).count();
            assert!(cut < 8, "{cut} of {} cuts pass", whole.len());
        }
    }

    #[test]
    fn a_length_beyond_the_end_is_no_length() {
        // Producer name, 2^62 bytes.
        assert!(verdict(&[0x12, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x40, b'x']).is_err());
        // The same within the graph's name.
        assert!(verdict(&[0x3a, 4, 0x12, 0xff, 0x7f, b'x']).is_err());
        // A number that never ends, and a wire type that is none.
        assert!(verdict(&[0xff; 64]).is_err());
        assert!(verdict(&[0x0b]).is_err());
        // Graphs within graphs.
        let nested = (0..100).fold(Vec::new(), |inner: Vec<u8>, _| {
            let wrap = |tag: u8, inner: &[u8]| {
                let length = u16::try_from(inner.len()).unwrap();
                let length = [(length & 0x7f) as u8 | 0x80, (length >> 7) as u8];
                [&[tag][..], &length, inner].concat()
            };
            wrap(0x0a, &wrap(0x2a, &wrap(0x32, &inner)))
        });
        let length = u16::try_from(nested.len()).unwrap();
        let model = [&[0x3a, (length & 0x7f) as u8 | 0x80, (length >> 7) as u8][..], &nested].concat();
        assert!(verdict(&model).unwrap_err().contains("damaged"), "{:?}", verdict(&model));
    }
}
