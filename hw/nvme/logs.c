/* SPDX-License-Identifier: GPL-2.0-or-later */
/* NVMe log pages and asynchronous events (NVMe 1.4, 5.2, 5.14). On the loop. */
#include <string.h>
#include "config.h"
#include "hw/nvme/nvme.h"
#include "vmm/util/bytes.h"

#define ERROR_ENTRY_SIZE  64
#define CHANGED_MAX       1024
#define RETAIN_EVENT      (1u << 15)
#define DATA_UNIT         (1000 * 512)
#define EFFECT_SUPPORTED  (1u << 0)
#define EFFECT_CONTENT    (1u << 1)
#define NOTICE_NS_ENABLED (1u << 8)

/* SMART / Health Information (figure 194). */
enum {
    SMART_WARNING = 0,
    SMART_TEMPERATURE = 1,
    SMART_UNITS_READ = 32,
    SMART_UNITS_WRITTEN = 48,
    SMART_READS = 64,
    SMART_WRITES = 80,
    SMART_POWER_ON_HOURS = 128,
    SMART_ERROR_ENTRIES = 176,
    SMART_SIZE = 512,
};
#define WARNING_TEMPERATURE (1u << 1)

/* ---- Events ---- */

static NvmeRequest *take_listener(NvmeCtrl *ctrl)
{
    NvmeRequest *request = ctrl->listeners;
    ctrl->listeners = request->next;
    if (!ctrl->listeners) {
        ctrl->listeners_tail = &ctrl->listeners;
    }
    ctrl->listener_count--;
    return request;
}

/* Tells the host what there is to tell; of each type one, until it has read the log page. */
static void deliver_events(NvmeCtrl *ctrl)
{
    unsigned i = 0;
    while (ctrl->listeners && i < ctrl->event_count) {
        NvmeEvent event = ctrl->events[i];
        if (ctrl->events_masked & 1u << event.type) {
            i++;
            continue;
        }
        memmove(&ctrl->events[i], &ctrl->events[i + 1],
                (ctrl->event_count - i - 1) * sizeof(event));
        ctrl->event_count--;
        ctrl->events_masked |= 1u << event.type;
        NvmeRequest *request = take_listener(ctrl);
        request->result = event.type | event.info << 8 | event.log << 16;
        nvme_request_unpark(request);
        nvme_complete(request, NVME_SUCCESS);
    }
}

void nvme_event(NvmeCtrl *ctrl, uint8_t type, uint8_t info, uint8_t log)
{
    if (!ctrl->running || ctrl->stopping ||
        ctrl->event_count >= MIN(ctrl->aer_max_queued, NVME_MAX_EVENTS)) {
        return;
    }
    if (type == NVME_EVENT_ERROR) {
        nvme_error_record(ctrl, 0xffff, 0xffff, NVME_INVALID_FIELD | NVME_MORE);
    }
    ctrl->events[ctrl->event_count++] = (NvmeEvent){ type, info, log };
    deliver_events(ctrl);
}

uint16_t nvme_async_event(NvmeRequest *request)
{
    NvmeCtrl *ctrl = request->sq->ctrl;
    if (ctrl->listener_count > ctrl->aerl) {
        return NVME_TOO_MANY_EVENTS | NVME_DNR;
    }
    request->next = NULL;
    *ctrl->listeners_tail = request;
    ctrl->listeners_tail = &request->next;
    ctrl->listener_count++;
    nvme_request_park(request);
    deliver_events(ctrl);
    return NVME_PENDING;
}

static void event_read(NvmeCtrl *ctrl, uint8_t type, uint32_t cdw10)
{
    if (!(cdw10 & RETAIN_EVENT)) {
        ctrl->events_masked &= ~(1u << type);
        deliver_events(ctrl);
    }
}

static bool too_hot(const NvmeCtrl *ctrl)
{
    return NVME_TEMPERATURE >= ctrl->temperature_over ||
           NVME_TEMPERATURE <= ctrl->temperature_under;
}

void nvme_check_temperature(NvmeCtrl *ctrl)
{
    if (too_hot(ctrl) && ctrl->async_config & WARNING_TEMPERATURE) {
        nvme_event(ctrl, NVME_EVENT_SMART, NVME_SMART_TEMPERATURE, NVME_LOG_SMART);
    }
}

/* ---- The error log ---- */

