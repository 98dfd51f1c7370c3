//! The values that messages are made of.

use crate::{Error, Result};

/// A value with its type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// `y`.
    Byte(u8),
    /// `b`.
    Bool(bool),
    /// `i`.
    I32(i32),
    /// `u`.
    U32(u32),
    /// `t`.
    U64(u64),
    /// `s`.
    Text(String),
    /// `o`, the path of an object.
    Path(String),
    /// `g`, a list of types.
    Signature(String),
    /// `a`: the type of the elements, which an empty array has too, and the elements.
    Array(String, Vec<Self>),
    /// `(...)`.
    Struct(Vec<Self>),
    /// `v`: a value that brings its type along.
    Variant(Box<Self>),
}

impl Value {
    /// A text.
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    /// An array of texts.
    pub fn texts<T: Into<String>>(texts: impl IntoIterator<Item = T>) -> Self {
        Self::Array("s".to_owned(), texts.into_iter().map(Self::text).collect())
    }

    /// An array of bytes.
    pub fn bytes(bytes: impl IntoIterator<Item = u8>) -> Self {
        Self::Array("y".to_owned(), bytes.into_iter().map(Self::Byte).collect())
    }

    /// The value as a variant.
    pub fn variant(self) -> Self {
        Self::Variant(Box::new(self))
    }

    /// Its type.
    pub fn signature(&self) -> String {
        match self {
            Self::Byte(_) => "y".to_owned(),
            Self::Bool(_) => "b".to_owned(),
            Self::I32(_) => "i".to_owned(),
            Self::U32(_) => "u".to_owned(),
            Self::U64(_) => "t".to_owned(),
            Self::Text(_) => "s".to_owned(),
            Self::Path(_) => "o".to_owned(),
            Self::Signature(_) => "g".to_owned(),
            Self::Array(element, _) => format!("a{element}"),
            Self::Struct(fields) => format!("({})", fields.iter().map(Self::signature).collect::<String>()),
            Self::Variant(_) => "v".to_owned(),
        }
    }

    /// The text of a text, a path or a signature, also inside a variant.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) | Self::Path(text) | Self::Signature(text) => Some(text),
            Self::Variant(inner) => inner.as_text(),
            _ => None,
        }
    }
}

/// The first complete type of a signature, and the rest.
pub(crate) fn split_signature(signature: &str) -> Result<(&str, &str)> {
    let length = type_length(signature.as_bytes(), 0)?;
    signature.split_at_checked(length).ok_or(NO_TYPE)
}

/// How deep types may nest; the specification has 32 for arrays and 32 for structs.
pub(crate) const DEEPEST: usize = 64;
const NO_TYPE: Error = Error::Malformed("not a signature");

/// The boundary, in bytes, that values of a type begin at.
pub(crate) fn alignment(signature: &str) -> usize {
    match signature.as_bytes().first() {
        Some(b'b' | b'i' | b'u' | b's' | b'o' | b'a') => 4,
        Some(b't' | b'(') => 8,
        _ => 1,
    }
}

fn type_length(signature: &[u8], depth: usize) -> Result<usize> {
    match signature.first() {
        Some(b'y' | b'b' | b'i' | b'u' | b't' | b's' | b'o' | b'g' | b'v') => Ok(1),
        _ if depth == DEEPEST => Err(NO_TYPE),
        Some(b'a') => Ok(1 + type_length(&signature[1..], depth + 1)?),
        Some(b'(') => {
            let mut length = 1;
            while signature.get(length) != Some(&b')') {
                length += type_length(&signature[length..], depth + 1)?;
            }
            // An empty struct is no type.
            if length == 1 { Err(NO_TYPE) } else { Ok(length + 1) }
        }
        _ => Err(NO_TYPE),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_come_apart_type_by_type() {
        for (signature, first) in
            [("ssa(sv)", "s"), ("a(sv)a(sa(sv))", "a(sv)"), ("(ss)u", "(ss)"), ("aas", "aas"), ("v", "v")]
        {
            let (found, rest) = split_signature(signature).unwrap();
            assert_eq!((found, format!("{found}{rest}").as_str()), (first, signature));
        }
        for bad in ["", "a", "(", "()", "(s", "z", "a{sv}", &"a".repeat(100)] {
            assert!(split_signature(bad).is_err(), "{bad}");
        }
    }
}
