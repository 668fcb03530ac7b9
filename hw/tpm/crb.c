/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The command response buffer interface of a TPM 2.0, tpm-crb (PTP, 6.5.3): one locality, a control
 * area and a buffer for commands and answers.
 */
#include <string.h>
#include "hw/devices.h"
#include "hw/tpm/tpm.h"
#include "vmm/device/registers.h"
#include "vmm/util/bytes.h"

#define BUFFER_OFFSET 0x80
#define BUFFER_SIZE   (TPM_LOCALITY_SIZE - BUFFER_OFFSET)
#define BUFFER_ADDR   (TPM_BASE + BUFFER_OFFSET)

enum {                           /* LOC_STATE */
       LOC_ESTABLISHED = 1 << 0, /* 0: established */
       LOC_ASSIGNED = 1 << 1,
       LOC_VALID = 1 << 7,
};
enum { /* LOC_CTRL */
       LOC_REQUEST = 1 << 0,
       LOC_RELINQUISH = 1 << 1,
};
enum { LOC_STS_GRANTED = 1 << 0 };
enum { /* CTRL_REQ */
       REQ_READY = 1 << 0,
       REQ_IDLE = 1 << 1,
};
enum { /* CTRL_STS */
       STS_FAILED = 1 << 0,
       STS_IDLE = 1 << 1,
};

/* CRB interface and version (1, 1 << 4), 64-byte transfers, CRB only and chosen. */
#define INTERFACE_ID (1U | 1U << 4 | 3U << 11 | 1U << 14 | 1U << 17)
#define VENDOR_ID    0x1014U /* IBM, as QEMU */

typedef struct CrbState {
    Device dev;
    TpmPort port;
    MemRegion region;
    uint32_t loc_state, loc_ctrl, loc_sts, interface_id, vendor_id;
    uint32_t req, sts, cancel, start;
    uint32_t command_size, command_low, answer_size, answer_low;
    uint8_t buffer[BUFFER_SIZE];
} CrbState;

/* ---- Commands ---- */

static void finish(CrbState *s, const uint8_t *answer, size_t len)
{
    memcpy(s->buffer, answer, len);
    s->start = 0;
}

/* Answers are at most the buffer's size, which the back end was told. */
static void crb_answered(void *opaque, uint32_t token, const uint8_t *answer, size_t len)
{
    CrbState *s = opaque;
    g_mutex_lock(&s->dev.lock);
    if (token == s->port.token && s->start) {
        finish(s, answer, len);
    }
    g_mutex_unlock(&s->dev.lock);
}

static void loc_ctrl_written(void *opaque, uint64_t old, uint64_t now)
{
    CrbState *s = opaque;
    s->loc_ctrl = 0;
    if (now & LOC_REQUEST) {
        s->loc_sts |= LOC_STS_GRANTED;
        s->loc_state |= LOC_ASSIGNED;
    } else if (now & LOC_RELINQUISH) {
        s->loc_sts &= ~LOC_STS_GRANTED;
        s->loc_state &= ~LOC_ASSIGNED;
    }
}

static uint64_t loc_state_read(void *opaque, uint64_t stored)
{
    const CrbState *s = opaque;
    return stored | (tpm_backend_established(s->port.backend) ? 0 : LOC_ESTABLISHED);
}

static void req_written(void *opaque, uint64_t old, uint64_t now)
{
    CrbState *s = opaque;
    s->req = 0;
    if (now & REQ_READY) {
        s->sts &= ~STS_IDLE;
    } else if (now & REQ_IDLE) {
        s->sts |= STS_IDLE;
    }
}

static void cancel_written(void *opaque, uint64_t old, uint64_t now)
{
    CrbState *s = opaque;
    if ((now & 1) && s->start) {
        tpm_backend_cancel(s->port.backend);
    }
}

/* A written 0 takes nothing back. */
static void start_written(void *opaque, uint64_t old, uint64_t now)
{
    CrbState *s = opaque;
    bool assigned = s->loc_state & LOC_ASSIGNED;
    s->start = (uint32_t)old;
    if (!(now & 1) || old || !assigned) {
        return;
    }
    s->start = 1;
    if (!tpm_port_submit(&s->port, 0, s->buffer)) {
        finish(s, tpm_failure, TPM_HEADER_SIZE);
    }
}

/* ---- Registers ---- */

#define CRB_REG(reg, at, member, ...)                                                              \
    {                                                                                              \
        .name = (reg), .offset = (at), .size = 4, .field = offsetof(CrbState, member), __VA_ARGS__ \
    }