/* Host mistakes go into it when an event points there, failures of the medium always. */
void nvme_error_record(NvmeCtrl *ctrl, uint16_t sqid, uint16_t cid, uint16_t status)
{
    bool media = (status >> 8 & 7) == 2 && (status & 0x7ff) != NVME_COMPARE_FAILURE;
    if (!media && (status & 0x7ff) != NVME_INTERNAL && !(status & NVME_MORE)) {
        return;
    }
    ctrl->error_count++;
    ctrl->errors[ctrl->error_count % NVME_ERROR_ENTRIES] =
        (NvmeErrorEntry){ .count = ctrl->error_count, .sqid = sqid, .cid = cid, .status = status };
}

static void fill_errors(const NvmeCtrl *ctrl, uint8_t *page)
{
    for (unsigned i = 0; i < MIN(ctrl->error_count, NVME_ERROR_ENTRIES); i++) {
        const NvmeErrorEntry *entry = &ctrl->errors[(ctrl->error_count - i) % NVME_ERROR_ENTRIES];
        uint8_t *at = page + i * ERROR_ENTRY_SIZE;
        store_le64(at, entry->count);
        store_le16(at + 8, entry->sqid);
        store_le16(at + 10, entry->cid);
        store_le16(at + 12, entry->status << 1);
        store_le16(at + 14, UINT16_MAX); /* no single parameter */
    }
}

/* ---- The other pages ---- */

static void add_stats(const NvmeNamespace *ns, BlockStats *sum)
{
    BlockStats stats;
    if (ns) {
        block_backend_stats(ns->disk.backend, &stats);
        sum->rd_bytes += stats.rd_bytes;
        sum->wr_bytes += stats.wr_bytes;
        sum->rd_ops += stats.rd_ops;
        sum->wr_ops += stats.wr_ops;
    }
}

static uint16_t fill_smart(const NvmeRequest *request, uint8_t *page)
{
    const NvmeCtrl *ctrl = request->sq->ctrl;
    uint32_t nsid = le32toh(request->cmd.nsid);
    BlockStats sum = { 0 };
    if (nsid != NVME_NSID_ALL && nsid > NVME_MAX_NAMESPACES) {
        return NVME_INVALID_NAMESPACE | NVME_DNR;
    }
    if (nsid != NVME_NSID_ALL && nsid && !ctrl->namespaces[nsid]) {
        return NVME_INVALID_FIELD | NVME_DNR;
    }
    for (uint32_t i = 1; i <= NVME_MAX_NAMESPACES; i++) {
        if (nsid == NVME_NSID_ALL || nsid == 0 || nsid == i) {
            add_stats(ctrl->namespaces[i], &sum);
        }
    }
    page[SMART_WARNING] = too_hot(ctrl) ? WARNING_TEMPERATURE : 0;
    store_le16(page + SMART_TEMPERATURE, NVME_TEMPERATURE);
    store_le64(page + SMART_UNITS_READ, (sum.rd_bytes + DATA_UNIT - 1) / DATA_UNIT);
    store_le64(page + SMART_UNITS_WRITTEN, (sum.wr_bytes + DATA_UNIT - 1) / DATA_UNIT);
    store_le64(page + SMART_READS, sum.rd_ops);
    store_le64(page + SMART_WRITES, sum.wr_ops);
    uint64_t on = clock_now(VM_CLOCK_VIRTUAL) / 1000000000ULL;
    store_le64(page + SMART_POWER_ON_HOURS, on / 3600);
    store_le64(page + SMART_ERROR_ENTRIES, ctrl->error_count);
    return NVME_SUCCESS;
}

static void fill_firmware(uint8_t *page)
{
    page[0] = 1; /* slot 1 is active */
    memset(page + 8, ' ', 8);
    memcpy(page + 8, VIREO_VERSION, MIN(strlen(VIREO_VERSION), 8));
}

static void fill_changed(NvmeCtrl *ctrl, uint8_t *page, bool clear)
{
    unsigned count = 0;
    for (uint32_t i = 1; i <= NVME_MAX_NAMESPACES; i++) {
        if (ctrl->changed[i / 8] & 1u << (i % 8)) {
            store_le32(page + 4 * count++, i);
        }
    }
    if (clear) {
        memset(ctrl->changed, 0, sizeof(ctrl->changed));
    }
}

