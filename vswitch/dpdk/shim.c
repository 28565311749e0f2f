/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "shim.h"

#include <stdio.h>
#include <string.h>

#include <rte_cycles.h>
#include <rte_dev.h>
#include <rte_devargs.h>
#include <rte_errno.h>
#include <rte_lcore.h>
#include <rte_log.h>

uint16_t alkaid_rx_burst(uint16_t port, uint16_t queue, struct rte_mbuf **frames, uint16_t count)
{
	return rte_eth_rx_burst(port, queue, frames, count);
}

uint16_t alkaid_tx_burst(uint16_t port, uint16_t queue, struct rte_mbuf **frames, uint16_t count)
{
	return rte_eth_tx_burst(port, queue, frames, count);
}

struct rte_mbuf *alkaid_mbuf_alloc(struct rte_mempool *pool)
{
	return rte_pktmbuf_alloc(pool);
}

int alkaid_mbuf_alloc_burst(struct rte_mempool *pool, struct rte_mbuf **frames, unsigned count)
{
	return rte_pktmbuf_alloc_bulk(pool, frames, count);
}

void alkaid_mbuf_free(struct rte_mbuf *frame)
{
	rte_pktmbuf_free(frame);
}

int alkaid_mbuf_linearize(struct rte_mbuf *frame)
{
	return rte_pktmbuf_linearize(frame);
}

uint16_t alkaid_mbuf_segment_size(const struct rte_mbuf *frame)
{
	return frame->tso_segsz;
}

void alkaid_mbuf_set_headers(struct rte_mbuf *frame, uint16_t l2, uint16_t l3, uint16_t l4, uint32_t packet_type)
{
	frame->l2_len = l2;
	frame->l3_len = l3;
	frame->l4_len = l4;
	frame->packet_type = packet_type;
}

uint16_t alkaid_pool_data_room(struct rte_mempool *pool)
{
	return rte_pktmbuf_data_room_size(pool);
}

const char *alkaid_arguments(uint16_t port)
{
	struct rte_eth_dev_info info;
	if (rte_eth_dev_info_get(port, &info) != 0 || info.device == NULL)
		return "";
	const struct rte_devargs *devargs = rte_dev_devargs(info.device);
	return devargs == NULL || devargs->args == NULL ? "" : devargs->args;
}

int alkaid_errno(void)
{
	return rte_errno;
}

unsigned alkaid_lcore(void)
{
	return rte_lcore_id();
}

static void flush_cache(struct rte_mempool *pool, void *unused)
{
	(void)unused;
	struct rte_mempool_cache *cache = rte_mempool_default_cache(pool, rte_lcore_id());
	if (cache != NULL)
		rte_mempool_cache_flush(cache, pool);
}

void alkaid_flush_caches(void)
{
	rte_mempool_walk(flush_cache, NULL);
}

static void add_in_use(struct rte_mempool *pool, void *sum)
{
	*(unsigned *)sum += rte_mempool_in_use_count(pool);
}

unsigned alkaid_in_use(void)
{
	unsigned sum = 0;
	rte_mempool_walk(add_in_use, &sum);
	return sum;
}

uint64_t alkaid_tsc(void)
{
	return rte_rdtsc();
}

/* DPDK flushes its log stream after each message, so `text` is whole lines, save for very long ones. */
static ssize_t write_log(void *sink, const char *text, size_t size)
{
	size_t start = 0;
	while (start < size) {
		const char *end = memchr(text + start, '\n', size - start);
		size_t length = end != NULL ? (size_t)(end - text) - start : size - start;
		((alkaid_log_sink)sink)(text + start, length);
		start += length + 1;
	}
	return (ssize_t)size;
}

int alkaid_log_to(alkaid_log_sink sink)
{
	cookie_io_functions_t functions = { .write = write_log };
	FILE *stream = fopencookie((void *)sink, "w", functions);
	if (stream == NULL)
		return -1;
	return rte_openlog_stream(stream);
}
