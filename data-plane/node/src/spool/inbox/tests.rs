use super::*;

const LONG: Duration = Duration::from_secs(600);

#[derive(Debug, PartialEq, Eq)]
struct Letter(u32, Patience);

impl Item for Letter {
    fn patience(&self) -> Patience {
        self.1
    }

    fn bytes(&self) -> usize {
        10
    }
}

fn urgent(number: u32) -> Letter {
    Letter(number, Patience::None)
}

fn patient(number: u32) -> Letter {
    Letter(number, Patience::UpTo(LONG))
}

fn hopeful(number: u32) -> Letter {
    Letter(number, Patience::WhileExpected(LONG))
}

/// One that expects for as long as a test may take.
fn inbox() -> (Sender<Letter>, Receiver<Letter>) {
    let (sender, receiver) = super::inbox();
    receiver.shared.lock().expected.length = LONG;
    (sender, receiver)
}

fn numbers(taken: Taken<Letter>) -> Vec<u32> {
    let Taken::Items(items) = taken else { panic!("{taken:?}") };
    items.into_iter().map(|Letter(number, _)| number).collect()
}

fn take(receiver: &mut Receiver<Letter>) -> Vec<u32> {
    numbers(receiver.take(LONG, 100, 1_000))
}

#[test]
fn what_somebody_waits_for_takes_along_what_may_wait() {
    let (sender, mut receiver) = inbox();
    for letter in [patient(1), hopeful(2), urgent(3), patient(4)] {
        sender.send(letter).unwrap();
    }
    assert_eq!(take(&mut receiver), [1, 2, 3, 4]);
    assert_eq!(receiver.take(Duration::ZERO, 9, 9), Taken::Nothing);
}

#[test]
fn waits_for_what_is_expected_and_for_nothing_else() {
    let (sender, mut receiver) = inbox();
    sender.send(hopeful(1)).unwrap();
    assert_eq!(take(&mut receiver), [1], "nothing is expected");

    let (first, second) = (sender.expect(), sender.expect());
    let reading = std::thread::spawn(move || (take(&mut receiver), receiver));
    sender.send(hopeful(2)).unwrap();
    drop(first);
    sender.send(hopeful(3)).unwrap();
    drop(second);
    let (taken, mut receiver) = reading.join().unwrap();
    assert_eq!(taken, [2, 3]);

    let _never = sender.expect();
    let reading = std::thread::spawn(move || take(&mut receiver));
    sender.send(hopeful(4)).unwrap();
    sender.send(urgent(5)).unwrap();
    let mut all = reading.join().unwrap();
    all.dedup();
    assert_eq!(all, [4, 5]);
}

#[test]
fn waits_no_longer_than_the_least_patient() {
    let (sender, mut receiver) = inbox();
    let _never = sender.expect();
    sender.send(patient(1)).unwrap();
    sender.send(Letter(2, Patience::WhileExpected(Duration::from_millis(1)))).unwrap();
    sender.send(patient(3)).unwrap();
    assert_eq!(take(&mut receiver), [1, 2, 3]);
    sender.send(Letter(4, Patience::UpTo(Duration::from_millis(1)))).unwrap();
    sender.send(hopeful(5)).unwrap();
    assert_eq!(take(&mut receiver), [4, 5]);
}

#[test]
fn takes_no_more_than_is_asked_for_and_leaves_the_rest_due() {
    let (sender, mut receiver) = inbox();
    let _never = sender.expect();
    for number in 0..7 {
        sender.send(hopeful(number)).unwrap();
    }
    assert_eq!(numbers(receiver.take(LONG, 3, 1_000)), [0, 1, 2], "as many as may be taken do not wait");
    assert_eq!(numbers(receiver.take(LONG, 100, 15)), [3, 4]);
    assert_eq!(take(&mut receiver), [5, 6]);
}

#[test]
fn where_many_are_expected_not_even_the_urgent_ones_are_taken_one_by_one() {
    let (sender, mut receiver) = inbox();
    let _never: Vec<_> = (0..MANY).map(|_| sender.expect()).collect();
    receiver.paced_until = Instant::now() + LONG;
    let reading = std::thread::spawn(move || take(&mut receiver));
    sender.send(urgent(1)).unwrap();
    sender.send(urgent(2)).unwrap();
    // Whatever happens, the last ones are not waited with.
    drop(sender);
    assert_eq!(reading.join().unwrap(), [1, 2]);
}

#[test]
fn either_end_hears_that_the_other_has_gone() {
    let (sender, mut receiver) = inbox();
    sender.clone().send(patient(1)).unwrap();
    let reading = std::thread::spawn(move || (take(&mut receiver), receiver.take(LONG, 9, 9)));
    drop(sender);
    assert_eq!(reading.join().unwrap(), (vec![1], Taken::Closed));

    let (sender, receiver) = inbox();
    drop(receiver);
    assert_eq!(sender.send(urgent(1)), Err(urgent(1)));
}
