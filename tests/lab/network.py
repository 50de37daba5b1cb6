# SPDX-License-Identifier: GPL-2.0-only
"""Networks: wires with machines, hosts and stations on them."""

import ipaddress
import itertools
import weakref

from .host import Host
from .kernel import guest, kernel
from .loop import loop
from .machine import Machine
from .station import Station
from .wire import Wire

# The gateway's boot script of the example: masquerading, then its ports.
MASQUERADING = '''\
/sbin/ipfwadm -I -f
/sbin/ipfwadm -O -f
/sbin/ipfwadm -F -f
/sbin/ipfwadm -F -p deny
/sbin/ipfwadm -F -a masquerade -S 10.0.0.0/8 -D 0.0.0.0/0
'''
BOOT_SCRIPT = MASQUERADING + '''\
/usr/local/sbin/ipportfw -C
/usr/local/sbin/ipportfw -A -t194.160.1.1/80 -R 10.0.0.2/80
/usr/local/sbin/ipportfw -A -u194.160.1.1/525 -R 10.0.0.2/525
/usr/local/sbin/ipportfw -L
'''
INSIDE, OUTSIDE, SERVER, CLIENT = '10.0.0.1', '194.160.1.1', '10.0.0.2', '163.158.1.2'


def interfaces(addresses, via=None, on_link=()):
    """The boot script lines that set up lo, eth0, eth1 … with `addresses`.
    `on_link` are (network, interface) pairs that need no router."""
    lines = ['/sbin/ifconfig lo 127.0.0.1', '/sbin/route add -net 127.0.0.0 netmask 255.0.0.0 dev lo']
    routes = list(on_link)
    for index, address in enumerate(addresses):
        here = ipaddress.ip_interface(address)
        lines.append(f'/sbin/ifconfig eth{index} {here.ip} netmask {here.netmask} '
                     f'broadcast {here.network.broadcast_address}')
        routes.append((here.network, f'eth{index}'))
    for network, interface in routes:
        network = ipaddress.ip_network(network)
        lines.append(f'/sbin/route add -net {network.network_address} netmask {network.netmask} dev {interface}')
    if via:
        lines.append(f'/sbin/route add default gw {via}')
    return '\n'.join(lines) + '\n'


class Lab:
    """A network. Everything in it ends with the `with` block, or with the
    process. Machines boot `kernel` (a built kernel's folder) unless told
    otherwise."""

    alive = weakref.WeakSet()

    def __init__(self, kernel_dir=None):
        self.kernel_dir = kernel_dir
        self.machines, self._others = [], []
        self._macs = (f'52:54:00:00:00:{number:02x}' for number in itertools.count(1))

    def wire(self, name):
        return Wire(name)

    def machine(self, name, nics, via=None, on_link=(), rc='', files=None, kernel_dir=None, **options):
        """A guest with a card for each (wire, address) of `nics`; `rc` is what
        its boot script does once they are up."""
        files = {'/etc/rc': interfaces([a for _, a in nics], via, on_link) + rc, **(files or {})}
        machine = Machine(name, kernel_dir or self.kernel_dir or kernel(), guest(),
                          [(wire, next(self._macs)) for wire, _ in nics], files, **options)
        self.machines.append(machine)
        return machine

    def host(self, name, wire, address, via=None, on_link=()):
        """A network namespace of this machine on the wire."""
        return self._also(Host(name, wire, next(self._macs), address, via, [f'{net} dev eth0' for net in on_link]))

    def station(self, wire, address, via=None, also=()):
        """An address on the wire that the test itself speaks for."""
        return self._also(Station(wire, next(self._macs), address, via, also))

    def _also(self, other):
        self._others.append(other)
        return other

    def boot(self, timeout=60):
        """Boot all machines, together."""
        for machine in self.machines:
            machine.start()
        for machine in self.machines:
            machine.ready(timeout)
        return self

    def __enter__(self):
        Lab.alive.add(self)
        return self

    def __exit__(self, kind, *_):
        try:
            if kind is None:
                loop.check()
        finally:
            Lab.alive.discard(self)
            for machine in self.machines:
                machine.stop()
            for other in self._others:
                other.close()


def example(kernel_dir=None, server='machine', client='station', rc=BOOT_SCRIPT, server_rc='', server_files=None,
            **gateway):
    """The example's network, not yet booted: `gateway` between the wires
    `inside` and `outside`, a `server` inside and a `client` outside, each of
    them a 'machine', a 'host' or a 'station'. Further arguments are the
    gateway's."""
    lab = Lab(kernel_dir)
    lab.inside, lab.outside = lab.wire('inside'), lab.wire('outside')
    server_net, client_net, outside_net = f'{SERVER}/24', f'{CLIENT}/24', '194.160.1.0/24'
    try:
        lab.gateway = lab.machine('gateway', [(lab.inside, f'{INSIDE}/24'), (lab.outside, f'{OUTSIDE}/24')],
                                  on_link=[('163.158.1.0/24', 'eth1')], rc=rc, **gateway)
        if server == 'machine':
            lab.server = lab.machine('server', [(lab.inside, server_net)], via=INSIDE, rc=server_rc,
                                     files=server_files)
        else:
            lab.server = getattr(lab, server)(*(['server'] if server == 'host' else []), lab.inside, server_net,
                                              via=INSIDE)
        if client == 'machine':
            lab.client = lab.machine('client', [(lab.outside, client_net)], on_link=[(outside_net, 'eth0')])
        elif client == 'host':
            lab.client = lab.host('client', lab.outside, client_net, on_link=[outside_net])
        else:
            lab.client = lab.station(lab.outside, client_net)
    except BaseException:
        lab.__exit__(Exception)
        raise
    return lab
