//! Dead letters are asked of the nodes; one that gives no answer is named.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use sluice_proto::{
    delivery::v1::{
        AttemptOutcome, CountDeadLettersRequest, CountDeadLettersResponse, DeadLetter, DeadLetterFilter,
        ExportDeadLettersRequest, ExportDeadLettersResponse, GetDeadLetterRequest, ListDeadLettersRequest,
        ListDeadLettersResponse, MarkDeadLettersExportedRequest, UnreachableNode,
    },
    node::v1::{ExportedMarked, command::Command as What, command_result::Result as Outcome},
};
use tokio::task::JoinHandle;
use tonic::{Code, Status};

use self::support::{
    Plane, START_MS, attempt, attempted,
    commanded::{letter, letters},
    fields, name, reason, sync, timestamp,
};

const ALL: &str = "projects/default/syncs/-";

fn list(parent: &str, page_size: i32) -> ListDeadLettersRequest {
    ListDeadLettersRequest { parent: parent.into(), page_size, ..Default::default() }
}

async fn pages(plane: &Plane, mut request: ListDeadLettersRequest) -> Vec<ListDeadLettersResponse> {
    let mut pages = Vec::new();
    loop {
        let page = plane.deliveries().list_dead_letters(request.clone()).await.unwrap().into_inner();
        request.page_token = page.next_page_token.clone();
        pages.push(page);
        if request.page_token.is_empty() {
            return pages;
        }
    }
}

async fn export(plane: &Plane, parent: &str) -> Vec<ExportDeadLettersResponse> {
    let request = ExportDeadLettersRequest { parent: parent.into(), filter: None };
    let mut stream = plane.deliveries().export_dead_letters(request).await.unwrap().into_inner();
    let mut pieces = Vec::new();
    while let Some(piece) = stream.message().await.unwrap() {
        pieces.push(piece);
    }
    pieces
}

fn unreachable(node: &str, reason: &str) -> UnreachableNode {
    UnreachableNode { node: format!("nodes/{node}"), reason: reason.into() }
}

#[tokio::test]
async fn a_list_goes_through_the_nodes_in_the_order_of_their_names_page_by_page() {
    let plane = Plane::start().await;
    let mut nodes = Vec::new();
    for (node, numbers) in [("c", 20..27), ("a", 0..7), ("b", 0..0)] {
        nodes.push(plane.holding(node, letters(node, "orders", numbers)).await);
    }
    for page_size in [1, 3, 7, 50] {
        let pages = pages(&plane, list(ALL, page_size)).await;
        assert!(pages.iter().all(|page| page.dead_letters.len() <= page_size as usize));
        assert!(pages.iter().all(|page| page.unreachable_nodes.is_empty()));
        let listed: Vec<DeadLetter> = pages.into_iter().flat_map(|page| page.dead_letters).collect();
        let without_events = |letter: DeadLetter| DeadLetter { event_json: Default::default(), ..letter };
        let expected = letters("a", "orders", 0..7).into_iter().chain(letters("c", "orders", 20..27));
        assert_eq!(listed, expected.map(without_events).collect::<Vec<_>>(), "pages of {page_size}");
    }
    assert_eq!(pages(&plane, list(&name("deleted-long-ago"), 50)).await[0].dead_letters, []);
}

#[tokio::test]
async fn a_page_token_belongs_to_its_list() {
    let plane = Plane::start().await;
    let _node = plane.holding("a", letters("a", "orders", 0..3)).await;
    let first = plane.deliveries().list_dead_letters(list(ALL, 1)).await.unwrap().into_inner();
    let other_filter = Some(DeadLetterFilter { event_types: vec!["order".into()], ..Default::default() });
    for request in [
        ListDeadLettersRequest { page_token: first.next_page_token.clone(), ..list(&name("orders"), 1) },
        ListDeadLettersRequest { page_token: first.next_page_token, filter: other_filter, ..list(ALL, 1) },
        ListDeadLettersRequest { page_token: "00".into(), ..list(ALL, 1) },
    ] {
        assert_eq!(fields(&plane.deliveries().list_dead_letters(request).await.unwrap_err()), ["page_token"]);
    }
}

