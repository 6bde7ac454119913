/* A pool in C that takes the steps that a library monitor of Panzer's promises, in its order:
 * first the fork, then one more poll of at most a millisecond, then the reports.
 *
 * Side by side under `strace -f`, from the death of a worker to the parent's next rest. Calls
 * that a C library makes around its fork (masks, ids) are left out, and so are getpid(2) and
 * what costs this program nothing because it never forgets: Panzer asks for the kind of its
 * standard error before each line, and opens the cgroup's two files anew, since the group may
 * have changed.
 *
 *             Panzer                                               here
 *   parent    SIGCHLD's handler notes the pid and writes a byte    same
 *             read of that byte, and of the ready pipe: EAGAIN     same, in another order
 *             waitid(P_PID) of the noted pid                       same
 *             row of the dead is free, one for the next is taken   same (memory)
 *             rt_sigprocmask, fork, rt_sigprocmask                 same
 *             waitid(P_ALL, WNOWAIT): is another dead?             waitpid(-1)
 *             poll, at most 1 ms                                   same
 *   child     close, close, pipe2: a wake-up pipe of its own       same
 *             rt_sigaction of TERM, INT; CHLD, TTIN, WINCH back    same
 *             row: pid, times, state                               same (memory)
 *             setpgid(0, 0)                                        same
 *             prctl(PR_SET_PDEATHSIG), getppid                     same
 *             close of the ready pipe's read end and the lifeline;
 *             dup3 of /dev/null over the socket                    same
 *             prctl(PR_SET_NAME)                                   same
 *             rt_sigprocmask                                       same
 *             -- the application's first instruction --
 *             rt_sigprocmask, write of the ready record, back      write
 *   parent    read of the ready record; row is ready               same
 *             the cgroup's count of kills for memory               pread
 *             rt_sigprocmask, write of the log line, back          write
 *             datagrams upward: lost, respawn, full                same, three
 *             poll                                                 same */
#include "report.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>

enum state { FREE, STARTING, READY };

/* One line of the shared table. */
struct row {
    _Alignas(64) int32_t pid;
    uint16_t slot;
    uint16_t state;
    uint64_t started;
    uint64_t changed;
};

struct ready {
    uint16_t slot;
    int32_t pid;
} __attribute__((packed));

/* A death whose worker is replaced, and which is not reported yet. */
struct death {
    const struct row *row;
    pid_t pid, next;
    int status;
    uint64_t started;
};

/* All in shared memory, which a fork does not write-protect: no fault follows it. */
static struct row *rows;
static struct death *deaths;
static int32_t *pids; /* of each row, close together for the search */
static int death_count;
static int count, fifo, above, null_fd, memory_fd = -1;
static int wake[2], ready[2], lifeline[2];
static int32_t noted[64];
static volatile sig_atomic_t noted_count, stopping;

static void wake_up(int number, siginfo_t *info, void *context)
{
    int before = errno;
    (void)context;
    if (number != SIGCHLD)
        stopping = 1;
    else if (noted_count < 64)
        noted[noted_count++] = info->si_pid;
    if (write(wake[1], "!", 1) < 0)
        errno = before;
    errno = before;
}

static void catch(int number)
{
    struct sigaction action = {.sa_sigaction = wake_up, .sa_flags = SA_SIGINFO | SA_RESTART};
    sigfillset(&action.sa_mask);
    sigaction(number, &action, NULL);
}

static void set_default(int number)
{
    struct sigaction action = {.sa_handler = SIG_DFL};
    sigaction(number, &action, NULL);
}

static void become_worker(struct row *row, pid_t parent)
{
    close(wake[0]);
    close(wake[1]);
    if (pipe2(wake, O_NONBLOCK | O_CLOEXEC) < 0)
        _exit(111);
    catch(SIGTERM);
    catch(SIGINT);
    row->pid = getpid();
    row->started = row->changed = now();
    set_default(SIGCHLD);
    set_default(SIGTTIN);
    set_default(SIGWINCH);
    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != parent)
        _exit(0);
    close(ready[0]);
    close(lifeline[0]);
    dup3(null_fd, above, O_CLOEXEC);
    prctl(PR_SET_NAME, "same:worker");
}

/* What an application's worker does here: it reports, and waits until it is told to stop. */
static _Noreturn void serve(struct row *row)
{
    uint64_t born = now();
    struct ready record = {row->slot, row->pid};
    if (write(ready[1], &record, sizeof record) < 0)
        _exit(1);
    report(fifo, born, row->pid);
    struct pollfd stop = {.fd = wake[0], .events = POLLIN};
    while (!stopping)
        poll(&stop, 1, -1);
    _exit(0);
}

static pid_t fork_worker(struct row *row, uint16_t slot)
{
    sigset_t all, before;
    pid_t parent = getpid();
    row->slot = slot;
    row->state = STARTING;
    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, &before);
    pid_t pid = fork();
    if (pid == 0) {
        become_worker(row, parent);
        sigprocmask(SIG_SETMASK, &before, NULL);
        serve(row);
    }
    pids[row - rows] = row->pid = pid;
    sigprocmask(SIG_SETMASK, &before, NULL);
    return pid;
}

/* The kernel's count of processes that it has killed for memory. */
static long oom_kills(void)
{
    char text[1024];
    ssize_t length = pread(memory_fd, text, sizeof text - 1, 0);
    if (length <= 0)
        return 0;
    text[length] = 0;
    const char *found = strstr(text, "oom_kill ");
    return found ? atol(found + 9) : 0;
}

