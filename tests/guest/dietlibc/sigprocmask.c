// SPDX-License-Identifier: GPL-2.0-only
#include <signal.h>
#include <sys/syscall.h>

int sigprocmask(int how, const sigset_t *set, sigset_t *oldset)
{
	unsigned long old;

	if (syscall(__NR_sigprocmask, how, set ? set->sig : 0, &old))
		return -1;
	if (oldset) {
		sigemptyset(oldset);
		oldset->sig[0] = old;
	}
	return 0;
}
