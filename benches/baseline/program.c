/* A worker of `-x`: reads the clock first, reports, and waits for its end. */
#include "report.h"

int main(int argc, char **argv)
{
    uint64_t born = now();
    if (argc < 2)
        return 2;
    int fifo = open(argv[1], O_WRONLY);
    report(fifo, born, getpid());
    for (;;)
        pause();
}
