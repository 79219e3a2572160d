//! The documents keep what they say: their examples are right files, their links lead somewhere, they name every key.

use std::fs;
use std::path::{Path, PathBuf};

use labgate::config::{self, Source};

/// What a fragment in the manual stands in.
const HOME: &str = r#"
[wan]
interface = "eth0"
[network.lan]
interface = "eth1"
address = "192.168.1.1/24"
admin = true
[network.iot]
interface = "eth1.20"
address = "192.168.20.1/24"
[network.web]
interface = "eth1.30"
address = "192.168.30.1/24"
[network.db]
interface = "eth1.40"
address = "192.168.40.1/24"
[host.nas]
mac = "52:54:00:00:01:10"
ip = "192.168.1.10"
[host.web1]
mac = "52:54:00:00:30:10"
ip = "192.168.30.10"
"#;

#[test]
fn examples_are_right_files() {
    let mut seen = 0;
    for document in documents() {
        for (line, kind, text) in blocks(&document) {
            let whole = match kind.as_str() {
                "toml" => text,
                "toml fragment" => format!("{HOME}{text}"),
                _ => continue,
            };
            seen += 1;
            let checked = config::check(&[Source { name: "labgate.toml".into(), text: whole.into_bytes() }]);
            assert!(
                checked.config.is_some() && checked.report.warnings == 0,
                "{}:{line}: the example is no right file:\n{}",
                document.display(),
                checked.report.render(false)
            );
        }
    }
    assert!(seen >= 6, "only {seen} examples were found");
}

#[test]
fn links_lead_somewhere() {
    for document in documents() {
        let text = read(&document);
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let path = target.split('#').next().unwrap_or_default();
            if path.is_empty() || path.contains("://") {
                continue;
            }
            let folder = document.parent().expect("a document has a folder");
            assert!(folder.join(path).exists(), "{} links to {path}, which is not there", document.display());
        }
    }
}

#[test]
fn the_manual_names_every_key() {
    let manual = read(&root().join("docs/manual/configuration.md"));
    let mut keys = Vec::new();
    collect_keys(&config::schema(), &mut keys);
    assert!(keys.len() > 30, "the schema has only {} keys", keys.len());
    let missing: Vec<&String> = keys.iter().filter(|key| !names(&manual, key)).collect();
    assert!(missing.is_empty(), "docs/manual/configuration.md does not name {missing:?}");
}

/// Whether the manual has the word in code: `key`, `[key]`, `key = …` in an example.
fn names(manual: &str, key: &str) -> bool {
    let is_word = |c: char| c.is_alphanumeric() || c == '-' || c == '_';
    manual.split(|c: char| !is_word(c)).any(|word| word == key)
}

/// The names of all `properties` of a JSON schema.
fn collect_keys(schema: &serde_json::Value, keys: &mut Vec<String>) {
    match schema {
        serde_json::Value::Object(map) => {
            if let Some(serde_json::Value::Object(properties)) = map.get("properties") {
                keys.extend(properties.keys().cloned());
            }
            map.values().for_each(|value| collect_keys(value, keys));
        }
        serde_json::Value::Array(list) => list.iter().for_each(|value| collect_keys(value, keys)),
        _ => {}
    }
}

/// The fenced blocks of a document: line of the fence, its information string, text.
fn blocks(document: &Path) -> Vec<(usize, String, String)> {
    let mut found = Vec::new();
    let mut open: Option<(usize, String, String)> = None;
    for (number, line) in read(document).lines().enumerate() {
        match (line.strip_prefix("```"), &mut open) {
            (Some(kind), None) => open = Some((number + 1, kind.trim().to_owned(), String::new())),
            (Some(_), Some(_)) => found.extend(open.take()),
            (None, Some((_, _, text))) => {
                text.push_str(line);
                text.push('\n');
            }
            (None, None) => {}
        }
    }
    found
}

fn documents() -> Vec<PathBuf> {
    let mut found = Vec::new();
    for folder in ["", "docs", "docs/manual", "docs/decisions"] {
        for entry in fs::read_dir(root().join(folder)).expect("a folder of documents").flatten() {
            if entry.path().extension().is_some_and(|extension| extension == "md") {
                found.push(entry.path());
            }
        }
    }
    found.sort();
    found
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
