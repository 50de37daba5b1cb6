// SPDX-License-Identifier: GPL-2.0-only
#include <signal.h>
#include <sys/syscall.h>

int sigpending(sigset_t *set)
{
	sigemptyset(set);
	return syscall(__NR_sigpending, set->sig);
}
