//! The published model's table of word vectors stays in the 8 bits that it is stored with.
//!
//! Its graph turns all 30,522 rows into 32 bits and then takes those of a text's tokens. The runtime does the first
//! once, when it loads the graph, and keeps 47 MB for it beside the 12 MB of the file. Here the rows are taken first,
//! and only they become 32 bits: the same numbers. The file that `npm run model` makes of it needs no change: its graph
//! takes the rows first.

use std::ops::Range;

/// Fields of the format, by the numbers that `onnx.proto` gives them.
mod field {
    pub const MODEL_GRAPH: u64 = 7;
    pub const GRAPH_NODE: u64 = 1;
    pub const GRAPH_VALUE: u64 = 13;
    pub const NODE_INPUT: u64 = 1;
    pub const NODE_OUTPUT: u64 = 2;
    pub const NODE_NAME: u64 = 3;
    pub const VALUE_NAME: u64 = 1;
}

/// What the graph of the published file calls the values on the way from the table to the vectors of a text:
/// `STORED` is cast to `CAST`, that times `SCALE` is `TABLE`, and its rows are `ROWS`.
const TABLE: &str = "inner.embeddings.word_embeddings.weight";
const STORED: &str = "inner.embeddings.word_embeddings.weight_q";
const CAST: &str = "inner.embeddings.word_embeddings.weight_f";
const SCALE: &str = "inner.embeddings.word_embeddings.weight_scale";
const ROWS: &str = "embedding";
/// The rows of `SCALE`, which nobody takes in the file.
const SCALE_ROWS: &str = "embedding_scale";

/// Where a field lies in a file: all of it, and what its length counts.
struct Field {
    number: u64,
    whole: Range<usize>,
    content: Range<usize>,
}

/// Changes the published file so that rows are taken before they become 32 bits. None where it is another file; then
/// it is as it was.
pub fn take_rows_first(model: &mut Vec<u8>) -> Option<()> {
    let graph = fields(model, 0..model.len())?.into_iter().find(|field| field.number == field::MODEL_GRAPH)?;
    let mut edits: Vec<(Range<usize>, Vec<u8>)> = Vec::new();
    let mut nodes = 0;
    for part in fields(model, graph.content.clone())? {
        match part.number {
            field::GRAPH_NODE => {
                let inner = fields(model, part.content)?;
                let named = |number, name: &str| {
                    inner.iter().any(|field| field.number == number && model[field.content.clone()] == *name.as_bytes())
                };
                let node = |names: &[(&str, &str)]| framed(field::GRAPH_NODE, &renamed(model, &inner, names));
                let instead = if named(field::NODE_INPUT, STORED) && named(field::NODE_OUTPUT, CAST) {
                    node(&[(STORED, TABLE)])
                } else if named(field::NODE_INPUT, CAST) && named(field::NODE_OUTPUT, TABLE) {
                    node(&[(SCALE, SCALE_ROWS), (TABLE, ROWS)])
                } else if named(field::NODE_INPUT, TABLE) && named(field::NODE_OUTPUT, ROWS) {
                    [node(&[(TABLE, STORED), (ROWS, TABLE)]), node(&[(TABLE, SCALE), (ROWS, SCALE_ROWS)])].concat()
                } else {
                    continue;
                };
                nodes += 1;
                edits.push((part.whole, instead));
            }
            // What it says about the type and shape of values that are now others.
            field::GRAPH_VALUE => {
                let name = fields(model, part.content)?.into_iter().find(|field| field.number == field::VALUE_NAME)?;
                if [TABLE.as_bytes(), CAST.as_bytes()].contains(&&model[name.content]) {
                    edits.push((part.whole, Vec::new()));
                }
            }
            _ => {}
        }
    }
    if nodes != 3 {
        return None;
    }
    let mut length = graph.content.len();
    for (place, instead) in edits.into_iter().rev() {
        length = length - place.len() + instead.len();
        drop(model.splice(place, instead));
    }
    drop(model.splice(graph.whole.start..graph.content.start, header(field::MODEL_GRAPH, length)));
    Some(())
}

