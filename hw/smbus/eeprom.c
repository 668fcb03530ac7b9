/* SPDX-License-Identifier: GPL-2.0-or-later */
/* smbus-eeprom: 256 bytes (24C02) behind a pointer, which the first byte written sets and each byte
 * moves. Writes last until the next reset. */
#include <string.h>
#include "hw/devices.h"
#include "hw/smbus/smbus.h"
#include "vmm/machine/machine.h"

typedef struct SmbusEeprom {
    Device dev;
    uint8_t address; /* property */
    uint8_t init[SPD_SIZE];
    /* With the host's lock. */
    uint8_t data[SPD_SIZE];
    uint8_t pointer;
} SmbusEeprom;

static uint8_t eeprom_address(const Device *dev)
{
    return ((const SmbusEeprom *)dev)->address;
}

static bool eeprom_write(Device *dev, const uint8_t *data, unsigned len)
{
    SmbusEeprom *s = (SmbusEeprom *)dev;
    for (unsigned i = 0; i < len; i++) {
        if (i == 0) {
            s->pointer = data[0];
        } else {
            s->data[s->pointer++] = data[i];
        }
    }
    return true;
}

static bool eeprom_read(Device *dev, uint8_t *data, unsigned len)
{
    SmbusEeprom *s = (SmbusEeprom *)dev;
    for (unsigned i = 0; i < len; i++) {
        data[i] = s->data[s->pointer++];
    }
    return true;
}

static bool eeprom_realize(Device *dev, GError **error)
{
    return true;
}

static void eeprom_reset(Device *dev)
{
    SmbusEeprom *s = (SmbusEeprom *)dev;
    memcpy(s->data, s->init, sizeof(s->data));
    s->pointer = 0;
}

Device *smbus_eeprom_new(Bus *bus, uint8_t address, const uint8_t data[SPD_SIZE], GError **error)
{
    Device *dev = device_new(&smbus_eeprom_class, NULL);
    SmbusEeprom *s = (SmbusEeprom *)dev;
    s->address = address;
    memcpy(s->init, data, sizeof(s->init));
    if (!device_realize(dev, bus->machine, bus, error)) {
        device_free(dev);
        return NULL;
    }
    return dev;
}

static const SmbusTargetClass eeprom_ops = {
    .address = eeprom_address,
    .write = eeprom_write,
    .read = eeprom_read,
};

static const Property eeprom_props[] = {
    PROP_U8("address", SmbusEeprom, address, 0, "Its address on the bus"),
    PROP_END,
};

static const StateField eeprom_fields[] = {
    STATE_BUFFER(SmbusEeprom, data),
    STATE_INT(SmbusEeprom, pointer),
    STATE_END,
};

static const StateSection eeprom_state = {
    .name = "smbus-eeprom",
    .version = 1,
    .fields = eeprom_fields,
};

const DeviceClass smbus_eeprom_class = {
    .name = "smbus-eeprom",
    .desc = "EEPROM of a memory module",
    .bus = BUS_I2C,
    .category = DEVICE_CATEGORY_MISC,
    .size = sizeof(SmbusEeprom),
    .props = eeprom_props,
    .state = &eeprom_state,
    .internal = true,
    .realize = eeprom_realize,
    .reset = eeprom_reset,
    .ops = &eeprom_ops,
};
