//! Words of a scenario line.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::time::Duration;

/// A line: its words, and `key=value` pairs.
pub struct Line<'a> {
    pub words: Vec<&'a str>,
    pub keys: HashMap<&'a str, &'a str>,
}

impl<'a> Line<'a> {
    pub fn read(text: &'a str) -> Self {
        let mut line = Line { words: Vec::new(), keys: HashMap::new() };
        for word in text.split_whitespace() {
            match word.split_once('=') {
                Some((key, value)) => {
                    line.keys.insert(key, value);
                }
                None => line.words.push(word),
            }
        }
        line
    }

    pub fn word(&self, index: usize) -> Result<&'a str, String> {
        self.words.get(index).copied().ok_or_else(|| format!("word {} is missing", index + 1))
    }
}

pub fn address(text: &str) -> Result<Ipv4Addr, String> {
    text.parse().map_err(|_| format!("`{text}` is no address"))
}

pub fn number<T: std::str::FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("`{text}` is no number"))
}

pub fn hexadecimal(text: &str) -> Result<Vec<u8>, String> {
    let digits: String = text.chars().filter(|c| !matches!(c, ':' | ' ')).collect();
    (0..digits.len())
        .step_by(2)
        .map(|at| digits.get(at..at + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok()))
        .collect::<Option<_>>()
        .ok_or_else(|| format!("`{text}` is not hexadecimal"))
}

pub fn duration(text: &str) -> Result<Duration, String> {
    let split = text.find(|c: char| c.is_alphabetic()).unwrap_or(text.len());
    let (count, unit) = text.split_at(split);
    let seconds = match unit {
        "ms" => return Ok(Duration::from_millis(number(count)?)),
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        "y" => 31_536_000,
        _ => return Err(format!("`{text}` is no duration")),
    };
    Ok(Duration::from_secs(number::<u64>(count)? * seconds))
}

/// The octets an expected option value stands for.
pub fn option_value(text: &str, length: usize) -> Result<Vec<u8>, String> {
    if let Some(hex) = text.strip_prefix("0x") {
        return hexadecimal(hex);
    }
    if let Some(text) = text.strip_prefix('"') {
        return Ok(text.trim_end_matches('"').as_bytes().to_vec());
    }
    if text.contains('.') {
        return text
            .split(',')
            .map(|part| address(part).map(|address| address.octets()))
            .collect::<Result<Vec<_>, _>>()
            .map(|list| list.concat());
    }
    let number: u64 = number(text)?;
    Ok(number.to_be_bytes()[8 - length.min(8)..].to_vec())
}
