/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The multiplexer: several front ends share one character device. All write to it; input goes to
 * the one in focus. An escape character (Ctrl-a) commands the multiplexer itself.
 */
#include <stdio.h>
#include <string.h>
#include "vmm/chardev/internal.h"

#define MUX_MAX        4
#define MUX_INPUT_SIZE 4096 /* bytes kept for a front end that has no room: a power of two */

typedef struct MuxSlot {
    CharFrontend *frontend; /* NULL: free */
    uint8_t input[MUX_INPUT_SIZE];
    uint32_t put, get;
} MuxSlot;

typedef struct MuxChardev {
    Chardev base;
    Chardev *under;
    CharFrontend *lower; /* ours on under */
    MuxSlot slots[MUX_MAX];
    unsigned focus;
    bool escaped;
    /* Under base.lock. */
    bool timestamps, line_started;
    int64_t start; /* g_get_monotonic_time() of the first time stamp */
} MuxChardev;

static CharMuxHooks mux_hooks;
static uint8_t mux_escape = 1;

void chardev_set_mux_hooks(const CharMuxHooks *hooks)
{
    mux_hooks = *hooks;
}

void chardev_set_mux_escape(uint8_t character)
{
    mux_escape = character;
}

/* ---- Output ---- */

static void stamp_line(MuxChardev *m)
{
    char text[40];
    int64_t now = g_get_monotonic_time();
    if (!m->start) {
        m->start = now;
    }
    int64_t ms = (now - m->start) / 1000;
    int len = snprintf(text, sizeof(text), "[%02d:%02d:%02d.%03d] ", (int)(ms / 3600000),
                       (int)(ms / 60000 % 60), (int)(ms / 1000 % 60), (int)(ms % 1000));
    char_write_all(m->lower, (const uint8_t *)text, len);
}

static size_t mux_write(Chardev *c, const uint8_t *data, size_t len)
{
    MuxChardev *m = (MuxChardev *)c;
    if (!m->timestamps) {
        return char_write(m->lower, data, len);
    }
    size_t done = 0;
    while (done < len) {
        if (!m->line_started) {
            stamp_line(m);
            m->line_started = true;
        }
        const uint8_t *newline = memchr(data + done, '\n', len - done);
        size_t run = newline ? (size_t)(newline - data) + 1 - done : len - done;
        size_t n = char_write(m->lower, data + done, run);
        done += n;
        if (n < run) {
            break;
        }
        m->line_started = !newline;
    }
    return done;
}

static void mux_write_all(Chardev *c, const uint8_t *data, size_t len)
{
    size_t done = mux_write(c, data, len);
    char_write_all(((MuxChardev *)c)->lower, data + done, len - done);
}

static void mux_say(MuxChardev *m, const char *text)
{
    char_write_all(m->lower, (const uint8_t *)text, strlen(text));
}

/* ---- Focus and commands ---- */

static void slot_event(MuxSlot *slot, CharEvent event)
{
    if (slot->frontend && slot->frontend->ops->event) {
        slot->frontend->ops->event(slot->frontend->opaque, event);
    }
}

static void mux_switch(MuxChardev *m)
{
    unsigned next = m->focus;
    do {
        next = (next + 1) % MUX_MAX;
    } while (!m->slots[next].frontend && next != m->focus);
    if (next != m->focus) {
        unsigned old = m->focus;
        m->focus = next;
        slot_event(&m->slots[old], CHAR_EVENT_MUX_OUT);
        if (m->slots[next].frontend) {
            m->slots[next].frontend->unfocused = false;
        }
        slot_event(&m->slots[next], CHAR_EVENT_MUX_IN);
    }
}

void chardev_mux_escape_name(char name[CHAR_KEY_NAME_MAX])
{
    bool control = mux_escape < 32;
    snprintf(name, CHAR_KEY_NAME_MAX, "%s%c", control ? "Ctrl-" : "",
             control ? mux_escape - 1 + 'a' : mux_escape);
}

