/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The firmware configuration device. */
#include "hw/firmware/fw_cfg.h"

#include <string.h>
#include "hw/devices.h"
#include "vmm/memory/dma.h"
#include "vmm/util/bytes.h"

#define MAX_FILES     96
#define COMMON_ITEMS  (FW_CFG_FILE_FIRST + MAX_FILES)
#define ARCH_ITEMS    8
#define ARCH_LOCAL    0x8000
#define WRITE_CHANNEL 0x4000 /* of an interface that is gone: without a meaning */
#define DIR_ENTRY     64
#define MAX_WRITABLE  (1 * MIB) /* of all files that the guest can write */

#define DMA_PORT      (FW_CFG_PORT + 4)
#define DMA_SIGNATURE 0x51454d5520434647ULL /* "QEMU CFG" */
#define DMA_CONTROL   16                    /* bytes of the structure */

enum {
    DMA_ERROR = 1 << 0,
    DMA_READ = 1 << 1,
    DMA_SKIP = 1 << 2,
    DMA_SELECT = 1 << 3,
    DMA_WRITE = 1 << 4,
};

enum { ID_PORTS = 1, ID_DMA = 2 };

typedef struct FwCfgItem {
    uint8_t *data; /* owned */
    uint32_t len;
    bool writable;
    void (*written)(void *opaque, const uint8_t *data, size_t len);
    void (*selected)(void *opaque, uint8_t *data, size_t len);
    void *opaque;
} FwCfgItem;

typedef struct FwCfgFile {
    char *name;
    FwCfgItem item; /* until the directory is made; then the item of `key` */
    uint16_t key;
} FwCfgFile;

typedef struct FwCfg {
    Device dev;
    MemRegion ports, dma;
    FwCfgItem common[COMMON_ITEMS], arch[ARCH_ITEMS];
    GPtrArray *files; /* FwCfgFile *, sorted by name */
    bool finished;
    /* registers */
    uint16_t selected;
    uint32_t offset;
    uint64_t dma_address;
    /* the state's form of what the guest wrote into files, while it is saved or loaded */
    uint8_t *saved;
    uint32_t saved_len;
} FwCfg;

/* ---- Items ---- */

static FwCfgItem *find_item(FwCfg *fw, uint16_t key)
{
    unsigned index = key & ~(ARCH_LOCAL | WRITE_CHANNEL);
    if (key & ARCH_LOCAL) {
        return index < ARCH_ITEMS ? &fw->arch[index] : NULL;
    }
    return index < COMMON_ITEMS ? &fw->common[index] : NULL;
}

static void item_set(FwCfgItem *item, const void *data, size_t len)
{
    g_assert(len <= UINT32_MAX);
    uint8_t *copy = g_memdup2(data, len);
    g_free(item->data);
    item->data = copy;
    item->len = (uint32_t)len;
}

void fw_cfg_set(Device *dev, FwCfgKey key, const void *data, size_t len)
{
    item_set(find_item((FwCfg *)dev, (uint16_t)key), data, len);
}

void fw_cfg_take(Device *dev, FwCfgKey key, uint8_t *data, uint32_t len)
{
    FwCfgItem *item = find_item((FwCfg *)dev, (uint16_t)key);
    g_free(item->data);
    item->data = data;
    item->len = len;
}

void fw_cfg_set_int(Device *dev, FwCfgKey key, uint64_t value, unsigned size)
{
    uint8_t bytes[8];
    store_le64(bytes, value);
    fw_cfg_set(dev, key, bytes, size);
}

void fw_cfg_set_string(Device *dev, FwCfgKey key, const char *text)
{
    fw_cfg_set(dev, key, text, strlen(text) + 1);
}

/* ---- Files ---- */

static FwCfgFile *find_file(FwCfg *fw, const char *name)
{
    for (guint i = 0; i < fw->files->len; i++) {
        FwCfgFile *file = g_ptr_array_index(fw->files, i);
        if (g_str_equal(file->name, name)) {
            return file;
        }
    }
    return NULL;
}

static FwCfgItem *file_item(FwCfg *fw, FwCfgFile *file)
{
    return file->key ? find_item(fw, file->key) : &file->item;
}

static FwCfgFile *add_file(FwCfg *fw, const char *name, GError **error)
{
    if (strlen(name) >= FW_CFG_NAME_SIZE || !*name) {
        error_set(error, "fw_cfg: the name '%s' of a file has %zu characters; 1 to %d are possible",
                  name, strlen(name), FW_CFG_NAME_SIZE - 1);
        return NULL;
    }
    if (find_file(fw, name)) {
        error_set(error, "fw_cfg: there is a file '%s' already", name);
        return NULL;
    }
    if (fw->files->len == MAX_FILES || fw->finished) {
        error_set(error, "fw_cfg: no room for the file '%s': %s", name,
                  fw->finished ? "the machine is built" : "the directory is full");
        return NULL;
    }
    FwCfgFile *file = g_new0(FwCfgFile, 1);
    file->name = g_strdup(name);
    g_ptr_array_add(fw->files, file);
    return file;
}

