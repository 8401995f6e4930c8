// SPDX-License-Identifier: Apache-2.0
//! The process in the guest that runs the plan and sends the record.

use super::guest_port::GuestPort;
use super::message::{Message, ORDERS_PATH, Orders};

/// Runs the plan of the orders and ends with status 0 when the record was sent.
pub fn main() -> ! {
    let rc = match GuestPort::open() {
        Ok(mut port) => {
            let orders = std::fs::read(ORDERS_PATH).map(|o| serde_json::from_slice::<Orders>(&o));
            let text = match orders {
                Ok(Ok(_)) => "this program has no runner".to_owned(),
                other => format!("{other:?}"),
            };
            i32::from(port.send(&Message::Error(text)).is_ok())
        }
        Err(e) => {
            eprintln!("lab guest: open the port to the host: {e}");
            1
        }
    };
    std::process::exit(rc)
}
