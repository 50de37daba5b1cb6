# SPDX-License-Identifier: GPL-2.0-only
"""make demo: the example of the README, for real, as a transcript."""

import sys

import lab
from lab import CLIENT, IP, TCP, UDP, BOOT_SCRIPT, LabError, loop

PAGE = '<h1>Hello from 10.0.0.2</h1>\n'
SERVER = ('httpd -f -vv -h /www >/tmp/httpd.log 2>&1 &\n'
          'nc -u -l -p 525 -e /bin/cat &\n')
FILES = {'/www/index.html': PAGE}
GET = "printf 'GET /index.html HTTP/1.0\\r\\n\\r\\n' | nc -p 7890 194.160.1.1 80"
DATAGRAM = "echo 'is it five past five?' | nc -u -w 1 -p 7891 194.160.1.1 525"
FLAGS = {'S': 'SYN', 'F': 'FIN', 'R': 'RST', 'P': 'PSH', 'A': 'ACK', 'U': 'URG'}
BOLD, DIM, PLAIN = ('\033[1m', '\033[2m', '\033[0m') if sys.stdout.isatty() else ('', '', '')


def tell(heading, text=''):
    print(f'\n{BOLD}{heading}{PLAIN}\n{"-" * len(heading)}{text}', flush=True)


def must(true, complaint):
    if not true:
        raise LabError(complaint)


def show(machine, command):
    """Run a command on a machine, as if somebody sat there."""
    print(f'{DIM}{machine.name}#{PLAIN} {command}', flush=True)
    result = machine.sh(command)
    print(result.out + result.err, end='', flush=True)
    return result.out


def watch(net, layer, command):
    """Have the client run a command. Returns what it printed, and each packet
    of a protocol twice: the (wire, packet) that the gateway received, and the
    one that it sent."""
    with net.outside.capture() as outside, net.inside.capture() as inside:
        out = show(net.client, command)
        loop.settle()
        loop.wait(lambda: len(inside.only(layer)) == len(outside.only(layer)), 30,
                  'as many frames inside as outside', poll=0.05)

    def by_name(frames):
        # What no router changes: who it is from or for, and its number there.
        return {(p[IP].src == CLIENT, p[IP].id): p for p in frames.only(layer)}

    there = by_name(inside)
    pairs = []
    for name, packet in by_name(outside).items():
        must(name in there, f'this frame is on the wire outside only: {packet.summary()}')
        pairs.append(sorted([('outside', packet), ('inside', there[name])], key=lambda seen: -seen[1].ttl))
    return out, pairs


def table(pairs, layer):
    """The packets, what the gateway has written in bold."""
    print(f'{DIM}     wire     from              to                TTL  data  flags{PLAIN}')
    for number, pair in enumerate(pairs, 1):
        before = None
        for wire, packet in pair:
            lab.check_sums(packet)
            ip, segment = packet[IP], packet[layer]
            ends = [f'{ip.src}/{segment.sport}', f'{ip.dst}/{segment.dport}']
            fields = [f'{BOLD}{end:18}{PLAIN}' if before and end not in before else f'{end:18}' for end in ends]
            flags = ' '.join(FLAGS[flag] for flag in str(segment.flags)) if layer is TCP else ''
            print(f'{number if before is None else "":>3}  {wire:9}{"".join(fields)}'
                  f'{ip.ttl:3} {len(segment.payload):5}  {flags}'.rstrip())
            before = ends
    must(all(bytes(came[1][layer].payload) == bytes(went[1][layer].payload) for came, went in pairs),
         'the gateway has changed the data of a packet')


def main(version):
    print(f'''
{BOLD}A Linux {version} gateway forwards a port.{PLAIN}

Three machines, each with a Linux kernel of its own in QEMU, on two wires:

  client                              gateway                        web server
  163.158.1.2 ---- outside ---- 194.160.1.1 10.0.0.1 ---- inside ---- 10.0.0.2

The network inside is private: nobody outside can send anything to 10.0.0.2. By
the gateway's ports, its web server serves the world all the same.
''', flush=True)
    kernel = lab.kernel(version)
    lab.guest()
    with lab.example(kernel, client='machine', server_rc=SERVER, server_files=FILES) as net:
        print('  booting three machines ...', flush=True)
        net.boot()
        print(f"  they are up; the gateway says: {net.gateway.sh('uname -srm').out.strip()}", flush=True)

        tell('The boot script of the gateway', '''
It sets masquerading up as ever, and then two rules: a TCP port for the web, a
UDP port besides. Its last line lists them.
''')
        print(''.join(f'{DIM}gateway#{PLAIN} {line}\n' for line in BOOT_SCRIPT.splitlines()), end='')
        print(net.gateway.boot_output, end='', flush=True)

        tell('A web page', '''
The client knows the gateway only. From port 7890, it asks it for a page:
''')
        page, packets = watch(net, TCP, GET)
        must(page.endswith(PAGE), 'the page did not come')

        tell('What was on the wires', '''
Every packet is there twice: as the gateway received it, and as it sent it on.
Inward it has a new destination, outward a new source, and always a TTL one
lower. The data is the same, and every checksum is right.
''')
        table(packets, TCP)

        tell('The log of the server', '''
The server has seen the client itself, not the gateway:
''')
        must(CLIENT in show(net.server, 'cat /tmp/httpd.log'), 'the server did not see the client')

        tell('A datagram and its answer', '''
The server gives back what it is sent on UDP port 525:
''')
        answer, packets = watch(net, UDP, DATAGRAM)
        must(answer == 'is it five past five?\n', 'no answer came')
        print()
        table(packets, UDP)

        tell('The table of connections', '''
To the gateway, a forwarded connection is a masqueraded one that began outside.
The tools of the time show it as long as it is remembered:
''')
        for command in 'netstat -M -n', 'ipfwadm -M -l -n':
            must(show(net.gateway, command).count(CLIENT) == 2, f'{command} does not show the connections')

        tell('The programs on the gateway', '''
None of them had a hand in this: the kernel forwards by itself.
''')
        show(net.gateway, 'ps')
    print('\nThat was it. Try it yourself: make run')


if __name__ == '__main__':
    try:
        main(*sys.argv[1:])
    except LabError as error:
        sys.exit(f'make demo: {error}')
    except KeyboardInterrupt:
        sys.exit(130)
