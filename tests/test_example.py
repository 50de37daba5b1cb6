# SPDX-License-Identifier: GPL-2.0-only
"""The example of the README, between three 2.0 machines."""

import pytest

import lab

PAGE = '<h1>Hello from 10.0.0.2</h1>\n'
SERVER = ('httpd -f -vv -h /www >/tmp/httpd.log 2>&1 &\n'
          'nc -u -l -p 525 -e /bin/cat &\n')
LISTING = ('Prot Local Addr/Port > Remote Addr/Port\n'
           'TCP 194.160.1.1/80 > 10.0.0.2/80\n'
           'UDP 194.160.1.1/525 > 10.0.0.2/525\n')


@pytest.fixture(scope='module')
def net():
    with lab.example(client='machine', server_rc=SERVER, server_files={'/www/index.html': PAGE}) as net:
        yield net.boot()


def test_the_boot_script_lists_the_rules(net):
    assert net.gateway.boot_output == LISTING


def test_a_web_page_comes_from_inside(net):
    get = "printf 'GET /index.html HTTP/1.0\\r\\n\\r\\n' | nc -p 7890 194.160.1.1 80"
    answer = net.client.sh(get).out
    assert answer.startswith('HTTP/1.1 200 OK\r\n')
    assert answer.endswith('\r\n\r\n' + PAGE)
    log = net.server.sh('cat /tmp/httpd.log').out
    assert '163.158.1.2' in log and '10.0.0.1' not in log


def test_netstat_and_ipfwadm_show_the_connection_while_it_lives(net):
    net.client.sh('(/bin/sleep 1000 | nc -p 7892 194.160.1.1 80) >/dev/null 2>&1 &')
    row = net.gateway.until("netstat -M -n | grep -w 7892").out.split()
    assert [row[0], *row[2:]] == ['tcp', '10.0.0.2', '163.158.1.2', '80', '->', '7892', '(80)'], row
    row = net.gateway.sh('ipfwadm -M -l -n | grep 7892').out.split()
    assert [row[0], *row[2:]] == ['tcp', '10.0.0.2', '163.158.1.2', '80', '(80)', '->', '7892'], row


def test_a_datagram_and_its_answer(net):
    ask = "echo 'is it five past five?' | nc -u -w 1 -p 7891 194.160.1.1 525"
    assert net.client.sh(ask).out == 'is it five past five?\n'
    assert 'udp' in net.gateway.sh('netstat -M -n | grep 7891').out


def test_it_uses_no_masquerading_port(net):
    assert '(free=4096,4096,4096)' in net.gateway.sh('cat /proc/net/ip_masquerade').out
