//! Lists of templates in settings: `a.ftl, "b c.ftl"` and `a.ftl as a, b.ftl as b`.

/// Reads a list of names.
pub(super) fn names(value: &str) -> Option<Vec<String>> {
    items(value)?.into_iter().map(|words| single(&words)).collect()
}

/// Reads a list of `name as variable`.
pub(super) fn imports(value: &str) -> Option<Vec<(String, String)>> {
    items(value)?
        .into_iter()
        .map(|words| match words.as_slice() {
            [name, word, variable] if word == "as" => Some((name.clone(), variable.clone())),
            _ => None,
        })
        .collect()
}

fn single(words: &[String]) -> Option<String> {
    match words {
        [word] => Some(word.clone()),
        _ => None,
    }
}

/// The items of a list, each as its words.
fn items(value: &str) -> Option<Vec<Vec<String>>> {
    let mut items = vec![Vec::new()];
    let mut rest = value.trim_start();
    while let Some(first) = rest.chars().next() {
        let (word, after) = match first {
            ',' => {
                items.push(Vec::new());
                rest = rest.get(1..)?.trim_start();
                continue;
            }
            '"' | '\'' => rest.get(1..)?.split_once(first)?,
            _ => rest.split_at(rest.find(|c: char| c == ',' || c.is_whitespace()).unwrap_or(rest.len())),
        };
        items.last_mut()?.push(word.to_owned());
        rest = after.trim_start();
    }
    items.retain(|words| !words.is_empty());
    Some(items)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_may_be_quoted() {
        assert_eq!(names("\"a b.ftl\"").unwrap(), ["a b.ftl"]);
        assert_eq!(names("a.ftl, 'b.ftl'").unwrap(), ["a.ftl", "b.ftl"]);
        assert_eq!(names("").unwrap(), [""; 0]);
        assert_eq!(imports("a.ftl as a, \"b.ftl\" as b").unwrap()[1], ("b.ftl".into(), "b".into()));
        assert!(imports("a.ftl").is_none());
        assert!(names("'a").is_none());
    }
}
