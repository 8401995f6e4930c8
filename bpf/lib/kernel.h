/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* The kernel's stable headers, and the few words that every other file uses. Nothing here is this machine's:
 * no vmlinux.h. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <linux/bpf.h>
#include <linux/icmpv6.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/pkt_cls.h>
#include <linux/tcp.h>
#include <linux/udp.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>


/* Layouts are the ABI with the Rust twins in impl/maps: a size that changes unnoticed must not compile. */
#define ABI_SIZE(type, size) _Static_assert(sizeof(type) == (size), #type " is an ABI")

#define FAMILY_V4 1
#define FAMILY_V6 2

/* A function that the verifier checks once, by its argument types, whoever calls it and however often: what keeps a program's
 * verification short. The price: pointers may be NULL for it, and results are any number. */
#define GLOBAL __noinline

/* A packet at these hooks begins with its Ethernet header. */
#define L3_OFFSET ETH_HLEN

static __always_inline void copy_ip6(__be32 *to, const __be32 *from)
{
	to[0] = from[0];
	to[1] = from[1];
	to[2] = from[2];
	to[3] = from[3];
}