static void fill_commands(const NvmeRequest *request, uint8_t *page)
{
    static const uint8_t admin[] = { NVME_ADMIN_DELETE_SQ,      NVME_ADMIN_CREATE_SQ,
                                     NVME_ADMIN_GET_LOG,        NVME_ADMIN_DELETE_CQ,
                                     NVME_ADMIN_CREATE_CQ,      NVME_ADMIN_IDENTIFY,
                                     NVME_ADMIN_ABORT,          NVME_ADMIN_SET_FEATURES,
                                     NVME_ADMIN_GET_FEATURES,   NVME_ADMIN_ASYNC_EVENT,
                                     NVME_ADMIN_DOORBELL_BUFFER };
    static const uint8_t reading[] = { NVME_IO_READ, NVME_IO_COMPARE, NVME_IO_VERIFY };
    static const uint8_t writing[] = { NVME_IO_FLUSH, NVME_IO_WRITE, NVME_IO_WRITE_ZEROES,
                                       NVME_IO_DATASET };
    uint8_t *io = page + 1024;
    for (unsigned i = 0; i < G_N_ELEMENTS(admin); i++) {
        page[4 * admin[i]] = EFFECT_SUPPORTED;
    }
    page[4 * NVME_ADMIN_FORMAT] = EFFECT_SUPPORTED | EFFECT_CONTENT;
    if (NVME_CC_CSS(request->sq->ctrl->cc_active) == NVME_CSS_ADMIN_ONLY) {
        return;
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(reading); i++) {
        io[4 * reading[i]] = EFFECT_SUPPORTED;
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(writing); i++) {
        io[4 * writing[i]] = EFFECT_SUPPORTED | EFFECT_CONTENT;
    }
}

/* ---- Get Log Page ---- */

static uint16_t fill_page(NvmeRequest *request, uint8_t id, uint8_t *page, uint64_t *size)
{
    NvmeCtrl *ctrl = request->sq->ctrl;
    bool clear = !(le32toh(request->cmd.cdw10) & RETAIN_EVENT);
    switch (id) {
    case NVME_LOG_ERROR:
        *size = NVME_ERROR_ENTRIES * ERROR_ENTRY_SIZE;
        fill_errors(ctrl, page);
        return NVME_SUCCESS;
    case NVME_LOG_SMART:
        *size = SMART_SIZE;
        return fill_smart(request, page);
    case NVME_LOG_FIRMWARE:
        *size = 512;
        fill_firmware(page);
        return NVME_SUCCESS;
    case NVME_LOG_CHANGED_NS:
        *size = CHANGED_MAX * 4;
        fill_changed(ctrl, page, clear);
        return NVME_SUCCESS;
    case NVME_LOG_COMMANDS:
        *size = 4096;
        fill_commands(request, page);
        return NVME_SUCCESS;
    default:
        return NVME_INVALID_FIELD | NVME_DNR;
    }
}

static void page_read(NvmeCtrl *ctrl, uint8_t id, uint32_t cdw10)
{
    switch (id) {
    case NVME_LOG_ERROR:
        event_read(ctrl, NVME_EVENT_ERROR, cdw10);
        break;
    case NVME_LOG_SMART:
        event_read(ctrl, NVME_EVENT_SMART, cdw10);
        break;
    case NVME_LOG_CHANGED_NS:
        event_read(ctrl, NVME_EVENT_NOTICE, cdw10);
        break;
    default:
        break;
    }
}

uint16_t nvme_get_log(NvmeRequest *request)
{
    const NvmeCommand *cmd = &request->cmd;
    uint8_t page[4096] = { 0 };
    uint32_t cdw10 = le32toh(cmd->cdw10);
    uint64_t dwords = (cdw10 >> 16 | (le32toh(cmd->cdw11) & 0xffffULL) << 16) + 1;
    uint64_t offset = le32toh(cmd->cdw12) | (uint64_t)le32toh(cmd->cdw13) << 32;
    uint64_t size = 0;
    if (offset & 3) {
        return NVME_INVALID_FIELD | NVME_DNR;
    }
    uint16_t status = fill_page(request, cdw10, page, &size);
    if (status) {
        return status;
    }
    if (offset > size) {
        return NVME_INVALID_FIELD | NVME_DNR;
    }
    status = nvme_copy_out(request, page + offset, MIN(dwords * 4, size - offset));
    if (!status) {
        page_read(request->sq->ctrl, cdw10, cdw10);
    }
    return status;
}
