/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The FIFO interface of a TPM 2.0, tpm-tis (PTP, 6.5 and 5.5; TIS 1.3): five localities, of which
 * one at a time has the TPM; commands and answers through a FIFO. Locality 4 is the hardware's:
 * what the guest writes there is dropped.
 */
#include <string.h>
#include "hw/devices.h"
#include "hw/tpm/tpm.h"
#include "vmm/util/bytes.h"

enum { /* offsets in a locality */
       REG_ACCESS = 0x00,
       REG_INT_ENABLE = 0x08,
       REG_INT_VECTOR = 0x0c,
       REG_INT_STATUS = 0x10,
       REG_INTF_CAPABILITY = 0x14,
       REG_STS = 0x18,
       REG_DATA_FIFO = 0x24,
       REG_INTERFACE_ID = 0x30,
       REG_XDATA_FIFO = 0x80,
       REG_XDATA_FIFO_END = 0xc0,
       REG_DID_VID = 0xf00,
       REG_RID = 0xf04,
};

enum {                                /* ACCESS */
       ACCESS_ESTABLISHMENT = 1 << 0, /* 0: established */
       ACCESS_REQUEST_USE = 1 << 1,
       ACCESS_PENDING = 1 << 2,
       ACCESS_SEIZE = 1 << 3,
       ACCESS_BEEN_SEIZED = 1 << 4,
       ACCESS_ACTIVE = 1 << 5,
       ACCESS_VALID = 1 << 7,
       ACCESS_KEPT = ACCESS_REQUEST_USE | ACCESS_SEIZE | ACCESS_BEEN_SEIZED | ACCESS_ACTIVE,
};

enum { /* STS */
       STS_RESPONSE_RETRY = 1 << 1,
       STS_EXPECT = 1 << 3,
       STS_DATA_AVAILABLE = 1 << 4,
       STS_GO = 1 << 5,
       STS_COMMAND_READY = 1 << 6,
       STS_VALID = 1 << 7,
       STS_BURST_SHIFT = 8,
       STS_CANCEL = 1 << 24,
       STS_RESET_ESTABLISHMENT = 1 << 25,
       STS_FAMILY_2 = 1 << 26,
};

enum { /* INT_ENABLE, INT_STATUS */
       INT_DATA_AVAILABLE = 1 << 0,
       INT_STS_VALID = 1 << 1,
       INT_LOCALITY = 1 << 2,
       INT_LOW_LEVEL = 1 << 3,
       INT_POLARITY = 3 << 3,
       INT_COMMAND_READY = 1 << 7,
       INT_ALL = INT_DATA_AVAILABLE | INT_STS_VALID | INT_LOCALITY | INT_COMMAND_READY,
};
#define INT_ENABLED (1U << 31)

/* TPM 2.0 (3 << 28), FIFO of up to 64 bytes, low-level interrupts, all four of them. */
#define CAPABILITY        (3U << 28 | 3U << 9 | 1U << 4 | INT_ALL)
#define INTERFACE_ID      (1U << 13 | 1U << 8) /* FIFO, five localities */
#define ID_SELECT_LOCK    (1U << 19)
#define DID_VID           0x00011014U /* IBM, as QEMU */
#define RID               1
#define NO_LOCALITY       0xff
#define HARDWARE_LOCALITY 4
#define NO_DATA           0xff
#define NO_REGISTER       0xffffffffU
#define MAX_IRQ           15

typedef enum TisStage {
    TIS_IDLE,
    TIS_READY,
    TIS_RECEPTION,
    TIS_EXECUTION,
    TIS_COMPLETION
} TisStage;

typedef struct TisLocality {
    uint8_t stage; /* TisStage */
    uint8_t access;
    uint8_t sts; /* its low byte */
    uint32_t inte, ints;
} TisLocality;

typedef struct TisState {
    Device dev;
    TpmPort port;
    MemRegion region;
    uint32_t irq; /* property */
    IrqLine *line;
    TisLocality loc[TPM_LOCALITIES];
    uint8_t active; /* locality, or none */
    uint8_t next;   /* gets the TPM when the command has ended */
    bool handing_over;
    bool locked;     /* INTERFACE_ID */
    uint32_t offset; /* in buffer: the next byte in or out */
    uint8_t buffer[TPM_BUFFER_MAX];
} TisState;

/* ---- Interrupts ---- */

static void update_irq(TisState *s)
{
    bool level = false;
    for (unsigned i = 0; i < TPM_LOCALITIES; i++) {
        level |= s->loc[i].ints != 0;
    }
    irq_set(s->line, level);
}

