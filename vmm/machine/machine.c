/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Building a machine: board classes, main memory, the topology lock. */
#include "vmm/machine/machine.h"

#include <string.h>
#include "vmm/cli/opts.h"
#include "vmm/machine/accel.h"
#include "vmm/machine/cpus.h"
#include "vmm/machine/life.h"
#include "vmm/machine/numa.h"
#include "vmm/machine/options.h"
#include "vmm/object/memory_backend.h"
#include "vmm/util/bytes.h"

static const MachineClass *const *registered_classes;
static Machine *the_machine;
static _Thread_local unsigned topology_depth;

void machine_classes_register(const MachineClass *const *classes)
{
    registered_classes = classes;
}

const MachineClass *machine_class_find(const char *name)
{
    for (const MachineClass *const *cls = registered_classes; cls && *cls; cls++) {
        if (g_str_equal((*cls)->name, name) || g_strcmp0((*cls)->alias, name) == 0) {
            return *cls;
        }
    }
    return NULL;
}

char *machine_class_suggest(const char *name)
{
    g_autoptr(GPtrArray) names = g_ptr_array_new();
    for (const MachineClass *const *cls = registered_classes; cls && *cls; cls++) {
        g_ptr_array_add(names, (char *)(*cls)->name);
        if ((*cls)->alias) {
            g_ptr_array_add(names, (char *)(*cls)->alias);
        }
    }
    g_ptr_array_add(names, NULL);
    return suggest_nearest(name, (const char *const *)names->pdata);
}

const MachineClass *machine_class_default(void)
{
    for (const MachineClass *const *cls = registered_classes; cls && *cls; cls++) {
        if ((*cls)->is_default) {
            return *cls;
        }
    }
    return NULL;
}

void machine_class_foreach(void (*fn)(const MachineClass *cls, void *opaque), void *opaque)
{
    for (const MachineClass *const *cls = registered_classes; cls && *cls; cls++) {
        fn(*cls, opaque);
    }
}

Machine *machine_get(void)
{
    return g_atomic_pointer_get(&the_machine);
}

/* What -machine takes on this board. */
static bool unknown_prop(const MachineClass *cls, const char *name, GError **error)
{
    g_autoptr(GPtrArray) names = g_ptr_array_new();
    for (const Property *prop = cls->props; prop && prop->name; prop++) {
        g_ptr_array_add(names, (char *)prop->name);
    }
    for (const MachineOption *option = machine_options; option->name; option++) {
        g_ptr_array_add(names, (char *)option->name);
    }
    g_ptr_array_add(names, NULL);
    g_autofree char *near = suggest_nearest(name, (const char *const *)names->pdata);
    if (near) {
        return error_set(error, "-machine %s has no property '%s'; did you mean '%s'?", cls->name,
                         name, near);
    }
    return error_set(error, "-machine %s has no property '%s' (-machine %s,help lists them)",
                     cls->name, name, cls->alias ? cls->alias : cls->name);
}

static bool set_board_props(Machine *machine, GError **error)
{
    const MachineClass *cls = machine->cls;
    if (cls->props) {
        property_set_defaults(machine->board, cls->props);
    }
    if (!machine->config->machine_props) {
        return true;
    }
    json_object_object_foreach(machine->config->machine_props, name, value)
    {
        const Property *prop = cls->props;
        while (prop && prop->name && !g_str_equal(prop->name, name)) {
            prop++;
        }
        if (!prop || !prop->name) {
            return unknown_prop(cls, name, error);
        }
        if (!property_set_string(machine->board, prop, json_object_get_string(value), error)) {
            g_prefix_error(error, "-machine %s: ", cls->name);
            return false;
        }
    }
    return true;
}

static bool create_ram(Machine *machine, GError **error)
{
    const MachineConfig *config = machine->config;
    if (machine->cls->bare) {
        return true;
    }
    if (config->memory_backend) {
        machine->ram = memory_backend_claim(config->memory_backend, config->ram_size, error);
        return machine->ram != NULL;
    }
    if (config->numa && numa_has_backends(config->numa)) {
        machine->ram = numa_create_ram(config, error);
        return machine->ram != NULL;
    }
    RamOptions options = {
        .size = config->ram_size,
        .share = config->mem_share,
        .memfd = config->mem_share && !config->mem_path,
        .mem_path = config->mem_path,
        .prealloc = config->mem_prealloc,
        .prealloc_threads = config->smp.cpus,
        .merge = config->mem_merge,
        .dump = config->mem_dump,
        .reserve = false,
    };
    machine->ram = ram_block_new("pc.ram", &options, error);
    return machine->ram != NULL;
}

static bool this_thread_holds_topology(void)
{
    return topology_depth > 0;
}

/* ---- The dirty logs' part of the accelerator ---- */

static bool dirty_start(void *opaque, RamBlock *block, GError **error)
{
    Machine *machine = opaque;
    return machine->accel->dirty_log_start(machine, block, error);
}

static void dirty_stop(void *opaque, RamBlock *block)
{
    Machine *machine = opaque;
    machine->accel->dirty_log_stop(machine, block);
}

static void dirty_sync(void *opaque, RamBlock *block)
{
    Machine *machine = opaque;
    machine->accel->dirty_log_sync(machine, block);
}

