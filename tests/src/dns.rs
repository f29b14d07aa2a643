//! A DNS server whose answers are scripted, and a resolver for the guard that asks it: over UDP, at each lookup, keeping
//! nothing.

use std::{
    collections::{HashMap, VecDeque},
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU16, Ordering},
    },
};

use sluice_node::guard::Resolver;
use tokio::{net::UdpSocket, task::JoinHandle};

const HEADER_BYTES: usize = 12;
const MAX_MESSAGE_BYTES: usize = 65_507;
const TYPE_A: u16 = 1;
const TYPE_AAAA: u16 = 28;
const CLASS_IN: u16 = 1;
const NO_SUCH_NAME: u8 = 3;

/// A running DNS server. Dropping it stops it.
pub struct DnsServer {
    address: SocketAddr,
    names: Arc<Mutex<HashMap<String, Name>>>,
    task: JoinHandle<()>,
}

/// What is known of a name.
#[derive(Default)]
struct Name {
    /// Answers of the lookups to come; the last one stays.
    answers: VecDeque<Vec<IpAddr>>,
    lookups: usize,
    silent: bool,
}

impl DnsServer {
    /// On a free port of 127.0.0.1; knows no name.
    pub async fn start() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let names = Arc::default();
        let task = tokio::spawn(serve(socket, Arc::clone(&names)));
        Self { address, names, task }
    }

    /// The lookups of `name` to come are answered with these addresses, one answer after the other; the last one stays.
    pub fn answer(&self, name: &str, answers: &[&[&str]]) {
        let parsed = |answer: &&[&str]| answer.iter().map(|address| address.parse().unwrap()).collect();
        let known = Name { answers: answers.iter().map(parsed).collect(), ..Name::default() };
        self.names.lock().unwrap().insert(name.to_owned(), known);
    }

    /// Answers nothing about `name`.
    pub fn silence(&self, name: &str) {
        self.names.lock().unwrap().insert(name.to_owned(), Name { silent: true, ..Name::default() });
    }

    /// How often `name` was looked up.
    #[must_use]
    pub fn lookups(&self, name: &str) -> usize {
        self.names.lock().unwrap().get(name).map_or(0, |name| name.lookups)
    }

    /// Resolves by this server.
    #[must_use]
    pub fn resolver(&self) -> Resolver {
        let server = self.address;
        Resolver::new(move |host| Box::pin(look_up(server, host)))
    }
}

impl Drop for DnsServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(socket: UdpSocket, names: Arc<Mutex<HashMap<String, Name>>>) {
    let mut buffer = vec![0; MAX_MESSAGE_BYTES];
    while let Ok((length, peer)) = socket.recv_from(&mut buffer).await {
        let query = &buffer[..length];
        let Some((name, kind, end)) = question(query) else { continue };
        let Some(addresses) = answer(&mut names.lock().unwrap(), &name, kind) else { continue };
        let response = respond(query, end, addresses.as_deref());
        let _ = socket.send_to(&response, peer).await;
    }
}

/// The addresses of one kind; `Some(None)` for a name that there is not, `None` for silence. A lookup begins with the question
/// for IPv4 addresses; the one for IPv6 addresses that follows is answered from the same answer.
fn answer(names: &mut HashMap<String, Name>, name: &str, kind: u16) -> Option<Option<Vec<IpAddr>>> {
    let Some(known) = names.get_mut(name) else { return Some(None) };
    if kind == TYPE_A {
        if known.lookups > 0 && known.answers.len() > 1 {
            known.answers.pop_front();
        }
        known.lookups += 1;
    }
    if known.silent {
        return None;
    }
    let addresses = known.answers.front().cloned().unwrap_or_default();
    Some(Some(addresses.into_iter().filter(|address| type_of(*address) == kind).collect()))
}

