//! Names of templates: relative to one another, and in their normal form.

/// The full name of the template that `target` means in the template `base`.
///
/// # Errors
/// When it leads out of the root, or has characters that no name has.
pub(crate) fn resolve(base: &str, target: &str) -> Result<String, String> {
    normalize(&join(base, target))
}

/// The same, with all steps that are written.
pub(crate) fn join(base: &str, target: &str) -> String {
    let scheme_end = |name: &str| name.find("://").filter(|at| *at > 0);
    if scheme_end(target).is_some() {
        target.to_owned()
    } else if let Some(absolute) = target.strip_prefix('/') {
        match scheme_end(base) {
            Some(at) => format!("{}{target}", base.get(..at + 2).unwrap_or_default()),
            None => absolute.to_owned(),
        }
    } else {
        let folder = base.rfind('/').map_or("", |at| base.get(..=at).unwrap_or_default());
        format!("{folder}{target}")
    }
}

/// The normal form of a full name: without `.` and `..`.
///
/// # Errors
/// See [`resolve`].
pub(crate) fn normalize(name: &str) -> Result<String, String> {
    let malformed = |why: &str| Err(format!("Malformed template name, \"{name}\": {why}"));
    if name.contains('\0') {
        return malformed("Null character (\\u0000) in the name; possible attack attempt");
    }
    let mut path = name.to_owned();
    loop {
        match path.find("/../") {
            Some(0) => return malformed("Backing out from the root directory is not allowed"),
            Some(at) => {
                let parent = path.get(..at).and_then(|before| before.rfind('/')).map_or(0, |slash| slash + 1);
                path.replace_range(parent..at + 4, "");
            }
            None if path.starts_with("../") => {
                return malformed("Backing out from the root directory is not allowed");
            }
            None => break,
        }
    }
    while let Some(at) = path.find("/./") {
        path.replace_range(at..at + 2, "");
    }
    if let Some(rest) = path.strip_prefix("./") {
        path = rest.to_owned();
    }
    if path.len() > 1 && path.starts_with('/') {
        path.remove(0);
    }
    Ok(path)
}

/// What is looked up for a name with `*` steps: those with fewer and fewer folders before.
pub(crate) fn candidates(name: &str) -> Vec<String> {
    let Some(star) = (if name.starts_with("*/") { Some(0) } else { name.find("/*/").map(|at| at + 1) }) else {
        return vec![name.to_owned()];
    };
    let (before, after) = (name.get(..star).unwrap_or_default(), name.get(star + 2..).unwrap_or_default());
    let mut folder = before;
    let mut names = vec![format!("{folder}{after}")];
    while let Some(shorter) = folder.strip_suffix('/') {
        folder = shorter.rfind('/').map_or("", |at| shorter.get(..=at).unwrap_or_default());
        names.push(format!("{folder}{after}"));
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_relative_to_the_template() {
        let to = |base, target| resolve(base, target).unwrap();
        assert_eq!(to("a/b.ftl", "c.ftl"), "a/c.ftl");
        assert_eq!(to("a/b.ftl", "/c.ftl"), "c.ftl");
        assert_eq!(to("a/b.ftl", "../x/./c.ftl"), "x/c.ftl");
        assert_eq!(to("b.ftl", "./c.ftl"), "c.ftl");
        assert_eq!(to("s://a/b", "/c"), "s://c");
        assert!(resolve("a.ftl", "../c.ftl").is_err());
        assert_eq!(candidates("a/b/*/c"), ["a/b/c", "a/c", "c"]);
        assert_eq!(candidates("c"), ["c"]);
    }
}
