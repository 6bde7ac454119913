/* What huge pages on an application's heap do to its forks and to its workers: docs/huge-pages.md.
 *
 *     cc -O2 -o huge_pages benches/huge_pages.c && ./huge_pages [MIB [ROUNDS]]
 *
 * A process that stands for a monitor fills MIB of heap (256), once without and once with huge
 * pages, by turns; it forks, and its child writes a byte to one page in a hundred, then to all. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { PAGE = 4096, HUGE_PAGE = 2 << 20, FIGURES = 8, MOST = 100 };
enum { FORK, FIRST, TABLES, SOME, SOME_PRIVATE, SOME_TABLES, ALL, ALL_PRIVATE };
static const char *const names[FIGURES] = {
    "fork, us", "child's first instruction, us", "page tables of a fresh child, KiB",
    "it writes 1 page in 100, us", "private then, KiB", "page tables then, KiB",
    "it writes all pages, us", "private then, KiB",
};

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec * 1e6 + (double)time.tv_nsec / 1e3;
}

/* A line of a file of this process, in KiB. */
static double line(const char *path, const char *name)
{
    char text[256];
    double size = -1;
    FILE *file = fopen(path, "r");
    while (file && fgets(text, sizeof text, file))
        if (!strncmp(text, name, strlen(name)))
            size = atof(text + strlen(name));
    if (file)
        fclose(file);
    return size;
}

static void write_to(char *heap, size_t size, size_t step)
{
    for (size_t place = 0; place < size; place += step)
        heap[place]++;
}

static void child(char *heap, size_t size, double *figures)
{
    figures[FIRST] = now();
    figures[TABLES] = line("/proc/self/status", "VmPTE:");
    double begun = now();
    write_to(heap, size, 100 * PAGE);
    figures[SOME] = now() - begun;
    figures[SOME_PRIVATE] = line("/proc/self/smaps_rollup", "Private_Dirty:");
    figures[SOME_TABLES] = line("/proc/self/status", "VmPTE:");
    begun = now();
    write_to(heap, size, PAGE);
    figures[ALL] = now() - begun;
    figures[ALL_PRIVATE] = line("/proc/self/smaps_rollup", "Private_Dirty:");
    _exit(0);
}

/* The heap begins where a huge page may. */
static char *fill(size_t size, int is_huge)
{
    char *place = mmap(0, size + HUGE_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (place == MAP_FAILED)
        abort();
    char *heap = place + (HUGE_PAGE - (size_t)place % HUGE_PAGE) % HUGE_PAGE;
    if (is_huge ? madvise(heap, size, MADV_HUGEPAGE) : prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0))
        abort();
    memset(heap, 1, size);
    return heap;
}

static void monitor(size_t size, int is_huge, double *figures)
{
    char *heap = fill(size, is_huge);
    double begun = now();
    pid_t pid = fork();
    if (!pid)
        child(heap, size, figures);
    figures[FORK] = now() - begun;
    waitpid(pid, 0, 0);
    figures[FIRST] -= begun;
    _exit(0);
}

static int compare(const void *one, const void *other)
{
    double a = *(const double *)one, b = *(const double *)other;
    return (a > b) - (a < b);
}

int main(int count, char **words)
{
    size_t size = (size_t)(count > 1 ? atoi(words[1]) : 256) << 20;
    int rounds = count > 2 ? atoi(words[2]) : 11;
    static double all[2][FIGURES][MOST];
    double *figures = mmap(0, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (figures == MAP_FAILED || rounds < 1 || rounds > MOST)
        return 2;
    for (int round = 0; round < rounds; round++)
        for (int is_huge = 0; is_huge < 2; is_huge++) {
            pid_t pid = fork();
            if (!pid)
                monitor(size, is_huge, figures);
            waitpid(pid, 0, 0);
            for (int figure = 0; figure < FIGURES; figure++)
                all[is_huge][figure][round] = figures[figure];
        }
    printf("%zu MiB, %d rounds: min median max\n%-36s%26s%26s\n", size >> 20, rounds, "", "small pages",
           "huge pages");
    for (int figure = 0; figure < FIGURES; figure++) {
        printf("%-36s", names[figure]);
        for (int is_huge = 0; is_huge < 2; is_huge++) {
            double *sorted = all[is_huge][figure];
            qsort(sorted, (size_t)rounds, sizeof *sorted, compare);
            printf("%8.0f%9.0f%9.0f", sorted[0], sorted[rounds / 2], sorted[rounds - 1]);
        }
        printf("\n");
    }
    return 0;
}
