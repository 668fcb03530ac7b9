/* SPDX-License-Identifier: GPL-2.0-or-later */
/* NVMe features (NVMe 1.4, 5.13, 5.21). On the loop. */
#include <string.h>
#include "hw/nvme/nvme.h"
#include "vmm/util/bytes.h"

#define SAVE_BIT         (1u << 31)
#define CAP_NAMESPACE    (1u << 1)
#define CAP_CHANGEABLE   (1u << 2)
#define TEMPERATURE_OVER 0x157
#define VECTOR_NO_BATCH  (1u << 16)
#define THSEL(dw11)      ((dw11) >> 20 & 3)
#define TMPSEL(dw11)     ((dw11) >> 16 & 0xf)
#define RECOVERY_DULBE   (1u << 16)
#define TIMESTAMP_MASK   0xffffffffffffULL

enum { SELECT_CURRENT = 0, SELECT_DEFAULT = 1, SELECT_SAVED = 2, SELECT_CAPABILITIES = 3 };
enum { ORIGIN_RESET = 0, ORIGIN_HOST = 1 };

/* What can be said of each feature; 0 in known: it is not there. */
static const struct {
    bool known;
    uint8_t caps;
    uint32_t def;
} features[] = {
    [NVME_FEATURE_ARBITRATION] = { true, 0, 7 }, /* no limit of a burst */
    [NVME_FEATURE_POWER] = { true, 0, 0 },
    [NVME_FEATURE_TEMPERATURE] = { true, CAP_CHANGEABLE, 0 },
    [NVME_FEATURE_ERROR_RECOVERY] = { true, CAP_CHANGEABLE | CAP_NAMESPACE, 0 },
    [NVME_FEATURE_WRITE_CACHE] = { true, CAP_CHANGEABLE, 0 },
    [NVME_FEATURE_QUEUES] = { true, CAP_CHANGEABLE, 0 },
    [NVME_FEATURE_COALESCING] = { true, 0, 0 },
    [NVME_FEATURE_VECTOR] = { true, 0, 0 },
    [NVME_FEATURE_ATOMICITY] = { true, 0, 0 },
    [NVME_FEATURE_ASYNC_EVENT] = { true, CAP_CHANGEABLE, 0 },
    [NVME_FEATURE_TIMESTAMP] = { true, CAP_CHANGEABLE, 0 },
    [NVME_FEATURE_HOST_BEHAVIOR] = { true, CAP_CHANGEABLE, 0 },
    [NVME_FEATURE_COMMAND_SETS] = { true, CAP_CHANGEABLE, 0 },
};

static uint32_t queues_granted(const NvmeCtrl *ctrl)
{
    uint32_t pairs = ctrl->queue_count - 2; /* zero-based */
    return pairs << 16 | pairs;
}

static uint16_t find_namespace(NvmeRequest *request)
{
    uint32_t nsid = le32toh(request->cmd.nsid);
    if (nsid == 0 || nsid > NVME_MAX_NAMESPACES) {
        return NVME_INVALID_NAMESPACE | NVME_DNR;
    }
    request->ns = request->sq->ctrl->namespaces[nsid];
    return request->ns ? NVME_SUCCESS : NVME_INVALID_FIELD | NVME_DNR;
}

/* ---- Get ---- */

static bool write_cache_on(const NvmeCtrl *ctrl)
{
    for (unsigned i = 1; i <= NVME_MAX_NAMESPACES; i++) {
        if (ctrl->namespaces[i] && block_backend_write_cache(ctrl->namespaces[i]->disk.backend)) {
            return true;
        }
    }
    return false;
}

static uint32_t get_temperature(const NvmeCtrl *ctrl, uint32_t dw11, bool current)
{
    /* Only the composite temperature has a sensor. */
    if (TMPSEL(dw11) != 0) {
        return 0;
    }
    if (THSEL(dw11) == 0) {
        return current ? ctrl->temperature_over : TEMPERATURE_OVER;
    }
    return THSEL(dw11) == 1 && current ? ctrl->temperature_under : 0;
}

