//! What the documentation says of the code, checked: its links, the hops of its figures, and that its examples hide nothing.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// A way through the layers has at most so many hops.
const HOPS: usize = 8;
/// The header of a table of hops.
const HEADER: &str = "| hop | file | function | does |";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The pages that are checked.
fn pages() -> Vec<PathBuf> {
    let mut pages: Vec<PathBuf> =
        ["README.md", "SECURITY.md", "CONTRIBUTING.md"].iter().map(|name| root().join(name)).collect();
    let docs = fs::read_dir(root().join("docs")).unwrap().map(|entry| entry.unwrap().path());
    pages.extend(docs.filter(|path| path.extension().is_some_and(|extension| extension == "md")));
    pages
}

/// A row of a table of hops.
#[derive(Debug, PartialEq, Eq)]
struct Hop<'a> {
    file: &'a str,
    function: &'a str,
}

/// The tables of hops of a page.
fn ways(page: &str) -> Vec<Vec<Hop<'_>>> {
    // The line below the header is no row.
    page.split(HEADER).skip(1).map(|table| table.lines().skip(2).map_while(row).collect()).collect()
}

fn row(line: &str) -> Option<Hop<'_>> {
    let mut cells = line.strip_prefix('|')?.split('|').map(str::trim);
    let (file, function) = (cells.nth(1)?, cells.next()?);
    Some(Hop { file: file.trim_matches('`'), function: function.trim_matches('`') })
}

/// The bodies of a file's functions of this name; formatted code, so a body ends with a brace below its first letter.
fn bodies<'a>(source: &'a str, name: &str) -> Vec<&'a str> {
    let is_it = |line: &str| {
        let rest = line.split_once("fn ").and_then(|(_, rest)| rest.strip_prefix(name));
        rest.is_some_and(|rest| rest.starts_with(['(', '<']))
    };
    let mut found = Vec::new();
    let mut at = 0;
    for line in source.split_inclusive('\n') {
        if is_it(line) {
            let indent = &line[..line.len() - line.trim_start().len()];
            let rest = &source[at..];
            let end = rest.find(&format!("\n{indent}}}\n")).unwrap_or(rest.len());
            found.push(&rest[..end]);
        }
        at += line.len();
    }
    found
}

/// What is wrong with a way, if anything is.
fn wrong(way: &[Hop<'_>], source: impl Fn(&str) -> String) -> Option<String> {
    if way.len() < 2 || way.len() > HOPS {
        return Some(format!("{} hops", way.len()));
    }
    for (index, hop) in way.iter().enumerate() {
        let text = source(hop.file);
        let bodies = bodies(&text, hop.function);
        if bodies.is_empty() {
            return Some(format!("{} has no function {}", hop.file, hop.function));
        }
        if let Some(next) = way.get(index + 1)
            && !bodies.iter().any(|body| body.contains(&format!("{}(", next.function)))
        {
            return Some(format!("{} of {} does not call {}", hop.function, hop.file, next.function));
        }
    }
    None
}

#[test]
fn the_ways_of_the_architecture_are_those_of_the_code() {
    let page = read(&root().join("docs/architecture.md"));
    let ways = ways(&page);
    assert_eq!(ways.len(), page.matches(HEADER).count());
    assert!(ways.len() >= 5, "{}", ways.len());
    let sources = root().join("crates/virtio-fs/src");
    for way in ways {
        assert_eq!(wrong(&way, |file| read(&sources.join(file))), None, "{way:?}");
    }
}

#[test]
fn a_way_that_is_not_in_the_code_is_found() {
    let code = "impl A {\n    fn one(&self) {\n        self.two();\n    }\n\n    fn two(&self) {}\n}\n";
    let hop = |function| Hop { file: "a.rs", function };
    let check = |way: &[Hop<'_>]| wrong(way, |_| code.into());
    assert_eq!(check(&[hop("one"), hop("two")]), None);
    assert!(check(&[hop("two"), hop("one")]).is_some());
    assert!(check(&[hop("one"), hop("three")]).is_some());
    assert!(check(&[hop("one")]).is_some());
    let page =
        "text\n| hop | file | function | does |\n| --- | --- | --- | --- |\n| 1 | `a.rs` | `one` | it |\n\nmore\n";
    assert_eq!(ways(page), [vec![hop("one")]]);
}

#[test]
fn relative_links_lead_somewhere() {
    for page in pages() {
        let text = read(&page);
        for target in text.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(target, _)| target) {
            let file = target.split('#').next().unwrap_or_default();
            if target.contains("://") || file.is_empty() {
                continue;
            }
            let path = page.parent().unwrap().join(file);
            assert!(path.exists(), "{} points at {target}, which is not there", page.display());
        }
    }
}

/// The Rust examples of a page.
fn examples(page: &str) -> impl Iterator<Item = &str> {
    page.split("```rust").skip(1).filter_map(|rest| rest.split_once('\n')?.1.split("```").next())
}

#[test]
fn examples_hide_nothing() {
    for page in pages() {
        let text = read(&page);
        for example in examples(&text) {
            let hidden = example.lines().find(|line| line.trim_start().starts_with("# "));
            assert_eq!(hidden, None, "{}", page.display());
        }
    }
}

/// The first example of a page's chapter, and its lines.
fn glue<'p>(page: &'p str, chapter: &str) -> (&'p str, usize) {
    let glue = page.split_once(chapter).map(|(_, rest)| rest).and_then(|rest| examples(rest).next()).unwrap();
    (glue, glue.lines().filter(|line| !line.trim().is_empty()).count())
}

#[test]
fn a_kernel_of_less_than_sixty_lines_mounts() {
    let porting = read(&root().join("docs/porting.md"));
    for (chapter, mount) in [("## The glue", "VirtioFs::mount"), ("## Files on shared memory", "Mount::open")] {
        let (glue, lines) = glue(&porting, chapter);
        assert!(glue.contains(mount) && lines < 60, "{chapter}: {lines} lines");
    }
}

/// One screen and a half.
#[test]
fn the_readme_is_short() {
    const LINES: usize = 85;
    let lines = read(&root().join("README.md")).lines().count();
    assert!(lines <= LINES, "{lines} lines: what is not for a newcomer's first minutes belongs in docs/");
}
