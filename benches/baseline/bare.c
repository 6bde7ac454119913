/* The least that keeps a pool full: fork at SIGCHLD, and nothing else.
 *
 * Its worker reads the clock first. No step that Panzer promises is taken: no group of its
 * own, no PDEATHSIG, no name, no row, no log. It says what the kernel's own fork costs. */
#include "report.h"

static void fork_worker(int fifo, const sigset_t *mask)
{
    if (fork() != 0)
        return;
    report(fifo, now(), getpid());
    sigprocmask(SIG_SETMASK, mask, NULL);
    for (;;)
        pause();
}

int main(int argc, char **argv)
{
    if (argc < 3)
        return 2;
    int count = atoi(argv[1]), fifo = open_fifo(argv[2]);
    sigset_t mask, awaited = block(&mask);
    setpgid(0, 0);
    report(fifo, now(), 0);
    while (count-- > 0)
        fork_worker(fifo, &mask);
    while (sigwaitinfo(&awaited, NULL) != SIGTERM)
        while (waitpid(-1, NULL, WNOHANG) > 0)
            fork_worker(fifo, &mask);
    kill(0, SIGTERM);
    while (wait(NULL) > 0)
        ;
    return 0;
}
