//! A declared kind of client: where it looks for a KMS host, from where, and how it picks one.

use std::sync::Arc;

use ipnet::IpNet;

use super::observation::display_and_serialize_as_str;
use super::{Host, Labels, Name, Path, PlannedDomain, Resolver};

/// A declared kind of client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    /// Unique within a plan.
    pub name: Arc<str>,
    /// Who is asked, over the profile's own path ([`Resolver::over`]); never without servers.
    pub resolver: Arc<Resolver>,
    /// As declared, in the client's order; may be empty.
    pub suffixes: Arc<[Name]>,
    /// Asked instead of the suffixes (`slmgr /skms-domain`).
    pub lookup_domain: Option<Name>,
    /// What the client asks in its order, on `resolver` alone: the lookup domain, else the suffixes;
    /// nothing where `kms_host` switches discovery off for every product.
    pub search: Arc<[Arc<PlannedDomain>]>,
    /// The network that clients will live in; it holds the path's source, if that is given.
    pub subnet: Option<IpNet>,
    /// How it picks among records.
    pub selection: Selection,
    /// Preset for Windows (`slmgr /skms`, policy), and for Office without its own.
    pub kms_host: Option<Host>,
    /// Preset for Office (`ospp.vbs /sethst`).
    pub office_kms_host: Option<Host>,
    /// How many machines will live there.
    pub machines: Machines,
    /// From the config.
    pub labels: Labels,
}

impl Profile {
    /// A client without suffix and fixed host that asks this resolver; fill in the rest, then call
    /// [`Self::with_search`].
    pub fn of(name: &str, resolver: Arc<Resolver>) -> Self {
        Self {
            name: name.into(),
            resolver,
            suffixes: Arc::new([]),
            lookup_domain: None,
            search: Arc::new([]),
            subnet: None,
            selection: Selection::default(),
            kms_host: None,
            office_kms_host: None,
            machines: Machines::default(),
            labels: Labels::default(),
        }
    }

    /// With the search that follows from everything else.
    #[must_use]
    pub fn with_search(mut self) -> Self {
        let asked = match (&self.kms_host, &self.lookup_domain) {
            (Some(_), _) => &[],
            (None, Some(domain)) => std::slice::from_ref(domain),
            (None, None) => &*self.suffixes,
        };
        let only: Arc<[Arc<Resolver>]> = Arc::new([self.resolver.clone()]);
        self.search =
            asked.iter().map(|name| PlannedDomain::optional(name, only.clone())).collect();
        self
    }

    /// From where its clients ask and connect.
    pub fn path(&self) -> &Arc<Path> {
        &self.resolver.path
    }

    /// The host that switches discovery off for a product.
    pub fn fixed_host(&self, product: Product) -> Option<&Host> {
        let own = match product {
            Product::Windows => None,
            Product::Office => self.office_kms_host.as_ref(),
        };
        own.or(self.kms_host.as_ref())
    }

    /// Every fixed host, each once, and the products that take it.
    pub fn fixed_hosts(&self) -> Vec<(&Host, Vec<Product>)> {
        let mut hosts: Vec<(&Host, Vec<Product>)> = Vec::with_capacity(2);
        for product in Product::ALL {
            let Some(host) = self.fixed_host(product) else { continue };
            match hosts.iter_mut().find(|(known, _)| *known == host) {
                Some((_, products)) => products.push(product),
                None => hosts.push((host, vec![product])),
            }
        }
        hosts
    }
}

/// How many machines of each kind a profile brings; `None` where the config does not say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Machines {
    /// Windows clients.
    pub clients: Option<u32>,
    /// Windows servers.
    pub servers: Option<u32>,
    /// Machines with Office.
    pub office: Option<u32>,
}

/// What asks for a KMS host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Product {
    /// Windows, client or server.
    Windows,
    /// Office.
    Office,
}

impl Product {
    /// Both, Windows first.
    pub const ALL: [Self; 2] = [Self::Windows, Self::Office];

    /// As a sentence has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Windows => "Windows",
            Self::Office => "Office",
        }
    }
}

/// How a client picks among the records of an answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Selection {
    /// By priority and weight (RFC 2782): Windows 7, Server 2008 R2 and later.
    #[default]
    Weighted,
    /// At random: older ones, and old Office.
    Uniform,
}

impl Selection {
    /// The word of the contract.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Weighted => "weighted",
            Self::Uniform => "uniform",
        }
    }
}

display_and_serialize_as_str!(Product, Selection);
