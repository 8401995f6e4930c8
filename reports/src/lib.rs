// SPDX-License-Identifier: Apache-2.0
//! Samples in; statistics, summary, Markdown, one HTML page and the regression gate out.
