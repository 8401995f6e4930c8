// SPDX-License-Identifier: Apache-2.0
//! `/identity`.

use identity::{LabelArray, NumericIdentity};

use super::message::parse_optional;
use super::{Api, Refused, Reply, endpoint_model as model};
use crate::realize::Target;

impl<T: Target> Api<T> {
    /// `GET /identity`: those that have all labels of the body, if there is one.
    pub(super) async fn identities(&self, body: &[u8]) -> Result<Reply, Refused> {
        let texts: Vec<String> = parse_optional(body)?.unwrap_or_default();
        let wanted =
            LabelArray::parse_selecting(&texts).map_err(|e| Refused::field("labels", e.to_string()))?;
        let identities = self.plane(|plane| plane.identities()).await?;
        let list: Vec<_> = identities
            .iter()
            .filter(|view| view.labels.contains(&wanted))
            .map(|view| model::identity(view.identity, &view.labels))
            .collect();
        Reply::json(&list)
    }

    /// `GET /identity/{id}`.
    pub(super) async fn identity(&self, id: &str) -> Result<Reply, Refused> {
        let identity: NumericIdentity =
            id.parse().map_err(|_| Refused::field("id", format!("{id:?} is no number of an identity")))?;
        let found = self.plane(move |plane| plane.identity(identity)).await?;
        let view = found.ok_or_else(|| Refused::not_found(format!("identity {id} not found")))?;
        Reply::json(&model::identity(view.identity, &view.labels))
    }
}
