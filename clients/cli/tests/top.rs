//! `sluice top` against a real `sluice dev`: once, and on a terminal.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::{
    fs::File,
    io::{Read as _, Write as _},
    os::fd::OwnedFd,
    process::{Child, Command},
    sync::mpsc::{self, Receiver},
    thread,
    time::{Duration, Instant},
};

use rustix::{
    fs::{Mode, OFlags},
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{LocalModes, Termios, Winsize, tcgetattr, tcsetwinsize},
};

use self::support::{Dev, endpoint, manifest};

/// What is not seen within this time does not come.
const PATIENCE: Duration = Duration::from_secs(60);

/// Three syncs: one delivers, one fails, one is disabled.
fn busy() -> Dev {
    let dev = Dev::start();
    let url = endpoint();
    dev.ok(&["sync", "apply", "-f", &dev.file("well.yaml", &manifest("well", &url, "{}"))]);
    dev.ok(&["sync", "apply", "-f", &dev.file("bad.yaml", &manifest("bad", &format!("{url}/no"), "{}"))]);
    let disabled = manifest("idle", &url, "{}").replace("enabled: true", "enabled: false");
    dev.ok(&["sync", "apply", "-f", &dev.file("idle.yaml", &disabled)]);
    let events: String = (0..20).map(|n| format!("{{\"event_type\": \"a\", \"device_id\": \"d{n}\"}}\n")).collect();
    dev.ok(&["events", "send", &dev.file("events.ndjson", &events)]);
    dev
}

const ONCE: [&str; 4] = ["top", "--once", "--interval", "100ms"];

#[test]
fn one_look_shows_what_the_control_plane_knows() {
    let dev = busy();
    // Reports follow the deliveries within moments.
    let look = || dev.ok(&[&ONCE[..], &["-o", "json"]].concat());
    let mut seen: serde_json::Value = serde_json::Value::Null;
    for _ in 0..200 {
        seen = serde_json::from_str(&look()).unwrap();
        if seen["syncs"][0]["state"] == "failing" && seen["syncs"][2]["delivery_rate"] == 1.0 {
            break;
        }
    }
    let syncs = seen["syncs"].as_array().unwrap();
    let of = |field: &str| syncs.iter().map(|sync| sync[field].clone()).collect::<Vec<_>>();
    assert_eq!(of("name"), ["bad", "idle", "well"]);
    assert_eq!(of("state"), ["failing", "disabled", "enabled"]);
    assert_eq!(of("reason"), ["HTTP 404", "", ""]);
    assert_eq!((of("pending_count")[0].as_i64(), of("pending_count")[2].as_i64()), (Some(20), Some(0)));
    assert!(syncs[0]["failing_for_seconds"].is_number() && syncs[2]["latency_p99_seconds"].as_f64().unwrap() > 0.0);
    assert!(syncs.iter().all(|sync| sync["delivered_per_second"].is_number()), "{seen}");
    let node = &seen["nodes"][0];
    assert_eq!((node["name"].as_str(), node["state"].as_str()), (Some("local"), Some("connected")));
    assert_eq!((node["lag"].as_i64(), node["revision"].as_i64()), (Some(0), Some(3)));
    assert!(node["accepted_per_second"].is_number() && node["behind_seconds"].is_null(), "{seen}");

    // Where standard output is no terminal one look is all.
    let text = dev.ok(&["top", "--interval", "100ms", "--sort", "pending", "--filter", "a"]);
    let lines: Vec<_> = text.lines().collect();
    assert!(lines[0].starts_with("syncs: 3 (1 failing, 1 disabled)"), "{text}");
    assert!(lines[1].starts_with("nodes: 1 connected, 0 draining, 0 gone"), "{text}");
    assert!(lines[4].starts_with("bad") && lines[4].contains("HTTP 404"), "{text}");
    assert!(!text.contains(|c: char| c.is_control() && c != '\n'), "{text:?}");
}

#[test]
fn what_cannot_be_done_is_said_as_elsewhere() {
    let dev = Dev::start();
    let run = dev.run(&["top", "--once", "--sort", "nonsense"]);
    assert!(run.code == 2 && run.stderr.contains("latest reason"), "{}", run.stderr);
    assert_eq!(dev.run(&["top", "--once", "--interval", "1ms"]).code, 2);
    let run = dev.run(&["top", "--once", "--control-plane", "http://127.0.0.1:1"]);
    assert!(run.code == 5 && run.stderr.contains("sluice dev"), "{}", run.stderr);
    let run = dev.run(&["top", "--once", "--project", "nowhere"]);
    assert_eq!(run.code, 4, "{}", run.stderr);
    assert!(dev.ok(&ONCE).contains("syncs: 0 (0 failing, 0 disabled)"));
}

/// A terminal, and `sluice top` on it.
struct Terminal {
    top: Child,
    screen: File,
    /// What it has written, as it comes.
    written: Receiver<Vec<u8>>,
    shown: Vec<u8>,
    /// The other end, held so that its settings can be read.
    line: OwnedFd,
    before: Termios,
}

