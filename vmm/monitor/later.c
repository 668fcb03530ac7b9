/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Commands that are answered later: what they wait for, in threads. */
#include "vmm/monitor/later.h"

struct LaterCommand {
    void (*again)(void *opaque);
    void *opaque;
    GPtrArray *works; /* LaterWork, running or done */
    bool allowed;     /* by this run */
    unsigned running;
};

static LaterCommand *current; /* NULL: nobody could wait */

static void ended(void *opaque)
{
    LaterWork *work = opaque;
    LaterCommand *command = work->command;
    work->done = true;
    if (!command) {
        work->free(work);
    } else if (--command->running == 0) {
        command->again(command->opaque);
    }
}

static void *thread_main(void *opaque)
{
    LaterWork *work = opaque;
    work->run(work);
    event_loop_post(event_loop_main(), &work->task);
    return NULL;
}

void later_allow(void)
{
    if (current) {
        current->allowed = true;
    }
}

bool later_start(LaterWork *work)
{
    if (!current || !current->allowed) {
        return false;
    }
    work->task = (LoopTask)LOOP_TASK_INIT(ended, work);
    work->command = current;
    work->done = false;
    GThread *thread = g_thread_try_new("later", thread_main, work, NULL);
    if (!thread) {
        return false;
    }
    g_thread_unref(thread);
    g_ptr_array_add(current->works, work);
    current->running++;
    return true;
}

LaterWork *later_find(bool (*match)(const LaterWork *work, const void *opaque), const void *opaque)
{
    for (guint i = 0; current && i < current->works->len; i++) {
        LaterWork *work = g_ptr_array_index(current->works, i);
        if (work->done && match(work, opaque)) {
            return work;
        }
    }
    return NULL;
}

LaterCommand *later_command_new(void (*again)(void *opaque), void *opaque)
{
    LaterCommand *command = g_new0(LaterCommand, 1);
    command->again = again;
    command->opaque = opaque;
    command->works = g_ptr_array_new();
    return command;
}

void later_command_free(LaterCommand *command)
{
    for (guint i = 0; command && i < command->works->len; i++) {
        LaterWork *work = g_ptr_array_index(command->works, i);
        work->command = NULL;
        if (work->done) {
            work->free(work);
        }
    }
    if (command) {
        g_ptr_array_unref(command->works);
        g_free(command);
    }
}

void later_command_begin(LaterCommand *command)
{
    command->allowed = false;
    current = command;
}

bool later_command_end(LaterCommand *command)
{
    current = NULL;
    return command->running > 0;
}