static void mux_help(MuxChardev *m)
{
    char name[CHAR_KEY_NAME_MAX], text[512];
    chardev_mux_escape_name(name);
    snprintf(text, sizeof(text),
             "\r\n"
             "%s h    show these keys\r\n"
             "%s x    quit Vireo\r\n"
             "%s s    write -snapshot disk changes to their files\r\n"
             "%s t    time stamps on or off\r\n"
             "%s b    send a break (magic SysRq)\r\n"
             "%s c    next of console and monitor\r\n"
             "%s %s  send %s itself\r\n",
             name, name, name, name, name, name, name, name, name);
    mux_say(m, text);
}

static void mux_toggle_timestamps(MuxChardev *m)
{
    g_mutex_lock(&m->base.lock);
    m->timestamps = !m->timestamps;
    m->line_started = false;
    m->start = 0;
    g_mutex_unlock(&m->base.lock);
}

static void mux_command(MuxChardev *m, uint8_t key)
{
    switch (key) {
    case 'h':
    case '?':
        mux_help(m);
        break;
    case 'x':
        mux_say(m, "vireo: terminated\r\n");
        if (mux_hooks.quit) {
            mux_hooks.quit();
        }
        break;
    case 's':
        if (mux_hooks.save) {
            mux_hooks.save();
        } else {
            mux_say(m, "\r\nno disk runs with -snapshot: nothing to save\r\n");
        }
        break;
    case 'b':
        chardev_send_break(&m->base);
        break;
    case 'c':
        mux_switch(m);
        break;
    case 't':
        mux_toggle_timestamps(m);
        break;
    default:
        break;
    }
}

/* ---- Input ---- */

static void slot_flush(MuxChardev *m, MuxSlot *slot)
{
    while (slot->frontend && slot->get != slot->put) {
        CharFrontend *fe = slot->frontend;
        size_t room = fe->opened && fe->ops->can_read ? fe->ops->can_read(fe->opaque) : 0;
        if (!room) {
            /* As in stream.c: set before the second look. */
            g_atomic_int_set(&m->base.starved, 1);
            room = fe->opened && fe->ops->can_read ? fe->ops->can_read(fe->opaque) : 0;
            if (!room) {
                return;
            }
            g_atomic_int_set(&m->base.starved, 0);
        }
        uint32_t at = slot->get % MUX_INPUT_SIZE;
        uint32_t n = MIN(slot->put - slot->get, MUX_INPUT_SIZE - at);
        n = MIN(n, room);
        slot->get += n;
        if (fe->ops->read) {
            fe->ops->read(fe->opaque, slot->input + at, n);
        }
    }
}

static void mux_take(MuxChardev *m, uint8_t byte)
{
    if (m->escaped) {
        m->escaped = false;
        if (byte != mux_escape) {
            mux_command(m, byte);
            return;
        }
    } else if (byte == mux_escape) {
        m->escaped = true;
        return;
    }
    MuxSlot *slot = &m->slots[m->focus];
    if (slot->put - slot->get < MUX_INPUT_SIZE) {
        slot->input[slot->put++ % MUX_INPUT_SIZE] = byte;
    }
}

static size_t lower_can_read(void *opaque)
{
    MuxChardev *m = opaque;
    MuxSlot *slot = &m->slots[m->focus];
    return MUX_INPUT_SIZE - (slot->put - slot->get);
}

static void lower_read(void *opaque, const uint8_t *data, size_t len)
{
    MuxChardev *m = opaque;
    for (size_t i = 0; i < len; i++) {
        mux_take(m, data[i]);
    }
    for (unsigned i = 0; i < MUX_MAX; i++) {
        slot_flush(m, &m->slots[i]);
    }
}

static void mux_accept_input(Chardev *c)
{
    MuxChardev *m = (MuxChardev *)c;
    for (unsigned i = 0; i < MUX_MAX; i++) {
        slot_flush(m, &m->slots[i]);
    }
    char_accept_input(m->lower);
}

