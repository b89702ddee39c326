//! The origins that every node serves: Microsoft's content hosts, plain HTTP on port 80.
//!
//! `*.` stands for any number of labels in front, and the bare name counts too.

/// Host names that are matched whole.
pub(super) const EXACT: &[&str] = &[
    // Windows Update, Defender, drivers, Store
    "ctldl.windowsupdate.com",
    "amupdatedl.microsoft.com",
    "amupdatedl2.microsoft.com",
    "amupdatedl3.microsoft.com",
    "amupdatedl4.microsoft.com",
    "amupdatedl5.microsoft.com",
    // Office
    "officecdn.microsoft.com",
    "officecdn.microsoft.com.edgesuite.net",
    // Teams
    "sf.teams.static.microsoft",
    "installer.teams.static.microsoft",
    // Xbox
    "assets1.xboxlive.com",
    "assets2.xboxlive.com",
    "dlassets.xboxlive.com",
    "dlassets2.xboxlive.com",
    "d1.xboxlive.com",
    "d2.xboxlive.com",
    "xvcb1.xboxlive.com",
    "xvcb2.xboxlive.com",
    "xvcf1.xboxlive.com",
    "xvcf2.xboxlive.com",
    "xvc-origin.xboxlive.com",
    "assets-origin.xboxlive.com",
    "xbl-dlassets-origin.xboxlive.com",
    "assets.xbox.com",
];

/// Domains that are served with everything below them; written without the leading `*.`.
pub(super) const DOMAINS: &[&str] = &[
    // Windows Update, Defender, drivers, Store
    "download.windowsupdate.com",
    "delivery.mp.microsoft.com",
    // Office
    "cdn.office.net",
    // Intune
    "manage.microsoft.com",
    // Teams
    "statics.teams.cdn.office.net",
    // Device Update
    "dl.adu.microsoft.com",
    // Delivery Optimization metadata
    "emdl.ws.microsoft.com",
];

/// Files that change in place under the same name: trust lists, which must never be old.
const NEVER_STORED: &[&str] = &["authrootstl.cab", "pinrulesstl.cab", "disallowedcertstl.cab"];

/// Whether `host` carries update-control traffic (TLS only), which no cache may stand in for.
pub(super) fn never_served(host: &str) -> bool {
    host == "sls.update.microsoft.com"
        || host
            .strip_suffix(".update.microsoft.com")
            .is_some_and(|name| name.starts_with("fe") && !name.contains('.'))
}

/// Whether the file that `path` names must be asked from the origin each time.
pub(super) fn never_stored(path: &str) -> bool {
    let file = path.rsplit('/').next().unwrap_or(path);
    NEVER_STORED.iter().any(|name| name.eq_ignore_ascii_case(file))
}
