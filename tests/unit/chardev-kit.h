/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the tests of character devices share: a front end that records, devices made from option
 * text, the main context run by hand, a temporary folder. */
#ifndef TESTS_UNIT_CHARDEV_KIT_H
#define TESTS_UNIT_CHARDEV_KIT_H

#include "vmm/chardev/chardev.h"

typedef struct Listener {
    CharFrontend *fe;
    GString *got;
    size_t room;
    int opened, closed, breaks, mux_in, mux_out, writable;
} Listener;

extern const CharFrontendOps listener_ops;

/* Attached to the device, with room for 1 MiB. */
Listener *listener_new(Chardev *chardev);
void listener_free(Listener *listener);
/* All of it goes out at once. */
void send_text(Listener *listener, const char *text);

gboolean chardev_kit_tick(void *opaque);
/* Runs the main context until the condition holds; the test's own time limit ends a vain wait. */
#define RUN_UNTIL(condition)                                                                       \
    do {                                                                                           \
        guint tick_ = g_timeout_add(5, chardev_kit_tick, NULL);                                    \
        while (!(condition)) {                                                                     \
            g_main_context_iteration(NULL, TRUE);                                                  \
        }                                                                                          \
        g_source_remove(tick_);                                                                    \
    } while (0)

void run_pending(void);

/* From what -chardev takes; there has to be no error. */
Chardev *make(const char *text);
/* The error has this part, and neither "c" nor "c-base" is left. */
void assert_refused(const char *text, const char *expected);
void drop(const char *id);

/* A path in a folder that chardev_kit_run() makes and removes. */
char *in_folder(const char *name);
/* A server "c" on a socket of this name in the folder, whose path it tells. */
Chardev *unix_server(const char *name, const char *more, char **path);
int connect_unix(const char *path);
/* Reads exactly len bytes while the main loop runs. */
void expect_bytes(int fd, const void *bytes, size_t len);

/* g_test_run() with the folder. */
int chardev_kit_run(void);

#endif
