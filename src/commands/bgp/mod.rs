//! `mcc bgp …`: one file a question.

mod capture;
mod dump;
mod errors;
mod exports;
mod history;
mod mrt_file;
mod neighbor;
mod replay;
mod routes;
mod status;

use anyhow::Result;
use serde_json::json;

pub(crate) use routes::render as render_routes;
pub(crate) use status::render as render_status;

use super::{Verdict, done, print_json};
use crate::admin_client::AdminClient;
use crate::cli::{BgpCommand, Common};

pub(super) async fn run(common: &Common, command: &BgpCommand) -> Result<Verdict> {
    let client = AdminClient::new(common)?;
    match command {
        BgpCommand::Replay(arguments) => replay::run(common, arguments),
        BgpCommand::Dump(arguments) => dump::run(common, &client, arguments).await,
        BgpCommand::Status => status::run(common, &client).await,
        BgpCommand::Neighbor { address } => neighbor::run(common, &client, *address).await,
        BgpCommand::Routes(arguments) => routes::run(common, &client, arguments).await,
        BgpCommand::Errors(arguments) => errors::run(common, &client, arguments).await,
        BgpCommand::History(arguments) => history::run(common, &client, arguments).await,
        BgpCommand::Capture(arguments) => capture::run(&client, arguments).await,
        BgpCommand::Refresh { address } => {
            client.post(&format!("/v1/bgp/neighbors/{address}/refresh")).await?;
            let json = json!({ "address": address, "refresh": "requested" });
            done(common, &json, &format!("{address} was asked for its table."))
        }
        BgpCommand::Reset { address } => {
            client.post(&format!("/v1/bgp/neighbors/{address}/reset")).await?;
            let words = format!("The session with {address} is closed; it comes back by itself.");
            done(common, &json!({ "address": address, "reset": true }), &words)
        }
    }
}
