/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Direct server return: a packet for a backend on another node keeps its client's address and says which frontend it was sent to. The
 * backend's node takes that off again and remembers it, so that the pod's answers go straight to the client, from the frontend.
 * TCP says it with the SYN; other packets of a connection find it remembered. Functions that no program calls, as without this, old
 * kernels verify all the same: hence their first question. */
#pragma once

#include "kernel.h"
#include "conntrack.h"
#include "drop.h"
#include "ipv6.h"
#include "lb.h"
#include "nat.h"
#include "packet.h"
#include "rewrite.h"
#include "snat.h"

/* An IPv4 option: copied into fragments, number 30, for experiments (RFC 4727). */
#define DSR_OPTION4 0x9e
/* And IPv6's: whom it says nothing passes it over. */
#define DSR_OPTION6 0x1e

struct dsr4 {
	__u8 type;
	__u8 length;
	__be16 port;
	__be32 addr;
};

/* A whole header of destination options. */
struct dsr6 {
	__u8 next;
	__u8 units; /* of 8 bytes behind the first 8 */
	__u8 type;
	__u8 length; /* of what follows */
	__be16 port;
	__u16 pad;
	__be32 addr[4];
};

/* One memory, so that one store writes it. */
struct dsr_head4 {
	struct iphdr ip;
	struct dsr4 option;
};

struct dsr_head6 {
	struct ipv6hdr ip;
	struct dsr6 options;
};

#define DSR_TAKEN -1 /* the packet is plain now; skb->cb has the frontend */

static __always_inline bool dsr_is_spoken(__u8 protocol)
{
	return protocol == IPPROTO_TCP || protocol == IPPROTO_UDP;
}

/* Does a packet on its way to a backend say which frontend it was sent to? */
static __always_inline bool dsr_is_told(const struct packet *packet)
{
	if (packet->shape)
		return false;
	return packet->protocol == IPPROTO_UDP || (packet->tcp_flags & (TCP_SYN | TCP_ACK)) == TCP_SYN;
}

/* The first word of an IPv4 header has the lengths, of the header and of the packet. */
static __always_inline void resize4(struct iphdr *ip, __s32 bytes)
{
	__u32 *word = (__u32 *)ip;
	__u32 before = *word;

	ip->ihl += bytes / 4;
	ip->tot_len = bpf_htons(bpf_ntohs(ip->tot_len) + bytes);
	ip->check = check_replace(ip->check, before, *word);
}

/* The frontend is told in the packet. 0 or the reason of a drop. */
GLOBAL int dsr_tell4(struct __sk_buff *skb, const struct packet *packet)
{
	struct dsr_head4 head = {};
	struct nat_end end = {};
	__u32 *option = (__u32 *)&head.option;

	if (!lb_config.dsr || !packet || bpf_skb_load_bytes(skb, L3_OFFSET, &head.ip, sizeof(head.ip)))
		return DROP_INVALID;
	if (!frontend_end(packet->service, FAMILY_V4, &end))
		return DROP_NO_SERVICE;
	if (head.ip.ihl > 15 - sizeof(head.option) / 4 || bpf_ntohs(head.ip.tot_len) > 0xffff - sizeof(head.option))
		return DROP_TOO_BIG;
	head.option.type = DSR_OPTION4;
	head.option.length = sizeof(head.option);
	head.option.port = end.port;
	head.option.addr = end.addr[0];
	resize4(&head.ip, sizeof(head.option));
	head.ip.check = check_replace(check_replace(head.ip.check, 0, option[0]), 0, option[1]);
	/* The header sums up to nothing before and after: a device's sum of the packet stays right. */
	if (bpf_skb_adjust_room(skb, sizeof(head.option), BPF_ADJ_ROOM_NET, BPF_F_ADJ_ROOM_FIXED_GSO) ||
	    bpf_skb_store_bytes(skb, L3_OFFSET, &head, sizeof(head), 0))
		return DROP_WRITE_ERROR;
	return 0;
}

