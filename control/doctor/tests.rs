// SPDX-License-Identifier: MIT
//! Machines made of files, each with one thing that is wrong.

use std::fs;
use std::os::unix::fs::symlink;

use tempfile::TempDir;

use super::{Finding, Host, Verdict, examine};
use crate::config::{Settings, parse_text};

/// A machine that has nothing wrong for [`CONFIG`].
struct Machine(TempDir);

const NIC: &str = "/sys/bus/pci/devices/0000:3b:00.0";

const CONFIG: &str = "\
port attach 0000:3b:00.0
port attach net_vhost0,iface=/run/alkaid/vm1.sock
port attach net_tap0,iface=host0
set nbcore 2
set corelist 2,3
set store /var/lib/alkaid/store";

impl Machine {
    fn new() -> Self {
        let machine = Self(tempfile::tempdir().unwrap());
        let pages = "/sys/kernel/mm/hugepages/hugepages-2048kB";
        for (path, text) in [
            ("/proc/sys/kernel/osrelease", "6.1.0-18-amd64"),
            ("/proc/cpuinfo", "vendor_id : GenuineIntel"),
            ("/proc/mounts", "nodev /dev/hugepages hugetlbfs rw 0 0"),
            ("/proc/77/comm", "sshd"),
            ("/dev/net/tun", ""),
            ("/run/alkaid/other.sock", ""),
            ("/var/lib/alkaid/other", ""),
            (&format!("{pages}/nr_hugepages"), "1024"),
            (&format!("{pages}/free_hugepages"), "1024"),
            ("/sys/devices/system/cpu/online", "0-3"),
            ("/sys/devices/system/cpu/isolated", "2-3"),
            (
                "/sys/devices/system/cpu/cpu2/topology/thread_siblings_list",
                "2",
            ),
            (
                "/sys/devices/system/cpu/cpu2/cpufreq/scaling_governor",
                "performance",
            ),
            ("/sys/kernel/iommu_groups/0/type", "DMA"),
            ("/sys/bus/pci/drivers/vfio-pci/new_id", ""),
            ("/sys/bus/pci/drivers/ixgbe/new_id", ""),
            (&format!("{NIC}/numa_node"), "0"),
            (
                "/sys/devices/system/node/node0/hugepages/hugepages-2048kB/nr_hugepages",
                "1024",
            ),
        ] {
            machine.write(path, text);
        }
        machine.bind("vfio-pci");
        machine
    }

    fn at(&self, path: &str) -> std::path::PathBuf {
        self.0.path().join(path.trim_start_matches('/'))
    }

    fn write(&self, path: &str, text: &str) {
        fs::create_dir_all(self.at(path).parent().unwrap()).unwrap();
        fs::write(self.at(path), format!("{text}\n")).unwrap();
    }

    fn remove(&self, path: &str) {
        match self.at(path).is_dir() {
            true => fs::remove_dir_all(self.at(path)).unwrap(),
            false => fs::remove_file(self.at(path)).unwrap(),
        }
    }

    fn bind(&self, driver: &str) {
        let link = self.at(&format!("{NIC}/driver"));
        let _ = fs::remove_file(&link);
        symlink(self.at(&format!("/sys/bus/pci/drivers/{driver}")), link).unwrap();
    }

    fn examine(&self, config: &str) -> Vec<Finding> {
        let cores = match config.contains("set corelist") {
            true => "",
            false => "set corelist 3\n",
        };
        self.examine_as_is(&format!("{cores}{config}\nset vtep 192.0.2.1/24 port 0"))
    }

    fn examine_as_is(&self, config: &str) -> Vec<Finding> {
        let commands = parse_text("test", config).unwrap();
        let settings = Settings::default().with_commands(&commands).unwrap();
        examine(&Host::new(self.0.path()), &settings)
    }

