/* What the servers here share: a port of the loopback, and workers that end with their parent,
 * which ends with the bench. */
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum sharing { SHARED, REUSEPORT };

static inline int listen_on(int port, enum sharing sharing, int flags)
{
    struct sockaddr_in name = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | flags, 0), yes = 1;
    name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (sharing == REUSEPORT)
        setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &yes, sizeof yes);
    if (bind(fd, (struct sockaddr *)&name, sizeof name) < 0 || listen(fd, 65535) < 0) {
        perror("listen");
        exit(1);
    }
    return fd;
}

/* Forks workers 1 to `count`; returns the number of the worker in each. The parent prints
 * "ready" and waits for its end. */
static inline int fork_workers(int count)
{
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    for (int i = 1; i <= count; i++)
        if (fork() == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            return i;
        }
    puts("ready");
    fflush(stdout);
    for (;;)
        pause();
}
