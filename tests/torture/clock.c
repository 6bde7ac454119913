/* A wall clock that jumps, for programs that load this before the C library: CLOCK_REALTIME
 * is as many seconds off as the file JUMP_FILE says, which all of them have mapped.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static volatile const long *jump;

__attribute__((constructor)) static void map(void)
{
	int file = open(getenv("JUMP_FILE") ?: "", O_RDONLY | O_CLOEXEC);
	void *mapped = mmap(NULL, sizeof *jump, PROT_READ, MAP_SHARED, file, 0);

	jump = mapped == MAP_FAILED ? NULL : mapped;
	close(file);
}

int clock_gettime(clockid_t clock, struct timespec *now)
{
	int result = (int)syscall(SYS_clock_gettime, clock, now);

	if (result == 0 && clock == CLOCK_REALTIME && jump)
		now->tv_sec += *jump;
	return result;
}