/// A node without its own name, and with other names for what it takes and makes.
fn renamed(model: &[u8], node: &[Field], names: &[(&str, &str)]) -> Vec<u8> {
    let mut made = Vec::new();
    for field in node {
        let content = &model[field.content.clone()];
        let other = names.iter().find(|(name, _)| name.as_bytes() == content).map(|(_, other)| other);
        match (field.number, other) {
            (field::NODE_INPUT | field::NODE_OUTPUT, Some(other)) => {
                made.extend(framed(field.number, other.as_bytes()));
            }
            (field::NODE_NAME, _) => {}
            _ => made.extend(&model[field.whole.clone()]),
        }
    }
    made
}

/// The fields of the message that lies in `range`. None where it is none.
fn fields(bytes: &[u8], range: Range<usize>) -> Option<Vec<Field>> {
    let mut found = Vec::new();
    let mut at = range.start;
    while at < range.end {
        let start = at;
        let key = number(bytes, &mut at)?;
        let length = match key & 7 {
            0 => {
                number(bytes, &mut at)?;
                0
            }
            1 => 8,
            2 => usize::try_from(number(bytes, &mut at)?).ok()?,
            5 => 4,
            _ => return None,
        };
        let end = at.checked_add(length).filter(|end| *end <= range.end)?;
        found.push(Field { number: key >> 3, whole: start..end, content: at..end });
        at = end;
    }
    Some(found)
}

/// A number of 7 bits a byte.
fn number(bytes: &[u8], at: &mut usize) -> Option<u64> {
    let mut number = 0;
    for place in 0..10 {
        let byte = *bytes.get(*at)?;
        *at += 1;
        number |= u64::from(byte & 0x7f) << (7 * place);
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

/// What stands before the bytes of a field.
fn header(field: u64, length: usize) -> Vec<u8> {
    let mut made = Vec::new();
    for mut number in [field << 3 | 2, length as u64] {
        while number > 0x7f {
            made.push((number & 0x7f) as u8 | 0x80);
            number >>= 7;
        }
        made.push(number as u8);
    }
    made
}

/// A field with its bytes.
fn framed(field: u64, content: &[u8]) -> Vec<u8> {
    [header(field, content.len()).as_slice(), content].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(inputs: &[&str], output: &str) -> Vec<u8> {
        let mut made = inputs.iter().flat_map(|name| framed(field::NODE_INPUT, name.as_bytes())).collect::<Vec<_>>();
        made.extend(framed(field::NODE_OUTPUT, output.as_bytes()));
        framed(field::GRAPH_NODE, &made)
    }

    fn value(name: &str) -> Vec<u8> {
        framed(field::GRAPH_VALUE, &framed(field::VALUE_NAME, name.as_bytes()))
    }

    /// A model of these parts, between two fields of other kinds.
    fn model(parts: &[Vec<u8>]) -> Vec<u8> {
        [vec![0x08, 0x0a], framed(field::MODEL_GRAPH, &parts.concat()), framed(2, b"somebody")].concat()
    }

    #[test]
    fn rows_are_taken_before_they_are_cast() {
        let weights = framed(5, &[7; 300]);
        let mut found = model(&[
            node(&[STORED], CAST),
            node(&[CAST, SCALE], TABLE),
            weights.clone(),
            node(&[TABLE, "input_ids"], ROWS),
            value(CAST),
            value(TABLE),
            value(ROWS),
        ]);
        assert_eq!(take_rows_first(&mut found), Some(()));
        let wanted = model(&[
            node(&[TABLE], CAST),
            node(&[CAST, SCALE_ROWS], ROWS),
            weights,
            node(&[STORED, "input_ids"], TABLE),
            node(&[SCALE, "input_ids"], SCALE_ROWS),
            value(ROWS),
        ]);
        assert_eq!(found, wanted);
    }

    #[test]
    fn another_file_stays_as_it_is() {
        let whole = model(&[node(&[STORED], CAST), node(&[CAST, SCALE], TABLE), value(TABLE)]);
        for mut other in [Vec::new(), vec![0xff; 40], whole[..whole.len() - 1].to_vec(), whole] {
            let before = other.clone();
            assert_eq!(take_rows_first(&mut other), None);
            assert_eq!(other, before);
        }
        for mut other in
            [include_bytes!("reference/small.onnx").to_vec(), include_bytes!("reference/other.onnx").to_vec()]
        {
            assert_eq!(take_rows_first(&mut other), None);
        }
    }
}
