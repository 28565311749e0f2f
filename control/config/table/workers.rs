// SPDX-License-Identifier: MIT
//! Rows for DPDK and the workers.

use vswitch::io::MAX_BURST;

use super::super::argument::{Kind, Value};
use super::super::command::{Command, Setting};
use super::Part::Is;
use super::{Spec, When, arg};

/// Most workers: DPDK's limit of lcores in Debian's build (RTE_MAX_LCORE 128), less the main one.
const MAX_WORKERS: u16 = 127;

pub(super) const ROWS: &[Spec] = &[
    Spec {
        parts: &[
            Is("eal"),
            arg(
                "ARG",
                Kind::Words,
                "an argument of DPDK's environment, as on testpmd's command line",
            ),
        ],
        when: When::Start,
        summary: "Starts DPDK with these arguments",
        details: "\
Useful ones: `-l 0` (the core of DPDK's own threads, apart from the workers' cores), `--file-prefix NAME` (several \
switches on one host), `--no-huge -m 512` and `--no-pci` (no hugepages, no hardware: for labs), `--in-memory`, \
`--socket-mem 1024`. Given more than once, the arguments add up. Devices are not named here (`-a`, `--allow`, \
`--vdev`) but by `port attach`, so that the order of those lines gives the ports their numbers.",
        build: make!([Value::Words(args)] => Command::Eal(args.clone())),
    },
    Spec {
        parts: &[
            Is("set"),
            Is("nbcore"),
            arg(
                "COUNT",
                Kind::Number(1, MAX_WORKERS as u32),
                "number of workers; default: as many as `set corelist` names, else 1",
            ),
        ],
        when: When::Start,
        summary: "Sets the number of workers",
        details: "Each worker polls its queues on a core of its own, at 100 % of it.",
        build: make!([Value::Number(n)] => Command::Set(Setting::Nbcore(u16::try_from(*n).ok()?))),
    },
    Spec {
        parts: &[
            Is("set"),
            Is("corelist"),
            arg(
                "CORES",
                Kind::CoreList,
                "one core per worker, in this order; default: chosen from the cores that the process may use",
            ),
        ],
        when: When::Start,
        summary: "Sets the CPU cores that workers run on",
        details: "\
Name cores that nothing else runs on (kernel command line: isolcpus, nohz_full, rcu_nocbs), on the NUMA node of the \
NIC. `set nbcore` may use fewer of them, never more.",
        build: make!([Value::CoreList(cores)] => Command::Set(Setting::Corelist(cores.clone()))),
    },
    Spec {
        parts: &[
            Is("set"),
            Is("burst"),
            arg(
                "COUNT",
                Kind::Number(1, MAX_BURST as u32),
                "packets; default 32",
            ),
        ],
        when: When::Start,
        summary: "Sets how many packets a worker takes from a queue at once",
        details: "A smaller burst has less latency, a larger one more throughput. Beyond 32 little is gained.",
        build: make!([Value::Number(n)] => Command::Set(Setting::Burst(u16::try_from(*n).ok()?))),
    },
    Spec {
        parts: &[
            Is("set"),
            Is("portlist"),
            arg(
                "PORTS",
                Kind::PortList,
                "the ports; default: all that are attached",
            ),
        ],
        when: When::Start,
        summary: "Sets the ports that workers poll",
        details: "The uplink and the host port, if there are, must be among them. A port that is attached later is polled if it gets one of \
these numbers, or by `set vport template`.",
        build: make!([Value::PortList(ports)] => Command::Set(Setting::Portlist(ports.clone()))),
    },
    Spec {
        parts: &[
            Is("set"),
            Is("mbufs"),
            arg(
                "COUNT",
                Kind::Number(1024, 8_388_608),
                "buffers, of about 2.3 kB each; default 16383",
            ),
        ],
        when: When::Start,
        summary: "Sets the number of packet buffers",
        details: "\
On each NUMA node that a worker runs on. At least the sum of all queues' descriptors, plus a burst and a cache of 256 per worker; numbers of the form 2^n - 1 \
waste least memory.",
        build: make!([Value::Number(n)] => Command::Set(Setting::Mbufs(*n))),
    },
];
