// SPDX-License-Identifier: Apache-2.0
//! STATUS: whether ADD would be served.

use api::{Client, StatusState};

use crate::error::Error;

/// Asks the agent.
///
/// # Errors
/// [`Error::NotAvailable`]. Pods that are attached already stay connected without the agent, so it is never the
/// specification's other code, "limited connectivity".
pub fn status(agent: &Client) -> Result<(), Error> {
    let status = agent.status().map_err(|e| Error::NotAvailable(e.to_string()))?;
    let Some(own) = status.cilium else {
        return Err(Error::NotAvailable("the agent does not say how it is".into()));
    };
    match own.state {
        StatusState::Failure | StatusState::Disabled => {
            Err(Error::NotAvailable(format!("the agent is not ready: {}", own.msg)))
        }
        StatusState::Ok | StatusState::Warning => Ok(()),
    }
}