bool fw_cfg_add_file(Device *dev, const char *name, const void *data, size_t len, GError **error)
{
    if (len > UINT32_MAX) {
        return error_set(error, "fw_cfg: the file '%s' has %zu bytes; %u are possible", name, len,
                         UINT32_MAX);
    }
    FwCfgFile *file = add_file((FwCfg *)dev, name, error);
    if (!file) {
        return false;
    }
    item_set(&file->item, data, len);
    return true;
}

bool fw_cfg_add_file_int(Device *dev, const char *name, uint64_t value, unsigned size,
                         GError **error)
{
    uint8_t bytes[8];
    store_le64(bytes, value);
    return fw_cfg_add_file(dev, name, bytes, size, error);
}

static uint64_t writable_bytes(FwCfg *fw)
{
    uint64_t total = 0;
    for (guint i = 0; i < fw->files->len; i++) {
        const FwCfgItem *item = file_item(fw, g_ptr_array_index(fw->files, i));
        total += item->writable ? item->len : 0;
    }
    return total;
}

bool fw_cfg_add_writable(Device *dev, const char *name, size_t len,
                         void (*written)(void *opaque, const uint8_t *data, size_t len),
                         void *opaque, GError **error)
{
    FwCfg *fw = (FwCfg *)dev;
    if (len > MAX_WRITABLE - writable_bytes(fw)) {
        return error_set(error, "fw_cfg: the writable file '%s' of %zu bytes is too large", name,
                         len);
    }
    FwCfgFile *file = add_file(fw, name, error);
    if (!file) {
        return false;
    }
    file->item = (FwCfgItem){ .data = g_malloc0(len),
                              .len = (uint32_t)len,
                              .writable = true,
                              .written = written,
                              .opaque = opaque };
    return true;
}

bool fw_cfg_add_answer(Device *dev, const char *name, size_t len,
                       void (*selected)(void *opaque, uint8_t *data, size_t len), void *opaque,
                       GError **error)
{
    FwCfgFile *file = add_file((FwCfg *)dev, name, error);
    if (!file) {
        return false;
    }
    file->item = (FwCfgItem){
        .data = g_malloc0(len), .len = (uint32_t)len, .selected = selected, .opaque = opaque
    };
    return true;
}

static void make_directory(FwCfg *fw)
{
    guint count = fw->files->len;
    g_autofree uint8_t *dir = g_malloc0(4 + count * DIR_ENTRY);
    store_be32(dir, count);
    for (guint i = 0; i < count; i++) {
        const FwCfgFile *file = g_ptr_array_index(fw->files, i);
        uint8_t *entry = dir + 4 + i * DIR_ENTRY;
        store_be32(entry, find_item(fw, file->key)->len);
        store_be16(entry + 4, file->key);
        memcpy(entry + 8, file->name, strlen(file->name));
    }
    fw_cfg_set(&fw->dev, FW_CFG_FILE_DIR, dir, 4 + count * DIR_ENTRY);
}

static gint compare_names(gconstpointer a, gconstpointer b)
{
    return strcmp((*(const FwCfgFile *const *)a)->name, (*(const FwCfgFile *const *)b)->name);
}

void fw_cfg_finish(Device *dev)
{
    FwCfg *fw = (FwCfg *)dev;
    g_assert(!fw->finished);
    g_ptr_array_sort(fw->files, compare_names);
    for (guint i = 0; i < fw->files->len; i++) {
        FwCfgFile *file = g_ptr_array_index(fw->files, i);
        file->key = (uint16_t)(FW_CFG_FILE_FIRST + i);
        fw->common[file->key] = file->item;
        file->item = (FwCfgItem){ 0 };
    }
    fw->finished = true;
    make_directory(fw);
}

void fw_cfg_replace_file(Device *dev, const char *name, const void *data, size_t len)
{
    FwCfg *fw = (FwCfg *)dev;
    FwCfgFile *file = find_file(fw, name);
    g_assert(file);
    item_set(file_item(fw, file), data, len);
    if (fw->finished) {
        make_directory(fw);
    }
}

void fw_cfg_write_file(Device *dev, const char *name, const void *data, size_t len)
{
    FwCfg *fw = (FwCfg *)dev;
    FwCfgFile *file = find_file(fw, name);
    g_assert(file && file_item(fw, file)->len == len);
    memcpy(file_item(fw, file)->data, data, len);
}

