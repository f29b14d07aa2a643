//! Endpoints that keep to no rules. Each costs the node a bounded number of bytes and a bounded time, is classed for what it
//! did, and harms nobody: a healthy sync beside it is served meanwhile.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{collections::HashMap, io::Write as _, time::Duration};

use sluice_proto::delivery::v1::{AttemptError, AttemptOutcome};
use sluice_tests::{
    cluster::START_MS,
    events::event,
    hostile::{FINE, HostileEndpoint, Stage, phases},
};

/// What the node reads at most for one request: 256 KiB, once more before the first, and a buffer that it was filling.
const BOUND: u64 = (512 + 64) << 10;

const LIMIT: Duration = Duration::from_secs(10);

/// Answers every request with these bytes and waits for what the node does.
async fn answering(bytes: impl Into<Vec<u8>>) -> Stage {
    let bytes = bytes.into();
    let endpoint = HostileEndpoint::start(move |mut peer, _| {
        let bytes = bytes.clone();
        async move {
            peer.read_request().await?;
            peer.send(&bytes).await?;
            peer.hold().await
        }
    });
    Stage::with(endpoint.await).await
}

/// Answers every request with a beginning and then with the same bytes for ever.
async fn flooding(beginning: &'static str, flood: &'static str) -> Stage {
    let endpoint = HostileEndpoint::start(move |mut peer, _| async move {
        peer.read_request().await?;
        peer.send(beginning).await?;
        peer.flood(flood).await
    });
    Stage::with(endpoint.await).await
}

/// Answers with these bytes and closes the connection once the node has read them.
async fn breaking_off(bytes: &'static str, reset: bool) -> Stage {
    let endpoint = HostileEndpoint::start(move |mut peer, _| async move {
        peer.read_request().await?;
        peer.mark();
        peer.until_told().await;
        peer.send(bytes).await?;
        peer.until_told().await;
        if reset { peer.reset() } else { Ok(()) }
    });
    let stage = Stage::with(endpoint.await).await;
    stage.send().await;
    stage.hostile.reached(1).await;
    let before = stage.stats().read_bytes;
    stage.hostile.go();
    stage.has_read(before, bytes.len()).await;
    stage.hostile.go();
    stage
}

#[tokio::test]
async fn what_is_no_response_is_a_protocol_failure() {
    let long_line = format!("HTTP/1.1 200 {}\r\n\r\n", "O".repeat(64 << 10));
    let many_headers = format!("HTTP/1.1 200 OK\r\n{}content-length: 0\r\n\r\n", "a: b\r\n".repeat(101));
    for (bytes, words) in [
        ("SSH-2.0-OpenSSH_9.2\r\n", "did not speak HTTP"),
        ("HTTP/1.1 2x0 OK\r\n\r\n", "did not speak HTTP"),
        ("\0\0\0\0", "did not speak HTTP"),
        ("HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab", "content-length"),
        ("HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n", "content-length"),
        ("HTTP/1.1 200 OK\r\ncontent-length: 99999999999999999999999\r\n\r\n", "content-length"),
        ("HTTP/1.1 200 OK\r\nx: a\0b\r\n\r\n", "did not speak HTTP"),
        (&long_line, "too large"),
        (&many_headers, "too large"),
    ] {
        let stage = answering(bytes).await;
        stage.send().await;
        stage.failed(AttemptError::Protocol, words).await;
        stage.closed().await;
        assert!(stage.stats().read_bytes < BOUND);
    }
}

#[tokio::test]
async fn endless_answers_are_cut_off() {
    for (beginning, flood, error, words) in [
        ("HTTP/1.1 200 OK\r\n", "x-again: and again\r\n", AttemptError::Protocol, "too large"),
        ("HTTP/1.1 200 ", "O", AttemptError::Protocol, "too large"),
        ("", "HTTP/1.1 103 Early Hints\r\n\r\n", AttemptError::Protocol, "interim"),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1;a=", "b", AttemptError::Body, "whole body"),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n", "x: y\r\n", AttemptError::Body, "whole body"),
    ] {
        let stage = flooding(beginning, flood).await;
        stage.send().await;
        let attempt = stage.failed(error, words).await;
        assert_eq!(attempt.http_status, if error == AttemptError::Body { 200 } else { 0 });
        stage.closed().await;
        assert!(stage.stats().read_bytes < BOUND, "{flood}: {} bytes", stage.stats().read_bytes);
    }
}

