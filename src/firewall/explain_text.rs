//! An explanation as text for a person.

use std::fmt;

use super::explain::Explanation;

/// Columns of the words of a phase, before its place and outcome.
const WORDS: usize = 46;
const PLACE: usize = 18;

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
        for (index, phase) in self.phases.iter().enumerate() {
            let place = phase.place.as_deref().unwrap_or("");
            let line =
                format!("  {} {:<6}  {:<WORDS$} {place:<PLACE$} {}", index + 1, phase.name, phase.words, phase.outcome);
            writeln!(f, "{}", line.trim_end())?;
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
