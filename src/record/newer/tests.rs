//! The table of fields is the proto file's, and what is taken out of a body is
//! exactly what a later version may add.

use prost::Message;

use super::{Fields, Form, Known, RecordError, fields_of, newer, put_varint};
use crate::record::BodyType;
use crate::wire::FILE_DESCRIPTORS;

/// As much of `google.protobuf.FileDescriptorSet` as the comparison needs.
#[derive(Clone, PartialEq, Message)]
struct FileSet {
    #[prost(message, repeated, tag = "1")]
    file: Vec<File>,
}

#[derive(Clone, PartialEq, Message)]
struct File {
    #[prost(message, repeated, tag = "4")]
    messages: Vec<Descriptor>,
    #[prost(message, repeated, tag = "5")]
    enums: Vec<Enum>,
}

#[derive(Clone, PartialEq, Message)]
struct Descriptor {
    #[prost(string, optional, tag = "1")]
    name: Option<String>,
    #[prost(message, repeated, tag = "2")]
    fields: Vec<Field>,
}

#[derive(Clone, PartialEq, Message)]
struct Field {
    #[prost(string, optional, tag = "1")]
    name: Option<String>,
    #[prost(int32, optional, tag = "3")]
    number: Option<i32>,
    #[prost(int32, optional, tag = "5")]
    form: Option<i32>,
    #[prost(string, optional, tag = "6")]
    type_name: Option<String>,
}

#[derive(Clone, PartialEq, Message)]
struct Enum {
    #[prost(string, optional, tag = "1")]
    name: Option<String>,
    #[prost(message, repeated, tag = "2")]
    values: Vec<Value>,
}

#[derive(Clone, PartialEq, Message)]
struct Value {
    #[prost(int32, optional, tag = "2")]
    number: Option<i32>,
}

const STRING: i32 = 9;
const MESSAGE: i32 = 11;
const BYTES: i32 = 12;
const ENUM: i32 = 14;

fn same(set: &FileSet, name: &str, fields: Fields) {
    let files = set.file.iter();
    let of = |d: &&Descriptor| d.name.as_deref() == Some(name);
    let found = files.flat_map(|f| &f.messages).find(of).expect(name);
    assert_eq!(found.fields.len(), fields.len(), "{name}");
    for ((number, known), field) in (1..).zip(fields).zip(&found.fields) {
        let Known { name: called, form } = known;
        assert_eq!(field.number, Some(number), "{name}.{called}: no gaps");
        assert_eq!(field.name.as_deref(), Some(*called), "{name}");
        let kind = field.form.expect("a form");
        let type_name = field
            .type_name
            .as_deref()
            .and_then(|n| n.rsplit('.').next());
        match form {
            Form::Number => {
                let other = [STRING, MESSAGE, BYTES, ENUM];
                assert!(!other.contains(&kind), "{name}.{called}");
            }
            Form::Bytes => assert!([STRING, BYTES].contains(&kind), "{name}.{called}"),
            Form::Word(is_known) | Form::Leading(is_known) => {
                assert_eq!(kind, ENUM, "{name}.{called}");
                let mut enums = set.file.iter().flat_map(|f| &f.enums);
                let words = enums.find(|e| e.name.as_deref() == type_name);
                let words = &words.expect("an enum").values;
                for number in -1..1_024 {
                    let listed = words.iter().any(|v| v.number.unwrap_or(0) == number);
                    assert_eq!(is_known(number), listed, "{name}.{called} {number}");
                }
            }
            Form::Message(fields) => {
                assert_eq!(kind, MESSAGE, "{name}.{called}");
                same(set, type_name.expect("a message"), fields);
            }
        }
    }
}

#[test]
fn the_table_of_fields_is_that_of_the_proto_file() {
    let set = FileSet::decode(FILE_DESCRIPTORS).expect("descriptors");
    let bodies = [
        (BodyType::Element, "ElementBody"),
        (BodyType::CaseNotice, "CaseNoticeBody"),
        (BodyType::Amend, "AmendBody"),
        (BodyType::Retract, "RetractBody"),
        (BodyType::Receipt, "ReceiptBody"),
        (BodyType::Erasure, "ErasureBody"),
        (BodyType::Access, "AccessBody"),
    ];
    assert_eq!(bodies.map(|(body_type, _)| body_type), BodyType::KNOWN);
    for (body_type, name) in bodies {
        same(&set, name, fields_of(body_type));
    }
}

fn field(number: u64, wire: u64, value: &[u8]) -> Vec<u8> {
    let mut out = vec![];
    put_varint(&mut out, number << 3 | wire);
    out.extend_from_slice(value);
    out
}

#[test]
fn only_what_stands_last_and_is_written_shortest_is_taken_for_newer() {
    let body = field(1, 2, &[2, 7, 7]);
    let with = |more: &[&[u8]]| [&body[..], &more.concat()].concat();
    let read = |bytes: &[u8]| newer(BodyType::Receipt, bytes);
    assert!(read(&body).is_none(), "nothing is newer");
    let good = [
        with(&[&field(4, 0, &[1])]),
        with(&[
            &field(4, 2, &[0]),
            &field(4, 2, &[1, 9]),
            &field(5, 5, &[0; 4]),
        ]),
        with(&[&field(900, 1, &[0; 8])]),
    ];
    for bytes in good {
        let read = read(&bytes).expect("newer");
        assert_eq!(read.known, body);
        assert!(matches!(
            read.first,
            RecordError::Unknown { what: "field", .. }
        ));
    }
    let bad = [
        (
            "before what is known",
            [field(4, 0, &[1]), body.clone()].concat(),
        ),
        (
            "out of order",
            with(&[&field(6, 0, &[1]), &field(5, 0, &[1])]),
        ),
        ("a long varint", with(&[&field(4, 0, &[0x81, 0])])),
        ("a long tag", with(&[&[0xa0, 0x00, 1]])),
        (
            "a varint of eleven bytes",
            with(&[&field(4, 0, &[0x80; 10]), &[1]]),
        ),
        (
            "a varint over 64 bits",
            with(&[&field(4, 0, &[0xff; 9]), &[2]]),
        ),
        ("a group", with(&[&field(4, 3, &[]), &field(4, 4, &[])])),
        (
            "a wire type that nobody writes",
            with(&[&field(4, 7, &[1])]),
        ),
        ("cut off", with(&[&field(4, 2, &[5, 1])])),
        ("a cut number", with(&[&field(4, 5, &[1, 2, 3])])),
        ("no value", with(&[&field(4, 0, &[])])),
        ("field 0", with(&[&[0x00, 1]])),
        (
            "a field number over 29 bits",
            with(&[&field(1 << 29, 0, &[1])]),
        ),
        (
            "a known field of another form",
            with(&[&field(2, 0, &[1]), &field(4, 0, &[1])]),
        ),
    ];
    for (name, bytes) in bad {
        assert!(read(&bytes).is_none(), "{name}");
    }
}
