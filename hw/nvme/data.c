/* SPDX-License-Identifier: GPL-2.0-or-later */
/* NVMe data pointers (NVMe 1.4, 4.3 and 4.4): PRP entries and lists, SGLs. On the loop. */
#include <string.h>
#include "hw/nvme/nvme.h"
#include "vmm/util/bytes.h"

#define LIST_CHUNK   64   /* entries read at once */
#define SGL_SEGMENTS 1024 /* of one command: no chain is longer */

static AddressSpace *memory_of(const NvmeRequest *request)
{
    return request->sq->ctrl->pci.dev.machine->memory;
}

static unsigned iov_room(const NvmeRequest *request)
{
    return request->iov == request->inline_iov ? NVME_INLINE_IOV : NVME_MAX_IOV;
}

/* Many pieces use the slot's long array. */
static void grow(NvmeRequest *request)
{
    NvmeSq *sq = request->sq;
    struct iovec *longer = sq->long_iovs + (size_t)(request - sq->requests) * NVME_MAX_IOV;
    memcpy(longer, request->inline_iov, sizeof(request->inline_iov));
    request->iov = longer;
}

static void merge(NvmeRequest *request, unsigned from)
{
    for (unsigned i = MAX(from, 1); i < request->iov_count; i++) {
        struct iovec *last = &request->iov[i - 1];
        if ((uint8_t *)last->iov_base + last->iov_len == request->iov[i].iov_base) {
            last->iov_len += request->iov[i].iov_len;
            memmove(&request->iov[i], &request->iov[i + 1],
                    (request->iov_count - i - 1) * sizeof(*last));
            request->iov_count--;
            i--;
        }
    }
}

/* Appends guest memory; what is no RAM fails, a device's registers too. */
static bool add(NvmeRequest *request, uint64_t address, uint64_t len)
{
    unsigned before = request->iov_count;
    if (G_UNLIKELY(before == iov_room(request)) && before == NVME_INLINE_IOV) {
        grow(request);
    }
    unsigned count = before;
    while (!dma_map(memory_of(request), address, len, request->to_guest, request->iov,
                    iov_room(request), &count)) {
        if (iov_room(request) != NVME_INLINE_IOV) {
            return false;
        }
        grow(request);
        count = before;
    }
    request->iov_count = count;
    merge(request, before);
    return true;
}

/* ---- PRP ---- */

typedef struct PrpList {
    uint64_t at;   /* of the next entry */
    uint32_t page; /* size */
    unsigned have, used;
    uint64_t entries[LIST_CHUNK];
} PrpList;

static bool list_next(NvmeRequest *request, PrpList *list, uint64_t *entry)
{
    if (list->used == list->have) {
        uint64_t room = (list->page - (list->at & (list->page - 1))) / sizeof(uint64_t);
        list->have = MIN(room, LIST_CHUNK);
        list->used = 0;
        if (!dma_read(memory_of(request), list->at, list->entries, list->have * sizeof(uint64_t))) {
            return false;
        }
    }
    *entry = le64toh(list->entries[list->used++]);
    list->at += sizeof(uint64_t);
    return true;
}

static bool at_last_entry(const PrpList *list)
{
    return ((list->at + sizeof(uint64_t)) & (list->page - 1)) == 0;
}

static uint16_t map_prp_list(NvmeRequest *request, uint64_t address, uint64_t left)
{
    PrpList list = { .at = address, .page = request->sq->ctrl->page_size };
    if (address % sizeof(uint64_t)) {
        return NVME_INVALID_PRP | NVME_DNR;
    }
    while (left) {
        uint64_t entry;
        bool last = at_last_entry(&list);
        if (!list_next(request, &list, &entry)) {
            return NVME_DATA_TRANSFER;
        }
        /* Also of the pointer to the next list: each gives a page's worth of entries, so that no
         * chain of lists goes on for ever. */
        if (entry & (list.page - 1)) {
            return NVME_INVALID_PRP | NVME_DNR;
        }
        if (last && left > list.page) {
            list.at = entry;
            list.used = list.have = 0;
            continue;
        }
        uint64_t len = MIN(left, list.page);
        if (!add(request, entry, len)) {
            return NVME_DATA_TRANSFER;
        }
        left -= len;
    }
    return NVME_SUCCESS;
}

static uint16_t map_prp(NvmeRequest *request, uint64_t bytes)
{
    uint32_t page = request->sq->ctrl->page_size;
    uint64_t prp1 = le64toh(request->cmd.prp1), prp2 = le64toh(request->cmd.prp2);
    uint64_t first = MIN(bytes, page - (prp1 & (page - 1)));
    if (prp1 & 3) {
        return NVME_INVALID_PRP | NVME_DNR;
    }
    if (!add(request, prp1, first)) {
        return NVME_DATA_TRANSFER;
    }
    uint64_t left = bytes - first;
    if (left == 0) {
        return NVME_SUCCESS;
    }
    if (left > page) {
        return map_prp_list(request, prp2, left);
    }
    if (prp2 & (page - 1)) {
        return NVME_INVALID_PRP | NVME_DNR;
    }
    return add(request, prp2, left) ? NVME_SUCCESS : NVME_DATA_TRANSFER;
}

/* ---- SGL ---- */