GLOBAL int dsr_tell6(struct __sk_buff *skb, const struct packet *packet)
{
	struct dsr_head6 head = {};
	struct nat_end end = {};

	if (!lb_config.dsr || !packet || bpf_skb_load_bytes(skb, L3_OFFSET, &head.ip, sizeof(head.ip)))
		return DROP_INVALID;
	if (!frontend_end(packet->service, FAMILY_V6, &end))
		return DROP_NO_SERVICE;
	/* Hop-by-hop options stand first, or nobody takes them. */
	if (head.ip.nexthdr == IPPROTO_HOPOPTS)
		return DROP_INVALID_EXTENSION_HEADER;
	if (bpf_ntohs(head.ip.payload_len) > 0xffff - sizeof(head.options))
		return DROP_TOO_BIG;
	head.options.next = head.ip.nexthdr;
	head.options.units = sizeof(head.options) / 8 - 1;
	head.options.type = DSR_OPTION6;
	head.options.length = sizeof(head.options) - offsetof(struct dsr6, port);
	head.options.port = end.port;
	copy_ip6(head.options.addr, end.addr);
	head.ip.nexthdr = IPPROTO_DSTOPTS;
	head.ip.payload_len = bpf_htons(bpf_ntohs(head.ip.payload_len) + sizeof(head.options));
	if (bpf_skb_adjust_room(skb, sizeof(head.options), BPF_ADJ_ROOM_NET, BPF_F_ADJ_ROOM_FIXED_GSO) ||
	    bpf_skb_store_bytes(skb, L3_OFFSET, &head, sizeof(head), BPF_F_RECOMPUTE_CSUM))
		return DROP_WRITE_ERROR;
	return 0;
}

/* May the network say so? A frontend that is known here must be an external one; what is not can be another node's NodePort. */
static __always_inline bool dsr_is_believed(const struct lb_frontend *frontend, __be16 port)
{
	__u16 number = bpf_ntohs(port);

	if (frontend)
		return frontend->flags & LB_EXTERNAL;
	return number >= lb_config.node_port_min && number <= lb_config.node_port_max;
}

/* What a packet for a pod says of its frontend goes from the packet into skb->cb, which this program alone reads. 0: it says nothing;
 * DSR_TAKEN; or the reason of a drop. */
GLOBAL int dsr_take4(struct __sk_buff *skb)
{
	struct dsr_head4 head = {};
	struct lb4_key key = {};
	__u32 *option = (__u32 *)&head.option;

	if (!lb_config.dsr || bpf_skb_load_bytes(skb, L3_OFFSET, &head, sizeof(head)) || head.ip.ihl <= 5 || head.option.type != DSR_OPTION4)
		return 0;
	if (head.ip.ihl < sizeof(head) / 4 || head.option.length != sizeof(head.option) || !dsr_is_spoken(head.ip.protocol) ||
	    bpf_ntohs(head.ip.tot_len) < sizeof(head))
		return DROP_INVALID;
	key.addr = head.option.addr;
	key.port = head.option.port;
	key.protocol = head.ip.protocol;
	if (!dsr_is_believed(bpf_map_lookup_elem(&cilium_lb4_services_v2, &key), key.port))
		return DROP_INVALID;
	resize4(&head.ip, -(__s32)sizeof(head.option));
	head.ip.check = check_replace(check_replace(head.ip.check, option[0], 0), option[1], 0);
	if (bpf_skb_adjust_room(skb, -(__s32)sizeof(head.option), BPF_ADJ_ROOM_NET, BPF_F_ADJ_ROOM_FIXED_GSO) ||
	    bpf_skb_store_bytes(skb, L3_OFFSET, &head.ip, sizeof(head.ip), BPF_F_RECOMPUTE_CSUM))
		return DROP_WRITE_ERROR;
	skb->cb[0] = key.addr;
	skb->cb[1] = skb->cb[2] = skb->cb[3] = 0;
	skb->cb[4] = key.port;
	return DSR_TAKEN;
}

GLOBAL int dsr_take6(struct __sk_buff *skb)
{
	struct dsr_head6 head = {};
	struct lb6_key key = {};
	struct ip6_walk walk = { .offset = L3_OFFSET + sizeof(head) };

	if (!lb_config.dsr || bpf_skb_load_bytes(skb, L3_OFFSET, &head, sizeof(head)) || head.ip.nexthdr != IPPROTO_DSTOPTS ||
	    head.options.type != DSR_OPTION6)
		return 0;
	walk.protocol = head.options.next;
	if (head.options.units != sizeof(head.options) / 8 - 1 ||
	    head.options.length != sizeof(head.options) - offsetof(struct dsr6, port) || head.options.pad ||
	    bpf_ntohs(head.ip.payload_len) < sizeof(head.options) || ip6_walk(skb, &walk) || !dsr_is_spoken(walk.protocol))
		return DROP_INVALID;
	copy_ip6(key.addr, head.options.addr);
	key.port = head.options.port;
	key.protocol = walk.protocol;
	if (!dsr_is_believed(bpf_map_lookup_elem(&cilium_lb6_services_v2, &key), key.port))
		return DROP_INVALID;
	head.ip.nexthdr = head.options.next;
	head.ip.payload_len = bpf_htons(bpf_ntohs(head.ip.payload_len) - sizeof(head.options));
	if (bpf_skb_adjust_room(skb, -(__s32)sizeof(head.options), BPF_ADJ_ROOM_NET, BPF_F_ADJ_ROOM_FIXED_GSO) ||
	    bpf_skb_store_bytes(skb, L3_OFFSET, &head.ip, sizeof(head.ip), BPF_F_RECOMPUTE_CSUM))
		return DROP_WRITE_ERROR;
	skb->cb[0] = key.addr[0];
	skb->cb[1] = key.addr[1];
	skb->cb[2] = key.addr[2];
	skb->cb[3] = key.addr[3];
	skb->cb[4] = key.port;
	return DSR_TAKEN;
}

