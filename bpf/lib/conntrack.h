/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Connection tracking: one entry per connection on the node, for both of its ends (impl/adr/0004). */
#pragma once

#include "kernel.h"

/* End [0] is the smaller (address, port) in network order, so that both directions have one key. ICMP echo: the asking end's
 * port is the id, the answering end's is 0. */
struct ct_key4 {
	__be32 addr[2];
	__be16 port[2];
	__u8 protocol;
	__u8 pad[3];
};
ABI_SIZE(struct ct_key4, 16);

struct ct_key6 {
	__be32 addr[2][4];
	__be16 port[2];
	__u8 protocol;
	__u8 pad[3];
};
ABI_SIZE(struct ct_key6, 40);

#define CT_INITIATOR_IS_1 1
#define CT_TX_CLOSING 2 /* the initiator said FIN */
#define CT_RX_CLOSING 4
#define CT_SEEN_NON_SYN 8
#define CT_REPLY_SEEN 16
#define CT_VIA_STACK 32 /* between two pods, seen at cilium_host: the host's stack translated it, answers must go there too */

struct ct_entry {
	__u64 tx_packets; /* tx: from the initiator */
	__u64 tx_bytes;
	__u64 rx_packets;
	__u64 rx_bytes;
	__u32 lifetime; /* CLOCK_MONOTONIC seconds after which the entry is dead */
	__u32 epoch; /* the verdict is that of this epoch */
	__u32 src_sec_id; /* initiator */
	__u32 dst_sec_id; /* responder */
	__u16 src_lxc_id; /* 0: not a pod of this node */
	__u16 dst_lxc_id;
	__u16 rev_nat_index;
	__u16 flags;
	__u8 tx_flags_seen;
	__u8 rx_flags_seen;
	__u16 pad;
	__u32 last_report; /* seconds; of a trace event, for aggregation */
	__u32 tick; /* clock_tick() when lifetime was last written */
	__u32 pad2;
};
ABI_SIZE(struct ct_entry, 72);
