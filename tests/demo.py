# SPDX-License-Identifier: GPL-2.0-only
"""make demo: the example of the README, for real, as a transcript."""

import sys

import lab
from lab.network import BOOT_SCRIPT

PAGE = '<h1>Hello from 10.0.0.2</h1>\n'
SERVER = ('httpd -f -vv -h /www >/tmp/httpd.log 2>&1 &\n'
          'nc -u -l -p 525 -e /bin/cat &\n')
GET = "printf 'GET /index.html HTTP/1.0\\r\\n\\r\\n' | nc -p 7890 194.160.1.1 80"
DATAGRAM = "echo 'is it five past five?' | nc -u -w 1 -p 7891 194.160.1.1 525"
BOLD, DIM, PLAIN = ('\033[1m', '\033[2m', '\033[0m') if sys.stdout.isatty() else ('', '', '')


def tell(text):
    print(f'\n{BOLD}{text}{PLAIN}\n', flush=True)


def show(machine, command, **options):
    """Run a command on a machine, as if somebody sat there."""
    print(f'{DIM}{machine.name}#{PLAIN} {command}', flush=True)
    result = machine.sh(command, **options)
    print(result.out + result.err, end='', flush=True)
    return result


def travel(frames, layer):
    """The packets of a protocol, one line each."""
    for packet in frames.only(layer):
        ip, segment = packet['IP'], packet[layer]
        what = f'[{segment.flags}]' if layer.__name__ == 'TCP' else ''
        print(f'  {ip.src}/{segment.sport:<5} > {ip.dst}/{segment.dport:<5} '
              f'ttl {ip.ttl} {what:5} {len(segment.payload)} bytes')


def main(version):
    print(f'''
ipportfw: a real Linux {version} gateway, booted in QEMU

   client                     gateway                     web server
   163.158.1.2 ---- outside ---- 194.160.1.1
                              10.0.0.1 ---- inside ---- 10.0.0.2
''', flush=True)
    kernel = lab.kernel(version)
    lab.guest()
    with lab.example(kernel, client='machine', server_rc=SERVER,
                     server_files={'/www/index.html': PAGE}) as net:
        print('  booting three machines …', flush=True)
        net.boot()
        print(f"  {net.gateway.sh('uname -sr').out.strip()} is up", flush=True)

        tell('The gateway has run its boot script:')
        print(f'{DIM}{BOOT_SCRIPT}{PLAIN}{net.gateway.boot_output}', end='')

        tell('A client outside asks the gateway for a web page, from its port 7890:')
        with net.outside.capture() as outside, net.inside.capture() as inside:
            page = show(net.client, GET).out
        assert PAGE in page, 'the page did not come'

        tell('What went over the wire outside, and inside:')
        travel(outside, lab.TCP)
        print()
        travel(inside, lab.TCP)

        tell('The server has seen the client itself, not the gateway:')
        log = show(net.server, 'cat /tmp/httpd.log').out
        assert '163.158.1.2' in log, 'the server did not see the client'

        tell('A datagram to UDP port 525, and its answer:')
        assert show(net.client, DATAGRAM).out == 'is it five past five?\n', 'no answer came'

        tell('The gateway keeps them as masqueraded connections:')
        table = show(net.gateway, 'netstat -M -n').out
        assert '163.158.1.2' in table, 'netstat -M does not show the connection'
        show(net.gateway, 'ipfwadm -M -l -n')

        tell('No program on it had a hand in this:')
        show(net.gateway, 'ps')
    tell('Done. Try it yourself: make run')


main(*sys.argv[1:])
