//! Values as bytes (D-Bus specification, "Marshaling").

use crate::value::{DEEPEST, alignment, split_signature};
use crate::{Error, Result, Value};

/// The specification's limit for one array, in bytes.
const LONGEST_ARRAY: usize = 1 << 26;

/// Bytes in the making; always little endian.
#[derive(Debug, Default)]
pub(crate) struct Writer {
    pub(crate) bytes: Vec<u8>,
}

impl Writer {
    pub(crate) fn align(&mut self, boundary: usize) {
        self.bytes.resize(self.bytes.len().next_multiple_of(boundary), 0);
    }

    pub(crate) fn u32(&mut self, number: u32) {
        self.align(4);
        self.bytes.extend(number.to_le_bytes());
    }

    pub(crate) fn value(&mut self, value: &Value) -> Result<()> {
        match value {
            Value::Byte(byte) => self.bytes.push(*byte),
            Value::Bool(yes) => self.u32((*yes).into()),
            Value::I32(number) => self.u32(number.cast_unsigned()),
            Value::U32(number) => self.u32(*number),
            Value::U64(number) => {
                self.align(8);
                self.bytes.extend(number.to_le_bytes());
            }
            Value::Text(text) | Value::Path(text) => {
                self.u32(length(text.len())?);
                self.text(text)?;
            }
            Value::Signature(text) => self.signature(text)?,
            Value::Array(element, values) => self.array(element, values)?,
            Value::Struct(fields) => {
                self.align(8);
                fields.iter().try_for_each(|field| self.value(field))?;
            }
            Value::Variant(inner) => {
                self.signature(&inner.signature())?;
                self.value(inner)?;
            }
        }
        Ok(())
    }

    fn text(&mut self, text: &str) -> Result<()> {
        if text.contains('\0') {
            return Err(Error::Unsayable("a text with a NUL in it"));
        }
        self.bytes.extend(text.as_bytes());
        self.bytes.push(0);
        Ok(())
    }

    fn signature(&mut self, signature: &str) -> Result<()> {
        let length = u8::try_from(signature.len()).map_err(|_| Error::Unsayable("a type this long"))?;
        self.bytes.push(length);
        self.text(signature)
    }

    fn array(&mut self, element: &str, values: &[Value]) -> Result<()> {
        self.u32(0);
        let length_at = self.bytes.len() - 4;
        // What fills the gap before the first element does not count.
        self.align(alignment(element));
        let start = self.bytes.len();
        values.iter().try_for_each(|value| self.value(value))?;
        let length = length(self.bytes.len() - start)?;
        self.bytes[length_at..length_at + 4].copy_from_slice(&length.to_le_bytes());
        Ok(())
    }
}

fn length(length: usize) -> Result<u32> {
    if length > LONGEST_ARRAY {
        return Err(Error::Unsayable("anything this long"));
    }
    u32::try_from(length).map_err(|_| Error::Unsayable("anything this long"))
}

/// Bytes that were received.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) at: usize,
    pub(crate) is_big_endian: bool,
}

impl<'a> Reader<'a> {
    /// All values of a signature.
    pub(crate) fn values(&mut self, mut signature: &str) -> Result<Vec<Value>> {
        let mut values = Vec::new();
        while !signature.is_empty() {
            let (first, rest) = split_signature(signature)?;
            values.push(self.value(first, 0)?);
            signature = rest;
        }
        Ok(values)
    }

