//! The server over loopback, with an upstream that does what the test says.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::rdata::{A, CNAME, SOA};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use tokio_util::sync::CancellationToken;

use super::run_on;
use crate::config::{Config, Transport, Upstream};
use crate::daemon::{Paths, Pictures};
use crate::dns::testing::{answers, arc, config, network, question, read};
use crate::dns::{Hosts, LocalNames};

/// An upstream: every question goes through `behaviour`, which gives the datagrams to send back.
struct Fake {
    address: SocketAddr,
    asked: Arc<AtomicUsize>,
    ports: Arc<std::sync::Mutex<Vec<(u16, u16)>>>,
    stop: Arc<AtomicBool>,
}

type Behaviour = dyn Fn(&Message, &[u8]) -> Vec<(Duration, Vec<u8>)> + Send + Sync;

impl Fake {
    fn start(behaviour: Box<Behaviour>) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let fake = Fake {
            address: socket.local_addr().unwrap(),
            asked: Arc::default(),
            ports: Arc::default(),
            stop: Arc::default(),
        };
        let (asked, ports, stop) = (fake.asked.clone(), fake.ports.clone(), fake.stop.clone());
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while !stop.load(Ordering::Relaxed) {
                let Ok((length, from)) = socket.recv_from(&mut buffer) else { continue };
                let message = Message::from_vec(&buffer[..length]).unwrap();
                asked.fetch_add(1, Ordering::Relaxed);
                ports.lock().unwrap().push((from.port(), message.metadata.id));
                for (delay, answer) in behaviour(&message, &buffer[..length]) {
                    let socket = socket.try_clone().unwrap();
                    let send = move || {
                        thread::park_timeout(delay);
                        let _ = socket.send_to(&answer, from);
                    };
                    if delay.is_zero() { send() } else { drop(thread::spawn(send)) }
                }
            }
        });
        fake
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn respond(message: &Message) -> Message {
    let mut answer = message.clone();
    answer.metadata.message_type = hickory_proto::op::MessageType::Response;
    answer.metadata.recursion_available = true;
    answer
}

/// The answer `NAME A address` to a question as it came.
fn truth(message: &Message, address: [u8; 4]) -> Vec<u8> {
    let mut answer = respond(message);
    let name = message.queries[0].name().clone();
    answer.add_answer(Record::from_rdata(name, 300, RData::A(A(address.into()))));
    answer.to_vec().unwrap()
}

fn truthful() -> Box<Behaviour> {
    Box::new(|message, _| vec![(Duration::ZERO, truth(message, [192, 0, 2, 1]))])
}

/// A port that is free now and that nobody gets by asking for any: those are chosen above 10,000.
fn free_port() -> u16 {
    let first = std::process::id() as u16 % 7000;
    let free =
        |port: &u16| UdpSocket::bind(("127.0.0.1", *port)).is_ok() && TcpListener::bind(("127.0.0.1", *port)).is_ok();
    (0..1000u16).map(|step| 2000 + first.wrapping_add(step * 13) % 7000).find(free).unwrap()
}

struct Server {
    port: u16,
    pictures: Arc<Pictures>,
    token: CancellationToken,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.token.cancel();
    }
}

/// A server on 127.0.0.1 for 127.0.0.0/8 with these upstreams.
async fn serve(upstreams: &[SocketAddr], change: impl FnOnce(&mut Config)) -> Server {
    serve_in("/".into(), upstreams, change).await
}

/// The same with a folder for what outlives it.
async fn serve_in(state: std::path::PathBuf, upstreams: &[SocketAddr], change: impl FnOnce(&mut Config)) -> Server {
    let mut config = config();
    config.networks = vec![network("lo", "127.0.0.1/8", "home.arpa")];
    config.hosts.clear();
    config.dns.upstreams = upstreams.iter().map(|&server| Upstream { transport: Transport::Udp, server }).collect();
    change(&mut config);
    let fixed = crate::desired::names::fixed(&config, &Hosts::default());
    let paths = Paths { config: "/".into(), state, runtime: "/".into() };
    let pictures = Arc::new(Pictures::new(paths, arc(config)));
    pictures.names.store(arc(LocalNames::new(fixed)));
    let port = free_port();
    let token = CancellationToken::new();
    tokio::spawn(run_on(pictures.clone(), token.clone(), port));
    let mut health = pictures.health.subscribe();
    health.wait_for(|table| table.get("dns lo").is_some_and(|row| row.good)).await.unwrap();
    Server { port, pictures, token }
}

