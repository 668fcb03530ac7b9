/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Character devices by id: making them from options, listing, deleting, closing. */
#include "vmm/chardev/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>
#include "vmm/trace/trace-chardev.h"
#include "vmm/util/fdset.h"
#include "vmm/util/id.h"

static const ChardevClass *const classes[] = {
    &chardev_null_class,   &chardev_stdio_class,   &chardev_socket_class,
    &chardev_pty_class,    &chardev_file_class,    &chardev_pipe_class,
    &chardev_serial_class, &chardev_ringbuf_class, &chardev_udp_class,
};

/* QEMU's back ends that are not here, and why. */
static const struct {
    const char *name;
    const char *why;
} missing[] = {
    { "vc", "there is no graphical console to show it; use stdio, pty or a socket" },
    { "msmouse", "a serial mouse is not emulated" },
    { "wctablet", "a serial tablet is not emulated" },
    { "testdev", "it serves QEMU's own test suite; use -device isa-debug-exit" },
    { "braille", "braille displays are not supported" },
    { "parallel", "parallel ports are not supported" },
    { "parport", "parallel ports are not supported" },
    { "spicevmc", "this program has no SPICE" },
    { "spiceport", "this program has no SPICE" },
    { "qemu-vdagent", "there is no clipboard channel" },
    { "dbus", "the D-Bus display is not supported" },
    { "console", "it exists on Windows only" },
};

static const char *const common_options[] = {
    "backend", "id", "mux", "logfile", "logappend", NULL
};

static GList *chardevs; /* main thread */

static const ChardevClass *class_find(const char *name)
{
    if (!strcmp(name, "tty")) {
        name = "serial";
    } else if (!strcmp(name, "memory")) {
        name = "ringbuf";
    }
    for (size_t i = 0; i < G_N_ELEMENTS(classes); i++) {
        if (!strcmp(classes[i]->name, name)) {
            return classes[i];
        }
    }
    return NULL;
}

