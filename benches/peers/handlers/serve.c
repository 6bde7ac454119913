/* The handler for supervisors of programs in any language: one process, one poll(2) loop.
 *
 * usage: serve PORT     binds 127.0.0.1:PORT, beside others that do the same (SO_REUSEPORT)
 *        serve fd:N     accepts on descriptor N, which is shared
 *
 * The answer is 12 bytes: the version, from the file `version`, and the pid. On SIGTERM it
 * accepts no more, answers what it has with `Connection: close`, and ends when no connection
 * is left, or after two seconds. A version that is no number cannot start. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
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

enum { MOST = 512, HEAD = 4096 };

static struct { char head[HEAD]; size_t length; } clients[MOST];
static struct pollfd waiting[MOST + 1];
static int count, version;
static volatile sig_atomic_t stopping;

static void stop(int number) { stopping = number; }

static int take_listener(const char *where)
{
    int on = 1, fd;
    if (sscanf(where, "fd:%d", &fd) == 1)
        return fd;
    struct sockaddr_in name = {.sin_family = AF_INET, .sin_port = htons(atoi(where))};
    name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on);
    if (bind(fd, (struct sockaddr *)&name, sizeof name) || listen(fd, 4096))
        exit(1);
    return fd;
}

static int read_version(void)
{
    int number;
    FILE *file = fopen("version", "r");
    if (!file || fscanf(file, "%d", &number) != 1)
        exit(1);
    fclose(file);
    return number;
}

static void say_ready(void)
{
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    const char *path = getenv("NOTIFY_SOCKET");
    if (!path)
        return;
    size_t length = strlen(path);
    memcpy(name.sun_path, path, length);
    if (*path == '@')
        *name.sun_path = 0;
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    sendto(fd, "READY=1", 7, 0, (struct sockaddr *)&name,
           offsetof(struct sockaddr_un, sun_path) + length);
    close(fd);
}

static int accept_one(void)
{
    int fd = accept4(waiting[0].fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0)
        return 0;
    count++;
    clients[count - 1].length = 0;
    waiting[count] = (struct pollfd){.fd = fd, .events = POLLIN};
    return 1;
}

static void drop(int index)
{
    close(waiting[index].fd);
    waiting[index] = waiting[count];
    clients[index - 1] = clients[count - 1];
    count--;
}

/* Answers a whole head; false when the connection is over. */
static int answer(int index)
{
    char *head = clients[index - 1].head, text[256];
    ssize_t got = read(waiting[index].fd, head + clients[index - 1].length,
                       HEAD - 1 - clients[index - 1].length);
    if (got <= 0)
        return got < 0 && errno == EAGAIN;
    clients[index - 1].length += got;
    head[clients[index - 1].length] = 0;
    if (!strstr(head, "\r\n\r\n"))
        return clients[index - 1].length < HEAD - 1;
    int last = stopping || strstr(head, "Connection: close");
    int length = snprintf(text, sizeof text, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"
                          "Content-Length: 12\r\nConnection: %s\r\n\r\n%04d %7d",
                          last ? "close" : "keep-alive", version, getpid());
    clients[index - 1].length = 0;
    return write(waiting[index].fd, text, length) == length && !last;
}

static void serve(const sigset_t *open)
{
    const struct timespec patience = {2, 0};
    while (!stopping || count) {
        int found = ppoll(waiting, count + 1, stopping ? &patience : NULL, open);
        if (stopping && waiting[0].fd >= 0) {
            while (count < MOST && accept_one()) {}
            close(waiting[0].fd);
            waiting[0] = (struct pollfd){.fd = -1};
            continue;
        }
        if (found == 0)
            return;
        if (found < 0)
            continue;
        for (int index = count; index > 0; index--)
            if (waiting[index].revents && !answer(index))
                drop(index);
        if (waiting[0].revents && count < MOST)
            accept_one();
    }
}

int main(int argc, char **argv)
{
    sigset_t term, open;
    if (argc < 2)
        return 2;
    sigemptyset(&term);
    sigaddset(&term, SIGTERM);
    sigprocmask(SIG_BLOCK, &term, &open);
    sigdelset(&open, SIGTERM);
    sigaction(SIGTERM, &(struct sigaction){.sa_handler = stop}, NULL);
    signal(SIGPIPE, SIG_IGN);
    version = read_version();
    int listener = take_listener(argv[1]);
    waiting[0] = (struct pollfd){.fd = listener, .events = POLLIN};
    /* The socket may be shared: so is O_NONBLOCK, and all who share it set it. */
    if (fcntl(listener, F_SETFL, fcntl(listener, F_GETFL) | O_NONBLOCK))
        return 1;
    say_ready();
    serve(&open);
    return 0;
}
