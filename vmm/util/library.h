/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Shared libraries that are loaded when they are first wanted: nobody else waits for them. */
#ifndef VMM_UTIL_LIBRARY_H
#define VMM_UTIL_LIBRARY_H

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>

/* A function of the library, and the pointer to it that is filled. */
typedef struct LibraryFunction {
    const char *name;
    void *pointer; /* the address of a function pointer */
} LibraryFunction;

typedef struct Library {
    const char *file; /* "libNAME.so.VERSION" */
    const char *what; /* what it does, for the error */
    const LibraryFunction *functions;
    size_t function_count;
    gsize once; /* private, begins with 0, as the next */
    char *failure;
} Library;

/* Loads it at the first call and fills its pointers; it stays. False: it is not there or lacks a
 * function, now and ever after. Any thread. */
bool library_load(Library *library, GError **error);

#endif
