/* What every pool here shares: how a worker says that it runs.
 *
 * A pool is started as `PROGRAM COUNT FIFO [ARGUMENT]`. Its parent writes one record with
 * pid 0 into the FIFO before its first fork, and each worker one as its first act. A
 * SIGTERM to the parent ends all. */
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

struct record {
    uint64_t born;
    int32_t pid;
    uint32_t unused;
};

static inline uint64_t now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_REALTIME, &time);
    return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

static inline void report(int fifo, uint64_t born, pid_t pid)
{
    struct record record = {born, pid, 0};
    if (write(fifo, &record, sizeof record) != sizeof record)
        _exit(1);
}

/* Opens the FIFO; dies with the bench. */
static inline int open_fifo(const char *path)
{
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    int fifo = open(path, O_WRONLY);
    if (fifo < 0)
        exit(1);
    return fifo;
}

/* Blocks SIGCHLD and SIGTERM, which sigwaitinfo(2) takes; the mask before is for workers. */
static inline sigset_t block(sigset_t *before)
{
    sigset_t awaited;
    sigemptyset(&awaited);
    sigaddset(&awaited, SIGCHLD);
    sigaddset(&awaited, SIGTERM);
    sigprocmask(SIG_BLOCK, &awaited, before);
    return awaited;
}
