//! A `sluice dev` to give commands to, and an endpoint.

#![allow(dead_code)] // each file of tests uses its part

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    thread,
};

/// A `sluice dev`, stopped when this is dropped.
pub(crate) struct Dev {
    pub(crate) process: Child,
    pub(crate) folder: tempfile::TempDir,
    pub(crate) control_plane: String,
    node: String,
}

/// What a command came to.
pub(crate) struct Run {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Dev {
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut process = Command::new(env!("CARGO_BIN_EXE_sluice"))
            .env_clear()
            .args(["dev", "--control-plane-port", "0", "--node-port", "0", "--data-dir"])
            .arg(folder.path().join("data"))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let mut value = |name: &str| {
            let line = lines.find(|line| line.as_ref().unwrap().trim_start().starts_with(name)).unwrap().unwrap();
            line.trim_start()[name.len()..].trim().to_owned()
        };
        let (control_plane, node) = (value("control plane"), value("node"));
        thread::spawn(move || lines.for_each(drop));
        Self { process, folder, control_plane, node }
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Run {
        let output = Command::new(env!("CARGO_BIN_EXE_sluice"))
            .env_clear()
            .env("SLUICE_CONTROL_PLANE", &self.control_plane)
            .env("SLUICE_NODE", &self.node)
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        Run {
            code: output.status.code().unwrap(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// What a command prints that ends well.
    pub(crate) fn ok(&self, arguments: &[&str]) -> String {
        let run = self.run(arguments);
        assert_eq!(run.code, 0, "{arguments:?}: {}{}", run.stdout, run.stderr);
        run.stdout
    }

    pub(crate) fn file(&self, name: &str, text: &str) -> String {
        let path = self.folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        // It is gone already where a test has stopped it.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// An endpoint that answers 404 to paths that begin with `/no` and 200 to all else.
pub(crate) fn endpoint() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for connection in listener.incoming().map_while(Result::ok) {
            thread::spawn(move || answer(connection));
        }
    });
    url
}

fn answer(connection: TcpStream) {
    let mut reader = BufReader::new(connection.try_clone().unwrap());
    let mut writer = connection;
    loop {
        let (mut head, mut length) = (String::new(), 0);
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
            if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
            if line.trim().is_empty() {
                break;
            }
            head.push_str(&line);
        }
        std::io::copy(&mut (&mut reader).take(length), &mut std::io::sink()).unwrap();
        let status = if head.starts_with("POST /no") { "404 Not Found" } else { "200 OK" };
        if writer.write_all(format!("HTTP/1.1 {status}\r\ncontent-length: 2\r\n\r\nok").as_bytes()).is_err() {
            return;
        }
    }
}

/// A sync of that name, with a secret and a template.
pub(crate) fn manifest(name: &str, url: &str, template: &str) -> String {
    format!(
        "name: {name}\nenabled: true\nlabels: {{ team: crm }}\ndestination:\n  url: {url}\n  headers:\n    - name: Authorization\n      \
         secret: {{ value: 'Bearer hush-hush' }}\nevents:\n  template:\n    source: |\n      {template}\n"
    )
}
