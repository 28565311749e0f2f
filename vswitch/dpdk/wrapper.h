/* SPDX-License-Identifier: MIT
 * What bindgen reads: the DPDK headers that vswitch/dpdk uses, and the declarations of shim.c.
 */
#include <rte_dev.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_ethdev.h>
#include <rte_lcore.h>
#include <rte_log.h>
#include <rte_mbuf.h>
#include <rte_mempool.h>
#include <rte_version.h>
#include <rte_vhost.h>

#include "shim.h"
