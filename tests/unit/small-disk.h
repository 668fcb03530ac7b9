/* SPDX-License-Identifier: GPL-2.0-or-later */
/* For tests of full disks: a file system that is soon full. */
#ifndef TESTS_UNIT_SMALL_DISK_H
#define TESTS_UNIT_SMALL_DISK_H

#include <stdbool.h>
#include <stdint.h>

/* A file system of so many bytes on the folder, which this process and its children alone see.
 * False: it is not permitted here. */
bool small_disk_mount(const char *folder, uint64_t bytes);
void small_disk_unmount(const char *folder);
/* The file "ballast" in it becomes as large as leaves so many bytes free, or none of them. */
void small_disk_leave(const char *folder, uint64_t bytes);
uint64_t small_disk_free(const char *folder); /* bytes */

#endif
