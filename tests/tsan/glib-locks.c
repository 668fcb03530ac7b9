/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * GLib's mutexes and conditions on top of pthread's, for ThreadSanitizer: it does not see GLib's
 * own, which are made of futexes inside a library that is not instrumented. Linked into the
 * programs of a build with -Db_sanitize=thread, before GLib.
 */
#include <errno.h>
#include <glib.h>
#include <pthread.h>
#include <stdlib.h>

static pthread_mutex_t *mutex_of(GMutex *mutex)
{
    pthread_mutex_t *found = __atomic_load_n((pthread_mutex_t **)&mutex->p, __ATOMIC_ACQUIRE);
    if (found) {
        return found;
    }
    pthread_mutex_t *fresh = malloc(sizeof(*fresh));
    pthread_mutex_init(fresh, NULL);
    if (__atomic_compare_exchange_n((pthread_mutex_t **)&mutex->p, &found, fresh, 0,
                                    __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) {
        return fresh;
    }
    pthread_mutex_destroy(fresh);
    free(fresh);
    return found;
}

static pthread_cond_t *cond_of(GCond *cond)
{
    pthread_cond_t *found = __atomic_load_n((pthread_cond_t **)&cond->p, __ATOMIC_ACQUIRE);
    if (found) {
        return found;
    }
    pthread_condattr_t attr;
    pthread_cond_t *fresh = malloc(sizeof(*fresh));
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(fresh, &attr);
    if (__atomic_compare_exchange_n((pthread_cond_t **)&cond->p, &found, fresh, 0, __ATOMIC_ACQ_REL,
                                    __ATOMIC_ACQUIRE)) {
        return fresh;
    }
    pthread_cond_destroy(fresh);
    free(fresh);
    return found;
}

void g_mutex_init(GMutex *mutex)
{
    mutex->p = NULL;
}

void g_mutex_clear(GMutex *mutex)
{
    if (mutex->p) {
        pthread_mutex_destroy(mutex->p);
        free(mutex->p);
        mutex->p = NULL;
    }
}

void(g_mutex_lock)(GMutex *mutex)
{
    pthread_mutex_lock(mutex_of(mutex));
}

void(g_mutex_unlock)(GMutex *mutex)
{
    pthread_mutex_unlock(mutex_of(mutex));
}

gboolean(g_mutex_trylock)(GMutex *mutex)
{
    return pthread_mutex_trylock(mutex_of(mutex)) == 0;
}

void g_cond_init(GCond *cond)
{
    cond->p = NULL;
}

void g_cond_clear(GCond *cond)
{
    if (cond->p) {
        pthread_cond_destroy(cond->p);
        free(cond->p);
        cond->p = NULL;
    }
}

void g_cond_wait(GCond *cond, GMutex *mutex)
{
    pthread_cond_wait(cond_of(cond), mutex_of(mutex));
}

void g_cond_signal(GCond *cond)
{
    pthread_cond_signal(cond_of(cond));
}

void g_cond_broadcast(GCond *cond)
{
    pthread_cond_broadcast(cond_of(cond));
}

gboolean g_cond_wait_until(GCond *cond, GMutex *mutex, gint64 end_time)
{
    struct timespec ts = { end_time / 1000000, end_time % 1000000 * 1000 };
    return pthread_cond_timedwait(cond_of(cond), mutex_of(mutex), &ts) != ETIMEDOUT;
}