/// Name, type and end of a message's question.
fn question(message: &[u8]) -> Option<(String, u16, usize)> {
    let (mut labels, mut at) = (Vec::new(), HEADER_BYTES);
    loop {
        let length = usize::from(*message.get(at)?);
        at += 1;
        if length == 0 {
            break;
        }
        labels.push(String::from_utf8_lossy(message.get(at..at + length)?).to_ascii_lowercase());
        at += length;
    }
    Some((labels.join("."), number(message, at)?, at + 4))
}

/// The response to a query whose question ends at `end`.
fn respond(query: &[u8], end: usize, addresses: Option<&[IpAddr]>) -> Vec<u8> {
    let mut response = query[..end].to_vec();
    response[2] |= 0x80;
    response[3] = if addresses.is_some() { 0 } else { NO_SUCH_NAME };
    let addresses = addresses.unwrap_or_default();
    response[6..8].copy_from_slice(&u16::try_from(addresses.len()).unwrap().to_be_bytes());
    for address in addresses {
        // The name is the question's.
        response.extend([0xc0, HEADER_BYTES as u8]);
        response.extend([type_of(*address), CLASS_IN].map(u16::to_be_bytes).concat());
        response.extend(0_u32.to_be_bytes());
        let octets = match address {
            IpAddr::V4(address) => address.octets().to_vec(),
            IpAddr::V6(address) => address.octets().to_vec(),
        };
        response.extend(u16::try_from(octets.len()).unwrap().to_be_bytes());
        response.extend(octets);
    }
    response
}

/// Asks for the IPv4 addresses of `host`, then for its IPv6 addresses.
async fn look_up(server: SocketAddr, host: String) -> io::Result<Vec<IpAddr>> {
    let socket = UdpSocket::bind("127.0.0.1:0").await?;
    socket.connect(server).await?;
    let mut found = Vec::new();
    for kind in [TYPE_A, TYPE_AAAA] {
        let query = query(&host, kind)?;
        socket.send(&query).await?;
        let mut buffer = vec![0; MAX_MESSAGE_BYTES];
        let length = socket.recv(&mut buffer).await?;
        found.extend(addresses(&query, &buffer[..length])?);
    }
    Ok(found)
}

fn query(host: &str, kind: u16) -> io::Result<Vec<u8>> {
    static ID: AtomicU16 = AtomicU16::new(0);
    // id, recursion wished for, one question
    let mut query = ID.fetch_add(1, Ordering::Relaxed).to_be_bytes().to_vec();
    query.extend([1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    for label in host.trim_end_matches('.').split('.') {
        let length = u8::try_from(label.len()).ok().filter(|length| (1..=63).contains(length));
        query.push(length.ok_or_else(|| io::Error::other("no host name"))?);
        query.extend(label.as_bytes());
    }
    query.push(0);
    query.extend([kind, CLASS_IN].map(u16::to_be_bytes).concat());
    Ok(query)
}

/// The addresses in a response to `query`.
fn addresses(query: &[u8], response: &[u8]) -> io::Result<Vec<IpAddr>> {
    let broken = || io::Error::other("a broken response");
    if response.get(..2) != query.get(..2) {
        return Err(broken());
    }
    if response.get(3).is_none_or(|flags| flags & 0x0f != 0) {
        return Err(io::Error::other("no such name"));
    }
    let count = number(response, 6).ok_or_else(broken)?;
    let (mut found, mut at) = (Vec::new(), query.len());
    for _ in 0..count {
        // A pointer to the name, type, class, time to live, length
        let length = usize::from(number(response, at + 10).ok_or_else(broken)?);
        let octets = response.get(at + 12..at + 12 + length).ok_or_else(broken)?;
        if let Ok(octets) = <[u8; 4]>::try_from(octets) {
            found.push(Ipv4Addr::from(octets).into());
        } else if let Ok(octets) = <[u8; 16]>::try_from(octets) {
            found.push(Ipv6Addr::from(octets).into());
        }
        at += 12 + length;
    }
    Ok(found)
}

fn number(message: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes([*message.get(at)?, *message.get(at + 1)?]))
}

fn type_of(address: IpAddr) -> u16 {
    if address.is_ipv4() { TYPE_A } else { TYPE_AAAA }
}