#[tokio::test]
async fn of_a_large_body_the_beginning_is_read() {
    for beginning in [
        "HTTP/1.1 200 OK\r\ncontent-length: 104857600\r\n\r\n",
        "HTTP/1.1 200 OK\r\n\r\n",
        // 16 bytes a chunk, of each of which the node must not think that it is nothing
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
    ] {
        let stage = flooding(beginning, "10\r\n0123456789abcdef\r\n").await;
        stage.send().await;
        stage.delivered().await;
        stage.closed().await;
        assert!(stage.stats().read_bytes < BOUND, "{} bytes", stage.stats().read_bytes);
    }
}

#[tokio::test]
async fn a_gzip_bomb_is_just_bytes() {
    let mut bomb = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    bomb.write_all(&vec![0; 10 << 20]).unwrap();
    let bomb = bomb.finish().unwrap();
    for status in [200, 400] {
        let head = format!(
            "HTTP/1.1 {status} Boom\r\ncontent-encoding: gzip\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            bomb.len()
        );
        let stage = answering([head.as_bytes(), &bomb].concat()).await;
        stage.send().await;
        if status == 200 {
            stage.delivered().await;
        } else {
            let attempt = stage.failed(AttemptError::Status, "400").await;
            assert_eq!(attempt.response_excerpt, &bomb[..1024], "it is kept as it came");
        }
        assert!(stage.stats().read_bytes < BOUND);
    }
}

#[tokio::test]
async fn an_answer_that_trickles_ends_at_the_limit() {
    for (status, error) in [(200, AttemptError::Timeout), (400, AttemptError::Status)] {
        let head = format!("HTTP/1.1 {status} Slow\r\ncontent-length: 1000000\r\n\r\n");
        let length = head.len();
        let endpoint = HostileEndpoint::start(move |mut peer, _| {
            let head = head.clone();
            async move {
                peer.read_request().await?;
                peer.mark();
                peer.until_told().await;
                peer.send(&head).await?;
                loop {
                    peer.until_told().await;
                    peer.send("x").await?;
                }
            }
        });
        let stage = Stage::with(endpoint.await).await;
        stage.send().await;
        stage.hostile.reached(1).await;
        let before = stage.stats().read_bytes;
        for sent in 0..5 {
            stage.hostile.go();
            stage.has_read(before, length + sent).await;
        }
        stage.pass("request limit", LIMIT).await;
        let words = if status == 200 { "the response's body did not end within 10s" } else { "400" };
        let attempt = stage.failed(error, words).await;
        assert_eq!((attempt.http_status, attempt.duration.unwrap().seconds), (status, 10));
        stage.closed().await;
    }
}

#[tokio::test]
async fn silence_ends_at_the_limit() {
    let endpoint = HostileEndpoint::start(|mut peer, _| async move {
        peer.read_request().await?;
        peer.mark();
        peer.hold().await
    });
    let stage = Stage::with(endpoint.await).await;
    stage.send().await;
    stage.hostile.reached(1).await;
    stage.pass("request limit", LIMIT).await;
    let attempt = stage.failed(AttemptError::Timeout, "no response within 10s").await;
    let timings = attempt.timings.unwrap();
    assert_eq!((timings.first_byte.unwrap().seconds, timings.total.unwrap().seconds), (10, 10));
    stage.closed().await;
}

#[tokio::test]
async fn a_stalled_tls_handshake_has_a_limit_of_its_own() {
    let endpoint = HostileEndpoint::start_beneath_tls(|mut peer, _| async move {
        peer.read_some().await?;
        peer.mark();
        peer.hold().await
    });
    let stage = Stage::with(endpoint.await).await;
    stage.send().await;
    stage.hostile.reached(1).await;
    stage.pass("tls limit", Duration::from_secs(5)).await;
    let attempt = stage.failed(AttemptError::Tls, "did not end the TLS handshake in time").await;
    let timings = attempt.timings.unwrap();
    assert_eq!((timings.tls.unwrap().seconds, timings.first_byte), (5, None));
    stage.closed().await;
}

#[tokio::test]
async fn the_handshake_ends_with_the_exchange_too() {
    let endpoint = HostileEndpoint::start_beneath_tls(|mut peer, _| async move {
        peer.read_some().await?;
        peer.mark();
        peer.hold().await
    });
    let short = Some(prost_types::Duration { seconds: 2, nanos: 0 });
    let stage = Stage::with_sync(endpoint.await, None, |mut sync| {
        sync.destination.get_or_insert_default().timeout = short;
        sync
    });
    let stage = stage.await;
    stage.send().await;
    stage.hostile.reached(1).await;
    stage.pass("request limit", Duration::from_secs(2)).await;
    stage.failed(AttemptError::Tls, "no TLS session within 2s").await;
    stage.closed().await;
}

