/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* The node's devices: its own traffic to pods, and the network's in both directions. */
#include "kernel.h"
#include "config.h"
#include "runtime.h"
#include "connection.h"
#include "delivery.h"
#include "drop.h"
#include "packet.h"

const volatile struct host_config host_config;

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

/* Destination of an IPv4 packet; 0 if there is none. */
static __always_inline __be32 destination4(struct __sk_buff *skb)
{
	__be32 daddr = 0;

	bpf_skb_load_bytes(skb, L3_OFFSET + offsetof(struct iphdr, daddr), &daddr, sizeof(daddr));
	return daddr;
}

static __always_inline int to_pod4(struct __sk_buff *skb, struct packet *packet, enum hook hook)
{
	struct ct_key4 key;
	int reason;

	reason = parse4(skb, packet, &key);
	if (unlikely(reason))
		return drop(skb, packet, reason);
	reason = connect4(skb, packet, &key, hook);
	if (unlikely(reason))
		return drop(skb, packet, reason);
	if (unlikely(!packet->to_lxc_id))
		return drop(skb, packet, DROP_UNKNOWN_TARGET);
	return deliver4(skb, packet, hook);
}

static __always_inline int to_pod6(struct __sk_buff *skb, struct packet *packet, enum hook hook)
{
	struct ct_key6 key;
	int reason;

	reason = parse6(skb, packet, &key);
	if (unlikely(reason))
		return drop(skb, packet, reason);
	reason = connect6(skb, packet, &key, hook);
	if (unlikely(reason))
		return drop(skb, packet, reason);
	if (unlikely(!packet->to_lxc_id))
		return drop(skb, packet, DROP_UNKNOWN_TARGET);
	return deliver6(skb, packet, hook);
}

static __always_inline int pods_traffic(struct __sk_buff *skb, enum hook hook, __u32 from)
{
	struct packet packet = { .hook = hook, .direction = DIRECTION_INGRESS };
	__be32 addr[4];

	if (!begins(&packet))
		return TC_ACT_SHOT;
	switch (skb->protocol) {
	case bpf_htons(ETH_P_IP):
		if (!host_config.enable_ipv4 || !is_pod_address4(destination4(skb)))
			return TC_ACT_OK;
		if (unlikely(packet.monitor))
			trace(skb, &packet, from);
		return to_pod4(skb, &packet, hook);
	case bpf_htons(ETH_P_IPV6):
		if (!host_config.enable_ipv6 ||
		    bpf_skb_load_bytes(skb, L3_OFFSET + offsetof(struct ipv6hdr, daddr), addr, sizeof(addr)) ||
		    !is_pod_address6(addr))
			return TC_ACT_OK;
		if (unlikely(packet.monitor))
			trace(skb, &packet, from);
		return to_pod6(skb, &packet, hook);
	default:
		return TC_ACT_OK;
	}
}

/* The node's stack sends to pods, or forwards to them: at the egress of cilium_host. */
SEC("tcx/egress")
int from_host(struct __sk_buff *skb)
{
	return pods_traffic(skb, HOOK_HOST, TRACE_FROM_HOST);
}

/* From the network: at the ingress of a native device. */
SEC("tcx/ingress")
int from_netdev(struct __sk_buff *skb)
{
	/* Frames for others, which a promiscuous device or a bridge shows, and broadcasts are not for pods. */
	if (skb->pkt_type != PACKET_HOST)
		return TC_ACT_OK;
	return pods_traffic(skb, HOOK_NETDEV, TRACE_FROM_STACK);
}

char _license[] SEC("license") = "Dual BSD/GPL";