const uint8_t *fw_cfg_file(Device *dev, const char *name, size_t *len)
{
    FwCfg *fw = (FwCfg *)dev;
    FwCfgFile *file = find_file(fw, name);
    if (!file) {
        return NULL;
    }
    const FwCfgItem *item = file_item(fw, file);
    *len = item->len;
    return item->data;
}

/* ---- Selector and data port ---- */

static void select_item(FwCfg *fw, uint16_t key)
{
    const FwCfgItem *item = find_item(fw, key);
    fw->selected = key;
    fw->offset = 0;
    if (item && item->selected) {
        item->selected(item->opaque, item->data, item->len);
    }
}

/* How many bytes the selected item still has. */
static uint32_t bytes_left(const FwCfg *fw, const FwCfgItem *item)
{
    return item && fw->offset < item->len ? item->len - fw->offset : 0;
}

static uint64_t ports_read(void *opaque, uint64_t offset, unsigned size)
{
    FwCfg *fw = opaque;
    const FwCfgItem *item = find_item(fw, fw->selected);
    return bytes_left(fw, item) ? item->data[fw->offset++] : 0;
}

/* Two bytes select; the data port of old took single bytes. */
static void ports_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    if (size == 2) {
        select_item(opaque, (uint16_t)value);
    }
}

static const MemOps ports_ops = { .read = ports_read, .write = ports_write, .max_size = 2 };

/* ---- DMA ---- */

/* What there is goes to the guest, then zeroes. */
static bool dma_to_guest(FwCfg *fw, const FwCfgItem *item, uint64_t addr, uint32_t len)
{
    static const uint8_t zeroes[4096];
    AddressSpace *memory = fw->dev.machine->memory;
    uint32_t part = MIN(len, bytes_left(fw, item));
    if (part && !dma_write(memory, addr, item->data + fw->offset, part)) {
        return false;
    }
    for (uint64_t done = part; done < len; done += part) {
        part = (uint32_t)MIN(len - done, sizeof(zeroes));
        if (addr > UINT64_MAX - done || !dma_write(memory, addr + done, zeroes, part)) {
            return false;
        }
    }
    return true;
}

static bool dma_from_guest(FwCfg *fw, FwCfgItem *item, uint64_t addr, uint32_t len)
{
    if (!item || !item->writable || len > bytes_left(fw, item) ||
        !dma_read(fw->dev.machine->memory, addr, item->data + fw->offset, len)) {
        return false;
    }
    if (item->written) {
        item->written(item->opaque, item->data, item->len);
    }
    return true;
}

static void run_dma(FwCfg *fw)
{
    AddressSpace *memory = fw->dev.machine->memory;
    uint64_t at = fw->dma_address;
    uint8_t control[DMA_CONTROL], result[4];
    bool ok = true;
    fw->dma_address = 0;
    if (!dma_read(memory, at, control, sizeof(control))) {
        device_guest_error(&fw->dev, "DMA structure at 0x%" PRIx64 ", where no RAM is", at);
        return;
    }
    uint32_t command = load_be32(control), len = load_be32(control + 4);
    uint64_t addr = load_be64(control + 8);
    if (command & DMA_SELECT) {
        select_item(fw, (uint16_t)(command >> 16));
    }
    FwCfgItem *item = find_item(fw, fw->selected);
    uint32_t advance = MIN(len, bytes_left(fw, item));
    if (command & DMA_READ) {
        ok = dma_to_guest(fw, item, addr, len);
    } else if (command & DMA_WRITE) {
        ok = dma_from_guest(fw, item, addr, len);
    } else if (!(command & DMA_SKIP)) {
        advance = 0;
    }
    if (ok) {
        fw->offset += advance;
    }
    store_be32(result, ok ? 0 : DMA_ERROR);
    dma_write(memory, at, result, sizeof(result));
}

/* The registers are big-endian: byte 0 is the most significant. */
static uint64_t dma_port_read(void *opaque, uint64_t offset, unsigned size)
{
    uint8_t bytes[8];
    store_be64(bytes, DMA_SIGNATURE);
    return load_le(bytes + offset, size);
}

static void dma_port_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    FwCfg *fw = opaque;
    if (size == 8) {
        fw->dma_address = __builtin_bswap64(value);
        run_dma(fw);
    } else if (size == 4 && offset == 0) {
        fw->dma_address = (uint64_t)__builtin_bswap32((uint32_t)value) << 32;
    } else if (size == 4 && offset == 4) {
        fw->dma_address |= __builtin_bswap32((uint32_t)value);
        run_dma(fw);
    }
}

static const MemOps dma_ops = { .read = dma_port_read, .write = dma_port_write, .max_size = 8 };

/* ---- Life ---- */

