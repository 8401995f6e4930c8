// SPDX-License-Identifier: Apache-2.0
//! Load balancing as its owner sees it: objects in, rows out.

mod api;
mod contested;
mod endpoints;
mod frontends;
mod health;
mod limits;
mod objects;
mod random;
mod restart;
mod world;
