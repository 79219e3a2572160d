//! The client against a server of twenty lines, in virtual time.

use super::*;

const MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 7]);
const SERVER: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 1);
const ADDRESS: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 50);
const BOOT: Now = Now { instant: Duration::from_secs(10), unix: 1_800_000_000 };

fn identity() -> Identity {
    Identity { mac: MAC, host_name: "gateway".to_owned() }
}

/// What the client sent, as a server reads it.
#[derive(Debug, PartialEq, Eq)]
struct Sent {
    kind: u8,
    xid: [u8; 4],
    ciaddr: Ipv4Addr,
    requested: Option<Ipv4Addr>,
    server: Option<Ipv4Addr>,
    broadcast_flag: bool,
    destination: Ipv4Addr,
}

fn read(message: &[u8], destination: Ipv4Addr) -> Sent {
    assert!(message.len() >= 300);
    assert_eq!(
        (&message[..3], &message[28..34], &message[236..240]),
        (&[1, 1, 6][..], &MAC.0[..], &[99, 130, 83, 99][..])
    );
    let (mut at, mut options) = (240, std::collections::BTreeMap::new());
    while message[at] != 255 {
        let length = usize::from(message[at + 1]);
        options.insert(message[at], message[at + 2..at + 2 + length].to_vec());
        at += 2 + length;
    }
    assert_eq!(options[&61], [1, 2, 0, 0, 0, 0, 7]);
    let address = |code: u8| options.get(&code).map(|data| Ipv4Addr::new(data[0], data[1], data[2], data[3]));
    Sent {
        kind: options[&53][0],
        xid: message[4..8].try_into().unwrap(),
        ciaddr: Ipv4Addr::new(message[12], message[13], message[14], message[15]),
        requested: address(50),
        server: address(54),
        broadcast_flag: message[10] & 0x80 != 0,
        destination,
    }
}

/// A reply to `sent` for [`ADDRESS`].
fn reply(sent: &Sent, kind: u8, seconds: u32) -> Vec<u8> {
    let mut bytes = vec![0; 236];
    bytes[..3].copy_from_slice(&[2, 1, 6]);
    bytes[4..8].copy_from_slice(&sent.xid);
    bytes[16..20].copy_from_slice(&ADDRESS.octets());
    bytes[28..34].copy_from_slice(&MAC.0);
    bytes.extend([99, 130, 83, 99, 53, 1, kind, 54, 4]);
    bytes.extend(SERVER.octets());
    bytes.extend([51, 4]);
    bytes.extend(seconds.to_be_bytes());
    bytes.extend([1, 4, 255, 255, 255, 0, 3, 4, 203, 0, 113, 1, 6, 4, 9, 9, 9, 9, 255]);
    bytes
}

/// Takes all outputs: messages as read, and the last word about the lease.
fn drain(client: &mut Client) -> (Vec<Sent>, Option<Result<Option<Duration>, Reason>>) {
    let (mut sent, mut word) = (Vec::new(), None);
    while let Some(output) = client.poll_output() {
        match output {
            Output::Send { message, destination, .. } => sent.push(read(&message, destination)),
            Output::Configure { lease, ends } => {
                assert_eq!(lease.address.to_string(), "203.0.113.50/24");
                word = Some(Ok(ends));
            }
            Output::Deconfigure(reason) => word = Some(Err(reason)),
        }
    }
    (sent, word)
}

/// Lets the next deadline pass.
fn tick(client: &mut Client, now: &mut Now) -> (Vec<Sent>, Option<Result<Option<Duration>, Reason>>) {
    let at = client.poll_timeout().expect("a deadline");
    *now = now.after(at.saturating_sub(now.instant));
    now.instant = at;
    client.handle_timeout(*now);
    drain(client)
}

/// A client that holds a lease of `seconds` since `now`.
fn bound(seconds: u32, now: Now) -> Client {
    let mut client = Client::new(identity(), 1, None, now);
    let (sent, _) = drain(&mut client);
    client.handle_message(&reply(&sent[0], 2, seconds), now);
    let (sent, _) = drain(&mut client);
    client.handle_message(&reply(&sent[0], 5, seconds), now);
    assert!(matches!(drain(&mut client), (sent, Some(Ok(_))) if sent.is_empty()));
    client
}

#[test]
fn discovers_requests_and_holds() {
    let mut client = Client::new(identity(), 1, None, BOOT);
    let (sent, word) = drain(&mut client);
    assert_eq!(word, Some(Err(Reason::Start)));
    assert_eq!((sent.len(), sent[0].kind, sent[0].destination), (1, 1, Ipv4Addr::BROADCAST));
    // Noise: another transaction, an ACK nobody asked for, garbage.
    client.handle_message(&reply(&Sent { xid: [0; 4], ..read_again(&sent[0]) }, 2, 60), BOOT);
    client.handle_message(&reply(&sent[0], 5, 60), BOOT);
    client.handle_message(&[0; 400], BOOT);
    assert_eq!(drain(&mut client), (vec![], None));
    client.handle_message(&reply(&sent[0], 2, 3600), BOOT);
    let (request, _) = drain(&mut client);
    assert_eq!((request[0].kind, request[0].requested, request[0].server), (3, Some(ADDRESS), Some(SERVER)));
    client.handle_message(&reply(&request[0], 5, 3600), BOOT);
    assert_eq!(drain(&mut client).1, Some(Ok(Some(BOOT.instant + Duration::from_secs(3600)))));
    assert_eq!((client.state_name(), client.poll_timeout()), ("BOUND", Some(BOOT.instant + Duration::from_secs(1800))));
}

