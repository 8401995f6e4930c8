/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* The node's devices: its own traffic to pods, and the network's in both directions. */
#include "kernel.h"
#include "config.h"
#include "runtime.h"
#include "connection.h"
#include "delivery.h"
#include "drop.h"
#include "dsr.h"
#include "lb.h"
#include "masquerade.h"
#include "nat.h"
#include "packet.h"
#include "reject.h"
#include "service.h"
#include "toobig.h"

const volatile struct host_config host_config;
const volatile struct lb_config lb_config;

/* Reads the runtime; false without it, which the kernel's verifier asks for and an array of one never does. */
static __always_inline bool begins(struct packet *packet)
{
	struct runtime_config *runtime = runtime_config();

	if (!runtime)
		return false;
	/* Before every lookup that a verdict comes from: a change in between makes the verdict old, never new by mistake. */
	packet->epoch = *(volatile __u32 *)&runtime->epoch;
	packet->monitor = runtime->monitor;
	packet->external = lb_config.enabled && runtime->lb_external;
	return true;
}

static __always_inline bool is_pod_address4(__be32 addr)
{
	return host_config.pod_mask4 && (addr & host_config.pod_mask4) == host_config.pod_cidr4;
}

static __always_inline bool is_pod_address6(const __be32 *addr)
{
	return host_config.pod_mask6[0] && (addr[0] & host_config.pod_mask6[0]) == host_config.pod_cidr6[0] &&
	       (addr[1] & host_config.pod_mask6[1]) == host_config.pod_cidr6[1] &&
	       (addr[2] & host_config.pod_mask6[2]) == host_config.pod_cidr6[2] &&
	       (addr[3] & host_config.pod_mask6[3]) == host_config.pod_cidr6[3];
}

/* An IPv4 packet's destination, by a load where it is linear, as it mostly is. */
static __always_inline bool destination4(struct __sk_buff *skb, __be32 *daddr)
{
	struct iphdr *ip = (void *)(long)skb->data + L3_OFFSET;

	if (likely((void *)(ip + 1) <= (void *)(long)skb->data_end)) {
		*daddr = ip->daddr;
		return true;
	}
	return !bpf_skb_load_bytes(skb, L3_OFFSET + offsetof(struct iphdr, daddr), daddr, 4);
}

static __always_inline bool destination6(struct __sk_buff *skb, __be32 *daddr)
{
	struct ipv6hdr *ip = (void *)(long)skb->data + L3_OFFSET;

	if (likely((void *)(ip + 1) <= (void *)(long)skb->data_end)) {
		copy_ip6(daddr, ip->daddr.in6_u.u6_addr32);
		return true;
	}
	return !bpf_skb_load_bytes(skb, L3_OFFSET + offsetof(struct ipv6hdr, daddr), daddr, 16);
}

static __always_inline bool is_native4(__be32 addr)
{
	return host_config.native_mask4 && (addr & host_config.native_mask4) == host_config.native_cidr4;
}

static __always_inline bool is_native6(const __be32 *addr)
{
	return host_config.native_mask6[0] && (addr[0] & host_config.native_mask6[0]) == host_config.native_cidr6[0] &&
	       (addr[1] & host_config.native_mask6[1]) == host_config.native_cidr6[1] &&
	       (addr[2] & host_config.native_mask6[2]) == host_config.native_cidr6[2] &&
	       (addr[3] & host_config.native_mask6[3]) == host_config.native_cidr6[3];
}

static __always_inline bool is_masquerade6(const __be32 *addr)
{
	return host_config.masq_ipv6[0] && addr[0] == host_config.masq_ipv6[0] && addr[1] == host_config.masq_ipv6[1] &&
	       addr[2] == host_config.masq_ipv6[2] && addr[3] == host_config.masq_ipv6[3];
}

static __always_inline bool is_masquerade4(__be32 addr)
{
	return host_config.masq_ipv4 && addr == host_config.masq_ipv4;
}

