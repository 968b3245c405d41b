//! The package sources of this machine, as apt reads them: one-line `*.list` files and deb822 `*.sources` files.

use anyhow::{Context, Result};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

/// One suite of one archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Source {
    /// The archive's address.
    pub(crate) uri: String,
    /// Its suite.
    pub(crate) suite: String,
    /// Its components.
    pub(crate) components: Vec<String>,
    /// The file of keys that sign it, if the source names one.
    pub(crate) signed_by: Option<PathBuf>,
}

/// What `/etc/os-release` says that matters here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Release {
    /// `ID`.
    pub(crate) id: String,
    /// `VERSION_CODENAME`.
    pub(crate) codename: String,
    /// `PRETTY_NAME`.
    pub(crate) name: String,
}

/// The sources of this machine that are switched on, in apt's order.
///
/// # Errors
/// When a file of them cannot be read.
pub(crate) fn of_this_machine(etc: &Path) -> Result<Vec<Source>> {
    let mut sources = Vec::new();
    let list = etc.join("apt/sources.list");
    if list.exists() {
        sources.extend(parse_list(&read(&list)?));
    }
    let parts = etc.join("apt/sources.list.d");
    let mut files: Vec<PathBuf> = match fs::read_dir(&parts) {
        Ok(entries) => entries.filter_map(|entry| Some(entry.ok()?.path())).collect(),
        Err(_) => Vec::new(),
    };
    files.sort();
    for file in files {
        match file.extension().and_then(|extension| extension.to_str()) {
            Some("list") => sources.extend(parse_list(&read(&file)?)),
            Some("sources") => sources.extend(parse_deb822(&read(&file)?)),
            _ => {}
        }
    }
    Ok(sources)
}

/// The release that this machine runs.
///
/// # Errors
/// When `/etc/os-release` cannot be read.
pub(crate) fn release(etc: &Path) -> Result<Release> {
    Ok(parse_release(&read(&etc.join("os-release"))?))
}

/// The Debian archive among these sources.
pub(crate) fn debian_archive(sources: &[Source], release: &Release) -> Option<Source> {
    let usable = |source: &&Source| {
        source.components.iter().any(|component| component == "main")
            && !source.uri.contains("security")
            && !source.suite.contains("security")
    };
    let by_its_own_release = |source: &&Source| release.id == "debian" && source.suite == release.codename;
    let by_its_name = |source: &&Source| source.uri.trim_end_matches('/').split('/').any(|part| part == "debian");
    sources
        .iter()
        .filter(usable)
        .find(by_its_own_release)
        .or_else(|| sources.iter().filter(usable).find(by_its_name))
        .cloned()
}

/// The archive that this machine's own release came from.
pub(crate) fn own_archive(sources: &[Source], release: &Release) -> Option<Source> {
    sources
        .iter()
        .find(|source| {
            source.suite == release.codename && source.components.iter().any(|component| component == "main")
        })
        .cloned()
}

fn read(file: &Path) -> Result<String> {
    fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))
}

fn parse_release(text: &str) -> Release {
    let mut release = Release::default();
    for line in text.lines() {
        let Some((key, value)) = line.split_once('=') else { continue };
        let value = value.trim().trim_matches(['"', '\'']).to_owned();
        match key {
            "ID" => release.id = value,
            "VERSION_CODENAME" => release.codename = value,
            "PRETTY_NAME" => release.name = value,
            _ => {}
        }
    }
    release
}

fn parse_list(text: &str) -> Vec<Source> {
    text.lines().filter_map(parse_list_line).collect()
}

/// `deb [option=value ...] URI SUITE COMPONENT...`
fn parse_list_line(line: &str) -> Option<Source> {
    let line = line.split('#').next().unwrap_or_default().trim();
    let rest = line.strip_prefix("deb")?;
    if !rest.starts_with([' ', '\t', '[']) {
        return None;
    }
    let rest = rest.trim_start();
    let (options, rest) = match rest.strip_prefix('[') {
        Some(inner) => inner.split_once(']')?,
        None => ("", rest),
    };
    let signed_by = options.split_whitespace().find_map(|option| option.strip_prefix("signed-by=")).map(PathBuf::from);
    let mut words = rest.split_whitespace().map(str::to_owned);
    Some(Source { uri: words.next()?, suite: words.next()?, components: words.collect(), signed_by })
}

fn parse_deb822(text: &str) -> Vec<Source> {
    let mut sources = Vec::new();
    let mut stanza = BTreeMap::new();
    let mut key = String::new();
    for line in text.lines().chain([""]) {
        if line.starts_with('#') {
            continue;
        }
        if line.trim().is_empty() {
            sources.extend(stanza_sources(&std::mem::take(&mut stanza)));
        } else if line.starts_with([' ', '\t']) {
            let value: &mut String = stanza.entry(key.clone()).or_default();
            value.push('\n');
            value.push_str(line.trim());
        } else if let Some((name, value)) = line.split_once(':') {
            key = name.trim().to_ascii_lowercase();
            stanza.insert(key.clone(), value.trim().to_owned());
        }
    }
    sources
}