fn read_again(sent: &Sent) -> Sent {
    Sent { xid: sent.xid, ..*sent }
}

#[test]
fn silence_is_met_with_growing_pauses() {
    let mut now = BOOT;
    let mut client = Client::new(identity(), 3, None, now);
    drain(&mut client);
    let mut pauses = Vec::new();
    for _ in 0..7 {
        let before = now.instant;
        let (sent, _) = tick(&mut client, &mut now);
        assert_eq!(sent[0].kind, 1);
        pauses.push(((now.instant - before).as_millis() as i64 + 500) / 1000);
    }
    for (pause, wished) in pauses.iter().zip([4, 8, 16, 32, 64, 64, 64]) {
        assert!((pause - wished).abs() <= 1, "{pauses:?}");
    }
    // The third try on asks for a broadcast answer.
    let mut client = Client::new(identity(), 3, None, now);
    drain(&mut client);
    let flags: Vec<bool> = (0..3).map(|_| tick(&mut client, &mut now).0[0].broadcast_flag).collect();
    assert_eq!(flags, [false, true, true]);
}

#[test]
fn renews_with_the_server_then_with_any_then_gives_up() {
    let mut now = BOOT;
    let mut client = bound(3600, now);
    let (sent, _) = tick(&mut client, &mut now);
    assert_eq!((sent[0].kind, sent[0].ciaddr, sent[0].destination), (3, ADDRESS, SERVER));
    assert_eq!((sent[0].requested, sent[0].server, client.state_name()), (None, None, "RENEWING"));
    client.handle_message(&reply(&sent[0], 5, 3600), now);
    assert_eq!(drain(&mut client).1, Some(Ok(Some(now.instant + Duration::from_secs(3600)))));

    let (renewed, mut renewing, mut rebinding) = (now.instant, 0, 0);
    let end = loop {
        let (sent, word) = tick(&mut client, &mut now);
        if let Some(word) = word {
            assert_eq!((sent[0].kind, sent[0].requested), (1, Some(ADDRESS)));
            break word;
        }
        match sent[0].destination {
            SERVER => renewing += 1,
            _ => rebinding += 1,
        }
        let wished = if now.instant < renewed + Duration::from_secs(3150) { "RENEWING" } else { "REBINDING" };
        assert_eq!(client.state_name(), wished);
    };
    assert_eq!((end, now.instant), (Err(Reason::Expired), renewed + Duration::from_secs(3600)));
    assert!((3..20).contains(&renewing) && (2..10).contains(&rebinding), "{renewing} {rebinding}");
}

#[test]
fn a_late_server_is_taken_in_rebinding() {
    let mut now = BOOT;
    let mut client = bound(600, now);
    while client.state_name() != "REBINDING" {
        tick(&mut client, &mut now);
    }
    // The answer to the last message counts; one to an older transaction would not.
    let (sent, _) = tick(&mut client, &mut now);
    client.handle_message(&reply(&sent[0], 5, 600), now);
    assert_eq!(client.state_name(), "BOUND");
}

#[test]
fn no_is_no() {
    let mut now = BOOT;
    let mut client = bound(600, now);
    let (sent, _) = tick(&mut client, &mut now);
    client.handle_message(&reply(&sent[0], 6, 0), now);
    let (sent, word) = drain(&mut client);
    assert_eq!((word, sent[0].kind, sent[0].requested), (Some(Err(Reason::Refused)), 1, None));
    // A server that says no for ever is asked ever more seldom.
    let mut sent = sent;
    let mut asked = 0;
    let stop = now.instant + Duration::from_secs(600);
    while now.instant < stop {
        if let Some(discover) = sent.iter().find(|sent| sent.kind == 1) {
            asked += 1;
            client.handle_message(&reply(discover, 2, 600), now);
            let (request, _) = drain(&mut client);
            client.handle_message(&reply(&request[0], 6, 0), now);
            (sent, _) = drain(&mut client);
        }
        if sent.is_empty() {
            (sent, _) = tick(&mut client, &mut now);
        }
    }
    assert!((5..20).contains(&asked), "{asked}");
}

#[test]
fn an_offer_whose_server_falls_silent_is_dropped() {
    let mut now = BOOT;
    let mut client = Client::new(identity(), 1, None, now);
    let (sent, _) = drain(&mut client);
    client.handle_message(&reply(&sent[0], 2, 600), now);
    drain(&mut client);
    let kinds: Vec<u8> = (0..4).map(|_| tick(&mut client, &mut now).0[0].kind).collect();
    assert_eq!(kinds, [3, 3, 3, 1]);
}

