# SPDX-License-Identifier: MIT
"""The Debian package, taken apart: what is in it, and that it works without anything else of this repository."""

import io
import subprocess
import tarfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def said(*command, **settings):
    return subprocess.run(command, check=True, capture_output=True, text=True, **settings).stdout


@pytest.fixture(scope="session")
def package():
    packages = sorted((ROOT / "target/debian").glob("alkaid_*.deb"), key=lambda it: it.stat().st_mtime)
    assert packages, "`make deb` builds it"
    return packages[-1]


@pytest.fixture(scope="session")
def files(package, tmp_path_factory):
    folder = tmp_path_factory.mktemp("package")
    said("dpkg-deb", "--extract", package, folder)
    return folder


def test_the_program_says_its_version_and_checks_the_examples(files):
    program = files / "usr/bin/alkaid"
    assert said(program, "--version").startswith("alkaid ")
    for example in (files / "usr/share/doc/alkaid/examples").glob("*.conf*"):
        # Compressed where it is long: dpkg's habit for documentation.
        text = said("zcat", "-f", example)
        copy = files / "example.conf"
        copy.write_text(text)
        said(program, "check", copy)


def test_what_it_is_linked_with_is_what_it_depends_on(package, files):
    depends = said("dpkg-deb", "--field", package, "Depends")
    owners = set()
    for line in said("objdump", "-p", files / "usr/bin/alkaid").splitlines():
        if "NEEDED" in line and "ld-linux" not in line:
            library = line.split()[1]
            path = next(it.split()[2] for it in said("ldd", files / "usr/bin/alkaid").splitlines() if library in it)
            found = subprocess.run(["dpkg", "--search", path], capture_output=True, text=True)
            found = found if found.returncode == 0 else subprocess.run(
                ["dpkg", "--search", f"/usr{path}"], check=True, capture_output=True, text=True)
            owners.add(found.stdout.split(":")[0])
    assert "libc6" in owners
    # libc6 depends on the compiler's library itself.
    missing = [owner for owner in owners - {"libgcc-s1"} if owner not in depends]
    assert not missing, f"{missing} not in: {depends}"


def test_the_service_runs_the_program_that_is_packed_and_is_neither_enabled_nor_started(package, files):
    unit = (files / "lib/systemd/system/alkaid.service").read_text()
    assert "ExecStart=/usr/bin/alkaid run /etc/alkaid/alkaid.conf" in unit
    assert not list(files.rglob("*.wants/*"))
    # No script runs when it is installed, upgraded or removed.
    control = subprocess.run(["dpkg-deb", "--ctrl-tarfile", package], check=True, capture_output=True).stdout
    with tarfile.open(fileobj=io.BytesIO(control)) as archive:
        assert not {"postinst", "prerm", "postrm", "preinst"} & {Path(name).name for name in archive.getnames()}


def test_systemd_takes_the_service_without_a_word(files, tmp_path):
    unit = tmp_path / "alkaid.service"
    text = (files / "lib/systemd/system/alkaid.service").read_text()
    unit.write_text(text.replace("/usr/bin/alkaid", str(files / "usr/bin/alkaid")))
    done = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_the_service_is_watched_and_confined_and_gets_at_the_devices_that_ports_may_be(files):
    lines = (files / "lib/systemd/system/alkaid.service").read_text().splitlines()
    settings = [line.partition("=")[::2] for line in lines if not line.startswith("#")]

    def of(name):
        return [value for key, value in settings if key == name]

    assert of("Type") == ["notify"] and of("NoNewPrivileges") == ["yes"]
    (watchdog,) = of("WatchdogSec")
    assert int(watchdog) > 0
    assert of("DevicePolicy") == ["closed"]
    devices = {"/dev/vfio/vfio", "char-vfio", "char-infiniband_verbs", "/dev/net/tun", "/dev/vhost-net"}
    assert {f"{device} rw" for device in devices} == set(of("DeviceAllow"))
    assert of("StartLimitIntervalSec") == ["0"]


def test_there_are_manual_pages_for_every_command_and_completions_for_three_shells(files):
    names = {page.name.split(".")[0] for page in (files / "usr/share/man/man1").iterdir()}
    commands = {"run", "replay", "check", "doctor", "exec", "console", "show", "top", "capture", "explain", "push", "dataset", "completions"}
    assert {"alkaid"} | {f"alkaid-{command}" for command in commands} <= names
    page = next((files / "usr/share/man/man1").glob("alkaid-doctor.1*"))
    assert "huge pages" in said("zcat", "-f", page)
    for path in ["bash-completion/completions/alkaid", "zsh/vendor-completions/_alkaid", "fish/vendor_completions.d/alkaid.fish"]:
        assert "doctor" in (files / "usr/share" / path).read_text()
