/* A program for panzer -x: `serve`. Says READY=1 to $NOTIFY_SOCKET and answers each connection
 * of the first descriptor that it is given with one line. SIGTERM comes between two of them. */
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
#include <unistd.h>

static volatile sig_atomic_t is_stopping;

static void stop(int signal)
{
    (void)signal;
    is_stopping = 1;
}

static void say_ready(void)
{
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    int out = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (path == NULL || strlen(path) >= sizeof name.sun_path)
        exit(3);
    strcpy(name.sun_path, path);
    socklen_t length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path));
    if (*path == '@')
        name.sun_path[0] = 0;
    if (sendto(out, "READY=1", 7, 0, (struct sockaddr *)&name, length) != 7)
        exit(4);
    close(out);
}

static void answer(int client)
{
    char request[2048], text[128], line[64];
    size_t length = 0;
    while (length < sizeof request) {
        ssize_t more = read(client, request + length, sizeof request - length);
        if (more <= 0)
            break;
        length += (size_t)more;
        if (length >= 4 && memcmp(request + length - 4, "\r\n\r\n", 4) == 0)
            break;
    }
    int size = snprintf(line, sizeof line, "gen=%s slot=%s pid=%d\n", getenv("PANZER_GENERATION"),
                        getenv("PANZER_SLOT"), getpid());
    size = snprintf(text, sizeof text, "HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n%s", size, line);
    if (write(client, text, (size_t)size) != size)
        perror("write");
    close(client);
}

int main(void)
{
    sigset_t blocked, open;
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGTERM);
    sigprocmask(SIG_BLOCK, &blocked, &open);
    struct sigaction action = {.sa_handler = stop};
    sigaction(SIGTERM, &action, NULL);
    /* Another program may have taken the connection. */
    fcntl(3, F_SETFL, fcntl(3, F_GETFL) | O_NONBLOCK);
    say_ready();
    while (!is_stopping) {
        struct pollfd queue = {.fd = 3, .events = POLLIN};
        if (ppoll(&queue, 1, NULL, &open) != 1)
            continue;
        int client = accept4(3, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (client < 0)
            continue;
        struct pollfd ready = {.fd = client, .events = POLLIN};
        poll(&ready, 1, 5000);
        answer(client);
    }
    return 0;
}
