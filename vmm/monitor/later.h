/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Commands that are answered later. A command that finds out that it needs long work (a key to be
 * derived) gives it to a thread and fails; what it did so far is undone as after any error. When
 * the work is done the command is run again from its beginning, and finds the result. Meanwhile
 * its session's next commands wait in their row; the main loop and other sessions go on.
 *
 * Main thread, but for LaterWork.run.
 */
#ifndef VMM_MONITOR_LATER_H
#define VMM_MONITOR_LATER_H

#include <stdbool.h>
#include "vmm/event/loop.h"

/* ---- What is to be done ---- */
typedef struct LaterWork LaterWork;
struct LaterWork {
    void (*run)(LaterWork *work); /* in a thread of its own */
    void (*free)(
        LaterWork *work); /* when the command has been answered, or nobody waits any more */
    bool done;            /* the rest of the members are later.c's */
    struct LaterCommand *command;
    LoopTask task;
};

/* The command that is being run bears to be run again from its beginning: said by its handler. */
void later_allow(void);
/* Starts the work if the command allows it and somebody can wait: then work is later.c's, and the
 * command has to fail, with any error. False: the caller keeps work, and does it itself. */
bool later_start(LaterWork *work);
/* A work of the command being run that is done, and that matches; or NULL. It stays later.c's. */
LaterWork *later_find(bool (*match)(const LaterWork *work, const void *opaque), const void *opaque);

/* ---- Who runs commands ---- */
typedef struct LaterCommand LaterCommand;

/* again is called, from the loop, when the command is to be run once more. */
LaterCommand *later_command_new(void (*again)(void *opaque), void *opaque);
/* It has been answered, or nobody waits: results are freed, works that run end unheard. NULL:
 * nothing. */
void later_command_free(LaterCommand *command);
/* Around one run of the command; end says whether it waits: then its response is not meant. */
void later_command_begin(LaterCommand *command);
bool later_command_end(LaterCommand *command);

#endif
