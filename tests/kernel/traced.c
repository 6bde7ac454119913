/* Stands where a program is expected, and becomes $FAULT_PROGRAM with the same arguments: in
 * generation $FAULT_GENERATION under a strace that is no parent of it, and so keeps its pid. With
 * $FAULT_EXEC that program is panzer, which takes what main says of a pool from PANZER_EXEC: main
 * itself would execute its own image, with nothing in between. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    const char *generation = getenv("PANZER_GENERATION"), *wanted = getenv("FAULT_GENERATION");
    const char *strace[] = {"strace", "-DDD", "-qqq", "-o", getenv("FAULT_TRACE"), "-e",
                            "signal=none", "-e", getenv("FAULT_INJECT"), NULL};
    enum { BEFORE = 9 };
    char **words = calloc((size_t)argc + BEFORE + 2, sizeof *words);
    if (words == NULL || wanted == NULL)
        return 125;
    char *program = getenv("FAULT_PROGRAM");
    if (getenv("FAULT_EXEC") != NULL)
        setenv("PANZER_EXEC", "1", 1);
    if (generation == NULL || strcmp(generation, wanted) != 0) {
        execv(program, argv);
        return 125;
    }
    memcpy(words, strace, BEFORE * sizeof *words);
    words[BEFORE] = program;
    for (int at = 1; at < argc; at++)
        words[BEFORE + at] = argv[at];
    execvp("strace", words);
    return 125;
}
