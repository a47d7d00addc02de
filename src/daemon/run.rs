//! The daemon: observe, audit, publish, for ever; reload and shutdown.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use sd_notify::NotifyState;
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, timeout};

use crate::alert::Alerts;
use crate::audit::{self, Auditor, Memory};
use crate::clock::Clock;
use crate::config::Loaded;
use crate::journal::{Journal, JournalError};
use crate::model::journal::SeenStatus;
use crate::model::plan::{JournalSettings, Tokens, WebSettings};
use crate::model::{Plan, Snapshot};
use crate::observe::observer::Observer;
use crate::stats::Stats;
use crate::web::{self, AckRequest, ReloadRequest, Site, Socket, SocketError};

use super::acks;
use super::changes;
use super::keeper::Keeper;
use super::lines::Lines;
use super::probes::Probes;

/// What a daemon starts with.
pub struct Start {
    /// Heeded since before the config was read.
    pub signals: Signals,
    /// What to watch.
    pub plan: Plan,
    /// Where to serve; its address stays for the life of the process.
    pub listener: TcpListener,
    /// Reads the config again; the error is every reason why it was refused.
    pub reload: Box<dyn FnMut() -> Result<Loaded, String> + Send>,
}

/// What keeps a daemon from running.
#[derive(Debug, Error)]
pub enum DaemonError {
    /// The process cannot be told to end or to reload.
    #[error("cannot listen for signals: {0}")]
    Signals(#[source] io::Error),
    /// What outlives the process cannot be kept where the config says.
    #[error("{0}")]
    Journal(#[from] JournalError),
    /// Nobody can be told to come by the socket.
    #[error("{0}")]
    Socket(#[from] SocketError),
    /// Nobody can be told anything any more.
    #[error("the web server failed: {0}")]
    Web(#[source] io::Error),
}

/// At most so often is audited.
const AUDIT_EVERY: Duration = Duration::from_secs(1);
/// At most so often is the config read.
const RELOAD_EVERY: Duration = Duration::from_secs(1);
/// How long requests under way may take at shutdown; the web server itself allows less.
const SHUTDOWN: Duration = Duration::from_secs(4);

/// Runs until SIGTERM or SIGINT.
///
/// # Errors
/// [`DaemonError`]: the operating system's refusals. Whatever servers and hosts do is no error.
pub async fn run(start: Start) -> Result<(), DaemonError> {
    let mut signals = start.signals;
    let (stop, stopped) = oneshot::channel::<()>();
    let (mut daemon, site) = Daemon::new(start.plan, start.reload)?;
    let socket = daemon.web.socket.as_deref().map(Socket::bind).transpose()?;
    let server = web::serve(start.listener, socket, site, async {
        let _ = stopped.await;
    });
    let mut server = tokio::spawn(server);
    notify(&[NotifyState::Ready]);
    let ended = loop {
        let may_reload = Instant::now() >= daemon.next_reload;
        if daemon.is_reload_wanted && may_reload {
            let _ = daemon.reload();
            continue;
        }
        tokio::select! {
            biased;
            told = signals.next() => match told {
                Told::End => break Ok(()),
                Told::Reload => daemon.is_reload_wanted = true,
            },
            Some(request) = daemon.requests.recv(), if may_reload => {
                let outcome = daemon.reload();
                let _ = request.reply.send(outcome);
            }
            result = &mut server => break result.unwrap_or_else(|error| Err(io::Error::other(error))),
            Some(request) = daemon.acks.recv() => daemon.say(request),
            Some(request) = daemon.probes.next() => {
                let now = daemon.clock.now();
                daemon.probes.begin(request, &daemon.plan, &mut daemon.observer, now);
            }
            () = daemon.observer.step(&daemon.lines, daemon.next_audit) => {
                daemon.probes.answer(&mut daemon.observer, daemon.clock.now());
                daemon.keeper.keep(daemon.observer.take_entries());
                daemon.audit_if_due();
            }
        }
    };
    notify(&[NotifyState::Stopping]);
    tracing::info!("shutting down");
    daemon.close();
    let _ = stop.send(());
    daemon.alerts.close().await;
    if ended.is_ok() {
        let _ = timeout(SHUTDOWN, server).await;
    }
    ended.map_err(DaemonError::Web)
}

struct Daemon {
    plan: Arc<Plan>,
    /// What it began with: that stays for the life of the process.
    web: WebSettings,
    journal: JournalSettings,
    lines: Lines,
    observer: Observer,
    auditor: Auditor,
    next_audit: Instant,
    /// When the first audit is made even if not everything was observed yet.
    patience: Instant,
    /// When a reload is taken up again: a storm of them must not be all that is done.
    next_reload: Instant,
    is_reload_wanted: bool,
    keeper: Keeper,
    /// What the journal remembers, until the first audit.
    statuses: Vec<SeenStatus>,
    alerts: Alerts,
    snapshots: watch::Sender<Option<Arc<Snapshot>>>,
    requests: mpsc::Receiver<ReloadRequest>,
    acks: mpsc::Receiver<AckRequest>,
    tokens: watch::Sender<Option<Tokens>>,
    probes: Probes,
    read: Box<dyn FnMut() -> Result<Loaded, String> + Send>,
    clock: Clock,
    stats: Arc<Stats>,
}

impl Daemon {
    fn new(
        plan: Plan,
        read: Box<dyn FnMut() -> Result<Loaded, String> + Send>,
    ) -> Result<(Self, Site), JournalError> {
        let (plan, clock, stats) = (Arc::new(plan), Clock::start(), Stats::new());
        stats.reload_succeeded(clock.now());
        stats.set_vantage(plan.vantage.clone());
        // It looks through its database once, which takes a moment for one of years.
        let (journal, remembered) =
            tokio::task::block_in_place(|| Journal::open(&plan.journal, clock))?;
        let journal = Arc::new(journal);
        let (lines, inbox) = Lines::new(&plan, clock, &stats);
        let (reload, requests) = mpsc::channel(1);
        let (probe, probes) = mpsc::channel(1);
        let (ack, acks) = mpsc::channel(1);
        let tokens = watch::Sender::new(plan.web.tokens.clone());
        let snapshots = watch::Sender::new(None);
        let site = Site {
            snapshots: snapshots.subscribe(),
            stats: stats.clone(),
            reload,
            probe,
            acks: ack,
            tokens: tokens.subscribe(),
            clock,
            journal: journal.clone(),
        };
        let mut observer = Observer::new(plan.clone(), inbox, clock, stats.clone());
        observer.remember(&remembered);
        let mut auditor = Auditor::new(plan.clone(), clock.now(), Memory::Watching);
        auditor.remember(&remembered);
        let mut keeper = Keeper::new(journal, stats.clone());
        keeper.started(remembered.watched_until, clock.now());
        let daemon = Self {
            lines,
            observer,
            auditor,
            keeper,
            statuses: remembered.statuses,
            alerts: Alerts::start(&plan, &remembered.alerts, stats.clone(), clock),
            next_audit: Instant::now(),
            patience: Instant::now() + plan.stale_after(),
            next_reload: Instant::now(),
            is_reload_wanted: false,
            snapshots,
            requests,
            acks,
            tokens,
            probes: Probes::new(probes),
            read,
            clock,
            stats,
            web: plan.web.clone(),
            journal: plan.journal.clone(),
            plan,
        };
        Ok((daemon, site))
    }

    /// The first audit waits for the first pass; later ones for something to look at.
    fn audit_if_due(&mut self) {
        let now = Instant::now();
        if now < self.next_audit {
            return;
        }
        let is_first = self.snapshots.borrow().is_none();
        if is_first && !self.observer.is_complete() && now < self.patience {
            // Soon: the first pass is a matter of moments where all is well.
            self.next_audit = now + AUDIT_EVERY / 20;
            return;
        }
        self.next_audit = now + AUDIT_EVERY;
        let (changes, at) = (self.observer.take_changes(), self.clock.at(now));
        self.keeper.watched(at);
        let is_journal_other = self.keeper.look();
        if is_first || is_journal_other || self.auditor.is_due(&changes, at) {
            let snapshot = self.auditor.audit(self.observer.state(), &changes, at);
            let snapshot = Arc::new(self.keeper.tell(snapshot));
            let before = self.snapshots.send_replace(Some(snapshot.clone()));
            changes::log(before.as_deref(), &snapshot);
            let mut entries = self.auditor.take_entries();
            entries.extend(self.alerts.observe(&snapshot));
            if let Some(before) = before {
                entries.extend(audit::changes::entries(&before, &snapshot));
            } else {
                let remembered = std::mem::take(&mut self.statuses);
                self.keeper.keep(audit::changes::first_entries(remembered, &snapshot));
            }
            self.keeper.keep(entries);
        }
    }

    /// Heeds what somebody says of a finding; it shows with the next audit.
    fn say(&mut self, request: AckRequest) {
        let latest = self.snapshots.borrow().clone();
        let outcome = acks::say(&mut self.auditor, latest.as_deref(), &request, self.clock.now());
        self.keeper.keep(self.auditor.take_entries());
        let _ = request.reply.send(outcome);
    }

    /// Keeps what is known at the end.
    fn close(&mut self) {
        self.keeper.keep(self.observer.take_last_entries());
        self.keeper.keep(self.auditor.take_entries());
        let now = self.clock.now();
        tokio::task::block_in_place(|| self.keeper.close(now));
    }

    /// Reads the config again and takes it over; a bad one changes nothing.
    fn reload(&mut self) -> Result<String, String> {
        notify(&[NotifyState::Reloading]);
        // Reading files may take a while, and nothing else of the daemon may wait for it long.
        let outcome = tokio::task::block_in_place(|| (self.read)());
        let outcome = match outcome {
            Ok(loaded) => {
                let told = self.take_over(loaded);
                tracing::info!("{told}");
                Ok(told)
            }
            Err(errors) => {
                self.stats.reload_failed();
                tracing::error!("the config is refused, the one before stays: {errors}");
                Err(errors)
            }
        };
        notify(&[NotifyState::Ready]);
        (self.is_reload_wanted, self.next_reload) = (false, Instant::now() + RELOAD_EVERY);
        outcome
    }

    fn take_over(&mut self, loaded: Loaded) -> String {
        for warning in &loaded.warnings {
            tracing::warn!("{warning}");
        }
        let plan = Arc::new(loaded.plan);
        let restart = match (plan.web.is_served_alike(&self.web), plan.journal == self.journal) {
            (true, true) => "",
            (false, true) => "; [web] has changed, and that needs a restart",
            (true, false) => "; [journal] has changed, and that needs a restart",
            (false, false) => "; [web] and [journal] have changed, and that needs a restart",
        };
        self.lines.apply(&plan);
        self.observer.replan(plan.clone());
        self.probes.clear();
        self.auditor.replan(plan.clone());
        self.alerts.apply(&plan);
        self.stats.set_vantage(plan.vantage.clone());
        self.tokens.send_replace(plan.web.tokens.clone());
        self.stats.reload_succeeded(self.clock.now());
        self.keeper.reloaded(&plan, self.clock.now());
        let (domains, resolvers) = (plan.domains.len(), plan.resolvers.len());
        self.plan = plan;
        format!("config reloaded: domains {domains}, resolvers {resolvers}{restart}")
    }
}

/// The signals that a daemon heeds. Make them first of all: what comes before is the system's to handle,
/// and ends the process.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    /// Heeds them from now on. Needs a tokio runtime.
    ///
    /// # Errors
    /// [`DaemonError::Signals`].
    pub fn new() -> Result<Self, DaemonError> {
        let listen = |kind| signal(kind).map_err(DaemonError::Signals);
        Ok(Self {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
            hangup: listen(SignalKind::hangup())?,
        })
    }
}

/// What a signal asks for.
enum Told {
    End,
    Reload,
}

impl Signals {
    async fn next(&mut self) -> Told {
        tokio::select! {
            _ = self.terminate.recv() => Told::End,
            _ = self.interrupt.recv() => Told::End,
            _ = self.hangup.recv() => Told::Reload,
        }
    }
}

/// Tells systemd, where there is one.
fn notify(states: &[NotifyState]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!("systemd cannot be told: {error}");
    }
}
