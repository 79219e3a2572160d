//! The JSON schema for editors, made from the one table of keys.

use serde_json::{Map, Value, json};

use super::keys::{self, Keys, Shape, Status};

/// The schema of the file (JSON Schema 2020-12). Editors offer its keys and mark wrong ones; `labgate check` knows more.
pub fn schema() -> Value {
    let mut schema = table(&keys::ROOT);
    schema["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    schema["title"] = json!("labgate.toml");
    schema
}

fn table(keys: &Keys) -> Value {
    let mut properties = Map::new();
    for key in keys.keys {
        let mut value = match key.status {
            Status::Now => shape(&key.shape),
            Status::OnlyFalse => json!({ "const": false }),
            // No value is right for a key that has no effect yet.
            Status::NotYet => json!({ "not": {} }),
        };
        let text =
            if key.status == Status::NotYet { format!("{} Not supported yet.", key.text) } else { key.text.to_owned() };
        value["description"] = json!(text);
        properties.insert(key.name.to_owned(), value);
    }
    json!({ "type": "object", "properties": properties, "additionalProperties": false })
}

fn shape(shape_of: &Shape) -> Value {
    match shape_of {
        Shape::Text => json!({ "type": "string" }),
        Shape::Choice(words) => json!({ "enum": words }),
        Shape::Boolean => json!({ "type": "boolean" }),
        Shape::Number(low, high) => json!({ "type": "integer", "minimum": low, "maximum": high }),
        Shape::List(item) => json!({ "type": "array", "items": shape(item) }),
        Shape::OneOrMany(item) => {
            json!({ "anyOf": [shape(item), { "type": "array", "items": shape(item), "minItems": 1 }] })
        }
        Shape::Table(keys) => table(keys),
        Shape::Map(value) => json!({ "type": "object", "additionalProperties": shape(value) }),
        Shape::Any(shapes) => json!({ "anyOf": shapes.iter().map(shape).collect::<Vec<_>>() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Source, check};

    /// As much of JSON Schema as the schema uses.
    fn fits(schema: &Value, value: &Value) -> bool {
        let Some(rules) = schema.as_object() else { return true };
        rules.iter().all(|(rule, wanted)| match rule.as_str() {
            "type" => match wanted.as_str() {
                Some("object") => value.is_object(),
                Some("array") => value.is_array(),
                Some("string") => value.is_string(),
                Some("boolean") => value.is_boolean(),
                Some("integer") => value.is_i64(),
                other => panic!("type {other:?}"),
            },
            "enum" => wanted.as_array().is_some_and(|words| words.contains(value)),
            "const" => wanted == value,
            "not" => !fits(wanted, value),
            "minimum" => value.as_i64() >= wanted.as_i64(),
            "maximum" => value.as_i64() <= wanted.as_i64(),
            "minItems" => value.as_array().is_some_and(|items| items.len() as u64 >= wanted.as_u64().unwrap_or(0)),
            "items" => value.as_array().is_some_and(|items| items.iter().all(|item| fits(wanted, item))),
            "anyOf" => wanted.as_array().is_some_and(|shapes| shapes.iter().any(|shape| fits(shape, value))),
            "properties" => true,
            "additionalProperties" => value.as_object().is_some_and(|table| {
                table.iter().all(|(key, value)| match rules.get("properties").and_then(|known| known.get(key)) {
                    Some(known) => fits(known, value),
                    None if wanted.is_boolean() => wanted == &json!(true),
                    None => fits(wanted, value),
                })
            }),
            "description" | "title" | "$schema" => true,
            other => panic!("rule {other}"),
        })
    }

    fn parsed(text: &str) -> Value {
        serde_json::to_value(text.parse::<toml::Table>().expect("TOML")).expect("JSON")
    }

    #[test]
    fn accepts_what_the_decoder_accepts() {
        let schema = schema();
        let texts = [
            include_str!("../../config/labgate.toml"),
            include_str!("../../config/examples/five-line.toml"),
            include_str!("../../config/examples/home.toml"),
        ];
        for text in texts {
            let checked = check(&[Source { name: "labgate.toml".to_owned(), text: text.into() }]);
            assert_eq!(checked.report.render(false), "");
            assert!(fits(&schema, &parsed(text)), "{text}");
        }
    }

    #[test]
    fn refuses_unknown_and_unsupported_keys() {
        let schema = schema();
        for text in [
            "[lgo]\nlevel = \"info\"",
            "[log]\nlevle = \"info\"",
            "[web]",
            "[dns]\ndnssec = true",
            "[log]\nlevel = \"loud\"",
        ] {
            assert!(!fits(&schema, &parsed(text)), "{text}");
        }
    }

    /// The reference file gives every key that has an effect, on a line of its own with a comment.
    #[test]
    fn the_reference_holds_every_key() {
        fn missing(keys: &Keys, value: Option<&Value>, path: &str, found: &mut Vec<String>) {
            for key in keys.keys.iter().filter(|key| key.status != Status::NotYet) {
                let path = format!("{path}.{}", key.name);
                let here = value.and_then(|value| value.get(key.name));
                if here.is_none() {
                    found.push(path.clone());
                }
                inside(&key.shape, here, &path, found);
            }
        }
        fn inside(shape: &Shape, value: Option<&Value>, path: &str, found: &mut Vec<String>) {
            match shape {
                Shape::Table(keys) => missing(keys, value, path, found),
                Shape::Any(shapes) => shapes.iter().for_each(|shape| inside(shape, value, path, found)),
                Shape::List(item) | Shape::Map(item) | Shape::OneOrMany(item) => {
                    // Of several entries one has to show a key, so they are laid over each other.
                    let mut together = json!({});
                    let entries: Vec<&Value> = match value {
                        Some(Value::Array(items)) => items.iter().collect(),
                        Some(Value::Object(table)) => table.values().collect(),
                        _ => Vec::new(),
                    };
                    for entry in entries {
                        lay_over(&mut together, entry);
                    }
                    inside(item, Some(&together), path, found);
                }
                _ => {}
            }
        }
        fn lay_over(below: &mut Value, above: &Value) {
            let (Some(table), Some(above)) = (below.as_object_mut(), above.as_object()) else { return };
            for (key, value) in above {
                let place = table.entry(key.clone()).or_insert(json!({}));
                if value.is_object() && place.is_object() {
                    lay_over(place, value);
                } else if !value.is_boolean() || !place.is_object() || place.as_object().is_some_and(Map::is_empty) {
                    *place = value.clone();
                }
            }
        }
        let mut found = Vec::new();
        missing(&keys::ROOT, Some(&parsed(include_str!("../../config/labgate.toml"))), "", &mut found);
        assert_eq!(found, [""; 0]);
    }
}
