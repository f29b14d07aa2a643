//! Realistic events, the same ones for the same seed: a small shop in Amplitude's export shape, with its 55 columns on
//! every row.

use bytes::Bytes;
use prost_types::Timestamp;
use serde_json::{Value, json};

use crate::demo::syncs::{PURCHASE_TYPES, TOTAL};

/// 2026-11-02 08:00:00 UTC.
const BEGIN_SECONDS: i64 = 1_793_606_400;
/// People in the shop.
const PEOPLE: u64 = 120;

const TYPES: [(&str, u64); 8] = [
    ("[Amplitude] Page Viewed", 30),
    ("Product Viewed", 24),
    ("Cart Updated", 14),
    (PURCHASE_TYPES[0], 12),
    ("Signed Up", 6),
    ("Tapped \"Buy now\"", 6),
    ("Größe gewählt", 4),
    (PURCHASE_TYPES[1], 4),
];
const FIRST_NAMES: [&str; 8] = ["ana", "björn", "chloé", "dmitri", "elif", "まゆみ", "o'neil", "zoë \"zed\""];
const PLACES: [(&str, &str, &str, &str); 6] = [
    ("Lisbon", "Lisbon", "Portugal", "Portuguese"),
    ("Köln", "North Rhine-Westphalia", "Germany", "German"),
    ("São Paulo", "São Paulo", "Brazil", "Portuguese"),
    ("東京", "Tokyo", "Japan", "Japanese"),
    ("Austin", "Texas", "United States", "English"),
    ("İzmir", "İzmir", "Türkiye", "Turkish"),
];
const DEVICES: [(&str, &str, &str, &str); 4] = [
    ("Web", "Chrome", "137", "Mac"),
    ("iOS", "ios", "19.1", "Apple iPhone"),
    ("Android", "android", "16", "Google Pixel"),
    ("Web", "Firefox", "145", "Windows"),
];
const PRODUCTS: [&str; 6] = ["Tea \"Earl Grey\"", "普洱茶", "Café crème", "Mug C:\\tea", "Kettle 1.7 l", "Spoon\tset"];

/// `count` events, ordered by time.
pub(crate) fn generate(seed: u64, count: u32) -> Vec<Bytes> {
    let mut chance = Chance(seed);
    let mut at_micros = 0_i64;
    (0..count)
        .map(|index| {
            at_micros += i64::try_from(chance.below(1_400_000)).unwrap_or(0);
            Bytes::from(event(&mut chance, at_micros, index).to_string())
        })
        .collect()
}

fn event(chance: &mut Chance, at_micros: i64, index: u32) -> Value {
    let event_type = chance.weighted(&TYPES);
    let person = chance.below(PEOPLE);
    let first_name = pick(&FIRST_NAMES, person);
    let (city, region, country, language) = pick(&PLACES, person / 7);
    let (platform, os_name, os_version, device) = pick(&DEVICES, person / 3);
    let session_micros = at_micros - at_micros % 1_800_000_000;
    // One person in seventeen has not signed in, one in five gave no address.
    let user_id = (!person.is_multiple_of(17)).then(|| format!("{first_name}-{person:03}"));
    let mut user_properties = json!({
        "orders": person % 9, "beta": person.is_multiple_of(4), "tags": ["a", format!("cohort {}", person % 5)],
    });
    if user_id.is_some() && !person.is_multiple_of(5) {
        let name: String = first_name.chars().filter(|c| c.is_alphanumeric()).collect();
        put(&mut user_properties, "email", json!(format!("{name}+\"{person}\"@example.com")));
    }
    let event_time = stamp(at_micros);
    let received_time = stamp(at_micros + 2_000_000);
    let mut fields = json!({
        "$insert_id": chance.uuid(), "$insert_key": null, "$schema": null, "adid": null,
        "amplitude_attribution_ids": null, "amplitude_event_type": null, "amplitude_id": 685_644_858_000 + person,
        "app": 281_811, "city": city, "client_event_time": event_time, "client_upload_time": received_time,
        "country": country,
        "data": {"path": "/2/httpapi", "user_properties_updated": true, "group_first_event": {}, "group_ids": {}},
        "data_type": "event", "device_brand": null, "device_carrier": null, "device_family": device,
    });
    let rest = json!({
        "device_id": format!("device-{person:03}"), "device_manufacturer": null, "device_model": null,
        "device_type": device, "dma": null, "event_id": index + 1,
        "event_properties": properties(chance, event_type), "event_time": event_time, "event_type": event_type,
        "global_user_properties": null, "group_properties": {},
        "groups": if person.is_multiple_of(4) { json!({"org": [format!("org {}", person % 6)]}) } else { json!({}) },
        "idfa": null, "ip_address": format!("203.0.113.{}", person % 250), "is_attribution_event": null,
        "language": language, "library": "amplitude-ts/2.16.1", "location_lat": null, "location_lng": null,
        "os_name": os_name, "os_version": os_version, "partner_id": null, "paying": null, "plan": {},
        "platform": platform,
    });
    let end = json!({
        "processed_time": stamp(at_micros + 4_100_000), "region": region, "sample_rate": null,
        "server_received_time": received_time, "server_upload_time": stamp(at_micros + 2_007_000),
        "session_id": BEGIN_SECONDS * 1_000 + session_micros / 1_000, "source_id": null, "start_version": null,
        "user_creation_time": null, "user_id": user_id, "user_properties": user_properties, "uuid": chance.uuid(),
        "version_name": null,
    });
    for more in [rest, end] {
        if let (Value::Object(fields), Value::Object(more)) = (&mut fields, more) {
            fields.extend(more);
        }
    }
    fields
}