static const RamDirtySource dirty_source = { dirty_start, dirty_stop, dirty_sync };

Machine *machine_new(const MachineConfig *config, GError **error)
{
    Machine *machine = g_new0(Machine, 1);
    machine->config = config;
    machine->cls = config->cls;
    machine->accel = g_str_equal(config->accel, "qtest") ? &qtest_accel : &kvm_accel;
    machine->buses = g_ptr_array_new();
    machine->devices = g_ptr_array_new();
    machine_cpus_init(machine);
    g_rec_mutex_init(&machine->topology);
    address_space_set_lock_check(this_thread_holds_topology);
    machine->memory = address_space_new("memory", UINT64_MAX);
    machine->io = address_space_new("I/O", 0xffff);
    machine->board = g_malloc0(MAX(config->cls->size, sizeof(void *)));
    machine_life_init(machine);
    device_compat_set(machine->cls->compat);
    g_atomic_pointer_set(&the_machine, machine);

    machine_topology_lock(machine);
    bool ok = (!config->numa || numa_complete(config->numa, config, error)) &&
              set_board_props(machine, error) && machine->accel->init(machine, error) &&
              create_ram(machine, error) && machine->cls->build(machine, error);
    machine_topology_unlock(machine);
    if (!ok) {
        machine_free(machine);
        return NULL;
    }
    return machine;
}

bool machine_enable_smm(Machine *machine, GError **error)
{
    if (!machine->accel->smm_enable(machine, error)) {
        g_prefix_error(error, "-machine smm=on: ");
        return false;
    }
    machine->smm_memory = address_space_new_view("cpu-smm", machine->memory);
    return true;
}

bool machine_finish(Machine *machine, GError **error)
{
    machine_topology_lock(machine);
    bool ok = machine->cls->finish(machine, error) && machine->accel->create_vcpus(machine, error);
    machine_topology_unlock(machine);
    if (!ok) {
        return false;
    }
    machine->finished = true;
    if (machine->accel->dirty_log_start) {
        ram_set_dirty_source(&dirty_source, machine);
    }
    machine_reset_now(machine);
    return true;
}

static void unrealize_device(void *data)
{
    Device *dev = data;
    device_unrealize(dev);
    device_free(dev);
}

static void destroy_devices(Machine *machine)
{
    while (machine->devices->len) {
        unrealize_device(g_ptr_array_index(machine->devices, machine->devices->len - 1));
    }
    while (machine->buses->len) {
        Bus *bus = g_ptr_array_index(machine->buses, machine->buses->len - 1);
        while (bus->children->len) {
            unrealize_device(g_ptr_array_index(bus->children, bus->children->len - 1));
        }
        guint before = machine->buses->len;
        bus_free(bus);
        g_assert(machine->buses->len < before);
    }
}

/* vCPUs run no more: the accelerator need not follow each step of taking the map apart. */
static void stop_listening(Machine *machine)
{
    if (machine->smm_memory) {
        address_space_set_listener(machine->smm_memory, NULL);
    }
    address_space_set_listener(machine->memory, NULL);
    address_space_set_listener(machine->io, NULL);
}

void machine_free(Machine *machine)
{
    if (!machine) {
        return;
    }
    machine_topology_lock(machine);
    stop_listening(machine);
    destroy_devices(machine);
    if (machine->cls->destroy) {
        machine->cls->destroy(machine);
    }
    machine_topology_unlock(machine);
    ram_set_dirty_source(NULL, NULL);
    if (machine->accel_data) {
        machine->accel->destroy(machine);
    }
    if (machine->io_loop) {
        event_loop_free(machine->io_loop);
    }
    address_space_free(machine->smm_memory);
    address_space_free(machine->memory);
    address_space_free(machine->io);
    if (machine->ram && !machine->config->memory_backend) {
        ram_block_free(machine->ram);
    }
    if (machine->cls->props) {
        property_clear(machine->board, machine->cls->props);
    }
    g_free(machine->cpus);
    g_free(machine->board);
    g_ptr_array_unref(machine->buses);
    g_ptr_array_unref(machine->devices);
    g_rec_mutex_clear(&machine->topology);
    machine_life_free(machine);
    device_compat_set(NULL);
    g_atomic_pointer_set(&the_machine, NULL);
    g_free(machine);
}

EventLoop *machine_io_loop(Machine *machine, GError **error)
{
    if (!machine->io_loop) {
        EventLoop *loop = event_loop_new("vireo-io", LOOP_ENGINE_AUTO, error);
        if (loop && !event_loop_start(loop, error)) {
            event_loop_free(loop);
            loop = NULL;
        }
        if (!loop) {
            g_prefix_error(error, "the machine's I/O thread: ");
            return NULL;
        }
        event_loop_set_polling(loop, LOOP_DEFAULT_POLL_MAX_NS, 0, 0);
        machine->io_loop = loop;
    }
    return machine->io_loop;
}

void machine_topology_lock(Machine *machine)
{
    g_rec_mutex_lock(&machine->topology);
    topology_depth++;
}

void machine_topology_unlock(Machine *machine)
{
    g_assert(topology_depth > 0);
    topology_depth--;
    g_rec_mutex_unlock(&machine->topology);
}

bool machine_topology_held(const Machine *machine)
{
    return topology_depth > 0;
}
