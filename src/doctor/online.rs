//! What the node itself, the custodians and the peers answer: over the node's
//! own mutual TLS, as the node would ask them.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::Finding;
use crate::blame::Blame;
use crate::clock::{Clock, UnixSeconds};
use crate::config::Config;
use crate::ids::MemberId;
use crate::replicate::PeerError;
use crate::roster::Roster;
use crate::rpc::client::PeerClients;
use crate::spoken::Said;
use crate::tls::Material;
use crate::wire::v1;

/// How long the node's own answer may take, in seconds.
const READY_S: u64 = 3;
/// How long another member's answer may take, in seconds.
const ANSWER_S: u64 = 5;
/// The most bytes of the node's own answer that are read.
const READY_BYTES_MAX: u64 = 16 * 1024;
/// A difference between two clocks that nobody minds, in seconds.
pub const SKEW_S: i64 = 60;

/// Asks the node itself whether it is ready.
pub async fn node(config: &Config) -> Finding {
    let address = config.listen.admin;
    let limit = Duration::from_secs(READY_S);
    match tokio::time::timeout(limit, ask(address, "/ready")).await {
        Ok(Ok(answer)) => read_ready(&answer, address),
        Ok(Err(_)) => Finding::warning("node.stopped").with("address", address),
        Err(_) => Finding::wrong("node.silent")
            .with("address", address)
            .with("seconds", READY_S),
    }
}

/// What the running node's metrics tell: proven contradictions that it has
/// evidence of, and whether it has a key that may sign.
pub async fn told(config: &Config) -> Vec<Finding> {
    let limit = Duration::from_secs(READY_S);
    let asked = ask(config.listen.admin, "/metrics");
    match tokio::time::timeout(limit, asked).await {
        Ok(Ok(answer)) => read_metrics(&answer),
        Ok(Err(_)) | Err(_) => vec![],
    }
}

pub(super) fn read_metrics(answer: &str) -> Vec<Finding> {
    let of = |name: &str| {
        let value = |line: &str| line.strip_prefix(name)?.trim().parse::<u64>().ok();
        answer.lines().find_map(value)
    };
    let conflicts = of(crate::admin::CONFLICTS).filter(|count| *count > 0);
    let conflicts = conflicts.map(|n| Finding::wrong("evidence.conflicts").with("count", n));
    let unsigned = of(crate::admin::MAY_SIGN).filter(|may| *may == 0);
    let unsigned = unsigned.map(|_| {
        let size = of(crate::admin::RECORDS_SIZE).unwrap_or(0);
        Finding::wrong("keys.none_due").with("size", size)
    });
    let newer = of(crate::admin::NEWER_BODIES).filter(|count| *count > 0);
    let newer = newer.map(|n| Finding::warning("bodies.newer").with("count", n));
    let refused = of(crate::admin::REFUSED_BODIES).filter(|count| *count > 0);
    let refused = refused.map(|n| Finding::warning("bodies.refused").with("count", n));
    let found = conflicts.into_iter().chain(unsigned);
    found.chain(newer).chain(refused).collect()
}

