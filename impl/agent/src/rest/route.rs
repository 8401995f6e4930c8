// SPDX-License-Identifier: Apache-2.0
//! From method and path to the handler.

use std::sync::Arc;

use api::paths;
use hyper::body::Incoming;
use hyper::{Method, Request, StatusCode};
use percent_encoding::percent_decode_str;

use super::message::read;
use super::{Api, Refused, Reply};
use crate::realize::Target;

/// What a path names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Resource {
    Healthz,
    Config,
    Endpoints,
    Endpoint,
    EndpointConfig,
    EndpointLabels,
    EndpointLog,
    EndpointHealthz,
    Identities,
    Identity,
    Ipam,
    IpamIp,
    Policy,
    PolicyResolve,
    Services,
    Service,
    Maps,
    Map,
    Metrics,
    DebugInfo,
}

/// Paths, what they name, and their methods.
const ROUTES: &[(&str, Resource, &str)] = &[
    (paths::HEALTHZ, Resource::Healthz, "GET"),
    (paths::CONFIG, Resource::Config, "GET, PATCH"),
    (paths::ENDPOINTS, Resource::Endpoints, "GET"),
    (paths::ENDPOINT, Resource::Endpoint, "GET, PUT, PATCH, DELETE"),
    (paths::ENDPOINT_CONFIG, Resource::EndpointConfig, "GET, PATCH"),
    (paths::ENDPOINT_LABELS, Resource::EndpointLabels, "GET, PATCH"),
    (paths::ENDPOINT_LOG, Resource::EndpointLog, "GET"),
    (paths::ENDPOINT_HEALTHZ, Resource::EndpointHealthz, "GET"),
    (paths::IDENTITIES, Resource::Identities, "GET"),
    (paths::IDENTITY, Resource::Identity, "GET"),
    (paths::IPAM, Resource::Ipam, "POST"),
    (paths::IPAM_IP, Resource::IpamIp, "POST, DELETE"),
    (paths::POLICY, Resource::Policy, "GET, PUT, DELETE"),
    (paths::POLICY_RESOLVE, Resource::PolicyResolve, "GET"),
    (paths::SERVICES, Resource::Services, "GET"),
    (paths::SERVICE, Resource::Service, "GET, PUT, DELETE"),
    (paths::MAPS, Resource::Maps, "GET"),
    (paths::MAP, Resource::Map, "GET"),
    (paths::METRICS, Resource::Metrics, "GET"),
    (paths::DEBUGINFO, Resource::DebugInfo, "GET"),
];

/// Whether a path is of a template, and what stands in the place of its `{name}`.
fn matches(template: &str, path: &str) -> Option<Option<String>> {
    let (template, path) = (template.trim_end_matches('/'), path.trim_end_matches('/'));
    let mut value = None;
    let (mut expected, mut found) = (template.split('/'), path.split('/'));
    loop {
        match (expected.next(), found.next()) {
            (None, None) => return Some(value),
            (Some(name), Some(segment)) if name.starts_with('{') => {
                if segment.is_empty() {
                    return None;
                }
                value = Some(percent_decode_str(segment).decode_utf8().ok()?.into_owned());
            }
            (Some(one), Some(other)) if one == other => {}
            _ => return None,
        }
    }
}

fn find(path: &str) -> Result<(Resource, &'static str, String), Refused> {
    let found = ROUTES.iter().find_map(|(template, resource, methods)| {
        matches(template, path).map(|value| (*resource, *methods, value.unwrap_or_default()))
    });
    if let Some(found) = found {
        return Ok(found);
    }
    match paths::NOT_SUPPORTED.iter().find(|(template, _)| matches(template, path).is_some()) {
        Some((_, feature)) => {
            Err(Refused::not_supported(format!("{path}: {feature} are not there yet in this version")))
        }
        None => Err(Refused::not_found(format!("there is no {path}"))),
    }
}

/// A parameter of the query.
pub fn parameter(query: &str, name: &str) -> Result<Option<String>, Refused> {
    for pair in query.split('&') {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        if key == name {
            // As forms encode blanks.
            let value = value.replace('+', " ");
            let value = percent_decode_str(&value).decode_utf8();
            return value
                .map(|value| Some(value.into_owned()).filter(|value| !value.is_empty()))
                .map_err(|_| Refused::field(name, "is not UTF-8"));
        }
    }
    Ok(None)
}

