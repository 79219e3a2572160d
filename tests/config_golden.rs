//! Wrong files and what is said about them: `tests/config/NAME.toml` and `NAME.expected`. `UPDATE=1` writes the expectations anew.
//! A folder `NAME/` holds a main file `labgate.toml` and fragments `labgate.d/*.toml`.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use labgate::config::Source;
use labgate::desired;

fn cases() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/config");
    let mut cases: Vec<PathBuf> = fs::read_dir(folder)
        .expect("the folder of cases")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.is_dir() || path.extension().is_some_and(|extension| extension == "toml"))
        .collect();
    cases.sort();
    cases
}

fn sources(case: &Path) -> Vec<Source> {
    let source = |path: &Path, name: String| Source { name, text: fs::read(path).expect("a readable case") };
    if !case.is_dir() {
        return vec![source(case, "labgate.toml".to_owned())];
    }
    let mut sources = vec![source(&case.join("labgate.toml"), "labgate.toml".to_owned())];
    let mut fragments: Vec<PathBuf> =
        fs::read_dir(case.join("labgate.d")).expect("fragments").map(|entry| entry.expect("an entry").path()).collect();
    fragments.sort();
    for fragment in fragments {
        let name = format!("labgate.d/{}", fragment.file_name().expect("a name").to_string_lossy());
        sources.push(source(&fragment, name));
    }
    sources
}

#[test]
fn wrong_files_say_what_is_wrong() {
    let mut failures = String::new();
    let cases = cases();
    assert!(cases.len() >= 45, "only {} cases", cases.len());
    for case in cases {
        let checked = desired::check(&sources(&case));
        let said = format!("{}{}\n", checked.report.render(false), checked.report.summary());
        assert!(!checked.report.is_empty(), "{} has nothing wrong", case.display());
        assert_eq!(checked.config.is_none(), checked.report.errors > 0, "{}", case.display());
        let expected = case.with_extension("expected");
        if std::env::var_os("UPDATE").is_some() {
            fs::write(&expected, &said).expect("a writable expectation");
        } else if fs::read_to_string(&expected).unwrap_or_default() != said {
            writeln!(failures, "--- {} says now:\n{said}", case.display()).expect("text");
        }
    }
    assert!(failures.is_empty(), "UPDATE=1 writes these anew where they are right:\n{failures}");
}
