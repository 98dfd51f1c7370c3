//! Texts with gaps: `Can't dump ghost file {path} of {size} size`.

/// A text in which a word in braces stands for anything; `{}` is a gap without a name.
pub(crate) struct Pattern(pub(crate) &'static str);

/// What stood in a pattern's gaps, by their names.
pub(crate) type Words<'a> = Vec<(&'static str, &'a str)>;

impl Pattern {
    /// What stands in the gaps of `text`; None when it does not fit. It need not begin or end with the pattern.
    ///
    /// The first gap takes as much as it can, since what CRIU prints first is the path, which a container's owner has chosen: were
    /// it the least, a file called `x of 7` could say what the other words are.
    pub(crate) fn find<'a>(&self, text: &'a str) -> Option<Words<'a>> {
        let (head, gaps) = self.parts();
        let start = text.find(head)? + head.len();
        let mut end = text.len();
        let mut literals = Vec::with_capacity(gaps.len());
        for (_, literal) in gaps.iter().rev() {
            let rest = &text[start..end];
            let at = if literal.is_empty() { rest.len() } else { rest.rfind(literal)? };
            end = start + at;
            literals.push(end..end + literal.len());
        }
        let mut from = start;
        let words = gaps.into_iter().zip(literals.into_iter().rev()).map(|((name, _), literal)| {
            let word = &text[from..literal.start];
            from = literal.end;
            (name, word)
        });
        Some(words.collect())
    }

    /// The text before the first gap, and each gap with the text behind it.
    fn parts(&self) -> (&'static str, Vec<(&'static str, &'static str)>) {
        let mut pieces = self.0.split('{');
        let head = pieces.next().unwrap_or_default();
        (head, pieces.map(|piece| piece.split_once('}').unwrap_or_default()).collect())
    }
}

/// A template with the words where it names them.
pub(crate) fn fill(template: &str, words: &Words<'_>) -> String {
    let mut pieces = template.split('{');
    let mut text = pieces.next().unwrap_or_default().to_owned();
    for (name, rest) in pieces.filter_map(|piece| piece.split_once('}')) {
        text.extend(words.iter().find(|(of, _)| *of == name).map(|(_, word)| *word));
        text.push_str(rest);
    }
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    const GHOST: Pattern = Pattern("Can't dump ghost file {path} of {size} size");

    #[test]
    fn words_stand_in_their_gaps() {
        let words = GHOST.find("files: Can't dump ghost file /a b of 7 size, increase limit").unwrap();
        assert_eq!(words, [("path", "/a b"), ("size", "7")]);
        assert_eq!(fill("{path} has {size}{none}", &words), "/a b has 7");
        assert_eq!(GHOST.find("Can't dump ghost file /a of 7"), None);
        assert_eq!(Pattern("no gap").find("there is no gap here"), Some(Vec::new()));
        assert_eq!(Pattern("to the {end}").find("to the last word"), Some(vec![("end", "last word")]));
    }

    #[test]
    fn a_file_s_name_cannot_say_what_the_other_words_are() {
        let words = GHOST.find("Can't dump ghost file /x of 1 size of 7 size, increase limit").unwrap();
        assert_eq!(words, [("path", "/x of 1 size"), ("size", "7")]);
        assert_eq!(fill("{path}", &vec![("path", "{size}"), ("size", "7")]), "{size}");
    }

    proptest! {
        #[test]
        fn what_is_filled_in_is_found(path in "[^{}]{0,30}", size in "[0-9]{1,9}") {
            let text = fill(GHOST.0, &vec![("path", &path), ("size", &size)]);
            prop_assert_eq!(GHOST.find(&text).unwrap(), vec![("path", path.as_str()), ("size", size.as_str())]);
        }

        #[test]
        fn any_text_is_looked_at_without_panic(text in any::<String>()) {
            for rule in crate::rules::RULES {
                let _ = rule.pattern.find(&text);
            }
        }
    }
}