static void notify(TisState *s, unsigned locality, uint32_t what)
{
    TisLocality *l = &s->loc[locality];
    if (l->inte & INT_ENABLED) {
        l->ints |= what & l->inte;
        update_irq(s);
    }
}

/* ---- Localities ---- */

static bool executing(const TisState *s)
{
    return s->active != NO_LOCALITY && s->loc[s->active].stage == TIS_EXECUTION;
}

/* What the old one had is gone. */
static void switch_to(TisState *s, uint8_t locality)
{
    uint8_t old = s->active;
    bool seized = locality != NO_LOCALITY && (s->loc[locality].access & ACCESS_SEIZE);
    s->handing_over = false;
    if (old == locality) {
        return;
    }
    if (old != NO_LOCALITY) {
        TisLocality *l = &s->loc[old];
        l->access &= (uint8_t) ~(ACCESS_ACTIVE | (seized ? 0 : ACCESS_REQUEST_USE));
        l->access |= seized ? ACCESS_BEEN_SEIZED : 0;
        l->stage = TIS_IDLE;
        l->sts = 0;
    }
    s->active = locality;
    s->offset = 0;
    if (locality != NO_LOCALITY) {
        s->loc[locality].access |= ACCESS_ACTIVE;
        s->loc[locality].access &= (uint8_t) ~(ACCESS_REQUEST_USE | ACCESS_SEIZE);
        notify(s, locality, INT_LOCALITY);
    }
}

/* A command is not interrupted but asked to end. */
static void hand_over(TisState *s, uint8_t locality)
{
    if (executing(s)) {
        s->next = locality;
        s->handing_over = true;
        tpm_backend_cancel(s->port.backend);
    } else {
        switch_to(s, locality);
    }
}

static uint8_t highest_request(const TisState *s)
{
    for (unsigned i = TPM_LOCALITIES; i > 0; i--) {
        if (s->loc[i - 1].access & ACCESS_REQUEST_USE) {
            return (uint8_t)(i - 1);
        }
    }
    return NO_LOCALITY;
}

static void relinquish(TisState *s, unsigned locality)
{
    if (s->active == locality) {
        hand_over(s, highest_request(s));
    } else {
        s->loc[locality].access &= (uint8_t)~ACCESS_REQUEST_USE;
    }
}

static void seize(TisState *s, unsigned locality)
{
    if (s->active != NO_LOCALITY && locality <= s->active) {
        return;
    }
    for (unsigned i = locality + 1; i < TPM_LOCALITIES; i++) {
        if (s->loc[i].access & ACCESS_SEIZE) {
            return;
        }
    }
    for (unsigned i = 0; i < locality; i++) {
        s->loc[i].access &= (uint8_t)~ACCESS_SEIZE;
    }
    s->loc[locality].access |= ACCESS_SEIZE;
    hand_over(s, (uint8_t)locality);
}

static void request_use(TisState *s, unsigned locality)
{
    if (s->active == NO_LOCALITY) {
        switch_to(s, (uint8_t)locality);
    } else if (s->active != locality) {
        s->loc[locality].access |= ACCESS_REQUEST_USE;
    }
}

static void access_write(TisState *s, unsigned locality, uint8_t value)
{
    if (value & ACCESS_SEIZE) {
        value &= (uint8_t) ~(ACCESS_REQUEST_USE | ACCESS_ACTIVE);
    }
    if (value & ACCESS_ACTIVE) {
        relinquish(s, locality);
    }
    if (value & ACCESS_BEEN_SEIZED) {
        s->loc[locality].access &= (uint8_t)~ACCESS_BEEN_SEIZED;
    }
    if (value & ACCESS_SEIZE) {
        seize(s, locality);
    }
    if (value & ACCESS_REQUEST_USE) {
        request_use(s, locality);
    }
}

static uint32_t access_read(const TisState *s, unsigned locality)
{
    uint32_t value = s->loc[locality].access | ACCESS_VALID;
    for (unsigned i = 0; i < TPM_LOCALITIES; i++) {
        if (i != locality && (s->loc[i].access & ACCESS_REQUEST_USE)) {
            value |= ACCESS_PENDING;
        }
    }
    return value | (tpm_backend_established(s->port.backend) ? 0 : ACCESS_ESTABLISHMENT);
}

/* ---- Commands ---- */

