# SPDX-License-Identifier: MIT
"""The pcap-replay suite, see `../run`: packets and cases, the programs that forward them, and the report."""
