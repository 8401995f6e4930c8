/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Delivery: into a pod, or to the node's stack. */
#pragma once

#include "kernel.h"
#include "conntrack.h"
#include "drop.h"
#include "endpoint.h"
#include "ipcache.h"
#include "lb.h"
#include "metrics.h"
#include "packet.h"
#include "trace.h"

/* As two aligned words of the ABI allow: 12 bytes, destination then source. */
static __always_inline void write_macs(struct ethhdr *eth, const struct lxc_row *row)
{
	__builtin_memcpy(eth->h_dest, row->mac, ETH_ALEN);
	__builtin_memcpy(eth->h_source, row->node_mac, ETH_ALEN);
}

/* The rest of the way is the node's stack: routing, its own sockets, what it answers to an expired TTL. */
static __always_inline int deliver_to_stack(struct __sk_buff *skb, struct packet *packet)
{
	metrics_count(REASON_FORWARDED, DIRECTION_EGRESS, skb->len);
	if (unlikely(packet->monitor))
		trace(skb, packet, packet->dst_sec_id == IDENTITY_HOST ? TRACE_TO_HOST : TRACE_TO_STACK);
	return TC_ACT_OK;
}

/* A pod's device on the node, or straight through it. The node's stack has already counted the hop for what it sends. */
static __always_inline int deliver_to_device(struct __sk_buff *skb, struct packet *packet, const struct lxc_row *row,
					     enum hook hook)
{
	metrics_count(REASON_FORWARDED, DIRECTION_INGRESS, skb->len);
	if (unlikely(packet->monitor))
		trace(skb, packet, TRACE_TO_ENDPOINT);
	return hook == HOOK_HOST ? bpf_redirect(row->ifindex, 0) : bpf_redirect_peer(row->ifindex, 0);
}

/* Headers beyond the linear part: make them linear, then look again. Returns whether the first size bytes are there. */
static __noinline bool pull(struct __sk_buff *skb, __u32 size)
{
	return !bpf_skb_pull_data(skb, size);
}

static __always_inline int deliver4(struct __sk_buff *skb, struct packet *packet, enum hook hook)
{
	struct lxc_row *row;
	void *data, *end;
	struct iphdr *ip;
	__u32 check;

	if (!packet->to_lxc_id || packet->via_stack)
		return deliver_to_stack(skb, packet);
	row = endpoint_row(packet->to_lxc_id);
	if (unlikely(!row))
		return drop(skb, packet, DROP_NO_CONTAINER);
	data = (void *)(long)skb->data;
	end = (void *)(long)skb->data_end;
	ip = data + L3_OFFSET;
	if (unlikely((void *)(ip + 1) > end)) {
		if (!pull(skb, L3_OFFSET + sizeof(*ip)))
			return drop(skb, packet, DROP_WRITE_ERROR);
		data = (void *)(long)skb->data;
		end = (void *)(long)skb->data_end;
		ip = data + L3_OFFSET;
		if ((void *)(ip + 1) > end)
			return drop(skb, packet, DROP_WRITE_ERROR);
	}
	if (hook != HOOK_HOST) {
		/* The stack answers "time exceeded", with its limit of how often. */
		if (unlikely(ip->ttl <= 1))
			return deliver_to_stack(skb, packet);
		/* RFC 1624 for one less in the word's high byte. */
		check = (__u32)ip->check + bpf_htons(0x0100);
		ip->check = check + (check >= 0xffff);
		ip->ttl--;
	}
	write_macs(data, row);
	return deliver_to_device(skb, packet, row, hook);
}

static __always_inline int deliver6(struct __sk_buff *skb, struct packet *packet, enum hook hook)
{
	struct lxc_row *row;
	struct ipv6hdr *ip;
	void *data, *end;

	if (!packet->to_lxc_id || packet->via_stack)
		return deliver_to_stack(skb, packet);
	row = endpoint_row(packet->to_lxc_id);
	if (unlikely(!row))
		return drop(skb, packet, DROP_NO_CONTAINER);
	data = (void *)(long)skb->data;
	end = (void *)(long)skb->data_end;
	ip = data + L3_OFFSET;
	if (unlikely((void *)(ip + 1) > end)) {
		if (!pull(skb, L3_OFFSET + sizeof(*ip)))
			return drop(skb, packet, DROP_WRITE_ERROR);
		data = (void *)(long)skb->data;
		end = (void *)(long)skb->data_end;
		ip = data + L3_OFFSET;
		if ((void *)(ip + 1) > end)
			return drop(skb, packet, DROP_WRITE_ERROR);
	}
	if (hook != HOOK_HOST) {
		if (unlikely(ip->hop_limit <= 1))
			return deliver_to_stack(skb, packet);
		/* A network device may have summed the whole packet, of which this header is a part. */
		if (hook == HOOK_NETDEV)
			bpf_csum_update(skb, (__u16)~bpf_htons(0x0001));
		ip->hop_limit--;
	}
	write_macs(data, row);
	return deliver_to_device(skb, packet, row, hook);
}

/* A connection that began, or now goes on, by way of a frontend. */
static __always_inline void packet_reads_service(struct packet *packet, struct ct_entry *entry, bool to_responder)
{
	if (!to_responder) {
		packet->reverse = entry->rev_nat_index;
		packet->loopback = !!(entry->flags & CT_LOOPBACK);
		if (lb_config.dsr)
			packet->dsr = !!(entry->flags & CT_DSR);
	} else if (entry->rev_nat_index != packet->service && packet->shape != SHAPE_ERROR) {
		/* Of TCP the way is kept that came first. That of two frontends is seen to before (service_is_taken): here another is the same
		 * frontend, with another id by now. */
		if (packet->protocol == IPPROTO_TCP && !packet->service && !packet->dsr && !ct_is_closed(entry))
			return;
		if (lb_config.dsr && entry->flags & CT_DSR) {
			/* Of TCP, only the packet that opens says it. */
			if (packet->dsr || (packet->protocol == IPPROTO_TCP && entry->flags & CT_SEEN_NON_SYN))
				return;
			entry->flags &= ~CT_DSR;
		}
		/* A client that reaches one backend by two ways from one port is answered by the way that it took last. */
		entry->rev_nat_index = packet->service;
	}
}

/* The fast path's knowledge, from the entry: where to, and for events who. */
static __always_inline void packet_reads_entry(struct packet *packet, struct ct_entry *entry, enum hook hook)
{
	bool to_responder = ct_is_forward(entry, packet) != (packet->shape == SHAPE_ERROR);

	packet->to_lxc_id = to_responder ? entry->dst_lxc_id : entry->src_lxc_id;
	packet->from_lxc_id = to_responder ? entry->src_lxc_id : entry->dst_lxc_id;
	packet->via_stack = !!(entry->flags & CT_VIA_STACK) && hook == HOOK_CONTAINER;
	if (unlikely(entry->rev_nat_index | packet->service))
		packet_reads_service(packet, entry, to_responder);
	if (unlikely(packet->monitor)) {
		packet->src_sec_id = to_responder ? entry->src_sec_id : entry->dst_sec_id;
		packet->dst_sec_id = to_responder ? entry->dst_sec_id : entry->src_sec_id;
		packet->report = ct_report_is_due(entry, packet);
	}
}
