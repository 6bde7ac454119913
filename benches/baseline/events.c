/* A keep-alive HTTP server of event loops: what examples/http does, without Panzer.
 *
 * `events PORT WORKERS one|reuseport block|timer DELAY_MS`. With `reuseport` each worker has a
 * listener of its own, and the kernel spreads connections by a hash; with `one` all share one.
 * A handler takes DELAY_MS: with `block` its worker does nothing else meanwhile, with `timer`
 * it goes on, as with HTTP_DELAY_MS. One request is one segment here: this is no parser. */
#include "serve.h"

#include <poll.h>
#include <stdint.h>

enum { MOST = 512 };

/* A client, and when its answer is due; 0 while there is no request. */
struct client {
    int fd;
    uint64_t due;
    int is_last;
};

static struct client clients[MOST];
static int count, number, is_blocking;
static uint64_t delay;

static uint64_t now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000 + (uint64_t)time.tv_nsec / 1000000;
}

static void hang_up(struct client *client)
{
    close(client->fd);
    client->fd = -1;
}

static void answer(struct client *client)
{
    char body[64], text[256];
    int length = snprintf(body, sizeof body, "gen=0 slot=%d pid=%d\n", number, getpid());
    length = snprintf(text, sizeof text, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n%s\r\n%s",
                      length, client->is_last ? "Connection: close\r\n" : "", body);
    client->due = 0;
    if (write(client->fd, text, (size_t)length) != length || client->is_last)
        hang_up(client);
}

static void take_request(struct client *client)
{
    char text[4096];
    ssize_t length = read(client->fd, text, sizeof text - 1);
    if (length <= 0) {
        hang_up(client);
        return;
    }
    text[length] = 0;
    client->is_last = strstr(text, "Connection: close") != NULL;
    if (is_blocking)
        poll(NULL, 0, (int)delay);
    if (is_blocking || delay == 0)
        answer(client);
    else
        client->due = now() + delay;
}

static void take_connection(int listener)
{
    int yes = 1, fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0)
        return;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    clients[count++] = (struct client){fd, 0, 0};
}

/* How long until the next answer is due, for poll(2). */
static int patience(void)
{
    uint64_t next = UINT64_MAX, time = now();
    for (int i = 0; i < count; i++)
        if (clients[i].due && clients[i].due < next)
            next = clients[i].due;
    return next == UINT64_MAX ? -1 : next > time ? (int)(next - time) : 0;
}

static void turn(int listener)
{
    struct pollfd sources[MOST + 1];
    int polled = count;
    for (int i = 0; i < count; i++)
        sources[i] = (struct pollfd){clients[i].fd, clients[i].due ? 0 : POLLIN, 0};
    sources[count] = (struct pollfd){count < MOST ? listener : -1, POLLIN, 0};
    if (poll(sources, (nfds_t)count + 1, patience()) < 0)
        return;
    uint64_t time = now();
    for (int i = 0; i < polled; i++)
        if (clients[i].due && clients[i].due <= time)
            answer(&clients[i]);
        else if (sources[i].revents & (POLLIN | POLLHUP | POLLERR))
            take_request(&clients[i]);
    if (sources[polled].revents)
        take_connection(listener);
    int left = 0;
    for (int i = 0; i < count; i++)
        if (clients[i].fd >= 0)
            clients[left++] = clients[i];
    count = left;
}

int main(int argc, char **argv)
{
    if (argc < 6)
        return 2;
    int port = atoi(argv[1]), workers = atoi(argv[2]), listeners[64];
    enum sharing sharing = strcmp(argv[3], "reuseport") == 0 ? REUSEPORT : SHARED;
    if (workers > 64)
        return 2;
    is_blocking = strcmp(argv[4], "block") == 0;
    delay = (uint64_t)atoi(argv[5]);
    signal(SIGPIPE, SIG_IGN);
    for (int i = 0; i < (sharing == REUSEPORT ? workers : 1); i++)
        listeners[i] = listen_on(port, sharing, SOCK_NONBLOCK);
    number = fork_workers(workers);
    int own = sharing == REUSEPORT ? number - 1 : 0;
    for (int i = 0; sharing == REUSEPORT && i < workers; i++)
        if (i != own)
            close(listeners[i]);
    for (;;)
        turn(listeners[own]);
}
