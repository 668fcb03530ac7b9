/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/qom/tree.h"

#include <string.h>
#include "vmm/machine/cpus.h"
#include "vmm/qom/types.h"

#define VIRTIO_CHILD "virtio-backend"

/* The nodes that are always there. */
static const struct {
    QomKind parent, kind;
    const char *name;
} folders[] = {
    { QOM_ROOT, QOM_MACHINE, "machine" },
    { QOM_ROOT, QOM_OBJECTS, "objects" },
    { QOM_ROOT, QOM_CHARDEVS, "chardevs" },
    { QOM_ROOT, QOM_BACKEND, "backend" },
    { QOM_MACHINE, QOM_PERIPHERAL, "peripheral" },
    { QOM_MACHINE, QOM_PERIPHERAL_ANON, "peripheral-anon" },
    { QOM_MACHINE, QOM_UNATTACHED, "unattached" },
};

static const char *base_name(const char *path)
{
    return strrchr(path, '/') + 1;
}

char *qom_node_path(const QomNode *node)
{
    switch (node->kind) {
    case QOM_ROOT:
        return g_strdup("/");
    case QOM_DEVICE:
        return device_path(node->dev);
    case QOM_VIRTIO: {
        g_autofree char *function = device_path(node->dev);
        return g_strconcat(function, "/" VIRTIO_CHILD, NULL);
    }
    case QOM_BUS: {
        g_autofree char *parent = node->bus->parent ? device_path(node->bus->parent)
                                                    : g_strdup("/machine/unattached");
        return g_strconcat(parent, "/", node->bus->name, NULL);
    }
    case QOM_OBJECT:
        return g_strconcat("/objects/", node->object->id, NULL);
    case QOM_CHARDEV:
        return g_strconcat("/chardevs/", chardev_id(node->chardev), NULL);
    case QOM_CPU:
        return machine_cpu_path(machine_get(), node->cpu);
    default:
        break;
    }
    for (size_t i = 0; i < G_N_ELEMENTS(folders); i++) {
        if (folders[i].kind == node->kind) {
            return g_strconcat(folders[i].parent == QOM_MACHINE ? "/machine/" : "/",
                               folders[i].name, NULL);
        }
    }
    g_assert_not_reached();
}

char *qom_node_type(const QomNode *node)
{
    switch (node->kind) {
    case QOM_MACHINE:
        return g_strconcat(machine_get()->cls->name, "-machine", NULL);
    case QOM_DEVICE:
        return qom_is_cpu_class(node->dev->cls) ? machine_cpu_type(machine_get())
                                                : g_strdup(node->dev->cls->name);
    case QOM_VIRTIO:
        return g_strdup(qom_virtio_device(node->dev->cls)->name);
    case QOM_BUS:
        return g_strdup(bus_type_name(node->bus->type));
    case QOM_OBJECT:
        return g_strdup(node->object->cls->name);
    case QOM_CHARDEV:
        return g_strconcat("chardev-", chardev_backend(node->chardev), NULL);
    case QOM_CPU:
        return machine_cpu_type(machine_get());
    default:
        return g_strdup("container");
    }
}

/* ---- Children ---- */

typedef struct Children {
    QomChildFn *fn;
    void *opaque;
    const char *folder; /* "/machine/peripheral/": whose devices */
} Children;

static void device_child(Device *dev, void *opaque)
{
    const Children *children = opaque;
    g_autofree char *path = device_path(dev);
    size_t len = strlen(children->folder);
    if (strncmp(path, children->folder, len) == 0 && !strchr(path + len, '/')) {
        QomNode child = { .kind = QOM_DEVICE, .dev = dev };
        children->fn(path + len, &child, children->opaque);
    }
}

static void object_child(Object *object, void *opaque)
{
    const Children *children = opaque;
    QomNode child = { .kind = QOM_OBJECT, .object = object };
    children->fn(object->id, &child, children->opaque);
}

static void chardev_child(Chardev *chardev, void *opaque)
{
    const Children *children = opaque;
    QomNode child = { .kind = QOM_CHARDEV, .chardev = chardev };
    children->fn(chardev_id(chardev), &child, children->opaque);
}

