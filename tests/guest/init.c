// SPDX-License-Identifier: GPL-2.0-only
/*
 * The first process of a test machine. The first serial line, ttyS0, takes
 * commands from the lab: it is raw, so that what programs write arrives
 * unchanged. The second, ttyS1, is for a person.
 *
 * Once the machine is up and /etc/rc has run, "\001READY\n" goes out on ttyS0.
 * On SIGUSR1 all other processes are killed and none is started again. On
 * SIGTERM, which is what "reboot" sends, the machine starts anew.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

// The image is made without root, so without device files.
static const struct {
	const char *path;
	mode_t mode;
	int major, minor;
} nodes[] = {
	{ "/dev/ram", S_IFBLK | 0600, 1, 1 },
	{ "/dev/hda", S_IFBLK | 0600, 3, 0 },
	{ "/dev/hdb", S_IFBLK | 0600, 3, 64 },
	{ "/dev/mem", S_IFCHR | 0600, 1, 1 },
	{ "/dev/kmem", S_IFCHR | 0600, 1, 2 },
	{ "/dev/null", S_IFCHR | 0666, 1, 3 },
	{ "/dev/port", S_IFCHR | 0600, 1, 4 },
	{ "/dev/zero", S_IFCHR | 0666, 1, 5 },
	{ "/dev/full", S_IFCHR | 0666, 1, 7 },
	{ "/dev/random", S_IFCHR | 0666, 1, 8 },
	{ "/dev/urandom", S_IFCHR | 0666, 1, 9 },
	{ "/dev/tty1", S_IFCHR | 0600, 4, 1 },
	{ "/dev/ttyS0", S_IFCHR | 0600, 4, 64 },
	{ "/dev/ttyS1", S_IFCHR | 0600, 4, 65 },
	{ "/dev/tty", S_IFCHR | 0666, 5, 0 },
};

static const char *failed;	// the first thing that went wrong

static void check(int result, const char *what)
{
	static char text[80];

	if (result == -1 && !failed) {
		snprintf(text, sizeof(text), "init: %s: %s\n", what, strerror(errno));
		failed = text;
	}
}

static void prepare(void)
{
	const char *name = getenv("host");
	unsigned int i;
	int fd;

	umask(0);
	check(mount("/dev/ram", "/", "ext2", MS_REMOUNT, 0), "remount of /");
	for (i = 0; i < sizeof(nodes) / sizeof(nodes[0]); i++)
		if (mknod(nodes[i].path, nodes[i].mode,
			  nodes[i].major << 8 | nodes[i].minor) &&
		    errno != EEXIST)
			check(-1, nodes[i].path);
	umask(022);
	// Without a console the kernel starts us without open files.
	while ((fd = open("/dev/null", O_RDWR)) >= 0 && fd <= 2)
		;
	close(fd);
	check(mount("proc", "/proc", "proc", 0, 0), "mount of /proc");
	if (name)
		check(sethostname(name, strlen(name)), "host name");
	setenv("PATH", "/bin:/sbin:/usr/local/sbin", 1);
	setenv("HOME", "/", 1);
	setenv("TERM", "vt100", 1);
}

// Opens a serial line at 115200 baud without waiting for a carrier.
static int open_line(const char *path, int raw)
{
	struct termios t;
	int fd;

	// A line still being closed after a hang-up: 2.0 waits for the end of
	// that and says EAGAIN, or the number 512 that is not meant for us.
	do
		fd = open(path, O_RDWR | O_NONBLOCK | O_NOCTTY);
	while (fd < -1 || (fd == -1 && errno == EAGAIN));
	if (fd == -1)
		return -1;
	if (tcgetattr(fd, &t)) {
		close(fd);
		return -1;
	}
	t.c_cflag = B115200 | CS8 | CREAD | CLOCAL;
	t.c_iflag = raw ? 0 : ICRNL;
	t.c_oflag = raw ? 0 : OPOST | ONLCR;
	t.c_lflag = raw ? 0 : ISIG | ICANON | IEXTEN | ECHO | ECHOE | ECHOK;
	if (raw) {
		t.c_cc[VMIN] = 1;
		t.c_cc[VTIME] = 0;
	}
	tcsetattr(fd, TCSANOW, &t);
	fcntl(fd, F_SETFL, O_RDWR);
	return fd;
}

static void set_stdio(int in, int out)
{
	dup2(in, 0);
	dup2(out, 1);
	dup2(out, 2);
	if (in > 2)
		close(in);
	if (out > 2 && out != in)
		close(out);
}

static void run_rc(int line)
{
	int status;
	pid_t pid;

	if (access("/etc/rc", R_OK))
		return;
	pid = fork();
	if (!pid) {
		setsid();
		set_stdio(open("/dev/null", O_RDONLY), line);
		execl("/bin/sh", "sh", "/etc/rc", (char *)0);
		_exit(127);
	}
	while (waitpid(pid, &status, 0) != pid)
		;
}

static pid_t start_lab_shell(int line)
{
	pid_t pid = fork();

	if (pid)
		return pid;
	// No leader of a session: with the line as its terminal, its end would
	// hang the line up.
	setpgid(0, 0);
	set_stdio(open("/dev/null", O_RDONLY), line);
	// As a script the line is not read by what the commands start, and the
	// shell does not take it for a person's.
	execl("/bin/sh", "sh", "/dev/ttyS0", (char *)0);
	_exit(127);
}

static pid_t start_person_shell(void)
{
	pid_t pid = fork();
	char name[65] = "", prompt[70];
	int line;

	if (pid)
		return pid;
	setsid();
	line = open_line("/dev/ttyS1", 0);
	if (line == -1)
		for (;;)	// no such line: nothing to start again
			pause();
	ioctl(line, TIOCSCTTY, 0);
	set_stdio(line, line);
	gethostname(name, sizeof(name) - 1);
	snprintf(prompt, sizeof(prompt), "%s# ", name);
	setenv("PS1", prompt, 1);
	execl("/bin/sh", "sh", "-i", (char *)0);
	_exit(127);
}

static void be_alone(int sig)
{
	kill(-1, SIGKILL);
	for (;;)
		pause();
}

static void start_anew(int sig)
{
	sync();
	reboot(RB_AUTOBOOT);
}

int main(void)
{
	pid_t lab, person, dead;
	int line;

	prepare();
	line = open_line("/dev/ttyS0", 1);
	fcntl(line, F_SETFD, FD_CLOEXEC);
	signal(SIGUSR1, be_alone);
	signal(SIGTERM, start_anew);
	if (failed)
		write(line, failed, strlen(failed));
	run_rc(line);
	write(line, "\001READY\n", 7);
	lab = start_lab_shell(line);
	person = start_person_shell();
	for (;;) {
		dead = wait(0);
		if (dead == lab)
			lab = start_lab_shell(line);
		else if (dead == person)
			person = start_person_shell();
	}
}