    pub(crate) fn u32(&mut self) -> Result<u32> {
        self.align(4)?;
        let bytes = self.take(4)?.try_into().map_err(|_| SHORT)?;
        Ok(if self.is_big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) })
    }

    fn value(&mut self, signature: &str, depth: usize) -> Result<Value> {
        if depth > DEEPEST {
            return Err(Error::Malformed("nested too deeply"));
        }
        Ok(match signature.as_bytes()[0] {
            b'y' => Value::Byte(self.byte()?),
            b'b' => Value::Bool(self.u32()? != 0),
            b'i' => Value::I32(self.u32()?.cast_signed()),
            b'u' => Value::U32(self.u32()?),
            b't' => Value::U64(self.u64()?),
            b's' => Value::Text(self.text()?),
            b'o' => Value::Path(self.text()?),
            b'g' => Value::Signature(self.signature()?),
            b'a' => self.array(&signature[1..], depth)?,
            b'(' => {
                self.align(8)?;
                let mut fields = Vec::new();
                let mut rest = &signature[1..signature.len() - 1];
                while !rest.is_empty() {
                    let (field, after) = split_signature(rest)?;
                    fields.push(self.value(field, depth + 1)?);
                    rest = after;
                }
                Value::Struct(fields)
            }
            _ => {
                let signature = self.signature()?;
                let (only, rest) = split_signature(&signature)?;
                if !rest.is_empty() {
                    return Err(Error::Malformed("a variant of several types"));
                }
                self.value(only, depth + 1)?.variant()
            }
        })
    }

    fn array(&mut self, element: &str, depth: usize) -> Result<Value> {
        let length = self.u32()? as usize;
        self.align(alignment(element))?;
        let end = self.at.checked_add(length).filter(|end| *end <= self.bytes.len()).ok_or(SHORT)?;
        let mut values = Vec::new();
        while self.at < end {
            values.push(self.value(element, depth + 1)?);
        }
        if self.at != end {
            return Err(Error::Malformed("an array that ends in the middle of an element"));
        }
        Ok(Value::Array(element.to_owned(), values))
    }

    fn text(&mut self) -> Result<String> {
        let length = self.u32()? as usize;
        self.text_of(length)
    }

    fn signature(&mut self) -> Result<String> {
        let length = self.byte()?.into();
        self.text_of(length)
    }

    fn text_of(&mut self, length: usize) -> Result<String> {
        let text = self.take(length)?;
        let text = str::from_utf8(text).map_err(|_| Error::Malformed("a text that is not UTF-8"))?;
        if self.byte()? != 0 || text.contains('\0') {
            return Err(Error::Malformed("a text that does not end in its NUL"));
        }
        Ok(text.to_owned())
    }

    fn byte(&mut self) -> Result<u8> {
        Ok(self.take(1)?[0])
    }

    fn u64(&mut self) -> Result<u64> {
        self.align(8)?;
        let bytes = self.take(8)?.try_into().map_err(|_| SHORT)?;
        Ok(if self.is_big_endian { u64::from_be_bytes(bytes) } else { u64::from_le_bytes(bytes) })
    }

    pub(crate) fn align(&mut self, boundary: usize) -> Result<()> {
        let padding = self.at.next_multiple_of(boundary) - self.at;
        self.take(padding).map(drop)
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8]> {
        let end = self.at.checked_add(length).ok_or(SHORT)?;
        let bytes = self.bytes.get(self.at..end).ok_or(SHORT)?;
        self.at = end;
        Ok(bytes)
    }
}

const SHORT: Error = Error::Malformed("it ends too soon");

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_value() -> impl Strategy<Value = Value> {
        let text = "[^\0]{0,12}";
        let leaf = prop_oneof![
            any::<u8>().prop_map(Value::Byte),
            any::<bool>().prop_map(Value::Bool),
            any::<i32>().prop_map(Value::I32),
            any::<u32>().prop_map(Value::U32),
            any::<u64>().prop_map(Value::U64),
            text.prop_map(Value::Text),
            text.prop_map(Value::Path),
            "(a[stu]|\\(sv\\))*".prop_map(Value::Signature),
            prop::collection::vec(any::<u64>().prop_map(Value::U64), 0..4)
                .prop_map(|list| Value::Array("t".into(), list)),
        ];
        leaf.prop_recursive(4, 24, 4, |inner| {
            prop_oneof![
                inner.clone().prop_map(Value::variant),
                prop::collection::vec(inner.clone(), 1..4).prop_map(Value::Struct),
                prop::collection::vec(inner.prop_map(Value::variant), 0..4)
                    .prop_map(|list| Value::Array("v".into(), list)),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(values in prop::collection::vec(any_value(), 0..5)) {
            let mut writer = Writer::default();
            for value in &values {
                writer.value(value).unwrap();
            }
            let signature: String = values.iter().map(Value::signature).collect();
            let mut reader = Reader { bytes: &writer.bytes, at: 0, is_big_endian: false };
            prop_assert_eq!(reader.values(&signature).unwrap(), values);
            prop_assert_eq!(reader.at, writer.bytes.len());
        }

        #[test]
        fn whatever_comes_is_read_or_refused(
            bytes in prop::collection::vec(any::<u8>(), 0..200),
            signature in "[ybiutsogva()]{0,8}",
            is_big_endian: bool,
        ) {
            let _ = Reader { bytes: &bytes, at: 0, is_big_endian }.values(&signature);
        }
    }

    #[test]
    fn the_bytes_are_those_of_the_specification() {
        let mut writer = Writer::default();
        writer.value(&Value::Byte(7)).unwrap();
        writer.value(&Value::Array("t".into(), vec![Value::U64(5)])).unwrap();
        assert_eq!(writer.bytes, [7, 0, 0, 0, 8, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0]);
        let mut writer = Writer::default();
        writer.value(&Value::text("ab").variant()).unwrap();
        assert_eq!(writer.bytes, [1, b's', 0, 0, 2, 0, 0, 0, b'a', b'b', 0]);
    }

    #[test]
    fn a_nul_cannot_be_said() {
        assert!(matches!(Writer::default().value(&Value::text("a\0b")), Err(Error::Unsayable(_))));
    }
}
