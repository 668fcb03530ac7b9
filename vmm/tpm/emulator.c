/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The TPM back end "emulator": a thread that talks to swtpm. Lock order: device, then this lock,
 * which nobody holds while it calls out.
 */
#include "vmm/tpm/internal.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>
#include "vmm/memory/rcu.h"

#define CONTROL_MS   10000
#define COMMAND_MS   300000 /* making an RSA key takes long on a slow host */
#define CANCELLED_MS 10000  /* to answer what was cancelled */
#define PATIENCE_MS  3000   /* with a command that runs when the machine is to pause */
#define SHUTDOWN_MS  2000
#define NO_LOCALITY  UINT8_MAX
#define NEEDED_CAPS                                                                                \
    (SWTPM_CAN_INIT | SWTPM_CAN_ESTABLISHED | SWTPM_CAN_LOCALITY | SWTPM_CAN_STOP |                \
     SWTPM_CAN_DATA_FD | SWTPM_CAN_BUFFER_SIZE)

const uint8_t tpm_failure[TPM_HEADER_SIZE] = { 0x80, 0x01, 0, 0, 0, TPM_HEADER_SIZE, 0, 0, 1, 1 };

/* Lock held. */
static void ring(TpmBackend *b)
{
    uint64_t one = 1;
    ssize_t n = write(b->wake, &one, sizeof(one));
    (void)n; /* full: it rings already */
    g_cond_broadcast(&b->changed);
}

/* ---- On the thread ---- */

static bool is_dead(const TpmBackend *b)
{
    return g_atomic_int_get(&b->dead);
}

/* swtpm is not to be trusted any more. Consumes the error. Any thread. */
static void give_up(TpmBackend *b, GError *error)
{
    if (g_atomic_int_compare_and_exchange(&b->dead, 0, 1)) {
        report_error("-tpmdev emulator,id=%s: %s; the guest's TPM answers with failures from now "
                     "on. Start swtpm again, and the machine",
                     b->id, error->message);
    }
    g_error_free(error);
}

static bool start_tpm(TpmBackend *b, bool delete_volatile, GError **error)
{
    uint32_t size = b->buffer_size;
    bool established;
    b->locality = NO_LOCALITY;
    if (!swtpm_stop(&b->swtpm, error) || !swtpm_buffer_size(&b->swtpm, size, &size, error) ||
        !swtpm_init(&b->swtpm, delete_volatile, error) ||
        !swtpm_established(&b->swtpm, &established, error)) {
        return false;
    }
    g_atomic_int_set(&b->established, established);
    return true;
}

static void do_restart(TpmBackend *b)
{
    GError *error = NULL;
    if (!is_dead(b) && !start_tpm(b, true, &error)) {
        give_up(b, error);
    }
}

static void do_reset_established(TpmBackend *b, uint8_t locality)
{
    GError *error = NULL;
    bool established = false;
    if (is_dead(b) || !(b->caps & SWTPM_CAN_RESET_ESTABLISHED)) {
        return;
    }
    b->swtpm.refused = false;
    if (swtpm_reset_established(&b->swtpm, locality, &error) &&
        swtpm_established(&b->swtpm, &established, &error)) {
        g_atomic_int_set(&b->established, established);
    } else if (b->swtpm.refused) {
        g_error_free(error);
    } else {
        give_up(b, error);
    }
}

/* swtpm runs each command in the locality that was set last. */
static bool enter_locality(TpmBackend *b, uint8_t locality)
{
    GError *error = NULL;
    if (b->locality == locality) {
        return true;
    }
    b->swtpm.refused = false;
    if (swtpm_set_locality(&b->swtpm, locality, &error)) {
        b->locality = locality;
        return true;
    }
    if (b->swtpm.refused) { /* --locality reject-locality-4 */
        g_error_free(error);
    } else {
        give_up(b, error);
    }
    return false;
}

/* Takes the wish to cancel, and the wake-up that came with it. */
static bool take_cancel(TpmBackend *b)
{
    uint64_t count;
    ssize_t n = read(b->wake, &count, sizeof(count));
    (void)n; /* nothing there: nobody rang */
    g_mutex_lock(&b->lock);
    bool cancel = b->cancel;
    b->cancel = false;
    g_mutex_unlock(&b->lock);
    return cancel;
}

static bool wait_answer(TpmBackend *b, uint8_t *answer, size_t *len, GError **error)
{
    int64_t deadline = g_get_monotonic_time() + COMMAND_MS * 1000LL;
    bool complete = false;
    *len = 0;
    while (!complete) {
        struct pollfd fds[] = { { .fd = b->swtpm.data, .events = POLLIN },
                                { .fd = b->wake, .events = POLLIN } };
        int64_t left = (deadline - g_get_monotonic_time()) / 1000 + 1;
        int n = left > 0 ? poll(fds, G_N_ELEMENTS(fds), (int)left) : 0;
        if (n == 0) {
            return error_set(error, "swtpm does not answer");
        }
        if (n > 0 && fds[1].revents && take_cancel(b)) {
            if ((b->caps & SWTPM_CAN_CANCEL) && !swtpm_cancel(&b->swtpm, error)) {
                return false;
            }
            deadline = MIN(deadline, g_get_monotonic_time() + CANCELLED_MS * 1000LL);
        }
        if (n > 0 && fds[0].revents &&
            !swtpm_receive(&b->swtpm, answer, b->buffer_size, len, &complete, error)) {
            return false;
        }
    }
    return true;
}