static bool class_not_found(const char *name, GError **error)
{
    for (size_t i = 0; i < G_N_ELEMENTS(missing); i++) {
        if (!strcmp(missing[i].name, name)) {
            return error_set(error, "QEMU has the chardev back end '%s', Vireo does not: %s", name,
                             missing[i].why);
        }
    }
    const char *names[G_N_ELEMENTS(classes) + 1] = { NULL };
    for (size_t i = 0; i < G_N_ELEMENTS(classes); i++) {
        names[i] = classes[i]->name;
    }
    g_autofree char *near = suggest_nearest(name, names);
    return error_set(error, "'%s' is not a chardev back end%s%s%s; -chardev help lists them", name,
                     near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
}

static bool check_new_id(const char *id, GError **error)
{
    if (!id_is_wellformed(id)) {
        return error_set(error,
                         "chardev id '%s' is not valid: it must begin with a letter and consist of "
                         "letters, digits, '-', '.', '_'",
                         id);
    }
    if (chardev_find(id)) {
        return error_set(error, "there is a chardev '%s' already: ids are unique", id);
    }
    return true;
}

Chardev *chardev_alloc(const ChardevClass *cls, const char *id)
{
    Chardev *c = g_malloc0(cls->size);
    c->cls = cls;
    c->id = g_strdup(id);
    c->frontends = g_ptr_array_new();
    c->pending = g_byte_array_new();
    c->in_fd = c->out_fd = c->log_fd = -1;
    g_mutex_init(&c->lock);
    chardevs = g_list_append(chardevs, c);
    return c;
}

void chardev_free(Chardev *c)
{
    trace_chardev_close(c->id, c->cls->name);
    chardevs = g_list_remove(chardevs, c);
    if (c->cls->close) {
        c->cls->close(c);
    }
    chardev_stream_clear(c);
    chardev_drop_source(&c->resume_source);
    if (c->log_fd >= 0) {
        fdset_close(c->log_fd);
    }
    while (c->frontends->len) {
        char_frontend_detach(g_ptr_array_index(c->frontends, 0));
    }
    g_ptr_array_unref(c->frontends);
    g_byte_array_unref(c->pending);
    g_mutex_clear(&c->lock);
    g_free(c->id);
    g_free(c);
}

static bool open_log(Chardev *c, Opts *options, GError **error)
{
    const char *path = opts_get(options, "logfile");
    bool append = false;
    if (!opts_get_bool(options, "logappend", &append, error)) {
        return false;
    }
    if (!path) {
        return true;
    }
    int flags = O_WRONLY | O_CREAT | O_CLOEXEC | (append ? O_APPEND : O_TRUNC);
    c->log_fd = fdset_open(path, flags, 0666);
    if (c->log_fd < 0) {
        fdset_open_failed(error, errno, path, flags);
        g_prefix_error(error, "the log file: ");
    }
    return c->log_fd >= 0;
}

static bool check_unused(const ChardevClass *cls, Opts *options, const char *what, GError **error)
{
    g_autoptr(GPtrArray) known = g_ptr_array_new();
    for (size_t i = 0; common_options[i]; i++) {
        g_ptr_array_add(known, (void *)common_options[i]);
    }
    for (size_t i = 0; cls->options && cls->options[i]; i++) {
        g_ptr_array_add(known, (void *)cls->options[i]);
    }
    g_ptr_array_add(known, NULL);
    return opts_check_unused(options, what, (const char *const *)known->pdata, error);
}

static Chardev *chardev_make(const ChardevClass *cls, const char *id, Opts *options, GError **error)
{
    bool mux = false;
    g_autofree char *base_id = NULL;
    g_autofree char *what = g_strdup_printf("chardev '%s'", id);
    if (!opts_get_bool(options, "mux", &mux, error)) {
        return NULL;
    }
    base_id = g_strdup_printf("%s%s", id, mux ? "-base" : "");
    if (mux && !check_new_id(base_id, error)) {
        return NULL;
    }
    Chardev *c = chardev_alloc(cls, base_id);
    if (!open_log(c, options, error) || !cls->open(c, options, error) ||
        !check_unused(cls, options, what, error)) {
        chardev_free(c);
        return NULL;
    }
    trace_chardev_open(c->id, cls->name);
    if (!mux) {
        return c;
    }
    Chardev *top = chardev_mux_new(id, c, error);
    if (!top) {
        chardev_free(c);
    }
    return top;
}

static void ignore_sigpipe(void)
{
    /* A reader that goes away must be an error of write(), not the end of the process. */
    signal(SIGPIPE, SIG_IGN);
}

Chardev *chardev_new(Opts *given, GError **error)
{
    ignore_sigpipe();
    GError *local = NULL;
    g_autoptr(Opts) flat = chardev_flatten_qmp(given, &local);
    if (local) {
        g_propagate_error(error, local);
        return NULL;
    }
    Opts *options = flat ? flat : given;
    const char *id = opts_get(options, "id");
    const char *backend = opts_get(options, "backend");
    if (!backend) {
        error_set(error, "-chardev needs a back end: -chardev BACKEND,id=ID; -chardev help lists "
                         "them");
        return NULL;
    }
    const ChardevClass *cls = class_find(backend);
    if (!cls) {
        class_not_found(backend, error);
        return NULL;
    }
    if (!id) {
        error_set(error, "chardev '%s' needs an id: -chardev %s,id=ID", backend, backend);
        return NULL;
    }
    return check_new_id(id, error) ? chardev_make(cls, id, options, error) : NULL;
}

Chardev *chardev_find(const char *id)
{
    for (GList *l = chardevs; l; l = l->next) {
        Chardev *c = l->data;
        if (!strcmp(c->id, id)) {
            return c;
        }
    }
    return NULL;
}

bool chardev_delete(const char *id, GError **error)
{
    Chardev *c = chardev_find(id);
    if (!c) {
        return error_set(error, "there is no chardev '%s'", id);
    }
    if (c->users || c->frontends->len) {
        return error_set(error, "chardev '%s' is in use", id);
    }
    chardev_free(c);
    return true;
}

static bool may_change(const Chardev *c, Opts *options, GError **error)
{
    const char *id = c->id;
    bool mux = false;
    if (!opts_get_bool(options, "mux", &mux, error)) {
        return false;
    }
    if (mux || c->cls == &chardev_mux_class) {
        return error_set(error, "chardev '%s' cannot change: multiplexers stay what they are", id);
    }
    const CharFrontend *fe = c->frontends->len ? g_ptr_array_index(c->frontends, 0) : NULL;
    if (c->users || (fe && !fe->ops->changeable)) {
        return error_set(error,
                         "chardev '%s' cannot change: who uses it (a monitor?) keeps the one that "
                         "it began with; serial and console ports can change",
                         id);
    }
    return true;
}

Chardev *chardev_change(const char *id, Opts *options, GError **error)
{
    Chardev *old = chardev_find(id);
    if (!old) {
        error_set(error, "there is no chardev '%s' (query-chardev lists them)", id);
        return NULL;
    }
    if (!may_change(old, options, error)) {
        return NULL;
    }
    /* The id is free for the new one meanwhile. */
    char *kept = old->id;
    old->id = g_strdup("");
    Chardev *made = chardev_new(options, error);
    if (!made) {
        g_free(old->id);
        old->id = kept;
        return NULL;
    }
    g_free(kept);
    chardev_stream_flush(old);
    if (old->frontends->len) {
        chardev_move_frontend(old, made);
    }
    chardev_free(old);
    return made;
}

void chardev_send_break(Chardev *c)
{
    if (c->cls->send_break) {
        c->cls->send_break(c);
    } else {
        chardev_send_event(c, CHAR_EVENT_BREAK);
    }
}

const char *chardev_backend(const Chardev *c)
{
    return c->cls->name;
}

const char *chardev_id(const Chardev *c)
{
    return c->id;
}

char *chardev_filename(const Chardev *c)
{
    return c->cls->filename ? c->cls->filename(c) : g_strdup(c->cls->name);
}

bool chardev_frontend_open(const Chardev *c)
{
    return c->frontends->len > 0;
}

void chardev_foreach(void (*fn)(Chardev *chardev, void *opaque), void *opaque)
{
    for (GList *l = chardevs; l; l = l->next) {
        fn(l->data, opaque);
    }
}

void chardevs_help(GString *out)
{
    g_string_append(out, "Back ends of -chardev:\n");
    for (size_t i = 0; i < G_N_ELEMENTS(classes); i++) {
        g_string_append_printf(out, "  %-10s %s\n", classes[i]->name, classes[i]->desc);
    }
}

void chardev_backends_foreach(void (*fn)(const char *name, void *opaque), void *opaque)
{
    for (size_t i = 0; i < G_N_ELEMENTS(classes); i++) {
        fn(classes[i]->name, opaque);
    }
}

void chardev_options_foreach(void (*fn)(const char *name, void *opaque), void *opaque)
{
    for (const char *const *name = common_options; *name; name++) {
        fn(*name, opaque);
    }
    for (size_t i = 0; i < G_N_ELEMENTS(classes); i++) {
        for (const char *const *name = classes[i]->options; name && *name; name++) {
            fn(*name, opaque);
        }
    }
}

void chardev_close_all(void)
{
    for (GList *l = chardevs; l; l = l->next) {
        chardev_stream_flush(l->data);
    }
    /* A mux, which has its base in use, is newer than its base: from the end. */
    while (chardevs) {
        chardev_free(g_list_last(chardevs)->data);
    }
}
