/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Running vireo-img and qemu-img side by side: each has a folder of its own, with the same files.
 */
#ifndef TESTS_IMG_IMGTEST_H
#define TESTS_IMG_IMGTEST_H

#include <glib.h>
#include <json-c/json.h>
#include <stdbool.h>

typedef struct Run {
    int status; /* exit status; -1: died */
    char *out, *err;
} Run;

typedef enum Tool { TOOL_QEMU, TOOL_VIREO } Tool;

void imgtest_begin(void); /* makes the folders */
void imgtest_end(void);   /* removes them */
bool imgtest_has_qemu(void);
/* args: separated by spaces; '' is an empty word. */
Run imgtest_run(Tool tool, const char *args);
void run_clear(Run *run);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Run, run_clear)

/* Runs it with vireo-img (and asserts the status); returns what it printed (g_free). */
char *imgtest_vireo(const char *args, int status);
/* Both tools: status and standard output must be the same, but for the name of the tool. */
void imgtest_same(const char *args);
void imgtest_same_status(const char *args);
/* Both print JSON: the values are the same but for those of the keys in ignore (NULL: none), which
 * is NULL-terminated. */
void imgtest_same_json(const char *args, const char *const *ignore);
/* A file in both folders: parts of 64 KiB, one for each letter of the pattern; '.' is a hole. */
void imgtest_make_raw(const char *name, const char *pattern);
/* Marks the first bitmap of a qcow2 image as in use, in both folders: what a crash leaves. */
void imgtest_mark_in_use(const char *name);
/* Copies a file of one tool's folder into that of the other. */
void imgtest_share(Tool from, const char *name);

#endif