/* Does the packet open what it says a frontend of? Nobody changes the frontend of a connection that goes on. */
static __always_inline int dsr_mark(struct ct_entry *entry, const struct packet *packet)
{
	if (!dsr_is_told(packet))
		return DROP_INVALID;
	if (!entry || !ct_is_forward(entry, packet))
		return DROP_INVALID;
	if (packet->protocol == IPPROTO_TCP && entry->flags & CT_SEEN_NON_SYN)
		return DSR_TAKEN;
	entry->rev_nat_index = CT_DSR_INDEX;
	entry->flags |= CT_DSR;
	return 0;
}

static __always_inline void dsr_mapping(struct __sk_buff *skb, struct snat_entry *mapping, __u8 protocol)
{
	mapping->addr[0] = skb->cb[0];
	mapping->addr[1] = skb->cb[1];
	mapping->addr[2] = skb->cb[2];
	mapping->addr[3] = skb->cb[3];
	mapping->port = skb->cb[4];
	mapping->lifetime = clock_seconds() + snat_lifetime(protocol);
	mapping->tick = clock_tick();
}

/* A packet that may pass has said which frontend it was sent to: its connection is marked, and the pod's answers have a mapping. The keys
 * are copied: the verifier of Linux 6.1 takes none from the memory that a global function was given. 0 or the reason of a drop. */
GLOBAL int dsr_remember4(struct __sk_buff *skb, const struct packet *packet, const struct ct_key4 *key)
{
	struct snat_key4 answer = { .direction = SNAT_OUT };
	struct snat_entry mapping = {};
	struct ct_key4 own;
	int reason;

	if (!lb_config.dsr || !packet || !key)
		return DROP_INVALID;
	own = *key;
	reason = dsr_mark(ct_find4(&own), packet);
	if (reason)
		return reason == DSR_TAKEN ? 0 : reason;
	dsr_mapping(skb, &mapping, own.protocol);
	answer.saddr = packet->swapped ? own.addr[0] : own.addr[1];
	answer.daddr = packet->swapped ? own.addr[1] : own.addr[0];
	answer.sport = packet->swapped ? own.port[0] : own.port[1];
	answer.dport = packet->swapped ? own.port[1] : own.port[0];
	answer.protocol = own.protocol;
	return bpf_map_update_elem(&cilium_snat_v4_external, &answer, &mapping, BPF_ANY) ? DROP_CT_INSERT : 0;
}

GLOBAL int dsr_remember6(struct __sk_buff *skb, const struct packet *packet, const struct ct_key6 *key)
{
	struct snat_key6 answer = { .direction = SNAT_OUT };
	struct snat_entry mapping = {};
	struct ct_key6 own;
	int reason;

	if (!lb_config.dsr || !packet || !key)
		return DROP_INVALID;
	own = *key;
	reason = dsr_mark(ct_find6(&own), packet);
	if (reason)
		return reason == DSR_TAKEN ? 0 : reason;
	dsr_mapping(skb, &mapping, own.protocol);
	if (packet->swapped) {
		copy_ip6(answer.saddr, own.addr[0]);
		copy_ip6(answer.daddr, own.addr[1]);
	} else {
		copy_ip6(answer.saddr, own.addr[1]);
		copy_ip6(answer.daddr, own.addr[0]);
	}
	answer.sport = packet->swapped ? own.port[0] : own.port[1];
	answer.dport = packet->swapped ? own.port[1] : own.port[0];
	answer.protocol = own.protocol;
	return bpf_map_update_elem(&cilium_snat_v6_external, &answer, &mapping, BPF_ANY) ? DROP_CT_INSERT : 0;
}
