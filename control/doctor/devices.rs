// SPDX-License-Identifier: MIT
//! What each configured port needs of the machine.

use std::collections::BTreeSet;
use std::path::Path;

use super::{Finding, Host, Verdict, cores};
use crate::config::Settings;

/// What the kernel says of its PCI devices.
const PCI: &str = "/sys/bus/pci/devices";

/// Drivers of the kernel that DPDK shares a device with (its guides of mlx4, mlx5 and mana).
const SHARING: [&str; 3] = ["mlx5_core", "mlx4_core", "mana"];

/// Folders of packaging/alkaid.service.
const SERVICE_MAKES: [&str; 2] = ["/run/alkaid", "/var/lib/alkaid"];

/// Longest path of a Unix socket: `sun_path` with its NUL has 108 bytes.
const LONGEST_SOCKET: usize = 107;

pub(super) fn examine(host: &Host, settings: &Settings) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (number, port) in settings.ports.iter().enumerate() {
        let device = Device::new(&port.device);
        let about = format!("port {number}");
        let found = match device.is_pci() {
            true => Some(nic(host, about, device.name)),
            false => software(host, about, &device),
        };
        findings.extend(found.map(|mut found| {
            if port.late && found.verdict == Verdict::Wrong {
                found.verdict = Verdict::Warning;
            }
            found
        }));
        if device.is_pci() {
            findings.extend(distance(host, number, device.name));
            findings.extend(far(host, settings, number, device.name));
        }
    }
    if let Some(Ok(device)) = (settings.vports.as_ref()).map(|it| it.device(0, "id", "name")) {
        findings.extend(software(
            host,
            "vport template".to_owned(),
            &Device::new(&device),
        ));
    }
    let mut ports = settings.ports.iter();
    if ports.any(|port| needs_vfio(host, &Device::new(&port.device))) {
        findings.push(iommu(host));
    }
    if let Some(store) = &settings.store {
        let folder = store.parent().filter(|it| !it.as_os_str().is_empty());
        let folder = folder.unwrap_or(Path::new("."));
        findings.extend(missing(host, "store".to_owned(), folder, "-m 700 "));
    }
    findings
}

/// `0000:3b:00.0,representor=0`, or `net_tap0,iface=tap0`.
struct Device<'a> {
    name: &'a str,
    arguments: &'a str,
}

impl<'a> Device<'a> {
    fn new(text: &'a str) -> Self {
        let (name, arguments) = text.split_once(',').unwrap_or((text, ""));
        Self { name, arguments }
    }

    /// `domain:bus:device.function`; a port's VLAN is `vlan101@3`.
    fn is_pci(&self) -> bool {
        let parts: Vec<_> = self.name.split([':', '.']).collect();
        let hexadecimal = |part: &&str| u32::from_str_radix(part, 16).is_ok();
        parts.len() == 4 && parts.iter().all(hexadecimal)
    }

    fn argument(&self, key: &str) -> Option<&'a str> {
        let mut pairs = self
            .arguments
            .split(',')
            .filter_map(|it| it.split_once('='));
        pairs.find_map(|(name, value)| (name == key).then_some(value))
    }
}

fn nic(host: &Host, about: String, address: &str) -> Finding {
    let place = format!("{PCI}/{address}");
    if !host.has(&place) {
        return Finding::wrong(
            about,
            format!("there is no PCI device {address}"),
            "dpdk-devbind.py --status-dev net",
        );
    }
    let bind = format!("modprobe vfio-pci && dpdk-devbind.py --bind=vfio-pci {address}");
    match host.link(format!("{place}/driver")).as_deref() {
        Some("vfio-pci") => Finding::ok(about, format!("{address} has the driver vfio-pci")),
        Some(driver) if SHARING.contains(&driver) => {
            Finding::ok(about, format!("{address} stays with {driver}"))
        }
        Some(driver @ ("igb_uio" | "uio_pci_generic")) => Finding::warning(
            about,
            format!("{address} has the driver {driver}: it can write to any memory"),
            bind,
        ),
        Some(driver) => {
            let interfaces = host.names(format!("{place}/net")).join(", ");
            let named = if interfaces.is_empty() {
                String::new()
            } else {
                format!(" as {interfaces}")
            };
            Finding::wrong(
                about,
                format!("{address} is the kernel's{named}, by the driver {driver}"),
                format!("{bind} (the kernel loses it: see `set host port`)"),
            )
        }
        None => Finding::wrong(about, format!("{address} has no driver"), bind),
    }
}

