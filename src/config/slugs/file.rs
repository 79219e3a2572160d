//! Problems of the file as a file.

use super::Slug;

pub(super) const SLUGS: &[Slug] = &[
    Slug {
        name: "syntax",
        text: "The file is no TOML at this place. Texts, addresses and names stand in quotes; numbers, true and false do not. \
               Everything after the mistake was still read as far as it could be understood.",
        wrong: "[log]\nlevel = info",
        right: "[log]\nlevel = \"info\"",
    },
    Slug {
        name: "not-utf8",
        text: "The file holds octets that are not UTF-8, the one encoding of TOML. Old editors save umlauts in Latin-1, which looks the same on their screen. \
               Save the file as UTF-8, or convert it with `iconv -f latin1 -t utf8`.",
        wrong: "# the cafe's access point, with an accent in Latin-1",
        right: "# the café's access point",
    },
    Slug {
        name: "too-large",
        text: "All files of the configuration together are larger than 4 MB. Checking must stay quick, and nobody reads such a file. \
               Long lists of names belong into hosts files, which the configuration mentions by their path.",
        wrong: "# followed by five million lines",
        right: "[dns]\nhosts = [\"/etc/labgate/many-hosts\"]",
    },
    Slug {
        name: "duplicate-key",
        text: "A key is given twice, in one file or in two that are merged. Only one of the values could have an effect, and nothing here says which one was meant. \
               Keep one of the two places.",
        wrong: "[log]\nlevel = \"info\"\nlevel = \"debug\"",
        right: "[log]\nlevel = \"debug\"",
    },
    Slug {
        name: "unknown-key",
        text: "The table has no such key. A misspelt key would be ignored in silence, so the whole file is refused instead. \
               The hint names the nearest key, or all that the table has.",
        wrong: "[log]\nlevle = \"info\"",
        right: "[log]\nlevel = \"info\"",
    },
    Slug {
        name: "missing-key",
        text: "A table lacks a key it cannot do without. A network needs its interface and its address, a rule needs both ends. \
               The hint shows what such a line looks like.",
        wrong: "[firewall]\nallow = [{ from = \"lan\" }]",
        right: "[firewall]\nallow = [{ from = \"lan\", to = \"iot\" }]",
    },
    Slug {
        name: "wrong-type",
        text: "The value has another type than the key takes. Texts stand in quotes, true, false and numbers do not, lists stand in brackets. \
               The mark says what was expected.",
        wrong: "[dns]\nrebind-protection = \"yes\"",
        right: "[dns]\nrebind-protection = true",
    },
    Slug {
        name: "not-supported-yet",
        text: "The key is understood but has no effect in this version. Nothing is ever ignored in silence, so the file is refused until the line is gone. \
               A later version will have it.",
        wrong: "[dns]\nblocklist = [\"/etc/labgate/ads\"]",
        right: "[dns]\nupstream = [\"9.9.9.9\"]",
    },
    Slug {
        name: "control-character",
        text: "A text holds a control character, written with a backslash. Names and addresses go into logs, terminals and the kernel's ruleset, where such characters do harm. \
               Leave it out.",
        wrong: "[firewall]\nallow = [{ from = \"lan\\u0000\", to = \"iot\" }]",
        right: "[firewall]\nallow = [{ from = \"lan\", to = \"iot\" }]",
    },
    Slug {
        name: "empty-list",
        text: "A list is empty where at least one value belongs. An empty list could be read as nothing or as everything, and for a firewall that difference matters. \
               Leave the key out where everything is meant.",
        wrong: "[firewall]\nallow = [{ from = \"lan\", to = \"iot\", port = [] }]",
        right: "[firewall]\nallow = [{ from = \"lan\", to = \"iot\" }]",
    },
    Slug {
        name: "bad-number",
        text: "A number lies outside what the key takes. The mark says from where to where it may go. \
               Many limits are those of the protocol's field that carries the number.",
        wrong: "[dns]\ncache = { size = -1 }",
        right: "[dns]\ncache = { size = 10000 }",
    },
    Slug {
        name: "bad-choice",
        text: "The key takes one of a few words, and this is none of them. The hint lists them. \
               They are written in lower case.",
        wrong: "[log]\nlevel = \"verbose\"",
        right: "[log]\nlevel = \"debug\"",
    },
    Slug {
        name: "bad-duration",
        text: "A duration is a number and a unit: s, m, h, d or w. A number alone could be seconds or hours, so it is refused. \
               Several parts may follow one another, as in `1h30m`.",
        wrong: "[dns]\ncache = { stale = \"12\" }",
        right: "[dns]\ncache = { stale = \"12h\" }",
    },
    Slug {
        name: "bad-path",
        text: "A file is named by its full path, which starts at the root. A relative path would depend on where the daemon happens to be started. \
               Write the path as `realpath` shows it.",
        wrong: "[dns]\nhosts = [\"hosts.txt\"]",
        right: "[dns]\nhosts = [\"/etc/hosts\"]",
    },
];
