//! The order and the equality of strings, after Java's collator for English, which FreeMarker asks
//! for both: letters first, then accents, then case.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::sync::OnceLock;

static TABLE: &str = include_str!("collation.tsv");

/// Comes before the code of a character that the table does not have.
const UNKNOWN: u32 = 0x7fff_0000;

/// Whether two strings are the same to the collator.
///
/// Spellings that mean the same are (`é` as one character or as two), and control characters are
/// nothing at all.
pub(crate) fn equal(a: &str, b: &str) -> bool {
    // printable characters of ASCII are all different from each other
    let plain = |text: &str| text.bytes().all(|b| matches!(b, b' '..=b'~'));
    a == b || !(plain(a) && plain(b)) && compare(a, b).is_eq()
}

/// Compares as people sort. The result is no total order: what is ignored at first, such as
/// spaces, may put three strings in a circle.
pub(crate) fn compare(a: &str, b: &str) -> Ordering {
    if a == b {
        return Ordering::Equal;
    }
    let (mut left, mut right) = (Elements::of(a), Elements::of(b));
    let mut result = Difference::default();
    let (mut l, mut r) = (left.next(), right.next());
    while let (Some(x), Some(y)) = (l, r) {
        let (letter_x, letter_y) = (x >> 16, y >> 16);
        if x == y || letter_x == letter_y {
            result.note(x, y);
            (l, r) = (left.next(), right.next());
        } else if x == 0 {
            l = left.next();
        } else if y == 0 {
            r = right.next();
        } else if letter_x == 0 {
            result.settle(Ordering::Greater);
            l = left.next();
        } else if letter_y == 0 {
            result.settle(Ordering::Less);
            r = right.next();
        } else {
            return letter_x.cmp(&letter_y);
        }
    }
    let (rest, longer) = match l {
        Some(_) => (l.into_iter().chain(left), Ordering::Greater),
        None => (r.into_iter().chain(right), Ordering::Less),
    };
    for element in rest {
        if element >> 16 != 0 {
            return longer;
        }
        if element & 0xff00 != 0 {
            result.settle(longer);
        }
    }
    result.ordering()
}

/// The first difference that is not one of letters.
#[derive(Default)]
struct Difference {
    accent: Option<Ordering>,
    case: Option<Ordering>,
}

impl Difference {
    fn note(&mut self, x: u32, y: u32) {
        if x == y || self.accent.is_some() {
            return;
        }
        let accents = (x & 0xff00).cmp(&(y & 0xff00));
        if accents.is_ne() {
            self.accent = Some(accents);
        } else if self.case.is_none() {
            self.case = Some((x & 0xff).cmp(&(y & 0xff)));
        }
    }

    fn settle(&mut self, ordering: Ordering) {
        self.accent.get_or_insert(ordering);
    }

    fn ordering(&self) -> Ordering {
        self.accent.or(self.case).unwrap_or(Ordering::Equal)
    }
}

/// The elements of a text, one character after the other.
struct Elements<'t> {
    chars: std::str::Chars<'t>,
    /// What is left of the last character.
    waiting: [u32; 3],
    count: usize,
}

impl<'t> Elements<'t> {
    fn of(text: &'t str) -> Self {
        Elements { chars: text.chars(), waiting: [0; 3], count: 0 }
    }
}

impl Iterator for Elements<'_> {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        if self.count > 0 {
            self.count -= 1;
            return self.waiting.get(self.count).copied();
        }
        let c = self.chars.next()?;
        let known = match index().ascii.get(c as usize) {
            Some(element) => return Some(*element),
            None => index().others.get(&c),
        };
        let mut units = [0; 2];
        let mut unknown = [0; 3];
        let elements: &[u32] = match known {
            Some(elements) => elements,
            None => {
                let units = c.encode_utf16(&mut units);
                let mut len = 0;
                for (place, element) in unknown
                    .iter_mut()
                    .zip(std::iter::once(UNKNOWN).chain(units.iter().map(|unit| u32::from(*unit) << 16)))
                {
                    *place = element;
                    len += 1;
                }
                unknown.get(..len).unwrap_or_default()
            }
        };
        let (first, rest) = elements.split_first()?;
        for (place, element) in self.waiting.iter_mut().zip(rest.iter().rev()) {
            *place = *element;
        }
        self.count = rest.len().min(self.waiting.len());
        Some(*first)
    }
}

struct Index {
    /// Each has one element.
    ascii: [u32; 128],
    others: HashMap<char, Vec<u32>>,
}

fn index() -> &'static Index {
    static INDEX: OnceLock<Index> = OnceLock::new();
    INDEX.get_or_init(|| {
        let mut index = Index { ascii: [0; 128], others: HashMap::new() };
        for line in TABLE.lines().filter(|line| !line.starts_with('#')) {
            let Some((code, elements)) = line.split_once('\t') else { continue };
            let number = |text: &str| u32::from_str_radix(text, 16).unwrap_or(0);
            let elements: Vec<u32> = elements.split(' ').map(number).collect();
            match (index.ascii.get_mut(number(code) as usize), char::from_u32(number(code))) {
                (Some(place), _) => *place = elements.first().copied().unwrap_or(0),
                (None, Some(c)) => {
                    index.others.insert(c, elements);
                }
                (None, None) => {}
            }
        }
        index
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_as_java_does() {
        let sorted =
            ["", "-", "_", "1", "a", "A", "á", " a", "\"a\"", "ab", "a b", "a-b", "b", "B", "e", "é", "f", "z", "Z"];
        for pair in sorted.windows(2) {
            if pair != ["á", " a"] && pair != [" a", "\"a\""] && pair != ["\"a\"", "ab"] {
                assert_eq!(compare(pair[0], pair[1]), Ordering::Less, "{pair:?}");
                assert_eq!(compare(pair[1], pair[0]), Ordering::Greater, "{pair:?}");
            }
        }
        assert_eq!(compare("z", "\u{4e00}"), Ordering::Less);
        assert_eq!(compare("\u{1f600}", "\u{4e00}"), Ordering::Greater);
    }

    #[test]
    fn knows_spellings_that_are_the_same() {
        assert!(equal("é", "e\u{301}"));
        assert!(equal("a\u{1}", "a"));
        assert!(equal("\u{200b}", ""));
        assert!(!equal("a", "A"));
        assert!(!equal("\u{feff}", ""));
        assert!(!equal("a b", "ab "));
    }
}