static __always_inline int host_ipv4(struct __sk_buff *skb, struct packet *packet)
{
	struct ct_key4 key = {};
	__be32 daddr[4];
	int reason;

	if (!host_config.enable_ipv4 || !destination4(skb, daddr) || !is_pod_address4(daddr[0]))
		return TC_ACT_OK;
	if (unlikely(packet->monitor))
		trace(skb, packet, TRACE_FROM_HOST);
	reason = parse4(skb, packet, &key);
	if (unlikely(reason))
		return drop(skb, packet, reason);
	reason = connect4(skb, packet, &key, ct_find4(&key), HOOK_HOST);
	if (unlikely(reason))
		return drop(skb, packet, reason);
	if (unlikely(!packet->to_lxc_id))
		return drop(skb, packet, DROP_UNKNOWN_TARGET);
	if (unlikely(packet->reverse)) {
		reason = reverse4(skb, packet, &key);
		if (unlikely(reason))
			return drop(skb, packet, reason);
	}
	return deliver4(skb, packet, HOOK_HOST);
}

static __always_inline int host_ipv6(struct __sk_buff *skb, struct packet *packet)
{
	struct ct_key6 key = {};
	__be32 daddr[4];
	int reason;

	if (!host_config.enable_ipv6 || !destination6(skb, daddr) || !is_pod_address6(daddr))
		return TC_ACT_OK;
	if (unlikely(packet->monitor))
		trace(skb, packet, TRACE_FROM_HOST);
	reason = parse6(skb, packet, &key);
	if (unlikely(reason))
		return drop(skb, packet, reason);
	reason = connect6(skb, packet, &key, ct_find6(&key), HOOK_HOST);
	if (unlikely(reason))
		return drop(skb, packet, reason);
	if (unlikely(!packet->to_lxc_id))
		return drop(skb, packet, DROP_UNKNOWN_TARGET);
	if (unlikely(packet->reverse)) {
		reason = reverse6(skb, packet, &key);
		if (unlikely(reason))
			return drop(skb, packet, reason);
	}
	return deliver6(skb, packet, HOOK_HOST);
}

/* The node's stack sends to pods, or forwards to them: at the egress of cilium_host. */
SEC("tcx/egress")
int from_host(struct __sk_buff *skb)
{
	struct packet packet = { .hook = HOOK_HOST, .direction = DIRECTION_INGRESS };

	if (!begins(&packet))
		return TC_ACT_SHOT;
	switch (skb->protocol) {
	case bpf_htons(ETH_P_IP):
		return host_ipv4(skb, &packet);
	case bpf_htons(ETH_P_IPV6):
		return host_ipv6(skb, &packet);
	default:
		return TC_ACT_OK;
	}
}

/* Not inlined, as other functions of IPv6 here, for the sake of the callers' frames. */
static __noinline bool for_masquerade6(struct __sk_buff *skb)
{
	__be32 daddr[4];

	return destination6(skb, daddr) && is_masquerade6(daddr);
}

/* Is the packet for the address that the node masquerades with? */
static __always_inline bool for_masquerade(struct __sk_buff *skb)
{
	__be32 daddr;

	if (skb->protocol == bpf_htons(ETH_P_IP))
		return destination4(skb, &daddr) && is_masquerade4(daddr);
	return skb->protocol == bpf_htons(ETH_P_IPV6) && for_masquerade6(skb);
}

/* What comes back to the node's address for a pod, or for a client of a frontend whose backend is on another node, gets theirs:
 * MASQUERADE_TO_POD. Otherwise 0 or the reason of a drop. What is not understood is the node's own affair. */
GLOBAL int unmasquerade(struct __sk_buff *skb)
{
	struct snat_packet masked = { .key.direction = SNAT_IN };

	switch (skb->protocol) {
	case bpf_htons(ETH_P_IP):
		if (is_unmapped4(skb, SNAT_IN) || snat_parse4(skb, &masked))
			return 0;
		break;
	case bpf_htons(ETH_P_IPV6):
		if (is_unmapped6(skb, SNAT_IN) || snat_parse6(skb, &masked))
			return 0;
		break;
	default:
		return 0;
	}
	return masquerade_in(skb, &masked);
}