static void become_ready(TisState *s, TisLocality *l, unsigned locality)
{
    s->offset = 0;
    l->stage = TIS_READY;
    if (!(l->sts & STS_COMMAND_READY)) {
        l->sts = STS_COMMAND_READY;
        notify(s, locality, INT_COMMAND_READY);
    }
}

/* The answer stands in the buffer. */
static void complete(TisState *s, TisLocality *l, unsigned locality)
{
    l->sts = STS_VALID | STS_DATA_AVAILABLE;
    l->stage = TIS_COMPLETION;
    s->offset = 0;
    notify(s, locality, INT_DATA_AVAILABLE | INT_STS_VALID);
}

static void tis_answered(void *opaque, uint32_t token, const uint8_t *answer, size_t len)
{
    TisState *s = opaque;
    g_mutex_lock(&s->dev.lock);
    if (token == s->port.token && executing(s)) {
        uint8_t locality = s->active;
        memcpy(s->buffer, answer, len);
        complete(s, &s->loc[locality], locality);
        if (s->handing_over && s->next == locality) {
            become_ready(s, &s->loc[locality], locality);
            s->handing_over = false;
        } else if (s->handing_over) {
            switch_to(s, s->next);
        }
    }
    g_mutex_unlock(&s->dev.lock);
}

static void go(TisState *s, TisLocality *l, unsigned locality)
{
    if (l->stage != TIS_RECEPTION || (l->sts & STS_EXPECT)) {
        return;
    }
    l->stage = TIS_EXECUTION;
    l->sts = 0;
    if (!tpm_port_submit(&s->port, locality, s->buffer)) {
        memcpy(s->buffer, tpm_failure, TPM_HEADER_SIZE);
        complete(s, l, locality);
    }
}

static void command_ready(TisState *s, TisLocality *l, unsigned locality)
{
    if (l->stage == TIS_EXECUTION) {
        hand_over(s, (uint8_t)locality);
    } else {
        become_ready(s, l, locality);
    }
}

static void sts_write(TisState *s, unsigned locality, uint32_t value)
{
    TisLocality *l = &s->loc[locality];
    if ((value & STS_CANCEL) && l->stage == TIS_EXECUTION) {
        tpm_backend_cancel(s->port.backend);
    }
    if ((value & STS_RESET_ESTABLISHMENT) && locality >= 3) {
        tpm_backend_reset_established(s->port.backend, locality);
    }
    switch (value & (STS_COMMAND_READY | STS_GO | STS_RESPONSE_RETRY)) {
    case STS_COMMAND_READY:
        command_ready(s, l, locality);
        break;
    case STS_GO:
        go(s, l, locality);
        break;
    case STS_RESPONSE_RETRY:
        if (l->stage == TIS_COMPLETION) {
            s->offset = 0;
            l->sts = STS_VALID | STS_DATA_AVAILABLE;
        }
        break;
    default: /* one at a time */
        break;
    }
}

/* How many bytes go without a look at STS again. */
static uint32_t sts_read(const TisState *s, unsigned locality, unsigned size)
{
    const TisLocality *l = &s->loc[locality];
    uint32_t room;
    if (s->active != locality) {
        return NO_REGISTER;
    }
    if (l->sts & STS_DATA_AVAILABLE) {
        room = tpm_port_length(&s->port, s->buffer) - s->offset;
    } else {
        room = s->port.buffer_size - s->offset;
        room = size == 1 ? MIN(room, 0xff) : room; /* the low byte of 0x100 would say 0 */
    }
    return room << STS_BURST_SHIFT | l->sts | STS_FAMILY_2;
}

/* ---- FIFO ---- */

static uint8_t fifo_get(TisState *s, unsigned locality)
{
    TisLocality *l = &s->loc[locality];
    if (s->active != locality || !(l->sts & STS_DATA_AVAILABLE)) {
        return NO_DATA;
    }
    uint8_t byte = s->buffer[s->offset++];
    if (s->offset >= tpm_port_length(&s->port, s->buffer)) {
        l->sts = STS_VALID; /* no more */
        notify(s, locality, INT_STS_VALID);
    }
    return byte;
}

static void fifo_put(TisState *s, unsigned locality, uint8_t byte)
{
    TisLocality *l = &s->loc[locality];
    if (l->stage == TIS_READY) {
        s->offset = 0;
        l->stage = TIS_RECEPTION;
        l->sts = STS_EXPECT | STS_VALID;
    }
    if (l->stage != TIS_RECEPTION || !(l->sts & STS_EXPECT)) {
        return;
    }
    s->buffer[s->offset++] = byte;
    uint32_t len = load_be32(s->buffer + TPM_SIZE_OFFSET);
    if (s->offset >= s->port.buffer_size ||
        (s->offset >= TPM_SIZE_OFFSET + sizeof(len) && s->offset >= len)) {
        l->sts = STS_VALID;
        notify(s, locality, INT_STS_VALID);
    }
}

