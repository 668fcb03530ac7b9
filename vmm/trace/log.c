/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The log of trace points: lines are put into one of two buffers, a thread writes the other.
 * Whoever logs holds the lock for a copy of its line only, never across a write.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "vmm/log.h"
#include "vmm/trace/trace.h"

#define BUFFER_SIZE   (1024 * 1024)
#define LINE_MAX_SIZE 1024
#define FINISH_US     (2 * G_USEC_PER_SEC)

static struct {
    GMutex lock; /* a leaf */
    GCond work;  /* there is something to write */
    GCond idle;  /* all is written */
    char *fill;  /* where lines go */
    char *drain; /* the thread's */
    size_t used; /* of fill */
    uint64_t lost;
    bool started; /* the thread is there */
    bool writing;
    bool finished; /* nothing is taken any more */
    int fd;
    char *path; /* of fd; NULL: where the log of -d goes */
} log_state;

static size_t head(char *line, size_t size, const char *name)
{
    int64_t now = g_get_real_time();
    int len = snprintf(line, size, "%d@%" G_GINT64_FORMAT ".%06d:%s", getpid(),
                       now / G_USEC_PER_SEC, (int)(now % G_USEC_PER_SEC), name);
    return MIN((size_t)len, size - 1);
}

/* False: the file takes nothing. */
static bool write_all(int fd, const char *data, size_t len)
{
    while (len) {
        ssize_t done = write(fd, data, len);
        if (done < 0 && errno == EINTR) {
            continue;
        }
        if (done <= 0) {
            errno = done == 0 ? EIO : errno;
            return false;
        }
        data += done;
        len -= (size_t)done;
    }
    return true;
}

static int target(void)
{
    return log_state.path ? log_state.fd : log_fd() >= 0 ? log_fd() : STDERR_FILENO;
}

static void say_lost(int fd, uint64_t lost)
{
    char line[128];
    size_t len = head(line, sizeof(line), "trace_lost");
    len += (size_t)snprintf(line + len, sizeof(line) - len, " lines=%" G_GUINT64_FORMAT "\n", lost);
    write_all(fd, line, len);
}

static void *log_thread(void *opaque)
{
    bool failed = false; /* said once; the file may have room again later */
    pthread_setname_np(pthread_self(), "trace");
    g_mutex_lock(&log_state.lock);
    for (;;) {
        while (log_state.used == 0) {
            log_state.writing = false;
            g_cond_broadcast(&log_state.idle);
            g_cond_wait(&log_state.work, &log_state.lock);
        }
        char *data = log_state.fill;
        size_t len = log_state.used;
        uint64_t lost = log_state.lost;
        log_state.fill = log_state.drain;
        log_state.drain = data;
        log_state.used = 0;
        log_state.lost = 0;
        log_state.writing = true;
        g_mutex_unlock(&log_state.lock);
        if (!write_all(target(), data, len) && !failed) {
            failed = true;
            report_warning("-trace: cannot write %s: %s; what does not fit is lost",
                           log_state.path ? log_state.path : "the log", g_strerror(errno));
        }
        if (lost) {
            say_lost(target(), lost);
        }
        g_mutex_lock(&log_state.lock);
    }
    return NULL;
}

/* Under the lock. All signals belong to the main thread. */
static bool start_thread(void)
{
    sigset_t all, before;
    pthread_t thread;
    sigfillset(&all);
    log_state.fill = g_malloc(BUFFER_SIZE);
    log_state.drain = g_malloc(BUFFER_SIZE);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    log_state.started = pthread_create(&thread, NULL, log_thread, NULL) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (log_state.started) {
        pthread_detach(thread);
    } else {
        log_state.finished = true;
        g_clear_pointer(&log_state.fill, g_free);
        g_clear_pointer(&log_state.drain, g_free);
    }
    return log_state.started;
}

static void put(const char *line, size_t len)
{
    g_mutex_lock(&log_state.lock);
    if (!log_state.finished && (log_state.started || start_thread())) {
        if (len > BUFFER_SIZE - log_state.used) {
            log_state.lost++;
        } else {
            memcpy(log_state.fill + log_state.used, line, len);
            log_state.used += len;
            if (log_state.used == len) {
                g_cond_signal(&log_state.work);
            }
        }
    }
    g_mutex_unlock(&log_state.lock);
}

void trace_log(const char *name, const char *format, ...)
{
    char line[LINE_MAX_SIZE];
    va_list args;
    size_t start = head(line, sizeof(line) - 2, name);
    line[start++] = ' ';
    va_start(args, format);
    int more = vsnprintf(line + start, sizeof(line) - 1 - start, format, args);
    va_end(args);
    size_t len = MIN(start + (size_t)MAX(more, 0), sizeof(line) - 2);
    for (size_t i = start; i < len; i++) {
        /* What a guest or a client said stays on its line. */
        if ((unsigned char)line[i] < ' ' || line[i] == 0x7f) {
            line[i] = '?';
        }
    }
    line[len++] = '\n';
    put(line, len);
}

bool trace_set_file(const char *path, GError **error)
{
    if (log_state.path) {
        return error_set(error, "file= was given before: '%s'", log_state.path);
    }
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOCTTY, 0644);
    if (fd < 0) {
        return error_set_errno(error, errno, "cannot open '%s'", path);
    }
    g_mutex_lock(&log_state.lock);
    log_state.fd = fd;
    log_state.path = g_strdup(path);
    g_mutex_unlock(&log_state.lock);
    return true;
}

void trace_finish(void)
{
    int64_t until = g_get_monotonic_time() + FINISH_US;
    g_mutex_lock(&log_state.lock);
    log_state.finished = true;
    while (log_state.started && (log_state.used || log_state.writing) &&
           g_cond_wait_until(&log_state.idle, &log_state.lock, until)) {
    }
    g_mutex_unlock(&log_state.lock);
}
