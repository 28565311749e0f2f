/* SPDX-License-Identifier: MIT
 * DPDK's static inlines, thread-local variables and macros as functions and constants that Rust can call.
 * A call costs about 1 ns, so on the packet path there is one per burst, never one per packet.
 */
#ifndef ALKAID_SHIM_H
#define ALKAID_SHIM_H

#include <rte_ethdev.h>
#include <rte_mbuf.h>
#include <rte_mempool.h>
#include <rte_vhost.h>

/* rte_eth_rx_burst and rte_eth_tx_burst, which also call what is hooked to the queue (packet capture). */
uint16_t alkaid_rx_burst(uint16_t port, uint16_t queue, struct rte_mbuf **frames, uint16_t count);
uint16_t alkaid_tx_burst(uint16_t port, uint16_t queue, struct rte_mbuf **frames, uint16_t count);

/* A fresh mbuf, or NULL when the pool is empty. */
struct rte_mbuf *alkaid_mbuf_alloc(struct rte_mempool *pool);
/* So many fresh mbufs: 0, or an error and none. */
int alkaid_mbuf_alloc_burst(struct rte_mempool *pool, struct rte_mbuf **frames, unsigned count);
/* Frees this segment and those behind it. */
void alkaid_mbuf_free(struct rte_mbuf *frame);
/* Moves all bytes into the first segment: 0, or -1 (and no change) when they do not fit. */
int alkaid_mbuf_linearize(struct rte_mbuf *frame);
/* The payload of each TCP segment that the frame is to become, in bytes. */
uint16_t alkaid_mbuf_segment_size(const struct rte_mbuf *frame);
/* Sets the size of the headers and what is in them: what a device goes by that finishes a frame. */
void alkaid_mbuf_set_headers(struct rte_mbuf *frame, uint16_t l2, uint16_t l3, uint16_t l4, uint32_t packet_type);
/* The bytes a buffer of this pool holds, headroom included. */
uint16_t alkaid_pool_data_room(struct rte_mempool *pool);

/* What the port's device was attached with behind its name; "" for nothing. */
const char *alkaid_arguments(uint16_t port);

/* The calling thread's rte_errno. */
int alkaid_errno(void);
/* The calling thread's lcore number, ALKAID_LCORE_ANY if it has none. */
unsigned alkaid_lcore(void);
/* Returns the mbufs that the calling thread's caches hold to their pools. */
void alkaid_flush_caches(void);
/* Buffers of all pools that are not in their pool. */
unsigned alkaid_in_use(void);
/* The time-stamp counter. */
uint64_t alkaid_tsc(void);

/* A line of DPDK's log, without its end of line. */
typedef void (*alkaid_log_sink)(const char *line, size_t length);
/* Sends DPDK's log to `sink`, instead of stdout and syslog. 0, or -1 with errno. Call once. */
int alkaid_log_to(alkaid_log_sink sink);

/* Features: frames without TCP or UDP checksums are taken, and TCP over IPv4 or IPv6 that is to be cut. */
static const uint64_t ALKAID_GUEST_CSUM = 1ULL << 1;
static const uint64_t ALKAID_GUEST_TSO4 = 1ULL << 7;
static const uint64_t ALKAID_GUEST_TSO6 = 1ULL << 8;
/* Features: guests may leave TCP over IPv4 and IPv6 to be cut, and UDP; any of what they may leave, checksums and ECN in segments too. */
static const uint64_t ALKAID_HOST_TSO = 1ULL << 11 | 1ULL << 12;
static const uint64_t ALKAID_HOST_UFO = 1ULL << 14;
static const uint64_t ALKAID_HOST_ANY = 1ULL << 0 | 1ULL << 11 | 1ULL << 12 | 1ULL << 13 | 1ULL << 14;

/* The feature that a guest may use several pairs of virtqueues. */
static const uint64_t ALKAID_MQ = 1ULL << 22;

/* Features: a ring of the newer form, addresses that an IOMMU maps, a log of what is written; and two that add to the header. */
static const uint64_t ALKAID_RING_PACKED = 1ULL << 34;
static const uint64_t ALKAID_IOMMU_PLATFORM = 1ULL << 33;
static const uint64_t ALKAID_LOG_ALL = 1ULL << 26;
static const uint64_t ALKAID_MRG_RXBUF = 1ULL << 15;
static const uint64_t ALKAID_VERSION_1 = 1ULL << 32;

