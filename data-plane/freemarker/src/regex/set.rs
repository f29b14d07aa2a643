//! Sets of characters.

use regex_syntax::hir::{Class, ClassUnicode, ClassUnicodeRange, HirKind};

/// A set of characters, as sorted ranges; those of ASCII are bits, too.
#[derive(Clone, Debug)]
pub(super) struct Set {
    class: ClassUnicode,
    ascii: u128,
}

impl Set {
    pub(super) fn of(ranges: impl IntoIterator<Item = (char, char)>) -> Self {
        Self::new(ClassUnicode::new(ranges.into_iter().map(|(from, to)| ClassUnicodeRange::new(from, to))))
    }

    fn new(class: ClassUnicode) -> Self {
        let mut ascii = 0;
        for range in class.iter() {
            for c in range.start()..=range.end().min('\u{7f}') {
                ascii |= 1 << u32::from(c);
            }
        }
        Set { class, ascii }
    }

    pub(super) fn empty() -> Self {
        Self::new(ClassUnicode::empty())
    }

    #[inline]
    pub(super) fn contains(&self, c: char) -> bool {
        if c.is_ascii() {
            return self.ascii >> u32::from(c) & 1 == 1;
        }
        let ranges = self.class.ranges();
        let place = ranges.partition_point(|range| range.end() < c);
        ranges.get(place).is_some_and(|range| range.start() <= c)
    }

    pub(super) fn union(mut self, other: &Set) -> Self {
        self.class.union(&other.class);
        Self::new(self.class)
    }

    pub(super) fn intersect(mut self, other: &Set) -> Self {
        self.class.intersect(&other.class);
        Self::new(self.class)
    }

    pub(super) fn negate(mut self) -> Self {
        self.class.negate();
        Self::new(self.class)
    }

    /// With the other cases of its letters: of ASCII's only, or of all.
    pub(super) fn any_case(mut self, unicode: bool) -> Self {
        if unicode {
            return match self.class.try_case_fold_simple() {
                Ok(()) => Self::new(self.class),
                Err(_) => self,
            };
        }
        let other_cases = ('A'..='Z').chain('a'..='z').filter(|c| self.contains(*c)).map(|c| {
            let other = char::from_u32(u32::from(c) ^ 0x20).unwrap_or(c);
            (other, other)
        });
        let other_cases = Set::of(other_cases.collect::<Vec<_>>());
        self.union(&other_cases)
    }

    /// How much memory it takes, in ranges.
    pub(super) fn size(&self) -> usize {
        self.class.ranges().len()
    }
}

/// Characters that end a line.
pub(super) const LINE_ENDS: [(char, char); 3] = [('\n', '\r'), ('\u{85}', '\u{85}'), ('\u{2028}', '\u{2029}')];

/// What `\d \w \s \h \v` stand for; `unicode` with the flag `U`.
pub(super) fn predefined(letter: char, unicode: bool) -> Option<Set> {
    let set = match letter.to_ascii_lowercase() {
        'd' if unicode => property("Nd")?,
        'd' => Set::of([('0', '9')]),
        'w' if unicode => by_syntax("\\w")?,
        'w' => Set::of([('0', '9'), ('A', 'Z'), ('_', '_'), ('a', 'z')]),
        's' if unicode => by_syntax("\\p{White_Space}")?,
        's' => Set::of([('\t', '\r'), (' ', ' ')]),
        'h' => Set::of([
            ('\t', '\t'),
            (' ', ' '),
            ('\u{a0}', '\u{a0}'),
            ('\u{1680}', '\u{1680}'),
            ('\u{180e}', '\u{180e}'),
            ('\u{2000}', '\u{200a}'),
            ('\u{202f}', '\u{202f}'),
            ('\u{205f}', '\u{205f}'),
            ('\u{3000}', '\u{3000}'),
        ]),
        'v' => Set::of(LINE_ENDS),
        _ => return None,
    };
    Some(if letter.is_ascii_uppercase() { set.negate() } else { set })
}