static uint16_t add_sgl_data(NvmeRequest *request, const NvmeSgl *sgl, uint64_t *left)
{
    uint64_t len = MIN(le32toh(sgl->length), *left);
    if (len == 0) {
        return NVME_SUCCESS;
    }
    if (!add(request, le64toh(sgl->address), len)) {
        return request->iov_count == NVME_MAX_IOV ? NVME_SGL_COUNT | NVME_DNR : NVME_DATA_TRANSFER;
    }
    *left -= len;
    return NVME_SUCCESS;
}

/* The descriptors of a segment; a pointer to the next one comes back in *sgl. */
static uint16_t map_segment(NvmeRequest *request, NvmeSgl *sgl, uint64_t *left, unsigned *budget,
                            bool *more)
{
    uint32_t length = le32toh(sgl->length);
    uint64_t at = le64toh(sgl->address);
    bool is_last = sgl->type >> 4 == NVME_SGL_LAST_SEGMENT;
    *more = false;
    if (length == 0 || length % sizeof(NvmeSgl)) {
        return NVME_SGL_SEGMENT | NVME_DNR;
    }
    for (uint32_t offset = 0; offset < length; offset += sizeof(NvmeSgl)) {
        NvmeSgl entry;
        if ((*budget)-- == 0) {
            *budget = 0;
            return NVME_SGL_COUNT | NVME_DNR;
        }
        if (at > UINT64_MAX - offset ||
            !dma_read(memory_of(request), at + offset, &entry, sizeof(entry))) {
            return NVME_DATA_TRANSFER;
        }
        unsigned type = entry.type >> 4;
        if (entry.type & 0xf) {
            return NVME_SGL_TYPE | NVME_DNR;
        }
        if (type == NVME_SGL_SEGMENT_TYPE || type == NVME_SGL_LAST_SEGMENT) {
            /* Only the last descriptor of a segment that is not the last may lead on. */
            if (is_last || offset + sizeof(NvmeSgl) != length) {
                return NVME_SGL_SEGMENT | NVME_DNR;
            }
            *sgl = entry;
            *more = true;
            return NVME_SUCCESS;
        }
        if (type != NVME_SGL_DATA) {
            return NVME_SGL_TYPE | NVME_DNR;
        }
        uint16_t status = add_sgl_data(request, &entry, left);
        if (status) {
            return status;
        }
    }
    return NVME_SUCCESS;
}

static uint16_t map_sgl(NvmeRequest *request, uint64_t bytes)
{
    NvmeSgl sgl = request->cmd.sgl;
    unsigned type = sgl.type >> 4, budget = SGL_SEGMENTS;
    uint64_t left = bytes;
    uint16_t status;
    if (sgl.type & 0xf ||
        (type != NVME_SGL_DATA && type != NVME_SGL_SEGMENT_TYPE && type != NVME_SGL_LAST_SEGMENT)) {
        return NVME_SGL_TYPE | NVME_DNR;
    }
    if (type == NVME_SGL_DATA) {
        status = add_sgl_data(request, &sgl, &left);
    } else {
        bool more = true;
        do {
            status = map_segment(request, &sgl, &left, &budget, &more);
        } while (!status && more);
    }
    return status ? status : left ? NVME_SGL_LENGTH | NVME_DNR : NVME_SUCCESS;
}

/* ---- The interface ---- */

uint16_t nvme_map(NvmeRequest *request, uint64_t bytes, bool to_guest)
{
    request->to_guest = to_guest;
    request->bytes = bytes;
    request->iov = request->inline_iov;
    request->iov_count = 0;
    switch (NVME_FLAG_PSDT(request->cmd.flags)) {
    case 0:
        return map_prp(request, bytes);
    case 1: /* metadata, which no namespace has, by its address */
    case 2: /* or by an SGL */
        /* The admin queue takes PRPs only over PCI Express (4.4). */
        return request->sq->id == 0 ? NVME_INVALID_FIELD | NVME_DNR : map_sgl(request, bytes);
    default:
        return NVME_INVALID_FIELD | NVME_DNR;
    }
}

void nvme_data_dirty(NvmeRequest *request)
{
    for (unsigned i = 0; i < request->iov_count; i++) {
        dma_dirty_host(memory_of(request), request->iov[i].iov_base, request->iov[i].iov_len);
    }
}

uint16_t nvme_copy_out(NvmeRequest *request, const void *data, uint64_t bytes)
{
    uint16_t status = bytes ? nvme_map(request, bytes, true) : NVME_SUCCESS;
    if (status) {
        return status;
    }
    const uint8_t *from = data;
    for (unsigned i = 0; bytes && i < request->iov_count; i++) {
        memcpy(request->iov[i].iov_base, from, request->iov[i].iov_len);
        from += request->iov[i].iov_len;
    }
    if (bytes && dma_logging()) {
        nvme_data_dirty(request);
    }
    return NVME_SUCCESS;
}

uint16_t nvme_copy_in(NvmeRequest *request, void *data, uint64_t bytes)
{
    uint16_t status = nvme_map(request, bytes, false);
    if (status) {
        return status;
    }
    uint8_t *to = data;
    for (unsigned i = 0; i < request->iov_count; i++) {
        memcpy(to, request->iov[i].iov_base, request->iov[i].iov_len);
        to += request->iov[i].iov_len;
    }
    return NVME_SUCCESS;
}
