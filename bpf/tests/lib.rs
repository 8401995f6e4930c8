// SPDX-License-Identifier: Apache-2.0
//! Packets through the datapath's programs.
