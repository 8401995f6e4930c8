/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* What a program knows of the packet in its hands. */
#pragma once

#include "kernel.h"

enum hook {
	HOOK_CONTAINER = 1, /* from a pod */
	HOOK_HOST, /* from the node's stack to a pod */
	HOOK_NETDEV, /* from the network */
};

enum shape {
	SHAPE_FLOW = 0,
	SHAPE_ECHO_REQUEST,
	SHAPE_ECHO_REPLY,
	SHAPE_ERROR, /* ICMP error: the tuple is that of the packet that it is about */
};

/* What an answer says of a connection by way of a frontend, whose entry only the client's packets find otherwise. */
enum heard {
	HEARD_NOTHING = 0, /* that was not said before in this tick */
	HEARD_OPEN,
	HEARD_CLOSED,
};

#define TCP_FIN 0x01
#define TCP_SYN 0x02
#define TCP_RST 0x04
#define TCP_ACK 0x10

struct packet {
	__u8 protocol; /* of the tuple */
	__u8 tcp_flags;
	__u8 shape;
	__u8 swapped; /* the tuple's source is end [1] of its conntrack key */
	__u8 hook;
	__u8 status; /* enum ct_status */
	__u8 direction; /* of a drop */
	__u8 via_stack; /* the flow is translated by the node's stack */
	__u32 epoch;
	__u32 monitor;
	__u32 src_sec_id; /* who sent the packet */
	__u32 dst_sec_id; /* whom it is for */
	__u16 from_lxc_id;
	__u16 to_lxc_id;
	__u32 rule;
	__u8 report : 1; /* aggregation: this packet is worth a trace event */
	__u8 heard : 2; /* enum heard */
	__u8 dsr; /* from the network: it said which frontend it was sent to (dsr.h); to it: such a connection's answer */
	__u16 mtu; /* of the way that the packet is too long for */
	__u16 service; /* the frontend that it was sent to; its destination is the backend's already */
	__u16 reverse; /* an answer or an error for whom began: the frontend whose address it must carry */
	__u8 loopback; /* both ends of the connection are one pod */
	__u8 external; /* the network may reach frontends */
	__u8 unmasked; /* had the node's address, and now has that of whom the packet is for */
	__u8 to_pod; /* its destination is in the pods' range */
};
