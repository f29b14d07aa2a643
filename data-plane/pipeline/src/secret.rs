//! The secrets of a sync: where they are, and how to change them all.

use sluice_proto::sync::v1::{Sync, header::Value};

/// Puts what `change` gives in the place of each secret that has a value. It gets the secret's place, which no other secret of any
/// sync has, and its value.
///
/// # Errors
/// The first one that `change` gives; secrets before it are changed then.
pub fn change_secrets<E>(sync: &mut Sync, mut change: impl FnMut(&str, &str) -> Result<String, E>) -> Result<(), E> {
    let uid = &sync.uid;
    for header in sync.destination.iter_mut().flat_map(|destination| &mut destination.headers) {
        if let Some(Value::Secret(secret)) = &mut header.value
            && !secret.value.is_empty()
        {
            let place = format!("sync {uid} header {}", header.name.to_ascii_lowercase());
            secret.value = change(&place, &secret.value)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use sluice_proto::sync::v1::{Destination, Header, Secret};

    use super::*;

    #[test]
    fn each_secret_has_its_place() {
        let secret = |value: &str| Some(Value::Secret(Secret { value: value.into(), set: true }));
        let header = |name: &str, value| Header { name: name.into(), value };
        let headers =
            vec![header("A", secret("x")), header("b", Some(Value::Plain("plain".into()))), header("c", secret(""))];
        let destination = Some(Destination { headers, ..Destination::default() });
        let mut sync = Sync { uid: "u".into(), destination, ..Sync::default() };
        let mut places = Vec::new();
        change_secrets(&mut sync, |place, value| {
            places.push(place.to_owned());
            Ok::<_, ()>(format!("sealed {value}"))
        })
        .unwrap();
        assert_eq!(places, ["sync u header a"]);
        assert_eq!(sync.destination.unwrap().headers[0].value, secret("sealed x"));
    }
}
