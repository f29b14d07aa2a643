//! In which order a caller wants to see syncs: a subset of [AIP-132](https://google.aip.dev/132#ordering). Pure.

use sluice_proto::sync::v1::Sync;

use crate::{error::Error, sync_filter::sync_id, time::millis};

/// An order of syncs. The default one is that of their names.
#[derive(Debug, Default)]
pub(crate) struct SyncOrder(Vec<(Key, bool)>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Key {
    Name,
    DisplayName,
    CreateTime,
    UpdateTime,
    Revision,
}

impl SyncOrder {
    /// Reads an order.
    ///
    /// # Errors
    /// If it names a field twice or one by which syncs cannot be ordered.
    pub(crate) fn parse(text: &str) -> Result<Self, Error> {
        let told = |message: String| Error::invalid("order_by", "INVALID_ORDER", message);
        let mut keys: Vec<(Key, bool)> = Vec::new();
        for part in text.split(',').filter(|_| !text.trim().is_empty()) {
            let mut words = part.split_whitespace();
            let field = words.next().unwrap_or_default();
            let key = match field {
                "name" => Key::Name,
                "display_name" => Key::DisplayName,
                "create_time" => Key::CreateTime,
                "update_time" => Key::UpdateTime,
                "revision" => Key::Revision,
                _ => {
                    return Err(told(format!(
                        "syncs cannot be ordered by `{}`: `name`, `display_name`, `create_time`, `update_time` or \
                         `revision`, each with ` desc` or without",
                        field.escape_debug()
                    )));
                }
            };
            let descending = match (words.next(), words.next()) {
                (None | Some("asc"), None) => false,
                (Some("desc"), None) => true,
                _ => return Err(told(format!("`{}`: only `desc` may follow a field", part.trim().escape_debug()))),
            };
            if keys.iter().any(|(known, _)| *known == key) {
                return Err(told(format!("`{field}` is named twice")));
            }
            keys.push((key, descending));
        }
        Ok(Self(keys))
    }

    /// Whether it is that of the names, in which the store gives them.
    pub(crate) fn is_by_name(&self) -> bool {
        matches!(self.0.first(), None | Some((Key::Name, false)))
    }

    /// Where the sync stands: places compare as the syncs are ordered, and no two syncs of a project have the same.
    pub(crate) fn place(&self, sync: &Sync) -> Vec<u8> {
        let mut place = Vec::new();
        for (key, descending) in &self.0 {
            let start = place.len();
            match key {
                Key::Name => text(&mut place, sync_id(sync)),
                Key::DisplayName => text(&mut place, &sync.display_name),
                Key::CreateTime => number(&mut place, millis(sync.create_time.as_ref())),
                Key::UpdateTime => number(&mut place, millis(sync.update_time.as_ref())),
                Key::Revision => number(&mut place, sync.revision),
            }
            if *descending {
                place.iter_mut().skip(start).for_each(|byte| *byte = !*byte);
            }
        }
        text(&mut place, sync_id(sync));
        place
    }
}

/// A zero byte ends it, so that a text comes before those that it begins. (Names and ids hold none.)
fn text(place: &mut Vec<u8>, text: &str) {
    place.extend(text.bytes().map(|byte| byte.max(1)));
    place.push(0);
}

fn number(place: &mut Vec<u8>, number: i64) {
    place.extend((number ^ i64::MIN).to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_ordered_as_the_fields_are() {
        let named = |id: &str, display_name: &str, revision| Sync {
            name: format!("projects/p/syncs/{id}"),
            display_name: display_name.into(),
            revision,
            ..Sync::default()
        };
        let syncs = [named("a", "xy", 3), named("b", "x", -1), named("c", "x", 300)];
        let ordered = |order: &str| {
            let order = SyncOrder::parse(order).unwrap();
            let mut ids: Vec<_> = syncs.iter().map(|sync| (order.place(sync), sync_id(sync))).collect();
            ids.sort();
            ids.into_iter().map(|(_, id)| id).collect::<String>()
        };
        for (order, expected) in [
            ("", "abc"),
            ("name desc", "cba"),
            ("display_name", "bca"),
            ("display_name desc", "abc"),
            ("display_name, name desc", "cba"),
            ("revision", "bac"),
            ("revision desc", "cab"),
            ("create_time, revision asc", "bac"),
        ] {
            assert_eq!(ordered(order), expected, "{order}");
        }
        for wrong in ["colour", "name up", "name, name", "name,", "name desc desc"] {
            assert!(SyncOrder::parse(wrong).is_err(), "{wrong}");
        }
    }
}