fn properties(chance: &mut Chance, event_type: &str) -> Value {
    let product = pick(&PRODUCTS, chance.below(PRODUCTS.len() as u64));
    let page = event_type.to_lowercase().replace([' ', '"', '['], "-").replace(']', "");
    let mut properties = json!({"[Amplitude] Page URL": format!("https://shop.example.com/{page}")});
    let cents = chance.below(19_900) + 100;
    // Whole numbers, fractions and, now and then, none at all.
    let total = match chance.below(10) {
        0 => None,
        1..=4 => Some(json!(cents / 100)),
        _ => Some(json!(cents as f64 / 100.0)),
    };
    if PURCHASE_TYPES.contains(&event_type) {
        if let Some(total) = total {
            put(&mut properties, TOTAL, total);
        }
        put(&mut properties, "currency", json!("EUR"));
    }
    if !matches!(event_type, "Signed Up" | "[Amplitude] Page Viewed") {
        let sku = format!("P-{}", chance.below(900) + 100);
        put(&mut properties, "product", json!({"sku": sku, "name": product, "tags": ["x", "y"]}));
    }
    properties
}

fn put(object: &mut Value, key: &str, value: Value) {
    if let Value::Object(fields) = object {
        fields.insert(key.to_owned(), value);
    }
}

/// A time as Amplitude writes it: `2026-11-02 08:00:00.000000`, in UTC.
fn stamp(micros: i64) -> String {
    let timestamp = Timestamp { seconds: BEGIN_SECONDS + micros.div_euclid(1_000_000), nanos: 0 }.to_string();
    let seconds = timestamp.get(..19).unwrap_or(&timestamp).replace('T', " ");
    format!("{seconds}.{:06}", micros.rem_euclid(1_000_000))
}

fn pick<T: Copy>(choices: &[T], index: u64) -> T {
    choices[usize::try_from(index % choices.len() as u64).unwrap_or(0)]
}

/// Random numbers from a seed (SplitMix64).
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }

    fn weighted(&mut self, choices: &[(&'static str, u64)]) -> &'static str {
        let mut left = self.below(choices.iter().map(|(_, weight)| weight).sum());
        for (choice, weight) in choices {
            if left < *weight {
                return choice;
            }
            left -= weight;
        }
        choices.first().map_or("", |(choice, _)| choice)
    }

    fn uuid(&mut self) -> String {
        let bits = (u128::from(self.next()) << 64) | u128::from(self.next());
        uuid::Builder::from_random_bytes(bits.to_be_bytes()).into_uuid().to_string()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_events() {
        assert_eq!(generate(7, 50), generate(7, 50));
        assert_ne!(generate(7, 50), generate(8, 50));
        assert_eq!(generate(7, 50)[..20], generate(7, 20));
    }

    #[test]
    fn events_have_the_shape_of_the_export_and_all_kinds_of_holes() {
        let events: Vec<Value> =
            generate(1, 1_000).iter().map(|event| serde_json::from_slice(event).unwrap()).collect();
        let share = |holds: &dyn Fn(&Value) -> bool| events.iter().filter(|event| holds(event)).count();
        assert!(events.iter().all(|event| event.as_object().unwrap().len() == 55));
        assert!((20..200).contains(&share(&|event| event["user_id"].is_null())));
        assert!((100..600).contains(&share(&|event| event["user_properties"]["email"].is_null())));
        assert!(share(&|event| event["user_id"].as_str().is_some_and(|id| id.contains('"'))) > 20);
        assert!(share(&|event| event["user_id"].as_str().is_some_and(|id| !id.is_ascii())) > 50);
        assert!(share(&|event| event["event_properties"][TOTAL].is_i64()) > 10);
        assert!(share(&|event| event["event_properties"][TOTAL].is_f64()) > 10);
        let types: BTreeSet<_> = events.iter().map(|event| event["event_type"].as_str().unwrap()).collect();
        assert_eq!(types.len(), TYPES.len());
        assert!(events.iter().map(|event| event["event_time"].as_str().unwrap()).is_sorted());
        assert_eq!(stamp(1_234_567), "2026-11-02 08:00:01.234567");
    }
}
