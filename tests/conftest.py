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
