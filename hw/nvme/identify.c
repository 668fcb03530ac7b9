/* SPDX-License-Identifier: GPL-2.0-or-later */
/* NVMe Identify (NVMe 1.4, 5.15; command sets: TP 4056). On the loop. */
#include <linux/pci_regs.h>
#include <string.h>
#include "config.h"
#include "hw/nvme/nvme.h"
#include "vmm/util/bytes.h"

#define DATA_SIZE 4096

/* Controller or namespace structure (CNS). */
enum {
    CNS_NAMESPACE = 0x00,
    CNS_CONTROLLER = 0x01,
    CNS_ACTIVE_LIST = 0x02,
    CNS_DESCRIPTORS = 0x03,
    CNS_SET_NAMESPACE = 0x05,
    CNS_SET_CONTROLLER = 0x06,
    CNS_SET_ACTIVE_LIST = 0x07,
    CNS_PRESENT_LIST = 0x10,
    CNS_PRESENT_NAMESPACE = 0x11,
    CNS_SET_PRESENT_LIST = 0x1a,
    CNS_SET_PRESENT_NAMESPACE = 0x1b,
    CNS_COMMAND_SETS = 0x1c,
};

/* Identify Controller (figure 247). */
enum {
    CTRL_VID = 0,
    CTRL_SSVID = 2,
    CTRL_SN = 4,
    CTRL_MN = 24,
    CTRL_FR = 64,
    CTRL_RAB = 72,
    CTRL_IEEE = 73,
    CTRL_MDTS = 77,
    CTRL_VER = 80,
    CTRL_OAES = 92,
    CTRL_TYPE = 111,
    CTRL_OACS = 256,
    CTRL_ACL = 258,
    CTRL_AERL = 259,
    CTRL_FRMW = 260,
    CTRL_LPA = 261,
    CTRL_ELPE = 262,
    CTRL_WCTEMP = 266,
    CTRL_CCTEMP = 268,
    CTRL_SQES = 512,
    CTRL_CQES = 513,
    CTRL_NN = 516,
    CTRL_ONCS = 520,
    CTRL_FNA = 524,
    CTRL_VWC = 525,
    CTRL_SGLS = 536,
    CTRL_SUBNQN = 768,
    CTRL_PSD0 = 2048,
};

#define OACS_FORMAT          (1u << 1)
#define OACS_DOORBELL_BUFFER (1u << 8)
#define OAES_NS_CHANGED      (1u << 8)
#define LPA_SMART_PER_NS     (1u << 0)
#define LPA_COMMANDS         (1u << 1)
#define LPA_EXTENDED         (1u << 2)
#define ONCS_COMPARE         (1u << 0)
#define ONCS_DATASET         (1u << 2)
#define ONCS_WRITE_ZEROES    (1u << 3)
#define ONCS_SELECT          (1u << 4)
#define ONCS_TIMESTAMP       (1u << 6)
#define ONCS_VERIFY          (1u << 7)
#define VWC_PRESENT          (1u << 0)
#define VWC_FLUSH_ALL        (3u << 1)

/* Identify Namespace (figure 245). */
enum {
    NS_NSZE = 0,
    NS_NCAP = 8,
    NS_NUSE = 16,
    NS_NSFEAT = 24,
    NS_NLBAF = 25,
    NS_FLBAS = 26,
    NS_DLFEAT = 33,
    NS_NPWG = 64,
    NS_NPWA = 66,
    NS_NPDG = 68,
    NS_NPDA = 70,
    NS_NOWS = 72,
    NS_NSATTR = 99,
    NS_EUI64 = 120,
    NS_LBAF = 128,
};

#define NSFEAT_OPTIMAL (1u << 4)
#define DLFEAT_ZEROES  1 /* deallocated blocks read as zeroes */
#define DLFEAT_DEAC    (1u << 3)
#define NSATTR_LOCKED  (1u << 0)

static void put_text(uint8_t *to, size_t size, const char *text)
{
    memset(to, ' ', size);
    memcpy(to, text, MIN(strlen(text), size));
}

static void fill_power_state(uint8_t *psd)
{
    store_le16(psd, 2500);   /* 25 W, in hundredths */
    store_le32(psd + 4, 16); /* entry and exit latency, us */
    store_le32(psd + 8, 4);
}