#[tokio::test]
async fn what_is_no_tls_is_a_tls_failure() {
    for reset in [false, true] {
        for bytes in ["", "HTTP/1.1 400 Bad Request\r\n\r\n", "\x16\x03\x03"] {
            let endpoint = HostileEndpoint::start_beneath_tls(move |mut peer, _| async move {
                peer.read_some().await?;
                peer.send(bytes).await?;
                if reset { peer.reset() } else { Ok(()) }
            });
            let stage = Stage::with(endpoint.await).await;
            stage.send().await;
            stage.failed(AttemptError::Tls, "check that its port serves https").await;
            stage.closed().await;
        }
    }
}

#[tokio::test]
async fn breaking_off_on_accept_is_a_failure() {
    for reset in [false, true] {
        let endpoint = HostileEndpoint::start(move |peer, _| async move { if reset { peer.reset() } else { Ok(()) } });
        let stage = Stage::with(endpoint.await).await;
        stage.send().await;
        let attempt = stage.cluster.wait_for_attempts("hostile", 1).await.remove(0);
        // It depends on the instant whether there ever was a connection.
        assert!(matches!(attempt.error(), AttemptError::Connect | AttemptError::Protocol), "{attempt:?}");
        assert_eq!(attempt.outcome(), AttemptOutcome::RetryNextRound);
        phases(&attempt);
        assert_eq!(stage.hostile.accepted(), 1);
        stage.closed().await;
    }
}

#[tokio::test]
async fn breaking_off_within_the_answer_is_a_failure() {
    for reset in [false, true] {
        for (bytes, error) in [
            ("", AttemptError::Protocol),
            ("HTTP/1.1 200 OK\r\nx-a", AttemptError::Protocol),
            ("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n0123456789", AttemptError::Body),
            ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\n01234\r\n", AttemptError::Body),
            ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n", AttemptError::Body),
            ("HTTP/1.1 404 Not Found\r\ncontent-length: 100\r\n\r\n0123456789", AttemptError::Status),
        ] {
            let stage = breaking_off(bytes, reset).await;
            let attempt = stage.failed(error, "").await;
            let status = match error {
                AttemptError::Body => 200,
                AttemptError::Status => 404,
                _ => 0,
            };
            assert_eq!(attempt.http_status, status, "{bytes}");
            stage.closed().await;
        }
    }
}

#[tokio::test]
async fn a_redirect_inside_is_not_followed() {
    for status in [301, 302, 303, 307, 308] {
        let stage = answering(format!(
            "HTTP/1.1 {status} Moved\r\nlocation: http://169.254.169.254/latest/meta-data/\r\ncontent-length: 0\r\n\r\n"
        ));
        let stage = stage.await;
        stage.send().await;
        stage.failed(AttemptError::Status, "redirects are not followed").await;
        assert_eq!(stage.stats().opened, 2, "one connection to each endpoint");
    }
}

#[tokio::test]
async fn a_switch_of_protocols_is_no_success() {
    let stage = answering("HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n").await;
    stage.send().await;
    let attempt = stage.failed(AttemptError::Status, "final status").await;
    assert_eq!(attempt.http_status, 101);
    stage.closed().await;
}

#[tokio::test]
async fn some_interim_responses_are_waited_through() {
    let stage = answering([b"HTTP/1.1 102 Processing\r\n\r\n".repeat(10), FINE.to_vec()].concat()).await;
    stage.send().await;
    stage.delivered().await;
}

#[tokio::test]
async fn an_answer_may_come_before_the_request_is_read() {
    let endpoint = HostileEndpoint::start(|mut peer, _| async move {
        peer.await_bytes().await?;
        peer.send(FINE).await?;
        peer.hold().await
    });
    let stage = Stage::with(endpoint.await).await;
    stage.send().await;
    stage.delivered().await;
}

