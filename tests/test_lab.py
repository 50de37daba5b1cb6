# SPDX-License-Identifier: GPL-2.0-only
"""The lab itself: what every other test stands on."""

import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import textwrap

import pytest

from lab import (ICMP, IP, TCP, UDP, CommandFailed, Lab, LabError, Late, Panic, Wire, check_sums, kernel,
                 loop)
from lab.wire import Port

PAGE = 'A page of the inside host.\n'


@pytest.fixture(scope='module')
def small(namespaces):
    """Two guests, a real host and a station on one wire."""
    with Lab(kernel('2.0.40', 'stock')) as net:
        net.wire = net.wire('office')
        net.alice = net.machine('alice', [(net.wire, '10.1.1.1/24')], rc='echo the boot script was here\n')
        net.bob = net.machine('bob', [(net.wire, '10.1.1.2/24')], memory=8,
                              rc='httpd -h /www\n', files={'/www/page.txt': PAGE})
        net.host = net.host('host', net.wire, '10.1.1.3/24')
        net.station = net.station(net.wire, '10.1.1.4/24', also=['10.1.1.128/25'])
        yield net.boot()


def test_boot_script_ran(small):
    assert small.alice.boot_output == 'the boot script was here\n'
    assert small.alice.sh('hostname').out == 'alice\n'
    assert 'Linux version 2.0.40' in small.alice.console()


def test_memory_is_what_was_asked(small):
    def total(machine):
        return int(re.search(r'MemTotal: +(\d+) kB', machine.sh('cat /proc/meminfo').out)[1])
    assert 5 << 10 < total(small.bob) < 8 << 10 < 13 << 10 < total(small.alice) < 16 << 10


def test_guest_pings_guest(small):
    with small.wire.capture() as frames:
        assert '0% packet loss' in small.alice.sh('ping -c 3 10.1.1.2').out
    kinds = [packet[ICMP].type for packet in frames.only(ICMP)]
    assert kinds == [8, 0] * 3


def test_host_fetches_page_of_guest(small):
    with small.wire.capture() as frames:
        assert small.host.run(['curl', '-sS', 'http://10.1.1.2/page.txt']).out == PAGE
    packets = frames.only(TCP)
    assert [str(p[TCP].flags) for p in packets[:3]] == ['S', 'SA', 'A']
    assert [p.time for p in packets] == sorted(p.time for p in packets)
    for packet in packets:
        check_sums(packet)
    assert {p[IP].src for p in packets} == {'10.1.1.2', '10.1.1.3'}


def test_socket_on_a_host(small):
    with small.host.socket() as connection:
        connection.bind(('', 7890))
        connection.connect(('10.1.1.2', 80))
        connection.sendall(b'GET /page.txt HTTP/1.0\r\n\r\n')
        with connection.makefile() as reply:
            assert reply.read().endswith(PAGE)


def test_command_result_is_exact(small):
    result = small.alice.sh(r"printf 'a\000\001\r\n\377'; echo 'not well' >&2; exit 3", check=False)
    assert (result.status, result.out_bytes, result.err) == (3, b'a\0\1\r\n\xff', 'not well\n')
    assert result.out.encode(errors='surrogateescape') == result.out_bytes
    with pytest.raises(CommandFailed, match=r"alice: false: exit status 1"):
        small.alice.sh('false')
    # Nothing a command does to its shell reaches the next one.
    assert small.alice.sh('if then "', check=False).status != 0
    assert small.alice.sh('cat; exit 7', check=False).status == 7
    assert small.alice.sh('echo "it\'s" \\\n  fine').out == "it's fine\n"


def test_large_output_and_long_command(small):
    zeros = small.alice.sh('dd if=/dev/zero bs=1024 count=200')
    assert zeros.out_bytes == bytes(200 << 10) and '200' in zeros.err
    words = ' '.join(map(str, range(3000)))
    assert small.alice.sh(f'echo {words}').out == words + '\n'


def test_files_of_every_byte(small):
    content = bytes(range(256)) * 5
    small.alice.put('/tmp/bytes', content)
    assert small.alice.get('/tmp/bytes') == content