static void fill_controller(const NvmeCtrl *ctrl, uint8_t *id)
{
    const uint8_t *config = ctrl->pci.config;
    g_autofree char *nqn = g_strdup_printf("nqn.2019-08.org.qemu:%s", ctrl->drive.disk.serial);
    memcpy(id + CTRL_VID, config + PCI_VENDOR_ID, 2);
    memcpy(id + CTRL_SSVID, config + PCI_SUBSYSTEM_VENDOR_ID, 2);
    put_text(id + CTRL_SN, 20, ctrl->drive.disk.serial);
    put_text(id + CTRL_MN, 40, "QEMU NVMe Ctrl");
    put_text(id + CTRL_FR, 8, VIREO_VERSION);
    id[CTRL_RAB] = 6;
    id[CTRL_IEEE + 1] = 0x54;
    id[CTRL_IEEE + 2] = 0x52;
    id[CTRL_MDTS] = ctrl->mdts;
    store_le32(id + CTRL_VER, 0x10400);
    store_le32(id + CTRL_OAES, OAES_NS_CHANGED);
    id[CTRL_TYPE] = 1; /* I/O controller */
    store_le16(id + CTRL_OACS, OACS_FORMAT | OACS_DOORBELL_BUFFER);
    id[CTRL_ACL] = 3;
    id[CTRL_AERL] = ctrl->aerl;
    id[CTRL_FRMW] = 1 << 1 | 1; /* one slot, read-only */
    id[CTRL_LPA] = LPA_SMART_PER_NS | LPA_COMMANDS | LPA_EXTENDED;
    id[CTRL_ELPE] = NVME_ERROR_ENTRIES - 1;
    store_le16(id + CTRL_WCTEMP, 0x157);
    store_le16(id + CTRL_CCTEMP, 0x175);
    id[CTRL_SQES] = 0x66;
    id[CTRL_CQES] = 0x44;
    store_le32(id + CTRL_NN, NVME_MAX_NAMESPACES);
    store_le16(id + CTRL_ONCS, ONCS_COMPARE | ONCS_DATASET | ONCS_WRITE_ZEROES | ONCS_SELECT |
                                   ONCS_TIMESTAMP | ONCS_VERIFY);
    id[CTRL_VWC] = VWC_PRESENT | VWC_FLUSH_ALL;
    store_le32(id + CTRL_SGLS, 1);
    g_strlcpy((char *)id + CTRL_SUBNQN, nqn, 256);
    fill_power_state(id + CTRL_PSD0);
}

static uint16_t zero_based(uint64_t bytes, const NvmeNamespace *ns)
{
    uint64_t blocks = bytes >> ns->lba_shift;
    return blocks ? MIN(blocks - 1, UINT16_MAX) : 0;
}

static void fill_namespace(const NvmeNamespace *ns, uint8_t *id)
{
    static const uint8_t formats[] = { 9, 12 };
    const DiskConf *disk = &ns->disk;
    uint64_t blocks = nvme_blocks(ns);
    uint16_t granule = zero_based(disk->discard_granularity, ns);
    store_le64(id + NS_NSZE, blocks);
    store_le64(id + NS_NCAP, blocks);
    store_le64(id + NS_NUSE, blocks);
    id[NS_NSFEAT] = NSFEAT_OPTIMAL;
    id[NS_NLBAF] = G_N_ELEMENTS(formats) - 1;
    id[NS_FLBAS] = ns->lba_shift == 12;
    id[NS_DLFEAT] = DLFEAT_ZEROES | DLFEAT_DEAC;
    store_le16(id + NS_NPWG, zero_based(disk->min_io, ns));
    store_le16(id + NS_NPWA, zero_based(disk->min_io, ns));
    store_le16(id + NS_NPDG, granule);
    store_le16(id + NS_NPDA, granule);
    store_le16(id + NS_NOWS, zero_based(disk->opt_io, ns));
    id[NS_NSATTR] = block_backend_readonly(disk->backend) ? NSATTR_LOCKED : 0;
    store_be64(id + NS_EUI64, ns->eui64);
    for (unsigned i = 0; i < G_N_ELEMENTS(formats); i++) {
        id[NS_LBAF + 4 * i + 2] = formats[i];
    }
}

static void fill_list(const NvmeCtrl *ctrl, uint32_t after, uint8_t *id)
{
    unsigned count = 0;
    for (uint64_t nsid = (uint64_t)after + 1; nsid <= NVME_MAX_NAMESPACES; nsid++) {
        if (ctrl->namespaces[nsid]) {
            store_le32(id + 4 * count++, nsid);
        }
    }
}

