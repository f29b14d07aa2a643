//! Does to files what its arguments say, one after the other, so that a test can see which of it survives a fault:
//! `create F`, `write F OFFSET LENGTH BYTE`, `append F LENGTH BYTE`, `truncate F LENGTH`, `sync F` (a folder too),
//! `rename F G`, `remove F`, `read F`, `now`. What fails is printed as the operating system's error number; nothing stops it
//! but a power cut.
#![allow(clippy::unwrap_used, clippy::expect_used)] // test support: a failure here is a failed test

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::FileExt as _,
    time::SystemTime,
};

fn main() {
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut next = || words.next().unwrap();
        let done = match word.as_str() {
            "create" => File::create(next()).map(drop),
            "write" => {
                let (path, offset, length) = (next(), next().parse().unwrap(), next().parse().unwrap());
                let bytes = vec![next().as_bytes()[0]; length];
                edit(&path).and_then(|file| file.write_all_at(&bytes, offset))
            }
            "append" => {
                let (path, length) = (next(), next().parse().unwrap());
                let bytes = vec![next().as_bytes()[0]; length];
                OpenOptions::new().append(true).open(path).and_then(|mut file| file.write_all(&bytes))
            }
            "truncate" => {
                let (path, length) = (next(), next().parse().unwrap());
                edit(&path).and_then(|file| file.set_len(length))
            }
            "sync" => File::open(next()).and_then(|file| file.sync_all()),
            "rename" => fs::rename(next(), next()),
            "remove" => fs::remove_file(next()),
            "read" => fs::read(next()).map(drop),
            "now" => {
                let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
                println!("{}", since_epoch.as_millis());
                continue;
            }
            other => panic!("{other}: not a word that the probe knows"),
        };
        say(&done);
    }
}

fn edit(path: &str) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).open(path)
}

fn say(done: &io::Result<()>) {
    match done {
        Ok(()) => println!("ok"),
        Err(error) => println!("error {}", error.raw_os_error().unwrap_or_default()),
    }
}
