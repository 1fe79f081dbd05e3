//! A report as text for people, and as JSON for machines: one schema, whatever was asked for.

use std::fmt::Write as _;

use serde_json::{Value as Json, json};

use super::report::{Finding, Report, UpstreamReport, Verdict};
use super::step::Step;

/// Of the JSON; raised when a reader has to know.
const SCHEMA_VERSION: u32 = 1;
/// Before the evidence: verdict and step.
const INDENT: &str = "                     ";

/// How much is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Detail {
    Full,
    /// What is not well alone, and a line for each upstream.
    Short,
}

/// Text, with the exit code that follows.
pub(crate) fn text(report: &Report, detail: Detail, exit_code: u8) -> String {
    let mut out = String::new();
    let configuration = report.configuration.iter();
    for finding in configuration.filter(|finding| is_told(finding, detail)) {
        write_finding(&mut out, "config", finding, detail);
    }
    for upstream in &report.upstreams {
        write_upstream(&mut out, upstream, detail);
    }
    let count = Count::of(report);
    let verdict = overall(report.verdict());
    let Count {
        failed,
        warned,
        unchecked,
    } = count;
    let seconds = report.seconds;
    line(
        &mut out,
        format_args!(
            "{verdict}: {failed} failed, {warned} warned, {unchecked} not checked; {seconds:.1} s; exit code {exit_code}"
        ),
    );
    out
}

/// A report as a whole passes only if all of it was looked at.
const fn overall(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::NotApplicable | Verdict::Pass => "PASS",
        Verdict::Unchecked => "INCOMPLETE",
        Verdict::Warn => "WARN",
        Verdict::Fail => "FAIL",
    }
}

fn is_told(finding: &Finding, detail: Detail) -> bool {
    detail == Detail::Full || finding.verdict >= Verdict::Unchecked
}

fn write_upstream(out: &mut String, upstream: &UpstreamReport, detail: Detail) {
    let UpstreamReport { name, place, .. } = upstream;
    let verdict = overall(upstream.verdict());
    line(out, format_args!("{name}: {verdict}, {place}"));
    for (step, finding) in upstream.findings() {
        if is_told(finding, detail) {
            write_finding(out, step.name(), finding, detail);
        }
    }
    let missing: Vec<_> = upstream.not_reached().map(Step::name).collect();
    if let Some(obstacle) = upstream.obstacle() {
        let missing = missing.join(", ");
        line(
            out,
            format_args!("  not checked: {missing} ({} comes first)", obstacle.name()),
        );
    }
}

fn write_finding(out: &mut String, step: &str, finding: &Finding, detail: Detail) {
    let word = finding.verdict.word();
    let evidence = &finding.evidence;
    line(out, format_args!("  {word:4}  {step:11}  {evidence}"));
    if detail == Detail::Full {
        for more in &finding.more {
            line(out, format_args!("{INDENT}{more}"));
        }
    }
    if let Some(cure) = &finding.cure {
        line(out, format_args!("        fix:         {cure}"));
    }
    if let Some(topic) = finding.topic {
        line(out, format_args!("        see:         {}", topic.link()));
    }
}

fn line(out: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    let _ = writeln!(out, "{text}");
}

/// How many of each.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Count {
    failed: usize,
    warned: usize,
    unchecked: usize,
}

impl Count {
    fn of(report: &Report) -> Self {
        let mut count = Self::default();
        for upstream in &report.upstreams {
            upstream
                .findings()
                .for_each(|(_, finding)| count.add(finding.verdict));
            count.unchecked += upstream.not_reached().count();
        }
        let configuration = report.configuration.iter();
        configuration.for_each(|finding| count.add(finding.verdict));
        count
    }

    const fn add(&mut self, verdict: Verdict) {
        match verdict {
            Verdict::Fail => self.failed += 1,
            Verdict::Warn => self.warned += 1,
            Verdict::Unchecked => self.unchecked += 1,
            Verdict::Pass | Verdict::NotApplicable => {}
        }
    }
}