/* To a backend on another node, whose answers must come back here: from the node's address. 0 or the reason of a drop. */
GLOBAL int snat_service(struct __sk_buff *skb, __u32 family)
{
	struct snat_packet masked = { .key.direction = SNAT_OUT };
	struct nat_end to = {};
	int reason, i;

	if (family == FAMILY_V6) {
		for (i = 0; i < 4; i++)
			to.addr[i] = host_config.masq_ipv6[i];
		reason = host_config.masq_ipv6[0] ? snat_parse6(skb, &masked) : DROP_NO_CONFIGURATION;
	} else {
		to.addr[0] = host_config.masq_ipv4;
		reason = host_config.masq_ipv4 ? snat_parse4(skb, &masked) : DROP_NO_CONFIGURATION;
	}
	return reason ? reason : masquerade_out(skb, &masked, &to);
}

/* Is the packet's destination an address of the node? */
GLOBAL int for_node(struct __sk_buff *skb, __u32 family)
{
	struct endpoint_key key = { .family = family };
	struct endpoint_info *info;
	bool there;

	there = family == FAMILY_V6 ? destination6(skb, key.ip6) : destination4(skb, &key.ip4);
	info = bpf_map_lookup_elem(&cilium_lxc, &key);
	return there && info && info->flags & ENDPOINT_HOST;
}

/* 1: its destination is in the pods' range; 0: not; negative: there is none. */
static __noinline int for_pod6(struct __sk_buff *skb)
{
	__be32 daddr[4];

	return destination6(skb, daddr) ? is_pod_address6(daddr) : -1;
}

static __always_inline int for_pod4(struct __sk_buff *skb)
{
	__be32 daddr;

	return destination4(skb, &daddr) ? is_pod_address4(daddr) : -1;
}

/* May a packet for a pod say which frontend it was sent to? Most are plain, and not asked further. */
static __always_inline bool has_options4(struct __sk_buff *skb)
{
	struct iphdr *ip = (void *)(long)skb->data + L3_OFFSET;

	return (void *)(ip + 1) > (void *)(long)skb->data_end || *(__u8 *)ip != 0x45;
}

static __always_inline bool has_options6(struct __sk_buff *skb)
{
	struct ipv6hdr *ip = (void *)(long)skb->data + L3_OFFSET;

	return (void *)(ip + 1) > (void *)(long)skb->data_end || ip->nexthdr == IPPROTO_DSTOPTS;
}

/* Is a backend on another node asked with the client's address? */
static __always_inline bool is_direct(__u8 protocol)
{
	return lb_config.dsr && dsr_is_spoken(protocol);
}

/* How many bytes of a packet that leaves say which frontend it was sent to. */
static __always_inline __u32 words_said(const struct packet *packet, __u32 bytes)
{
	return packet->service && is_direct(packet->protocol) && dsr_is_told(packet) ? bytes : 0;
}

static __always_inline int netdev_ipv4(struct __sk_buff *skb, struct packet *packet, struct ct_key4 *key)
{
	struct ct_entry *entry;
	int reason;

	if (!host_config.enable_ipv4)
		return TC_ACT_OK;
	reason = for_pod4(skb);
	if (reason < 0 || (!reason && !packet->external))
		return TC_ACT_OK;
	packet->to_pod = reason;
	if (packet->to_pod && unlikely(packet->monitor))
		trace(skb, packet, TRACE_FROM_STACK);
	if (lb_config.dsr && packet->to_pod && unlikely(has_options4(skb))) {
		reason = dsr_take4(skb);
		if (reason > 0)
			return drop(skb, packet, reason);
		packet->dsr = !!reason;
	}
	reason = parse4(skb, packet, key);
	if (unlikely(reason))
		return packet->to_pod ? drop(skb, packet, reason) : TC_ACT_OK;
	entry = ct_find4(key);
	if (!packet->to_pod && !packet->unmasked) {
		if (entry ? !service_is_asked(entry, packet) : !is_frontend4(packet, key))
			return TC_ACT_OK;
		reason = service4(skb, packet, key, entry);
		if (unlikely(reason > 0))
			return refuse(skb, packet, reason, FAMILY_V4);
		entry = reason == SERVICE_TRANSLATED ? ct_find4(key) : service_leaves(entry);
		if (!packet->service)
			return TC_ACT_OK;
	}
	reason = connect4(skb, packet, key, entry, HOOK_NETDEV);
	if (unlikely(reason))
		return drop(skb, packet, reason);
	if (unlikely(packet->reverse)) {
		reason = reverse4(skb, packet, key);
		if (unlikely(reason))
			return drop(skb, packet, reason);
	}
	if (lb_config.dsr && unlikely(packet->dsr)) {
		reason = dsr_remember4(skb, packet, key);
		if (reason)
			return drop(skb, packet, reason);
	}
	if (likely(packet->to_lxc_id))
		return deliver4(skb, packet, HOOK_NETDEV);
	if (packet->to_pod)
		return drop(skb, packet, DROP_UNKNOWN_TARGET);
	/* A connection that is no longer known has no frontend to answer for. */
	if (packet->unmasked && !packet->reverse)
		return drop(skb, packet, DROP_NO_SERVICE);
	if (!packet->reverse) {
		if (for_node(skb, FAMILY_V4))
			return deliver_to_stack(skb, packet);
		if (is_direct(key->protocol))
			reason = dsr_is_told(packet) ? dsr_tell4(skb, packet) : 0;
		else
			reason = snat_service(skb, FAMILY_V4);
		if (unlikely(reason))
			return drop(skb, packet, reason);
	}
	return pass_on4(skb, packet, key, words_said(packet, sizeof(struct dsr4)), !is_direct(key->protocol));
}

