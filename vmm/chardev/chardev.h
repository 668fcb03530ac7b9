/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Character devices: byte streams between a front end (serial port, console port, monitor, test
 * server) and the host (stdio, socket, pty, file, pipe, ringbuf, null), and the multiplexer that
 * lets several front ends share one. Input is delivered on the main thread; writing is non-blocking
 * from any thread.
 */
#ifndef VMM_CHARDEV_CHARDEV_H
#define VMM_CHARDEV_CHARDEV_H

#include <glib.h>
#include <json-c/json.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "vmm/cli/opts.h"
#include "vmm/error.h"

typedef struct Chardev Chardev;
typedef struct CharFrontend CharFrontend;

typedef enum CharEvent {
    CHAR_EVENT_OPENED,
    CHAR_EVENT_CLOSED,
    CHAR_EVENT_BREAK,
    CHAR_EVENT_MUX_IN,
    CHAR_EVENT_MUX_OUT
} CharEvent;

/* Called on the main thread. A front end takes its own locks in them and may call chardev functions
 * from them. */
typedef struct CharFrontendOps {
    size_t (*can_read)(void *opaque); /* bytes that read would take now */
    void (*read)(void *opaque, const uint8_t *data, size_t len); /* len <= can_read() */
    void (*event)(void *opaque, CharEvent event);                /* may be NULL */
    void (*writable)(void *opaque); /* after a short write: room again; may be NULL */
    /* On a mux: does not take the focus from another when it attaches, but is told MUX_OUT before
     * OPENED. For monitors. */
    bool background;
    /* Whether chardev_change() may put another device behind it; is told then, after a CLOSED if
     * nobody is at the new one's other side. changed may be NULL. */
    bool changeable;
    void (*changed)(void *opaque);
} CharFrontendOps;

/* ---- Making: main thread ---- */
Chardev *chardev_new(Opts *options, GError **error); /* -chardev BACKEND,id=ID,... / chardev-add */
/* The -serial/-monitor/-qmp short forms: "stdio", "mon:stdio", "unix:PATH,server=on", "tcp:...",
 * "telnet:...", "pty", "file:PATH", "pipe:PATH", "null", "vc", "chardev:ID", "none" (returns NULL
 * without error). */
Chardev *chardev_new_legacy(const char *text, const char *id, GError **error);
Chardev *chardev_find(const char *id);
bool chardev_delete(const char *id, GError **error); /* not while in use */
/* Another device, made from options that have this id, takes the place of the one there is; its
 * front end goes along. NULL and error: the old one is as it was. */
Chardev *chardev_change(const char *id, Opts *options, GError **error);
/* What a break on the line would do. */
void chardev_send_break(Chardev *chardev);
const char *chardev_id(const Chardev *chardev);
const char *chardev_backend(const Chardev *chardev); /* "socket", "null" ... */
char *chardev_filename(
    const Chardev *chardev); /* query-chardev: "unix:/run/x,server=on", "pty:/dev/pts/3" */
bool chardev_frontend_open(const Chardev *chardev);
void chardev_foreach(void (*fn)(Chardev *chardev, void *opaque), void *opaque);
void chardevs_help(GString *out);
void chardev_backends_foreach(void (*fn)(const char *name, void *opaque), void *opaque);
/* The options that -chardev takes: the common ones, then every back end's; repeats. */
void chardev_options_foreach(void (*fn)(const char *name, void *opaque), void *opaque);
void chardev_close_all(void); /* at exit: flushes what can be flushed, restores the terminal */
/* Puts the terminal back as it was. Async-signal-safe: for handlers of fatal signals; any thread.
 */
void chardev_restore_terminal(void);
/* -nographic, mon:stdio: what the Ctrl-a keys of a mux do besides switching: x quits, h helps, s
 * saves, b breaks, t time stamps. */
typedef struct CharMuxHooks {
    void (*quit)(void);
    void (*save)(void); /* commits -snapshot overlays; NULL: says that there is nothing to save */
} CharMuxHooks;
void chardev_set_mux_hooks(const CharMuxHooks *hooks);
void chardev_set_mux_escape(uint8_t character); /* -echr; 1 (Ctrl-a) unless set */
#define CHAR_KEY_NAME_MAX 16
void chardev_mux_escape_name(char name[CHAR_KEY_NAME_MAX]); /* "Ctrl-a" */
/* A console that the terminal (a chardev that nobody uses yet, or NULL) shares with the clients of
 * listen_fd, a listening unix socket that it owns from now on. */
Chardev *chardev_console_new(const char *id, Chardev *terminal, int listen_fd, GError **error);

/* ringbuf-read, ringbuf-write. */
bool chardev_ringbuf_read(Chardev *chardev, size_t max, GByteArray *out, GError **error);
bool chardev_ringbuf_write(Chardev *chardev, const uint8_t *data, size_t len, GError **error);

/* ---- Front ends ---- */
/* Main thread. Fails when the device is taken (and is not a mux). CHAR_EVENT_OPENED follows when
 * the other side is there. */
CharFrontend *char_frontend_attach(Chardev *chardev, const CharFrontendOps *ops, void *opaque,
                                   GError **error);
void char_frontend_detach(CharFrontend *frontend); /* afterwards no callback comes; main thread */
/* Writes what goes without blocking, returns how much (0 when nobody is connected and the back end
 * drops: then len is returned as if written, like QEMU's). A short return promises a later
 * writable(). Any thread. */
size_t char_write(CharFrontend *frontend, const uint8_t *data, size_t len);
/* Queues everything, growing a buffer up to a bound (64 MiB, then drops): for monitors. Any thread.
 */
void char_write_all(CharFrontend *frontend, const uint8_t *data, size_t len);
void char_accept_input(CharFrontend *frontend); /* can_read() may have grown; any thread */
bool char_is_connected(CharFrontend *frontend); /* any thread */
/* Line settings for ttys (serial ports): ignored elsewhere. */
void char_set_line(CharFrontend *frontend, unsigned baud, unsigned data_bits, unsigned stop_bits,
                   char parity, bool break_on);
/* Descriptors received by SCM_RIGHTS on a unix socket since the last call (getfd). Main thread; -1
 * when none. */
int char_take_fd(CharFrontend *frontend);
/* A duplicate of the connected socket or other descriptor, for who talks on it by itself and takes
 * no input through the front end (can_read is NULL). Main thread; -1 when nobody is connected. */
int char_dup_connection(CharFrontend *frontend);

#endif