/// The same for machines.
pub(crate) fn json(report: &Report, exit_code: u8) -> Json {
    let count = Count::of(report);
    let configuration = report.configuration.iter();
    let upstreams = report.upstreams.iter().map(upstream_json);
    json!({
        "schema_version": SCHEMA_VERSION,
        "command": "check",
        "verdict": report.verdict().label(),
        "exit_code": exit_code,
        "seconds": report.seconds,
        "failed": count.failed,
        "warned": count.warned,
        "not_checked": count.unchecked,
        "problems": [],
        "configuration": configuration
            .map(|finding| finding_json("config", None, finding))
            .collect::<Vec<_>>(),
        "upstreams": upstreams.collect::<Vec<_>>(),
    })
}

/// Where there is no configuration to check anything with.
pub(crate) fn json_of_problems(problems: &[Json], exit_code: u8) -> Json {
    json!({
        "schema_version": SCHEMA_VERSION,
        "command": "check",
        "verdict": Verdict::Fail.label(),
        "exit_code": exit_code,
        "seconds": 0.0,
        "failed": problems.len(),
        "warned": 0,
        "not_checked": 0,
        "problems": problems,
        "configuration": [],
        "upstreams": [],
    })
}

fn upstream_json(upstream: &UpstreamReport) -> Json {
    let findings = upstream
        .findings()
        .map(|(step, finding)| finding_json(step.name(), Some(step), finding));
    let missing: Vec<_> = upstream.not_reached().map(Step::name).collect();
    json!({
        "name": upstream.name,
        "place": upstream.place,
        "verdict": upstream.verdict().label(),
        "findings": findings.collect::<Vec<_>>(),
        "not_checked": missing,
        "obstacle": upstream.obstacle().map(Step::name),
    })
}

fn finding_json(name: &str, step: Option<Step>, finding: &Finding) -> Json {
    let topic = finding.topic.or_else(|| step.map(Step::topic));
    json!({
        "step": name,
        "verdict": finding.verdict.label(),
        "evidence": finding.evidence,
        "more": finding.more,
        "figures": finding.figures,
        "fix": finding.cure,
        "docs": topic.map(super::topic::Topic::link),
    })
}

#[cfg(test)]
mod tests {
    use super::super::topic::Topic;
    use super::*;

    fn report() -> Report {
        let planned = vec![Step::Files, Step::Dns, Step::Connect];
        let mut upstream =
            UpstreamReport::new("cluster".to_owned(), "db:25060".to_owned(), planned);
        upstream.record(Step::Files, vec![Finding::pass("ca.crt: one CA")]);
        let dns = Finding::fail("no such host", "correct `host`", Topic::Dns);
        let dns = dns.more(["asked twice".to_owned()]).figure("ms", 3);
        upstream.record(Step::Dns, vec![dns]);
        Report {
            configuration: Vec::new(),
            upstreams: vec![upstream],
            seconds: 0.25,
        }
    }

    #[test]
    fn text_has_the_cause_the_cure_the_place_to_read_on_and_what_is_missing() {
        let full = text(&report(), Detail::Full, 4);
        assert_eq!(
            full,
            "cluster: FAIL, db:25060
  PASS  files        ca.crt: one CA
  FAIL  dns          no such host
                     asked twice
        fix:         correct `host`
        see:         docs/troubleshooting.md#could-not-translate-host-name
  not checked: connect (dns comes first)
FAIL: 1 failed, 0 warned, 1 not checked; 0.2 s; exit code 4
"
        );
        let short = text(&report(), Detail::Short, 4);
        assert!(
            !short.contains("ca.crt") && !short.contains("twice"),
            "{short}"
        );
        assert!(short.contains("correct `host`"), "{short}");
    }

    #[test]
    fn json_has_one_schema_with_and_without_a_configuration() {
        let whole = json(&report(), 4);
        let keys =
            |value: &Json| -> Vec<String> { value.as_object().unwrap().keys().cloned().collect() };
        assert_eq!(keys(&whole), keys(&json_of_problems(&[], 2)));
        let finding = &whole["upstreams"][0]["findings"][1];
        assert_eq!(finding["verdict"], "fail");
        assert_eq!(finding["figures"]["ms"], 3);
        assert_eq!(whole["upstreams"][0]["not_checked"], json!(["connect"]));
        let passed = &whole["upstreams"][0]["findings"][0];
        assert_eq!(
            passed["docs"],
            "docs/troubleshooting.md#a-file-cannot-be-used"
        );
    }
}
