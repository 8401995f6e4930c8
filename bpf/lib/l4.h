/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* What IPv4 and IPv6 packets have alike behind their headers. */
#pragma once

#include "kernel.h"
#include "drop.h"

/* What is read of any L4 header: ports, or an ICMP type with its id; the flags are TCP's. */
struct l4 {
	__be16 sport;
	__be16 dport;
	__u8 shape;
	__u8 tcp_flags;
};

/* Ports at offset for every protocol that has them there. */
static __always_inline int l4_load(struct __sk_buff *skb, __u32 offset, __u8 protocol, struct l4 *l4)
{
	if (bpf_skb_load_bytes(skb, offset, l4, 4))
		return DROP_CT_INVALID_HEADER;
	if (protocol == IPPROTO_TCP && bpf_skb_load_bytes(skb, offset + 13, &l4->tcp_flags, 1))
		return DROP_CT_INVALID_HEADER;
	return 0;
}
