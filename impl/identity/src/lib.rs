// SPDX-License-Identifier: Apache-2.0
//! What a workload is: labels, selectors, numeric and reserved identities.
//!
//! Everything here is a value: nothing reads a file, a clock or the kernel.

mod allocator;
mod array;
pub mod cidr;
mod entity;
mod filter;
mod label;
mod labels;
mod numeric;
pub mod reserved;
mod selector;
mod source;

pub use allocator::{Acquired, Allocator, AllocatorError};
pub use array::LabelArray;
pub use entity::{CLUSTER_LABEL, Entity, UnknownEntity};
pub use filter::{FilterError, Filtered, LabelFilter, PrefixFile, PrefixFileEntry};
pub use label::{Label, LabelError};
pub use labels::Labels;
pub use numeric::{IdentityRange, NotAnIdentity, NumericIdentity};
pub use reserved::{FixedIdentities, FixedIdentityError, Numbering};
pub use selector::{
    EndpointSelector, Expression, Operator, RawExpression, RawSelector, SelectorError, SelectorKey,
};
pub use source::Source;
