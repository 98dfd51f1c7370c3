//! Messages: a header that says what it is, and a body.

use crate::value::split_signature;
use crate::wire::{Reader, Writer};
use crate::{Error, Result, Value};

/// The part of a header that every message has: how it is written, what it is, and three numbers of four bytes.
pub(crate) const FIXED: usize = 16;
/// The longest message that is read. The specification allows 128 MiB; what systemd tells us has some hundred bytes.
const LONGEST: usize = 1 << 24;

const METHOD_CALL: u8 = 1;
const METHOD_RETURN: u8 = 2;
const ERROR: u8 = 3;
const SIGNAL: u8 = 4;

/// The fields of a header by their numbers.
mod field {
    pub(super) const PATH: u8 = 1;
    pub(super) const INTERFACE: u8 = 2;
    pub(super) const MEMBER: u8 = 3;
    pub(super) const ERROR_NAME: u8 = 4;
    pub(super) const REPLY_SERIAL: u8 = 5;
    pub(super) const DESTINATION: u8 = 6;
    pub(super) const SIGNATURE: u8 = 8;
}

/// A method to call.
#[derive(Clone, Debug)]
pub struct Call<'a> {
    /// The name of who is called; on a direct connection there is only one, and the name is not looked at.
    pub destination: &'a str,
    /// The object.
    pub path: &'a str,
    /// The interface of the method.
    pub interface: &'a str,
    /// The method.
    pub method: &'a str,
    /// Its arguments.
    pub arguments: &'a [Value],
}

impl Call<'_> {
    pub(crate) fn encode(&self, serial: u32) -> Result<Vec<u8>> {
        let mut body = Writer::default();
        self.arguments.iter().try_for_each(|argument| body.value(argument))?;
        let signature: String = self.arguments.iter().map(Value::signature).collect();
        let entry = |number, value: Value| Value::Struct(vec![Value::Byte(number), value.variant()]);
        let fields = vec![
            entry(field::PATH, Value::Path(self.path.to_owned())),
            entry(field::DESTINATION, Value::text(self.destination)),
            entry(field::INTERFACE, Value::text(self.interface)),
            entry(field::MEMBER, Value::text(self.method)),
            entry(field::SIGNATURE, Value::Signature(signature)),
        ];
        let mut message = Writer { bytes: vec![b'l', METHOD_CALL, 0, 1] };
        message.u32(u32::try_from(body.bytes.len()).map_err(|_| Error::Unsayable("a call this long"))?);
        message.u32(serial);
        message.value(&Value::Array("(yv)".to_owned(), fields))?;
        message.align(8);
        message.bytes.extend(body.bytes);
        Ok(message.bytes)
    }
}

/// A message that nobody asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signal {
    /// The interface of the signal.
    pub interface: String,
    /// Its name.
    pub member: String,
    /// What it says.
    pub body: Vec<Value>,
}

/// A message that was received.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Received {
    /// The answer to the call of this number.
    Reply(u32, Vec<Value>),
    /// The call of this number failed: name and text.
    Error(u32, String, String),
    /// Somebody tells something.
    Signal(Signal),
    /// Nothing for us.
    Other,
}

/// How long a message is in all, by its first [`FIXED`] bytes.
pub(crate) fn length(head: &[u8]) -> Result<usize> {
    let mut reader = Reader { bytes: head, at: 4, is_big_endian: is_big_endian(head)? };
    let body = reader.u32()? as usize;
    reader.u32()?;
    let fields = reader.u32()? as usize;
    let length = fields.checked_next_multiple_of(8).and_then(|fields| fields.checked_add(body + FIXED));
    length.filter(|length| *length <= LONGEST).ok_or(Error::Malformed("it is too long"))
}

fn is_big_endian(head: &[u8]) -> Result<bool> {
    match head {
        [b'l', _, _, 1, ..] => Ok(false),
        [b'B', _, _, 1, ..] => Ok(true),
        _ => Err(Error::Malformed("not a message of version 1")),
    }
}

/// A whole message.
pub(crate) fn decode(bytes: &[u8]) -> Result<Received> {
    let is_big_endian = is_big_endian(bytes)?;
    let mut reader = Reader { bytes, at: 12, is_big_endian };
    let fields = Fields::of(&reader.values("a(yv)")?)?;
    reader.align(8)?;
    let body = || match &fields.signature {
        // A type that we do not know: for somebody else's eyes.
        Some(signature) if !is_known(signature) => Ok(Vec::new()),
        Some(signature) => Reader { bytes: &bytes[reader.at..], at: 0, is_big_endian }.values(signature),
        None => Ok(Vec::new()),
    };
    Ok(match bytes[1] {
        METHOD_RETURN => Received::Reply(fields.reply_serial.ok_or(NO_FIELD)?, body()?),
        ERROR => {
            let name = fields.error_name.clone().ok_or(NO_FIELD)?;
            let message = body()?.first().and_then(Value::as_text).unwrap_or(&name).to_owned();
            Received::Error(fields.reply_serial.ok_or(NO_FIELD)?, name, message)
        }
        SIGNAL => Received::Signal(Signal {
            interface: fields.interface.clone().ok_or(NO_FIELD)?,
            member: fields.member.clone().ok_or(NO_FIELD)?,
            body: body()?,
        }),
        _ => Received::Other,
    })
}