#[tokio::test]
async fn nodes_that_give_no_answer_are_named() {
    let plane = Plane::start().await;
    drop(plane.holding("a", Vec::new()).await);
    let _held = plane.holding("b", letters("b", "orders", 0..2)).await;
    let (_catalog, mut old) = plane.commanded("c").await;
    plane.gone("a").await;
    let counted = count(&plane);
    let command = old.next().await;
    old.refuse(&command, Code::Unimplemented, "").await;
    let counted = counted.await.unwrap();
    assert_eq!(counted.count, 2);
    let too_old = "its version does not know this command: upgrade it";
    assert_eq!(counted.unreachable_nodes, [unreachable("a", "not connected"), unreachable("c", too_old)]);
}

#[tokio::test]
async fn a_node_that_says_nothing_is_waited_for_10_seconds() {
    let plane = Plane::start().await;
    let (_catalog, mut silent) = plane.commanded("d").await;
    let asked = count(&plane);
    let command = silent.next().await;
    assert_eq!(command.deadline, Some(timestamp(START_MS + 10_000)));
    assert_eq!(plane.hand.advance_to_next("node's answer").await, START_MS + 10_000);
    let counted = asked.await.unwrap();
    assert_eq!((counted.count, counted.unreachable_nodes), (0, vec![unreachable("d", "no answer within 10 s")]));
}

fn count(plane: &Plane) -> JoinHandle<CountDeadLettersResponse> {
    let mut client = plane.deliveries();
    let request = CountDeadLettersRequest { parent: ALL.into(), filter: None };
    tokio::spawn(async move { client.count_dead_letters(request).await.unwrap().into_inner() })
}

#[tokio::test]
async fn a_page_ends_early_rather_than_wait_for_a_second_silent_node() {
    let plane = Plane::start().await;
    let (_a, mut first) = plane.commanded("a").await;
    let (_b, mut second) = plane.commanded("b").await;
    let _c = plane.holding("c", letters("c", "orders", 0..2)).await;
    let asked = tokio::spawn({
        let mut client = plane.deliveries();
        async move { client.list_dead_letters(list(ALL, 50)).await }
    });
    first.next().await;
    plane.hand.advance_to_next("node's answer").await;
    let page = asked.await.unwrap().unwrap().into_inner();
    assert_eq!((page.dead_letters.len(), page.unreachable_nodes.len()), (0, 1));

    let request = ListDeadLettersRequest { page_token: page.next_page_token, ..list(ALL, 50) };
    let asked = tokio::spawn({
        let mut client = plane.deliveries();
        async move { client.list_dead_letters(request).await }
    });
    let command = second.next().await;
    second.refuse(&command, Code::Internal, "the node's spool failed").await;
    let page = asked.await.unwrap().unwrap().into_inner();
    assert_eq!(page.unreachable_nodes, [unreachable("b", "the node's spool failed")]);
    assert_eq!((page.dead_letters.len(), page.next_page_token.as_str()), (2, ""));
}

#[tokio::test]
async fn every_wrong_argument_is_told() {
    let plane = Plane::start().await;
    let filter = DeadLetterFilter {
        reasons: vec![1, 0, 77],
        event_types: vec!["x".repeat(2_000)],
        start_time_inclusive: Some(timestamp(2_000)),
        end_time_exclusive: Some(timestamp(2_000)),
        delivery_ids: vec![format!("{:032x}", 1), "nonsense".into()],
    };
    let request = ListDeadLettersRequest { filter: Some(filter), ..list("nonsense", 1) };
    let expected = [
        "filter.end_time_exclusive",
        "filter.reasons[1]",
        "filter.reasons[2]",
        "filter.event_types[0]",
        "filter.delivery_ids[1]",
        "parent",
    ];
    assert_eq!(fields(&plane.deliveries().list_dead_letters(request).await.unwrap_err()), expected);
    let filter = DeadLetterFilter {
        start_time_inclusive: Some(prost_types::Timestamp { seconds: 0, nanos: -1 }),
        event_types: vec![String::new(); 101],
        delivery_ids: vec![format!("{:032x}", 1); 1_001],
        ..Default::default()
    };
    let request = CountDeadLettersRequest { parent: ALL.into(), filter: Some(filter) };
    let expected = ["filter.start_time_inclusive", "filter.event_types", "filter.delivery_ids"];
    assert_eq!(fields(&plane.deliveries().count_dead_letters(request).await.unwrap_err()), expected);

    let status = plane.deliveries().list_dead_letters(list("projects/none/syncs/-", 1)).await.unwrap_err();
    assert_eq!(reason(&status), (Code::NotFound, "PROJECT_NOT_FOUND".into()));
    let get = GetDeadLetterRequest { name: name("orders") };
    assert_eq!(fields(&plane.deliveries().get_dead_letter(get).await.unwrap_err()), ["name"]);
    let mark =
        |parent: &str, deliveries: Vec<String>| MarkDeadLettersExportedRequest { parent: parent.into(), deliveries };
    for (request, expected) in [
        (mark(ALL, Vec::new()), &["deliveries"][..]),
        (mark(ALL, vec![letter("a", "orders", 1).delivery; 1_001]), &["deliveries"]),
        (
            mark(&name("mails"), vec!["x".into(), letter("a", "orders", 1).delivery]),
            &["deliveries[0]", "deliveries[1]"],
        ),
    ] {
        assert_eq!(fields(&plane.deliveries().mark_dead_letters_exported(request).await.unwrap_err()), expected);
    }
}