/* ---- The window ---- */

static bool is_fifo(unsigned reg)
{
    return reg / 4 == REG_DATA_FIFO / 4 || (reg >= REG_XDATA_FIFO && reg < REG_XDATA_FIFO_END);
}

static uint32_t register_value(TisState *s, unsigned locality, unsigned reg, unsigned size)
{
    const TisLocality *l = &s->loc[locality];
    switch (reg) {
    case REG_ACCESS:
        return access_read(s, locality);
    case REG_INT_ENABLE:
        return l->inte;
    case REG_INT_VECTOR:
        return s->irq;
    case REG_INT_STATUS:
        return l->ints;
    case REG_INTF_CAPABILITY:
        return CAPABILITY;
    case REG_STS:
        return sts_read(s, locality, size);
    case REG_INTERFACE_ID:
        return INTERFACE_ID | (s->locked ? ID_SELECT_LOCK : 0);
    case REG_DID_VID:
        return DID_VID;
    case REG_RID:
        return RID;
    default:
        return NO_REGISTER;
    }
}

static uint64_t tis_read(void *opaque, uint64_t at, unsigned size)
{
    TisState *s = opaque;
    unsigned locality = (unsigned)(at / TPM_LOCALITY_SIZE), reg = at % TPM_LOCALITY_SIZE;
    uint64_t value = 0;
    if (!is_fifo(reg)) {
        return register_value(s, locality, reg & ~3U, size) >> 8 * (reg & 3);
    }
    for (unsigned i = 0; i < size; i++) {
        value |= (uint64_t)fifo_get(s, locality) << 8 * i;
    }
    return value;
}

static void fifo_write(TisState *s, unsigned locality, uint64_t value, unsigned size)
{
    if (s->active != locality) {
        return;
    }
    for (unsigned i = 0; i < size; i++) {
        fifo_put(s, locality, (uint8_t)(value >> 8 * i));
    }
}

/* mask: the bits that are written. */
static void register_set(TisState *s, unsigned locality, unsigned reg, uint32_t value,
                         uint32_t mask)
{
    TisLocality *l = &s->loc[locality];
    const uint32_t writable = INT_ENABLED | INT_POLARITY | INT_ALL;
    bool active = s->active == locality;
    if (reg == REG_ACCESS && (mask & 0xff)) {
        access_write(s, locality, (uint8_t)value);
    } else if (reg == REG_STS && active) {
        sts_write(s, locality, value);
    } else if (reg == REG_INT_ENABLE && active) {
        l->inte = ((l->inte & ~mask) | value) & writable;
    } else if (reg == REG_INT_STATUS && active) {
        l->ints &= ~value;
        update_irq(s);
    } else if (reg == REG_INTERFACE_ID) {
        s->locked |= (value & ID_SELECT_LOCK) != 0;
    }
}

static void tis_write(void *opaque, uint64_t at, uint64_t value, unsigned size)
{
    TisState *s = opaque;
    unsigned locality = (unsigned)(at / TPM_LOCALITY_SIZE), reg = at % TPM_LOCALITY_SIZE;
    unsigned shift = 8 * (reg & 3);
    if (locality == HARDWARE_LOCALITY) {
        return;
    }
    if (is_fifo(reg)) {
        fifo_write(s, locality, value, size);
        return;
    }
    uint32_t mask = (uint32_t)((1ULL << 8 * size) - 1);
    register_set(s, locality, reg & ~3U, (uint32_t)value << shift, mask << shift);
}

static const MemOps tis_ops = { .read = tis_read, .write = tis_write, .max_size = 4 };

/* ---- Life ---- */

static bool tis_realize(Device *dev, GError **error)
{
    TisState *s = (TisState *)dev;
    if (s->irq > MAX_IRQ) {
        return error_set(error, "irq=%u is no ISA interrupt: 0 to %d", s->irq, MAX_IRQ);
    }
    if (!tpm_port_realize(&s->port, dev, TPM_BUFFER_MAX, tis_answered, error)) {
        return false;
    }
    s->line = &dev->machine->gsi[s->irq];
    mem_region_init_io(&s->region, "tpm-tis", TPM_TIS_SIZE, &tis_ops, s, &dev->lock);
    machine_topology_lock(dev->machine);
    address_space_map(dev->machine->memory, &s->region, TPM_BASE, 1);
    machine_topology_unlock(dev->machine);
    return true;
}

