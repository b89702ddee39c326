//! The two example files, which `mcc config example` prints.
//!
//! Each holds every key. A setting that is off is a line of `#` and the setting, without a space
//! between; prose has the space. So the same file also yields the one with everything switched on,
//! and that has a good value for each key.

pub(crate) const NODE: &str = include_str!("../example/node.toml");
pub(crate) const CONTROL: &str = include_str!("../example/control.toml");

/// The whole file of a node, with comments and defaults.
#[must_use]
pub fn example_node() -> &'static str {
    NODE
}

/// The whole file of the control plane, with comments and defaults.
#[must_use]
pub fn example_control() -> &'static str {
    CONTROL
}

/// The example with every setting switched on.
pub(crate) fn switched_on(example: &str) -> String {
    let lines = example.lines().map(|line| match line.strip_prefix('#') {
        Some(setting) if setting.starts_with(|c: char| c == '[' || c.is_ascii_lowercase()) => {
            setting
        }
        _ => line,
    });
    lines.flat_map(|line| [line, "\n"]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    use crate::keys::{Key, Kind, canonical};
    use crate::{ControlConfig, NodeConfig};

    /// Every key of a value, as the key tables write it: `bgp.neighbor.address`. A list
    /// also gives `path[…]`, or `path[]` without items: its keys are not seen then.
    fn keys_of(value: &toml::Value, path: &str, keys: &mut BTreeSet<String>) {
        match value {
            toml::Value::Table(table) => {
                for (name, value) in table {
                    let path =
                        if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                    let path = canonical(&path);
                    keys.insert(path.clone());
                    keys_of(value, &path, keys);
                }
            }
            toml::Value::Array(items) => {
                keys.insert(format!("{path}{}", if items.is_empty() { "[]" } else { "[…]" }));
                for item in items {
                    keys_of(item, path, keys);
                }
            }
            _ => {}
        }
    }

    fn assert_same_keys(value: &toml::Value, table: &[Key]) {
        let mut keys = BTreeSet::new();
        keys_of(value, "", &mut keys);
        for empty in keys.iter().filter_map(|key| key.strip_suffix("[]")) {
            assert!(keys.contains(&format!("{empty}[…]")), "`{empty}` is empty in the example");
        }
        keys.retain(|key| !key.ends_with(']'));
        let known = table.iter().map(|key| canonical(key.path)).collect();
        assert_eq!(keys, known);
        for key in table {
            assert_eq!(key.accepted.is_empty(), key.kind != Kind::Value, "{}", key.path);
        }
    }

    #[test]
    fn examples_are_good_as_printed() {
        NodeConfig::parse(NODE, "node.toml").unwrap();
        ControlConfig::parse(CONTROL, "control.toml").unwrap();
    }

    /// The types, the key tables and the examples name the same keys: serialising a value of the
    /// type gives all its keys, since the example sets each.
    #[test]
    fn examples_and_key_tables_hold_every_key() {
        let node = NodeConfig::parse(&switched_on(NODE), "node.toml").unwrap();
        assert_same_keys(&toml::Value::try_from(node).unwrap(), crate::keys::NODE);
        let control = ControlConfig::parse(&switched_on(CONTROL), "control.toml").unwrap();
        assert_same_keys(&toml::Value::try_from(control).unwrap(), crate::keys::CONTROL);
    }

    #[test]
    fn printed_defaults_are_the_defaults() {
        let printed = NodeConfig::parse(NODE, "node.toml").unwrap();
        let least = r#"
            node = { name = "edge-1", address = "192.0.2.10" }
            drive = [{ path = "/cache/1", size = "500GB" }]
            bgp.neighbor = [{ address = "192.0.2.1", asn = 65100 }]
        "#;
        assert_eq!(printed, NodeConfig::parse(least, "least.toml").unwrap());
        let printed = ControlConfig::parse(CONTROL, "control.toml").unwrap();
        assert_eq!(printed, ControlConfig::parse("[control]", "least.toml").unwrap());
    }
}
