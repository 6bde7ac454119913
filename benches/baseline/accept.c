/* A pre-fork server of one-connection workers: a blocking accept on one shared socket, one
 * line, close. What examples/basic does, without Panzer. `accept PORT WORKERS`. */
#include "serve.h"

int main(int argc, char **argv)
{
    if (argc < 3)
        return 2;
    signal(SIGPIPE, SIG_IGN);
    int listener = listen_on(atoi(argv[1]), SHARED, 0);
    int number = fork_workers(atoi(argv[2]));
    char line[64];
    size_t length =
        (size_t)snprintf(line, sizeof line, "hello from generation 0, worker %d\n", number);
    for (;;) {
        int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        if (fd < 0)
            continue;
        if (write(fd, line, length) < 0)
            perror("write");
        close(fd);
    }
}