async fn ask(address: SocketAddr, path: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = vec![];
    stream
        .take(READY_BYTES_MAX)
        .read_to_end(&mut answer)
        .await?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

pub(super) fn read_ready(answer: &str, address: SocketAddr) -> Finding {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((answer, ""));
    match head.split(' ').nth(1) {
        Some("200") => Finding::ok("node.ready"),
        Some("503") => {
            Finding::wrong("node.not_ready").with("why", body.trim().replace('\n', "; "))
        }
        _ => Finding::wrong("node.stranger").with("address", address),
    }
}

/// What one other member answered.
struct Answer {
    member: MemberId,
    endpoint: String,
    clock: Result<Option<UnixSeconds>, PeerError>,
    /// What its node speaks; absent when it did not say.
    spoken: Option<Said>,
    budget: Option<Result<v1::GetBudgetResponse, PeerError>>,
}

/// Asks every other member of the roster, all at once.
pub async fn others(
    config: &Config,
    clock: &Clock,
    roster: Arc<Roster>,
    material: Material,
) -> Vec<Finding> {
    let handle = Arc::new(ArcSwap::from(Arc::clone(&roster)));
    let clients = Arc::new(PeerClients::new(material, handle, clock.clone()));
    let custodians: BTreeSet<MemberId> = roster.custodians().into_iter().cloned().collect();
    let mut asking = JoinSet::new();
    let others = roster.members.values().filter(|m| m.id != config.member);
    for member in others.filter(|m| m.has_node()) {
        let (clients, version) = (Arc::clone(&clients), roster.version);
        let now = clock.now();
        let (id, endpoint) = (member.id.clone(), member.peer_endpoint.clone());
        let holds_shares = custodians.contains(&id);
        asking.spawn(async move {
            let clock = clients.clock_of(&id, version, ANSWER_S).await;
            let budget = match &clock {
                Ok(_) if holds_shares => Some(clients.budget(&id).await),
                Ok(_) | Err(_) => None,
            };
            let spoken = match &clock {
                Ok(_) => clients.software_of(&id).await.ok().flatten(),
                Err(_) => None,
            };
            Answer {
                member: id,
                endpoint,
                clock,
                spoken: spoken.map(|software| Said::of(&software, now).0),
                budget,
            }
        });
    }
    let mut answers: Vec<Answer> = asking.join_all().await;
    answers.sort_by(|a, b| a.member.cmp(&b.member));
    let mut findings = clocks(clock.now(), &answers);
    findings.extend(peers(&answers, &custodians));
    findings.extend(versions(&answers));
    findings.extend(witnesses(&config.member, &roster, &answers));
    findings.extend(of_custodians(
        &config.member,
        &roster,
        &answers,
        &custodians,
    ));
    findings
}

/// Compares this clock with those of the others. When most of them differ the
/// same way it is this one that is wrong.
fn clocks(now: UnixSeconds, answers: &[Answer]) -> Vec<Finding> {
    let mut skews: Vec<(i64, &MemberId)> = answers
        .iter()
        .filter_map(|a| {
            Some((
                now.saturating_sub(a.clock.as_ref().ok().copied()??),
                &a.member,
            ))
        })
        .collect();
    skews.sort_unstable();
    let Some((median, member)) = skews.get(skews.len() / 2).copied() else {
        return vec![];
    };
    let skewed = |make: fn(&'static str) -> Finding, skew: i64, member: &MemberId| {
        make("clock.skewed")
            .with("member", member)
            .with("seconds", skew.unsigned_abs())
    };
    if median.abs() > SKEW_S {
        return vec![skewed(Finding::wrong, median, member)];
    }
    let far: Vec<_> = skews
        .iter()
        .filter(|(skew, _)| skew.abs() > SKEW_S)
        .map(|(skew, member)| skewed(Finding::warning, *skew, member))
        .collect();
    if far.is_empty() {
        let most = skews
            .iter()
            .map(|(skew, _)| skew.unsigned_abs())
            .max()
            .unwrap_or(0);
        return vec![Finding::ok("clock.ok").with("seconds", most)];
    }
    far
}

fn peers(answers: &[Answer], custodians: &BTreeSet<MemberId>) -> Vec<Finding> {
    let (mut findings, mut up) = (vec![], 0_usize);
    for answer in answers.iter().filter(|a| !custodians.contains(&a.member)) {
        match &answer.clock {
            Ok(_) => up += 1,
            Err(error) => findings.push(silent(answer, error, "peer.unreachable", "peer.refused")),
        }
    }
    if up > 0 {
        findings.push(Finding::ok("peer.answer").with("count", up));
    }
    findings
}

/// Which of those who answer run an older casegate than this one, and which a
/// newer one.
fn versions(answers: &[Answer]) -> Vec<Finding> {
    let (mut findings, mut same) = (vec![], 0_usize);
    for answer in answers.iter().filter(|a| a.clock.is_ok()) {
        let Some(said) = &answer.spoken else {
            findings.push(Finding::warning("version.unsaid").with("member", &answer.member));
            continue;
        };
        let (lacks, unknown) = (said.lacks(), said.unknown());
        same += usize::from(lacks.is_empty() && unknown.is_empty());
        let both = [("version.behind", lacks), ("version.ahead", unknown)];
        for (code, words) in both.into_iter().filter(|(_, words)| !words.is_empty()) {
            findings.push(
                Finding::warning(code)
                    .with("member", &answer.member)
                    .with("version", &said.version)
                    .with("words", words.join(", ")),
            );
        }
    }
    if same > 0 {
        findings.push(Finding::ok("version.same").with("count", same));
    }
    findings
}

/// Which witnesses of this node's logs answer, and whether they are enough.
fn witnesses(own: &MemberId, roster: &Roster, answers: &[Answer]) -> Vec<Finding> {
    let quorum = roster.witnesses(own).quorum;
    let named = roster.member(own).map_or(&[][..], |m| &m.witnesses);
    if quorum == 0 {
        return vec![Finding::ok("witness.off")];
    }
    let mut findings = vec![];
    for answer in answers.iter().filter(|a| named.contains(&a.member)) {
        if let Err(error) = &answer.clock {
            findings.push(silent(answer, error, "witness.down", "witness.refused"));
        }
    }
    let up = named.len().saturating_sub(findings.len());
    let enough = u32::try_from(up).is_ok_and(|up| up >= quorum);
    let last = if enough {
        Finding::ok("witness.ok")
    } else {
        Finding::warning("witness.too_few")
    };
    findings.push(last.with("up", up).with("quorum", quorum));
    findings
}

fn silent(
    answer: &Answer,
    error: &PeerError,
    unreachable: &'static str,
    refused: &'static str,
) -> Finding {
    let code = if error.blame == Blame::Unavailable {
        unreachable
    } else {
        refused
    };
    Finding::warning(code)
        .with("member", &answer.member)
        .with("endpoint", &answer.endpoint)
        .with("reason", &error.sentence)
}

fn of_custodians(
    own: &MemberId,
    roster: &Roster,
    answers: &[Answer],
    custodians: &BTreeSet<MemberId>,
) -> Vec<Finding> {
    let mut findings = vec![];
    let mut up: BTreeSet<&MemberId> = BTreeSet::new();
    for answer in answers.iter().filter(|a| custodians.contains(&a.member)) {
        let error = match (&answer.clock, &answer.budget) {
            (Ok(_), Some(Ok(budget))) => {
                up.insert(&answer.member);
                findings.extend(spent(&answer.member, budget));
                continue;
            }
            (Err(error), _) | (Ok(_), Some(Err(error))) => error,
            (Ok(_), None) => continue,
        };
        findings.push(silent(answer, error, "custodian.down", "custodian.refused"));
    }
    // A member that holds a share itself asks its own node, which is checked apart.
    up.extend(custodians.get(own));
    let mut thresholds: Vec<u16> = roster.token_keys.iter().map(|key| key.threshold).collect();
    thresholds.sort_unstable();
    let Some(threshold) = thresholds.last().copied() else {
        return findings;
    };
    let level = if up.len() < usize::from(threshold) {
        Finding::wrong("custodian.too_few")
    } else {
        Finding::ok("custodian.ok")
    };
    findings
        .iter_mut()
        .for_each(|f| f.words.push(("threshold", threshold.to_string())));
    findings.push(level.with("up", up.len()).with("threshold", threshold));
    findings
}

fn spent(member: &MemberId, budget: &v1::GetBudgetResponse) -> Vec<Finding> {
    let spent = budget
        .lines
        .iter()
        .filter(|line| line.allowed > 0 && line.spent >= line.allowed);
    spent
        .map(|line| {
            Finding::warning("custodian.budget")
                .with("member", member)
                .with("date", &line.day)
        })
        .collect()
}