static void do_command(TpmBackend *b, const TpmCommand *command)
{
    uint8_t answer[TPM_BUFFER_MAX];
    GError *error = NULL;
    size_t len = 0;
    bool ok = false;
    if (!is_dead(b) && enter_locality(b, command->locality)) {
        ok = swtpm_send(&b->swtpm, command->data, command->len, &error) &&
             wait_answer(b, answer, &len, &error);
        if (!ok) {
            give_up(b, error);
        }
    }
    b->answered(b->opaque, command->token, ok ? answer : tpm_failure, ok ? len : TPM_HEADER_SIZE);
}

/* One thing that is to be done, without the lock; false: nothing. Lock held. */
static bool work(TpmBackend *b)
{
    TpmCommand command;
    uint8_t locality = b->reset_locality;
    bool restart = b->restart, reset = b->reset_established, run = b->pending;
    if (!restart && !reset && !run) {
        return false;
    }
    b->busy = true;
    if (restart) {
        b->restart = false;
    } else if (reset) {
        b->reset_established = false;
    } else {
        command = b->command;
        b->cancel = b->cancel_pending;
        b->pending = b->cancel_pending = false;
        ring(b); /* a wish to cancel may have been heard for what ran before */
    }
    g_mutex_unlock(&b->lock);
    if (restart) {
        do_restart(b);
    } else if (reset) {
        do_reset_established(b, locality);
    } else {
        do_command(b, &command);
    }
    g_mutex_lock(&b->lock);
    b->busy = false;
    b->cancel = false;
    g_cond_broadcast(&b->changed);
    return true;
}

static void *thread_main(void *opaque)
{
    TpmBackend *b = opaque;
    rcu_thread_register();
    g_mutex_lock(&b->lock);
    while (!b->quit) {
        if (!work(b)) {
            g_cond_wait(&b->changed, &b->lock);
        }
    }
    g_mutex_unlock(&b->lock);
    rcu_thread_unregister();
    return NULL;
}

/* ---- From other threads ---- */

/* Lock held. */
static void cancel_all(TpmBackend *b)
{
    b->cancel = b->busy;
    b->cancel_pending = b->pending;
    ring(b);
}

void tpm_backend_reset(TpmBackend *b)
{
    g_mutex_lock(&b->lock);
    b->pending = b->cancel_pending = b->reset_established = false;
    b->restart = true;
    cancel_all(b);
    g_mutex_unlock(&b->lock);
}

void tpm_backend_submit(TpmBackend *b, const TpmCommand *command)
{
    g_mutex_lock(&b->lock);
    g_assert(!b->pending && command->len <= b->buffer_size);
    b->command = *command;
    b->pending = true;
    g_cond_broadcast(&b->changed);
    g_mutex_unlock(&b->lock);
}

void tpm_backend_cancel(TpmBackend *b)
{
    g_mutex_lock(&b->lock);
    if (b->pending) { /* what runs is not the device's any more */
        b->cancel_pending = true;
    } else {
        cancel_all(b);
    }
    g_mutex_unlock(&b->lock);
}

bool tpm_backend_established(const TpmBackend *b)
{
    return g_atomic_int_get(&b->established);
}

void tpm_backend_reset_established(TpmBackend *b, unsigned locality)
{
    g_mutex_lock(&b->lock);
    b->reset_established = true;
    b->reset_locality = (uint8_t)locality;
    g_cond_broadcast(&b->changed);
    g_mutex_unlock(&b->lock);
}

static bool idle(const TpmBackend *b)
{
    return !b->busy && !b->pending && !b->restart && !b->reset_established;
}

/* Lock held. Each thing that the thread does is bounded. */
static void wait_idle(TpmBackend *b)
{
    while (!idle(b)) {
        g_cond_wait(&b->changed, &b->lock);
    }
}

void tpm_backend_quiesce(TpmBackend *b)
{
    int64_t patience = g_get_monotonic_time() + PATIENCE_MS * 1000LL;
    g_mutex_lock(&b->lock);
    while (!idle(b) && g_cond_wait_until(&b->changed, &b->lock, patience)) {
    }
    if (!idle(b)) {
        cancel_all(b);
    }
    wait_idle(b);
    g_mutex_unlock(&b->lock);
}

/* ---- State: the thread rests, and the lock keeps it so ---- */