static void lower_event(void *opaque, CharEvent event)
{
    MuxChardev *m = opaque;
    switch (event) {
    case CHAR_EVENT_OPENED:
        chardev_set_connected(&m->base, true);
        break;
    case CHAR_EVENT_CLOSED:
        m->escaped = false;
        chardev_set_connected(&m->base, false);
        break;
    case CHAR_EVENT_BREAK:
        slot_event(&m->slots[m->focus], event);
        break;
    case CHAR_EVENT_MUX_IN:
    case CHAR_EVENT_MUX_OUT:
        break;
    }
}

static void lower_writable(void *opaque)
{
    chardev_writable_now(&((MuxChardev *)opaque)->base);
}

static const CharFrontendOps lower_ops = {
    .can_read = lower_can_read,
    .read = lower_read,
    .event = lower_event,
    .writable = lower_writable,
};

/* ---- Life ---- */

/* The newest front end has the focus, as in QEMU, but a monitor does not take it from a console,
 * whichever is made first. */
static void mux_focus_newest(MuxChardev *m, unsigned newest)
{
    MuxSlot *old = &m->slots[m->focus];
    if (newest == m->focus) {
        return;
    }
    if (old->frontend && m->slots[newest].frontend->ops->background) {
        m->slots[newest].frontend->unfocused = true;
        return;
    }
    m->focus = newest;
    if (old->frontend && !old->frontend->opened) {
        old->frontend->unfocused = true;
    } else {
        slot_event(old, CHAR_EVENT_MUX_OUT);
    }
}

static void mux_attached(Chardev *c, CharFrontend *frontend)
{
    MuxChardev *m = (MuxChardev *)c;
    unsigned i = 0;
    while (m->slots[i].frontend) {
        i++;
    }
    m->slots[i].frontend = frontend;
    m->slots[i].put = m->slots[i].get = 0;
    mux_focus_newest(m, i);
}

static void mux_detached(Chardev *c, CharFrontend *frontend)
{
    MuxChardev *m = (MuxChardev *)c;
    for (unsigned i = 0; i < MUX_MAX; i++) {
        if (m->slots[i].frontend == frontend) {
            m->slots[i].frontend = NULL;
            m->slots[i].put = m->slots[i].get = 0;
            if (i == m->focus) {
                mux_switch(m);
            }
        }
    }
}

static void mux_close(Chardev *c)
{
    MuxChardev *m = (MuxChardev *)c;
    if (m->lower) {
        char_frontend_detach(m->lower);
        chardev_free(m->under);
    }
}

static char *mux_filename(const Chardev *c)
{
    return chardev_filename(((const MuxChardev *)c)->under);
}

static void mux_set_line(Chardev *c, unsigned baud, unsigned data_bits, unsigned stop_bits,
                         char parity, bool break_on)
{
    char_set_line(((MuxChardev *)c)->lower, baud, data_bits, stop_bits, parity, break_on);
}

static void mux_send_break(Chardev *c)
{
    MuxChardev *m = (MuxChardev *)c;
    slot_event(&m->slots[m->focus], CHAR_EVENT_BREAK);
}

const ChardevClass chardev_mux_class = {
    .name = "mux",
    .desc = "shares another chardev (mux=on)",
    .size = sizeof(MuxChardev),
    .close = mux_close,
    .write = mux_write,
    .write_all = mux_write_all,
    .accept_input = mux_accept_input,
    .filename = mux_filename,
    .set_line = mux_set_line,
    .attached = mux_attached,
    .detached = mux_detached,
    .send_break = mux_send_break,
    .max_frontends = MUX_MAX,
};

Chardev *chardev_mux_new(const char *id, Chardev *under, GError **error)
{
    MuxChardev *m = (MuxChardev *)chardev_alloc(&chardev_mux_class, id);
    m->under = under;
    m->lower = char_frontend_attach(under, &lower_ops, m, error);
    if (!m->lower) {
        chardev_free(&m->base);
        return NULL;
    }
    m->base.connected = g_atomic_int_get(&under->connected);
    return &m->base;
}
