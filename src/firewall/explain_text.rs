//! An explanation as text for a person.

use std::fmt::{self, Write as _};

use super::explain::{Explanation, Phase};

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.allowed { self.way(f) } else { self.denial(f) }
    }
}

impl Explanation {
    fn way(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} -> {}  {}", self.source, self.destination, self.protocol)?;
        match self.port {
            Some(port) => writeln!(f, " {port}")?,
            None => writeln!(f)?,
        }
        let rows: Vec<[String; 3]> = self.phases.iter().map(cells).collect();
        let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        let (words, place, packets) = (width(0), width(1), width(2));
        for ((index, phase), row) in self.phases.iter().enumerate().zip(&rows) {
            let mut line = format!("  {} {:<6}  {:<words$}", index + 1, phase.name, row[0]);
            for (cell, width) in [(&row[1], place), (&row[2], packets)] {
                if width > 0 {
                    let _ = write!(line, "  {cell:<width$}");
                }
            }
            writeln!(f, "{}", format!("{line}  {}", phase.outcome).trim_end())?;
        }
        writeln!(f, "  replies   established, accepted")
    }

    fn denial(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let port = self.port.map_or_else(String::new, |port| format!(":{port}"));
        let head = format!("{} -> {}{port}   DENY   ", self.from, self.to);
        writeln!(f, "{head}{}", self.reason.as_deref().unwrap_or(""))?;
        let indent = " ".repeat(head.chars().count());
        if let Some(suggestion) = &self.suggestion {
            writeln!(f, "{indent}to allow:  {suggestion}")?;
        }
        Ok(())
    }
}

fn cells(phase: &Phase) -> [String; 3] {
    let packets = phase.packets.map(|packets| format!("{} packets", grouped(packets)));
    [phase.words.clone(), phase.place.clone().unwrap_or_default(), packets.unwrap_or_default()]
}

/// Digits in groups of three: `8,412`.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    #[test]
    fn digits_stand_in_groups() {
        assert_eq!([0, 999, 8412, 1_234_567].map(super::grouped), ["0", "999", "8,412", "1,234,567"]);
    }
}
