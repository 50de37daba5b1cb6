# SPDX-License-Identifier: GPL-2.0-only
"""A laboratory of old machines: guests in QEMU, hosts in network namespaces
and stations of the test itself, joined by wires that can be listened to."""

from .frames import Frame, Frames, check_sums  # before scapy: it silences its warnings

from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.l2 import Ether

from .host import Host, NoNamespaces
from .kernel import ALL, GROUPS, TOP, VERSIONS, guest, kernel
from .loop import Late, LabError, loop
from .machine import Machine, Panic
from .network import BOOT_SCRIPT, CLIENT, INSIDE, OUTSIDE, SERVER, Lab, example
from .result import CommandFailed, Result
from .station import Station
from .wire import Wire
