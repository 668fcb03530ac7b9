/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * isa-pcspk: port 0x61 (NMI_SC; ICH9, 13.7.1): the gate and the output of the timer's third
 * counter, the speaker's data, the refresh toggle, and the enables of NMIs that nothing here
 * raises. A part of the timer's chip and under its lock. With a timer in the kernel the port is the
 * kernel's too.
 */
#include "hw/isa/i8254.h"
#include "hw/isa/isa.h"
#include "hw/misc/irqchip.h"

#define SPEAKER_PORT 0x61

#define PORT_GATE    0x01
#define PORT_DATA    0x02
#define PORT_NO_SERR 0x04 /* PCI SERR# makes no NMI */
#define PORT_NO_CHK  0x08 /* IOCHK# makes no NMI */
#define PORT_REFRESH 0x10 /* turns with every read */
#define PORT_OUT     0x20
#define PORT_WRITTEN 0x0f

typedef struct PcSpeaker {
    Device dev;
    MemRegion port;
    Device *pit;
    char *audiodev;
    uint32_t iobase;
    uint8_t bits; /* as written */
    bool refresh;
} PcSpeaker;

static uint64_t speaker_read(void *opaque, uint64_t offset, unsigned size)
{
    PcSpeaker *s = opaque;
    s->refresh = !s->refresh;
    return s->bits | (s->refresh ? PORT_REFRESH : 0) | (i8254_speaker_out(s->pit) ? PORT_OUT : 0);
}

static void speaker_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    PcSpeaker *s = opaque;
    s->bits = value & PORT_WRITTEN;
    i8254_set_speaker_gate(s->pit, value & PORT_GATE);
}

static const MemOps speaker_ops = {
    .read = speaker_read,
    .write = speaker_write,
    .max_size = 1,
};

static bool speaker_realize(Device *dev, GError **error)
{
    PcSpeaker *s = (PcSpeaker *)dev;
    if (s->audiodev) {
        return error_set(error, "audiodev=%s: this version has no sound; leave it out",
                         s->audiodev);
    }
    mem_region_init_io(&s->port, "pcspk", 1, &speaker_ops, s, &s->pit->lock);
    isa_map_ports(dev, &s->port, (uint16_t)s->iobase);
    return true;
}

static void speaker_unrealize(Device *dev)
{
    isa_unmap_ports(dev, &((PcSpeaker *)dev)->port);
    address_space_synchronize();
}

static void speaker_reset(Device *dev)
{
    PcSpeaker *s = (PcSpeaker *)dev;
    g_mutex_lock(&s->pit->lock);
    s->bits = 0;
    s->refresh = false;
    g_mutex_unlock(&s->pit->lock);
}

static bool speaker_post_load(void *base, uint16_t version, GError **error)
{
    ((PcSpeaker *)base)->bits &= PORT_WRITTEN;
    return true;
}

bool pcspk_create(Machine *machine, Device *pit, GError **error)
{
    Device *dev = device_new(&pcspk_class, NULL);
    ((PcSpeaker *)dev)->pit = pit;
    if (!device_realize(dev, machine, NULL, error)) {
        g_prefix_error(error, "isa-pcspk: ");
        device_free(dev);
        return false;
    }
    return true;
}

static const Property speaker_props[] = {
    PROP_RANGE_U32("iobase", PcSpeaker, iobase, SPEAKER_PORT, 0, 0xffff, "The port"),
    PROP_STRING("audiodev", PcSpeaker, audiodev, NULL, "Sound: only unset"),
    PROP_END,
};

static const StateField speaker_fields[] = {
    STATE_INT(PcSpeaker, bits),
    STATE_BOOL(PcSpeaker, refresh),
    STATE_END,
};

static const StateSection speaker_state = {
    .name = "isa-pcspk",
    .version = 1,
    .fields = speaker_fields,
    .post_load = speaker_post_load,
};

const DeviceClass pcspk_class = {
    .name = "isa-pcspk",
    .desc = "Speaker port of the PC",
    .bus = BUS_SYSTEM,
    .category = DEVICE_CATEGORY_SOUND,
    .size = sizeof(PcSpeaker),
    .props = speaker_props,
    .state = &speaker_state,
    .internal = true,
    .realize = speaker_realize,
    .unrealize = speaker_unrealize,
    .reset = speaker_reset,
};