/* Macros that bindgen does not evaluate. */
static const uint64_t ALKAID_VHOST_CLIENT = RTE_VHOST_USER_CLIENT;
static const uint64_t ALKAID_VHOST_IOMMU = RTE_VHOST_USER_IOMMU_SUPPORT;
static const uint64_t ALKAID_VHOST_POSTCOPY = RTE_VHOST_USER_POSTCOPY_SUPPORT;
static const uint64_t ALKAID_VHOST_LINEARBUF = RTE_VHOST_USER_LINEARBUF_SUPPORT;
static const uint64_t ALKAID_VHOST_COMPLIANT_OL_FLAGS = RTE_VHOST_USER_NET_COMPLIANT_OL_FLAGS;
static const unsigned ALKAID_LCORE_ANY = LCORE_ID_ANY;
static const uint64_t ALKAID_NO_OWNER = RTE_ETH_DEV_NO_OWNER;
static const uint32_t ALKAID_OWNER_NAME_LEN = RTE_ETH_MAX_OWNER_NAME_LEN;
/* The longest name of a mempool, its terminator included. */
static const uint32_t ALKAID_POOL_NAME_SIZE = RTE_MEMPOOL_NAMESIZE;
static const uint16_t ALKAID_HEADROOM = RTE_PKTMBUF_HEADROOM;
static const uint64_t ALKAID_RX_IP_CKSUM_MASK = RTE_MBUF_F_RX_IP_CKSUM_MASK;
static const uint64_t ALKAID_RX_IP_CKSUM_GOOD = RTE_MBUF_F_RX_IP_CKSUM_GOOD;
static const uint64_t ALKAID_RX_IP_CKSUM_BAD = RTE_MBUF_F_RX_IP_CKSUM_BAD;
static const uint64_t ALKAID_RX_OUTER_IP_CKSUM_BAD = RTE_MBUF_F_RX_OUTER_IP_CKSUM_BAD;
static const uint64_t ALKAID_RX_CKSUM_FLAGS = RTE_MBUF_F_RX_IP_CKSUM_MASK | RTE_MBUF_F_RX_L4_CKSUM_MASK |
	RTE_MBUF_F_RX_OUTER_IP_CKSUM_BAD | RTE_MBUF_F_RX_OUTER_L4_CKSUM_MASK;
static const uint64_t ALKAID_RX_L4_CKSUM_MASK = RTE_MBUF_F_RX_L4_CKSUM_MASK;
static const uint64_t ALKAID_RX_L4_CKSUM_NONE = RTE_MBUF_F_RX_L4_CKSUM_NONE;
static const uint64_t ALKAID_RX_LRO = RTE_MBUF_F_RX_LRO;
static const uint64_t ALKAID_TX_L4_MASK = RTE_MBUF_F_TX_L4_MASK;
static const uint64_t ALKAID_TX_TCP_CKSUM = RTE_MBUF_F_TX_TCP_CKSUM;
static const uint64_t ALKAID_TX_UDP_CKSUM = RTE_MBUF_F_TX_UDP_CKSUM;
static const uint64_t ALKAID_TX_TCP_SEG = RTE_MBUF_F_TX_TCP_SEG;
static const uint64_t ALKAID_TX_UDP_SEG = RTE_MBUF_F_TX_UDP_SEG;
static const uint64_t ALKAID_TX_IPV4 = RTE_MBUF_F_TX_IPV4;
static const uint64_t ALKAID_TX_IPV6 = RTE_MBUF_F_TX_IPV6;
static const uint64_t ALKAID_TX_FLAGS = RTE_MBUF_F_TX_OFFLOAD_MASK;
static const uint64_t ALKAID_RXO_L4_CKSUM = RTE_ETH_RX_OFFLOAD_TCP_CKSUM | RTE_ETH_RX_OFFLOAD_UDP_CKSUM;
static const uint64_t ALKAID_TXO_L4_CKSUM = RTE_ETH_TX_OFFLOAD_TCP_CKSUM | RTE_ETH_TX_OFFLOAD_UDP_CKSUM;
static const uint64_t ALKAID_TXO_TCP_TSO = RTE_ETH_TX_OFFLOAD_TCP_TSO;
static const uint64_t ALKAID_RXO_IPV4_CKSUM = RTE_ETH_RX_OFFLOAD_IPV4_CKSUM;
static const uint64_t ALKAID_RXO_SCATTER = RTE_ETH_RX_OFFLOAD_SCATTER;
static const uint64_t ALKAID_RXO_RSS_HASH = RTE_ETH_RX_OFFLOAD_RSS_HASH;
static const uint64_t ALKAID_TXO_MULTI_SEGS = RTE_ETH_TX_OFFLOAD_MULTI_SEGS;
static const uint64_t ALKAID_TXO_FAST_FREE = RTE_ETH_TX_OFFLOAD_MBUF_FAST_FREE;
static const uint32_t ALKAID_MQ_RX_NONE = RTE_ETH_MQ_RX_NONE;
static const uint32_t ALKAID_MQ_RX_RSS = RTE_ETH_MQ_RX_RSS;
static const uint64_t ALKAID_RSS_FLOWS = RTE_ETH_RSS_IP | RTE_ETH_RSS_UDP | RTE_ETH_RSS_TCP;
static const uint32_t ALKAID_SPEED_UNKNOWN = RTE_ETH_SPEED_NUM_UNKNOWN;

#endif
