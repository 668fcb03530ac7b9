/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the character back ends share. A back end is a constant ChardevClass and a struct that
 * begins with a Chardev. Most stand on descriptors and use the stream part below: it reads when the
 * front end has room, writes without blocking and wakes the front end when a full descriptor
 * drains.
 *
 * Lock order: device -> front end -> mux chardev -> the mux's own front end -> chardev. Callbacks
 * of front ends run on the main thread with no chardev lock held.
 */
#ifndef VMM_CHARDEV_INTERNAL_H
#define VMM_CHARDEV_INTERNAL_H

#include <glib-unix.h>
#include <sys/types.h>
#include "vmm/chardev/chardev.h"

#define CHAR_READ_CHUNK  4096
#define CHAR_PENDING_MAX (64u << 20)

typedef struct ChardevClass {
    const char *name;
    const char *desc;
    size_t size;                /* of the struct, which begins with a Chardev */
    const char *const *options; /* keys besides the common ones, NULL-terminated, or NULL */
    bool (*open)(Chardev *chardev, Opts *options, GError **error);
    void (*close)(Chardev *chardev); /* undoes open, also a failed one; may be NULL */
    /* Takes what goes without blocking; a fatal error takes everything. Any thread, lock held.
     * NULL: a plain write to out_fd. */
    size_t (*write)(Chardev *chardev, const uint8_t *data, size_t len);
    /* Like write, but what does not go now is queued, up to CHAR_PENDING_MAX. NULL: by the stream.
     */
    void (*write_all)(Chardev *chardev, const uint8_t *data, size_t len);
    /* Reads at most len bytes like read(2). NULL: read(2) from in_fd. */
    ssize_t (*read)(Chardev *chardev, uint8_t *data, size_t len);
    /* Filters what was read in place, returns what is left for the front end; may be NULL. */
    size_t (*received)(Chardev *chardev, uint8_t *data, size_t len);
    void (*hangup)(Chardev *chardev); /* end of file or an error on in_fd; NULL: stays quiet */
    void (*accept_input)(Chardev *chardev);    /* the front end has room; NULL: the stream's */
    char *(*filename)(const Chardev *chardev); /* NULL: the class's name */
    void (*set_line)(Chardev *chardev, unsigned baud, unsigned data_bits, unsigned stop_bits,
                     char parity, bool break_on);
    int (*take_fd)(Chardev *chardev);
    void (*attached)(Chardev *chardev, CharFrontend *frontend); /* may be NULL */
    void (*detached)(Chardev *chardev, CharFrontend *frontend); /* may be NULL */
    void (*send_break)(Chardev *chardev);                       /* NULL: to all front ends */
    unsigned max_frontends;                                     /* 0: one */
} ChardevClass;

struct CharFrontend {
    GMutex lock;      /* of chardev, for other threads than the main thread, which changes it */
    Chardev *chardev; /* stays while the lock is held */
    const CharFrontendOps *ops;
    void *opaque;
    GSource *opening;   /* will tell OPENED; main thread */
    bool opened;        /* OPENED was told and CLOSED was not; main thread */
    bool unfocused;     /* MUX_OUT is to be told before OPENED; main thread */
    bool want_writable; /* a write was short; under the chardev's lock */
};

struct Chardev {
    const ChardevClass *cls;
    char *id;
    unsigned users;       /* mux on top, guestfwd: may not be deleted; main thread */
    GPtrArray *frontends; /* changed by the main thread under the lock */
    int connected;        /* atomic: the other side is there */
    int starved;          /* atomic: input waits for char_accept_input() */
    int log_fd;

    /* Input: main thread. */
    int in_fd;
    GSource *in_source;
    bool watch_hangup; /* notice a hang-up while the front end has no room */

    GMutex lock; /* of everything below */
    int out_fd;
    bool out_socket; /* out_fd may be a blocking socket: MSG_DONTWAIT; set before the stream */
    GSource *out_source;
    GSource *resume_source;
    GByteArray *pending; /* bytes of char_write_all that did not go yet */
    size_t pending_head;
};

extern const ChardevClass chardev_null_class, chardev_stdio_class, chardev_socket_class,
    chardev_pty_class, chardev_file_class, chardev_pipe_class, chardev_serial_class,
    chardev_ringbuf_class, chardev_udp_class, chardev_mux_class, chardev_console_class;

/* ---- chardev.c ---- */
Chardev *chardev_alloc(const ChardevClass *cls, const char *id); /* in the list */
void chardev_free(Chardev *chardev);
/* A mux with the given id over base. Main thread. */
Chardev *chardev_mux_new(const char *id, Chardev *base, GError **error);

/* ---- stream.c: main thread unless said otherwise ---- */
/* Sets the descriptors (-1: none) and begins to read if somebody listens. Does not close old ones.
 */
void chardev_stream_set(Chardev *chardev, int in_fd, int out_fd);
/* Forgets the descriptors, drops pending output; the caller closes them afterwards. */
void chardev_stream_clear(Chardev *chardev);
void chardev_stream_update(Chardev *chardev); /* reads or pauses as the front end has room */
void chardev_stream_flush(Chardev *chardev);  /* at exit: a short while for pending output */
/* Tells front ends when it changes, and reads when it became true. */
void chardev_set_connected(Chardev *chardev, bool connected);
void chardev_send_event(Chardev *chardev, CharEvent event);
size_t chardev_can_read(Chardev *chardev); /* 0 when nobody is attached */
/* The only front end of from goes over to to, which has none. */
void chardev_move_frontend(Chardev *from, Chardev *to);
void chardev_deliver(Chardev *chardev, const uint8_t *data, size_t len);
/* Writes to out_fd without blocking; lock held, any thread. */
size_t chardev_write_fd(Chardev *chardev, const uint8_t *data, size_t len);
/* Appends to the pending output; lock held, any thread. False when the bound would be passed. */
bool chardev_queue_pending(Chardev *chardev, const uint8_t *data, size_t len);
void chardev_writable_now(Chardev *chardev); /* tells front ends whose writes were short */

/* Runs the class's accept_input on the main thread soon. Any thread. */
void chardev_resume_soon(Chardev *chardev);

/* A source on the main context with default priority. Any thread. */
GSource *chardev_call_soon(GSourceFunc fn, void *opaque);
GSource *chardev_call_after(unsigned milliseconds, GSourceFunc fn, void *opaque);
GSource *chardev_watch_fd(int fd, GIOCondition condition, GUnixFDSourceFunc fn, void *opaque);
void chardev_drop_source(GSource **source); /* destroys and forgets; NULL inside is nothing */

bool fd_set_nonblocking(int fd);

/* ---- legacy.c ---- */
/* chardev-add's {id, backend: {type, data: {...}}} to -chardev's keys; NULL and error. Returns NULL
 * without error when the options are already flat. */
Opts *chardev_flatten_qmp(Opts *options, GError **error);

#endif
