//! `/probe`: one domain, observed now, and audited by itself.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;
use tokio::sync::{mpsc, oneshot};

use crate::audit::{Auditor, Memory};
use crate::model::{Plan, PlannedDomain, Resolver, Server, Snapshot, Transport};
use crate::observe::observer::Observer;
use crate::observe::state::Changes;
use crate::observe::visits::VisitId;
use crate::web::ProbeRequest;

/// Who waits for what.
pub(super) struct Probes {
    inbox: mpsc::Receiver<ProbeRequest>,
    waiting: HashMap<VisitId, Waiting>,
}

struct Waiting {
    /// The domain alone.
    plan: Arc<Plan>,
    since: Timestamp,
    reply: oneshot::Sender<Result<Snapshot, String>>,
}

impl Probes {
    pub(super) fn new(inbox: mpsc::Receiver<ProbeRequest>) -> Self {
        Self { inbox, waiting: HashMap::new() }
    }

    /// The next request. It may be dropped at its await without losing one.
    pub(super) async fn next(&mut self) -> Option<ProbeRequest> {
        self.inbox.recv().await
    }

    /// Begins to observe what is asked for, or refuses it.
    pub(super) fn begin(
        &mut self,
        request: ProbeRequest,
        plan: &Plan,
        observer: &mut Observer,
        now: Timestamp,
    ) {
        self.waiting.retain(|visit, waiting| {
            let is_gone = waiting.reply.is_closed();
            if is_gone {
                observer.leave(*visit);
            }
            !is_gone
        });
        match part(plan, &request) {
            Err(refusal) => drop(request.reply.send(Err(refusal))),
            Ok(part) => {
                let part = Arc::new(part);
                let waiting = Waiting { plan: part.clone(), since: now, reply: request.reply };
                self.waiting.insert(observer.visit(part), waiting);
            }
        }
    }

    /// Audits and answers what was observed.
    pub(super) fn answer(&mut self, observer: &mut Observer, now: Timestamp) {
        for visit in observer.take_finished() {
            let Some(Waiting { plan, since, reply }) = self.waiting.remove(&visit) else {
                continue;
            };
            let mut auditor = Auditor::new(plan, since, Memory::Once);
            let _ = reply.send(Ok(auditor.audit(observer.state(), &Changes::default(), now)));
        }
    }

    /// The plan has changed: whoever waits must ask again.
    pub(super) fn clear(&mut self) {
        self.waiting.clear();
    }
}

/// The plan of one domain, asked of all its servers or of one.
fn part(plan: &Plan, request: &ProbeRequest) -> Result<Plan, String> {
    let name = &request.domain;
    let mut domain = plan.domain(name).cloned().ok_or_else(|| {
        let example = plan.domains.first().map_or("contoso.com", |domain| domain.name.as_str());
        format!("{name} is not configured; write a domain of the config, such as ?domain={example}")
    })?;
    if let Some(server) = &request.server {
        domain = Arc::new(asking(&domain, server)?);
    }
    Ok(Plan {
        resolvers: domain.resolvers.to_vec(),
        domains: vec![domain],
        profiles: Vec::new(),
        hosts: plan.hosts.clone(),
        exceptions: plan.exceptions.clone(),
        maintenance: plan.maintenance.clone(),
        web: plan.web.clone(),
        journal: plan.journal.clone(),
        vantage: plan.vantage.clone(),
        alert: plan.alert.clone(),
        ..*plan
    })
}

/// The domain, asked of this server only.
fn asking(domain: &PlannedDomain, server: &str) -> Result<PlannedDomain, String> {
    let only = |resolver: &Arc<Resolver>| {
        let upstreams = resolver.upstreams.iter().filter(|upstream| is(upstream.server, server));
        let upstreams: Vec<_> = upstreams.cloned().collect();
        (!upstreams.is_empty()).then(|| {
            let Resolver { name, path, labels, base, .. } = &**resolver;
            let (name, path, labels) = (name.clone(), path.clone(), labels.clone());
            Arc::new(Resolver { name, upstreams, path, labels, base: base.clone() })
        })
    };
    let resolvers: Vec<Arc<Resolver>> = domain.resolvers.iter().filter_map(only).collect();
    if resolvers.is_empty() {
        let upstreams = domain.resolvers.iter().flat_map(|resolver| &resolver.upstreams);
        let mut servers: Vec<String> =
            upstreams.map(|upstream| upstream.server.to_string()).collect();
        servers.sort();
        servers.dedup();
        let (name, servers) = (&domain.name, servers.join(", "));
        let server: String = server.chars().take(80).collect();
        return Err(format!(
            "{server:?} is no server that {name} is asked of; write one of {servers}"
        ));
    }
    let PlannedDomain { name, kms, hosts, labels, .. } = domain;
    Ok(PlannedDomain::new(name.clone(), resolvers.into(), *kms, hosts.clone(), labels.clone()))
}

/// Whether this is how the server is written, with or without a port that is the usual one.
fn is(server: Server, text: &str) -> bool {
    let full = match server.transport {
        Transport::Udp => server.address.to_string(),
        Transport::Tcp => format!("tcp://{}", server.address),
    };
    text == full || text == server.to_string()
}