    /// The one thing that is not ok.
    fn complaint(&self, config: &str) -> (Verdict, String, String) {
        let mut wrong = self.examine(config);
        wrong.retain(|finding| finding.verdict != Verdict::Ok);
        assert_eq!(wrong.len(), 1, "{wrong:?}");
        let finding = wrong.remove(0);
        let words = format!("{}: {}", finding.about, finding.found);
        (finding.verdict, words, finding.mend.unwrap())
    }
}

#[test]
fn a_machine_that_is_fit_has_nothing_wrong() {
    let findings = Machine::new().examine(CONFIG);
    let about: Vec<_> = findings.iter().map(|it| it.about.as_str()).collect();
    assert!(
        findings
            .iter()
            .all(|it| it.verdict == Verdict::Ok && it.mend.is_none())
    );
    assert_eq!(
        about,
        ["kernel", "dpdk", "hugepages", "cores", "port 0", "iommu"]
    );
}

/// One change to the machine, and the one complaint that follows.
#[test]
fn each_thing_that_is_wrong_is_named_with_what_mends_it() {
    type Change = fn(&Machine);
    use Verdict::{Warning, Wrong};
    let pages = "/sys/kernel/mm/hugepages/hugepages-2048kB";
    let cases: &[(Change, Verdict, &str, &str)] = &[
        (
            |it| it.write("/proc/sys/kernel/osrelease", "3.10.0-1160.el7"),
            Wrong,
            "kernel: `3.10.0",
            "newer kernel",
        ),
        (
            |it| it.write("/proc/77/comm", "ovs-vswitchd"),
            Warning,
            "ovs-vswitchd: Open vSwitch runs",
            "systemctl disable",
        ),
        (
            |it| it.write("/proc/77/comm", "AlcorControlAge"),
            Warning,
            "has the controller's connections",
            "takes its place",
        ),
        (
            |it| it.remove("/sys/kernel/mm/hugepages"),
            Wrong,
            "this kernel has none",
            "CONFIG_HUGETLBFS",
        ),
        (
            |it| it.write("/proc/mounts", "proc /proc proc rw 0 0"),
            Wrong,
            "hugetlbfs: is not mounted",
            "mount -t hugetlbfs",
        ),
        (
            |it| it.write("/sys/devices/system/cpu/isolated", "3"),
            Warning,
            "cores: 2 of the workers' cores 2,3",
            "isolcpus=2,3",
        ),
        (
            |it| it.write("/sys/devices/system/cpu/online", "0-2"),
            Wrong,
            "there is no core 3 (there are 0,1,2)",
            "set corelist",
        ),
        (
            |it| {
                it.write(
                    "/sys/devices/system/cpu/cpu2/topology/thread_siblings_list",
                    "2-3",
                )
            },
            Warning,
            "2 and 3 are two threads of one core",
            "set corelist",
        ),
        (
            |it| {
                it.write(
                    "/sys/devices/system/cpu/cpu2/cpufreq/scaling_governor",
                    "powersave",
                )
            },
            Warning,
            "core 2 is by the governor `powersave`",
            "echo performance",
        ),
        (
            |it| it.remove(NIC),
            Wrong,
            "port 0: there is no PCI device",
            "--status-dev net",
        ),
        (
            |it| it.remove(&format!("{NIC}/driver")),
            Wrong,
            "has no driver",
            "--bind=vfio-pci 0000:3b:00.0",
        ),
        (
            |it| {
                it.bind("ixgbe");
                it.write(&format!("{NIC}/net/eth0/mtu"), "1500")
            },
            Wrong,
            "is the kernel's as eth0, by the driver ixgbe",
            "see `set host port`",
        ),
        (
            |it| it.bind("uio_pci_generic"),
            Warning,
            "can write to any memory",
            "--bind=vfio-pci",
        ),
        (
            |it| {
                it.write(
                    "/sys/devices/system/node/node0/hugepages/hugepages-2048kB/nr_hugepages",
                    "0",
                )
            },
            Warning,
            "on NUMA node 0, which has no huge pages",
            "node0/hugepages/hugepages-2048kB/nr_hugepages",
        ),
        (
            |it| {
                it.write("/sys/devices/system/cpu/cpu2/node1/cpulist", "2-3");
                it.write("/sys/devices/system/cpu/cpu3/node1/cpulist", "2-3");
            },
            Warning,
            "on NUMA node 0, and workers are on {1}",
            "cores of /sys/devices/system/node/node0/cpulist",
        ),
        (
            |it| it.remove("/sys/kernel/iommu_groups"),
            Wrong,
            "iommu: off",
            "intel_iommu=on",
        ),
        (
            |it| {
                it.remove("/sys/kernel/iommu_groups");
                it.write(
                    "/sys/module/vfio/parameters/enable_unsafe_noiommu_mode",
                    "Y",
                );
            },
            Warning,
            "vfio works without",
            "intel_iommu=on",
        ),
        (
            |it| it.remove("/dev/net/tun"),
            Wrong,
            "port 2: there is no /dev/net/tun",
            "modprobe tun",
        ),
        (
            |it| it.remove("/run/alkaid"),
            Warning,
            "port 1: there is no folder /run/alkaid, which the service makes",
            "install -d /run/alkaid",
        ),
        (
            |it| it.remove("/var/lib/alkaid"),
            Warning,
            "store: there is no folder /var/lib/alkaid, which the service makes",
            "install -d -m 700 /var/lib/alkaid",
        ),
    ];
    for (change, verdict, found, mend) in cases {
        let machine = Machine::new();
        change(&machine);
        let complaint = machine.complaint(CONFIG);
        let matches =
            complaint.0 == *verdict && complaint.1.contains(found) && complaint.2.contains(mend);
        assert!(matches, "{complaint:?}, not {found:?} and {mend:?}");
    }
    let machine = Machine::new();
    machine.write(&format!("{pages}/free_hugepages"), "12");
    let (verdict, found, mend) = machine.complaint(CONFIG);
    assert_eq!(verdict, Warning);
    assert!(found.contains("24 of 2048 MiB are free"), "{found}");
    assert!(mend.starts_with("echo "), "{mend}");
}

