//! The order in which a hash table of Java gives its entries, which templates can see.

/// Puts entries into that order. Those that share a place in the table stay in theirs.
pub(crate) fn arrange<T>(entries: &mut [T], name: impl Fn(&T) -> &str) {
    // a table has 16 places, and twice as many whenever it gets too full
    let mut places: usize = 16;
    while entries.len() * 4 > places * 3 {
        places *= 2;
    }
    entries.sort_by_cached_key(|entry| {
        let units = name(entry).encode_utf16();
        let hash = units.fold(0u32, |hash, unit| hash.wrapping_mul(31).wrapping_add(u32::from(unit)));
        (hash ^ hash >> 16) as usize & (places - 1)
    });
}

#[cfg(test)]
mod tests {
    use super::arrange;

    #[test]
    fn goes_by_hash_codes() {
        let mut names = ["s2", "x", "b", "a"];
        arrange(&mut names, |name| name);
        assert_eq!(names, ["a", "b", "x", "s2"]);
    }
}
