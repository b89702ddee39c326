//! The command line: what can be asked, and nothing about how it is answered.

mod cache;

use std::net::IpAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use ipnet::IpNet;

pub(crate) use cache::{CacheCommand, CacheLs, CachePrefill, CachePurge, CacheSort, CacheVerify};

/// The open Connected Cache for internet providers.
///
/// Exit status: 0 good, 1 the thing asked about is bad, 2 wrong use.
#[derive(Debug, Parser)]
#[command(name = "mcc", version, propagate_version = true, disable_help_subcommand = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Options that every command takes.
#[derive(Debug, Args)]
pub(crate) struct Common {
    /// Configuration file [default: /etc/mcc/mcc.toml; for `control`: /etc/mcc/control.toml]
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Admin address of the node to ask [default: `[admin] listen` of the configuration file]
    #[arg(long, global = true, value_name = "URL")]
    pub(crate) admin: Option<AdminUrl>,
    /// How long a node that is connected may take to answer, in seconds
    #[arg(long, global = true, value_name = "SECONDS", default_value_t = 5,
          value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub(crate) timeout: u64,
    /// Print JSON instead of a table
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

/// Where a node's admin API is: `http://127.0.0.1:5000`, or the same without `http://`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AdminUrl(String);

impl AdminUrl {
    /// As a URL without a path.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::str::FromStr for AdminUrl {
    type Err = &'static str;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        let wrong = "neither a URL, such as http://127.0.0.1:5000, nor an address and port, such as \
                     127.0.0.1:5000";
        let has_scheme = s.contains("://");
        let url = if has_scheme { s.to_owned() } else { format!("http://{s}") };
        let url = reqwest::Url::parse(&url).map_err(|_| wrong)?;
        // Of what has no scheme nothing but the port says that it is meant as an address.
        let is_address =
            has_scheme || s.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        let plain = matches!(url.scheme(), "http" | "https")
            && url.has_host()
            && url.path() == "/"
            && url.query().is_none()
            && url.fragment().is_none();
        if is_address && plain {
            Ok(Self(url.as_str().trim_end_matches('/').to_owned()))
        } else {
            Err(wrong)
        }
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a node: cache and BGP speaker
    Run,
    /// Run or manage the control plane
    #[command(subcommand)]
    Control(ControlCommand),
    /// Turn an enrolment key into this node's token file
    Enrol(Enrol),
    /// Start everything on loopback, with nothing to prepare
    Demo(Demo),
    /// Show how the node is: fit to serve or not and why, traffic, drives, sessions
    Status,
    /// List the parts of the node and their state
    List,
    /// Ask the BGP speaker
    #[command(subcommand)]
    Bgp(BgpCommand),
    /// Ask about what is stored, and change it
    #[command(subcommand)]
    Cache(CacheCommand),
    /// Show the prefixes that the node serves
    Footprint(Footprint),
    /// Ask the control plane which node serves an address, and why
    Steer(Steer),
    /// Check a configuration file, or print an example
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Send new clients elsewhere (503); running downloads go on
    Drain,
    /// Take clients again
    Undrain,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ControlCommand {
    /// Run the control plane
    Run,
    /// Manage API tokens
    #[command(subcommand)]
    Token(TokenCommand),
}

#[derive(Debug, Subcommand)]
pub(crate) enum TokenCommand {
    /// Create a token and print it; it is not shown again
    Create {
        /// What the token may do
        #[arg(long, value_enum)]
        role: Role,
    },
}

/// What a token may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Role {
    /// Everything
    Owner,
    /// Create, change and remove nodes
    Operator,
    /// Look only
    Viewer,
}

#[derive(Debug, Args)]
pub(crate) struct Enrol {
    /// Address of the control plane
    #[arg(long, value_name = "URL")]
    pub(crate) url: String,
    /// The enrolment key; it works once
    #[arg(long)]
    pub(crate) key: String,
    /// Where the node's token is written; made readable by its owner only
    #[arg(long, value_name = "FILE")]
    pub(crate) token_file: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct Demo {
    /// Do the same, then stop: exit status 0 if every step was good, else 1
    #[arg(long)]
    pub(crate) check: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum BgpCommand {
    /// One line for each neighbor
    Status,
    /// What the neighbors announced, accepted or not
    Routes(Routes),
    /// Everything about one neighbor
    Neighbor {
        /// Its address
        address: IpAddr,
    },
    /// Malformed messages: what was wrong, and what they were treated as (RFC 7606)
    Errors(BgpErrors),
    /// What the sessions did: their changes of state, and why
    History(BgpHistory),
    /// Write the messages of sessions into a file (MRT), as they come and go
    Capture(BgpCapture),
    /// Write the table into a file (MRT) that routing tools read
    Dump(BgpDump),
    /// Say what of a recorded table or log (MRT) the rules of a configuration would accept
    Replay(BgpReplay),
    /// Ask a neighbor to send its table again (route refresh)
    Refresh {
        /// Its address
        address: IpAddr,
    },
    /// Close a session; it comes back by itself
    Reset {
        /// Its address
        address: IpAddr,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Routes {
    /// An address (longest match) or a prefix (exact); without it every route
    pub(crate) target: Option<Target>,
    /// With a prefix: the more specific ones too
    #[arg(long, requires = "target")]
    pub(crate) longer: bool,
    /// Only routes of this neighbor
    #[arg(long, value_name = "ADDR")]
    pub(crate) neighbor: Option<IpAddr>,
    /// Only routes that are footprint
    #[arg(long, conflicts_with_all = ["rejected", "reason"])]
    pub(crate) accepted: bool,
    /// Only routes that were refused, with the reason
    #[arg(long)]
    pub(crate) rejected: bool,
    /// Only routes that were refused for this reason, such as `too_long`
    #[arg(long, value_name = "REASON")]
    pub(crate) reason: Option<String>,
    /// Only routes that are left of a lost session
    #[arg(long)]
    pub(crate) stale: bool,
    /// Only paths that begin in this AS
    #[arg(long, value_name = "N")]
    pub(crate) origin_as: Option<u32>,
    /// Only paths with this AS anywhere
    #[arg(long = "as", value_name = "N")]
    pub(crate) path_as: Option<u32>,
    /// Only routes with this community: `65100:911`, large `65100:1:2` or extended `rt:65100:1`
    #[arg(long, value_name = "COMMUNITY")]
    pub(crate) community: Option<String>,
    /// Print CSV
    #[arg(long, conflicts_with = "json")]
    pub(crate) csv: bool,
    /// Print how many there are, not which
    #[arg(long, conflicts_with_all = ["csv", "limit"])]
    pub(crate) count: bool,
    /// The most routes to show [default: all]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) limit: Option<u32>,
}

#[derive(Debug, Args)]
pub(crate) struct BgpErrors {
    /// Only those of this neighbor
    pub(crate) address: Option<IpAddr>,
    /// Show the bytes of each message
    #[arg(long)]
    pub(crate) hex: bool,
}

#[derive(Debug, Args)]
pub(crate) struct BgpHistory {
    /// Only that of this neighbor
    pub(crate) address: Option<IpAddr>,
    /// With the messages that are not routine: OPEN, NOTIFICATION, ROUTE-REFRESH, End-of-RIB
    #[arg(long)]
    pub(crate) messages: bool,
}

#[derive(Debug, Args)]
pub(crate) struct BgpCapture {
    /// A neighbor's address, or `all`
    #[arg(value_name = "ADDRESS|all")]
    pub(crate) target: CaptureTarget,
    /// Where to; `-` is the standard output
    #[arg(long, value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// How long, in seconds [default: until Ctrl-C]
    #[arg(long, value_name = "SECONDS")]
    pub(crate) duration: Option<u64>,
}

#[derive(Debug, Args)]
pub(crate) struct BgpDump {
    /// Where to; `-` is the standard output
    pub(crate) file: PathBuf,
    /// Only the routes of this neighbor
    #[arg(long, value_name = "ADDR")]
    pub(crate) neighbor: Option<IpAddr>,
}

#[derive(Debug, Args)]
pub(crate) struct BgpReplay {
    /// An MRT file, not packed; `-` is the standard input
    pub(crate) file: PathBuf,
    /// Judge every peer of the file by the rules of this neighbor [default: each by those of the
    /// neighbor with its address]
    #[arg(long, value_name = "ADDR")]
    pub(crate) neighbor: Option<IpAddr>,
    /// Only this peer of the file
    #[arg(long, value_name = "ADDR")]
    pub(crate) peer: Option<IpAddr>,
    /// List the routes, too
    #[arg(long)]
    pub(crate) routes: bool,
    /// List the routes that would be refused, with the reason
    #[arg(long, conflicts_with = "routes")]
    pub(crate) rejected: bool,
}

/// Whose messages to capture.
#[derive(Debug, Clone, Copy)]
pub(crate) enum CaptureTarget {
    All,
    Neighbor(IpAddr),
}

impl std::str::FromStr for CaptureTarget {
    type Err = &'static str;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        match s {
            "all" => Ok(Self::All),
            _ => s.parse().map(Self::Neighbor).map_err(|_| "neither an address nor `all`"),
        }
    }
}

/// An address or a prefix.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Target {
    Address(IpAddr),
    Prefix(IpNet),
}

impl std::str::FromStr for Target {
    type Err = String;