#[test]
fn too_few_huge_pages_come_with_the_number_that_is_enough() {
    let machine = Machine::new();
    let pages = "/sys/kernel/mm/hugepages/hugepages-2048kB";
    machine.write(&format!("{pages}/nr_hugepages"), "10");
    machine.write(&format!("{pages}/free_hugepages"), "10");
    let config = format!("{CONFIG}\nset mbufs 65535");
    let (verdict, found, mend) = machine.complaint(&config);
    assert_eq!(verdict, Verdict::Wrong);
    assert_eq!(
        found,
        "hugepages: 20 MiB are reserved, and 211 MiB needed (`set mbufs 65535`)"
    );
    assert!(
        mend.starts_with("echo 106 > /sys/kernel/mm/hugepages/hugepages-2048kB/"),
        "{mend}"
    );
    for number in ["nr_hugepages", "free_hugepages"] {
        machine.write(&format!("{pages}/{number}"), "106");
    }
    assert!(
        machine
            .examine(&config)
            .iter()
            .all(|it| it.verdict == Verdict::Ok)
    );
}

#[test]
fn workers_on_two_nodes_need_packet_buffers_on_both() {
    let machine = Machine::new();
    machine.write("/sys/devices/system/cpu/cpu2/node0/cpulist", "0-2");
    machine.write("/sys/devices/system/cpu/cpu3/node1/cpulist", "3");
    let pages = "/sys/kernel/mm/hugepages/hugepages-2048kB";
    machine.write(&format!("{pages}/nr_hugepages"), "106"); // enough for one
    let config = format!("{CONFIG}\nset mbufs 65535");
    let (verdict, found, mend) = machine.complaint(&config);
    assert_eq!(verdict, Verdict::Wrong);
    assert_eq!(
        found,
        "hugepages: 212 MiB are reserved, and 359 MiB needed (`set mbufs 65535` on each of 2 NUMA nodes)"
    );
    assert!(mend.starts_with("echo 180 > "), "{mend}");
}

