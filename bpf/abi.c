/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Never loaded: an object has the types of its maps and constants, and this one those that remain, so that a test can
 * compare each with its Rust twin. */
/* Of the headers only the structs are used. */
#pragma clang diagnostic ignored "-Wunused-function"
#include "policy.h"
#include "events.h"
#include "snat.h"
#include "lb.h"

/* What the headers' functions ask; libbpf opens no object that lacks it. */
const volatile struct lb_config lb_config;

struct {
	struct policy_key policy_key;
	struct policy_entry policy_entry;
	struct snat_key4 snat_key4;
	struct snat_key6 snat_key6;
	struct snat_entry snat_entry;
	struct ct_service ct_service;
	struct lb_config lb_config;
	struct event_header event_header;
	struct drop_event drop_event;
	struct trace_event trace_event;
	struct verdict_event verdict_event;
	struct debug_event debug_event;
} abi;
