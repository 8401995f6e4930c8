// SPDX-License-Identifier: Apache-2.0
//! Services and endpoints in; frontends, backends and slots out.
//!
//! Pure and synchronous: no map, no socket, no clock. Whoever owns a [`LoadBalancer`] tells it objects as they come, in any
//! order, and asks for [`Changes`], which name only the rows that are different: their cost goes by what changed, not by
//! what is there. [`kubernetes`] reads the objects.
//!
//! # What becomes of a service
//! - A frontend is one address, port and protocol. A NodePort, and a HostPort without `hostIP`, is one at each address of
//!   the node and at its loopback address. The families of a service are those of its cluster IPs. Headless services and
//!   those of type ExternalName have no frontends.
//! - With `internalTrafficPolicy: Local` cluster IPs lead to backends on this node only. With `externalTrafficPolicy: Local`
//!   the other frontends do so for connections from outside, and have a second row, [`Scope::Internal`], for those from
//!   pods and the node; the loopback address, to which only the node connects, has one row with all backends.
//! - Backends are the endpoints that slices name under the port's name and protocol: those that are ready; if none is,
//!   those that end and still serve. An endpoint that is not chosen keeps its row, so that its connections go on, until no
//!   slice names it, or, over UDP, until it does not serve. Endpoints objects count only where a service has no EndpointSlice.
//! - With `loadBalancerSourceRanges` the addresses of the load balancer are for clients in these alone, wherever they are: outside,
//!   in pods, on the node. The service's other frontends are not restricted.
//! - With `type: LoadBalancer` and `externalTrafficPolicy: Local` a service's `healthCheckNodePort` is a [`HealthCheck`]: how
//!   many of its endpoints on this node are ready.
//!
//! # Who decides what
//! - Of two owners that want the same frontend the lesser has it, whichever came first: services of the API, then who has it
//!   as a cluster IP, a NodePort, a load balancer's address, an external IP, a hostPort; of the same kind Kubernetes'
//!   services by namespace and name. The other is listed with the name of the first, and has it when that goes. A service of the API that would take a frontend from somebody is not made at all ([`ApiError::Taken`]).
//! - Ids of frontends and of backends are given in turn, so that one that is free is given again as late as possible; that
//!   of a service of the API is what its user says. The id of a frontend that is gone is given again only after
//!   [`LoadBalancer::release`]. Ids of an earlier run come with [`LoadBalancer::restore`].
//! - Slots of [`Algorithm::Random`] name each backend once; one that goes is replaced by the last, new ones come last. Those
//!   of [`Algorithm::Maglev`] are a table over the backends' addresses, the same on all nodes that know the same backends.
//!
//! # Limits
//! Frontends of both families and scopes together: [`Config::frontends_max`], and 65,534 ids. Backends:
//! [`Config::backends_max`]. Slots: [`Config::slots_max`], of one frontend 65,535. A frontend has as many slots as there is
//! room for; of a Maglev table all or none, and without any it refuses connections.
//! What is over a limit, a NodePort out of range, an address of a family in which the service is not, is left out alone,
//! listed by [`LoadBalancer::refused`], and tried again when there is room or its object changes.

mod api;
mod backends;
mod balancer;
mod config;
mod health;
mod ids;
pub mod kubernetes;
mod maglev;
mod object;
mod owner;
mod refused;
mod row;
mod settle;
mod slots;
mod tracked;
mod translate;

pub use balancer::{Changes, LoadBalancer};
pub use config::{Algorithm, Config};
pub use health::HealthCheck;
pub use object::{
    ApiService, EndpointConditions, EndpointSlice, HostPort, ObjectKey, Service, ServiceEndpoint,
    ServicePort, ServiceType, SlicePort, TrafficPolicy,
};
pub use refused::ApiError;
pub use row::{
    BackendAddress, BackendRow, BackendState, FRONTEND_ID_MAX, Frontend, FrontendKind, Restored, Scope,
    ServiceRow,
};