fn kept(remaining: Option<u64>) -> Kept {
    let sent = Sent {
        kind: 0,
        xid: [0; 4],
        ciaddr: ADDRESS,
        requested: None,
        server: None,
        broadcast_flag: false,
        destination: SERVER,
    };
    let lease = Reply::parse(&reply(&sent, 5, 3600), MAC).unwrap().lease;
    Kept { lease, remaining: remaining.map(Duration::from_secs) }
}

#[test]
fn a_kept_lease_is_asked_for_first() {
    let mut client = Client::new(identity(), 1, Some(kept(Some(1000))), BOOT);
    let (sent, word) = drain(&mut client);
    assert_eq!((sent[0].kind, sent[0].requested, sent[0].server, word), (3, Some(ADDRESS), None, None));
    assert_eq!(client.state_name(), "REBOOTING");
    client.handle_message(&reply(&sent[0], 5, 3600), BOOT);
    assert_eq!(drain(&mut client).1, Some(Ok(Some(BOOT.instant + Duration::from_secs(3600)))));
    // The network is another now.
    let mut client = Client::new(identity(), 1, Some(kept(Some(1000))), BOOT);
    let (sent, _) = drain(&mut client);
    client.handle_message(&reply(&sent[0], 6, 0), BOOT);
    assert!(matches!(drain(&mut client), (sent, Some(Err(Reason::Refused))) if sent[0].kind == 1));
}

#[test]
fn without_an_answer_a_kept_lease_holds_as_long_as_a_clock_says_so() {
    let mut now = BOOT;
    let mut client = Client::new(identity(), 1, Some(kept(Some(1000))), now);
    drain(&mut client);
    assert_eq!(tick(&mut client, &mut now).0.len(), 1);
    assert_eq!(tick(&mut client, &mut now).1, Some(Ok(Some(BOOT.instant + Duration::from_secs(1000)))));
    // 1000 s before its end, T1 of the hour is past: it renews at once.
    assert_eq!(tick(&mut client, &mut now).0[0].destination, SERVER);

    // The wall clock stands in 1970, so nobody knows: only a server can tell.
    let mut now = BOOT;
    let mut client = Client::new(identity(), 1, Some(kept(None)), now);
    drain(&mut client);
    tick(&mut client, &mut now);
    let (sent, word) = tick(&mut client, &mut now);
    assert_eq!((word, sent[0].kind, sent[0].requested), (Some(Err(Reason::Unconfirmed)), 1, Some(ADDRESS)));
    // Known to have ended: asked for again, not used.
    let mut client = Client::new(identity(), 1, Some(kept(Some(0))), now);
    assert!(matches!(drain(&mut client), (sent, Some(Err(Reason::Expired))) if sent[0].requested == Some(ADDRESS)));
}

#[test]
fn a_wall_clock_that_jumps_changes_nothing() {
    for unix in [0, 40_000_000_000] {
        let mut client = bound(3600, BOOT);
        let timeout = client.poll_timeout();
        client.handle_timeout(Now { unix, ..BOOT });
        assert_eq!((client.poll_timeout(), drain(&mut client)), (timeout, (vec![], None)));
    }
}

#[test]
fn a_cable_plugged_in_again_asks_whether_the_lease_still_holds() {
    let mut now = BOOT;
    let mut client = bound(3600, now);
    client.handle_link_up(now);
    let (sent, word) = drain(&mut client);
    assert_eq!((sent[0].kind, sent[0].requested, word), (3, Some(ADDRESS), None));
    // Nobody answers: the lease goes on with its old end.
    tick(&mut client, &mut now);
    assert_eq!(tick(&mut client, &mut now).1, Some(Ok(Some(BOOT.instant + Duration::from_secs(3600)))));
    // And without a lease it asks at once instead of after a minute.
    let mut client = Client::new(identity(), 1, None, now);
    drain(&mut client);
    client.handle_link_up(now);
    assert_eq!(drain(&mut client).0[0].kind, 1);
}

#[test]
fn an_address_in_use_is_declined() {
    let mut now = BOOT;
    let mut client = bound(3600, now);
    client.handle_conflict(now);
    let (sent, word) = drain(&mut client);
    assert_eq!((sent[0].kind, sent[0].requested, sent[0].server), (4, Some(ADDRESS), Some(SERVER)));
    assert_eq!(word, Some(Err(Reason::Conflict)));
    assert_eq!(tick(&mut client, &mut now).0[0].kind, 1);
    assert_eq!(now.instant, BOOT.instant + Duration::from_secs(10));
}

#[test]
fn a_lease_for_ever_needs_no_timer() {
    let mut client = bound(u32::MAX, BOOT);
    assert_eq!(client.poll_timeout(), None);
    client.handle_timeout(BOOT.after(Duration::from_secs(1 << 32)));
    assert_eq!(drain(&mut client), (vec![], None));
}