static uint16_t get_vector(NvmeRequest *request, uint32_t dw11)
{
    NvmeCtrl *ctrl = request->sq->ctrl;
    uint32_t vector = dw11 & 0xffff;
    if (vector >= ctrl->msix_qsize) {
        return NVME_INVALID_FIELD | NVME_DNR;
    }
    /* Events of the admin queue are never held back. */
    request->result = vector | (vector == 0 ? VECTOR_NO_BATCH : 0);
    return NVME_SUCCESS;
}

static uint16_t get_timestamp(NvmeRequest *request)
{
    NvmeCtrl *ctrl = request->sq->ctrl;
    uint64_t now = ctrl->timestamp + (clock_now(VM_CLOCK_VIRTUAL) - ctrl->timestamp_at) / 1000000;
    uint8_t data[8];
    store_le64(data, (now & TIMESTAMP_MASK) | (uint64_t)ctrl->timestamp_origin << 49);
    return nvme_copy_out(request, data, sizeof(data));
}

/* Features whose current value is in dword 0 of the completion. */
static uint32_t current_value(const NvmeCtrl *ctrl, uint8_t feature)
{
    switch (feature) {
    case NVME_FEATURE_WRITE_CACHE:
        return write_cache_on(ctrl);
    case NVME_FEATURE_ASYNC_EVENT:
        return ctrl->async_config;
    default:
        return features[feature].def;
    }
}

static uint16_t get_value(NvmeRequest *request, uint8_t feature, uint32_t dw11, bool current)
{
    NvmeCtrl *ctrl = request->sq->ctrl;
    switch (feature) {
    case NVME_FEATURE_TEMPERATURE:
        request->result = get_temperature(ctrl, dw11, current);
        return NVME_SUCCESS;
    case NVME_FEATURE_QUEUES:
        request->result = queues_granted(ctrl);
        return NVME_SUCCESS;
    case NVME_FEATURE_VECTOR:
        return get_vector(request, dw11);
    case NVME_FEATURE_TIMESTAMP:
        return get_timestamp(request);
    case NVME_FEATURE_HOST_BEHAVIOR:
        return nvme_copy_out(request, ctrl->host_behavior, sizeof(ctrl->host_behavior));
    case NVME_FEATURE_ERROR_RECOVERY:
        request->result = current ? request->ns->error_recovery : 0;
        return NVME_SUCCESS;
    default:
        request->result = current ? current_value(ctrl, feature) : features[feature].def;
        return NVME_SUCCESS;
    }
}

static bool feature_known(uint8_t feature)
{
    return feature < G_N_ELEMENTS(features) && features[feature].known;
}

uint16_t nvme_get_features(NvmeRequest *request)
{
    uint32_t dw10 = le32toh(request->cmd.cdw10);
    uint8_t feature = dw10;
    unsigned select = dw10 >> 8 & 7;
    if (!feature_known(feature) || select > SELECT_CAPABILITIES) {
        return NVME_INVALID_FIELD | NVME_DNR;
    }
    if (features[feature].caps & CAP_NAMESPACE) {
        uint16_t status = find_namespace(request);
        if (status) {
            return status;
        }
    }
    if (select == SELECT_CAPABILITIES) {
        request->result = features[feature].caps;
        return NVME_SUCCESS;
    }
    return get_value(request, feature, le32toh(request->cmd.cdw11), select == SELECT_CURRENT);
}

/* ---- Set ---- */

static uint16_t set_temperature(NvmeCtrl *ctrl, uint32_t dw11)
{
    if (TMPSEL(dw11) == 0 && THSEL(dw11) == 0) {
        ctrl->temperature_over = dw11;
    } else if (TMPSEL(dw11) == 0 && THSEL(dw11) == 1) {
        ctrl->temperature_under = dw11;
    } else {
        return NVME_INVALID_FIELD | NVME_DNR;
    }
    nvme_check_temperature(ctrl);
    return NVME_SUCCESS;
}

static void recover_namespace(NvmeNamespace *ns, uint32_t dw11)
{
    if (ns) {
        ns->error_recovery = dw11;
    }
}

