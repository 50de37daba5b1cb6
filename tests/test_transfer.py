# SPDX-License-Identifier: GPL-2.0-only
"""Real hosts of today, with their own TCP, on both sides of the gateway."""

import hashlib
import random

import pytest

import lab

MIB = 1 << 20
# A web server that also takes files; each is answered with its SHA-256.
WEB_SERVER = '''
import hashlib, http.server
class Handler(http.server.SimpleHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    def do_PUT(self):
        total, left = hashlib.sha256(), int(self.headers['Content-Length'])
        while left:
            data = self.rfile.read(min(left, 65536))
            total.update(data)
            left -= len(data)
        answer = f'{total.hexdigest()} {self.client_address[0]}'.encode()
        self.send_response(200)
        self.send_header('Content-Length', str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)
    def log_message(self, *_):
        pass
http.server.ThreadingHTTPServer.request_queue_size = 128
http.server.ThreadingHTTPServer(('10.0.0.2', 80), Handler).serve_forever()
'''


@pytest.fixture(scope='module')
def net(namespaces):
    with lab.example(server='host', client='host', nic='tulip') as net:
        yield net.boot()


@pytest.fixture(scope='module')
def files(net, tmp_path_factory):
    """What the web server has: a file of 64 MiB, and fifty small ones."""
    folder = tmp_path_factory.mktemp('www')
    data = random.Random(1997)
    (folder / 'large').write_bytes(data.randbytes(64 * MIB))
    for number in range(50):
        (folder / str(number)).write_bytes(data.randbytes(100_000 + number))
    net.server.popen(['/usr/bin/python3', '-c', WEB_SERVER], cwd=folder)
    net.server.wait_listening(80)
    return folder


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def test_64_mib_from_inside(net, files, tmp_path):
    net.client.run(['curl', '-sS', '--fail', '-o', tmp_path / 'got', 'http://194.160.1.1/large'], timeout=300)
    assert sha256((tmp_path / 'got').read_bytes()) == sha256((files / 'large').read_bytes())


def test_64_mib_from_outside(net, files):
    answer = net.client.run(['curl', '-sS', '--fail', '-T', files / 'large', 'http://194.160.1.1/put'], timeout=300)
    assert answer.out.split() == [sha256((files / 'large').read_bytes()), '163.158.1.2']


def test_50_clients_at_once(net, files, tmp_path):
    """Each has an address of its own, and they all have it the same port."""
    for number in range(50):
        net.client.run(['ip', 'address', 'add', f'163.158.1.{100 + number}/24', 'dev', 'eth0'])
    clients = [net.client.popen(['curl', '-sS', '--fail', '--interface', f'163.158.1.{100 + number}',
                                 '--local-port', '7890', '-o', tmp_path / str(number),
                                 f'http://194.160.1.1/{number}']) for number in range(50)]
    assert [net.client.wait(client, timeout=300) for client in clients] == [0] * 50
    for number in range(50):
        assert (tmp_path / str(number)).read_bytes() == (files / str(number)).read_bytes()


def test_inside_hosts_reach_outside_meanwhile(net, files, tmp_path):
    """Ordinary masquerading goes on while a port is forwarded."""
    outer = net.client.popen(['/usr/bin/python3', '-m', 'http.server', '--bind', '163.158.1.2', '8000'],
                             cwd=files, stderr=open(tmp_path / 'log', 'w'))
    net.client.wait_listening(8000)
    forwarded = net.client.popen(['curl', '-sS', '--fail', '-o', tmp_path / 'in', 'http://194.160.1.1/large'])
    masqueraded = net.server.popen(['curl', '-sS', '--fail', '-o', tmp_path / 'out', 'http://163.158.1.2:8000/large'])
    assert net.client.wait(forwarded, timeout=600) == 0
    assert net.server.wait(masqueraded, timeout=600) == 0
    assert (tmp_path / 'in').read_bytes() == (tmp_path / 'out').read_bytes() == (files / 'large').read_bytes()
    outer.kill()
    assert (tmp_path / 'log').read_text().startswith('194.160.1.1 ')
