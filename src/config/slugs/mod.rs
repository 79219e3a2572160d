//! Every kind of problem, once: what it means in three sentences, a wrong example and the right one. Tests hold each example to its word.

mod file;
mod names;
mod network;
mod traffic;

/// A kind of problem.
#[derive(Debug)]
pub struct Slug {
    /// Its name, as in `error[duplicate-address]`.
    pub name: &'static str,
    /// What is wrong, why it matters, and what to do.
    pub text: &'static str,
    /// Lines that are wrong in this way.
    pub wrong: &'static str,
    /// The same, right.
    pub right: &'static str,
}

impl Slug {
    /// What `labgate help SLUG` prints.
    pub fn render(&self) -> String {
        let indent = |lines: &str| {
            lines.trim().lines().map(|line| format!("    {line}").trim_end().to_owned() + "\n").collect::<String>()
        };
        let (wrong, right) = (indent(self.wrong), indent(self.right));
        format!("{}\n\n{}\n\nWrong:\n\n{wrong}\nRight:\n\n{right}", self.name, wrapped(self.text))
    }
}

/// All kinds, in groups as a file is read.
pub fn all() -> impl Iterator<Item = &'static Slug> {
    [file::SLUGS, network::SLUGS, names::SLUGS, traffic::SLUGS].into_iter().flatten()
}

/// The kind of that name.
pub fn find(name: &str) -> Option<&'static Slug> {
    all().find(|slug| slug.name == name)
}

fn wrapped(text: &str) -> String {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let last = lines.last_mut().expect("never empty");
        match last.chars().count() + 1 + word.chars().count() {
            _ if last.is_empty() => last.push_str(word),
            0..=100 => {
                last.push(' ');
                last.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Source;
    use crate::desired::check;

    /// An example is a few lines: what a whole file needs besides comes from here.
    fn whole(lines: &str) -> String {
        let mut text = lines.to_owned();
        let mut add = |marks: &[&str], rest: &str| {
            if !marks.iter().any(|mark| lines.contains(mark)) {
                text.push_str(rest);
            }
        };
        add(&["[wan]", "# no uplink"], "\n[wan]\ninterface = \"eth0\"\n");
        add(
            &["[network", "# nothing else"],
            "\n[network.lan]\ninterface = \"eth1\"\naddress = \"192.168.1.1/24\"\nadmin = true\n\
             [network.iot]\ninterface = \"eth1.20\"\naddress = \"192.168.20.1/24\"\n",
        );
        add(
            &["[host", "# nothing else"],
            "\n[host]\nnas = { mac = \"52:54:00:00:01:10\", ip = \"192.168.1.10\" }\nprinter = { mac = \"52:54:00:00:01:11\" }\n",
        );
        text
    }

    fn said(text: Vec<u8>) -> Vec<&'static str> {
        let checked = check(&[Source { name: "labgate.toml".to_owned(), text }]);
        checked
            .report
            .problems
            .iter()
            .map(|problem| problem.slug)
            .chain(checked.report.hints.iter().map(|hint| hint.slug))
            .collect()
    }

    #[test]
    fn every_example_is_wrong_or_right_as_it_says() {
        for slug in all() {
            let mut wrong = whole(slug.wrong).into_bytes();
            match slug.name {
                "too-large" => wrong.resize(5 << 20, b'\n'),
                "not-utf8" => wrong.extend(b"# caf\xe9\n"),
                _ => {}
            }
            let found = said(wrong);
            assert!(found.contains(&slug.name), "the wrong example of {} says {found:?}", slug.name);
            let mut right = said(whole(slug.right).into_bytes());
            // An example is no whole file: few of its names are used.
            right.retain(|found| !found.starts_with("unused-") || *found == slug.name);
            assert_eq!(right, [""; 0], "the right example of {}:\n{}", slug.name, whole(slug.right));
        }
    }

    #[test]
    fn every_text_is_three_sentences_and_every_name_is_once() {
        let mut names = std::collections::HashSet::new();
        for slug in all() {
            let sentences = slug.text.matches(". ").count() + 1;
            assert_eq!(sentences, 3, "{}: {}", slug.name, slug.text);
            assert!(names.insert(slug.name), "{}", slug.name);
            assert!(slug.render().starts_with(slug.name) && find(slug.name).is_some());
        }
    }
}
