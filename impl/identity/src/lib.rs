// SPDX-License-Identifier: Apache-2.0
//! What a workload is: labels, selectors, numeric and reserved identities.
//!
//! Everything here is a value: nothing reads a file, a clock or the kernel.

mod array;
pub mod cidr;
mod entity;
mod label;
mod labels;
pub mod reserved;
mod selector;
mod source;

pub use array::LabelArray;
pub use entity::{CLUSTER_LABEL, Entity, UnknownEntity};
pub use label::{Label, LabelError};
pub use labels::Labels;
pub use selector::{
    EndpointSelector, Expression, Operator, RawExpression, RawSelector, SelectorError, SelectorKey,
};
pub use source::Source;
