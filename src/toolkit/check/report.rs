//! What was found, and what follows from it: which step is next, the verdict, the exit code.
//!
//! Pure: no sockets and no clock. What was not looked at is never counted as well.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde_json::Value as Json;

use super::step::Step;
use super::topic::Topic;

/// How one thing is. The worse counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Verdict {
    /// There is nothing of that kind here: no host name to resolve for a socket file.
    NotApplicable,
    Pass,
    /// It could not be looked at.
    Unchecked,
    Warn,
    Fail,
}

impl Verdict {
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::NotApplicable => "n/a",
            Self::Pass => "PASS",
            Self::Unchecked => "----",
            Self::Warn => "WARN",
            Self::Fail => "FAIL",
        }
    }

    /// In JSON.
    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::NotApplicable => "not_applicable",
            Self::Pass => "pass",
            Self::Unchecked => "not_checked",
            Self::Warn => "warn",
            Self::Fail => "fail",
        }
    }
}

/// One thing that was found out.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Finding {
    pub(crate) verdict: Verdict,
    /// What was seen, in one line.
    pub(crate) evidence: String,
    /// More of it, a line each.
    pub(crate) more: Vec<String>,
    /// The same for machines.
    pub(crate) figures: BTreeMap<&'static str, Json>,
    /// One command or key.
    pub(crate) cure: Option<Cow<'static, str>>,
    /// `None` is the step's own.
    pub(crate) topic: Option<Topic>,
}

impl Finding {
    fn new(verdict: Verdict, evidence: impl Into<String>) -> Self {
        Self {
            verdict,
            evidence: evidence.into(),
            more: Vec::new(),
            figures: BTreeMap::new(),
            cure: None,
            topic: None,
        }
    }

    pub(crate) fn pass(evidence: impl Into<String>) -> Self {
        Self::new(Verdict::Pass, evidence)
    }

    pub(crate) fn not_applicable(why: impl Into<String>) -> Self {
        Self::new(Verdict::NotApplicable, why)
    }

    pub(crate) fn unchecked(
        why: impl Into<String>,
        cure: impl Into<Cow<'static, str>>,
        topic: Topic,
    ) -> Self {
        Self::new(Verdict::Unchecked, why).cure(cure, topic)
    }

    pub(crate) fn warn(
        evidence: impl Into<String>,
        cure: impl Into<Cow<'static, str>>,
        topic: Topic,
    ) -> Self {
        Self::new(Verdict::Warn, evidence).cure(cure, topic)
    }

    pub(crate) fn fail(
        evidence: impl Into<String>,
        cure: impl Into<Cow<'static, str>>,
        topic: Topic,
    ) -> Self {
        Self::new(Verdict::Fail, evidence).cure(cure, topic)
    }

    fn cure(mut self, cure: impl Into<Cow<'static, str>>, topic: Topic) -> Self {
        self.cure = Some(cure.into());
        self.topic = Some(topic);
        self
    }

    pub(crate) fn more(mut self, lines: impl IntoIterator<Item = String>) -> Self {
        self.more.extend(lines);
        self
    }

    pub(crate) fn figure(mut self, name: &'static str, value: impl Into<Json>) -> Self {
        self.figures.insert(name, value.into());
        self
    }
}

/// What is known of one upstream so far.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct UpstreamReport {
    pub(crate) name: String,
    /// Where it is, and how it is verified.
    pub(crate) place: String,
    /// Steps that are to be taken, in order.
    planned: Vec<Step>,
    found: BTreeMap<Step, Vec<Finding>>,
}

impl UpstreamReport {
    pub(crate) fn new(name: String, place: String, planned: Vec<Step>) -> Self {
        Self {
            name,
            place,
            planned,
            found: BTreeMap::new(),
        }
    }

    /// The first step that is still to be taken, and can be.
    pub(crate) fn next(&self) -> Option<Step> {
        let mut open = self.planned.iter().copied();
        open.find(|step| !self.found.contains_key(step) && self.is_possible(*step))
    }

    /// Whether all that the step needs was looked at, and is well enough.
    fn is_possible(&self, step: Step) -> bool {
        step.needs()
            .is_none_or(|needed| match self.verdict_of(needed) {
                Some(Verdict::Fail | Verdict::Unchecked) | None => false,
                Some(Verdict::Pass | Verdict::Warn | Verdict::NotApplicable) => true,
            })
    }