/// Whether it is a NIC that its kernel driver does not share with DPDK.
fn needs_vfio(host: &Host, device: &Device<'_>) -> bool {
    let driver = host.link(format!("{PCI}/{}/driver", device.name));
    device.is_pci() && !driver.is_some_and(|driver| SHARING.contains(&driver.as_str()))
}

/// A NIC's memory accesses cross to another node if the huge pages are not on its own.
fn distance(host: &Host, number: usize, address: &str) -> Option<Finding> {
    let node = host.number(format!("{PCI}/{address}/numa_node"))?; // -1 where there is one node
    let pages = format!("/sys/devices/system/node/node{node}/hugepages");
    let reserved = |size: &String| host.number(format!("{pages}/{size}/nr_hugepages"));
    let sizes = host.names(&pages);
    let all: u64 = sizes.iter().filter_map(reserved).sum();
    (!sizes.is_empty() && all == 0).then(|| {
        Finding::warning(
            format!("port {number}"),
            format!("{address} is on NUMA node {node}, which has no huge pages"),
            format!("echo 1024 > {pages}/{}/nr_hugepages", sizes[0]),
        )
    })
}

/// Each frame of a NIC whose queues only workers of other nodes poll crosses to them.
fn far(host: &Host, settings: &Settings, number: usize, address: &str) -> Option<Finding> {
    let node = host.number(format!("{PCI}/{address}/numa_node"))?;
    let workers: BTreeSet<u32> = cores::nodes(host, settings).flatten().collect();
    let all_far = workers.iter().all(|&worker| u64::from(worker) != node);
    (!workers.is_empty() && all_far).then(|| {
        Finding::warning(
            format!("port {number}"),
            format!("{address} is on NUMA node {node}, and workers are on {workers:?}"),
            format!("`set corelist`: cores of /sys/devices/system/node/node{node}/cpulist"),
        )
    })
}

fn iommu(host: &Host) -> Finding {
    let about = "iommu";
    if !host.names("/sys/kernel/iommu_groups").is_empty() {
        return Finding::ok(about, "on");
    }
    let cpu = host.text("/proc/cpuinfo").unwrap_or_default();
    let mend = if cpu.contains("GenuineIntel") {
        "intel_iommu=on iommu=pt on the kernel's command line, and VT-d in the firmware"
    } else {
        "iommu=pt on the kernel's command line, and the IOMMU in the firmware"
    };
    let without = "/sys/module/vfio/parameters/enable_unsafe_noiommu_mode";
    match host.text(without).as_deref() {
        Some("Y" | "1") => Finding::warning(
            about,
            "off, and vfio works without (enable_unsafe_noiommu_mode): NICs can write to any memory",
            mend,
        ),
        _ => Finding::wrong(about, "off: vfio-pci takes no device", mend),
    }
}

/// Ports that are no hardware.
fn software(host: &Host, about: String, device: &Device<'_>) -> Option<Finding> {
    let kind = device.name.trim_end_matches(|it: char| it.is_ascii_digit());
    match kind {
        "net_tap" => (!host.has("/dev/net/tun"))
            .then(|| Finding::wrong(about, "there is no /dev/net/tun", "modprobe tun")),
        "net_af_packet" | "net_af_xdp" => {
            let interface = device.argument("iface")?;
            (!host.has(format!("/sys/class/net/{interface}"))).then(|| {
                let found = format!("there is no interface {interface}");
                Finding::wrong(about, found, "ip link show")
            })
        }
        "net_vhost" => socket(host, about, device.argument("iface")?),
        "net_virtio_user" => socket(host, about, device.argument("path")?),
        _ => None,
    }
}

fn socket(host: &Host, about: String, path: &str) -> Option<Finding> {
    if path.len() > LONGEST_SOCKET {
        return Some(Finding::wrong(
            about,
            format!(
                "the socket's path has {} bytes, and may have {LONGEST_SOCKET}",
                path.len()
            ),
            "a shorter one",
        ));
    }
    let folder = Path::new(path)
        .parent()
        .filter(|it| !it.as_os_str().is_empty())?;
    missing(host, about, folder, "")
}

/// A folder that is not there, and what it should be made with.
fn missing(host: &Host, about: String, folder: &Path, options: &str) -> Option<Finding> {
    let of_service = SERVICE_MAKES.contains(&folder.to_str()?);
    let folder_is = folder.display();
    let mend = format!("install -d {options}{folder_is}");
    let found = format!("there is no folder {folder_is}");
    (!host.has(folder)).then(|| match of_service {
        true => Finding::warning(about, found + ", which the service makes", mend),
        false => Finding::wrong(about, found, mend),
    })
}
