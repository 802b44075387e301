//! Backups of a member's directory, for tests that restore one.

use std::path::{Path, PathBuf};

use casegate::ledger::Standing;

use crate::cluster::{Cluster, id, wait_for};

/// A copy of a member's whole directory.
pub(crate) struct Backup {
    member: String,
    /// The directory.
    pub(crate) dir: PathBuf,
    /// The copy.
    pub(crate) copy: PathBuf,
}

impl Backup {
    /// Stops a member's node for as long as it takes to copy its directory.
    pub(crate) async fn of(cluster: &mut Cluster, member: &str) -> Self {
        cluster.stop(member).await;
        let dir = cluster.federation.member_dir(&id(member));
        let copy = dir.with_extension("backup");
        copy_dir(&dir, &copy);
        cluster.restart(member).await;
        let ledger = cluster.parts(member).ledger.clone();
        wait_for("both logs are open again", || {
            [ledger.standing(), ledger.access_standing()] == [Standing::Open; 2]
        })
        .await;
        let member = member.into();
        Self { member, dir, copy }
    }

    /// Puts the copy in the place of the directory, whose node does not run.
    pub(crate) fn put_back(&self) {
        std::fs::remove_dir_all(&self.dir).expect("removed");
        copy_dir(&self.copy, &self.dir);
    }

    /// Stops the node, restores the copy and starts it again.
    pub(crate) async fn restore(&self, cluster: &mut Cluster) {
        cluster.stop(&self.member).await;
        self.put_back();
        cluster.restart(&self.member).await;
    }
}

/// The roots begin the next generation of a member's access log.
pub(crate) async fn raise_access(cluster: &mut Cluster, member: &str) {
    let mut draft = cluster.federation.next_roster();
    let mut members = draft.wire.members.iter_mut();
    let found = members.find(|m| m.id == member).expect("a member");
    found.access_generation += 1;
    cluster.federation.install(&draft).await.expect("installed");
}

/// Copies a directory with all that is below it.
pub(crate) fn copy_dir(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a directory");
    for entry in std::fs::read_dir(from).expect("a directory").flatten() {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_dir(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).expect("a copy");
        }
    }
}