    pub(crate) fn record(&mut self, step: Step, findings: Vec<Finding>) {
        self.found.insert(step, findings);
    }

    /// The worst of a step's findings.
    pub(crate) fn verdict_of(&self, step: Step) -> Option<Verdict> {
        let findings = self.found.get(&step)?;
        findings.iter().map(|finding| finding.verdict).max()
    }

    /// The worst of all. What was never reached counts as unchecked.
    pub(crate) fn verdict(&self) -> Verdict {
        let steps = self.planned.iter();
        let verdicts = steps.map(|step| self.verdict_of(*step).unwrap_or(Verdict::Unchecked));
        verdicts.max().unwrap_or(Verdict::Unchecked)
    }

    pub(crate) fn findings(&self) -> impl Iterator<Item = (Step, &Finding)> {
        let all = self.found.iter();
        all.flat_map(|(step, findings)| findings.iter().map(|finding| (*step, finding)))
    }

    /// Steps that nobody has come to.
    pub(crate) fn not_reached(&self) -> impl Iterator<Item = Step> {
        let steps = self.planned.iter().copied();
        steps.filter(|step| !self.found.contains_key(step))
    }

    /// The step that stands in the way of others.
    pub(crate) fn obstacle(&self) -> Option<Step> {
        let missing = self.not_reached().next()?;
        let mut step = missing.needs();
        while let Some(needed) = step {
            if self.found.contains_key(&needed) {
                return Some(needed);
            }
            step = needed.needs();
        }
        None
    }

    fn exit_code(&self, strict: bool) -> u8 {
        let failed = |connecting: bool| {
            self.found.keys().any(|step| {
                step.is_connecting() == connecting && self.verdict_of(*step) == Some(Verdict::Fail)
            })
        };
        match self.verdict() {
            _ if failed(true) => CANNOT_CONNECT,
            _ if failed(false) => FAILED,
            Verdict::Warn | Verdict::Unchecked if strict => FAILED,
            _ => DONE,
        }
    }
}

const DONE: u8 = 0;
/// Something is wrong with what could be looked at.
const FAILED: u8 = 3;
/// No connection, no TLS, or no login.
const CANNOT_CONNECT: u8 = 4;

/// What was found about everything that was asked for.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Report {
    /// About the configuration as a whole.
    pub(crate) configuration: Vec<Finding>,
    pub(crate) upstreams: Vec<UpstreamReport>,
    pub(crate) seconds: f64,
}

impl Report {
    /// Which number tells a script: no connection is worse than any other failure.
    pub(crate) fn exit_code(&self, strict: bool) -> u8 {
        let upstreams = self.upstreams.iter();
        let worst = upstreams.map(|upstream| upstream.exit_code(strict)).max();
        let mut configuration = self.configuration.iter();
        let warned = configuration.any(|finding| finding.verdict >= Verdict::Unchecked);
        match worst.unwrap_or(DONE) {
            DONE if strict && warned => FAILED,
            code => code,
        }
    }

    /// The first finding that is the worst: what to say in one line.
    pub(crate) fn cause(&self) -> Option<String> {
        let worst = self.verdict();
        self.upstreams.iter().find_map(|upstream| {
            let mut findings = upstream.findings();
            let (step, finding) = findings.find(|(_, finding)| finding.verdict == worst)?;
            let (name, evidence) = (&upstream.name, &finding.evidence);
            Some(format!("{name}, {}: {evidence}", step.name()))
        })
    }

