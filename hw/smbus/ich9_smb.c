/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The SMBus controller of ICH9, function 1f.3 (ICH9, chapter 18). */
#include "hw/devices.h"
#include "hw/pci/pci.h"
#include "hw/smbus/smbus.h"

#define SMB_BAR      4
#define SMB_HOSTC    0x40
#define HOSTC_ENABLE 0x01
#define HOSTC_I2C    0x04
#define HOSTC_MASK   0x07

typedef struct Ich9Smb {
    PciDevice pci;
    SmbusHost host;
} Ich9Smb;

static void smb_set_irq(Device *dev, int level)
{
    pci_set_irq((PciDevice *)dev, level);
}

/* The ports answer when the host is enabled, and not as a plain I2C bus. */
static void smb_remap(PciDevice *pci)
{
    uint8_t config = pci->config[SMB_HOSTC];
    smbus_host_enable(&((Ich9Smb *)pci)->host,
                      (config & (HOSTC_ENABLE | HOSTC_I2C)) == HOSTC_ENABLE);
}

void ich9_smb_configure(Device *dev)
{
    PciDevice *pci = (PciDevice *)dev;
    pci->config[SMB_HOSTC] = HOSTC_ENABLE;
    smb_remap(pci);
}

/* ---- Life ---- */

static bool smb_realize(Device *dev, GError **error)
{
    Ich9Smb *s = (Ich9Smb *)dev;
    if (!pci_device_realize(&s->pci, error)) {
        return false;
    }
    s->pci.wmask[SMB_HOSTC] = HOSTC_MASK;
    smbus_host_init(&s->host, dev, false, smb_set_irq);
    pci_register_bar(&s->pci, SMB_BAR, PCI_BAR_IO, &s->host.region);
    return smbus_host_add_modules(&s->host, error);
}

static void smb_unrealize(Device *dev)
{
    Ich9Smb *s = (Ich9Smb *)dev;
    pci_device_unrealize(&s->pci);
    smbus_host_cleanup(&s->host);
}

static void smb_reset(Device *dev)
{
    Ich9Smb *s = (Ich9Smb *)dev;
    smbus_host_reset(&s->host);
    pci_device_reset(&s->pci);
}

static const StateField smb_fields[] = {
    STATE_STRUCT(Ich9Smb, pci, &pci_device_state),
    STATE_STRUCT(Ich9Smb, host, &smbus_host_state),
    STATE_END,
};

static const StateSection smb_state = { .name = "ICH9-SMB", .version = 1, .fields = smb_fields };

static const PciDeviceClass smb_pci = {
    .vendor_id = 0x8086,
    .device_id = 0x2930,
    .revision = 2,
    .class_code = 0x0c0500,
    .interrupt_pin = 1,
    .remap = smb_remap,
};

static const PropertyGroup smb_groups[] = {
    { pci_device_props, offsetof(Ich9Smb, pci) },
    { NULL },
};

const DeviceClass ich9_smb_class = {
    .name = "ICH9-SMB",
    .desc = "SMBus controller of ICH9",
    .bus = BUS_PCI,
    .category = DEVICE_CATEGORY_BRIDGE,
    .size = sizeof(Ich9Smb),
    .groups = smb_groups,
    .state = &smb_state,
    .internal = true,
    .has_child_bus = true,
    .child_bus = BUS_I2C,
    .realize = smb_realize,
    .unrealize = smb_unrealize,
    .reset = smb_reset,
    .ops = &smb_pci,
};
