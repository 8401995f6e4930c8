/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* The node's devices: its own traffic to pods, and the network's in both directions. */
#include "kernel.h"
#include "config.h"
#include "runtime.h"
#include "connection.h"
#include "delivery.h"
#include "drop.h"
#include "lb.h"
#include "masquerade.h"
#include "nat.h"
#include "packet.h"

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

static __always_inline int to_pod4(struct __sk_buff *skb, struct packet *packet, enum hook hook)
{
	struct ct_key4 key = {};
	int reason;

	reason = parse4(skb, packet, &key);
	if (unlikely(reason))
		return drop(skb, packet, reason);
	reason = connect4(skb, packet, &key, ct_find4(&key), hook);
	if (unlikely(reason))
		return drop(skb, packet, reason);
	if (unlikely(packet->reverse)) {
		reason = reverse4(skb, packet, &key);
		if (unlikely(reason))
			return drop(skb, packet, reason);
	}
	if (unlikely(!packet->to_lxc_id))
		return drop(skb, packet, DROP_UNKNOWN_TARGET);
	return deliver4(skb, packet, hook);
}

static __always_inline int to_pod6(struct __sk_buff *skb, struct packet *packet, enum hook hook)
{
	struct ct_key6 key = {};
	int reason;

	reason = parse6(skb, packet, &key);
	if (unlikely(reason))
		return drop(skb, packet, reason);
	reason = connect6(skb, packet, &key, ct_find6(&key), hook);
	if (unlikely(reason))
		return drop(skb, packet, reason);
	if (unlikely(packet->reverse)) {
		reason = reverse6(skb, packet, &key);
		if (unlikely(reason))
			return drop(skb, packet, reason);
	}
	if (unlikely(!packet->to_lxc_id))
		return drop(skb, packet, DROP_UNKNOWN_TARGET);
	return deliver6(skb, packet, hook);
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

/* A packet of HOOK_HOST or HOOK_NETDEV, whatever it is for. */
static __always_inline int pods_traffic(struct __sk_buff *skb, struct packet *packet, enum hook hook, __u32 point)
{
	__be32 daddr[4];

	switch (skb->protocol) {
	case bpf_htons(ETH_P_IP):
		if (!host_config.enable_ipv4 || !destination4(skb, daddr) || !is_pod_address4(daddr[0]))
			return TC_ACT_OK;
		if (unlikely(packet->monitor))
			trace(skb, packet, point);
		return to_pod4(skb, packet, hook);
	case bpf_htons(ETH_P_IPV6):
		if (!host_config.enable_ipv6 || !destination6(skb, daddr) || !is_pod_address6(daddr))
			return TC_ACT_OK;
		if (unlikely(packet->monitor))
			trace(skb, packet, point);
		return to_pod6(skb, packet, hook);
	default:
		return TC_ACT_OK;
	}
}

/* The node's stack sends to pods, or forwards to them: at the egress of cilium_host. */
SEC("tcx/egress")
int from_host(struct __sk_buff *skb)
{
	struct packet packet = { .hook = HOOK_HOST, .direction = DIRECTION_INGRESS };

	if (!begins(&packet))
		return TC_ACT_SHOT;
	return pods_traffic(skb, &packet, HOOK_HOST, TRACE_FROM_HOST);
}

/* What comes back to the node's address for a pod gets the pod's. 0 or the reason of a drop. What is not understood is the
 * node's own affair. */
static __always_inline int unmasquerade(struct __sk_buff *skb)
{
	struct snat_packet masked = { .key.direction = SNAT_IN };
	__be32 daddr[4];
	int reason;

	switch (skb->protocol) {
	case bpf_htons(ETH_P_IP):
		if (!destination4(skb, daddr) || !is_masquerade4(daddr[0]) || is_unmapped4(skb, SNAT_IN) || snat_parse4(skb, &masked))
			return 0;
		break;
	case bpf_htons(ETH_P_IPV6):
		if (!destination6(skb, daddr) || !is_masquerade6(daddr) || is_unmapped6(skb, SNAT_IN) || snat_parse6(skb, &masked))
			return 0;
		break;
	default:
		return 0;
	}
	reason = masquerade_in(skb, &masked);
	return reason == MASQUERADE_TO_POD ? 0 : reason;
}

/* From the network: at the ingress of a native device. */
SEC("tcx/ingress")
int from_netdev(struct __sk_buff *skb)
{
	struct packet packet = { .hook = HOOK_NETDEV, .direction = DIRECTION_INGRESS };
	int reason;

	/* Frames for others, which a promiscuous device or a bridge shows, and broadcasts are not for pods. */
	if (skb->pkt_type != PACKET_HOST)
		return TC_ACT_OK;
	if (!begins(&packet))
		return TC_ACT_SHOT;
	if (host_config.enable_masquerade) {
		reason = unmasquerade(skb);
		if (unlikely(reason))
			return drop(skb, &packet, reason);
	}
	return pods_traffic(skb, &packet, HOOK_NETDEV, TRACE_FROM_STACK);
}

/* masked: empty, and to: empty, as the caller's, since both families' would not fit the stack. 0 or the reason of a drop. */
static __always_inline int masquerade4(struct __sk_buff *skb, struct snat_packet *masked, struct snat_entry *to)
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

static __always_inline int masquerade6(struct __sk_buff *skb, struct snat_packet *masked, struct snat_entry *to)
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

static __noinline int drop_of_netdev(struct __sk_buff *skb, __u32 reason, __u8 direction)
{
	struct packet packet = { .hook = HOOK_NETDEV, .direction = direction };

	return drop(skb, &packet, reason);
}

/* To the network: at the egress of a native device. Pods that speak to the world take the node's address. */
SEC("tcx/egress")
int to_netdev(struct __sk_buff *skb)
{
	struct snat_packet masked = { .key.direction = SNAT_OUT };
	struct snat_entry to = {};
	int reason = 0;

	if (!host_config.enable_masquerade)
		return TC_ACT_OK;
	if (skb->protocol == bpf_htons(ETH_P_IP) && host_config.enable_ipv4)
		reason = masquerade4(skb, &masked, &to);
	else if (skb->protocol == bpf_htons(ETH_P_IPV6) && host_config.enable_ipv6)
		reason = masquerade6(skb, &masked, &to);
	return unlikely(reason) ? drop_of_netdev(skb, reason, DIRECTION_EGRESS) : TC_ACT_OK;
}

char _license[] SEC("license") = "Dual BSD/GPL";
