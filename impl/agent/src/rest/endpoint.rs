// SPDX-License-Identifier: Apache-2.0
//! `/endpoint`.

use api::{
    EndpointChangeRequest, EndpointConfigurationSpec, EndpointConfigurationStatus, LabelConfigurationSpec,
};
use controlplane::{
    Answer, ControlPlane, EndpointOptions, EndpointRef, EndpointView, Event, LabelChange, LogEntry,
};
use hyper::StatusCode;
use identity::LabelArray;

use super::message::{parse, parse_optional};
use super::{Api, Refused, Reply, change, endpoint_model as model};
use crate::realize::Target;

/// An endpoint with its log.
fn view(plane: &ControlPlane, reference: &EndpointRef) -> Option<(EndpointView, Vec<LogEntry>)> {
    Some((plane.endpoint(reference)?, plane.endpoint_log(reference)?))
}

impl<T: Target> Api<T> {
    async fn view(&self, id: &str) -> Result<(EndpointView, Vec<LogEntry>), Refused> {
        let reference = change::reference(id)?;
        let found = self.plane(move |plane| view(plane, &reference)).await?;
        found.ok_or_else(|| Refused::not_found(format!("endpoint {id} not found")))
    }

    /// `GET /endpoint`: those that have all labels of the body, if there is one.
    pub(super) async fn endpoints(&self, body: &[u8]) -> Result<Reply, Refused> {
        let texts: Vec<String> = parse_optional(body)?.unwrap_or_default();
        let wanted =
            LabelArray::parse_selecting(&texts).map_err(|e| Refused::field("labels", e.to_string()))?;
        let selected = move |plane: &ControlPlane| {
            let endpoints = plane.endpoints().into_iter();
            let endpoints = endpoints.filter(|view| {
                let labels = &view.labels;
                labels.security_relevant.merged(&labels.information).contains(&wanted)
            });
            let with_log = |view: EndpointView| {
                let log = plane.endpoint_log(&EndpointRef::Local(view.id)).unwrap_or_default();
                (view, log)
            };
            endpoints.map(with_log).collect::<Vec<_>>()
        };
        let endpoints = self.plane(selected).await?;
        let node = self.addressing();
        let list: Vec<_> = endpoints.iter().map(|(view, log)| model::endpoint(view, log, &node)).collect();
        Reply::json(&list)
    }

    /// `GET /endpoint/{id}`.
    pub(super) async fn endpoint(&self, id: &str) -> Result<Reply, Refused> {
        let (view, log) = self.view(id).await?;
        Reply::json(&model::endpoint(&view, &log, &self.addressing()))
    }

    /// `PUT /endpoint/{id}`: 201, after it is realized if the request says so.
    pub(super) async fn create_endpoint(&self, id: &str, body: &[u8]) -> Result<Reply, Refused> {
        let change: EndpointChangeRequest = parse(body)?;
        let request = change::creation(id, change)?;
        let answer = self.request(move |ticket| Event::EndpointCreate { ticket, request }).await?;
        let Answer::EndpointCreated { id } = answer else {
            return Err(Refused::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "the control plane answered otherwise",
            ));
        };
        // It may have been deleted since; then there is nothing to show.
        match self.plane(move |plane| view(plane, &EndpointRef::Local(id))).await? {
            Some((view, log)) => {
                Reply::created(StatusCode::CREATED, &model::endpoint(&view, &log, &self.addressing()))
            }
            None => Err(Refused::not_found(format!("endpoint {id} was deleted again"))),
        }
    }

    /// `PATCH /endpoint/{id}`.
    pub(super) async fn patch_endpoint(&self, id: &str, body: &[u8]) -> Result<Reply, Refused> {
        let endpoint = change::reference(id)?;
        let patch = change::patch(parse(body)?)?;
        self.request(move |ticket| Event::EndpointPatch { ticket, endpoint, patch }).await?;
        Ok(Reply::done())
    }

    /// `DELETE /endpoint/{id}`: 200, or 206 with the number of things that remained; the endpoint is gone all the same.
    pub(super) async fn delete_endpoint(&self, id: &str) -> Result<Reply, Refused> {
        let endpoint = change::reference(id)?;
        self.request(move |ticket| Event::EndpointDelete { ticket, endpoint }).await?;
        Reply::json(&0)
    }

    /// `GET /endpoint/{id}/config`.
    pub(super) async fn endpoint_config(&self, id: &str) -> Result<Reply, Refused> {
        let (view, _) = self.view(id).await?;
        let realized = model::configuration(&view);
        Reply::json(&EndpointConfigurationStatus { realized, ..EndpointConfigurationStatus::default() })
    }

    /// `PATCH /endpoint/{id}/config`; one that changes nothing regenerates the endpoint.
    pub(super) async fn patch_endpoint_config(&self, id: &str, body: &[u8]) -> Result<Reply, Refused> {
        let endpoint = change::reference(id)?;
        let spec: EndpointConfigurationSpec = parse_optional(body)?.unwrap_or_default();
        let options = options(&spec.options)?;
        let labels = spec.label_configuration.map(|labels| user_labels(&labels)).transpose()?;
        if options.is_empty() && labels.is_none() {
            self.request(move |ticket| Event::EndpointRegenerate { ticket, endpoint }).await?;
            return Ok(Reply::done());
        }
        if let Some(change) = labels {
            let endpoint = endpoint.clone();
            self.request(move |ticket| Event::EndpointLabels { ticket, endpoint, change }).await?;
        }
        if !options.is_empty() {
            self.request(move |ticket| Event::EndpointConfig { ticket, endpoint, options }).await?;
        }
        Ok(Reply::done())
    }

    /// `GET /endpoint/{id}/labels`.
    pub(super) async fn endpoint_labels(&self, id: &str) -> Result<Reply, Refused> {
        let (view, _) = self.view(id).await?;
        Reply::json(&model::labels(&view))
    }

    /// `PATCH /endpoint/{id}/labels`.
    pub(super) async fn patch_endpoint_labels(&self, id: &str, body: &[u8]) -> Result<Reply, Refused> {
        let endpoint = change::reference(id)?;
        let change = user_labels(&parse(body)?)?;
        self.request(move |ticket| Event::EndpointLabels { ticket, endpoint, change }).await?;
        Ok(Reply::done())
    }

    /// `GET /endpoint/{id}/log`.
    pub(super) async fn endpoint_log(&self, id: &str) -> Result<Reply, Refused> {
        let (_, log) = self.view(id).await?;
        let log: Vec<_> = log.iter().map(model::change).collect();
        Reply::json(&log)
    }

    /// `GET /endpoint/{id}/healthz`.
    pub(super) async fn endpoint_health(&self, id: &str) -> Result<Reply, Refused> {
        let (view, _) = self.view(id).await?;
        Reply::json(&model::health(&view))
    }
}

/// Options by name.
pub fn options(options: &api::ConfigurationMap) -> Result<EndpointOptions, Refused> {
    let pairs = options.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    EndpointOptions::parse(pairs).map_err(|e| Refused::field("options", e.to_string()))
}

fn user_labels(spec: &LabelConfigurationSpec) -> Result<LabelChange, Refused> {
    let at = |refused: Refused| {
        let field = refused.body.field.unwrap_or_default().replacen("labels", "user", 1);
        Refused::field(field, refused.body.message)
    };
    change::labels(&spec.user).map(LabelChange::User).map_err(at)
}