    fn from_str(s: &str) -> Result<Self, String> {
        if let Ok(address) = s.parse() {
            return Ok(Self::Address(address));
        }
        match s.parse::<IpNet>() {
            Ok(prefix) if prefix.trunc() == prefix => Ok(Self::Prefix(prefix)),
            Ok(prefix) => Err(format!("host bits are set; the prefix is {}", prefix.trunc())),
            Err(_) => {
                Err("neither an address nor a prefix, such as 192.0.2.7 or 192.0.2.0/24".into())
            }
        }
    }
}

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Footprint {
    #[command(subcommand)]
    pub(crate) command: Option<FootprintCommand>,
    /// Only prefixes that some neighbors announce and others do not
    #[arg(long, conflicts_with = "aggregate")]
    pub(crate) inconsistent: bool,
    /// Only prefixes that the control plane is not told of because they flap
    #[arg(long, conflicts_with_all = ["aggregate", "inconsistent", "csv"])]
    pub(crate) damped: bool,
    /// Print CSV
    #[arg(long, conflicts_with = "json")]
    pub(crate) csv: bool,
    /// The fewest prefixes that cover the same addresses
    #[arg(long)]
    pub(crate) aggregate: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum FootprintCommand {
    /// Tell the control plane of a footprint that is held because it changed too much within minutes
    Approve,
}

#[derive(Debug, Args)]
pub(crate) struct Steer {
    /// The client's address
    pub(crate) client: IpAddr,
    /// Address of the control plane [default: `[control] url` of the configuration file]
    #[arg(long, value_name = "URL")]
    pub(crate) control: Option<String>,
    /// The host that the client wants content from
    #[arg(long)]
    pub(crate) host: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Say whether a file is good, and what is wrong with it
    Check {
        /// The file [default: the one of `--config`]
        file: Option<PathBuf>,
        /// It is a file of the control plane [default: if it has no `[node]` section]
        #[arg(long)]
        control: bool,
    },
    /// Print the whole file with comments
    Example {
        /// The file of the control plane
        #[arg(long)]
        control: bool,
    },
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_node_is_named_by_a_url_or_an_address() {
        for (text, expected) in [
            ("http://127.0.0.1:5000", Some("http://127.0.0.1:5000")),
            ("http://127.0.0.1:5000/", Some("http://127.0.0.1:5000")),
            ("127.0.0.1:5000", Some("http://127.0.0.1:5000")),
            ("[::1]:5000", Some("http://[::1]:5000")),
            ("edge-1:5000", Some("http://edge-1:5000")),
            ("https://edge-1", Some("https://edge-1")),
            ("foo", None),
            ("127.0.0.1", None),
            ("::1", None),
            ("", None),
            ("http://", None),
            ("ftp://127.0.0.1:5000", None),
            ("http://127.0.0.1:port", None),
            ("127.0.0.1:70000", None),
            ("http://127.0.0.1:5000/v1/status", None),
        ] {
            let url = text.parse::<AdminUrl>().ok();
            assert_eq!(url.as_ref().map(AdminUrl::as_str), expected, "{text}");
        }
    }

    #[test]
    fn a_target_is_an_address_or_a_prefix() {
        assert!(matches!("192.0.2.7".parse(), Ok(Target::Address(_))));
        assert!(matches!("192.0.2.0/24".parse(), Ok(Target::Prefix(_))));
        assert_eq!(
            "192.0.2.7/24".parse::<Target>().unwrap_err(),
            "host bits are set; the prefix is 192.0.2.0/24"
        );
        assert!("edge".parse::<Target>().is_err());
    }
}
