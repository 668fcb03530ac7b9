/* SPDX-License-Identifier: GPL-2.0-or-later */
/* For tests of images: running qemu-img, the judge, and other commands. */
#ifndef TESTS_UNIT_QEMU_IMG_H
#define TESTS_UNIT_QEMU_IMG_H

#include <glib.h>
#include <stdbool.h>

bool qemu_is_here(void); /* qemu-img and qemu-io are installed */

/* Runs a shell line in a folder (NULL: here); its exit code, -1 where it died. What it printed goes
 * to *out (may be NULL; g_free), and is a message of the test where it did not end with 0. */
int command_run(const char *folder, char **out, const char *format, ...) G_GNUC_PRINTF(3, 4);
/* The command has to end with 0; what it printed (g_free). */
char *command_output(const char *folder, const char *format, ...) G_GNUC_PRINTF(2, 3);

/* Waits until nobody holds a lock on the image: the kernel takes an io_uring apart some time after
 * its process has died, and the files of requests that were under way with it. */
void image_wait_unlocked(const char *path);
/* Exit code of qemu-img check: 0 clean, 3 leaks, 2 corrupt, else it could not tell. */
int qemu_img_check(const char *path);
/* The image is clean, and holds the same bytes. */
void qemu_img_judge(const char *path, const void *data, gsize bytes);

#endif
