//! One bad file for each rule, with the whole message that an operator gets.

use super::*;

mod bgp;
mod control;
mod keys;
mod node;
mod whole_files;

/// Four lines that are good; what a case adds begins on line 5, in the section `[node]`.
const NODE: &str = r#"drive = [{ path = "/cache/1", size = "500GB" }]
[node]
name = "edge-1"
address = "192.0.2.10"
"#;

fn messages<T>(read: Result<T, ConfigError>) -> String {
    read.err().map(|error| error.to_string()).unwrap_or_default()
}

fn node_messages(text: &str) -> String {
    messages(NodeConfig::parse(text, "mcc.toml"))
}

#[track_caller]
fn assert_node(added: &str, expected: &str) {
    assert_eq!(node_messages(&format!("{NODE}{added}")), expected, "{added}");
}

#[track_caller]
fn assert_control(text: &str, expected: &str) {
    assert_eq!(messages(ControlConfig::parse(text, "control.toml")), expected, "{text}");
}

#[test]
fn the_base_of_these_tests_is_good() {
    assert_node("", "");
}
