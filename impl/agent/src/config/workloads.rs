// SPDX-License-Identifier: Apache-2.0
//! What makes identities, and when policy is enforced.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::Path;

use identity::{FixedIdentities, LabelFilter, PrefixFile};
use policy::EnforcementMode;

use super::{ConfigError, Settings};

/// Largest `--label-prefix-file`, bytes.
const PREFIX_FILE_LIMIT: u64 = 1 << 20;
/// Longest name of a cluster: it is a label's value.
const CLUSTER_NAME_LIMIT: usize = 63;
/// The namespace of the cluster's own components, whose identities are well known.
const COMPONENTS_NAMESPACE: &str = "kube-system";

/// Whether the node reaches its own pods whatever the rules say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AllowLocalhost {
    /// As `Always` where Kubernetes, whose kubelet probes pods, is a source; as `Policy` elsewhere.
    Auto,
    /// It does.
    Always,
    /// Rules decide.
    Policy,
}

/// What makes identities, and when policy is enforced.
#[derive(Clone, Debug)]
pub struct Workloads {
    /// When policy is enforced.
    pub enforcement: EnforcementMode,
    /// Whether the node reaches its pods.
    pub allow_localhost: AllowLocalhost,
    /// Name of the cluster.
    pub cluster_name: String,
    /// Which labels make an identity.
    pub label_filter: LabelFilter,
    /// Identities that need no allocation.
    pub fixed_identities: FixedIdentities,
}

impl Workloads {
    pub(super) fn parse(settings: &Settings) -> Result<Self, ConfigError> {
        let cluster_name = cluster_name(settings)?;
        Ok(Self {
            enforcement: settings.word(
                "enable-policy",
                &[
                    ("default", EnforcementMode::Default),
                    ("always", EnforcementMode::Always),
                    ("never", EnforcementMode::Never),
                ],
            )?,
            allow_localhost: settings.word(
                "allow-localhost",
                &[
                    ("auto", AllowLocalhost::Auto),
                    ("always", AllowLocalhost::Always),
                    ("policy", AllowLocalhost::Policy),
                ],
            )?,
            label_filter: label_filter(settings)?,
            fixed_identities: fixed_identities(settings, &cluster_name)?,
            cluster_name,
        })
    }
}

fn cluster_name(settings: &Settings) -> Result<String, ConfigError> {
    let name = settings.text("cluster-name");
    let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    let inside = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let valid = edge(name.chars().next()) && edge(name.chars().last()) && name.chars().all(inside);
    if !valid || name.len() > CLUSTER_NAME_LIMIT {
        let problem = "must be 1 to 63 letters, digits, '-', '_' or '.', with a letter or digit at both ends";
        return Err(settings.invalid("cluster-name", problem));
    }
    Ok(name.into())
}

fn label_filter(settings: &Settings) -> Result<LabelFilter, ConfigError> {
    const FILE: &str = "label-prefix-file";
    let file = settings.path(FILE)?;
    let file = file.map(|path| prefix_file(&path).map_err(|e| settings.invalid(FILE, e))).transpose()?;
    let named = if file.is_some() { FILE } else { "labels" };
    LabelFilter::new(file, settings.list("labels")).map_err(|e| settings.invalid(named, e.to_string()))
}

fn prefix_file(path: &Path) -> Result<PrefixFile, String> {
    let mut bytes = Vec::new();
    fs::File::open(path)
        .and_then(|file| file.take(PREFIX_FILE_LIMIT + 1).read_to_end(&mut bytes))
        .map_err(|e| e.to_string())?;
    if bytes.len() as u64 > PREFIX_FILE_LIMIT {
        return Err(format!("is larger than {PREFIX_FILE_LIMIT} bytes"));
    }
    serde_json::from_slice(&bytes).map_err(|e| e.to_string())
}

fn fixed_identities(settings: &Settings, cluster: &str) -> Result<FixedIdentities, ConfigError> {
    const NAME: &str = "fixed-identity-mapping";
    let mut fixed = BTreeMap::new();
    for entry in settings.list(NAME) {
        let pair = entry.split_once('=').and_then(|(id, label)| Some((id.parse::<u32>().ok()?, label)));
        let Some((id, label)) = pair else {
            return Err(settings.invalid(NAME, format!("{entry:?} is not ID=LABEL with a number for ID")));
        };
        let label = label.strip_prefix("reserved:").unwrap_or(label);
        if fixed.insert(id, label.to_owned()).is_some() {
            return Err(settings.invalid(NAME, format!("identity {id} is there twice")));
        }
    }
    FixedIdentities::new(cluster, COMPONENTS_NAMESPACE, fixed)
        .map_err(|e| settings.invalid(NAME, e.to_string()))
}
