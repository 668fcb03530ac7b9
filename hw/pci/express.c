/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The PCI Express capability (PCI Express Base 4.0, 7.5.3). */
#include "hw/pci/pci_internal.h"

#define EXPRESS_CAP_VERSION 2
#define EXPRESS_CAP_SIZE    0x3c

static unsigned express_type(const PciDevice *pci)
{
    if (pci_class(pci)->is_bridge) {
        return pci_class(pci)->express_type;
    }
    return pci->bus->bridge ? PCI_EXP_TYPE_ENDPOINT : PCI_EXP_TYPE_RC_END;
}

bool pcie_capability_init(PciDevice *pci, GError **error)
{
    uint8_t at = pci_add_capability(pci, PCI_CAP_ID_EXP, 0, EXPRESS_CAP_SIZE, error);
    uint8_t *cap = pci->config + at, *wmask = pci->wmask + at;
    unsigned type = express_type(pci);

    if (!at) {
        return false;
    }
    pci->express_cap = at;
    store_le16(cap + PCI_EXP_FLAGS, EXPRESS_CAP_VERSION | type << 4);
    store_le32(cap + PCI_EXP_DEVCAP, PCI_EXP_DEVCAP_RBER);
    store_le16(wmask + PCI_EXP_DEVCTL, PCI_EXP_DEVCTL_CERE | PCI_EXP_DEVCTL_NFERE |
                                           PCI_EXP_DEVCTL_FERE | PCI_EXP_DEVCTL_URRE |
                                           PCI_EXP_DEVCTL_PAYLOAD | PCI_EXP_DEVCTL_READRQ);
    store_le16(pci->w1cmask + at + PCI_EXP_DEVSTA,
               PCI_EXP_DEVSTA_CED | PCI_EXP_DEVSTA_NFED | PCI_EXP_DEVSTA_FED | PCI_EXP_DEVSTA_URD);
    if (type == PCI_EXP_TYPE_RC_END) {
        return true; /* no link */
    }
    store_le32(cap + PCI_EXP_LNKCAP, PCI_EXP_LNKCAP_SLS_2_5GB | 1 << 4);
    store_le16(cap + PCI_EXP_LNKSTA, PCI_EXP_LNKSTA_CLS_2_5GB | PCI_EXP_LNKSTA_NLW_X1);
    store_le16(cap + PCI_EXP_LNKCTL2, PCI_EXP_LNKCTL2_TLS_2_5GT);
    store_le16(wmask + PCI_EXP_LNKCTL,
               PCI_EXP_LNKCTL_ASPMC | PCI_EXP_LNKCTL_RCB | PCI_EXP_LNKCTL_CCC);
    return true;
}