/// The characters of `\p{name}`.
pub(super) fn property(name: &str) -> Option<Set> {
    if let Some((key, value)) = name.split_once('=') {
        return match key.to_ascii_lowercase().as_str() {
            "sc" | "script" => script(value),
            "blk" | "block" => block(value),
            "gc" | "general_category" => category(value),
            _ => None,
        };
    }
    if let Some(block_name) = name.strip_prefix("In") {
        return block(block_name);
    }
    if let Some(rest) = name.strip_prefix("Is") {
        return binary(rest).or_else(|| script(rest)).or_else(|| category(rest));
    }
    posix(name).or_else(|| java(name)).or_else(|| category(name))
}

fn posix(name: &str) -> Option<Set> {
    let ranges: &[(char, char)] = match name {
        "Lower" => &[('a', 'z')],
        "Upper" => &[('A', 'Z')],
        "ASCII" => &[('\0', '\u{7f}')],
        "Alpha" => &[('A', 'Z'), ('a', 'z')],
        "Digit" => &[('0', '9')],
        "Alnum" => &[('0', '9'), ('A', 'Z'), ('a', 'z')],
        "Punct" => &[('!', '/'), (':', '@'), ('[', '`'), ('{', '~')],
        "Graph" => &[('!', '~')],
        "Print" => &[(' ', '~')],
        "Blank" => &[('\t', '\t'), (' ', ' ')],
        "Cntrl" => &[('\0', '\u{1f}'), ('\u{7f}', '\u{7f}')],
        "XDigit" => &[('0', '9'), ('A', 'F'), ('a', 'f')],
        "Space" => &[('\t', '\r'), (' ', ' ')],
        "L1" => &[('\0', '\u{ff}')],
        "all" => &[('\0', char::MAX)],
        _ => return None,
    };
    Some(Set::of(ranges.iter().copied()))
}

/// `\p{javaLowerCase}` and its like.
fn java(name: &str) -> Option<Set> {
    by_syntax(match name.strip_prefix("java")? {
        "LowerCase" => "\\p{Lowercase}",
        "UpperCase" => "\\p{Uppercase}",
        "Alphabetic" => "\\p{Alphabetic}",
        "Ideographic" => "\\p{Ideographic}",
        "TitleCase" => "\\p{Lt}",
        "Digit" => "\\p{Nd}",
        "Defined" => "\\P{Cn}",
        "Letter" => "\\p{L}",
        "LetterOrDigit" => "[\\p{L}\\p{Nd}]",
        "SpaceChar" => "\\p{Z}",
        "Whitespace" => "[[\\p{Z}--[\\xA0\\u2007\\u202F]]\\t-\\r\\x1C-\\x1F]",
        "ISOControl" => "[\\x00-\\x1F\\x7F-\\x9F]",
        "Mirrored" => return None,
        _ => return None,
    })
}

fn binary(name: &str) -> Option<Set> {
    by_syntax(match name.to_ascii_lowercase().as_str() {
        "alphabetic" => "\\p{Alphabetic}",
        "ideographic" => "\\p{Ideographic}",
        "letter" => "\\p{L}",
        "lowercase" => "\\p{Lowercase}",
        "uppercase" => "\\p{Uppercase}",
        "titlecase" => "\\p{Lt}",
        "punctuation" => "\\p{P}",
        "control" => "\\p{Cc}",
        "white_space" => "\\p{White_Space}",
        "digit" => "\\p{Nd}",
        "hex_digit" => "\\p{Hex_Digit}",
        "assigned" => "\\P{Cn}",
        "noncharacter_code_point" => "\\p{Noncharacter_Code_Point}",
        _ => return None,
    })
}

fn category(name: &str) -> Option<Set> {
    const CATEGORIES: &str = " L Lu Ll Lt Lm Lo M Mn Me Mc N Nd Nl No Z Zs Zl Zp C Cc Cf Co Cs Cn P Pd Ps Pe Pc Po Pi Pf \
                              S Sm Sc Sk So ";
    match name {
        "LC" => by_syntax("[\\p{Lu}\\p{Ll}\\p{Lt}]"),
        "LD" => by_syntax("[\\p{L}\\p{Nd}]"),
        // no string of this engine has surrogates
        "Cs" => Some(Set::empty()),
        _ if name.is_empty() || name.contains(' ') || !CATEGORIES.contains(&format!(" {name} ")) => None,
        _ => by_syntax(&format!("\\p{{{name}}}")),
    }
}

