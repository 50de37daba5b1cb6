# SPDX-License-Identifier: GPL-2.0-only
"""What all tests share."""

import os

import pytest

import lab


@pytest.fixture(scope='session')
def namespaces():
    """To be asked for by tests with real hosts in their network."""
    try:
        lab.Host('trial', lab.Wire('trial'), '52:54:00:ff:ff:ff', '192.0.2.1/24').close()
    except lab.NoNamespaces as reason:
        if os.geteuid() == 0:
            raise
        pytest.skip(f'a real host needs root: {reason}')


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport():
    """A failure shows what each machine has said."""
    report = (yield).get_result()
    if report.failed:
        for network in lab.Lab.alive:
            for machine in network.machines:
                report.sections.append((f'console of {machine.name}', machine.console()))


TABLES = pytest.StashKey()


def pytest_configure(config):
    config.stash[TABLES] = {}


@pytest.fixture(scope='session')
def tables(pytestconfig):
    """Tables to be shown at the end: title -> rows of words, the first the head."""
    return pytestconfig.stash[TABLES]


def pytest_terminal_summary(terminalreporter, config):
    for title, rows in config.stash[TABLES].items():
        terminalreporter.section(title)
        widths = [max(map(len, column)) for column in zip(*rows)]
        for row in rows:
            terminalreporter.line('  '.join(word.ljust(width) for word, width in zip(row, widths)).rstrip())