impl Server {
    /// Asks over UDP from a thread of its own.
    async fn ask(&self, message: Vec<u8>) -> Vec<u8> {
        let port = self.port;
        tokio::task::spawn_blocking(move || ask(port, &message)).await.unwrap()
    }
}

fn ask(port: u16, message: &[u8]) -> Vec<u8> {
    let socket = UdpSocket::bind("127.0.0.2:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    socket.send_to(message, ("127.0.0.1", port)).unwrap();
    let mut buffer = [0; 4096];
    let length = socket.recv(&mut buffer).unwrap();
    buffer[..length].to_vec()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_miss_is_asked_once_and_then_cached() {
    let fake = Fake::start(truthful());
    let server = serve(&[fake.address], |_| ()).await;
    let first = server.ask(question("WWW.Example.net", RecordType::A, true)).await;
    assert_eq!(answers(&first), ["A 192.0.2.1"]);
    assert_eq!(first[12..29], *b"\x03WWW\x07Example\x03net\0");
    let second = server.ask(question("www.example.net", RecordType::A, false)).await;
    assert_eq!(answers(&second), ["A 192.0.2.1"]);
    assert!(read(&second).edns.is_none() && fake.asked() == 1);
    // Local names need nobody.
    assert_eq!(answers(&server.ask(question("gateway.home.arpa", RecordType::A, false)).await), ["A 127.0.0.1"]);
    assert_eq!(
        read(&server.ask(question("nobody.home.arpa", RecordType::A, false)).await).metadata.response_code,
        ResponseCode::NXDomain
    );
    assert_eq!(fake.asked(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn forged_answers_are_ignored_and_the_true_one_is_used() {
    let fake = Fake::start(Box::new(|message, bytes| {
        let lie = truth(message, [198, 51, 100, 66]);
        let changed = |change: &dyn Fn(&mut Vec<u8>)| {
            let mut forged = lie.clone();
            change(&mut forged);
            (Duration::ZERO, forged)
        };
        let end = 12 + bytes[12..].iter().position(|&byte| byte == 0).unwrap() + 1;
        vec![
            changed(&|m| m[0] ^= 1),
            changed(&|m| m[2] &= 0x7f),
            changed(&|m| m[2] |= 0x28),
            changed(&|m| m[13] = b'x'),
            changed(&|m| m[end + 1] = 28),
            changed(&|m| m[end + 3] = 3),
            changed(&|m| m[5] = 0),
            changed(&|m| m[5] = 2),
            changed(&|m| m.truncate(7)),
            changed(&|m| m.truncate(20)),
            changed(&|m| m[12..end].make_ascii_lowercase()),
            (Duration::ZERO, vec![0xff; 60]),
            (Duration::from_millis(80), truth(message, [192, 0, 2, 7])),
        ]
    }));
    let server = serve(&[fake.address], |_| ()).await;
    let answer = server.ask(question("a-long-name-with-many-letters.example.net", RecordType::A, false)).await;
    assert_eq!(answers(&answer), ["A 192.0.2.7"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_equal_questions_are_one() {
    let fake = Fake::start(Box::new(|message, _| vec![(Duration::from_millis(150), truth(message, [192, 0, 2, 1]))]));
    let server = serve(&[fake.address], |_| ()).await;
    let port = server.port;
    let answered = tokio::task::spawn_blocking(move || {
        let clients: Vec<_> = (0..100).map(|_| UdpSocket::bind("127.0.0.3:0").unwrap()).collect();
        for client in &clients {
            client.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
            client.send_to(&question("same.example.net", RecordType::A, false), ("127.0.0.1", port)).unwrap();
        }
        let mut buffer = [0; 512];
        clients.iter().filter(|client| client.recv(&mut buffer).is_ok()).count()
    });
    assert_eq!((answered.await.unwrap(), fake.asked()), (100, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn ports_and_ids_are_fresh_for_every_question() {
    let fake = Fake::start(truthful());
    let server = serve(&[fake.address], |_| ()).await;
    let port = server.port;
    tokio::task::spawn_blocking(move || {
        for number in 0..400 {
            ask(port, &question(&format!("n{number}.example.net"), RecordType::A, false));
        }
    })
    .await
    .unwrap();
    let (mut ports, mut ids): (Vec<_>, Vec<_>) = fake.ports.lock().unwrap().iter().copied().unzip();
    ports.sort_unstable();
    ports.dedup();
    ids.sort_unstable();
    ids.dedup();
    assert!(ports.len() >= 390 && ids.len() >= 390, "{} ports, {} ids", ports.len(), ids.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_server_is_passed_over() {
    let silent = Fake::start(Box::new(|_, _| vec![]));
    let good = Fake::start(truthful());
    let server = serve(&[silent.address, good.address], |_| ()).await;
    let started = Instant::now();
    for number in 0..20 {
        let answer = server.ask(question(&format!("n{number}.example.net"), RecordType::A, false)).await;
        assert_eq!(answers(&answer), ["A 192.0.2.1"]);
    }
    // Twice half a second until it counts as failing, a probe now and then costs nothing.
    assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn silence_of_all_ends_in_servfail_or_in_the_old_answer() {
    let talks = Arc::new(AtomicBool::new(true));
    let still = talks.clone();
    let fake = Fake::start(Box::new(move |message, _| {
        if !still.load(Ordering::Relaxed) {
            return vec![];
        }
        let mut answer = respond(message);
        let name = message.queries[0].name().clone();
        answer.add_answer(Record::from_rdata(name, 1, RData::A(A::new(192, 0, 2, 1))));
        vec![(Duration::ZERO, answer.to_vec().unwrap())]
    }));
    let server = serve(&[fake.address], |_| ()).await;
    assert_eq!(answers(&server.ask(question("old.example.net", RecordType::A, true)).await), ["A 192.0.2.1"]);
    talks.store(false, Ordering::Relaxed);
    let started = Instant::now();
    let answer = read(&server.ask(question("new.example.net", RecordType::A, true)).await);
    assert_eq!(answer.metadata.response_code, ResponseCode::ServFail);
    assert!(started.elapsed() < Duration::from_secs(4));
    // By now the other answer's second is over.
    let started = Instant::now();
    let stale = server.ask(question("old.example.net", RecordType::A, true)).await;
    assert_eq!(answers(&stale), ["A 192.0.2.1"]);
    assert_eq!(read(&stale).answers[0].ttl, 30);
    assert!(started.elapsed() < Duration::from_secs(2));
    // And then at once, for a while.
    let started = Instant::now();
    assert_eq!(answers(&server.ask(question("old.example.net", RecordType::A, true)).await), ["A 192.0.2.1"]);
    assert!(started.elapsed() < Duration::from_millis(300));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_truncated_answer_is_fetched_over_tcp() {
    let fake = Fake::start(Box::new(|message, _| {
        let mut answer = respond(message);
        answer.metadata.truncation = true;
        vec![(Duration::ZERO, answer.to_vec().unwrap())]
    }));
    let stream = TcpListener::bind(fake.address).unwrap();
    thread::spawn(move || {
        let (mut stream, _) = stream.accept().unwrap();
        let mut length = [0; 2];
        stream.read_exact(&mut length).unwrap();
        let mut question = vec![0; usize::from(u16::from_be_bytes(length))];
        stream.read_exact(&mut question).unwrap();
        let message = Message::from_vec(&question).unwrap();
        let mut answer = respond(&message);
        for last in 0..100 {
            let name = message.queries[0].name().clone();
            answer.add_answer(Record::from_rdata(name, 300, RData::A(A::new(192, 0, 2, last))));
        }
        let answer = answer.to_vec().unwrap();
        stream.write_all(&(answer.len() as u16).to_be_bytes()).unwrap();
        stream.write_all(&answer).unwrap();
    });
    let server = serve(&[fake.address], |_| ()).await;
    let udp = server.ask(question("big.example.net", RecordType::A, true)).await;
    assert!(read(&udp).metadata.truncation && answers(&udp).is_empty());
    let port = server.port;
    let whole =
        tokio::task::spawn_blocking(move || over_tcp(port, &[question("big.example.net", RecordType::A, true)]));
    assert_eq!(answers(&whole.await.unwrap()[0]).len(), 100);
}

/// Sends all questions at once and reads as many answers.
fn over_tcp(port: u16, questions: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    for question in questions {
        stream.write_all(&[&(question.len() as u16).to_be_bytes()[..], question].concat()).unwrap();
    }
    let read_one = |_| {
        let mut length = [0; 2];
        stream.read_exact(&mut length).unwrap();
        let mut answer = vec![0; usize::from(u16::from_be_bytes(length))];
        stream.read_exact(&mut answer).unwrap();
        answer
    };
    questions.iter().map(read_one).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quick_answer_overtakes_a_slow_one_on_one_connection() {
    let fake = Fake::start(Box::new(|message, _| vec![(Duration::from_millis(200), truth(message, [192, 0, 2, 1]))]));
    let server = serve(&[fake.address], |_| ()).await;
    let port = server.port;
    let got = tokio::task::spawn_blocking(move || {
        let slow = question("slow.example.net", RecordType::A, false);
        over_tcp(port, &[slow, question("gateway.home.arpa", RecordType::A, false)])
    });
    let got: Vec<_> = got.await.unwrap().iter().map(|answer| answers(answer)).collect();
    assert_eq!(got, [["A 127.0.0.1"], ["A 192.0.2.1"]]);
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_connections_do_not_shut_out_a_new_client() {
    let server = serve(&[], |_| ()).await;
    let port = server.port;
    tokio::task::spawn_blocking(move || {
        let idle: Vec<_> = (0..300).map(|_| TcpStream::connect(("127.0.0.1", port)).unwrap()).collect();
        let answer = over_tcp(port, &[question("gateway.home.arpa", RecordType::A, false)]);
        assert_eq!(answers(&answer[0]), ["A 127.0.0.1"]);
        drop(idle);
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn private_addresses_from_outside_are_dropped_but_not_from_an_own_zone() {
    let fake = Fake::start(Box::new(|message, _| vec![(Duration::ZERO, truth(message, [192, 168, 1, 1]))]));
    let address = fake.address;
    let server = serve(&[fake.address], |config| {
        let upstream = Upstream { transport: Transport::Udp, server: address };
        config.dns.forward = vec![(crate::dns::testing::name("corp.example"), vec![upstream])];
    })
    .await;
    let outside = server.ask(question("evil.example.net", RecordType::A, true)).await;
    assert!(answers(&outside).is_empty());
    assert_eq!(read(&outside).metadata.response_code, ResponseCode::NoError);
    assert_eq!(answers(&server.ask(question("a.corp.example", RecordType::A, true)).await), ["A 192.168.1.1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_local_alias_to_an_outside_name_is_answered_whole() {
    let fake = Fake::start(Box::new(|message, _| {
        let mut answer = respond(message);
        let name = message.queries[0].name().clone();
        let target = Name::from_ascii("edge.example.net.").unwrap();
        answer.add_answer(Record::from_rdata(name, 300, RData::CNAME(CNAME(target.clone()))));
        answer.add_answer(Record::from_rdata(target, 300, RData::A(A::new(192, 0, 2, 3))));
        // Something nobody asked for.
        let foreign = Name::from_ascii("bank.example.").unwrap();
        answer.add_answer(Record::from_rdata(foreign, 300, RData::A(A::new(198, 51, 100, 66))));
        vec![(Duration::ZERO, answer.to_vec().unwrap())]
    }));
    let server = serve(&[fake.address], |config| {
        config.dns.records = vec![crate::config::Record {
            name: crate::dns::testing::name("www.home.arpa"),
            data: crate::config::RecordData::Alias(crate::dns::testing::name("www.example.net")),
            place: crate::dns::testing::place(),
        }];
    })
    .await;
    for _ in 0..2 {
        let answer = server.ask(question("www.home.arpa", RecordType::A, true)).await;
        let want = ["CNAME www.example.net.", "CNAME edge.example.net.", "A 192.0.2.3"];
        assert_eq!(answers(&answer), want);
    }
    assert_eq!(fake.asked(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_rules_mention_is_known_before_anybody_hears_it() {
    let next = Arc::new(AtomicUsize::new(1));
    let last = next.clone();
    let fake = Fake::start(Box::new(move |message, _| {
        let mut answer = respond(message);
        let name = message.queries[0].name().clone();
        let target = Name::from_ascii("edge.example.net.").unwrap();
        answer.add_answer(Record::from_rdata(name, 0, RData::CNAME(CNAME(target.clone()))));
        let address = [192, 0, 2, last.load(Ordering::Relaxed) as u8];
        answer.add_answer(Record::from_rdata(target, 0, RData::A(A(address.into()))));
        vec![(Duration::ZERO, answer.to_vec().unwrap())]
    }));
    let state = tempfile::tempdir().unwrap();
    let folder = state.path().to_owned();
    let mentioned = crate::dns::testing::name("updates.example.net");
    let outside = crate::config::OutsideName { name: mentioned.clone(), place: crate::dns::testing::place() };
    let server = serve_in(folder, &[fake.address], |config| config.outside_names = vec![outside]).await;
    let mut resolved = server.pictures.resolved.subscribe();
    let known = resolved.wait_for(|resolved| resolved.get(&mentioned).is_some()).await.unwrap().clone();
    assert_eq!(known.addresses(&mentioned).collect::<Vec<_>>(), [Ipv4Addr::new(192, 0, 2, 1)], "asked by itself");
    for number in 2..5 {
        next.store(number, Ordering::Relaxed);
        let heard = answers(&server.ask(question("Updates.example.net", RecordType::A, true)).await);
        let known: Vec<_> = server.pictures.resolved.borrow().addresses(&mentioned).collect();
        assert!(known.iter().any(|address| heard[1] == format!("A {address}")), "heard {heard:?}, known {known:?}");
        assert_eq!(known[0], Ipv4Addr::new(192, 0, 2, 1), "an older one stays for a while");
    }
    server.ask(question("other.example.net", RecordType::A, true)).await;
    assert!(server.pictures.resolved.borrow().get(&crate::dns::testing::name("other.example.net")).is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_are_not_answered_and_a_new_configuration_keeps_the_cache() {
    let fake = Fake::start(truthful());
    let server = serve(&[fake.address], |_| ()).await;
    server.ask(question("www.example.net", RecordType::A, false)).await;
    server
        .pictures
        .config
        .send_modify(|config| Arc::make_mut(config).networks[0].address = "127.0.0.1/24".parse().unwrap());
    let port = server.port;
    tokio::task::spawn_blocking(move || {
        assert_eq!(answers(&ask(port, &question("www.example.net", RecordType::A, false))), ["A 192.0.2.1"]);
        let stranger = UdpSocket::bind("127.9.0.1:0").unwrap();
        stranger.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
        // Until the listeners have heard of the new configuration, the stranger is none.
        let answered = |_| {
            stranger.send_to(&question("www.example.net", RecordType::A, false), (Ipv4Addr::LOCALHOST, port)).unwrap();
            stranger.recv(&mut [0; 512]).is_ok()
        };
        assert!((0..10_000).map(answered).any(|answered| !answered), "strangers are answered");
    })
    .await
    .unwrap();
    assert_eq!(fake.asked(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_negative_answer_is_cached_as_its_soa_says() {
    let fake = Fake::start(Box::new(|message, _| {
        let mut answer = respond(message);
        answer.metadata.response_code = ResponseCode::NXDomain;
        let soa = SOA::new(Name::from_ascii("ns.net.").unwrap(), Name::from_ascii("h.net.").unwrap(), 1, 2, 3, 4, 77);
        answer.add_authority(Record::from_rdata(Name::from_ascii("net.").unwrap(), 900, RData::SOA(soa)));
        vec![(Duration::ZERO, answer.to_vec().unwrap())]
    }));
    let server = serve(&[fake.address], |_| ()).await;
    for _ in 0..2 {
        let answer = read(&server.ask(question("none.example.net", RecordType::A, false)).await);
        assert_eq!(answer.metadata.response_code, ResponseCode::NXDomain);
        assert!((76..=77).contains(&answer.authorities[0].ttl));
    }
    assert_eq!(fake.asked(), 1);
}