static __always_inline int netdev_ipv6(struct __sk_buff *skb, struct packet *packet, struct ct_key6 *key)
{
	struct ct_entry *entry;
	int reason;

	if (!host_config.enable_ipv6)
		return TC_ACT_OK;
	reason = for_pod6(skb);
	if (reason < 0 || (!reason && !packet->external))
		return TC_ACT_OK;
	packet->to_pod = reason;
	if (packet->to_pod && unlikely(packet->monitor))
		trace(skb, packet, TRACE_FROM_STACK);
	if (lb_config.dsr && packet->to_pod && unlikely(has_options6(skb))) {
		reason = dsr_take6(skb);
		if (reason > 0)
			return drop(skb, packet, reason);
		packet->dsr = !!reason;
	}
	reason = parse6(skb, packet, key);
	if (unlikely(reason))
		return packet->to_pod ? drop(skb, packet, reason) : TC_ACT_OK;
	entry = ct_find6(key);
	if (!packet->to_pod && !packet->unmasked) {
		if (entry ? !service_is_asked(entry, packet) : !is_frontend6(packet, key))
			return TC_ACT_OK;
		reason = service6(skb, packet, key, entry);
		if (unlikely(reason > 0))
			return refuse(skb, packet, reason, FAMILY_V6);
		entry = reason == SERVICE_TRANSLATED ? ct_find6(key) : service_leaves(entry);
		if (!packet->service)
			return TC_ACT_OK;
	}
	reason = connect6(skb, packet, key, entry, HOOK_NETDEV);
	if (unlikely(reason))
		return drop(skb, packet, reason);
	if (unlikely(packet->reverse)) {
		reason = reverse6(skb, packet, key);
		if (unlikely(reason))
			return drop(skb, packet, reason);
	}
	if (lb_config.dsr && unlikely(packet->dsr)) {
		reason = dsr_remember6(skb, packet, key);
		if (reason)
			return drop(skb, packet, reason);
	}
	if (likely(packet->to_lxc_id))
		return deliver6(skb, packet, HOOK_NETDEV);
	if (packet->to_pod)
		return drop(skb, packet, DROP_UNKNOWN_TARGET);
	/* A connection that is no longer known has no frontend to answer for. */
	if (packet->unmasked && !packet->reverse)
		return drop(skb, packet, DROP_NO_SERVICE);
	if (!packet->reverse) {
		if (for_node(skb, FAMILY_V6))
			return deliver_to_stack(skb, packet);
		if (is_direct(key->protocol))
			reason = dsr_is_told(packet) ? dsr_tell6(skb, packet) : 0;
		else
			reason = snat_service(skb, FAMILY_V6);
		if (unlikely(reason))
			return drop(skb, packet, reason);
	}
	return pass_on6(skb, packet, key, words_said(packet, sizeof(struct dsr6)));
}