const NO_FIELD: Error = Error::Malformed("a header without a field that must be there");

fn is_known(mut signature: &str) -> bool {
    while !signature.is_empty() {
        let Ok((_, rest)) = split_signature(signature) else { return false };
        signature = rest;
    }
    true
}

/// What a header says, as far as it matters here.
#[derive(Debug, Default)]
struct Fields {
    interface: Option<String>,
    member: Option<String>,
    error_name: Option<String>,
    reply_serial: Option<u32>,
    signature: Option<String>,
}

impl Fields {
    fn of(values: &[Value]) -> Result<Self> {
        let [Value::Array(_, entries)] = values else { return Err(NO_FIELD) };
        let mut fields = Self::default();
        for entry in entries {
            let Value::Struct(pair) = entry else { return Err(NO_FIELD) };
            let [Value::Byte(number), Value::Variant(value)] = pair.as_slice() else { return Err(NO_FIELD) };
            let text = || value.as_text().map(str::to_owned);
            match *number {
                field::INTERFACE => fields.interface = text(),
                field::MEMBER => fields.member = text(),
                field::ERROR_NAME => fields.error_name = text(),
                field::SIGNATURE => fields.signature = text(),
                field::REPLY_SERIAL => {
                    fields.reply_serial = if let Value::U32(serial) = **value { Some(serial) } else { None };
                }
                _ => {}
            }
        }
        Ok(fields)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::slice;

    /// A message of systemd's, which a call of ours is not: type, fields, body.
    fn message(kind: u8, fields: &[(u8, Value)], body: &[Value]) -> Vec<u8> {
        let mut content = Writer::default();
        body.iter().for_each(|value| content.value(value).unwrap());
        let signature = Value::Signature(body.iter().map(Value::signature).collect());
        let fields = fields.iter().cloned().chain([(field::SIGNATURE, signature)]);
        let fields = fields.map(|(n, v)| Value::Struct(vec![Value::Byte(n), v.variant()])).collect();
        let mut message = Writer { bytes: vec![b'l', kind, 0, 1] };
        message.u32(content.bytes.len().try_into().unwrap());
        message.u32(9);
        message.value(&Value::Array("(yv)".to_owned(), fields)).unwrap();
        message.align(8);
        message.bytes.extend(content.bytes);
        message.bytes
    }

    #[test]
    fn a_call_is_as_long_as_its_head_says_and_nothing_for_us() {
        let arguments = [Value::text("a.scope"), Value::texts(["x"])];
        let call =
            Call { destination: "a.b", path: "/a", interface: "a.b.C", method: "D", arguments: &arguments };
        let bytes = call.encode(3).unwrap();
        assert_eq!(length(&bytes[..FIXED]).unwrap(), bytes.len());
        assert_eq!(decode(&bytes).unwrap(), Received::Other);
    }

    #[test]
    fn replies_errors_and_signals_are_told_apart() {
        let reply = (field::REPLY_SERIAL, Value::U32(7));
        let job = Value::Path("/job/1".into());
        let bytes = message(METHOD_RETURN, slice::from_ref(&reply), slice::from_ref(&job));
        assert_eq!(decode(&bytes).unwrap(), Received::Reply(7, vec![job]));
        let named = (field::ERROR_NAME, Value::text("a.Bad"));
        let bytes = message(ERROR, &[reply, named], &[Value::text("so bad")]);
        assert_eq!(decode(&bytes).unwrap(), Received::Error(7, "a.Bad".into(), "so bad".into()));
        let signal = [(field::INTERFACE, Value::text("a.M")), (field::MEMBER, Value::text("Done"))];
        let Received::Signal(signal) = decode(&message(SIGNAL, &signal, &[Value::U32(1)])).unwrap() else {
            panic!("not a signal")
        };
        assert_eq!((signal.member.as_str(), signal.body), ("Done", vec![Value::U32(1)]));
    }

    #[test]
    fn a_body_of_types_that_are_not_known_here_is_passed_over() {
        let mut bytes = message(METHOD_RETURN, &[(field::REPLY_SERIAL, Value::U32(7))], &[Value::text("x")]);
        let signature = bytes.windows(3).position(|three| three == [1, b's', 0]).unwrap();
        bytes[signature + 1] = b'd';
        assert_eq!(decode(&bytes).unwrap(), Received::Reply(7, vec![]));
    }

    proptest! {
        #[test]
        fn whatever_comes_is_understood_or_refused(mut bytes in prop::collection::vec(any::<u8>(), FIXED..200)) {
            bytes[0] = b'l';
            bytes[3] = 1;
            let _ = length(&bytes[..FIXED]);
            let _ = decode(&bytes);
        }
    }
}
