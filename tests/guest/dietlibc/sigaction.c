// SPDX-License-Identifier: GPL-2.0-only
// 2.0 knows 32 signals, and its struct sigaction has the mask before the flags.
#include <signal.h>
#include <sys/syscall.h>

struct old_sigaction {
	void (*handler)(int);
	unsigned long mask, flags;
	void (*restorer)(void);
};

int sigaction(int sig, const struct sigaction *act, struct sigaction *oldact)
{
	struct old_sigaction new, old;

	if (act) {
		new.handler = act->sa_handler;
		new.mask = act->sa_mask.sig[0];
		new.flags = act->sa_flags & ~SA_RESTORER;
		new.restorer = 0;
	}
	if (syscall(__NR_sigaction, sig, act ? &new : 0, oldact ? &old : 0))
		return -1;
	if (oldact) {
		sigemptyset(&oldact->sa_mask);
		oldact->sa_handler = old.handler;
		oldact->sa_mask.sig[0] = old.mask;
		oldact->sa_flags = old.flags;
		oldact->sa_restorer = 0;
	}
	return 0;
}
