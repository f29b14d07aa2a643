//! Reads `vectors.txt`.

const FILE: &str = include_str!("vectors.txt");

/// Addresses of one kind.
pub(crate) struct Range {
    pub(crate) name: &'static str,
    pub(crate) refused: Vec<&'static str>,
    pub(crate) public: Vec<&'static str>,
}

/// Hosts of one kind, as they stand in a URL, perhaps with a port or user info.
pub(crate) struct Hosts {
    pub(crate) name: &'static str,
    /// Reason of the violation.
    pub(crate) reason: &'static str,
    /// Words of the violation; empty if they differ.
    pub(crate) words: &'static str,
    pub(crate) hosts: Vec<String>,
}

/// Names that lead inside.
pub(crate) struct Names {
    pub(crate) addresses: Vec<&'static str>,
    pub(crate) names: Vec<&'static str>,
}

pub(crate) fn ranges() -> Vec<Range> {
    let read =
        |[name, refused, public]: [&'static str; 3]| Range { name, refused: words(refused), public: words(public) };
    section("addresses").map(read).collect()
}

pub(crate) fn hosts() -> Vec<Hosts> {
    let read = |[name, reason, words, hosts]: [&'static str; 4]| Hosts {
        name,
        reason,
        words,
        hosts: self::words(hosts).into_iter().map(unescape).collect(),
    };
    section("hosts").map(read).collect()
}

pub(crate) fn names() -> Vec<Names> {
    let read = |[_, addresses, names]: [&'static str; 3]| Names { addresses: words(addresses), names: words(names) };
    section("names").map(read).collect()
}

/// The address as it stands in a URL.
pub(crate) fn in_url(address: &str) -> String {
    if address.contains(':') { format!("[{address}]") } else { address.to_owned() }
}

fn section<const COLUMNS: usize>(name: &str) -> impl Iterator<Item = [&'static str; COLUMNS]> {
    let lines = FILE.lines().map(str::trim).skip_while(move |line| *line != format!("[{name}]")).skip(1);
    lines.take_while(|line| !line.starts_with('[')).filter(|line| !line.is_empty() && !line.starts_with('#')).map(
        |line| {
            let columns: Vec<_> = line.split('|').map(str::trim).collect();
            columns.try_into().unwrap_or_else(|_| panic!("another number of columns: {line}"))
        },
    )
}

fn words(text: &'static str) -> Vec<&'static str> {
    text.split(' ').filter(|word| !word.is_empty()).collect()
}

fn unescape(word: &str) -> String {
    let mut parts = word.split("\\u{");
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (code, rest) = part.split_once('}').unwrap();
        text.push(u32::from_str_radix(code, 16).ok().and_then(char::from_u32).unwrap());
        text.push_str(rest);
    }
    text
}
