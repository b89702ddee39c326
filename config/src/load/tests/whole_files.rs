//! What is told of a file as a whole: all of its problems, and no secret.

use super::*;
use crate::{example_control, example_node};

/// One reading finds what is wrong in every way, in the order of the file.
#[test]
fn all_problems_at_once() {
    let text = r#"
[node]
name = "edge 1"
address = "192.0.2.10"
max_egress_mpbs = 10
[[drive]]
path = "/cache/1"
[[bgp.neighbor]]
address = "192.0.2.1"
asn = "AS65100"
hold_time = 1
[[bgp.neighbor]]
address = 5
asn = 0
"#;
    let error = NodeConfig::parse(text, "mcc.toml").unwrap_err();
    let places: Vec<_> =
        error.problems().iter().map(|p| (p.line.unwrap(), p.key.clone().unwrap())).collect();
    let expected = [
        (3, "node.name"),
        (5, "node.max_egress_mpbs"),
        (6, "drive[0].size"),
        (10, "bgp.neighbor[0].asn"),
        (11, "bgp.neighbor[0].hold_time"),
        (13, "bgp.neighbor[1].address"),
        (14, "bgp.neighbor[1].asn"),
    ];
    assert_eq!(places, expected.map(|(line, key)| (line, key.to_owned())));
}

#[test]
fn a_file_full_of_wrong_values_is_given_up() {
    let text = format!("{NODE}[footprint]\ncidrs = [{}]", "\"x\", ".repeat(1000));
    let error = NodeConfig::parse(&text, "mcc.toml").unwrap_err();
    assert_eq!(error.problems().len(), MOST_WRONG_VALUES + 1);
}

#[test]
fn no_message_shows_a_password() {
    let long = "hunter2".repeat(12);
    for line in [
        format!("password = \"{long}\""),
        format!("pasword = \"{long}\""),
        format!("password = [\"{long}\"]"),
        format!("password = {{ a = \"{long}\" }}"),
        format!("password = \"{long}"),
        format!("password = {long}"),
        format!("password = \"a\"\npassword = \"{long}\""),
    ] {
        let text = format!("{NODE}[[bgp.neighbor]]\naddress = \"192.0.2.1\"\nasn = 1\n{line}\n");
        let error = NodeConfig::parse(&text, "mcc.toml").unwrap_err();
        let shown = format!("{error} {error:?}");
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}

#[test]
fn files_that_cannot_be_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mcc.toml");
    let error = NodeConfig::load(&path).unwrap_err().to_string();
    assert!(error.starts_with(&format!("{}: cannot read the configuration: ", path.display())));

    std::fs::write(&path, b"[node]\nname = \"\xff\"\n").unwrap();
    assert_eq!(
        NodeConfig::load(&path).unwrap_err().to_string(),
        format!(
            "{}:2: found bytes that are not UTF-8; accepted: a TOML file, which is UTF-8 text",
            path.display()
        )
    );

    std::fs::write(&path, example_node()).unwrap();
    assert_eq!(NodeConfig::load(&path).unwrap().node.name.as_str(), "edge-1");
    std::fs::write(&path, example_control()).unwrap();
    assert!(ControlConfig::load(&path).is_ok());
}