/* From the network: at the ingress of a native device. */
SEC("tcx/ingress")
int from_netdev(struct __sk_buff *skb)
{
	struct packet packet = { .hook = HOOK_NETDEV, .direction = DIRECTION_INGRESS };
	/* One memory: two keys would be too much for the frames of all that is called from here. */
	union {
		struct ct_key4 of4;
		struct ct_key6 of6;
	} key = {};
	int reason;

	/* Frames for others, which a promiscuous device or a bridge shows, and broadcasts are not for pods. */
	if (skb->pkt_type != PACKET_HOST)
		return TC_ACT_OK;
	if (!begins(&packet))
		return TC_ACT_SHOT;
	if ((host_config.enable_masquerade || packet.external) && for_masquerade(skb)) {
		reason = unmasquerade(skb);
		if (unlikely(reason > 0))
			return drop(skb, &packet, reason);
		packet.unmasked = reason == MASQUERADE_TO_POD;
	}
	switch (skb->protocol) {
	case bpf_htons(ETH_P_IP):
		return netdev_ipv4(skb, &packet, &key.of4);
	case bpf_htons(ETH_P_IPV6):
		return netdev_ipv6(skb, &packet, &key.of6);
	default:
		return TC_ACT_OK;
	}
}

/* masked: empty, and to: empty, as the caller's, since both families' would not fit the stack. 0 or the reason of a drop. */
static __always_inline int masquerade4(struct __sk_buff *skb, struct snat_packet *masked, struct nat_end *to)
{
	__be32 addr[2]; /* source, destination */
	int reason;

	if (!host_config.masq_ipv4 ||
	    bpf_skb_load_bytes(skb, L3_OFFSET + offsetof(struct iphdr, saddr), addr, sizeof(addr)))
		return 0;
	to->addr[0] = host_config.masq_ipv4;
	if (is_masquerade4(addr[0]))
		return is_unmapped4(skb, SNAT_OUT) || snat_parse4(skb, masked) || !node_needs_mapping(masked) ?
			       0 :
			       masquerade_out(skb, masked, to);
	if (!is_pod_address4(addr[0]) || is_pod_address4(addr[1]) || is_native4(addr[1]))
		return 0;
	reason = snat_parse4(skb, masked);
	return reason ? reason : masquerade_out(skb, masked, to);
}

static __always_inline int masquerade6(struct __sk_buff *skb, struct snat_packet *masked, struct nat_end *to)
{
	__be32 addr[8]; /* source, destination */
	int reason, i;

	if (!host_config.masq_ipv6[0] ||
	    bpf_skb_load_bytes(skb, L3_OFFSET + offsetof(struct ipv6hdr, saddr), addr, sizeof(addr)))
		return 0;
	for (i = 0; i < 4; i++)
		to->addr[i] = host_config.masq_ipv6[i];
	if (is_masquerade6(addr))
		return is_unmapped6(skb, SNAT_OUT) || snat_parse6(skb, masked) || !node_needs_mapping(masked) ?
			       0 :
			       masquerade_out(skb, masked, to);
	if (!is_pod_address6(addr) || is_pod_address6(addr + 4) || is_native6(addr + 4))
		return 0;
	reason = snat_parse6(skb, masked);
	return reason ? reason : masquerade_out(skb, masked, to);
}

/* What the stack has fragmented on its way to a backend, which is asked in the node's name. As masquerade4. */
static __always_inline int snat_piece4(struct __sk_buff *skb, struct snat_packet *masked, struct nat_end *to)
{
	int reason;

	if (skb->protocol != bpf_htons(ETH_P_IP) || !host_config.masq_ipv4)
		return DROP_NO_CONFIGURATION;
	to->addr[0] = host_config.masq_ipv4;
	reason = snat_parse4(skb, masked);
	return reason ? reason : masquerade_out(skb, masked, to);
}

static __noinline int drop_of_netdev(struct __sk_buff *skb, __u32 reason, __u8 direction)
{
	struct packet packet = { .hook = HOOK_NETDEV, .direction = direction };

	return drop(skb, &packet, reason);
}

