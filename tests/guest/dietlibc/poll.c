// SPDX-License-Identifier: GPL-2.0-only
// poll by select. A hang-up or error shows as readable or writable, as it
// does in select; the read or write that follows tells.
#include <errno.h>
#include <fcntl.h>
#include <sys/poll.h>
#include <sys/select.h>

// How many of the descriptors are not open, each marked so.
static int mark_closed(struct pollfd *fds, nfds_t nfds)
{
	int closed = 0;
	nfds_t i;

	for (i = 0; i < nfds; i++) {
		fds[i].revents = 0;
		if (fds[i].fd >= 0 && fcntl(fds[i].fd, F_GETFD) == -1) {
			fds[i].revents = POLLNVAL;
			closed++;
		}
	}
	return closed;
}

int poll(struct pollfd *fds, nfds_t nfds, int timeout)
{
	struct timeval tv = { timeout / 1000, timeout % 1000 * 1000 };
	fd_set in, out, urgent;
	int highest = -1, ready;
	nfds_t i;

	FD_ZERO(&in);
	FD_ZERO(&out);
	FD_ZERO(&urgent);
	for (i = 0; i < nfds; i++) {
		fds[i].revents = 0;
		if (fds[i].fd < 0)
			continue;
		if (fds[i].fd >= FD_SETSIZE) {
			errno = EINVAL;
			return -1;
		}
		if (fds[i].events & POLLIN)
			FD_SET(fds[i].fd, &in);
		if (fds[i].events & POLLOUT)
			FD_SET(fds[i].fd, &out);
		if (fds[i].events & POLLPRI)
			FD_SET(fds[i].fd, &urgent);
		if (fds[i].fd > highest)
			highest = fds[i].fd;
	}
	ready = select(highest + 1, &in, &out, &urgent, timeout < 0 ? 0 : &tv);
	if (ready == -1 && errno == EBADF)
		return mark_closed(fds, nfds);
	if (ready <= 0)
		return ready;
	ready = 0;
	for (i = 0; i < nfds; i++) {
		if (fds[i].fd < 0)
			continue;
		if (FD_ISSET(fds[i].fd, &in))
			fds[i].revents |= POLLIN;
		if (FD_ISSET(fds[i].fd, &out))
			fds[i].revents |= POLLOUT;
		if (FD_ISSET(fds[i].fd, &urgent))
			fds[i].revents |= POLLPRI;
		ready += !!fds[i].revents;
	}
	return ready;
}