static void tis_unrealize(Device *dev)
{
    TisState *s = (TisState *)dev;
    machine_topology_lock(dev->machine);
    address_space_unmap(&s->region);
    machine_topology_unlock(dev->machine);
    tpm_port_unrealize(&s->port);
}

static void tis_reset(Device *dev)
{
    TisState *s = (TisState *)dev;
    g_mutex_lock(&dev->lock);
    for (unsigned i = 0; i < TPM_LOCALITIES; i++) {
        s->loc[i] = (TisLocality){ .inte = INT_LOW_LEVEL };
    }
    s->active = s->next = NO_LOCALITY;
    s->handing_over = s->locked = false;
    s->offset = 0;
    memset(s->buffer, 0, sizeof(s->buffer));
    tpm_port_reset(&s->port);
    update_irq(s);
    g_mutex_unlock(&dev->lock);
}

static void tis_quiesce(Device *dev)
{
    tpm_port_quiesce(&((TisState *)dev)->port);
}

/* ---- State ---- */

static bool locality_possible(const TisState *s, unsigned i)
{
    const TisLocality *l = &s->loc[i];
    bool active = s->active == i;
    return l->stage <= TIS_COMPLETION && l->stage != TIS_EXECUTION &&
           (active || l->stage == TIS_IDLE) && !(l->access & ACCESS_ACTIVE) == !active &&
           (l->stage == TIS_COMPLETION || !(l->sts & STS_DATA_AVAILABLE));
}

static bool tis_post_load(void *base, uint16_t version, GError **error)
{
    TisState *s = base;
    bool ok = (s->active < TPM_LOCALITIES || s->active == NO_LOCALITY) && !s->handing_over &&
              s->offset <= s->port.buffer_size;
    for (unsigned i = 0; i < TPM_LOCALITIES; i++) {
        s->loc[i].access &= ACCESS_KEPT;
        ok = ok && locality_possible(s, i);
    }
    if (ok && s->active != NO_LOCALITY) {
        uint8_t sts = s->loc[s->active].sts;
        uint32_t end = sts & STS_DATA_AVAILABLE ? tpm_port_length(&s->port, s->buffer)
                                                : s->port.buffer_size + !(sts & STS_EXPECT);
        ok = s->offset < end;
    }
    if (!ok) {
        return error_set(error, "tpm-tis: no TPM can be in this state");
    }
    g_mutex_lock(&s->dev.lock);
    update_irq(s);
    g_mutex_unlock(&s->dev.lock);
    return true;
}

static const StateField locality_fields[] = {
    STATE_INT(TisLocality, stage), STATE_INT(TisLocality, access), STATE_INT(TisLocality, sts),
    STATE_INT(TisLocality, inte),  STATE_INT(TisLocality, ints),   STATE_END,
};

static const StateSection locality_state = {
    .name = "tpm-tis-locality",
    .version = 1,
    .fields = locality_fields,
};

static const StateField tis_fields[] = {
    STATE_STRUCT_ARRAY(TisState, loc, &locality_state),
    STATE_INT(TisState, active),
    STATE_BOOL(TisState, handing_over),
    STATE_BOOL(TisState, locked),
    STATE_INT(TisState, offset),
    STATE_BUFFER(TisState, buffer),
    STATE_STRUCT(TisState, port, &tpm_port_state),
    STATE_END,
};

static const StateSection tis_state = {
    .name = "tpm-tis",
    .version = 1,
    .fields = tis_fields,
    .post_load = tis_post_load,
};

static const Property tis_props[] = {
    PROP_U32("irq", TisState, irq, 5, "ISA interrupt"),
    PROP_END,
};

static const PropertyGroup tis_groups[] = {
    { tpm_port_props, offsetof(TisState, port) },
    { NULL },
};

const DeviceClass tpm_tis_class = {
    .name = "tpm-tis",
    .desc = "TPM 2.0 with the FIFO interface",
    .bus = BUS_ISA,
    .category = DEVICE_CATEGORY_MISC,
    .size = sizeof(TisState),
    .props = tis_props,
    .groups = tis_groups,
    .state = &tis_state,
    .realize = tis_realize,
    .unrealize = tis_unrealize,
    .reset = tis_reset,
    .quiesce = tis_quiesce,
};
