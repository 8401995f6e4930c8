// SPDX-License-Identifier: Apache-2.0
//! Addresses, ports and prefixes as values; network order is a type.