static void bus_children(const GPtrArray *buses, const Device *parent, const Children *children)
{
    for (guint i = 0; i < buses->len; i++) {
        QomNode child = { .kind = QOM_BUS, .bus = g_ptr_array_index(buses, i) };
        if (child.bus->parent == parent) {
            children->fn(child.bus->name, &child, children->opaque);
        }
    }
}

static void folder_children(QomKind kind, const Children *children)
{
    for (size_t i = 0; i < G_N_ELEMENTS(folders); i++) {
        if (folders[i].parent == kind) {
            QomNode child = { .kind = folders[i].kind };
            children->fn(folders[i].name, &child, children->opaque);
        }
    }
}

static void cpu_children(const Machine *machine, const Children *children)
{
    for (unsigned i = 0; i < machine->config->smp.maxcpus; i++) {
        if (machine_cpu_present(machine, i) && !machine->cpus[i].dev) {
            g_autofree char *path = machine_cpu_path(machine, i);
            QomNode child = { .kind = QOM_CPU, .cpu = i };
            children->fn(base_name(path), &child, children->opaque);
        }
    }
}

void qom_node_children(const QomNode *node, QomChildFn *fn, void *opaque)
{
    Machine *machine = machine_get();
    Children children = { .fn = fn, .opaque = opaque };
    g_autofree char *path = qom_node_path(node);
    g_autofree char *folder = g_strconcat(path, "/", NULL);
    children.folder = folder;
    folder_children(node->kind, &children);
    switch (node->kind) {
    case QOM_MACHINE:
    case QOM_PERIPHERAL:
    case QOM_PERIPHERAL_ANON:
        device_foreach(machine, device_child, &children);
        break;
    case QOM_UNATTACHED:
        device_foreach(machine, device_child, &children);
        cpu_children(machine, &children);
        bus_children(machine->buses, NULL, &children);
        break;
    case QOM_OBJECTS:
        object_foreach(object_child, &children);
        break;
    case QOM_CHARDEVS:
        chardev_foreach(chardev_child, &children);
        break;
    case QOM_DEVICE:
        bus_children(node->dev->child_buses, node->dev, &children);
        if (qom_virtio_device(node->dev->cls)) {
            QomNode child = { .kind = QOM_VIRTIO, .dev = node->dev };
            fn(VIRTIO_CHILD, &child, opaque);
        }
        break;
    default:
        break;
    }
}

/* ---- Paths ---- */

typedef struct Step {
    const char *name;
    QomNode *node; /* in: where from, out: the child */
    bool found;
} Step;

static void match_child(const char *name, const QomNode *child, void *opaque)
{
    Step *step = opaque;
    if (!step->found && g_str_equal(name, step->name)) {
        *step->node = *child;
        step->found = true;
    }
}

static bool descend(QomNode *node, char **names)
{
    for (; *names; names++) {
        QomNode from = *node;
        Step step = { .name = *names, .node = node };
        if (**names) {
            qom_node_children(&from, match_child, &step);
            if (!step.found) {
                return false;
            }
        }
    }
    return true;
}

typedef struct Search {
    char **names;
    QomNode found;
    unsigned count;
} Search;

static void search_below(const char *name, const QomNode *node, void *opaque)
{
    Search *search = opaque;
    QomNode end = *node;
    if (descend(&end, search->names)) {
        search->found = end;
        search->count++;
    }
    qom_node_children(node, search_below, search);
}

bool qom_resolve(const char *path, QomNode *node, GError **error)
{
    g_auto(GStrv) names = g_strsplit(path, "/", -1);
    *node = (QomNode){ .kind = QOM_ROOT };
    if (path[0] == '/') {
        return descend(node, names) || error_set_code(error, VIREO_ERROR_DEVICE_NOT_FOUND,
                                                      "there is no object at '%s'", path);
    }
    Search search = { .names = names };
    if (path[0]) {
        search_below("", node, &search);
    }
    if (search.count > 1) {
        return error_set(error, "'%s' is the end of several paths: give a whole one", path);
    }
    *node = search.found;
    return search.count == 1 ||
           error_set_code(error, VIREO_ERROR_DEVICE_NOT_FOUND, "there is no object at '%s'", path);
}
