//! Cases that are known to fail, each with its reason; and the verdict on a run by them and by the bare folder.

use super::case::{Cases, Ended};
use anyhow::{Context, Result, bail};

/// The file with them.
const FILE: &str = include_str!("exceptions.txt");

/// A case that is known to fail.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Exception {
    suite: String,
    /// `*` for every peer.
    peer: String,
    /// With a `*` at its end, every case that begins like this.
    case: String,
    reason: String,
}

/// All of them.
#[derive(Clone, Debug)]
pub(super) struct Exceptions(Vec<Exception>);

impl Exceptions {
    /// Reads the file of this repository.
    ///
    /// # Errors
    /// When a line says too little.
    pub(super) fn load() -> Result<Self> {
        Self::parse(FILE)
    }

    /// Reads lines `SUITE PEER CASE: REASON`. Empty lines, and those that begin with #, say nothing.
    fn parse(text: &str) -> Result<Self> {
        let mut all = Vec::new();
        for line in text.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#')) {
            let (head, reason) =
                line.split_once(": ").with_context(|| format!("an exception without a reason: {line}"))?;
            let words: Vec<&str> = head.split_whitespace().collect();
            let [suite, peer, case] = words[..] else { bail!("an exception is SUITE PEER CASE: REASON, not: {line}") };
            all.push(Exception {
                suite: suite.into(),
                peer: peer.into(),
                case: case.into(),
                reason: reason.trim().into(),
            });
        }
        Ok(Self(all))
    }

    fn of(&self, suite: &str, peer: &str, case: &str) -> Option<&Exception> {
        self.0.iter().find(|known| {
            let named = match known.case.strip_suffix('*') {
                Some(begin) => case.starts_with(begin),
                None => known.case == case,
            };
            named && known.suite == suite && (known.peer == "*" || known.peer == peer)
        })
    }

    /// What a run on a peer comes to. A case that fails on the bare folder too is not ours; one that is known to fail has
    /// to: one that passes is to be taken out of the file.
    pub(super) fn judge(&self, suite: &str, peer: &str, run: Cases, bare: &Cases) -> Cases {
        let judge = |name: &str, ended: Ended| match (ended, self.of(suite, peer, name)) {
            (Ended::Failed(_), _) if matches!(bare.get(name), Some(Ended::Failed(_))) => {
                Ended::Skipped("it fails on the bare folder too".into())
            }
            (Ended::Failed(_), Some(known)) => Ended::Skipped(format!("known: {}", known.reason)),
            (Ended::Passed, Some(known)) => {
                Ended::Failed(format!("it passes; take it out of the known exceptions ({})", known.reason))
            }
            (ended, _) => ended,
        };
        let missing = bare.keys().filter(|name| !run.contains_key(*name)).cloned().collect::<Vec<_>>();
        let mut verdict: Cases = run.into_iter().map(|(name, ended)| (name.clone(), judge(&name, ended))).collect();
        for name in missing {
            verdict.insert(name, Ended::Failed("it ran on the bare folder only".into()));
        }
        verdict
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cases(list: &[(&str, Ended)]) -> Cases {
        list.iter().map(|(name, ended)| ((*name).to_owned(), ended.clone())).collect()
    }

    fn failed() -> Ended {
        Ended::Failed("wrong".into())
    }

    #[test]
    fn the_file_is_well_formed() {
        Exceptions::load().unwrap();
        assert!(Exceptions::parse("a b c").is_err());
        assert!(Exceptions::parse("a b: reason").is_err());
    }

    #[test]
    fn known_exceptions_must_fail_and_others_must_not() {
        let known = Exceptions::parse("# why\nposix one chmod::*: it cannot\nposix * link: nor that\n").unwrap();
        let bare =
            cases(&[("chmod::a", Ended::Passed), ("link", Ended::Passed), ("odd", failed()), ("gone", Ended::Passed)]);
        let run = cases(&[("chmod::a", failed()), ("link", Ended::Passed), ("odd", failed()), ("new", failed())]);
        let verdict = known.judge("posix", "one", run.clone(), &bare);
        assert_eq!(verdict["chmod::a"], Ended::Skipped("known: it cannot".into()));
        assert!(matches!(&verdict["link"], Ended::Failed(why) if why.contains("take it out")));
        assert!(matches!(verdict["odd"], Ended::Skipped(_)));
        assert_eq!(verdict["new"], failed());
        assert!(matches!(verdict["gone"], Ended::Failed(_)));
        let verdict = known.judge("posix", "two", run, &bare);
        assert_eq!(verdict["chmod::a"], failed());
    }
}