#[tokio::test]
async fn one_is_shown_with_its_event_and_all_attempts() {
    let plane = Plane::start().await;
    let orders = plane.create("orders", sync()).await;
    let _a = plane.holding("a", Vec::new()).await;
    let _b = plane.holding("b", letters("b", "orders", 0..9)).await;
    let (mut reporter, _) = plane.reporter("spool").await;
    let reports = (1..=3).map(|round| {
        let made = attempt(&orders, 4, i64::from(round) * 1_000, AttemptOutcome::RetryNextRound);
        attempted(sluice_proto::delivery::v1::Attempt { round, ..made })
    });
    reporter.report(1, reports.rev().collect()).await;

    let get = async |number: u32| {
        let request = GetDeadLetterRequest { name: letter("b", "orders", number).delivery };
        plane.deliveries().get_dead_letter(request).await.map(tonic::Response::into_inner)
    };
    let shown = get(4).await.unwrap();
    assert_eq!(shown.dead_letter.unwrap(), letter("b", "orders", 4));
    assert_eq!(shown.attempts.iter().map(|attempt| attempt.round).collect::<Vec<_>>(), [1, 2, 3], "the oldest first");

    assert_eq!(reason(&get(77).await.unwrap_err()), (Code::NotFound, "DEAD_LETTER_NOT_FOUND".into()));
    drop(plane.holding("c", Vec::new()).await);
    plane.gone("c").await;
    let status: Status = get(77).await.unwrap_err();
    assert_eq!(reason(&status), (Code::Unavailable, "NODE_UNREACHABLE".into()), "it may lie there");
    assert!(status.message().contains("nodes/c"), "{}", status.message());
    assert!(get(4).await.is_ok());
}

#[tokio::test]
async fn an_export_holds_every_event_and_names_in_the_end_who_gave_none() {
    let plane = Plane::start().await;
    let _a = plane.holding("a", letters("a", "orders", 0..7)).await;
    let _b = plane.holding("b", letters("b", "orders", 50..52)).await;
    drop(plane.holding("c", Vec::new()).await);
    plane.gone("c").await;
    let mut pieces = export(&plane, ALL).await;
    let end = pieces.pop().unwrap();
    assert_eq!((end.dead_letters.len(), end.unreachable_nodes), (0, vec![unreachable("c", "not connected")]));
    assert_eq!(pieces.iter().map(|piece| piece.dead_letters.len()).collect::<Vec<_>>(), [3, 3, 1, 2]);
    let exported: Vec<_> = pieces.into_iter().flat_map(|piece| piece.dead_letters).collect();
    assert_eq!(exported, [letters("a", "orders", 0..7), letters("b", "orders", 50..52)].concat());
}

#[tokio::test]
async fn what_is_exported_is_marked_on_all_nodes() {
    let plane = Plane::start().await;
    let (_a, mut a) = plane.commanded("a").await;
    let (_b, mut b) = plane.commanded("b").await;
    let deliveries = vec![letter("a", "orders", 1).delivery, letter("b", "mails", 2).delivery];
    let asked = tokio::spawn({
        let mut client = plane.deliveries();
        let request = MarkDeadLettersExportedRequest { parent: ALL.into(), deliveries };
        async move { client.mark_dead_letters_exported(request).await }
    });
    for stream in [&mut a, &mut b] {
        let command = stream.next().await;
        let Some(What::MarkExported(mark)) = &command.command else { panic!("{command:?}") };
        assert_eq!((mark.parent.as_str(), mark.delivery_ids.len()), (ALL, 2));
        stream.last(&command, Outcome::Marked(ExportedMarked { marked_count: 1 })).await;
    }
    let marked = asked.await.unwrap().unwrap().into_inner();
    assert_eq!((marked.marked_count, marked.unreachable_nodes.len()), (2, 0));
}