static bool fw_cfg_realize(Device *dev, GError **error)
{
    FwCfg *fw = (FwCfg *)dev;
    Machine *machine = dev->machine;
    fw->files = g_ptr_array_new();
    mem_region_init_io(&fw->ports, "fwcfg", 2, &ports_ops, fw, &dev->lock);
    mem_region_init_io(&fw->dma, "fwcfg.dma", 8, &dma_ops, fw, &dev->lock);
    machine_topology_lock(machine);
    address_space_begin(machine->io);
    address_space_map(machine->io, &fw->ports, FW_CFG_PORT, 0);
    address_space_map(machine->io, &fw->dma, DMA_PORT, 0);
    address_space_commit(machine->io);
    machine_topology_unlock(machine);
    fw_cfg_set(dev, FW_CFG_SIGNATURE, "QEMU", 4);
    fw_cfg_set_int(dev, FW_CFG_ID, ID_PORTS | ID_DMA, 4);
    return true;
}

static void fw_cfg_unrealize(Device *dev)
{
    FwCfg *fw = (FwCfg *)dev;
    machine_topology_lock(dev->machine);
    address_space_begin(dev->machine->io);
    address_space_unmap(&fw->ports);
    address_space_unmap(&fw->dma);
    address_space_commit(dev->machine->io);
    machine_topology_unlock(dev->machine);
    for (guint i = 0; i < fw->files->len; i++) {
        FwCfgFile *file = g_ptr_array_index(fw->files, i);
        g_free(file->item.data);
        g_free(file->name);
        g_free(file);
    }
    g_ptr_array_unref(fw->files);
    for (unsigned i = 0; i < COMMON_ITEMS; i++) {
        g_free(fw->common[i].data);
    }
    for (unsigned i = 0; i < ARCH_ITEMS; i++) {
        g_free(fw->arch[i].data);
    }
    g_free(fw->saved);
}

static void fw_cfg_reset(Device *dev)
{
    FwCfg *fw = (FwCfg *)dev;
    select_item(fw, FW_CFG_SIGNATURE);
    fw->dma_address = 0;
}

/* ---- State ---- */

/* Copies the writable files' contents, one behind the other, out of or into `buffer`. */
static void move_writable(FwCfg *fw, uint8_t *buffer, bool load)
{
    for (guint i = 0; i < fw->files->len; i++) {
        FwCfgItem *item = file_item(fw, g_ptr_array_index(fw->files, i));
        if (item->writable) {
            memcpy(load ? item->data : buffer, load ? buffer : item->data, item->len);
            buffer += item->len;
        }
    }
}

static void fw_cfg_pre_save(void *base)
{
    FwCfg *fw = base;
    g_free(fw->saved);
    fw->saved_len = (uint32_t)writable_bytes(fw);
    fw->saved = g_malloc0(fw->saved_len);
    move_writable(fw, fw->saved, false);
}

static bool fw_cfg_post_load(void *base, uint16_t version, GError **error)
{
    FwCfg *fw = base;
    g_autofree uint8_t *saved = g_steal_pointer(&fw->saved);
    if (fw->saved_len != writable_bytes(fw)) {
        return error_set(error,
                         "fw_cfg: %u bytes of writable files were saved, this machine has "
                         "%" PRIu64,
                         fw->saved_len, writable_bytes(fw));
    }
    if (saved) {
        move_writable(fw, saved, true);
    }
    return true;
}

static const StateField fw_cfg_fields[] = {
    STATE_INT(FwCfg, selected),
    STATE_INT(FwCfg, offset),
    STATE_INT(FwCfg, dma_address),
    STATE_VBUFFER(FwCfg, saved, saved_len, MAX_WRITABLE),
    STATE_END,
};

static const StateSection fw_cfg_state = {
    .name = "fw_cfg",
    .version = 1,
    .fields = fw_cfg_fields,
    .pre_save = fw_cfg_pre_save,
    .post_load = fw_cfg_post_load,
};

const DeviceClass fw_cfg_class = {
    .name = "fw_cfg_io",
    .desc = "Firmware configuration (fw_cfg), I/O ports",
    .bus = BUS_SYSTEM,
    .category = DEVICE_CATEGORY_MISC,
    .size = sizeof(FwCfg),
    .state = &fw_cfg_state,
    .internal = true,
    .realize = fw_cfg_realize,
    .unrealize = fw_cfg_unrealize,
    .reset = fw_cfg_reset,
};

Device *fw_cfg_new(Machine *machine, GError **error)
{
    Device *dev = device_new(&fw_cfg_class, NULL);
    if (!device_realize(dev, machine, NULL, error)) {
        device_free(dev);
        return NULL;
    }
    return dev;
}

static void match_fw_cfg(Device *dev, void *opaque)
{
    if (dev->cls == &fw_cfg_class) {
        *(Device **)opaque = dev;
    }
}

Device *fw_cfg_find(Machine *machine)
{
    Device *found = NULL;
    device_foreach(machine, match_fw_cfg, &found);
    return found;
}
