/* The least that answers a probe: `responder SOCKET` accepts on a Unix socket, reads one line,
 * answers one; `responder SOCKET ask` asks it; `responder` alone is a program that ends. */
#include "serve.h"

#include <sys/un.h>

static void serve(int listener)
{
    char line[64];
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    puts("ready");
    fflush(stdout);
    for (;;) {
        int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        if (fd >= 0 && read(fd, line, sizeof line) > 0 && write(fd, "yes\n", 4) < 0)
            perror("write");
        close(fd);
    }
}

static int ask(int fd)
{
    char line[64];
    return write(fd, "ready\n", 6) != 6 || read(fd, line, sizeof line) != 4;
}

int main(int argc, char **argv)
{
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    if (argc < 2)
        return 0;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    snprintf(name.sun_path, sizeof name.sun_path, "%s", argv[1]);
    if (argc > 2)
        return connect(fd, (struct sockaddr *)&name, sizeof name) < 0 || ask(fd);
    if (bind(fd, (struct sockaddr *)&name, sizeof name) < 0 || listen(fd, 128) < 0)
        return 1;
    serve(fd);
}
