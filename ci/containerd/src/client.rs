// SPDX-License-Identifier: Apache-2.0
//! The kubelet's side of the Container Runtime Interface, as much of it as a pod's network needs.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use prost::Message;
use serde_json::Value;
use tokio::net::UnixStream;
use tokio::runtime::{Builder, Runtime};
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint, Uri};
use tonic_prost::ProstCodec;
use tower::service_fn;

use crate::cri::{
    ListPodSandboxRequest, ListPodSandboxResponse, Nothing, PodSandboxConfig, PodSandboxId,
    PodSandboxStatusRequest, PodSandboxStatusResponse, RunPodSandboxRequest, StatusRequest, StatusResponse,
};

/// How long one request may take. A sandbox is a few processes.
const TIMEOUT: Duration = Duration::from_secs(60);

/// What went wrong with a request.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The daemon does not listen.
    #[error("connect to {socket}: {source}", socket = socket.display())]
    Connect {
        /// Its socket.
        socket: PathBuf,
        /// Why not.
        source: tonic::transport::Error,
    },
    /// It refused.
    #[error("{request}: {message}")]
    Refused {
        /// The request.
        request: &'static str,
        /// What it said.
        message: String,
    },
    /// It answered something that is not understood.
    #[error("{request}: {reason}")]
    Answer {
        /// The request.
        request: &'static str,
        /// What is wrong.
        reason: String,
    },
}

/// A connection to the daemon.
#[derive(Debug)]
pub struct Client {
    runtime: Runtime,
    channel: Channel,
}

/// A pod that runs.
#[derive(Clone, Debug)]
pub struct Sandbox {
    /// The daemon's id, which is `CNI_CONTAINERID`.
    pub id: String,
    /// Its addresses, as the daemon tells the kubelet.
    pub addresses: Vec<IpAddr>,
    /// Its network namespace, as the daemon sees it.
    pub netns: PathBuf,
}

impl Client {
    /// Connects to the socket.
    ///
    /// # Errors
    /// [`ClientError::Connect`].
    pub fn connect(socket: &Path) -> Result<Self, ClientError> {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|e| ClientError::Answer { request: "connect", reason: e.to_string() })?;
        let path = socket.to_owned();
        let connector = service_fn(move |_: Uri| {
            let path = path.clone();
            async move { UnixStream::connect(path).await.map(TokioIo::new) }
        });
        // The address is not used: the connector knows where to go.
        let endpoint = Endpoint::from_static("http://localhost").timeout(TIMEOUT);
        let channel = runtime
            .block_on(endpoint.connect_with_connector(connector))
            .map_err(|source| ClientError::Connect { socket: socket.into(), source })?;
        Ok(Self { runtime, channel })
    }

    fn call<Q, A>(&self, request: &'static str, message: Q) -> Result<A, ClientError>
    where
        Q: Message + Send + Sync + 'static,
        A: Message + Default + Send + Sync + 'static,
    {
        let mut grpc = tonic::client::Grpc::new(self.channel.clone());
        let path = PathAndQuery::try_from(format!("/runtime.v1.RuntimeService/{request}"))
            .map_err(|e| ClientError::Answer { request, reason: e.to_string() })?;
        let refused = |message: String| ClientError::Refused { request, message };
        self.runtime.block_on(async move {
            grpc.ready().await.map_err(|e| refused(e.to_string()))?;
            let answer = grpc.unary(tonic::Request::new(message), path, ProstCodec::default()).await;
            answer.map(tonic::Response::into_inner).map_err(|e| refused(e.message().to_owned()))
        })
    }

    /// What is not ready, in words; nothing when all is.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn not_ready(&self) -> Result<Vec<String>, ClientError> {
        let answer: StatusResponse = self.call("Status", StatusRequest {})?;
        let conditions = answer.status.unwrap_or_default().conditions;
        if conditions.is_empty() {
            return Ok(vec!["the daemon says nothing of itself".into()]);
        }
        let broken = conditions.into_iter().filter(|condition| !condition.status);
        Ok(broken.map(|c| format!("{}: {} {}", c.name, c.reason, c.message)).collect())
    }

    /// Runs a pod.
    ///
    /// # Errors
    /// [`ClientError::Refused`] with the words of the CNI plugin, if it was that.
    pub fn run(&self, config: PodSandboxConfig) -> Result<Sandbox, ClientError> {
        let answer: PodSandboxId =
            self.call("RunPodSandbox", RunPodSandboxRequest { config: Some(config) })?;
        let id = answer.pod_sandbox_id;
        let request = "PodSandboxStatus";
        let status: PodSandboxStatusResponse =
            self.call(request, PodSandboxStatusRequest { pod_sandbox_id: id.clone(), verbose: true })?;
        let answer = |reason: String| ClientError::Answer { request, reason };
        let network = status.status.and_then(|status| status.network).unwrap_or_default();
        let addresses = std::iter::once(network.ip)
            .chain(network.additional_ips.into_iter().map(|ip| ip.ip))
            .map(|text| text.parse().map_err(|e| answer(format!("{text:?}: {e}"))))
            .collect::<Result<_, _>>()?;
        let info = status.info.get("info").map(String::as_str).unwrap_or_default();
        let info: Value = serde_json::from_str(info).map_err(|e| answer(e.to_string()))?;
        let netns = netns(&info).ok_or_else(|| answer(format!("no network namespace in {info}")))?;
        Ok(Sandbox { id, addresses, netns })
    }

    /// The ids of all pods, also of those that could not be run and not be cleaned up.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn list(&self) -> Result<Vec<String>, ClientError> {
        let answer: ListPodSandboxResponse = self.call("ListPodSandbox", ListPodSandboxRequest {})?;
        Ok(answer.items.into_iter().map(|item| item.id).collect())
    }

    /// Stops a pod: the daemon takes its network away.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn stop(&self, id: &str) -> Result<(), ClientError> {
        let Nothing {} = self.call("StopPodSandbox", PodSandboxId { pod_sandbox_id: id.into() })?;
        Ok(())
    }

    /// Removes a pod that was stopped.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn remove(&self, id: &str) -> Result<(), ClientError> {
        let Nothing {} = self.call("RemovePodSandbox", PodSandboxId { pod_sandbox_id: id.into() })?;
        Ok(())
    }
}

/// The path of the network namespace in the runtime specification of the sandbox.
fn netns(info: &Value) -> Option<PathBuf> {
    let namespaces = info.pointer("/runtimeSpec/linux/namespaces")?.as_array()?;
    let network = namespaces.iter().find(|namespace| namespace["type"] == "network")?;
    Some(network["path"].as_str()?.into())
}