def test_daemon_in_the_background(small):
    pid = small.alice.background('/bin/sleep 1000')
    small.alice.until(f'grep -q sleep /proc/{pid}/cmdline')
    small.alice.sh(f'kill {pid}')
    small.alice.until(f'! test -d /proc/{pid}')


def test_late_command_says_what_it_waited_for(small):
    with pytest.raises(Late, match='alice: end of `sleep 2`'):
        small.alice.sh('sleep 2', timeout=0.3)
    # The line is in step again.
    assert small.alice.sh('echo on').out == 'on\n'


def test_station_is_a_neighbour(small):
    """It answers ARP for its addresses, for those alone, and finds others."""
    small.station.ping('10.1.1.1')
    small.station.send(IP(src='10.1.1.200', dst='10.1.1.2') / UDP(sport=9, dport=99) / b'?')
    refusal = small.station.expect(ICMP, type=3, code=3, dst='10.1.1.200')
    check_sums(refusal)
    assert refusal[IP].src == '10.1.1.2'
    small.station.send(IP(src='10.1.1.100', dst='10.1.1.2') / UDP(sport=9, dport=99) / b'?')
    small.station.expect_nothing('10.1.1.2', ICMP, type=3, dst='10.1.1.100')


def test_unwelcome_frame_is_seen(small):
    small.station.send(IP(dst='10.1.1.2') / UDP(sport=9, dport=98) / b'?')
    with pytest.raises(LabError, match=r'unwelcome ICMP type=3(?s:.*)seen: Ether / IP / ICMP'):
        small.station.expect_nothing('10.1.1.2', ICMP, type=3)
    with pytest.raises(Late, match='station 10.1.1.4: TCP dport=7'):
        small.station.expect(TCP, dport=7, timeout=0.1)


def test_wrong_checksums_are_seen():
    good = IP(src='10.1.1.1', dst='10.1.1.2') / UDP(sport=1, dport=2) / b'payload'
    check_sums(IP(bytes(good)))
    for at in (8, 12, 26, 34):          # TTL, source, UDP checksum, payload
        bad = bytearray(bytes(good))
        bad[at] ^= 1
        with pytest.raises(LabError, match='wrong'):
            check_sums(IP(bytes(bad)))
    none = good.copy()
    none[UDP].chksum = 0
    check_sums(IP(bytes(none)))


def test_wire_counts_what_it_drops():
    wire = Wire('slow')
    reader, fd = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    port = Port(wire, '52:54:00:00:00:01', fd.detach())
    frames = [bytes.fromhex('525400000001') + number.to_bytes(1008, 'big') for number in range(5000)]
    with reader:
        with loop.lock:
            for frame in frames:
                wire.carry(frame, None)
        taken = len(frames) - wire.dropped
        assert 1000 < taken < 5000
        assert [reader.recv(2000) for _ in range(taken)] == frames[:taken]
    port.close()


def test_hosts_exchange_much(namespaces):
    """Two real hosts and the wire between them: the speed is no hindrance."""
    with Lab() as net:
        wire = net.wire('fast')
        one, two = net.host('one', wire, '10.1.2.1/24'), net.host('two', wire, '10.1.2.2/24')
        two.popen(['iperf3', '-s', '-1'], stdout=subprocess.DEVNULL)
        two.wait_listening(5201)
        report = one.run(['iperf3', '-c', '10.1.2.2', '-n', '64M']).out
        print(report)
        assert wire.dropped == 0


def test_a_person_at_the_second_line(tmp_path):
    path = tmp_path / 'person'
    with Lab(kernel('2.0.40', 'stock')) as net, socket.socket(socket.AF_UNIX) as person:
        machine = net.machine('desk', [], person=path)
        machine.start()
        loop.wait(path.exists, 30, 'the line of the person', poll=0.02)
        person.connect(str(path))
        person.settimeout(60)

        def read_until(text):
            seen = b''
            while text not in seen:
                seen += person.recv(4096)

        read_until(b'desk# ')
        person.sendall(b'echo $((6 * 7)) from $(hostname)\r')
        read_until(b'\n42 from desk')
        assert machine.ready().sh('echo and the lab').out == 'and the lab\n'


