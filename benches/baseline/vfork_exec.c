/* The least that keeps a pool of programs full: vfork and exec at SIGCHLD, nothing else.
 *
 * `vfork_exec COUNT FIFO PROGRAM`. Its worker is PROGRAM with the FIFO as its argument. Of
 * what Panzer promises for `-x` nothing is done but to start it: no group, no PDEATHSIG, no
 * environment, no notify socket, no log. */
#include "report.h"

extern char **environ;

static void start(char **words, const sigset_t *mask)
{
    if (vfork() != 0)
        return;
    sigprocmask(SIG_SETMASK, mask, NULL);
    execve(words[0], words, environ);
    _exit(127);
}

int main(int argc, char **argv)
{
    if (argc < 4)
        return 2;
    int count = atoi(argv[1]);
    char *words[] = {argv[3], argv[2], NULL};
    sigset_t mask, awaited = block(&mask);
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    setpgid(0, 0);
    while (count-- > 0)
        start(words, &mask);
    while (sigwaitinfo(&awaited, NULL) != SIGTERM)
        while (waitpid(-1, NULL, WNOHANG) > 0)
            start(words, &mask);
    kill(0, SIGTERM);
    while (wait(NULL) > 0)
        ;
    return 0;
}
