use bytes::Bytes;
use sluice_pipeline::event::EventId;

use super::*;

fn event() -> Arc<StoredEvent> {
    Arc::new(StoredEvent {
        id: EventId([0; 16]),
        accept_ms: 0,
        event_type: "a".to_owned(),
        json: Bytes::from_static(b"{}"),
        traceparent: String::new(),
        tracestate: String::new(),
    })
}

fn key() -> LaneKey {
    LaneKey { uid: "uid".into(), name: "projects/default/syncs/s".into() }
}

fn created(delivery: i64) -> Created {
    Created { delivery, event_row: delivery, lane: 1, key: key(), event: event() }
}

fn due(delivery: i64) -> DueDelivery {
    DueDelivery { delivery, event_row: delivery, due_ms: 0, state: DeliveryState::new(), event: event() }
}

/// Shelves what the lane does not keep.
fn shelve(lane: &mut Lane) -> usize {
    let shelved = lane.take_shelved();
    for delivery in &shelved {
        lane.shelved(*delivery);
    }
    shelved.len()
}

fn drain(lane: &mut Lane) -> Vec<i64> {
    std::iter::from_fn(|| take(lane, usize::MAX)).map(|work| work.delivery).collect()
}

fn take(lane: &mut Lane, limit: usize) -> Option<Work> {
    if lane.may_take(limit) { lane.take() } else { None }
}

#[test]
fn what_does_not_fit_stays_on_disk_and_is_loaded_later() {
    let mut lane = Lane::new(1, key());
    for delivery in 0..300 {
        lane.offer(created(delivery), false);
    }
    assert_eq!(shelve(&mut lane), 300 - READY);
    assert!(lane.load(0).is_none(), "the lane is full");
    assert_eq!(drain(&mut lane).len(), READY);
    let query = lane.load(0).unwrap();
    assert_eq!((query.except.len(), query.limit), (READY, READY));
    assert!(lane.load(0).is_none(), "one load at a time");
    lane.loaded((256..300).map(due).collect(), false, None);
    assert_eq!(drain(&mut lane), (256..300).collect::<Vec<_>>());
    assert!(lane.load(0).is_none(), "nothing is left");
}

#[test]
fn more_stays_in_memory_while_there_is_room_to_spare() {
    let mut lane = Lane::new(1, key());
    for delivery in 0..=READY_NEW as i64 {
        lane.offer(created(delivery), true);
    }
    assert_eq!((shelve(&mut lane), lane.ready_bytes()), (1, 2 * READY_NEW));
    assert!(lane.load(0).is_none(), "what is in memory comes first");
    lane.offer(created(-1), true);
    assert_eq!(shelve(&mut lane), 1, "what comes after does not overtake what is on disk");
}

#[test]
fn a_delivery_in_hand_is_never_taken_twice() {
    let mut lane = Lane::new(1, key());
    for delivery in 0..=READY as i64 {
        lane.offer(created(delivery), false);
    }
    shelve(&mut lane);
    drain(&mut lane);
    lane.load(0).unwrap();
    // The answer knows less than the lane: these are in flight.
    lane.loaded(vec![due(3), due(256)], false, None);
    assert_eq!(drain(&mut lane), [256]);
    lane.offer(created(256), false);
    assert!(drain(&mut lane).is_empty());
}

#[test]
fn what_comes_while_a_load_is_under_way_is_not_forgotten() {
    let mut lane = Lane::new(1, key());
    lane.settled(1, Some(10));
    assert!(lane.load(9).is_none(), "not due yet");
    assert_eq!(lane.wake_ms(), Some(10));
    lane.load(10).unwrap();
    lane.offer(created(2), false);
    shelve(&mut lane);
    lane.loaded(vec![due(1)], false, None);
    assert!(lane.load(10).is_some(), "the second one is on disk only");
}

#[test]
fn a_held_lane_does_nothing_and_its_time_stands_still() {
    let mut lane = Lane::new(1, key());
    lane.offer(created(1), false);
    lane.settled(2, Some(100));
    assert!(lane.hold(50) && !lane.hold(60));
    assert_eq!(shelve(&mut lane), 1);
    assert!(take(&mut lane, 1).is_none() && lane.load(1_000).is_none() && lane.wake_ms().is_none());
    assert!(lane.resume(550) && !lane.resume(560));
    assert_eq!((lane.behind_ms(), lane.wake_ms()), (500, Some(600)));
    let query = lane.load(560).unwrap();
    assert_eq!((query.now_ms, query.except.len()), (60, 0), "what was ready went back to disk");
}

#[test]
fn a_lane_gives_no_more_than_its_limit() {
    let mut lane = Lane::new(1, key());
    lane.offer(created(1), false);
    lane.offer(created(2), false);
    assert!(take(&mut lane, 1).is_some() && take(&mut lane, 1).is_none());
    lane.settled(1, None);
    assert!(take(&mut lane, 1).is_some(), "the first one is on disk");
    lane.offer(created(3), false);
    lane.broke_off(2);
    assert!(take(&mut lane, 1).is_some(), "the second one will not be settled");
}

#[test]
fn what_is_not_shelved_yet_is_not_looked_for() {
    let mut lane = Lane::new(1, key());
    for delivery in 0..=READY as i64 {
        lane.offer(created(delivery), false);
    }
    assert_eq!(lane.take_shelved(), [READY as i64]);
    drain(&mut lane);
    assert!(lane.load(0).is_none(), "the disk would not find it");
    lane.offer(created(1_000), false);
    assert_eq!(drain(&mut lane), [1_000], "what comes later may overtake");
    lane.shelved(READY as i64);
    assert!(lane.load(0).is_some());
}

#[test]
fn what_was_loaded_while_deliveries_were_ended_is_not_believed() {
    let mut lane = Lane::new(1, key());
    lane.settled(1, Some(0));
    lane.load(1).unwrap();
    lane.begin_ending();
    lane.offer(created(2), false);
    assert_eq!(shelve(&mut lane), 1, "it may be among those that are ended");
    lane.loaded(vec![due(1)], false, None);
    assert!(lane.load(1).is_none() && take(&mut lane, 9).is_none());
    lane.ended();
    lane.load(1).unwrap();
    lane.loaded(vec![due(2)], false, None);
    assert_eq!(drain(&mut lane), [2]);
}
