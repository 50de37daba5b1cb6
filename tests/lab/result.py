# SPDX-License-Identifier: GPL-2.0-only
"""What a command came to, in a guest or on a host."""

import dataclasses

from .loop import LabError


@dataclasses.dataclass(frozen=True)
class Result:
    who: str
    command: str
    status: int
    out_bytes: bytes
    err_bytes: bytes

    @property
    def out(self):
        return self.out_bytes.decode(errors='surrogateescape')

    @property
    def err(self):
        return self.err_bytes.decode(errors='surrogateescape')

    def checked(self):
        """This result, if the command succeeded."""
        if self.status:
            raise CommandFailed(self)
        return self


class CommandFailed(LabError):
    def __init__(self, result):
        self.result = result
        super().__init__(f'{result.who}: {result.command}: exit status {result.status}\n'
                         f'{result.out}{result.err}')