static bool check_state(TpmBackend *b, uint32_t cap, GError **error)
{
    if (is_dead(b)) {
        return error_set(error,
                         "-tpmdev emulator,id=%s: swtpm is gone, and the TPM's state with "
                         "it",
                         b->id);
    }
    return (b->caps & cap) ||
           error_set(error,
                     "-tpmdev emulator,id=%s: this swtpm cannot move its state: the machine "
                     "cannot be saved and restored",
                     b->id);
}

bool tpm_backend_save(TpmBackend *b, TpmBlob *blobs, GError **error)
{
    g_mutex_lock(&b->lock);
    wait_idle(b);
    bool ok = check_state(b, SWTPM_CAN_GET_STATE, error);
    for (unsigned i = 0; ok && i < TPM_STATE_BLOBS; i++) {
        ok = swtpm_get_state(&b->swtpm, i, &blobs[i], error);
    }
    g_mutex_unlock(&b->lock);
    return ok;
}

bool tpm_backend_load(TpmBackend *b, const TpmBlob *blobs, GError **error)
{
    g_mutex_lock(&b->lock);
    wait_idle(b);
    bool ok = check_state(b, SWTPM_CAN_SET_STATE, error) && swtpm_stop(&b->swtpm, error);
    for (unsigned i = 0; ok && i < TPM_STATE_BLOBS; i++) {
        ok = !blobs[i].len || swtpm_set_state(&b->swtpm, i, &blobs[i], error);
    }
    ok = ok && start_tpm(b, false, error);
    if (!ok) {
        g_atomic_int_set(&b->dead, 1);
    }
    g_mutex_unlock(&b->lock);
    return ok;
}

/* ---- Life ---- */

/* swtpm's end closed: said at once, not with the next command. Main thread. */
static void control_event(void *opaque, CharEvent event)
{
    GError *error = NULL;
    if (event == CHAR_EVENT_CLOSED) {
        error_set(&error, "swtpm has closed the connection");
        give_up(opaque, error);
    }
}

static const CharFrontendOps control_ops = { .event = control_event };

static bool connect_control(TpmBackend *b, GError **error)
{
    Chardev *chardev = chardev_find(b->chardev_id);
    int domain = 0;
    socklen_t len = sizeof(domain);
    if (!chardev) {
        return error_set(error,
                         "no character device '%s': define it with -chardev "
                         "socket,id=%s,path=SOCKET",
                         b->chardev_id, b->chardev_id);
    }
    b->frontend = char_frontend_attach(chardev, &control_ops, b, error);
    if (!b->frontend) {
        return false;
    }
    b->swtpm.control = char_dup_connection(b->frontend);
    if (getsockopt(b->swtpm.control, SOL_SOCKET, SO_DOMAIN, &domain, &len) < 0 ||
        domain != AF_UNIX) {
        return error_set(error,
                         "character device '%s' is not a unix socket with swtpm at its "
                         "other end: -chardev socket,id=%s,path=SOCKET",
                         b->chardev_id, b->chardev_id);
    }
    return true;
}

static bool greet(TpmBackend *b, GError **error)
{
    if (!swtpm_capabilities(&b->swtpm, &b->caps, error)) {
        return false;
    }
    if ((b->caps & NEEDED_CAPS) != NEEDED_CAPS) {
        return error_set(error, "this swtpm lacks what is needed: it has 0x%x, not 0x%x", b->caps,
                         NEEDED_CAPS & ~b->caps);
    }
    return swtpm_stop(&b->swtpm, error) && swtpm_open_data(&b->swtpm, error) &&
           swtpm_check_version(&b->swtpm, error) &&
           swtpm_buffer_size(&b->swtpm, 0, &b->offered_size, error);
}

bool tpm_emulator_start(TpmBackend *b, GError **error)
{
    g_mutex_init(&b->lock);
    g_cond_init(&b->changed);
    b->swtpm = (Swtpm){ .control = -1, .data = -1, .timeout_ms = CONTROL_MS };
    b->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (b->wake < 0) {
        return error_set_errno(error, errno, "eventfd");
    }
    if (!connect_control(b, error) || !greet(b, error)) {
        return false;
    }
    b->thread = g_thread_new("tpm", thread_main, b);
    return true;
}

static void close_fd(int fd)
{
    if (fd >= 0) {
        close(fd);
    }
}

void tpm_emulator_end(TpmBackend *b)
{
    if (b->thread) {
        g_mutex_lock(&b->lock);
        cancel_all(b);
        wait_idle(b);
        b->quit = true;
        ring(b);
        g_mutex_unlock(&b->lock);
        g_thread_join(b->thread);
        b->swtpm.timeout_ms = SHUTDOWN_MS;
        if (!is_dead(b) && (b->caps & SWTPM_CAN_SHUTDOWN)) {
            swtpm_shutdown(&b->swtpm, NULL);
        }
    }
    if (b->frontend) {
        char_frontend_detach(b->frontend);
    }
    close_fd(b->swtpm.control);
    close_fd(b->swtpm.data);
    close_fd(b->wake);
    g_mutex_clear(&b->lock);
    g_cond_clear(&b->changed);
}