#[test]
fn a_nic_that_stays_with_its_driver_needs_no_iommu() {
    let machine = Machine::new();
    machine.remove("/sys/kernel/iommu_groups");
    machine.bind("mlx5_core");
    let findings = machine.examine(CONFIG);
    assert!(
        findings.iter().all(|it| it.verdict == Verdict::Ok),
        "{findings:?}"
    );
}

#[test]
fn a_configuration_without_hardware_needs_neither_iommu_nor_drivers() {
    let machine = Machine::new();
    machine.remove("/sys/kernel/iommu_groups");
    let findings = machine.examine("port attach net_null0\nset nbcore 1");
    assert!(
        findings.iter().all(|it| it.verdict == Verdict::Ok),
        "{findings:?}"
    );
    let long = format!("port attach net_vhost0,iface=/run/{}", "x".repeat(103));
    let (verdict, found, _) = machine.complaint(&long);
    assert_eq!(verdict, Verdict::Wrong);
    assert!(found.contains("108 bytes, and may have 107"), "{found}");
    let (verdict, found, _) = machine.complaint("port attach net_af_packet0,iface=veth9");
    assert_eq!(
        (verdict, found.as_str()),
        (Verdict::Wrong, "port 0: there is no interface veth9")
    );
}

#[test]
fn without_a_list_workers_are_on_cores_that_are_not_isolated() {
    let config = "port attach net_null0\nset nbcore 2\nset vtep 192.0.2.1/24 port 0";
    let findings = Machine::new().examine_as_is(config);
    let cores = findings.iter().find(|it| it.about == "cores").unwrap();
    assert_eq!(cores.verdict, Verdict::Warning);
    assert!(
        cores.found.starts_with("0,1 of the workers' cores 0,1"),
        "{}",
        cores.found
    );
    let mend = cores.mend.as_ref().unwrap();
    assert!(
        mend.starts_with("`set corelist 0,1`, and isolcpus=0,1 "),
        "{mend}"
    );
    let too_many = config.replace("nbcore 2", "nbcore 3");
    let findings = Machine::new().examine_as_is(&too_many);
    let cores = findings.iter().find(|it| it.about == "cores").unwrap();
    let found = "3 workers, and 2 cores that are not isolated";
    assert_eq!(
        (cores.verdict, cores.found.as_str()),
        (Verdict::Wrong, found)
    );
}

#[test]
fn what_may_come_late_is_no_obstacle() {
    let config = "port attach net_tap0\nport attach net_af_packet0,iface=veth9 late";
    let (verdict, found, _) = Machine::new().complaint(config);
    assert_eq!(verdict, Verdict::Warning);
    assert_eq!(found, "port 1: there is no interface veth9");
    let (verdict, ..) =
        Machine::new().complaint("port attach net_tap0\nport attach 0000:4c:00.0 late");
    assert_eq!(verdict, Verdict::Warning);
}

#[test]
fn a_template_needs_what_its_devices_need() {
    let config =
        "port attach net_tap0\nset vport template net_vhost{n},iface=/run/guests/{name}.sock";
    let (verdict, found, _) = Machine::new().complaint(config);
    assert_eq!(verdict, Verdict::Wrong);
    assert_eq!(found, "vport template: there is no folder /run/guests");
}

#[test]
fn a_folder_without_files_is_no_reason_to_panic() {
    let nothing = tempfile::tempdir().unwrap();
    let findings = examine(&Host::new(nothing.path()), &Settings::default());
    assert!(findings.iter().any(|it| it.verdict == Verdict::Wrong));
}