#[tokio::test]
async fn an_answer_that_nobody_asked_for_is_not_taken_for_the_next_one() {
    let endpoint = HostileEndpoint::start(|mut peer, number| async move {
        peer.read_request().await?;
        if number == 0 {
            peer.send([FINE, b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nx-of: another\r\n\r\n"].concat()).await?;
        } else {
            peer.send("HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n").await?;
        }
        peer.hold().await
    });
    let stage = Stage::with(endpoint.await).await;
    stage.send().await;
    stage.delivered().await;
    stage.send().await;
    let second = stage.cluster.wait_for_attempts("hostile", 2).await.remove(1);
    assert_eq!((second.http_status, second.connection_reused), (400, false));
    assert_eq!(stage.hostile.requests().len(), 2);
}

#[tokio::test]
async fn a_wait_of_three_thousand_years_ends_with_the_window() {
    for status in ["429 Too Many Requests", "503 Service Unavailable"] {
        let stage = answering(format!(
            "HTTP/1.1 {status}\r\nretry-after: 99999999999\r\nretry-after: 1\r\ncontent-length: 0\r\n\r\n"
        ));
        let stage = stage.await;
        stage.send().await;
        let attempt = stage.failed(AttemptError::Status, &status[..3]).await;
        let window_end = START_MS / 1_000 + 4 * 3_600;
        assert_eq!(attempt.next_round_time.unwrap().seconds, window_end);
        let woken = stage.cluster.time.advance_to_next("next round").await;
        assert_eq!(woken / 1_000, window_end);
        let attempts = stage.cluster.wait_for_attempts("hostile", 2).await;
        assert_eq!((attempts[1].attempt, attempts[1].outcome()), (1, AttemptOutcome::Expired));
        stage.cluster.settled().await;
        assert_eq!(stage.hostile.requests().len(), 2);
    }
}

#[tokio::test]
async fn an_endpoint_that_always_breaks_off_gets_one_request_a_round() {
    let endpoint = HostileEndpoint::start(|mut peer, _| async move {
        peer.read_request().await?;
        peer.reset()
    });
    let stage = Stage::with(endpoint.await).await;
    stage.send().await;
    for round in 1..10 {
        stage.cluster.wait_for_attempts("hostile", round).await;
        stage.cluster.time.advance_to_next("next round").await;
    }
    stage.cluster.settled().await;
    let attempts = stage.cluster.wait_for_attempts("hostile", 10).await;
    let rounds: Vec<_> = attempts.iter().map(|attempt| (attempt.round, attempt.attempt, attempt.error())).collect();
    assert_eq!(rounds, (1..=10).map(|round| (round, 1, AttemptError::Protocol)).collect::<Vec<_>>());
    assert_eq!(attempts[9].outcome(), AttemptOutcome::Expired);
    assert_eq!((stage.hostile.requests().len(), stage.hostile.accepted()), (10, 10));
}

/// How far a request on a kept connection comes before the endpoint closes it.
#[derive(Clone, Copy, Debug)]
enum Closes {
    AtOnce,
    WhenAskedAgain,
    WithinTheHead,
    AfterTheHead,
    AfterTheRequest,
}

#[tokio::test]
async fn no_attempt_puts_two_requests_on_the_wire() {
    const EVENTS: usize = 30;
    for reset in [false, true] {
        for closes in [
            Closes::AtOnce,
            Closes::WhenAskedAgain,
            Closes::WithinTheHead,
            Closes::AfterTheHead,
            Closes::AfterTheRequest,
        ] {
            let endpoint = HostileEndpoint::start(move |mut peer, _| async move {
                peer.read_request().await?;
                peer.send(FINE).await?;
                match closes {
                    Closes::AtOnce => {}
                    Closes::WhenAskedAgain => peer.await_bytes().await?,
                    Closes::WithinTheHead => drop(peer.read_byte().await?),
                    Closes::AfterTheHead => drop(peer.read_head(b"").await?),
                    Closes::AfterTheRequest => peer.read_request().await?,
                }
                if reset { peer.reset() } else { Ok(()) }
            });
            let stage = Stage::with(endpoint.await).await;
            // Several at a time, so that connections are closed while others ask for one.
            stage.cluster.send((0..EVENTS).map(|n| event("a", &format!("u{n}")))).await;
            let attempts = stage.cluster.wait_for_attempts("hostile", EVENTS).await;
            assert_eq!(attempts.len(), EVENTS, "one attempt each: {closes:?}");
            let mut requests: HashMap<String, usize> = HashMap::new();
            for id in stage.hostile.requests() {
                *requests.entry(id).or_default() += 1;
            }
            for attempt in &attempts {
                phases(attempt);
                let id = attempt.delivery.rsplit('/').next().unwrap();
                let seen = requests.get(id).copied().unwrap_or_default();
                let delivered = attempt.outcome() == AttemptOutcome::Delivered;
                assert!(delivered || attempt.error() == AttemptError::Protocol, "{closes:?}: {attempt:?}");
                assert!(seen <= 1 && (seen == 1 || !delivered), "{closes:?}: {seen} requests for {attempt:?}");
            }
            let stats = stage.stats();
            assert_eq!(stats.requests, 2 * EVENTS as u64, "{closes:?}: {stats:?}");
            stage.cluster.wait_for_attempts("healthy", EVENTS).await;
        }
    }
}
