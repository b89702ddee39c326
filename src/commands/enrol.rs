//! `mcc enrol`: an enrolment key becomes this node's token file.

use anyhow::{Context, Result};
use mcc_config::Secret;
use mcc_control::client::Client;

use super::{Verdict, print_json};
use crate::cli::{Common, Enrol};
use crate::private_file::Replacement;
use crate::text;

pub(super) async fn run(common: &Common, arguments: &Enrol) -> Result<Verdict> {
    let file = &arguments.token_file;
    let cannot_write = || format!("--token-file: cannot write {}", file.display());
    // The key works once: find out that the file cannot be written before it is used up.
    let replacement = Replacement::prepare(file).with_context(cannot_write)?;
    let registered = Client::new(&arguments.url, None)?
        .register(Secret::new(arguments.key.clone()))
        .await
        .with_context(|| format!("asking {}", arguments.url))?;
    let content = format!("{}\n", registered.token.expose());
    replacement.commit(content.as_bytes()).with_context(cannot_write)?;
    if common.json {
        print_json(
            &serde_json::json!({ "node": registered.node, "token_file": file.display().to_string() }),
        )?;
    } else {
        text::print(&format!(
            "This is node {} now. Its token is in {}; name that file in the configuration:\n\n\
             [control]\nurl = \"{}\"\ntoken_file = \"{}\"\n",
            registered.node,
            file.display(),
            arguments.url,
            file.display()
        ))?;
    }
    Ok(Verdict::Good)
}
