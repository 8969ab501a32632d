//! Every field of every call that holds a string, as the contracts themselves tell it: a field that is
//! added to a contract is attacked from that day on.

use prost::Message;
use prost_types::field_descriptor_proto::Type;
use prost_types::{DescriptorProto, FileDescriptorSet};

/// The contracts that the build compiled.
const CONTRACTS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

/// A field that holds a string, wherever in a request it lies.
#[derive(Debug, Clone)]
pub struct Field {
    /// `/package.Service/Method`
    pub call: String,
    /// Its name and those of the fields it lies in.
    pub name: String,
    /// The numbers of the fields on the way to it.
    numbers: Vec<i32>,
    /// For the value of a map: under which key.
    key: Option<&'static str>,
}

impl Field {
    /// What a request has to end with for this field to hold `value`. A later value replaces an earlier
    /// one, and messages are merged: the rest of the request stays.
    pub fn encode(&self, value: &[u8]) -> Vec<u8> {
        let mut numbers = self.numbers.iter().rev();
        let mut bytes = length_delimited(*numbers.next().expect("a field has a number"), value);
        if let Some(key) = self.key {
            bytes = [length_delimited(1, key.as_bytes()), bytes].concat();
        }
        for number in numbers {
            bytes = length_delimited(*number, &bytes);
        }
        bytes
    }

    /// This field, which is the value of a map, under `key`.
    pub fn under(&self, key: &'static str) -> Self {
        Self {
            name: format!("{}[{key}]", self.name),
            key: Some(key),
            ..self.clone()
        }
    }
}

/// All of them.
pub fn all() -> Vec<Field> {
    let contracts = FileDescriptorSet::decode(CONTRACTS).expect("descriptors");
    let mut found = Vec::new();
    for file in &contracts.file {
        for service in &file.service {
            for method in &service.method {
                let call = format!("/{}.{}/{}", file.package(), service.name(), method.name());
                let request = message(&contracts, method.input_type());
                walk(&contracts, request, &mut Vec::new(), "", &call, &mut found);
            }
        }
    }
    found
}

fn walk(
    contracts: &FileDescriptorSet,
    within: &DescriptorProto,
    numbers: &mut Vec<i32>,
    prefix: &str,
    call: &str,
    found: &mut Vec<Field>,
) {
    assert!(numbers.len() < 16, "{call}: a message that holds itself");
    for field in &within.field {
        numbers.push(field.number());
        let name = format!("{prefix}{}", field.name());
        match field.r#type() {
            Type::String => found.push(Field {
                call: call.to_owned(),
                name,
                numbers: numbers.clone(),
                key: None,
            }),
            Type::Message => {
                let inner = message(contracts, field.type_name());
                walk(contracts, inner, numbers, &format!("{name}."), call, found);
            }
            _ => {}
        }
        numbers.pop();
    }
}

/// The message with the full name `.package.Outer.Inner`.
fn message<'a>(contracts: &'a FileDescriptorSet, full_name: &str) -> &'a DescriptorProto {
    let find = |messages: &'a [DescriptorProto], name: &str| messages.iter().find(|message| message.name() == name);
    contracts
        .file
        .iter()
        .find_map(|file| {
            let mut names = full_name.strip_prefix(&format!(".{}.", file.package()))?.split('.');
            let outermost = find(&file.message_type, names.next()?)?;
            names.try_fold(outermost, |outer, name| find(&outer.nested_type, name))
        })
        .unwrap_or_else(|| panic!("no message {full_name}"))
}

fn length_delimited(number: i32, bytes: &[u8]) -> Vec<u8> {
    let mut encoded = Vec::new();
    prost::encoding::bytes::encode(number as u32, &bytes.to_vec(), &mut encoded);
    encoded
}
