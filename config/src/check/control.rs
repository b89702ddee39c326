//! Checks of the control plane's file.

use super::Findings;
use super::shared::Ipv6;
use crate::ControlConfig;
use crate::document::KeyPath;

/// Reports what is impossible in `config`.
pub(crate) fn control(config: &ControlConfig, findings: &mut Findings<'_, '_>) {
    let ipv6 = Ipv6 { on: config.control.ipv6, section: "control" };
    let listen = KeyPath::of("control.listen");
    findings.sockets(&listen, &config.control.listen, ipv6);
    findings.prefixes(
        &KeyPath::of("control.trusted_proxies"),
        &config.control.trusted_proxies,
        ipv6,
    );
    if config.control.tls.is_none() {
        for (i, socket) in config.control.listen.iter().enumerate() {
            if !socket.ip().is_loopback() {
                findings.report(
                    &[&listen.index(i), &KeyPath::of("control.tls")],
                    "a loopback address such as `\"127.0.0.1:8443\"`, or any address with \
                     `[control.tls]`, so that no token travels in the clear",
                );
            }
        }
    }
    let mut listeners = Vec::new();
    listeners.extend(config.control.listen.iter().enumerate().map(|(i, s)| (listen.index(i), *s)));
    if let Some(dns) = &config.dns {
        let dns_listen = KeyPath::of("dns.listen");
        findings.sockets(&dns_listen, &dns.listen, ipv6);
        findings.sockets(&KeyPath::of("dns.upstream"), &dns.upstream, ipv6);
        listeners.extend(dns.listen.iter().enumerate().map(|(i, s)| (dns_listen.index(i), *s)));
    }
    findings.listeners(listeners);
}