static void log_death(const struct row *row, pid_t pid, int status, uint64_t started)
{
    char line[256];
    struct timespec time;
    struct tm parts;
    clock_gettime(CLOCK_REALTIME, &time);
    gmtime_r(&time.tv_sec, &parts);
    size_t length = strftime(line, sizeof line, "%Y-%m-%dT%H:%M:%S", &parts);
    length += (size_t)snprintf(line + length, sizeof line - length,
                               ".%03ldZ WARN same:monitor[%d]: worker %u (pid %d) of generation 1: "
                               "killed by signal %d after %.1f s%s\n",
                               time.tv_nsec / 1000000, getpid(), row->slot, pid, status,
                               (double)(now() - started) / 1e9, oom_kills() ? " (memory)" : "");
    if (write(2, line, length) < 0)
        errno = 0;
}

static void tell(const char *what, unsigned slot, pid_t pid)
{
    char text[64];
    int length = snprintf(text, sizeof text, "X_SAME=%s %u %d", what, slot, pid);
    send(above, text, (size_t)length, MSG_DONTWAIT | MSG_NOSIGNAL);
}

static struct row *row_of(pid_t pid)
{
    for (int i = 0; i < count; i++)
        if (pids[i] == pid)
            return &rows[i];
    return NULL;
}

/* Reports the oldest so many deaths. */
static void report_deaths(int known)
{
    for (int i = 0; i < known; i++) {
        const struct death *death = &deaths[i];
        log_death(death->row, death->pid, death->status, death->started);
        tell("lost", death->row->slot, death->pid);
        if (death->next > 0)
            tell("respawn", death->row->slot, death->next);
    }
    if (known > 0 && death_count == known)
        tell("full", 0, 0);
    death_count -= known;
    memmove(deaths, deaths + known, (size_t)death_count * sizeof *deaths);
}

static void replace(pid_t pid, int status)
{
    struct row *row = row_of(pid);
    if (!row)
        return;
    uint64_t started = row->started;
    row->state = FREE;
    pid_t next = stopping ? 0 : fork_worker(row, row->slot);
    deaths[death_count++] = (struct death){row, pid, next, status, started};
    if (death_count == 2 * count)
        report_deaths(death_count);
}

/* Those that SIGCHLD named; all, when it may have come once for several. */
static void reap(void)
{
    siginfo_t info = {0};
    int known = noted_count;
    for (int i = 0; i < known; i++)
        if (waitid(P_PID, (id_t)noted[i], &info, WNOHANG | WEXITED) == 0 && info.si_pid)
            replace(info.si_pid, info.si_status);
    noted_count = 0;
    int status;
    for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;)
        replace(pid, WTERMSIG(status));
}

static void take_ready(void)
{
    struct ready records[64];
    ssize_t length = read(ready[0], records, sizeof records);
    for (ssize_t i = 0; i < length / (ssize_t)sizeof *records; i++) {
        struct row *row = records[i].slot < count ? &rows[records[i].slot] : NULL;
        if (row && row->pid == records[i].pid)
            row->state = READY;
    }
}

/* Opens the cgroup's counter, of version 2 or 1; without it no death is out of memory. */
static void open_memory(void)
{
    char line[512], path[640];
    FILE *groups = fopen("/proc/self/cgroup", "re");
    while (groups && memory_fd < 0 && fgets(line, sizeof line, groups)) {
        line[strcspn(line, "\n")] = 0;
        const char *v1 = strstr(line, ":memory:"), *v2 = strncmp(line, "0::", 3) ? NULL : line + 3;
        if (v1)
            snprintf(path, sizeof path, "/sys/fs/cgroup/memory%s/memory.oom_control", v1 + 8);
        else if (v2)
            snprintf(path, sizeof path, "/sys/fs/cgroup%s/memory.events", v2);
        else
            continue;
        memory_fd = open(path, O_RDONLY | O_CLOEXEC);
    }
    if (groups)
        fclose(groups);
}

/* So many bytes for each worker. */
static void *shared(size_t size)
{
    void *memory = mmap(NULL, (size_t)count * size, PROT_READ | PROT_WRITE,
                        MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        exit(1);
    return memory;
}

static void set_up(const char *socket_path)
{
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    snprintf(name.sun_path, sizeof name.sun_path, "%s", socket_path);
    above = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    rows = shared(sizeof *rows);
    deaths = shared(2 * sizeof *deaths);
    pids = shared(sizeof *pids);
    if (pipe2(wake, O_NONBLOCK | O_CLOEXEC) < 0 ||
        pipe2(ready, O_CLOEXEC) < 0 || pipe2(lifeline, O_CLOEXEC) < 0 ||
        connect(above, (struct sockaddr *)&name, sizeof name) < 0)
        exit(1);
    fcntl(ready[0], F_SETFL, O_NONBLOCK);
    open_memory();
    tzset();
    catch(SIGCHLD);
    catch(SIGTERM);
}

int main(int argc, char **argv)
{
    if (argc < 4)
        return 2;
    count = atoi(argv[1]);
    fifo = open_fifo(argv[2]);
    set_up(argv[3]);
    report(fifo, now(), 0);
    for (int i = 0; i < count; i++)
        fork_worker(&rows[i], (uint16_t)i);
    while (!stopping) {
        struct pollfd sources[3] = {{wake[0], POLLIN, 0}, {lifeline[0], POLLIN, 0},
                                    {ready[0], POLLIN, 0}};
        char bytes[64];
        int known = death_count;
        if (poll(sources, 3, known ? 1 : -1) < 0 && errno != EINTR)
            return 1;
        if (read(wake[0], bytes, sizeof bytes) > 0)
            reap();
        take_ready();
        report_deaths(known < death_count ? known : death_count);
    }
    for (int i = 0; i < count; i++)
        kill(rows[i].pid, SIGTERM);
    while (wait(NULL) > 0)
        ;
    return 0;
}
