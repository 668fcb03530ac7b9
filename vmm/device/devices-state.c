/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * All devices' state in one stream: magic, version u32, the machine type's name, then for each
 * device with state its path and class name and a part (u32 length) with its section; an empty path
 * ends. Names are a u8 length and that many bytes.
 */
#include <string.h>
#include "vmm/device/device.h"
#include "vmm/device/stream.h"
#include "vmm/machine/machine.h"

#define STREAM_MAGIC   0x56454456u /* "VDEV" */
#define STREAM_VERSION 2

static void put_short_name(GByteArray *out, const char *name)
{
    char cut[STREAM_NAME_SIZE];
    g_strlcpy(cut, name, sizeof(cut));
    stream_put_name(out, cut);
}

static void save_one(Device *dev, void *opaque)
{
    GByteArray *out = opaque;
    if (!dev->cls->state) {
        return;
    }
    g_autofree char *path = device_path(dev);
    put_short_name(out, path);
    stream_put_name(out, dev->cls->name);
    guint part = stream_open(out);
    state_save(dev->cls->state, dev, out);
    stream_close(out, part);
}

void devices_save(Machine *machine, GByteArray *out)
{
    stream_put_u32(out, STREAM_MAGIC);
    stream_put_u32(out, STREAM_VERSION);
    stream_put_name(out, machine->cls->name);
    device_foreach(machine, save_one, out);
    stream_put_name(out, "");
}

static void list_one(Device *dev, void *opaque)
{
    if (dev->cls->state) {
        char cut[STREAM_NAME_SIZE];
        g_autofree char *path = device_path(dev);
        g_strlcpy(cut, path, sizeof(cut));
        g_hash_table_insert(opaque, g_strdup(cut), dev);
    }
}

static bool load_one(GHashTable *missing, const char *path, Stream *in, GError **error)
{
    char cls[STREAM_NAME_SIZE];
    stream_get_name(in, cls);
    Stream part = stream_get_part(in);
    if (in->bad) {
        return error_set(error, "saved state: the part of '%s' is cut short", path);
    }
    Device *dev = g_hash_table_lookup(missing, path);
    if (!dev) {
        return error_set(error,
                         "saved state: has a '%s' at '%s', which this machine has not (or the "
                         "state has it twice); start with the options it was saved with",
                         cls, path);
    }
    if (strcmp(dev->cls->name, cls) != 0) {
        return error_set(error, "saved state: '%s' is a '%s' there and a '%s' here", path, cls,
                         dev->cls->name);
    }
    g_hash_table_remove(missing, path);
    const uint8_t *cursor = part.at;
    machine_topology_lock(dev->machine); /* post_load moves windows */
    bool ok = state_load(dev->cls->state, dev, &cursor, part.end, error);
    machine_topology_unlock(dev->machine);
    if (!ok) {
        g_prefix_error(error, "device '%s': ", path);
        return false;
    }
    return cursor == part.end ||
           error_set(error, "saved state: device '%s' has bytes left over", path);
}

/* Another version of the machine has other registers behind the same names. */
static bool check_machine_type(const Machine *machine, Stream *in, GError **error)
{
    char type[STREAM_NAME_SIZE];
    stream_get_name(in, type);
    if (in->bad) {
        return error_set(error, "saved state: the machine type's name is cut short");
    }
    return g_str_equal(type, machine->cls->name) ||
           error_set(error,
                     "saved state: it is a '%s' machine's and this is a '%s'; start with "
                     "-machine %s",
                     type, machine->cls->name, type);
}

bool devices_load(Machine *machine, const uint8_t *data, size_t len, GError **error)
{
    Stream in = { .at = data, .end = data + len };
    if (stream_get_u32(&in) != STREAM_MAGIC) {
        return error_set(error, "saved state: this is not the state of devices");
    }
    if (stream_get_u32(&in) != STREAM_VERSION) {
        return error_set(error, "saved state: of a version that this program does not read");
    }
    if (!check_machine_type(machine, &in, error)) {
        return false;
    }
    g_autoptr(GHashTable) missing = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    device_foreach(machine, list_one, missing);
    for (;;) {
        char path[STREAM_NAME_SIZE];
        stream_get_name(&in, path);
        if (in.bad) {
            return error_set(error, "saved state: the list of devices is cut short");
        }
        if (!path[0]) {
            break;
        }
        if (!load_one(missing, path, &in, error)) {
            return false;
        }
    }
    GHashTableIter iter;
    gpointer path;
    g_hash_table_iter_init(&iter, missing);
    if (g_hash_table_iter_next(&iter, &path, NULL)) {
        return error_set(error, "saved state: nothing is there for device '%s' of this machine",
                         (char *)path);
    }
    return true;
}
