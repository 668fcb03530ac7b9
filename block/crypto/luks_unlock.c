/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The master key of a LUKS header by a password. How long that takes is written in the header, up
 * to minutes for a slot, so it is done in a thread, from copies: the image may be closed meanwhile.
 */
#include <signal.h>
#include "block/crypto/luks.h"
#include "vmm/monitor/later.h"

typedef struct LuksUnlock {
    LaterWork work;
    LuksHeader h;
    uint8_t *material[LUKS_SLOTS]; /* NULL: the slot is not active */
    uint8_t *password;
    size_t bytes;
    /* the result */
    uint8_t *key; /* NULL: error */
    GError *error;
    /* who waits here for it */
    GMutex lock;
    GCond cond;
    bool finished, abandoned; /* under lock */
} LuksUnlock;

static LuksUnlock *unlock_of(const LaterWork *work)
{
    return (LuksUnlock *)work; /* its first member */
}

static void unlock_run(LaterWork *work)
{
    LuksUnlock *u = unlock_of(work);
    u->key = crypto_key_alloc(u->h.key_bytes);
    int ret = 0;
    for (unsigned i = 0; ret == 0 && i < LUKS_SLOTS; i++) {
        if (u->material[i]) {
            ret =
                luks_open_slot(&u->h, i, u->material[i], u->password, u->bytes, u->key, &u->error);
        }
    }
    if (ret == 0) {
        error_set(&u->error, "no key slot opens with the password of the secret");
    }
    if (ret <= 0) {
        crypto_key_free(g_steal_pointer(&u->key), u->h.key_bytes);
    }
}

static void unlock_free(LaterWork *work)
{
    LuksUnlock *u = unlock_of(work);
    for (unsigned i = 0; i < LUKS_SLOTS; i++) {
        if (u->material[i]) {
            luks_free_material(&u->h, i, u->material[i]);
        }
    }
    crypto_key_free(u->password, u->bytes);
    crypto_key_free(u->key, u->h.key_bytes);
    g_clear_error(&u->error);
    g_mutex_clear(&u->lock);
    g_cond_clear(&u->cond);
    g_free(u);
}

static LuksUnlock *unlock_new(const LuksHeader *h, BlockNode *node, uint64_t base,
                              const void *password, size_t bytes, GError **error)
{
    LuksUnlock *u = g_new0(LuksUnlock, 1);
    u->work.run = unlock_run;
    u->work.free = unlock_free;
    u->h = *h;
    u->bytes = bytes;
    u->password = crypto_key_alloc(bytes);
    memcpy(u->password, password, bytes);
    g_mutex_init(&u->lock);
    g_cond_init(&u->cond);
    for (unsigned i = 0; i < LUKS_SLOTS; i++) {
        if (h->slots[i].active) {
            u->material[i] = luks_read_material(h, i, node, base, error);
            if (!u->material[i]) {
                unlock_free(&u->work);
                return NULL;
            }
        }
    }
    return u;
}

/* ---- Waiting here: no monitor's command, or one that cannot be answered later ---- */

static void *thread_main(void *opaque)
{
    LuksUnlock *u = opaque;
    unlock_run(&u->work);
    g_mutex_lock(&u->lock);
    u->finished = true;
    bool abandoned = u->abandoned;
    g_cond_signal(&u->cond);
    g_mutex_unlock(&u->lock);
    if (abandoned) {
        unlock_free(&u->work);
    }
    return NULL;
}

/* The machine's process blocks these and takes them in its main loop, which waits for us. */
static bool told_to_end(void)
{
    sigset_t pending;
    sigpending(&pending);
    return sigismember(&pending, SIGTERM) || sigismember(&pending, SIGINT) ||
           sigismember(&pending, SIGHUP);
}

/* False: given up; the thread frees u. */
static bool wait_here(LuksUnlock *u)
{
    GThread *thread = g_thread_new("luks", thread_main, u);
    g_mutex_lock(&u->lock);
    while (!u->finished && !told_to_end()) {
        g_cond_wait_until(&u->cond, &u->lock, g_get_monotonic_time() + 50 * 1000);
    }
    bool finished = u->finished;
    u->abandoned = !finished;
    g_mutex_unlock(&u->lock);
    if (finished) {
        g_thread_join(thread);
    } else {
        g_thread_unref(thread);
    }
    return finished;
}

/* ---- The way of a key ---- */

static bool is_of(const LaterWork *work, const void *opaque)
{
    const LuksUnlock *a = unlock_of(work), *b = opaque;
    uint8_t header[2][LUKS_HEADER_BYTES];
    if (work->run != unlock_run || a->bytes != b->bytes ||
        memcmp(a->password, b->password, a->bytes) != 0) {
        return false;
    }
    luks_store(&a->h, header[0]);
    luks_store(&b->h, header[1]);
    return memcmp(header[0], header[1], LUKS_HEADER_BYTES) == 0;
}

static uint8_t *result_of(const LuksUnlock *u, GError **error)
{
    uint8_t *key = NULL;
    if (u->key) {
        key = crypto_key_alloc(u->h.key_bytes);
        memcpy(key, u->key, u->h.key_bytes);
    } else {
        g_propagate_error(error, g_error_copy(u->error));
    }
    return key;
}

uint8_t *luks_unlock(const LuksHeader *h, BlockNode *node, uint64_t base, const void *password,
                     size_t bytes, GError **error)
{
    LuksUnlock *u = unlock_new(h, node, base, password, bytes, error);
    if (!u) {
        return NULL;
    }
    uint8_t *key = NULL;
    LaterWork *done = later_find(is_of, u);
    if (done) {
        key = result_of(unlock_of(done), error);
    } else if (later_start(&u->work)) {
        error_set(error, "its key is being derived");
        return NULL;
    } else if (wait_here(u)) {
        key = result_of(u, error);
    } else {
        error_set(error, "a signal came while its key was derived: given up");
        return NULL;
    }
    unlock_free(&u->work);
    return key;
}