static const RegisterDesc crb_regs[] = {
    CRB_REG("LOC_STATE", 0x00, loc_state, .reset = LOC_VALID, .read = loc_state_read),
    CRB_REG("LOC_CTRL", 0x08, loc_ctrl, .writable = LOC_REQUEST | LOC_RELINQUISH,
            .written = loc_ctrl_written),
    CRB_REG("LOC_STS", 0x0c, loc_sts),
    CRB_REG("INTF_ID", 0x30, interface_id, .reset = INTERFACE_ID),
    CRB_REG("INTF_VENDOR", 0x34, vendor_id, .reset = VENDOR_ID),
    CRB_REG("CTRL_REQ", 0x40, req, .writable = REQ_READY | REQ_IDLE, .written = req_written),
    CRB_REG("CTRL_STS", 0x44, sts, .reset = STS_IDLE),
    CRB_REG("CTRL_CANCEL", 0x48, cancel, .writable = 1, .written = cancel_written),
    CRB_REG("CTRL_START", 0x4c, start, .writable = 1, .written = start_written),
    CRB_REG("CTRL_CMD_SIZE", 0x58, command_size, .reset = BUFFER_SIZE),
    CRB_REG("CTRL_CMD_LADDR", 0x5c, command_low, .reset = BUFFER_ADDR),
    CRB_REG("CTRL_RSP_SIZE", 0x64, answer_size, .reset = BUFFER_SIZE),
    CRB_REG("CTRL_RSP_ADDR", 0x68, answer_low, .reset = BUFFER_ADDR),
};

static const RegisterFile crb_file = { crb_regs, G_N_ELEMENTS(crb_regs), 0 };

static uint64_t crb_read(void *opaque, uint64_t offset, unsigned size)
{
    const CrbState *s = opaque;
    if (offset >= BUFFER_OFFSET) {
        return load_le(s->buffer + offset - BUFFER_OFFSET, size);
    }
    return register_read(&crb_file, opaque, offset, size);
}

/* The buffer is the TPM's while it works. */
static void crb_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    CrbState *s = opaque;
    if (offset < BUFFER_OFFSET) {
        register_write(&crb_file, opaque, offset, value, size);
    } else if (!s->start) {
        store_le(s->buffer + offset - BUFFER_OFFSET, value, size);
    }
}

static const MemOps crb_ops = { .read = crb_read, .write = crb_write, .max_size = 8 };

/* ---- Life ---- */

static bool crb_realize(Device *dev, GError **error)
{
    CrbState *s = (CrbState *)dev;
    if (!tpm_port_realize(&s->port, dev, BUFFER_SIZE, crb_answered, error)) {
        return false;
    }
    mem_region_init_io(&s->region, "tpm-crb", TPM_LOCALITY_SIZE, &crb_ops, s, &dev->lock);
    machine_topology_lock(dev->machine);
    address_space_map(dev->machine->memory, &s->region, TPM_BASE, 1);
    machine_topology_unlock(dev->machine);
    return true;
}

static void crb_unrealize(Device *dev)
{
    CrbState *s = (CrbState *)dev;
    machine_topology_lock(dev->machine);
    address_space_unmap(&s->region);
    machine_topology_unlock(dev->machine);
    tpm_port_unrealize(&s->port);
}

static void crb_reset(Device *dev)
{
    CrbState *s = (CrbState *)dev;
    g_mutex_lock(&dev->lock);
    register_reset(&crb_file, s);
    s->command_size = s->answer_size = s->port.buffer_size;
    memset(s->buffer, 0, sizeof(s->buffer));
    tpm_port_reset(&s->port);
    g_mutex_unlock(&dev->lock);
}

static void crb_quiesce(Device *dev)
{
    tpm_port_quiesce(&((CrbState *)dev)->port);
}

static bool crb_post_load(void *base, uint16_t version, GError **error)
{
    CrbState *s = base;
    s->loc_state &= LOC_ASSIGNED;
    s->loc_state |= LOC_VALID;
    s->loc_sts = s->loc_state & LOC_ASSIGNED ? LOC_STS_GRANTED : 0;
    s->sts &= STS_FAILED | STS_IDLE;
    return !s->start || error_set(error, "tpm-crb: no command can be under way in a saved TPM");
}

static const StateField crb_fields[] = {
    STATE_INT(CrbState, loc_state),
    STATE_INT(CrbState, sts),
    STATE_INT(CrbState, cancel),
    STATE_INT(CrbState, start),
    STATE_BUFFER(CrbState, buffer),
    STATE_STRUCT(CrbState, port, &tpm_port_state),
    STATE_END,
};

static const StateSection crb_state = {
    .name = "tpm-crb",
    .version = 1,
    .fields = crb_fields,
    .post_load = crb_post_load,
};

static const PropertyGroup crb_groups[] = {
    { tpm_port_props, offsetof(CrbState, port) },
    { NULL },
};

const DeviceClass tpm_crb_class = {
    .name = "tpm-crb",
    .desc = "TPM 2.0 with the command response buffer interface",
    .bus = BUS_SYSTEM,
    .category = DEVICE_CATEGORY_MISC,
    .size = sizeof(CrbState),
    .groups = crb_groups,
    .state = &crb_state,
    .realize = crb_realize,
    .unrealize = crb_unrealize,
    .reset = crb_reset,
    .quiesce = crb_quiesce,
};