static uint8_t *put_descriptor(uint8_t *at, uint8_t type, const void *data, uint8_t len)
{
    at[0] = type;
    at[1] = len;
    memcpy(at + 4, data, len);
    return at + 4 + len;
}

static void fill_descriptors(const NvmeNamespace *ns, uint8_t *id)
{
    enum { TYPE_EUI64 = 1, TYPE_UUID = 3, TYPE_COMMAND_SET = 4 };
    uint8_t eui64[8], set = 0;
    if (ns->has_uuid) {
        id = put_descriptor(id, TYPE_UUID, ns->uuid, sizeof(ns->uuid));
    }
    if (ns->eui64) {
        store_be64(eui64, ns->eui64);
        id = put_descriptor(id, TYPE_EUI64, eui64, sizeof(eui64));
    }
    put_descriptor(id, TYPE_COMMAND_SET, &set, 1);
}

/* Limits of the NVM command set: what Verify takes, what Dataset Management takes. */
static void fill_set_controller(const NvmeCtrl *ctrl, uint8_t *id)
{
    id[0] = ctrl->vsl;
}

static uint16_t identify_one(const NvmeCtrl *ctrl, uint32_t nsid,
                             void (*fill)(const NvmeNamespace *ns, uint8_t *id), uint8_t *id)
{
    if (nsid == 0 || nsid > NVME_MAX_NAMESPACES) {
        return NVME_INVALID_NAMESPACE | NVME_DNR;
    }
    if (ctrl->namespaces[nsid]) {
        fill(ctrl->namespaces[nsid], id);
    } else if (fill == fill_descriptors) {
        return NVME_INVALID_FIELD | NVME_DNR;
    }
    return NVME_SUCCESS; /* inactive: zeroes */
}

static uint16_t identify_list(const NvmeCtrl *ctrl, uint32_t after, uint8_t *id)
{
    if (after >= NVME_NSID_ALL - 1) {
        return NVME_INVALID_NAMESPACE | NVME_DNR;
    }
    fill_list(ctrl, after, id);
    return NVME_SUCCESS;
}

/* What command set 0, NVM, has besides. */
static uint16_t identify_set(const NvmeCtrl *ctrl, uint8_t cns, uint32_t nsid, uint8_t *id)
{
    switch (cns) {
    case CNS_SET_NAMESPACE:
    case CNS_SET_PRESENT_NAMESPACE:
        return nsid && nsid <= NVME_MAX_NAMESPACES ? NVME_SUCCESS
                                                   : NVME_INVALID_NAMESPACE | NVME_DNR;
    case CNS_SET_CONTROLLER:
        fill_set_controller(ctrl, id);
        return NVME_SUCCESS;
    default:
        return identify_list(ctrl, nsid, id);
    }
}

static uint16_t fill(const NvmeRequest *request, uint8_t *id)
{
    const NvmeCtrl *ctrl = request->sq->ctrl;
    uint8_t cns = le32toh(request->cmd.cdw10);
    uint8_t set = le32toh(request->cmd.cdw11) >> 24;
    uint32_t nsid = le32toh(request->cmd.nsid);
    switch (cns) {
    case CNS_NAMESPACE:
    case CNS_PRESENT_NAMESPACE:
        return identify_one(ctrl, nsid, fill_namespace, id);
    case CNS_CONTROLLER:
        fill_controller(ctrl, id);
        return NVME_SUCCESS;
    case CNS_ACTIVE_LIST:
    case CNS_PRESENT_LIST:
        return identify_list(ctrl, nsid, id);
    case CNS_DESCRIPTORS:
        return identify_one(ctrl, nsid, fill_descriptors, id);
    case CNS_SET_NAMESPACE:
    case CNS_SET_CONTROLLER:
    case CNS_SET_ACTIVE_LIST:
    case CNS_SET_PRESENT_LIST:
    case CNS_SET_PRESENT_NAMESPACE:
        return set == 0 ? identify_set(ctrl, cns, nsid, id) : NVME_INVALID_FIELD | NVME_DNR;
    case CNS_COMMAND_SETS:
        id[0] = 1; /* one combination: NVM */
        return NVME_SUCCESS;
    default:
        return NVME_INVALID_FIELD | NVME_DNR;
    }
}

uint16_t nvme_identify(NvmeRequest *request)
{
    uint8_t data[DATA_SIZE] = { 0 };
    uint16_t status = fill(request, data);
    return status ? status : nvme_copy_out(request, data, sizeof(data));
}