/* The frontend in whose place a process of this node answers, or 0. */
GLOBAL int host_answers4(struct __sk_buff *skb)
{
	struct packet packet = { .hook = HOOK_HOST };
	struct ct_key4 key = {};
	struct ct_entry *entry;

	if (parse4(skb, &packet, &key))
		return 0;
	entry = ct_find4(&key);
	if (!entry || !entry->rev_nat_index || ct_is_service(entry) ||
	    ct_is_forward(entry, &packet) != (packet.shape == SHAPE_ERROR) || ct_advance(entry, &packet, skb->len) == CT_NEW)
		return 0;
	return entry->rev_nat_index;
}

GLOBAL int host_answers6(struct __sk_buff *skb)
{
	struct packet packet = { .hook = HOOK_HOST };
	struct ct_key6 key = {};
	struct ct_entry *entry;

	if (parse6(skb, &packet, &key))
		return 0;
	entry = ct_find6(&key);
	if (!entry || !entry->rev_nat_index || ct_is_service(entry) ||
	    ct_is_forward(entry, &packet) != (packet.shape == SHAPE_ERROR) || ct_advance(entry, &packet, skb->len) == CT_NEW)
		return 0;
	return entry->rev_nat_index;
}

/* Is a pod of this node the sender? */
static __noinline bool from_pod6(struct __sk_buff *skb)
{
	__be32 saddr[4];

	return !bpf_skb_load_bytes(skb, L3_OFFSET + offsetof(struct ipv6hdr, saddr), saddr, 16) && is_pod_address6(saddr);
}

static __always_inline bool from_pod4(struct __sk_buff *skb)
{
	struct iphdr *ip = (void *)(long)skb->data + L3_OFFSET;

	return (void *)(ip + 1) <= (void *)(long)skb->data_end && is_pod_address4(ip->saddr);
}

/* Of what the node sends itself. */
static __always_inline int host_answers(struct __sk_buff *skb)
{
	struct runtime_config *runtime = runtime_config();

	if (!runtime || !runtime->lb_external)
		return 0;
	if (skb->protocol == bpf_htons(ETH_P_IP) && host_config.enable_ipv4)
		return from_pod4(skb) ? 0 : host_answers4(skb);
	if (skb->protocol == bpf_htons(ETH_P_IPV6) && host_config.enable_ipv6)
		return from_pod6(skb) ? 0 : host_answers6(skb);
	return 0;
}

/* 0 or the reason of a drop. */
static __noinline int answer_as(struct __sk_buff *skb, __u32 service)
{
	__u32 family = skb->protocol == bpf_htons(ETH_P_IP) ? FAMILY_V4 : FAMILY_V6;
	struct nat_end end = {};

	if (!frontend_end(service, family, &end))
		return DROP_NO_SERVICE;
	return family == FAMILY_V4 ? nat4(skb, &end, SNAT_OUT) : nat6(skb, &end, SNAT_OUT);
}

/* To the network: at the egress of a native device. Pods that speak to the world take the node's address. */
SEC("tcx/egress")
int to_netdev(struct __sk_buff *skb)
{
	struct snat_packet masked = { .key.direction = SNAT_OUT };
	struct nat_end to = {};
	int reason = 0;
	__u32 service;

	if (lb_config.enabled) {
		if (skb->mark == MARK_TRANSLATED) {
			skb->mark = 0;
			return TC_ACT_OK;
		}
		if (unlikely(skb->mark == MARK_PIECES)) {
			skb->mark = 0;
			reason = snat_piece4(skb, &masked, &to);
			return unlikely(reason) ? drop_of_netdev(skb, reason, DIRECTION_EGRESS) : TC_ACT_OK;
		}
		service = host_answers(skb);
		if (unlikely(service)) {
			reason = answer_as(skb, service);
			return unlikely(reason) ? drop_of_netdev(skb, reason, DIRECTION_EGRESS) : TC_ACT_OK;
		}
	}
	if (!host_config.enable_masquerade)
		return TC_ACT_OK;
	if (skb->protocol == bpf_htons(ETH_P_IP) && host_config.enable_ipv4)
		reason = masquerade4(skb, &masked, &to);
	else if (skb->protocol == bpf_htons(ETH_P_IPV6) && host_config.enable_ipv6)
		reason = masquerade6(skb, &masked, &to);
	return unlikely(reason) ? drop_of_netdev(skb, reason, DIRECTION_EGRESS) : TC_ACT_OK;
}

char _license[] SEC("license") = "Dual BSD/GPL";
