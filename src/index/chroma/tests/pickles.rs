//! The decoder by itself: hand-assembled bytes of both generations, and everything that is refused.

use super::{
    super::pickle::{self, Dict, Value},
    made::{instance_pickle, plain_pickle},
};

fn decode(bytes: &[u8]) -> Result<Dict, pickle::Fault> {
    pickle::decode(bytes, bytes.len() as u64)
}

const IDS: [(&str, u64); 3] = [("obs_1_narrative", 3), ("obs_2_fact_0", 1), ("prompt_7", 2)];

#[test]
fn both_generations_say_the_same() {
    for bytes in [plain_pickle(&IDS), instance_pickle(&IDS)] {
        let mut dict = decode(&bytes).unwrap();
        let ids: Vec<_> = IDS.iter().map(|(id, label)| ((*id).into(), *label as i64)).collect();
        let labels: Vec<_> = IDS.iter().map(|(id, label)| (*label as i64, (*id).into())).collect();
        assert_eq!(dict.take("id_to_label"), Some(Value::Dict(Dict::Integers(ids))));
        assert_eq!(dict.take("label_to_id"), Some(Value::Dict(Dict::Texts(labels))));
        assert_eq!(dict.take("total_elements_added"), Some(Value::Integer(3)));
        assert_eq!(dict.take("nothing"), None);
    }
    // LONG1 of two bytes, the number of a pickle that says how far it goes.
    assert_eq!(decode(&instance_pickle(&IDS)).unwrap().take("max_seq_id"), Some(Value::Integer(3000)));
}

#[test]
fn numbers_of_every_width_and_sign() {
    for (bytes, expected) in [
        (&b"K\xff"[..], 255),
        (b"M\xff\xff", 65_535),
        (b"J\xff\xff\xff\xff", -1),
        (b"\x8a\x00", 0),
        (b"\x8a\x01\xff", -1),
        (b"\x8a\x02\xff\x00", 255),
        (b"\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f", i64::MAX),
    ] {
        let pickle = [b"\x80\x02}X\x01\x00\x00\x00a", bytes, b"s."].concat();
        assert_eq!(decode(&pickle).unwrap().take("a"), Some(Value::Integer(expected)), "{bytes:x?}");
    }
}

#[test]
fn every_opcode_that_could_do_something_is_refused() {
    let accepted = b"\x80\x95(})N\x88\x89JKM\x8aX\x8c\x8dsu\x94qrhj\x93\x81b.";
    for opcode in 0..=u8::MAX {
        if accepted.contains(&opcode) {
            continue;
        }
        // GLOBAL, REDUCE, INST, OBJ, NEWOBJ_EX, PERSID, EXT1 … with something on the stack for them to work on.
        let pickle = [b"\x80\x03}(X\x02\x00\x00\x00os)", &[opcode][..], b"os\nsystem\n\x01\x01\x01\x01."].concat();
        let fault = decode(&pickle).unwrap_err();
        assert!(fault.what.contains(&format!("opcode 0x{opcode:02x}")), "{fault:?}");
        assert_eq!(fault.at, 13);
    }
}

#[test]
fn no_other_class_and_no_arguments() {
    let class = |module: &str, name: &str, after: &[u8]| {
        let mut pickle = vec![0x80, 4];
        for text in [module, name] {
            pickle.extend([0x8c, text.len() as u8]);
            pickle.extend(text.as_bytes());
        }
        pickle.push(0x93);
        pickle.extend(after);
        decode(&pickle)
    };
    let chroma = "chromadb.segment.impl.vector.local_persistent_hnsw";
    assert_eq!(class(chroma, "PersistentData", b")\x81}b.").unwrap(), Dict::Empty);
    class("os", "system", b")\x81}b.").unwrap_err();
    class(chroma, "Persistent", b")\x81}b.").unwrap_err();
    class("builtins", "PersistentData", b")\x81}b.").unwrap_err();
    // REDUCE, NEWOBJ with something else, BUILD with something else, an instance that was never built.
    class(chroma, "PersistentData", b")R.").unwrap_err();
    class(chroma, "PersistentData", b"N\x81}b.").unwrap_err();
    class(chroma, "PersistentData", b")\x81Nb.").unwrap_err();
    class(chroma, "PersistentData", b")\x81.").unwrap_err();
    class(chroma, "PersistentData", b".").unwrap_err();
}

#[test]
fn what_is_claimed_is_bounded() {
    for (pickle, what) in [
        // Texts of 4 GiB and 16 EiB, a number of 255 bytes, a frame beyond the end.
        (&b"\x80\x03}X\xff\xff\xff\xffa"[..], "limit is 1024"),
        (b"\x80\x04}\x8d\xff\xff\xff\xff\xff\xff\xff\xffa", "limit is 1024"),
        (b"\x80\x03}\x8a\xff\x00", "limit is 8"),
        (b"\x80\x04\x95\xff\xff\xff\xff\xff\xff\xff\xff}.", "frame"),
        // Remembered values that are not there.
        (b"\x80\x03}j\xff\xff\xff\xff.", "remembered value 4294967295"),
        (b"\x80\x03}r\xff\xff\xff\xff.", "remembered value 4294967295"),
        (b"\x80\x03q\x00}.", "nothing to remember"),
        (b"\x80\x03}q\x00h\x00.", "not a text"),
        // Batches without beginning, dictionary or value.
        (b"\x80\x03}u.", "no beginning"),
        (b"\x80\x03(u.", "not a dictionary"),
        (b"\x80\x03s.", "no beginning"),
        (b"\x80\x03}(Nu.", "without a value"),
        (b"\x80\x03}NNs.", "other types"),
        (b"\x80\x03}(((u.", "not a dictionary"),
        (b"\x80\x03}(N(s.", "not a dictionary"),
        // No dictionary, two, bytes after it, none at all, another protocol, text that is none.
        (b"\x80\x03N.", "not one dictionary"),
        (b"\x80\x03}}.", "not one dictionary"),
        (b"\x80\x03}.}", "after its end"),
        (b"", "too early"),
        (b"\x80\x06}.", "protocol 6"),
        (b"\x80\x03}X\x02\x00\x00\x00\xff\xfe", "UTF-8"),
    ] {
        let fault = decode(pickle).unwrap_err();
        assert!(fault.what.contains(what), "{pickle:x?}: {fault:?}");
    }
    // A dictionary in a dictionary in a dictionary … would be dropped recursively.
    let deep = [b"\x80\x03".to_vec(), b"}K\x01".repeat(100_000), b"}".to_vec(), b"s".repeat(100_000), b".".to_vec()];
    decode(&deep.concat()).unwrap_err();
    let named = b"}X\x01\x00\x00\x00a";
    let deep = [b"\x80\x03".to_vec(), named.repeat(100_000), b"N".to_vec(), b"s".repeat(100_000), b".".to_vec()];
    assert!(decode(&deep.concat()).unwrap_err().what.contains("deeply"));
}

#[test]
fn cut_off_or_flipped_it_is_never_more_than_refused() {
    for whole in [plain_pickle(&IDS), instance_pickle(&IDS)] {
        for end in 0..whole.len() {
            decode(&whole[..end]).unwrap_err();
        }
        for at in 0..whole.len() * 8 {
            let mut flipped = whole.clone();
            flipped[at / 8] ^= 1 << (at % 8);
            let _ = decode(&flipped);
        }
    }
}