impl Terminal {
    fn start(dev: &Dev) -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap();
        let line = rustix::fs::open(name, OFlags::RDWR | OFlags::NOCTTY, Mode::empty()).unwrap();
        tcsetwinsize(&line, Winsize { ws_row: 30, ws_col: 120, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
        let before = tcgetattr(&line).unwrap();
        let end = || line.try_clone().unwrap();
        let top = Command::new(env!("CARGO_BIN_EXE_sluice"))
            .env_clear()
            .env("TERM", "xterm-256color")
            .env("SLUICE_CONTROL_PLANE", &dev.control_plane)
            .args(["top", "--interval", "100ms"])
            .stdin(end())
            .stdout(end())
            .stderr(end())
            .spawn()
            .unwrap();
        let screen = File::from(master);
        let (told, written) = mpsc::channel();
        let mut reading = screen.try_clone().unwrap();
        thread::spawn(move || {
            let mut buffer = [0; 4_096];
            while let Ok(count) = reading.read(&mut buffer)
                && told.send(buffer[..count].to_vec()).is_ok()
            {}
        });
        Self { top, screen, written, shown: Vec::new(), line, before }
    }

    /// Reads until the text stands on the screen.
    fn wait_for(&mut self, text: &str) {
        self.wait_until(text, |written| screen(written).contains(text));
    }

    fn wait_until(&mut self, what: &str, seen: impl Fn(&str) -> bool) {
        let began = Instant::now();
        loop {
            let written = String::from_utf8_lossy(&self.shown);
            if seen(&written) {
                return;
            }
            match self.written.recv_timeout(PATIENCE.saturating_sub(began.elapsed())) {
                Ok(written) => self.shown.extend(written),
                Err(error) => panic!("{what} was not seen: {error}: {}", screen(&written)),
            }
        }
    }

    fn press(&mut self, keys: &str) {
        self.screen.write_all(keys.as_bytes()).unwrap();
    }

    /// Waits for the end; the terminal is as it was.
    fn ended(mut self) {
        self.wait_until("the end", |written| written.contains("\u{1b}[?1049l"));
        assert!(self.top.wait().unwrap().success());
        let after = tcgetattr(&self.line).unwrap();
        assert!(after.local_modes.contains(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG));
        assert_eq!((after.local_modes, after.input_modes), (self.before.local_modes, self.before.input_modes));
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // It has ended already unless the test failed.
        let _ = self.top.kill();
        let _ = self.top.wait();
    }
}

/// What stands on the screen after all of this was written.
fn screen(written: &str) -> String {
    let mut lines = vec![vec![' '; 120]; 30];
    let (mut row, mut column) = (0, 0);
    let mut characters = written.chars();
    while let Some(character) = characters.next() {
        if character != '\u{1b}' {
            if let Some(cell) = lines.get_mut(row).and_then(|line| line.get_mut(column)) {
                *cell = character;
            }
            column += 1;
            continue;
        }
        characters.next();
        let mut sequence = String::new();
        let last = characters.by_ref().find(|character| {
            sequence.push(*character);
            character.is_ascii_alphabetic()
        });
        if last == Some('H')
            && let Some((to_row, to_column)) = sequence.trim_end_matches('H').split_once(';')
            && let (Ok(to_row), Ok(to_column)) = (to_row.parse::<usize>(), to_column.parse::<usize>())
        {
            (row, column) = (to_row - 1, to_column - 1);
        }
    }
    lines.into_iter().map(|line| line.into_iter().collect::<String>() + "\n").collect()
}

#[test]
fn on_a_terminal_it_is_live_and_gives_it_back() {
    let dev = busy();
    let mut terminal = Terminal::start(&dev);
    terminal.wait_for("HTTP 404");
    terminal.press("\r");
    terminal.wait_for("latest attempts");
    terminal.press("\t");
    terminal.wait_for("ACCEPTED/S");
    terminal.press("/loc");
    terminal.wait_for("filter: loc");
    // Together with another key it would be Alt.
    terminal.press("\u{1b}");
    terminal.wait_for("q quit");
    terminal.press("q");
    terminal.ended();

    // Ctrl-C is a key there.
    let mut terminal = Terminal::start(&dev);
    terminal.wait_for("well");
    assert!(!tcgetattr(&terminal.line).unwrap().local_modes.contains(LocalModes::ICANON));
    terminal.press("\u{3}");
    terminal.ended();

    let mut terminal = Terminal::start(&dev);
    terminal.wait_for("well");
    let sent = Command::new("kill").args(["-TERM", &terminal.top.id().to_string()]).status().unwrap();
    assert!(sent.success());
    terminal.ended();
}

#[test]
fn it_goes_on_when_the_control_plane_is_gone() {
    let mut dev = busy();
    let mut terminal = Terminal::start(&dev);
    terminal.wait_for("well");
    dev.process.kill().unwrap();
    dev.process.wait().unwrap();
    terminal.wait_for("asking again");
    terminal.press("q");
    terminal.ended();
}
