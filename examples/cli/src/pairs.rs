//! Pair lists: which two pictures show the same person, which do not.

use std::fmt;

/// The most pairs a list may have: beyond it the scores no longer fit a small machine's memory.
pub const MAX_PAIRS: usize = 2_000_000;

/// Two pictures, as indices into [`PairList::pictures`], and whether they show one person.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pair {
    /// First picture.
    pub a: usize,
    /// Second picture.
    pub b: usize,
    /// Whether both show the same person.
    pub same: bool,
}

/// A parsed list; every picture is named once.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PairList {
    /// Names of the pictures in order of first mention.
    pub pictures: Vec<String>,
    /// The pairs in order of the list.
    pub pairs: Vec<Pair>,
}

/// Where and why a list is not a pair list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParseError {
    /// Line, counted from one.
    pub line: usize,
    /// The cause.
    pub cause: &'static str,
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.cause)
    }
}

impl std::error::Error for ParseError {}

impl PairList {
    /// Reads lines `FIRST SECOND 1|0`; fields are separated by tabs where a line has any, else by blanks. Empty lines and
    /// lines that begin with `#` are skipped.
    ///
    /// # Errors
    /// The first line that is something else, or the lack of any pair.
    pub fn parse(text: &str) -> Result<PairList, ParseError> {
        let mut list = PairList::default();
        let mut known = std::collections::HashMap::new();
        for (i, line) in text.lines().enumerate() {
            let err = |cause| Err(ParseError { line: i + 1, cause });
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let fields: Vec<&str> = if line.contains('\t') {
                line.split('\t').map(str::trim).collect()
            } else {
                line.split_whitespace().collect()
            };
            let &[a, b, same] = &fields[..] else {
                return err("expected FIRST SECOND 1|0");
            };
            let same = match same {
                "1" => true,
                "0" => false,
                _ => return err("the third field is not 1 (same person) or 0"),
            };
            if list.pairs.len() == MAX_PAIRS {
                return err("more than 2,000,000 pairs");
            }
            let mut index = |name: &str| {
                *known.entry(name.to_owned()).or_insert_with(|| {
                    list.pictures.push(name.to_owned());
                    list.pictures.len() - 1
                })
            };
            let (a, b) = (index(a), index(b));
            list.pairs.push(Pair { a, b, same });
        }
        if list.pairs.is_empty() {
            return Err(ParseError {
                line: text.lines().count().max(1),
                cause: "no pair in the list",
            });
        }
        Ok(list)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_are_named_once() {
        let list = PairList::parse("# c\na.jpg b.jpg 1\n\n b.jpg  c.jpg 0\n").unwrap();
        assert_eq!(list.pictures, ["a.jpg", "b.jpg", "c.jpg"]);
        assert_eq!(list.pairs, [Pair { a: 0, b: 1, same: true }, Pair { a: 1, b: 2, same: false }]);
    }

    #[test]
    fn tabs_allow_blanks_in_names() {
        let list = PairList::parse("a b.jpg\tc d.jpg\t0").unwrap();
        assert_eq!(list.pictures, ["a b.jpg", "c d.jpg"]);
    }

    #[test]
    fn the_bad_line_is_named() {
        for (text, line) in
            [("a b 1\na b", 2), ("a b 2", 1), ("\n\na b c 1", 3), ("", 1), ("# x", 1)]
        {
            assert_eq!(PairList::parse(text).unwrap_err().line, line, "{text:?}");
        }
    }
}