/// Carries a request out.
pub async fn handle<T: Target>(api: Arc<Api<T>>, request: Request<Incoming>) -> Result<Reply, Refused> {
    let (head, body) = request.into_parts();
    let (resource, methods, value) = find(head.uri.path())?;
    let method = head.method;
    if !methods.split(", ").any(|one| one == method.as_str()) {
        let message = format!("{} has no {method}, only {methods}", head.uri.path());
        let refused = Refused::new(StatusCode::METHOD_NOT_ALLOWED, message);
        return Err(Refused { allow: Some(methods), ..refused });
    }
    let query = head.uri.query().unwrap_or_default();
    let body = read(body).await?;
    match (resource, method) {
        (Resource::Healthz, _) => api.healthz().await,
        (Resource::Config, Method::GET) => api.config().await,
        (Resource::Config, _) => api.patch_config(&body).await,
        (Resource::Endpoints, _) => api.endpoints(&body).await,
        (Resource::Endpoint, Method::GET) => api.endpoint(&value).await,
        (Resource::Endpoint, Method::PUT) => api.create_endpoint(&value, &body).await,
        (Resource::Endpoint, Method::PATCH) => api.patch_endpoint(&value, &body).await,
        (Resource::Endpoint, _) => api.delete_endpoint(&value).await,
        (Resource::EndpointConfig, Method::GET) => api.endpoint_config(&value).await,
        (Resource::EndpointConfig, _) => api.patch_endpoint_config(&value, &body).await,
        (Resource::EndpointLabels, Method::GET) => api.endpoint_labels(&value).await,
        (Resource::EndpointLabels, _) => api.patch_endpoint_labels(&value, &body).await,
        (Resource::EndpointLog, _) => api.endpoint_log(&value).await,
        (Resource::EndpointHealthz, _) => api.endpoint_health(&value).await,
        (Resource::Identities, _) => api.identities(&body).await,
        (Resource::Identity, _) => api.identity(&value).await,
        (Resource::Ipam, _) => api.allocate(query).await,
        (Resource::IpamIp, Method::POST) => api.allocate_ip(&value, query).await,
        (Resource::IpamIp, _) => api.release_ip(&value).await,
        (Resource::Policy, Method::GET) => api.policy(&body).await,
        (Resource::Policy, Method::PUT) => api.add_policy(&body).await,
        (Resource::Policy, _) => api.delete_policy(&body).await,
        (Resource::PolicyResolve, _) => api.resolve_policy(&body).await,
        (Resource::Services, _) => api.services().await,
        (Resource::Service, Method::GET) => api.service(&value).await,
        (Resource::Service, Method::PUT) => api.put_service(&value, &body).await,
        (Resource::Service, _) => api.delete_service(&value).await,
        (Resource::Maps, _) => api.maps().await,
        (Resource::Map, _) => api.map(&value).await,
        (Resource::Metrics, _) => api.metrics().await,
        (Resource::DebugInfo, _) => api.debuginfo().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_found_with_their_value_decoded() {
        assert_eq!(find("/v1/endpoint/container-id:a%2Fb/log").unwrap().2, "container-id:a/b");
        assert_eq!(find("/v1/endpoint").unwrap().0, Resource::Endpoints);
        assert_eq!(find("/v1/metrics").unwrap().0, Resource::Metrics);
        assert_eq!(find("/v1/metrics/").unwrap().0, Resource::Metrics);
        for other in
            ["/v1/endpoint/1/nothing", "/healthz", "/v2/healthz", "/v1/endpoint//log", "/v1/endpoint/%ff"]
        {
            assert_eq!(find(other).unwrap_err().status, StatusCode::NOT_FOUND, "{other}");
        }
        assert_eq!(find("/v1/prefilter").unwrap_err().status, StatusCode::NOT_IMPLEMENTED);
    }

    #[test]
    fn parameters_are_decoded() {
        let query = "family=ipv4&owner=a%26b+c&empty=";
        assert_eq!(parameter(query, "owner").unwrap().as_deref(), Some("a&b c"));
        assert_eq!(parameter(query, "family").unwrap().as_deref(), Some("ipv4"));
        assert_eq!(parameter(query, "empty").unwrap(), None);
        assert_eq!(parameter("", "family").unwrap(), None);
        assert!(parameter("owner=%ff", "owner").is_err());
    }
}