static uint16_t set_error_recovery(NvmeRequest *request, uint32_t dw11)
{
    NvmeCtrl *ctrl = request->sq->ctrl;
    if (dw11 & RECOVERY_DULBE) {
        return NVME_INVALID_FIELD | NVME_DNR; /* NSFEAT does not offer it */
    }
    if (le32toh(request->cmd.nsid) != NVME_NSID_ALL) {
        uint16_t status = find_namespace(request);
        recover_namespace(request->ns, dw11);
        return status;
    }
    for (unsigned i = 1; i <= NVME_MAX_NAMESPACES; i++) {
        recover_namespace(ctrl->namespaces[i], dw11);
    }
    return NVME_SUCCESS;
}

static void set_write_cache(NvmeCtrl *ctrl, bool on)
{
    for (unsigned i = 1; i <= NVME_MAX_NAMESPACES; i++) {
        if (ctrl->namespaces[i]) {
            block_backend_set_write_cache(ctrl->namespaces[i]->disk.backend, on);
        }
    }
}

static uint16_t set_queues(NvmeRequest *request, uint32_t dw11)
{
    if ((dw11 & 0xffff) == 0xffff || dw11 >> 16 == 0xffff) {
        return NVME_INVALID_FIELD | NVME_DNR;
    }
    request->result = queues_granted(request->sq->ctrl);
    return NVME_SUCCESS;
}

static uint16_t set_timestamp(NvmeRequest *request)
{
    NvmeCtrl *ctrl = request->sq->ctrl;
    uint8_t data[8];
    uint16_t status = nvme_copy_in(request, data, sizeof(data));
    if (!status) {
        ctrl->timestamp = load_le64(data) & TIMESTAMP_MASK;
        ctrl->timestamp_at = clock_now(VM_CLOCK_VIRTUAL);
        ctrl->timestamp_origin = ORIGIN_HOST;
    }
    return status;
}

static uint16_t set_host_behavior(NvmeRequest *request)
{
    NvmeCtrl *ctrl = request->sq->ctrl;
    uint8_t data[sizeof(ctrl->host_behavior)];
    uint16_t status = nvme_copy_in(request, data, sizeof(data));
    if (!status) {
        ctrl->host_behavior[0] = data[0] & 1; /* advanced command retry */
    }
    return status;
}

static uint16_t set_value(NvmeRequest *request, uint8_t feature, uint32_t dw11)
{
    NvmeCtrl *ctrl = request->sq->ctrl;
    switch (feature) {
    case NVME_FEATURE_TEMPERATURE:
        return set_temperature(ctrl, dw11);
    case NVME_FEATURE_ERROR_RECOVERY:
        return set_error_recovery(request, dw11);
    case NVME_FEATURE_WRITE_CACHE:
        set_write_cache(ctrl, dw11 & 1);
        return NVME_SUCCESS;
    case NVME_FEATURE_QUEUES:
        return set_queues(request, dw11);
    case NVME_FEATURE_ASYNC_EVENT:
        ctrl->async_config = dw11;
        return NVME_SUCCESS;
    case NVME_FEATURE_TIMESTAMP:
        return set_timestamp(request);
    case NVME_FEATURE_HOST_BEHAVIOR:
        return set_host_behavior(request);
    case NVME_FEATURE_COMMAND_SETS:
        return (dw11 & 0x1ff) == 0 ? NVME_SUCCESS : NVME_SETS_REJECTED | NVME_DNR;
    default:
        return NVME_NOT_CHANGEABLE | NVME_DNR;
    }
}

uint16_t nvme_set_features(NvmeRequest *request)
{
    uint32_t dw10 = le32toh(request->cmd.cdw10);
    uint8_t feature = dw10;
    if (dw10 & SAVE_BIT) {
        return NVME_NOT_SAVEABLE | NVME_DNR;
    }
    if (!feature_known(feature)) {
        return NVME_INVALID_FIELD | NVME_DNR;
    }
    return set_value(request, feature, le32toh(request->cmd.cdw11));
}

void nvme_features_reset(NvmeCtrl *ctrl)
{
    ctrl->temperature_over = TEMPERATURE_OVER;
    ctrl->temperature_under = 0;
    ctrl->async_config = 0;
    ctrl->timestamp = 0;
    ctrl->timestamp_at = clock_now(VM_CLOCK_VIRTUAL);
    ctrl->timestamp_origin = ORIGIN_RESET;
    memset(ctrl->host_behavior, 0, sizeof(ctrl->host_behavior));
}
