//! Header fields in HTTP/2's form (RFC 7541), as far as gRPC needs it.
//!
//! What is sent goes uncompressed. What comes names no entry of a table that fields are remembered in, since the settings allow it
//! no bytes; the fixed table has nothing that is of interest here, so what refers to it is passed over.

/// Letters by the bits of their codes (appendix B), those that a status of gRPC can have: its messages are printable ASCII. Codes are
/// given in this order, each the one before plus one, with zeros behind it where it is longer.
const LETTERS: [(u32, &str); 11] = [
    (5, "012aceiost"),
    (6, " %-./3456789=A_bdfghlmnpru"),
    (7, ":BCDEFGHIJKLMNOPQRSTUVWYjkqvwxyz"),
    (8, "&*,;XZ"),
    (10, "!\"()?"),
    (11, "'+|"),
    (12, "#>"),
    (13, "\0$@[]~"),
    (14, "^}"),
    (15, "<`{"),
    (19, "\\"),
];

/// Names and values.
pub(crate) type Fields = Vec<(String, String)>;

/// Fields as a block of headers, each written out.
pub(crate) fn encode(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            // The first octet holds lengths below 127.
            block.push(u8::try_from(text.len()).ok().filter(|length| *length < 127).expect("a short field"));
            block.extend(text.as_bytes());
        }
    }
    block
}

/// The fields of a block that are written out, names included.
pub(crate) fn decode(block: &[u8]) -> Option<Fields> {
    let mut rest = block;
    let mut fields = Vec::new();
    while let Some(first) = rest.first() {
        match first {
            // Both from a table.
            0x80.. => drop(integer(&mut rest, 7)?),
            // A new size of the table that remembers.
            0x20..0x40 => drop(integer(&mut rest, 5)?),
            _ => {
                let bits = if first & 0x40 == 0 { 4 } else { 6 };
                let name = match integer(&mut rest, bits)? {
                    0 => Some(string(&mut rest)?),
                    _ => None,
                };
                let value = string(&mut rest)?;
                fields.extend(name.map(|name| (name, value)));
            }
        }
    }
    Some(fields)
}

/// A number in the last bits of an octet and, where they do not do, in those behind it.
fn integer(rest: &mut &[u8], bits: u32) -> Option<usize> {
    let (first, mut tail) = rest.split_first()?;
    let most = (1 << bits) - 1;
    let mut value = usize::from(*first) & most;
    if value == most {
        for shift in (0..28).step_by(7) {
            let (octet, behind) = tail.split_first()?;
            tail = behind;
            value += usize::from(octet & 0x7f) << shift;
            if octet & 0x80 == 0 {
                break;
            }
        }
    }
    *rest = tail;
    Some(value)
}

fn string(rest: &mut &[u8]) -> Option<String> {
    let is_coded = rest.first()? & 0x80 != 0;
    let length = integer(rest, 7)?;
    let (octets, tail) = rest.split_at_checked(length)?;
    *rest = tail;
    if is_coded { Some(letters(octets)) } else { String::from_utf8(octets.to_vec()).ok() }
}

/// The letters of a string in Huffman's code. What fills its last octet, and a letter of none of the codes above, end it.
fn letters(octets: &[u8]) -> String {
    let mut bits = octets.iter().flat_map(|octet| (0..8).rev().map(move |bit| u32::from(octet >> bit & 1)));
    let mut text = String::new();
    while let Some(letter) = letter(&mut bits) {
        text.push(letter);
    }
    text
}

fn letter(bits: &mut impl Iterator<Item = u32>) -> Option<char> {
    let (mut code, mut length, mut first) = (0, 0, 0);
    for (its_length, letters) in LETTERS {
        while length < its_length {
            code = code << 1 | bits.next()?;
            first <<= 1;
            length += 1;
        }
        let count = u32::try_from(letters.len()).ok()?;
        if code < first + count {
            return letters.chars().nth(usize::try_from(code - first).ok()?);
        }
        first += count;
    }
    None
}
