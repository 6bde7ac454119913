/* A program of -x that has one connection at a time, and releases that are broken:
 *
 *   serve ...            answers requests on descriptor 3, drains at SIGTERM
 *   serve crash ...      says that it is ready, and crashes
 *   serve noise P ...    becomes P, beside a child that floods NOTIFY_SOCKET and signals main
 *
 * A connection that is idle for IDLE seconds is closed, and no sooner: a client that asks
 * again before that gets its answer, the last one if it was told to stop.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { LISTENER = 3, IDLE = 5 };

static volatile sig_atomic_t stopping;

static void stop(int number)
{
	(void)number;
	stopping = 1;
}

/* Sends a message, with this descriptor if it is one. */
static void notify(const char *text, int rights)
{
	const char *name = getenv("NOTIFY_SOCKET");
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	union { struct cmsghdr head; char bytes[CMSG_SPACE(sizeof(int))]; } control;
	struct iovec part = { (void *)text, strlen(text) };
	struct msghdr message = { &to, 0, &part, 1, NULL, 0, 0 };
	int out = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (!name || out < 0)
		exit(3);
	strncpy(to.sun_path, name, sizeof to.sun_path - 1);
	message.msg_namelen = offsetof(struct sockaddr_un, sun_path) + strlen(to.sun_path);
	if (name[0] == '@')
		to.sun_path[0] = 0;
	if (rights >= 0) {
		control.head = (struct cmsghdr){ CMSG_LEN(sizeof rights), SOL_SOCKET, SCM_RIGHTS };
		memcpy(CMSG_DATA(&control.head), &rights, sizeof rights);
		message.msg_control = &control;
		message.msg_controllen = sizeof control.bytes;
	}
	/* Main may have ended this generation already. */
	(void)sendmsg(out, &message, 0);
	close(out);
}

/* Whether there is something to read within the time; SIGTERM arrives only here. */
static int wait_for(int descriptor, int seconds)
{
	struct pollfd source = { descriptor, POLLIN, 0 };
	struct timespec left = { seconds, 0 };
	sigset_t none;

	sigemptyset(&none);
	return ppoll(&source, 1, seconds < 0 ? NULL : &left, &none) > 0;
}

/* Reads a request and answers; whether another may follow. */
static int answer(int client)
{
	char in[4096] = "", body[32], out[256];
	size_t length = 0;

	while (!strstr(in, "\r\n\r\n")) {
		/* SIGTERM cuts a wait short, once. */
		if (!wait_for(client, IDLE) && !(stopping && wait_for(client, IDLE)))
			return 0;
		ssize_t more = length < sizeof in - 1 ? read(client, in + length, sizeof in - 1 - length) : 0;
		if (more <= 0)
			return 0;
		length += (size_t)more;
	}
	int is_last = stopping || strcasestr(in, "connection: close") != NULL;
	int size = snprintf(body, sizeof body, "pid=%d\n", getpid());
	size = snprintf(out, sizeof out, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n%s\r\n%s", size,
			is_last ? "Connection: close\r\n" : "", body);
	return write(client, out, (size_t)size) == size && !is_last;
}

static void serve(void)
{
	struct sigaction action = { .sa_handler = stop };
	sigset_t term;

	sigemptyset(&term);
	sigaddset(&term, SIGTERM);
	sigprocmask(SIG_BLOCK, &term, NULL);
	sigaction(SIGTERM, &action, NULL);
	notify("READY=1", -1);
	while (!stopping) {
		/* Another program may have been faster: it accepts without waiting. */
		int client = wait_for(LISTENER, -1) ? accept4(LISTENER, NULL, NULL, SOCK_CLOEXEC) : -1;
		if (client < 0)
			continue;
		while (answer(client))
			;
		close(client);
	}
}

static void noise(void)
{
	static const char *words[] = { "FDSTORE=1\nFDNAME=noise", "\n\n=\n==", "READY=", "FDSTOREREMOVE=1",
				       "STATUS=\x1b[2J", "EXTEND_TIMEOUT_USEC=18446744073709551616", "" };
	const char *main_pid = getenv("PANZER_MAIN");
	const struct timespec pause = { 0, 1000 * 1000 };

	for (int round = 0; round < 2000; round++) {
		int ends[2];
		if (pipe(ends) == 0) {
			notify(words[round % 7], round % 3 ? ends[0] : -1);
			close(ends[0]);
			close(ends[1]);
		}
		if (main_pid && round % 50 == 0)
			kill(atoi(main_pid), SIGWINCH);
		nanosleep(&pause, NULL);
	}
	_exit(0);
}

int main(int count, char **words)
{
	if (count > 1 && strcmp(words[1], "crash") == 0) {
		notify("READY=1", -1);
		abort();
	}
	if (count > 2 && strcmp(words[1], "noise") == 0) {
		if (fork() == 0)
			noise();
		execv(words[2], words + 2);
		return 127;
	}
	fcntl(LISTENER, F_SETFL, O_NONBLOCK);
	serve();
	return 0;
}