def test_panic_at_boot_is_reported_at_once():
    with Lab(kernel('2.0.40', 'stock')) as net:
        machine = net.machine('rootless', [], cmdline='root=/dev/hda1')
        machine.start()
        with pytest.raises(Panic, match=r'rootless: the kernel has failed(?s:.*)VFS: Unable to mount root fs'):
            machine.ready(timeout=600)
        machine.stop()


def test_oops_ends_every_wait(physical):
    """A kernel bug while the test waits for something else, elsewhere."""
    with Lab(kernel('2.0.40', 'stock')) as net:
        wire = net.wire('office')
        machine = net.machine('broken', [(wire, '10.1.1.1/24')])
        station = net.station(wire, '10.1.1.2/24')
        net.boot()
        # An undefined instruction where sys_sync begins.
        machine.sh(f'mknod /tmp/mem c 1 1; printf "\\017\\013" | '
                   f'dd of=/tmp/mem bs=1 seek={physical["sys_sync"]} conv=notrunc')
        machine.background('sh -c "sleep 1; sync"')
        with pytest.raises(Panic, match=r'broken: (?s:.*)invalid operand(?s:.*)EIP(?s:.*)Code: 0f 0b'):
            station.expect(TCP, timeout=600)
        with pytest.raises(Panic):
            machine.sh('echo still there')
        machine.stop()
        # It can be booted again.
        assert machine.boot().sh('sync; echo well').out == 'well\n'


@pytest.fixture
def physical():
    """Physical addresses of the kernel's symbols."""
    lines = (kernel('2.0.40', 'stock') / 'System.map').read_text().splitlines()
    return {name: int(address, 16) & 0x3fffffff for address, _, name in map(str.split, lines)}


def test_dead_qemu_is_reported():
    with Lab(kernel('2.0.40', 'stock')) as net:
        machine = net.machine('mortal', [])
        net.boot()
        machine.background('/bin/sleep 1000')
        os.kill(machine.pid, signal.SIGKILL)
        with pytest.raises(Panic, match='mortal: QEMU has ended'):
            machine.sh('sleep 100')
        machine.stop()


def test_nothing_is_left_behind(namespaces):
    """Neither processes nor namespaces, even if the lab is killed."""
    story = textwrap.dedent('''
        import sys
        from lab import Lab, kernel
        with Lab(kernel('2.0.40', 'stock')) as net:
            wire = net.wire('w')
            host = net.host('host', wire, '10.1.1.1/24')
            program = host.popen(['sleep', '1000'])
            net.machine('guest', [(wire, '10.1.1.2/24')])
            net.boot()
            print(net.machines[0].pid, host.pid, program.pid, flush=True)
            sys.stdin.readline()
    ''')
    for kill in (False, True):
        process = subprocess.Popen([sys.executable, '-c', story], text=True, cwd=pathlib.Path(__file__).parent,
                                   stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        pids = [int(pid) for pid in process.stdout.readline().split()]
        assert len(pids) == 3 and all(pathlib.Path(f'/proc/{pid}').exists() for pid in pids)
        namespace = os.readlink(f'/proc/{pids[1]}/ns/net')
        assert namespace != os.readlink('/proc/self/ns/net')
        if kill:
            process.kill()
        process.communicate('\n')
        loop.wait(lambda: not any(running(pid) for pid in pids), 30, 'end of QEMU, namespace and program', poll=0.02)
        for entry in pathlib.Path('/proc').glob('[0-9]*/ns/net'):
            try:
                assert os.readlink(entry) != namespace
            except (FileNotFoundError, PermissionError, ProcessLookupError):
                pass


def running(pid):
    """Whether it is there and no mere zombie waiting for its new parent."""
    try:
        return pathlib.Path(f'/proc/{pid}/stat').read_text().rsplit(')', 1)[1].split()[0] != 'Z'
    except (FileNotFoundError, ProcessLookupError):
        return False