    /// All findings, those about the configuration first.
    pub(crate) fn verdict(&self) -> Verdict {
        let configuration = self.configuration.iter().map(|finding| finding.verdict);
        let upstreams = self.upstreams.iter().map(UpstreamReport::verdict);
        configuration
            .chain(upstreams)
            .max()
            .unwrap_or(Verdict::Unchecked)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(planned: &[Step]) -> UpstreamReport {
        UpstreamReport::new("u".to_owned(), "h:1".to_owned(), planned.to_vec())
    }

    fn all(but: &[(Step, Verdict)]) -> UpstreamReport {
        let mut report = report(&Step::ALL);
        while let Some(step) = report.next() {
            let verdict = but.iter().find(|(other, _)| *other == step);
            let verdict = verdict.map_or(Verdict::Pass, |(_, verdict)| *verdict);
            report.record(step, vec![Finding::new(verdict, "seen")]);
        }
        report
    }

    #[test]
    fn every_step_stands_behind_what_it_needs() {
        for (at, step) in Step::ALL.iter().enumerate() {
            assert_eq!(Step::ALL.iter().position(|other| other == step), Some(at));
            if let Some(needed) = step.needs() {
                assert!(needed < *step, "{step:?}");
            }
        }
    }

    #[test]
    fn the_first_cause_ends_what_depends_on_it_and_the_rest_is_listed() {
        let failed = all(&[(Step::Chain, Verdict::Fail)]);
        let seen: Vec<_> = failed.findings().map(|(step, _)| step).collect();
        assert_eq!(seen.last(), Some(&Step::Chain));
        let missing: Vec<_> = failed.not_reached().collect();
        assert_eq!(missing.first(), Some(&Step::Name));
        assert_eq!(missing.last(), Some(&Step::Move));
        assert_eq!(failed.obstacle(), Some(Step::Chain));
    }

    #[test]
    fn a_failure_that_nothing_depends_on_does_not_end_the_rest() {
        let failed = all(&[
            (Step::Versions, Verdict::Fail),
            (Step::Limits, Verdict::Warn),
        ]);
        assert_eq!(failed.not_reached().count(), 0);
        assert_eq!(failed.obstacle(), None);
        assert_eq!(failed.exit_code(false), 3);
    }

    #[test]
    fn the_exit_code_tells_no_connection_from_another_failure_and_strict_counts_warnings() {
        use Verdict::{Fail, NotApplicable, Pass, Unchecked, Warn};
        for (step, verdict, lenient, strict) in [
            (Step::Dns, NotApplicable, 0, 0),
            (Step::Limits, Pass, 0, 0),
            (Step::Limits, Warn, 0, 3),
            (Step::Limits, Fail, 3, 3),
            (Step::Files, Fail, 3, 3),
            (Step::Dns, Fail, 4, 4),
            (Step::Connect, Fail, 4, 4),
            (Step::SslRequest, Fail, 4, 4),
            (Step::Handshake, Fail, 4, 4),
            (Step::Chain, Warn, 0, 3),
            (Step::Chain, Fail, 4, 4),
            (Step::Name, Fail, 4, 4),
            (Step::Login, Unchecked, 0, 3),
            (Step::Login, Fail, 4, 4),
        ] {
            let report = all(&[(step, verdict)]);
            assert_eq!(report.exit_code(false), lenient, "{step:?} {verdict:?}");
            assert_eq!(
                report.exit_code(true),
                strict,
                "{step:?} {verdict:?} strict"
            );
        }
    }

    #[test]
    fn what_was_not_looked_at_never_passes() {
        let unchecked = all(&[(Step::Login, Verdict::Unchecked)]);
        assert_eq!(unchecked.verdict(), Verdict::Unchecked);
        assert!(unchecked.not_reached().any(|step| step == Step::Limits));
        assert_eq!(report(&Step::ALL).verdict(), Verdict::Unchecked);
        assert_eq!(report(&[]).verdict(), Verdict::Unchecked);
    }

    #[test]
    fn the_worst_upstream_gives_the_exit_code() {
        let whole = |upstreams| Report {
            configuration: vec![Finding::warn("w", "c", Topic::Configuration)],
            upstreams,
            seconds: 0.0,
        };
        let (good, limits) = (all(&[]), all(&[(Step::Limits, Verdict::Fail)]));
        let away = all(&[(Step::Connect, Verdict::Fail)]);
        assert_eq!(whole(vec![good.clone()]).exit_code(false), 0);
        assert_eq!(whole(vec![good.clone()]).exit_code(true), 3);
        assert_eq!(
            whole(vec![good.clone(), limits.clone()]).exit_code(false),
            3
        );
        assert_eq!(whole(vec![away, good, limits]).exit_code(false), 4);
    }
}
