//! A loopback link in front of a node, which cuts connections and flips bytes.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicU64, AtomicUsize};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What the link does once so many bytes have come from the node behind it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fault {
    Cut(u64),
    Flip(u64),
    /// Passes nothing on any more, and says nothing.
    Hold(u64),
}

/// A loopback link in front of a node, with faults.
pub(crate) struct Link {
    pub(crate) address: SocketAddr,
    done: Arc<AtomicUsize>,
    cut: watch::Sender<()>,
}

impl Link {
    pub(crate) async fn start(target: SocketAddr, faults: &[Fault]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (passed, done) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicUsize::new(0)));
        let faults: Arc<[Fault]> = faults.into();
        let told = Arc::clone(&done);
        let (cut, cuts) = watch::channel(());
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let (passed, done) = (Arc::clone(&passed), Arc::clone(&told));
                let (faults, mut cuts) = (Arc::clone(&faults), cuts.clone());
                cuts.mark_unchanged();
                tokio::spawn(async move {
                    tokio::select! {
                        () = carry_bytes(near, target, faults, passed, done) => {}
                        _ = cuts.changed() => {}
                    }
                });
            }
        });
        Self { address, done, cut }
    }

    /// Breaks every connection that goes through the link.
    pub(crate) fn cut(&self) {
        self.cut.send_replace(());
    }

    pub(crate) fn faults_done(&self) -> usize {
        self.done.load(Relaxed)
    }
}

async fn carry_bytes(
    near: TcpStream,
    target: SocketAddr,
    faults: Arc<[Fault]>,
    passed: Arc<AtomicU64>,
    done: Arc<AtomicUsize>,
) {
    let Ok(far) = TcpStream::connect(target).await else {
        return;
    };
    let (mut near_in, mut near_out) = near.into_split();
    let (mut far_in, mut far_out) = far.into_split();
    let up = async move { drop(tokio::io::copy(&mut near_in, &mut far_out).await) };
    tokio::select! {
        () = up => {}
        () = async {
            let mut bytes = vec![0; 16 * 1024];
            while let Ok(n @ 1..) = far_in.read(&mut bytes).await {
                let so_far = passed.fetch_add(n as u64, Relaxed) + n as u64;
                let next = faults.get(done.load(Relaxed)).copied();
                match next {
                    Some(Fault::Cut(at)) if so_far >= at => {
                        done.fetch_add(1, Relaxed);
                        break;
                    }
                    Some(Fault::Hold(at)) if so_far >= at => {
                        done.fetch_add(1, Relaxed);
                        std::future::pending::<()>().await;
                    }
                    Some(Fault::Flip(at)) if so_far >= at => {
                        done.fetch_add(1, Relaxed);
                        bytes[n / 2] ^= 1;
                    }
                    _ => {}
                }
                if near_out.write_all(&bytes[..n]).await.is_err() {
                    break;
                }
            }
        } => {}
    }
}
