//! Opens a node's parts in the order in which they need each other. Blocks on
//! the disk.

use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::mpsc;

use super::{NodeError, NodeOptions};
use crate::access::AccessLog;
use crate::cases::Cases;
use crate::custodian::Custodian;
use crate::find::Finder;
use crate::import::Importer;
use crate::keys::SigningKey;
use crate::ledger::{Ledger, LedgerError, LedgerOptions, LogKeys, Standing};
use crate::officers::Officers;
use crate::parts::Parts;
use crate::peers::client::PeerClients;
use crate::peers::shown::ShownSink;
use crate::publish::Publisher;
use crate::replicate::{Replicator, SHOWN_MAX};
use crate::roster::{KeyUse, Roster};
use crate::rosterlog::RosterLog;
use crate::rosters::{Rosters, newest_in};
use crate::seal::SealKey;
use crate::tokens::Tokenizer;
use crate::witness::Witness;
use crate::witnessing::Witnessing;

/// This node's member, whose keys must be those of the options, as the newest
/// roster in the store or the options has it.
fn own_member(options: &NodeOptions) -> Result<crate::roster::Member, NodeError> {
    let roster = newest_in(
        &options.dir,
        options.cache_bytes,
        &options.clock,
        options.pin,
        &options.rosters,
    )?;
    let member = roster
        .member(&options.member)
        .ok_or_else(|| NodeError::NotInRoster(options.member.clone()))?;
    check_keys(member, &options.keys)?;
    Ok(member.clone())
}

pub(super) fn open(options: NodeOptions) -> Result<Parts, NodeError> {
    if options.material.identity().member != options.member {
        return Err(NodeError::OtherMember {
            certificate: options.material.identity().member.clone(),
            config: options.member,
        });
    }
    let member = own_member(&options)?;
    let seal = Arc::new(SealKey::new(options.seal));
    let ledger = Ledger::open(
        &options.dir,
        LedgerOptions {
            federation: options.federation,
            own: options.member.clone(),
            keys: options.keys,
            seal,
            clock: options.clock.clone(),
            records_generation: member.records_generation,
            access_generation: member.access_generation,
            cache_bytes: options.cache_bytes,
            index: options.index,
        },
    )?;
    let store = ledger.store().clone();
    let rosters = Rosters::open(
        store.clone(),
        options.clock.clone(),
        options.pin,
        &options.rosters,
    )?;
    ledger.follow_rosters(rosters.history_handle());
    let roster = rosters.handle();
    ledger.end_generations(&rosters.newest())?;
    ledger.hold_bodies(&rosters.newest());
    let clock = options.clock;
    let officers = Officers::open(store.clone(), clock.clone(), options.first_admin.as_ref())?;
    let cases = Cases::new(ledger.clone());
    fence_access(&ledger, &rosters.newest());
    let access = AccessLog::open(ledger.clone())?;
    let (sink, shown) = mpsc::channel(SHOWN_MAX);
    let peers = PeerClients::new(options.material.clone(), Arc::clone(&roster), clock.clone());
    let peers = Arc::new(peers.noting(ShownSink::new(sink)));
    let custodian = Custodian::open(store, clock.clone(), &options.seal, options.member)?;
    let publisher = publisher(&ledger, &cases, &access, &roster, &peers);
    let replicator = Replicator::new(
        ledger.clone(),
        Arc::clone(&roster),
        Arc::clone(&peers),
        shown,
    );
    let roster_log = RosterLog::open(ledger.clone(), rosters.clone(), Arc::clone(&peers));
    let witness = Witness::open(ledger.clone(), Arc::clone(&roster)).map_err(LedgerError::from)?;
    let witnessing = Witnessing::new(ledger.clone(), Arc::clone(&roster), Arc::clone(&peers));
    let finder = Finder::new(ledger.clone(), cases.clone(), roster, options.rules);
    let importer = Importer::new(
        ledger.clone(),
        cases.clone(),
        options.rules,
        options.utc_offset_s,
    );
    Ok(Parts {
        ledger,
        cases,
        access,
        officers,
        rosters,
        finder,
        importer,
        publisher: Arc::new(publisher),
        replicator: Arc::new(replicator),
        custodian: Arc::new(custodian),
        roster_log: Arc::new(roster_log.map_err(LedgerError::from)?),
        witness: Arc::new(witness),
        witnessing: Arc::new(witnessing),
        peers,
        material: options.material,
        clock,
        replicate: options.replicate,
    })
}

/// Closes the access log until a witness has said how far it saw it.
fn fence_access(ledger: &Ledger, roster: &Roster) {
    if !roster.witnesses(ledger.own()).is_off() {
        ledger.set_access_standing(Standing::Fenced);
    }
}

/// What takes the queue through the custodians into the log.
fn publisher(
    ledger: &Ledger,
    cases: &Cases,
    access: &AccessLog,
    roster: &Arc<ArcSwap<Roster>>,
    peers: &Arc<PeerClients>,
) -> Publisher<Arc<PeerClients>> {
    let tokenizer = Tokenizer::new(
        ledger.store().clone(),
        ledger.clock().clone(),
        Arc::clone(ledger.shred()),
        Arc::clone(peers),
    );
    Publisher::new(
        ledger.clone(),
        cases.clone(),
        access.clone(),
        Arc::clone(roster),
        tokenizer,
    )
}

fn check_keys(member: &crate::roster::Member, keys: &LogKeys) -> Result<(), NodeError> {
    // A revoked key is named as well: the node comes up, says what is wrong and
    // catches up with the rosters.
    let records = [Some(&keys.records), keys.records_next.as_ref()];
    let named = |key: &SigningKey| member.names(KeyUse::Records, key.public_key());
    if !records.into_iter().flatten().any(named) {
        return Err(NodeError::KeyNotInRoster("records"));
    }
    if !member.names(KeyUse::Checkpoint, keys.checkpoint.public_key()) {
        return Err(NodeError::KeyNotInRoster("checkpoint"));
    }
    if !member.has_witness_key(keys.witness.public_key()) {
        return Err(NodeError::KeyNotInRoster("witness"));
    }
    Ok(())
}
