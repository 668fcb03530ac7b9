/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which I/O thread runs which queue of a virtio device. Main thread. */
#include "hw/virtio/loops.h"
#include "vmm/machine/machine.h"
#include "vmm/cli/opts.h"
#include "vmm/object/iothread.h"

static EventLoop *claim(VirtioLoops *conf, const char *id, GError **error)
{
    EventLoop *loop = iothread_claim(id, error);
    if (loop) {
        g_ptr_array_add(conf->claimed, g_strdup(id));
    }
    return loop;
}

void virtio_loops_release(VirtioLoops *conf)
{
    for (unsigned i = 0; conf->claimed && i < conf->claimed->len; i++) {
        iothread_release(conf->claimed->pdata[i]);
    }
    g_clear_pointer(&conf->claimed, g_ptr_array_unref);
}

static bool mapping_error(GError **error, const char *what)
{
    return error_set(error,
                     "iothread-vq-mapping: %s; write "
                     "[{\"iothread\":\"ID\",\"vqs\":[0,1]},...] or leave every vqs out",
                     what);
}

/* One entry with "vqs": each of the queues named gets the loop. */
static bool map_queues(VirtioLoops *conf, json_object *vqs, EventLoop *loop, EventLoop **loops,
                       GError **error)
{
    for (size_t i = 0; i < json_object_array_length(vqs); i++) {
        /* Numbers; as text when they come from the command line's parser. */
        uint64_t index;
        const char *text = json_object_get_string(json_object_array_get_idx(vqs, i));
        if (!text || !parse_uint(text, conf->count - 1, &index)) {
            return mapping_error(error, "a queue number that does not exist");
        }
        if (loops[index]) {
            return mapping_error(error, "a queue is named twice");
        }
        loops[index] = loop;
    }
    return true;
}

static bool map_entry(VirtioLoops *conf, size_t i, size_t count, EventLoop **loops, bool *by_number,
                      GError **error)
{
    json_object *entry = json_object_array_get_idx(conf->mapping, i);
    json_object *id, *vqs = NULL;
    if (!json_object_is_type(entry, json_type_object) ||
        !json_object_object_get_ex(entry, "iothread", &id) ||
        !json_object_is_type(id, json_type_string)) {
        return mapping_error(error, "an entry without \"iothread\"");
    }
    bool has_vqs = json_object_object_get_ex(entry, "vqs", &vqs);
    if (i == 0) {
        *by_number = has_vqs;
    }
    if (has_vqs != *by_number || (has_vqs && !json_object_is_type(vqs, json_type_array))) {
        return mapping_error(error, "some entries have a list of \"vqs\" and some have not");
    }
    EventLoop *loop = claim(conf, json_object_get_string(id), error);
    if (!loop) {
        return false;
    }
    if (has_vqs) {
        return map_queues(conf, vqs, loop, loops, error);
    }
    for (size_t queue = i; queue < conf->count; queue += count) {
        loops[queue] = loop;
    }
    return true;
}

static bool map_all(VirtioLoops *conf, EventLoop **loops, GError **error)
{
    if (!json_object_is_type(conf->mapping, json_type_array) ||
        json_object_array_length(conf->mapping) == 0) {
        return mapping_error(error, "not a list with entries");
    }
    size_t count = json_object_array_length(conf->mapping);
    bool by_number = false;
    for (size_t i = 0; i < count; i++) {
        if (!map_entry(conf, i, count, loops, &by_number, error)) {
            return false;
        }
    }
    for (unsigned i = 0; i < conf->count; i++) {
        if (!loops[i]) {
            g_autofree char *text = g_strdup_printf("queue %u has no I/O thread", i);
            return mapping_error(error, text);
        }
    }
    return true;
}

bool virtio_loops_choose(VirtioLoops *conf, Machine *machine, unsigned count, EventLoop **loops,
                         GError **error)
{
    conf->count = count;
    conf->claimed = g_ptr_array_new_with_free_func(g_free);
    if (conf->mapping) {
        if (conf->iothread) {
            return error_set(error, "iothread and iothread-vq-mapping exclude each other");
        }
        return map_all(conf, loops, error);
    }
    EventLoop *loop = conf->iothread ? claim(conf, conf->iothread, error)
                                     : machine_io_loop(machine, error);
    for (unsigned i = 0; i < conf->count; i++) {
        loops[i] = loop;
    }
    return loop != NULL;
}