fn stanza_sources(stanza: &BTreeMap<String, String>) -> Vec<Source> {
    let words =
        |key: &str| stanza.get(key).map(|value| value.split_whitespace().collect::<Vec<_>>()).unwrap_or_default();
    let off = words("enabled").first().is_some_and(|word| ["no", "false", "0", "off", "without"].contains(word));
    if off || !words("types").contains(&"deb") {
        return Vec::new();
    }
    // A key may stand in the file itself; only a named file can be handed on.
    let signed_by = words("signed-by").first().filter(|word| word.starts_with('/')).map(PathBuf::from);
    let components: Vec<String> = words("components").into_iter().map(str::to_owned).collect();
    let mut sources = Vec::new();
    for uri in words("uris") {
        for suite in words("suites") {
            sources.push(Source {
                uri: uri.to_owned(),
                suite: suite.to_owned(),
                components: components.clone(),
                signed_by: signed_by.clone(),
            });
        }
    }
    sources
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEB822: &str = "\
Types: deb deb-src
# a comment
URIs: http://mirror.example/debian
Suites: bookworm
 bookworm-updates
Components: main contrib
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: http://mirror.example/debian-security
Suites: bookworm-security
Components: main

Types: deb
Enabled: no
URIs: http://off.example/debian
Suites: bookworm
Components: main

Types: deb
URIs: http://inline.example/x
Suites: y
Components: main
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
";

    fn bookworm() -> Release {
        parse_release("PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nID=debian\nVERSION_CODENAME=bookworm\n")
    }

    #[test]
    fn deb822_stanzas() {
        let sources = parse_deb822(DEB822);
        assert_eq!(sources.len(), 4, "{sources:?}");
        assert_eq!(sources[1].suite, "bookworm-updates");
        assert_eq!(sources[1].components, ["main", "contrib"]);
        assert_eq!(sources[1].signed_by.as_deref(), Some(Path::new("/usr/share/keyrings/debian-archive-keyring.gpg")));
        assert_eq!(sources[3].signed_by, None);
        let archive = debian_archive(&sources, &bookworm()).unwrap();
        assert_eq!((archive.uri.as_str(), archive.suite.as_str()), ("http://mirror.example/debian", "bookworm"));
    }

    #[test]
    fn one_line_sources() {
        let text = "# deb http://off.example/debian x main\n\
                    deb-src http://src.example/debian x main\n\
                    deb [arch=amd64 signed-by=/k.gpg] http://a.example/debian/ trixie main # tail\n\
                    deb http://b.example/ubuntu noble main universe\n";
        let sources = parse_list(text);
        assert_eq!(sources.len(), 2, "{sources:?}");
        assert_eq!(sources[0].signed_by.as_deref(), Some(Path::new("/k.gpg")));
        assert_eq!(sources[1].components, ["main", "universe"]);
        let ubuntu = Release { id: "ubuntu".into(), codename: "noble".into(), name: "Ubuntu".into() };
        assert_eq!(debian_archive(&sources, &ubuntu).unwrap().uri, "http://a.example/debian/");
        assert_eq!(own_archive(&sources, &ubuntu).unwrap().uri, "http://b.example/ubuntu");
        assert_eq!(debian_archive(&sources[1..], &ubuntu), None);
    }

    #[test]
    fn security_archives_are_not_the_archive() {
        let security = parse_list("deb http://s.example/debian-security bookworm-security main");
        assert_eq!(debian_archive(&security, &bookworm()), None);
    }

    #[test]
    fn files_are_read_in_order() {
        let etc = tempfile::tempdir().unwrap();
        fs::create_dir_all(etc.path().join("apt/sources.list.d")).unwrap();
        assert_eq!(of_this_machine(etc.path()).unwrap(), []);
        fs::write(etc.path().join("apt/sources.list"), "deb http://one.example/debian a main").unwrap();
        fs::write(etc.path().join("apt/sources.list.d/z.list"), "deb http://three.example/debian a main").unwrap();
        fs::write(etc.path().join("apt/sources.list.d/b.sources"), "Types: deb\nURIs: http://two.example\nSuites: a")
            .unwrap();
        fs::write(etc.path().join("apt/sources.list.d/c.sources.off"), "Types: deb\nURIs: x\nSuites: a").unwrap();
        let uris: Vec<_> = of_this_machine(etc.path()).unwrap().into_iter().map(|source| source.uri).collect();
        assert_eq!(uris, ["http://one.example/debian", "http://two.example", "http://three.example/debian"]);
    }
}
