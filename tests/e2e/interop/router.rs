//! A router of some make, in words that all makes share.

use super::bird::Bird;
use super::exabgp::ExaBgp;
use super::frr::Frr;
use super::gobgp::GoBgp;
use super::openbgpd::OpenBgpd;
use super::plan::{Plan, Site};
use crate::support::containers::{Container, Image};

/// The makes, in the order of the page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Make {
    Bird,
    GoBgp,
    Frr,
    OpenBgpd,
    ExaBgp,
}

impl Make {
    pub(super) const ALL: [Self; 5] =
        [Self::Bird, Self::GoBgp, Self::Frr, Self::OpenBgpd, Self::ExaBgp];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Bird => "BIRD",
            Self::GoBgp => "GoBGP",
            Self::Frr => "FRR",
            Self::OpenBgpd => "OpenBGPD",
            Self::ExaBgp => "ExaBGP",
        }
    }

    pub(super) fn image(self) -> Image {
        match self {
            Self::Bird => Image::Bird,
            Self::GoBgp => Image::GoBgp,
            Self::Frr => Image::Frr,
            Self::OpenBgpd => Image::OpenBgpd,
            Self::ExaBgp => Image::ExaBgp,
        }
    }

    pub(super) fn dialect(self) -> &'static dyn Dialect {
        match self {
            Self::Bird => &Bird,
            Self::GoBgp => &GoBgp,
            Self::Frr => &Frr,
            Self::OpenBgpd => &OpenBgpd,
            Self::ExaBgp => &ExaBgp,
        }
    }
}

/// How one make is told things and asked.
pub(super) trait Dialect: Sync {
    /// Its configuration.
    fn config(&self, site: &Site) -> String;

    /// Whether it can announce the routes of a plan by itself; else a BIRD behind it does.
    fn can_originate(&self, plan: &Plan) -> bool;

    /// Announces its own routes, if they are not in its configuration.
    fn originate(&self, _router: &Container, _site: &Site) {}

    /// Takes up a changed configuration.
    fn reload(&self, _router: &Container, _site: &Site) {}

    /// Announces and withdraws what has changed between two sites.
    fn change(&self, router: &Container, _before: &Site, after: &Site) {
        router.configure(&self.config(after));
        self.reload(router, after);
    }

    /// How many requests for its table it has got.
    fn refreshes(&self, router: &Container, site: &Site) -> Result<usize, String>;

    /// Its operator closes the session and says why.
    fn shut_down(&self, router: &Container, site: &Site, text: &str);

    /// What it tells its operator of the session.
    fn said(&self, router: &Container, site: &Site) -> Result<String, String>;

    fn words(&self) -> Words;
}

/// What a make says and does not.
pub(super) struct Words {
    /// The command that prints its version.
    pub(super) version: &'static [&'static str],
    /// How it says that the node has closed the session because of too many prefixes.
    pub(super) prefix_limit: &'static str,
    /// How it says that the node has come back from a restart (the R bit of RFC 4724); none if it
    /// does not.
    pub(super) restarted: Option<&'static str>,
    /// Why it cannot do without AS numbers of four octets, if so.
    pub(super) two_octets: Option<&'static str>,
    /// What is wrong with its answer to a request for its table.
    pub(super) refresh: Option<Fault>,
    /// What is wrong with how it reads the text of a shutdown.
    pub(super) shutdown_text: Option<Fault>,
}

/// A fault of a router.
pub(super) struct Fault {
    /// What it says when it happens.
    pub(super) sign: &'static str,
    /// The same for the page.
    pub(super) words: &'static str,
}
