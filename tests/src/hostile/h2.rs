//! HTTP/2 frame by frame, as a script speaks it.

use std::io;

use tokio::io::AsyncReadExt as _;

use super::Peer;

/// An HTTP/2 frame.
#[derive(Debug)]
pub struct Frame {
    /// One of [`kind`].
    pub kind: u8,
    /// Of [`flag`].
    pub flags: u8,
    /// Of which stream; 0: of the connection.
    pub stream: u32,
    /// What it holds.
    pub payload: Vec<u8>,
}

/// Kinds of HTTP/2 frames (RFC 9113 §6).
pub mod kind {
    /// A part of a body.
    pub const DATA: u8 = 0;
    /// The head of a message.
    pub const HEADERS: u8 = 1;
    /// The end of a stream before its time.
    pub const RST_STREAM: u8 = 3;
    /// What a peer can bear.
    pub const SETTINGS: u8 = 4;
    /// Is anybody there?
    pub const PING: u8 = 6;
    /// No new streams.
    pub const GOAWAY: u8 = 7;
    /// What did not fit into a HEADERS.
    pub const CONTINUATION: u8 = 9;
}

/// Flags of HTTP/2 frames.
pub mod flag {
    /// Of SETTINGS and PING: the answer to one.
    pub const ACK: u8 = 1;
    /// Nothing more follows on the stream.
    pub const END_STREAM: u8 = 1;
    /// No CONTINUATION follows.
    pub const END_HEADERS: u8 = 4;
}

/// `:status: 200` by its place in HPACK's static table (RFC 7541, appendix A).
pub const STATUS_200: &[u8] = &[0x88];

/// `:status: 103` written out, and not kept in the dynamic table.
pub const STATUS_103: &[u8] = &[0x08, 0x03, b'1', b'0', b'3'];

/// The bytes of an HTTP/2 frame.
#[must_use]
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

impl Peer {
    /// Reads the beginning of an HTTP/2 connection and sends `settings`, pairs of an identifier and a value.
    ///
    /// # Errors
    /// If the peer breaks off.
    pub async fn begin_h2(&mut self, settings: &[(u16, u32)]) -> io::Result<()> {
        let mut preface = [0; 24];
        self.stream().read_exact(&mut preface).await?;
        assert_eq!(&preface, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
        let payload: Vec<u8> = settings
            .iter()
            .flat_map(|(id, value)| [&id.to_be_bytes()[..], &value.to_be_bytes()[..]].concat())
            .collect();
        self.send(frame(kind::SETTINGS, 0, 0, &payload)).await
    }

    /// Reads an HTTP/2 frame; acks settings.
    ///
    /// # Errors
    /// If the peer breaks off.
    pub async fn read_frame(&mut self) -> io::Result<Frame> {
        let mut head = [0; 9];
        self.stream().read_exact(&mut head).await?;
        let [l1, l2, l3, kind, flags, stream @ ..] = head;
        let mut payload = vec![0; u32::from_be_bytes([0, l1, l2, l3]) as usize];
        self.stream().read_exact(&mut payload).await?;
        if kind == kind::SETTINGS && flags & flag::ACK == 0 {
            self.send(frame(kind::SETTINGS, flag::ACK, 0, &[])).await?;
        }
        Ok(Frame { kind, flags, stream: u32::from_be_bytes(stream), payload })
    }

    /// Reads frames up to the head of the next request; gives its stream.
    ///
    /// # Errors
    /// If the peer breaks off.
    pub async fn read_h2_head(&mut self) -> io::Result<u32> {
        loop {
            let frame = self.read_frame().await?;
            if frame.kind == kind::HEADERS {
                return Ok(frame.stream);
            }
        }
    }
}
