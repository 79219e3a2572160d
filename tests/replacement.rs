//! One table turned into another by what differs: the kernel ends where it would with the other one made whole.

#[allow(dead_code)]
mod common;

use std::fs;
use std::path::Path;

use labgate::desired;
use labgate::dns::outside::Resolved;
use labgate::firewall::{Counter, Counters, Policy, Replacement, Ruleset, SetElements};
use labgate::linux::nft;
use labgate::linux::nft_elements::Elements;
use labgate::model::Bindings;

fn table(text: &str) -> (Ruleset, SetElements) {
    let config = common::configuration(text);
    let policy = Policy::compile(&config);
    let hosts = desired::host_addresses(&config, &Bindings::new(), &Resolved::default());
    let elements = desired::elements(&policy, &hosts);
    (desired::ruleset(&policy), elements)
}

async fn change(from: &(Ruleset, SetElements), to: &(Ruleset, SetElements), counters: &Counters) {
    let replacement = Replacement::new((&from.0, &from.1), (&to.0, &to.1));
    let checked = nft::check(&replacement.whole()).await;
    checked.unwrap_or_else(|error| panic!("{error:#}\n{}", replacement.whole()));
    if let Some(first) = replacement.first(counters) {
        // Twice: what an attempt that failed has left is in nobody's way.
        nft::apply(&first).await.expect("sets ahead");
        nft::apply(&first).await.expect("sets ahead, again");
    }
    let text = replacement.text(counters);
    nft::apply(&text).await.unwrap_or_else(|error| panic!("{error:#}\n{text}"));
}

#[tokio::test(flavor = "current_thread")]
async fn every_table_turns_into_every_other() {
    if !common::inside_namespace("every_table_turns_into_every_other") {
        return;
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/rulesets");
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
    files.sort();
    assert!(files.len() >= 8, "the golden files are not where they were");
    let mut texts: Vec<String> = files.iter().map(|file| fs::read_to_string(file).unwrap()).collect();
    // The same one line further down: every place moves, and nothing else.
    texts.push(format!("# one more line\n{}", fs::read_to_string(files.last().unwrap()).unwrap()));
    let tables: Vec<_> = texts.iter().map(|text| table(text)).collect();
    let mut whole = Vec::new();
    for (ruleset, elements) in &tables {
        nft::apply(&ruleset.text(elements)).await.unwrap();
        whole.push(common::listed().await);
    }
    let none = Counters::new();
    for from in 0..tables.len() {
        for to in 0..tables.len() {
            nft::apply(&tables[from].0.text(&tables[from].1)).await.unwrap();
            change(&tables[from], &tables[to], &none).await;
            assert_eq!(whole[to], common::listed().await, "{from} -> {to} of {files:?}");
        }
    }
}

#[tokio::test(flavor = "current_thread")]
async fn what_stays_keeps_its_counter_and_what_comes_gets_one() {
    if !common::inside_namespace("what_stays_keeps_its_counter_and_what_comes_gets_one") {
        return;
    }
    const STAYS: &str = "allow_host_net_port_range";
    const COMES: &str = "allow_host_router_port_range";
    let text = |rules: &str| {
        format!(
            "[network.lan]\ninterface = \"eth1\"\naddress = \"192.168.1.1/24\"\nadmin = true\n\
             [network.iot]\ninterface = \"eth2\"\naddress = \"192.168.20.1/24\"\n[firewall]\nallow = [\n{rules}]\n"
        )
    };
    let stays = "{ from = \"192.168.20.0/25\", to = \"lan\", port = \"tcp/80-90\" },\n";
    let goes = "{ from = \"192.168.20.9\", to = \"lan\", port = \"tcp/9\" },\n";
    let comes = "{ from = \"192.168.20.0/25\", to = \"router\", port = \"tcp/80-90\" },\n";
    let (from, to) = (table(&text(&format!("{stays}{goes}"))), table(&text(&format!("{stays}{comes}"))));
    let mut channel = Elements::open().unwrap();
    let mut read = |set: &str| channel.read(set).unwrap().remove(0);
    // As after seven packets.
    let place = "comment \"labgate.toml:10 ";
    let seven = from.0.text(&from.1).replace(place, &format!("counter packets 7 bytes 420 {place}"));
    nft::apply(&seven).await.unwrap();
    change(&from, &to, &Counters::new()).await;
    assert_eq!(read(STAYS).counter, Some(Counter { packets: 7, bytes: 420 }));
    let come = read(COMES);
    assert_eq!(come.counter, Some(Counter::default()));

    nft::apply(&seven).await.unwrap();
    let five = Counter { packets: 5, bytes: 300 };
    change(&from, &to, &Counters::from([(COMES.into(), [(come.key.into_boxed_slice(), five)].into())])).await;
    assert_eq!(read(STAYS).counter, Some(Counter { packets: 7, bytes: 420 }));
    assert_eq!(read(COMES).counter, Some(five));
}