fn script(name: &str) -> Option<Set> {
    let plain = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphabetic() || b == b'_');
    plain.then(|| by_syntax(&format!("\\p{{Script={name}}}"))).flatten()
}

/// The blocks that people name; spaces, hyphens, underscores and case do not count.
fn block(name: &str) -> Option<Set> {
    let plain: String =
        name.chars().filter(|c| !matches!(c, ' ' | '-' | '_')).map(|c| c.to_ascii_lowercase()).collect();
    let (from, to) = match plain.as_str() {
        "basiclatin" => ('\0', '\u{7f}'),
        "latin1supplement" => ('\u{80}', '\u{ff}'),
        "latinextendeda" => ('\u{100}', '\u{17f}'),
        "latinextendedb" => ('\u{180}', '\u{24f}'),
        "ipaextensions" => ('\u{250}', '\u{2af}'),
        "spacingmodifierletters" => ('\u{2b0}', '\u{2ff}'),
        "combiningdiacriticalmarks" => ('\u{300}', '\u{36f}'),
        "greek" | "greekandcoptic" => ('\u{370}', '\u{3ff}'),
        "cyrillic" => ('\u{400}', '\u{4ff}'),
        "armenian" => ('\u{530}', '\u{58f}'),
        "hebrew" => ('\u{590}', '\u{5ff}'),
        "arabic" => ('\u{600}', '\u{6ff}'),
        "devanagari" => ('\u{900}', '\u{97f}'),
        "thai" => ('\u{e00}', '\u{e7f}'),
        "hanguljamo" => ('\u{1100}', '\u{11ff}'),
        "latinextendedadditional" => ('\u{1e00}', '\u{1eff}'),
        "greekextended" => ('\u{1f00}', '\u{1fff}'),
        "generalpunctuation" => ('\u{2000}', '\u{206f}'),
        "superscriptsandsubscripts" => ('\u{2070}', '\u{209f}'),
        "currencysymbols" => ('\u{20a0}', '\u{20cf}'),
        "letterlikesymbols" => ('\u{2100}', '\u{214f}'),
        "numberforms" => ('\u{2150}', '\u{218f}'),
        "arrows" => ('\u{2190}', '\u{21ff}'),
        "mathematicaloperators" => ('\u{2200}', '\u{22ff}'),
        "boxdrawing" => ('\u{2500}', '\u{257f}'),
        "miscellaneoussymbols" => ('\u{2600}', '\u{26ff}'),
        "dingbats" => ('\u{2700}', '\u{27bf}'),
        "cjksymbolsandpunctuation" => ('\u{3000}', '\u{303f}'),
        "hiragana" => ('\u{3040}', '\u{309f}'),
        "katakana" => ('\u{30a0}', '\u{30ff}'),
        "cjkunifiedideographs" => ('\u{4e00}', '\u{9fff}'),
        "hangulsyllables" => ('\u{ac00}', '\u{d7af}'),
        "halfwidthandfullwidthforms" => ('\u{ff00}', '\u{ffef}'),
        "emoticons" => ('\u{1f600}', '\u{1f64f}'),
        _ => return None,
    };
    Some(Set::of([(from, to)]))
}

/// A class that Rust's syntax has, too.
fn by_syntax(class: &str) -> Option<Set> {
    let hir = regex_syntax::Parser::new().parse(class).ok()?;
    match hir.into_kind() {
        HirKind::Class(Class::Unicode(class)) => Some(Set::new(class)),
        // a class of one character
        HirKind::Literal(literal) => {
            let c = std::str::from_utf8(&literal.0).ok()?.chars().next()?;
            Some(Set::of([(c, c)]))
        }
        _ => None,
    }
}
