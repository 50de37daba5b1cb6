# SPDX-License-Identifier: GPL-2.0-only
"""The kernel's own checks: what setsockopt takes, refuses, and why."""

import errno
import socket
import struct
import subprocess

import pytest

import lab

ADD, DELETE, FLUSH = 65 | 6 << 8, 66 | 6 << 8, 67 | 6 << 8
TCP, UDP = 6, 17
HEADING = 'Prot Local Addr/Port > Remote Addr/Port'
KEPT = 'TCP 194.160.1.1/80 > 10.0.0.2/80'


@pytest.fixture(scope='module')
def gateway(tmp_path_factory):
    program = tmp_path_factory.mktemp('guest') / 'setsockopt'
    source = lab.TOP / 'tests/guest/setsockopt.c'
    subprocess.run([lab.guest() / 'bin/guest-cc', '-o', program, source], check=True)
    with lab.example(server='station', files={'/bin/setsockopt': program.read_bytes()}) as net:
        yield net.boot().gateway


def edits(protocol=TCP, laddr='194.160.1.1', raddr='10.0.0.2', lport=8000, rport=80, hole=0xa5, dummy=0xa5a5):
    """The 20 bytes as the original's compiler laid them out, with rubbish where
    it left some."""
    def host(address):
        return struct.unpack('!I', socket.inet_aton(address))[0]

    return struct.pack('<HBBIIHHHBB', protocol, hole, hole, host(laddr), host(raddr), lport, rport,
                       dummy, hole, hole)


def table(gateway):
    return gateway.sh('ipportfw -L').out.splitlines()[1:]


@pytest.fixture(autouse=True)
def one_rule(gateway):
    gateway.sh('ipportfw -C; ipportfw -A -t194.160.1.1/80 -R 10.0.0.2/80')


def call(gateway, option, data, *flags):
    """The errno of setsockopt."""
    return gateway.sh(' '.join(['setsockopt', *flags, str(option), data.hex()]), check=False).status


def test_add_replace_delete_flush(gateway):
    assert call(gateway, ADD, edits(UDP, '0.0.0.0', '10.0.0.9', 53, 5353)) == 0
    assert call(gateway, ADD, edits(lport=80, raddr='10.0.0.3', rport=81)) == 0
    assert table(gateway) == ['TCP 194.160.1.1/80 > 10.0.0.3/81', 'UDP 0.0.0.0/53 > 10.0.0.9/5353']
    # delete looks at the local side only
    assert call(gateway, DELETE, edits(lport=80, raddr='0.0.0.0', rport=0)) == 0
    assert table(gateway) == ['UDP 0.0.0.0/53 > 10.0.0.9/5353']
    assert call(gateway, FLUSH, b'\xa5' * 20) == 0
    assert call(gateway, FLUSH, b'\xa5' * 20) == 0
    assert table(gateway) == []


@pytest.mark.parametrize('fields', [
    {'protocol': 0}, {'protocol': 1}, {'protocol': 255}, {'protocol': 6 + 256},
    {'raddr': '0.0.0.0'}, {'raddr': '255.255.255.255'}, {'raddr': '224.0.0.1'}, {'raddr': '240.0.0.1'},
    {'raddr': '127.0.0.1'}, {'raddr': '10.0.0.255'}, {'raddr': '10.0.0.0'},
    {'laddr': '255.255.255.255'}, {'laddr': '224.0.0.1'}, {'laddr': '194.160.1.255'},
    {'lport': 0}, {'rport': 0}, {'lport': 61000}, {'lport': 65096}, {'lport': 63000},
], ids=str)
def test_einval_of_a_field(gateway, fields):
    assert call(gateway, ADD, edits(**fields)) == errno.EINVAL
    assert table(gateway) == [KEPT]


@pytest.mark.parametrize('fields', [
    {'lport': 1}, {'lport': 65535}, {'lport': 60999}, {'lport': 65097}, {'rport': 1}, {'rport': 65535},
    {'rport': 61000}, {'laddr': '0.0.0.0'}, {'raddr': '10.0.0.254'}, {'raddr': '223.255.255.254'},
], ids=str)
def test_the_edges_are_taken(gateway, fields):
    assert call(gateway, ADD, edits(**fields)) == 0
    assert len(table(gateway)) == 2


@pytest.mark.parametrize('option', [ADD, DELETE, FLUSH])
@pytest.mark.parametrize('length', [0, 1, 4, 19, 21, 24, 200])
def test_einval_of_a_wrong_length(gateway, option, length):
    assert call(gateway, option, (edits(lport=80) * 10)[:length]) == errno.EINVAL
    assert table(gateway) == [KEPT]


def test_enoent_of_no_such_rule(gateway):
    for fields in {'lport': 81}, {'laddr': '194.160.1.2', 'lport': 80}, {'protocol': UDP, 'lport': 80}:
        assert call(gateway, DELETE, edits(**fields)) == errno.ENOENT
    assert table(gateway) == [KEPT]


def test_eperm_of_whoever_is_not_root(gateway):
    for option, data in (ADD, edits()), (DELETE, edits(lport=80)), (FLUSH, edits()), (ADD, b''):
        assert call(gateway, option, data, '-u') == errno.EPERM
    assert table(gateway) == [KEPT]


def test_other_options_are_still_unknown(gateway):
    for option in ADD - 1, FLUSH + 1, 65 | 7 << 8:
        assert call(gateway, option, edits()) == errno.ENOPROTOOPT


def test_the_file_is_the_table_in_lines_of_64(gateway):
    gateway.sh('ipportfw -A -u0.0.0.0/1 -R 223.255.255.254/65535')
    lines = [HEADING, KEPT, 'UDP 0.0.0.0/1 > 223.255.255.254/65535']
    wanted = ''.join(f'{line:63}\n' for line in lines)
    assert gateway.sh('cat /proc/net/ip_portfw').out == wanted
    for size in 1, 7, 63, 64, 65, 100:
        assert gateway.sh(f'dd if=/proc/net/ip_portfw bs={size} 2>/dev/null').out == wanted


def test_the_tool_speaks_of_what_the_kernel_refuses(gateway):
    for command, status, words in (
            ('-D -t194.160.1.1/81', 1, 'no'), ('-A -t194.160.1.1/81 -R 10.0.0.255/80', 1, ''),
            ('-A -t194.160.1.1/61000 -R 10.0.0.2/80', 2, '61000'), ('-C extra', 2, 'extra')):
        result = gateway.sh(f'ipportfw {command}', check=False)
        assert result.status == status and result.out == '', result
        assert result.err.startswith('ipportfw: ') and result.err.count('\n') == 1 and words in result.err, result
    assert table(gateway) == [KEPT]


def test_a_kernel_without_the_option():
    with lab.example(lab.kernel(flavour='off'), server='station', rc='') as net:
        gateway = net.boot().gateway
        for command in '-L', '-C', '-D -t194.160.1.1/80', '-A -t194.160.1.1/80 -R 10.0.0.2/80':
            result = gateway.sh(f'ipportfw {command}', check=False)
            assert result.status == 1 and result.out == '' and result.err.count('\n') == 1, result
            assert 'CONFIG_IP_MASQUERADE_IPPORTFW' in result.err, result
