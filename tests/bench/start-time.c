/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Starts a program and takes the time from exec to the first byte on its standard output; then
 * looks at its memory and kills it. Prints: nanoseconds, RSS KiB, PSS KiB without the guest's RAM
 * (the mappings of at least --ram MiB). */
#include <err.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PATIENCE_MS 20000

static uint64_t now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* Sums Rss and Pss over the mappings smaller than the guest's RAM. */
static void memory_of(pid_t pid, uint64_t ram_kib, uint64_t *rss, uint64_t *pss)
{
    char path[64], line[512];
    uint64_t size = 0, value;
    FILE *f;

    *rss = *pss = 0;
    snprintf(path, sizeof(path), "/proc/%d/smaps", (int)pid);
    f = fopen(path, "r");
    while (f != NULL && fgets(line, sizeof(line), f) != NULL) {
        if (sscanf(line, "Size: %lu kB", &value) == 1) {
            size = value;
        } else if (sscanf(line, "Rss: %lu kB", &value) == 1) {
            *rss += size < ram_kib ? value : 0;
        } else if (sscanf(line, "Pss: %lu kB", &value) == 1) {
            *pss += size < ram_kib ? value : 0;
        }
    }
    if (f != NULL) {
        fclose(f);
    }
}

int main(int argc, char **argv)
{
    volatile uint64_t begin = 0;
    uint64_t end, rss, pss, ram_kib;
    struct pollfd pfd;
    int out[2];
    pid_t pid;
    char byte;

    if (argc < 3 || pipe(out) < 0) {
        errx(1, "usage: start-time RAM_MIB PROGRAM ARGS...");
    }
    ram_kib = strtoull(argv[1], NULL, 10) * 1024;
    pid = vfork();
    if (pid == 0) {
        dup2(out[1], STDOUT_FILENO);
        close(out[0]);
        close(out[1]);
        begin = now_ns();
        execvp(argv[2], argv + 2);
        _exit(127);
    }
    close(out[1]);
    pfd = (struct pollfd){ .fd = out[0], .events = POLLIN };
    if (poll(&pfd, 1, PATIENCE_MS) != 1 || read(out[0], &byte, 1) != 1) {
        kill(pid, SIGKILL);
        errx(1, "%s wrote nothing", argv[2]);
    }
    end = now_ns();
    usleep(100000);
    memory_of(pid, ram_kib, &rss, &pss);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    printf("%lu %lu %lu\n", end - begin, rss, pss);
    return 0;
}
