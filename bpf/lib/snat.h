/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Masquerade: pods that speak to the world speak with the node's address. */
#pragma once

#include "kernel.h"

#define SNAT_OUT 0 /* key: the packet as the pod sends it; entry: the source it leaves with */
#define SNAT_IN 1 /* key: the packet as the remote answers it; entry: the destination it is for */

struct snat_key4 {
	__be32 saddr;
	__be32 daddr;
	__be16 sport;
	__be16 dport;
	__u8 protocol;
	__u8 direction;
	__u8 pad[2];
};
ABI_SIZE(struct snat_key4, 16);

struct snat_key6 {
	__be32 saddr[4];
	__be32 daddr[4];
	__be16 sport;
	__be16 dport;
	__u8 protocol;
	__u8 direction;
	__u8 pad[2];
};
ABI_SIZE(struct snat_key6, 40);

/* addr: 4 words; an IPv4 address is the first. */
struct snat_entry {
	__be32 addr[4];
	__be16 port;
	__u16 pad;
	__u32 lifetime; /* CLOCK_MONOTONIC seconds */
	__u32 tick;
	__u32 pad2;
};
ABI_SIZE(struct snat_entry, 32);
