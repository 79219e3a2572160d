//! A plan as text for a person. The heading, which tells times of day, is the caller's.

use std::fmt;

use super::{Effect, Plan, Sign};

/// So many connections are named.
const NAMED: usize = 5;

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = |cell: fn(&Effect) -> usize| self.effects.iter().map(cell).max().unwrap_or(0);
        let subjects = width(|effect| effect.subject.chars().count()).clamp(14, 24);
        let words = width(|effect| effect.words.chars().count()).clamp(20, 56);
        for effect in &self.effects {
            let sign = match effect.sign {
                Sign::More => '+',
                Sign::Less => '-',
                Sign::Other => '~',
            };
            let line = format!("  {:<subjects$}  {sign} {:<words$}  {}", effect.subject, effect.words, effect.note);
            writeln!(f, "{}", line.trim_end())?;
        }
        if !self.cut.is_empty() {
            let noun = if self.cut.len() == 1 { "connection is" } else { "connections are" };
            writeln!(f, "  {:<subjects$}  - {} open {noun} cut", "connections", self.cut.len())?;
            for flow in self.cut.iter().take(NAMED) {
                writeln!(f, "  {:<subjects$}    {flow}", "")?;
            }
            if self.cut.len() > NAMED {
                writeln!(f, "  {:<subjects$}    and {} more", "", self.cut.len() - NAMED)?;
            }
        }
        for words in &self.ways_in {
            let (subject, words) = words.split_once(": ").unwrap_or(("", words));
            writeln!(f, "  {subject:<subjects$}    {words}")?;
        }
        if let Some(words) = &self.lock_out {
            writeln!(f, "\n{words}")?;
        }
        Ok(())
    }
}
